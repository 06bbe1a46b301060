package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"
	"github.com/google/uuid"
	"github.com/pgvector/pgvector-go"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// SearchResult is one hit of one search.
type SearchResult struct{ ent.Schema }

// Mixin of SearchResult.
func (SearchResult) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.SearchResult}} }

// Fields of SearchResult.
func (SearchResult) Fields() []ent.Field {
	return []ent.Field{
		field.String("query").SchemaType(textType()).Immutable().Annotations(guarded()).Comment("What was searched for; shown to the searcher only."),
		field.Other("query_embedding", pgvector.Vector{}).SchemaType(map[string]string{dialect.Postgres: "vector(1536)"}).Optional().Immutable().Annotations(hidden()).Comment("[]float32, len 1536, of the query."),
		ref("chunk_id", "chunkId", "The passage found; null once it is gone.").opt(),
		field.Float("relevance_score").Immutable().Annotations(entgql.OrderField("RELEVANCE_SCORE")).Comment("Place value within its search, 0..1, as SearchHit.score; not to be compared between searches."),
		field.Int("rank").Immutable().Annotations(entgql.OrderField("RANK")).Comment("Place in the list, from 1."),
		ref("user_id", "userId", "Who searched.").fixed(),
		ref("session_id", "sessionId", "The conversation it was searched in.").opt(),
		field.Enum("search_type").GoType(enum.SearchType("")).SchemaType(textType()).Immutable().Annotations(gql("SearchType")).Comment("How it was ranked."),
		field.JSON("filters_applied", map[string]any{}).Optional().Immutable().Annotations(guarded()).Comment("Filters of the search."),
		field.Bool("was_helpful").Optional().Nillable().Comment("The searcher's verdict; null until given."),
		field.UUID("search_id", uuid.UUID{}).Immutable().Annotations(entgql.Annotation{Type: "ID", Mapping: []string{"searchId"}}).Comment("Groups the hits of one search."),
		ref("document_id", "documentId", "The document, kept when the passage is gone.").fixed(),
		field.Int("start_offset").Default(0).Immutable().Annotations(guarded()).Comment("Where the passage starts in the document's text."),
		field.Int("end_offset").Default(0).Immutable().Annotations(guarded()).Comment("Where it ends, exclusive."),
	}
}

// Edges of SearchResult.
func (SearchResult) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("chunk", DocumentChunk.Type).Ref("search_results").Field("chunk_id").Unique().Comment("The passage found."),
		edge.From("user", User.Type).Ref("search_results").Field("user_id").Unique().Required().Immutable().Comment("Who searched."),
		edge.From("session", ChatSession.Type).Ref("search_results").Field("session_id").Unique().Comment("The conversation."),
	}
}

// Indexes of SearchResult.
func (SearchResult) Indexes() []ent.Index {
	return []ent.Index{index.Fields("chunk_id"), index.Fields("user_id", "created_at"), index.Fields("session_id"), index.Fields("search_id"), index.Fields("document_id")}
}

// Annotations of SearchResult.
func (SearchResult) Annotations() []schema.Annotation { return node() }

// Policy of SearchResult.
func (SearchResult) Policy() ent.Policy { return rule.For("SearchResult") }
