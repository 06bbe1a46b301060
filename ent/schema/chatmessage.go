package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/cite"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// ChatMessage is one message of a conversation.
type ChatMessage struct{ ent.Schema }

// Mixin of ChatMessage.
func (ChatMessage) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.ChatMessage}, Mutable{}} }

// Fields of ChatMessage.
func (ChatMessage) Fields() []ent.Field {
	return []ent.Field{
		ref("session_id", "sessionId", "The conversation.").fixed(),
		ref("user_id", "userId", "The person whose conversation it is; role tells who wrote the message.").fixed().opt(),
		ref("tool_execution_id", "toolExecutionId", "The tool call a TOOL message reports; null for others.").fixed().opt(),
		ref("parent_id", "parentId", "The message this one answers, reports to or replaces; null for one that begins.").fixed().opt(),
		field.Enum("role").GoType(enum.MessageRole("")).SchemaType(textType()).Immutable().Annotations(gql("MessageRole")).Comment("Who wrote the message. A TOOL message comes after the reply that its result went into: the last word is the last message where roleIn is [USER, ASSISTANT]."),
		field.Enum("status").GoType(enum.MessageStatus("")).Default(string(enum.MessageStatusPending)).SchemaType(textType()).Annotations(gql("MessageStatus")).Comment("How far the message has come."),
		field.String("content").Default("").SchemaType(textType()).Annotations(guarded()).Comment("The text; of a TOOL message, what the model was given of the result, as JSON. Empty while an answer has none yet."),
		field.Int("tokens").Default(0).Comment("Tokens of the content, as estimated or reported."),
		field.String("model").Default("").SchemaType(textType()).Comment("The model that wrote the message; empty for messages of people and tools."),
		jsonField("metadata", "Free-form facts about the message."),
		field.String("finish_reason").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why the model stopped: stop, length, tool_limit, step_limit or cancelled; null for what no model wrote and until it stops."),
		field.Int("input_tokens").Default(0).Annotations(guarded()).Comment("Tokens the model read for this answer."),
		field.Int("output_tokens").Default(0).Annotations(guarded()).Comment("Tokens the model wrote for this answer."),
		field.JSON("citations", []cite.Citation{}).Optional().Annotations(hidden()).Comment("Passages the answer rests on."),
		field.JSON("tool_calls", []map[string]any{}).Optional().Annotations(hidden()).Comment("Tool calls the model asked for."),
		field.Bool("is_pinned").Default(false).Comment("Pinned messages stay in the model's window."),
		field.String("error_code").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why the answer failed, as a code; null unless it failed."),
		field.String("idempotency_key").Optional().Nillable().SchemaType(textType()).Annotations(hidden()).Comment("The client's key; unique in a conversation."),
		field.Int("attempt").Default(0).Annotations(guarded()).Comment("Rises when a lost run starts again; the text then starts anew."),
		field.Time("lease_expires_at").Optional().Nillable().Annotations(hidden()).Comment("Until when a worker holds the answer; null while no one works on it."),
		field.Uint64("stream_position").Default(0).Annotations(hidden()).Comment("Position in the event stream before the attempt's first delta."),
		field.Bool("cancel_requested").Default(false).Annotations(hidden()).Comment("Set when the owner asked to stop the answer."),
	}
}

// Edges of ChatMessage.
func (ChatMessage) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("session", ChatSession.Type).Ref("messages").Field("session_id").Unique().Required().Immutable().Comment("The conversation."),
		edge.From("user", User.Type).Ref("chat_messages").Field("user_id").Unique().Immutable().Comment("Whose conversation it is."),
		edge.From("tool_execution", ToolExecution.Type).Ref("chat_messages").Field("tool_execution_id").Unique().Immutable().Comment("The tool call reported."),
		edge.To("children", ChatMessage.Type).Annotations(many(setNull)...).Comment("Messages that answer, report to or replace this one.").
			From("parent").Field("parent_id").Unique().Immutable().Comment("The message this one belongs to."),
	}
}

// Indexes of ChatMessage.
func (ChatMessage) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("session_id", "created_at"),
		index.Fields("user_id", "created_at"),
		index.Fields("tool_execution_id"),
		index.Fields("parent_id"),
		index.Fields("status", "lease_expires_at").Annotations(entsql.IndexWhere("status IN ('PENDING', 'STREAMING')")),
		index.Fields("session_id", "idempotency_key").Unique(),
	}
}

// Annotations of ChatMessage.
func (ChatMessage) Annotations() []schema.Annotation { return node() }

// Policy of ChatMessage.
func (ChatMessage) Policy() ent.Policy { return rule.For("ChatMessage") }
