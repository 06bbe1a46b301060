package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// Permission allows one action on one kind of resource.
type Permission struct{ ent.Schema }

// Mixin of Permission.
func (Permission) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Permission}} }

// Fields of Permission.
func (Permission) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique().SchemaType(textType()).Annotations(entgql.OrderField("NAME")).Comment("resource:action."),
		field.String("description").Default("").SchemaType(textType()).Annotations(guarded()).Comment("What it allows; may be empty."),
		field.String("resource").SchemaType(textType()).Comment("What is accessed, such as chat or tools."),
		field.String("action").SchemaType(textType()).Comment("What is allowed, such as read, write or execute."),
	}
}

// Edges of Permission.
func (Permission) Edges() []ent.Edge {
	return []ent.Edge{edge.From("roles", Role.Type).Ref("permissions").Comment("Roles that hold it.")}
}

// Indexes of Permission.
func (Permission) Indexes() []ent.Index {
	return []ent.Index{index.Fields("resource", "action").Unique()}
}

// Annotations of Permission.
func (Permission) Annotations() []schema.Annotation { return node() }

// Policy of Permission.
func (Permission) Policy() ent.Policy { return rule.For("Permission") }
