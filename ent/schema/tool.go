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

// Tool is something the assistant or a person can call.
type Tool struct{ ent.Schema }

// Mixin of Tool.
func (Tool) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Tool}, Mutable{}} }

// Fields of Tool.
func (Tool) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique().SchemaType(textType()).Annotations(entgql.OrderField("NAME")).Comment("Unique name by which it is called."),
		field.String("display_name").SchemaType(textType()).Annotations(guarded()).Comment("Name as shown to people."),
		field.String("description").Default("").SchemaType(textType()).Annotations(guarded()).Comment("What it does, as told to the model; may be empty."),
		field.Enum("category").GoType(enum.ToolCategory("")).SchemaType(textType()).Annotations(gql("ToolCategory")).Comment("Kind of work."),
		field.JSON("schema", map[string]any{}).Annotations(guarded()).Comment("JSON Schema 2020-12 of the parameters."),
		field.JSON("output_schema", map[string]any{}).Optional().Annotations(guarded()).Comment("JSON Schema 2020-12 of the result."),
		field.Bool("requires_approval").Default(false).Comment("Raises the tool to at least the gate of HIGH risk."),
		field.Enum("risk_level").GoType(enum.RiskLevel("")).SchemaType(textType()).Annotations(gql("RiskLevel")).Comment("How much harm a call can do."),
		field.String("required_permission").Optional().Nillable().SchemaType(textType()).Comment("Needed besides tools:execute."),
		field.Bool("is_active").Default(true).Comment("An inactive tool cannot be called."),
		field.Bool("is_system").Default(false).Comment("Built in; cannot be deleted."),
		field.Int("max_concurrent_executions").Default(4).Annotations(guarded()).Comment("Calls that may run at once."),
		field.Int("timeout_seconds").Default(30).Annotations(guarded()).Comment("Longest run, in seconds."),
		field.Enum("executor").GoType(enum.ToolExecutor("")).SchemaType(textType()).Annotations(gql("ToolExecutor")).Comment("What runs the tool."),
		field.JSON("executor_config", map[string]any{}).Optional().Annotations(hidden()).Comment("Settings of the executor; names secrets, never holds their values."),
		jsonField("hints", "readOnly, destructive, idempotent, openWorld; absent means the worst case."),
		field.Int("version").Default(1).Comment("Rises with every change that matters to an approver."),
		field.Int("cache_ttl_seconds").Default(0).Annotations(entgql.Annotation{Mapping: []string{"cacheTtlSeconds"}}, guarded()).Comment("How long a result may be reused, in seconds; 0 never."),
	}
}

// Edges of Tool.
func (Tool) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("executions", ToolExecution.Type).Annotations(many(restrict)...).Comment("Calls of the tool."),
		edge.To("cache_entries", ToolCache.Type).Annotations(many(cascade)...).Comment("Results kept for reuse."),
		edge.To("secret_access_logs", SecretAccessLog.Type).Annotations(many(restrict)...).Comment("Uses of secrets by the tool."),
	}
}

// Indexes of Tool.
func (Tool) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("is_active"), index.Fields("category"), index.Fields("created_at"),
		index.Fields("display_name").Annotations(entsql.IndexType("GIN"), entsql.OpClass("gin_trgm_ops")),
	}
}

// Annotations of Tool.
func (Tool) Annotations() []schema.Annotation { return node() }

// Policy of Tool.
func (Tool) Policy() ent.Policy { return rule.For("Tool") }
