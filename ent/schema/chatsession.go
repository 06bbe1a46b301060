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

// ChatSession is a conversation.
type ChatSession struct{ ent.Schema }

// Mixin of ChatSession.
func (ChatSession) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.ChatSession}, Mutable{}} }

// Fields of ChatSession.
func (ChatSession) Fields() []ent.Field {
	return []ent.Field{
		ref("user_id", "userId", "Whose conversation it is.").fixed(),
		field.String("title").Default("").SchemaType(textType()).Annotations(entgql.OrderField("TITLE")).Comment("Title as shown in lists; empty when none was given."),
		field.Int("context_window_size").Default(8192).Comment("Tokens the model is given at most."),
		field.String("model").Default("").SchemaType(textType()).Comment("Name of the chat model."),
		field.Float("temperature").Default(0.2).Comment("Sampling temperature, 0..2."),
		field.Bool("is_active").Default(true).Comment("False once archived."),
		field.Time("last_message_at").Optional().Nillable().Annotations(entgql.OrderField("LAST_MESSAGE_AT")).Comment("When the last message was added; null before the first."),
		field.String("system_prompt").Default("").SchemaType(textType()).Annotations(guarded(), personal("-")).Comment("Instructions given to the model; empty for none, null for others than the owner."),
		field.Enum("sensitivity").GoType(enum.Sensitivity("")).Default(string(enum.SensitivityPublic)).SchemaType(textType()).Annotations(gql("Sensitivity")).Comment("The highest sensitivity the conversation has seen; it only rises."),
		field.Time("archived_at").Optional().Nillable().Comment("When the conversation was archived; null while it is not."),
		ref("forked_from", "forkedFrom", "The conversation this one was forked from.").opt(),
	}
}

// Edges of ChatSession.
func (ChatSession) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("user", User.Type).Ref("chat_sessions").Field("user_id").Unique().Required().Immutable().Comment("Whose conversation it is."),
		edge.To("messages", ChatMessage.Type).Annotations(many(cascade)...).Comment("Messages, oldest first."),
		edge.To("context_window", ContextWindow.Type).Unique().Annotations(cascade).Comment("What of the conversation the model was given last."),
		edge.To("tool_executions", ToolExecution.Type).Annotations(many(setNull)...).Comment("Tool calls made in the conversation."),
		edge.To("search_results", SearchResult.Type).Annotations(many(setNull)...).Comment("Hits of searches made in the conversation."),
		edge.To("forks", ChatSession.Type).Annotations(many(setNull)...).Comment("Conversations forked from this one.").
			From("origin").Field("forked_from").Unique().Comment("The conversation this one was forked from."),
	}
}

// Indexes of ChatSession.
func (ChatSession) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("user_id", "created_at"), index.Fields("user_id", "last_message_at"), index.Fields("is_active"), index.Fields("forked_from"), index.Fields("created_at"),
		index.Fields("title").Annotations(entsql.IndexType("GIN"), entsql.OpClass("gin_trgm_ops")),
	}
}

// Annotations of ChatSession.
func (ChatSession) Annotations() []schema.Annotation { return node() }

// Policy of ChatSession.
func (ChatSession) Policy() ent.Policy { return rule.For("ChatSession") }
