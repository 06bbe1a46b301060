package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// AuditLog records one act. Rows are never changed.
type AuditLog struct{ ent.Schema }

// Mixin of AuditLog.
func (AuditLog) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.AuditLog}} }

// Fields of AuditLog.
func (AuditLog) Fields() []ent.Field {
	return []ent.Field{
		ref("user_id", "userId", "Who acted; null for the system and for anonymous callers.").opt().fixed(),
		field.Bytes("username").Optional().Immutable().Annotations(hidden()).Comment("Name of who acted at the time, encrypted under the subject's key."),
		field.Enum("action").GoType(enum.AuditAction("")).SchemaType(textType()).Immutable().Annotations(gql("AuditAction")).Comment("What was done."),
		field.String("resource_type").Default("").SchemaType(textType()).Immutable().Comment("Type of what it was done to; empty when it was done to nothing in particular."),
		ref("resource_id", "resourceId", "What it was done to; null when it was done to nothing in particular.").opt().fixed(),
		field.Bytes("ip_address").Optional().Immutable().Annotations(hidden()).Comment("Address of the caller, encrypted under the subject's key."),
		field.Bytes("user_agent").Optional().Immutable().Annotations(hidden()).Comment("Client of the caller, encrypted under the subject's key."),
		ref("session_id", "sessionId", "Login or chat session, as the action has it; null where there is none.").opt().fixed(),
		field.JSON("details", map[string]any{}).Optional().Immutable().Annotations(guarded()).Comment("Facts of the act; no secrets, no personal data."),
		field.JSON("changes", map[string]any{}).Optional().Immutable().Annotations(guarded()).Comment("Before and after of what changed."),
		field.Bool("success").Immutable().Comment("Whether it was done."),
		field.String("error_message").Optional().Nillable().SchemaType(textType()).Immutable().Annotations(guarded()).Comment("Why it was not done, as a code or a sentence; null when it was."),
		ref("tool_execution_id", "toolExecutionId", "The tool call it belongs to; null for acts outside of tool calls.").opt().fixed(),
		field.Bool("sensitive_data").Default(false).Immutable().Comment("Whether confidential data was touched."),
		field.Int("retention_days").Default(365).Immutable().Comment("Days the row is kept at least."),
		field.String("request_id").Default("").SchemaType(textType()).Immutable().Annotations(entgql.Annotation{Mapping: []string{"requestId"}}).Comment("The request it happened in; empty for background work."),
		field.Enum("actor_kind").GoType(enum.ActorKind("")).SchemaType(textType()).Immutable().Annotations(gql("ActorKind")).Comment("Whether a person, the assistant or the system acted."),
	}
}

// Edges of AuditLog.
func (AuditLog) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("audit_logs").Field("user_id").Unique().Immutable().Comment("Who acted."),
		edge.From("tool_execution", ToolExecution.Type).Ref("audit_logs").Field("tool_execution_id").Unique().Immutable().Comment("The tool call."),
	}
}

// Indexes of AuditLog.
func (AuditLog) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("created_at"), index.Fields("user_id", "created_at"), index.Fields("action", "created_at"),
		index.Fields("resource_type", "resource_id"), index.Fields("session_id"), index.Fields("tool_execution_id"), index.Fields("request_id"),
	}
}

// Annotations of AuditLog.
func (AuditLog) Annotations() []schema.Annotation { return node() }

// Policy of AuditLog.
func (AuditLog) Policy() ent.Policy { return rule.For("AuditLog") }
