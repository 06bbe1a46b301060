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

// SecretAccessLog records one use of a secret, or one attempt. Rows are never changed.
type SecretAccessLog struct{ ent.Schema }

// Mixin of SecretAccessLog.
func (SecretAccessLog) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.SecretAccessLog}} }

// Fields of SecretAccessLog.
func (SecretAccessLog) Fields() []ent.Field {
	return []ent.Field{
		ref("secret_id", "secretId", "The secret.").fixed(),
		ref("user_id", "userId", "Who used it.").fixed(),
		field.Enum("access_type").GoType(enum.SecretAccessType("")).SchemaType(textType()).Immutable().Annotations(gql("SecretAccessType")).Comment("What was done with it."),
		field.Bool("success").Immutable().Comment("Whether it was done."),
		field.String("ip_address").Optional().Nillable().SchemaType(textType()).Immutable().Annotations(guarded(), personal("users:write")).Comment("Address of the caller."),
		field.String("user_agent").Optional().Nillable().SchemaType(textType()).Immutable().Annotations(guarded(), personal("users:write")).Comment("Client of the caller."),
		ref("tool_id", "toolId", "The tool that used it.").opt().fixed(),
		field.Time("accessed_at").Default(now).Immutable().Annotations(entgql.OrderField("ACCESSED_AT")).Comment("When."),
		field.Int("secret_version").Optional().Nillable().Immutable().Comment("The version used."),
		ref("tool_execution_id", "toolExecutionId", "The tool call that used it.").opt().fixed(),
		field.String("reason").Default("").SchemaType(textType()).Immutable().Annotations(guarded()).Comment("Why, as stated; empty when nothing was."),
	}
}

// Edges of SecretAccessLog.
func (SecretAccessLog) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("secret", Secret.Type).Ref("access_logs").Field("secret_id").Unique().Required().Immutable().Comment("The secret."),
		edge.From("user", User.Type).Ref("secret_access_logs").Field("user_id").Unique().Required().Immutable().Comment("Who used it."),
		edge.From("tool", Tool.Type).Ref("secret_access_logs").Field("tool_id").Unique().Immutable().Comment("The tool that used it."),
		edge.From("tool_execution", ToolExecution.Type).Ref("secret_access_logs").Field("tool_execution_id").Unique().Immutable().Comment("The tool call that used it."),
	}
}

// Indexes of SecretAccessLog.
func (SecretAccessLog) Indexes() []ent.Index {
	return []ent.Index{index.Fields("secret_id", "accessed_at"), index.Fields("user_id", "accessed_at"), index.Fields("tool_id"), index.Fields("tool_execution_id"), index.Fields("accessed_at")}
}

// Annotations of SecretAccessLog.
func (SecretAccessLog) Annotations() []schema.Annotation { return node() }

// Policy of SecretAccessLog.
func (SecretAccessLog) Policy() ent.Policy { return rule.For("SecretAccessLog") }
