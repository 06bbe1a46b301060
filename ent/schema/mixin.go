// Package schema is the ent schema graph: 20 entities, one file each. A field's comment is its description in
// GraphQL and in the database's documentation.
package schema

import (
	"strconv"
	"time"

	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/entsql"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/mixin"
	"github.com/google/uuid"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/pgarray"
	"cdsa.dev/cdsa/internal/uid"
)

// Base gives every entity its tagged id and its creation time.
type Base struct {
	mixin.Schema
	Tag uid.Tag
}

// Fields of Base.
func (b Base) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uid.Maker(b.Tag)).Immutable().Comment("UUIDv7 whose last byte is the entity's tag."),
		field.Time("created_at").Default(now).Immutable().Annotations(entgql.OrderField("CREATED_AT")).Comment("When the row was made."),
	}
}

// Mutable adds the time of the last change.
type Mutable struct{ mixin.Schema }

// Fields of Mutable.
func (Mutable) Fields() []ent.Field {
	return []ent.Field{
		field.Time("updated_at").Default(now).UpdateDefault(now).Annotations(entgql.OrderField("UPDATED_AT")).Comment("When the row last changed."),
	}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// node makes an entity a Relay node with a root connection type.
func node() []schema.Annotation { return []schema.Annotation{entgql.RelayConnection()} }

// many makes a to-many edge a connection.
func many(extra ...schema.Annotation) []schema.Annotation {
	return append([]schema.Annotation{entgql.RelayConnection()}, extra...)
}

// hidden keeps a column out of the GraphQL schema altogether.
func hidden() schema.Annotation { return entgql.Skip(entgql.SkipAll) }

// guarded keeps a field out of filters and orders, which no field directive protects.
func guarded() schema.Annotation {
	return entgql.Skip(entgql.SkipWhereInput | entgql.SkipOrderField)
}

// gql publishes a field under a named GraphQL type.
func gql(name string) schema.Annotation { return entgql.Type(name) }

// personal shows a field of a user only to that user and to holders of permission; to others it is null.
func personal(permission string) schema.Annotation {
	return entgql.Directives(entgql.NewDirective("selfOr", &ast.Argument{
		Name: "permission", Value: &ast.Value{Raw: permission, Kind: ast.StringValue},
	}))
}

// redacted shows a tool call's data only to those who may see it.
func redacted() schema.Annotation { return entgql.Directives(entgql.NewDirective("redacted")) }

// readersOnly shows a document's text only to its readers.
func readersOnly() schema.Annotation { return entgql.Directives(entgql.NewDirective("readersOnly")) }

// weighs is what a large field costs against the caller's budget.
func weighs(cost int) schema.Annotation {
	return entgql.Directives(entgql.NewDirective("cost", &ast.Argument{
		Name: "weight", Value: &ast.Value{Raw: strconv.Itoa(cost), Kind: ast.IntValue},
	}))
}

// ref is a uuid column published as an ID under the contract's name.
func ref(column, name, comment string) *fieldUUID {
	return &fieldUUID{column: column, name: name, comment: comment}
}

type fieldUUID struct {
	column, name, comment        string
	optional, immutable, unique_ bool
}

func (f *fieldUUID) opt() *fieldUUID    { f.optional = true; return f }
func (f *fieldUUID) fixed() *fieldUUID  { f.immutable = true; return f }
func (f *fieldUUID) unique() *fieldUUID { f.unique_ = true; return f }

func (f *fieldUUID) Descriptor() *field.Descriptor {
	b := field.UUID(f.column, uuid.UUID{}).Comment(f.comment).Annotations(entgql.Annotation{Type: "ID", Mapping: []string{f.name}})
	if f.optional {
		b = b.Optional().Nillable()
	}
	if f.immutable {
		b = b.Immutable()
	}
	if f.unique_ {
		b = b.Unique()
	}
	return b.Descriptor()
}

// textArray is a text[] column, never null, out of filters.
func textArray(name, comment string) ent.Field {
	return field.Other(name, pgarray.Strings{}).SchemaType(map[string]string{dialect.Postgres: "text[]"}).
		Default(func() pgarray.Strings { return pgarray.Strings{} }).
		Annotations(entgql.Type("[String!]"), entgql.Skip(entgql.SkipWhereInput|entgql.SkipOrderField), entsql.DefaultExpr("'{}'")).Comment(comment)
}

func textType() map[string]string { return map[string]string{dialect.Postgres: "text"} }

// jsonField is a jsonb object column.
func jsonField(name, comment string) ent.Field {
	return field.JSON(name, map[string]any{}).Optional().Annotations(guarded()).Comment(comment)
}

var (
	restrict = entsql.OnDelete(entsql.Restrict)
	cascade  = entsql.OnDelete(entsql.Cascade)
	setNull  = entsql.OnDelete(entsql.SetNull)
	_        = edge.To
)
