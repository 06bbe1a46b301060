package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// ToolExecution is one call of a tool, from request to end.
type ToolExecution struct{ ent.Schema }

// Mixin of ToolExecution.
func (ToolExecution) Mixin() []ent.Mixin {
	return []ent.Mixin{Base{Tag: uid.ToolExecution}, Mutable{}}
}

// Fields of ToolExecution.
func (ToolExecution) Fields() []ent.Field {
	return []ent.Field{
		ref("tool_id", "toolId", "The tool called.").fixed(),
		ref("user_id", "userId", "Who asked for the call.").fixed(),
		ref("session_id", "sessionId", "The conversation it was asked for in.").opt(),
		field.Enum("status").GoType(enum.ToolExecutionStatus("")).SchemaType(textType()).Annotations(gql("ToolExecutionStatus")).Comment("Where the call stands."),
		field.JSON("parameters", map[string]any{}).Optional().Annotations(guarded(), redacted()).Comment("Arguments; redacted for those who may not see the data in them."),
		field.Any("result").Optional().Annotations(gql("Any"), guarded(), redacted()).Comment("What the tool returned; redacted likewise."),
		field.String("error").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), redacted()).Comment("What went wrong, as a sentence."),
		field.Enum("error_code").GoType(enum.ToolErrorCode("")).Optional().Nillable().SchemaType(textType()).Annotations(gql("ToolErrorCode")).Comment("What went wrong, as a code."),
		field.Enum("reason_code").GoType(enum.ToolReasonCode("")).Optional().Nillable().SchemaType(textType()).Annotations(gql("ToolReasonCode")).Comment("Why the call was rejected or cancelled."),
		field.Int("execution_time_ms").Optional().Nillable().Annotations(guarded()).Comment("How long it ran, in milliseconds."),
		field.Bool("cached").Default(false).Comment("Whether the result was reused."),
		field.String("cache_key").Optional().Nillable().SchemaType(textType()).Annotations(hidden()).Comment("Key of the reusable result."),
		ref("cache_entry_id", "cacheEntryId", "The reused result.").opt(),
		field.Bool("requires_approval").Default(false).Comment("Whether the call waits for a person."),
		field.Time("started_at").Optional().Nillable().Annotations(entgql.OrderField("STARTED_AT")).Comment("When it began to run."),
		field.Time("completed_at").Optional().Nillable().Annotations(entgql.OrderField("COMPLETED_AT")).Comment("When it ended, however it ended."),
		field.Int("tool_version").Immutable().Comment("The tool's version that was asked for."),
		field.String("args_hash").Immutable().SchemaType(textType()).Annotations(guarded()).Comment("SHA-256 (hex) of the RFC 8785 JSON of tool, version, parameters and secrets."),
		field.Enum("effective_risk").GoType(enum.RiskLevel("")).SchemaType(textType()).Annotations(gql("RiskLevel")).Comment("Risk after the conversation's sensitivity was weighed."),
		ref("retry_of", "retryOf", "The call this one repeats.").fixed().opt(),
		field.Time("lease_expires_at").Optional().Nillable().Annotations(hidden()).Comment("Until when a worker holds the call."),
		field.String("call_id").Optional().Nillable().SchemaType(textType()).Annotations(entgql.Annotation{Mapping: []string{"callId"}}, guarded()).Comment("The model's id of the call."),
		ref("reply_id", "replyId", "The answer the call belongs to.").fixed().opt(),
		field.String("idempotency_key").Optional().Nillable().SchemaType(textType()).Annotations(hidden()).Comment("The client's key; unique for a user."),
		field.Enum("result_sensitivity").GoType(enum.Sensitivity("")).Optional().Nillable().SchemaType(textType()).Annotations(gql("Sensitivity")).Comment("How confidential the result is."),
	}
}

// Edges of ToolExecution.
func (ToolExecution) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("tool", Tool.Type).Ref("executions").Field("tool_id").Unique().Required().Immutable().Comment("The tool called."),
		edge.From("user", User.Type).Ref("tool_executions").Field("user_id").Unique().Required().Immutable().Comment("Who asked for the call."),
		edge.From("session", ChatSession.Type).Ref("tool_executions").Field("session_id").Unique().Comment("The conversation."),
		edge.To("approval", ToolApproval.Type).Unique().Annotations(restrict).Comment("The approval request, if one was needed."),
		edge.From("cache_entry", ToolCache.Type).Ref("hits").Field("cache_entry_id").Unique().Comment("The reused result."),
		edge.To("chat_messages", ChatMessage.Type).Annotations(many(restrict)...).Comment("Messages that report the call."),
		edge.To("audit_logs", AuditLog.Type).Annotations(many(restrict)...).Comment("Audit rows of the call."),
		edge.To("secret_access_logs", SecretAccessLog.Type).Annotations(many(restrict)...).Comment("Uses of secrets by the call."),
		edge.To("retries", ToolExecution.Type).Annotations(many(restrict)...).Comment("Calls that repeat this one.").
			From("original").Field("retry_of").Unique().Immutable().Comment("The call this one repeats."),
	}
}

// Indexes of ToolExecution.
func (ToolExecution) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("tool_id", "created_at"), index.Fields("user_id", "created_at"), index.Fields("session_id", "created_at"),
		index.Fields("status", "created_at"), index.Fields("cache_entry_id"), index.Fields("retry_of"), index.Fields("reply_id"),
		index.Fields("lease_expires_at").Annotations(entsql.IndexWhere("status = 'RUNNING'")),
		index.Fields("tool_id", "status").Annotations(entsql.IndexWhere("status IN ('PENDING', 'RUNNING')")),
		index.Fields("user_id", "idempotency_key").Unique(),
		index.Fields("reply_id", "call_id").Unique(),
	}
}

// Annotations of ToolExecution.
func (ToolExecution) Annotations() []schema.Annotation { return node() }

// Policy of ToolExecution.
func (ToolExecution) Policy() ent.Policy { return rule.For("ToolExecution") }
