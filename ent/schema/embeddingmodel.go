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

// EmbeddingModel says how texts become vectors.
type EmbeddingModel struct{ ent.Schema }

// Mixin of EmbeddingModel.
func (EmbeddingModel) Mixin() []ent.Mixin {
	return []ent.Mixin{Base{Tag: uid.EmbeddingModel}, Mutable{}}
}

// Fields of EmbeddingModel.
func (EmbeddingModel) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique().SchemaType(textType()).Annotations(entgql.OrderField("NAME")).Comment("Unique name."),
		field.String("display_name").SchemaType(textType()).Annotations(guarded()).Comment("Name as shown to people."),
		field.Enum("provider").GoType(enum.EmbeddingProvider("")).SchemaType(textType()).Annotations(gql("EmbeddingProvider")).Comment("What computes the vectors."),
		field.String("model_id").SchemaType(textType()).Annotations(entgql.Annotation{Mapping: []string{"modelId"}}).Comment("The provider's name of the model."),
		field.Int("dimension").Comment("Dimensions the model gives, at most 1536."),
		field.Int("max_tokens").Default(512).Comment("Longest text, in tokens."),
		field.Float("cost_per_1k_tokens").Default(0).Annotations(guarded()).Comment("USD per 1,000 tokens."),
		field.Bool("is_active").Default(true).Comment("Whether it may be used."),
		field.Bool("is_default").Default(false).Comment("Whether new documents and searches use it; at most one."),
		field.Float("avg_latency_ms").Optional().Nillable().Annotations(guarded()).Comment("Moving average, in milliseconds."),
	}
}

// Edges of EmbeddingModel.
func (EmbeddingModel) Edges() []ent.Edge {
	return []ent.Edge{edge.To("chunks", DocumentChunk.Type).Annotations(many(restrict)...).Comment("Passages embedded with it.")}
}

// Indexes of EmbeddingModel.
func (EmbeddingModel) Indexes() []ent.Index {
	return []ent.Index{index.Fields("is_default").Unique().Annotations(entsql.IndexWhere("is_default")), index.Fields("is_active")}
}

// Annotations of EmbeddingModel.
func (EmbeddingModel) Annotations() []schema.Annotation { return node() }

// Policy of EmbeddingModel.
func (EmbeddingModel) Policy() ent.Policy { return rule.For("EmbeddingModel") }
