package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"

	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// Role is a named set of permissions.
type Role struct{ ent.Schema }

// Mixin of Role.
func (Role) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Role}, Mutable{}} }

// Fields of Role.
func (Role) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique().SchemaType(textType()).Annotations(entgql.OrderField("NAME")).Comment("Unique name."),
		field.String("description").Default("").SchemaType(textType()).Annotations(guarded()).Comment("What holders of the role do; may be empty."),
		field.Bool("is_system").Default(false).Comment("Seeded roles cannot be deleted or renamed."),
	}
}

// Edges of Role.
func (Role) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("users", User.Type).Ref("roles").Annotations(many()...).Comment("Users who hold the role."),
		edge.To("permissions", Permission.Type).Comment("What the role allows."),
	}
}

// Annotations of Role.
func (Role) Annotations() []schema.Annotation { return node() }

// Policy of Role.
func (Role) Policy() ent.Policy { return rule.For("Role") }
