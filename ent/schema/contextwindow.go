package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// ContextWindow is what of a conversation the model was given last.
type ContextWindow struct{ ent.Schema }

// Mixin of ContextWindow.
func (ContextWindow) Mixin() []ent.Mixin {
	return []ent.Mixin{Base{Tag: uid.ContextWindow}, Mutable{}}
}

// Fields of ContextWindow.
func (ContextWindow) Fields() []ent.Field {
	return []ent.Field{
		ref("session_id", "sessionId", "The conversation.").fixed().unique(),
		field.Int("total_tokens").Default(0).Comment("Tokens of the messages included."),
		field.Int("max_tokens").Default(8192).Comment("Tokens that fit."),
		field.JSON("included_message_ids", []string{}).Optional().Annotations(gql("[ID!]"), guarded()).Comment("Messages the model was given, oldest first."),
		field.Enum("strategy").GoType(enum.ContextStrategy("")).Default(string(enum.ContextStrategySlidingWindow)).SchemaType(textType()).Annotations(gql("ContextStrategy")).Comment("How the conversation is fitted into the window."),
		field.String("summary").Default("").SchemaType(textType()).Annotations(guarded()).Comment("Summary standing for the oldest messages; empty when there is none."),
		ref("summary_until_message_id", "summaryUntilMessageId", "The last message the summary covers.").opt(),
		field.JSON("decisions", []map[string]any{}).Optional().Annotations(gql("[Map!]"), guarded()).Comment("For each message: KEPT, SUMMARIZED, PRUNED or DROPPED, and why."),
	}
}

// Edges of ContextWindow.
func (ContextWindow) Edges() []ent.Edge {
	return []ent.Edge{edge.From("session", ChatSession.Type).Ref("context_window").Field("session_id").Unique().Required().Immutable().Comment("The conversation.")}
}

// Annotations of ContextWindow.
func (ContextWindow) Annotations() []schema.Annotation { return node() }

// Policy of ContextWindow.
func (ContextWindow) Policy() ent.Policy { return rule.For("ContextWindow") }
