package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// SystemMetric is one measurement of performance or health.
type SystemMetric struct{ ent.Schema }

// Mixin of SystemMetric.
func (SystemMetric) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.SystemMetric}} }

// Fields of SystemMetric.
func (SystemMetric) Fields() []ent.Field {
	return []ent.Field{
		field.String("metric_name").SchemaType(textType()).Immutable().Comment("OpenTelemetry name, such as cdsa.chat.time_to_first_token."),
		field.Float("metric_value").Immutable().Comment("The value, in metric_unit."),
		field.String("metric_unit").Default("1").SchemaType(textType()).Immutable().Comment("UCUM unit, such as ms, By or 1."),
		field.String("component").Default("").SchemaType(textType()).Immutable().Comment("The part of the system measured; empty for all of it."),
		field.JSON("tags", map[string]any{}).Optional().Immutable().Annotations(guarded()).Comment("Attributes of the measurement."),
	}
}

// Indexes of SystemMetric.
func (SystemMetric) Indexes() []ent.Index {
	return []ent.Index{index.Fields("metric_name", "created_at"), index.Fields("created_at"), index.Fields("component")}
}

// Annotations of SystemMetric.
func (SystemMetric) Annotations() []schema.Annotation { return node() }

// Policy of SystemMetric.
func (SystemMetric) Policy() ent.Policy { return rule.For("SystemMetric") }
