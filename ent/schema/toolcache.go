package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// ToolCache is a result kept for reuse.
type ToolCache struct{ ent.Schema }

// Mixin of ToolCache.
func (ToolCache) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.ToolCache}, Mutable{}} }

// Fields of ToolCache.
func (ToolCache) Fields() []ent.Field {
	return []ent.Field{
		ref("tool_id", "toolId", "The tool.").fixed(),
		field.String("cache_key").SchemaType(textType()).Annotations(hidden()).Comment("Hash of tool version, arguments and, unless the tool is pure, the user."),
		field.JSON("parameters", map[string]any{}).Optional().Annotations(guarded(), redacted()).Comment("Arguments; never shown."),
		field.Any("result").Optional().Annotations(gql("Any"), guarded(), redacted()).Comment("The result; never shown."),
		field.Int("hit_count").Default(0).Comment("How often it was reused."),
		field.Time("last_hit_at").Optional().Nillable().Comment("When it was last reused."),
		field.Time("expires_at").Comment("When it may no longer be reused."),
	}
}

// Edges of ToolCache.
func (ToolCache) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("tool", Tool.Type).Ref("cache_entries").Field("tool_id").Unique().Required().Immutable().Comment("The tool."),
		edge.To("hits", ToolExecution.Type).Annotations(many(setNull)...).Comment("Calls that reused it."),
	}
}

// Indexes of ToolCache.
func (ToolCache) Indexes() []ent.Index {
	return []ent.Index{index.Fields("tool_id", "cache_key").Unique(), index.Fields("expires_at")}
}

// Annotations of ToolCache.
func (ToolCache) Annotations() []schema.Annotation { return node() }

// Policy of ToolCache.
func (ToolCache) Policy() ent.Policy { return rule.For("ToolCache") }
