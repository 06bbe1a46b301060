package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// SecretVersion is one value a secret has had.
type SecretVersion struct{ ent.Schema }

// Mixin of SecretVersion.
func (SecretVersion) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.SecretVersion}} }

// Fields of SecretVersion.
func (SecretVersion) Fields() []ent.Field {
	return []ent.Field{
		ref("secret_id", "secretId", "The secret.").fixed(),
		field.Int("version_number").Immutable().Annotations(entgql.OrderField("VERSION_NUMBER")).Comment("1, 2, 3 and so on."),
		field.Bytes("encrypted_value").Sensitive().Annotations(hidden()).Comment("Ciphertext, bound to secret and version as associated data."),
		field.String("encryption_key_id").Sensitive().SchemaType(textType()).Annotations(hidden()).Comment("The key that wraps wrapped_key."),
		field.Bytes("wrapped_key").Sensitive().Optional().Annotations(hidden()).Comment("Data key, wrapped."),
		ref("created_by", "createdBy", "Who created the version.").opt().fixed(),
		field.String("rotation_reason").Default("").SchemaType(textType()).Annotations(guarded()).Comment("Why the version was made; may be empty."),
		field.Bool("is_active").Default(true).Comment("Whether the version can be used."),
		field.Enum("stage").GoType(enum.SecretVersionStage("")).SchemaType(textType()).Annotations(gql("SecretVersionStage")).Comment("Where the version stands in its life."),
	}
}

// Edges of SecretVersion.
func (SecretVersion) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("secret", Secret.Type).Ref("versions").Field("secret_id").Unique().Required().Immutable().Comment("The secret."),
		edge.From("creator", User.Type).Ref("created_secret_versions").Field("created_by").Unique().Immutable().Comment("Who created the version."),
	}
}

// Indexes of SecretVersion.
func (SecretVersion) Indexes() []ent.Index {
	return []ent.Index{index.Fields("secret_id", "version_number").Unique(), index.Fields("created_by"), index.Fields("stage")}
}

// Annotations of SecretVersion.
func (SecretVersion) Annotations() []schema.Annotation { return node() }

// Policy of SecretVersion.
func (SecretVersion) Policy() ent.Policy { return rule.For("SecretVersion") }
