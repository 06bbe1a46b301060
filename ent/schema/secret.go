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

// Secret is a credential that tools use without its being shown.
type Secret struct{ ent.Schema }

// Mixin of Secret.
func (Secret) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Secret}, Mutable{}} }

// Fields of Secret.
func (Secret) Fields() []ent.Field {
	return []ent.Field{
		field.String("name").Unique().SchemaType(textType()).Annotations(entgql.OrderField("NAME")).Comment("Unique name by which tools refer to it."),
		field.String("display_name").Default("").SchemaType(textType()).Annotations(guarded()).Comment("Name as shown to people; may be empty."),
		field.String("description").Default("").SchemaType(textType()).Annotations(guarded()).Comment("What it is for; may be empty."),
		field.Enum("secret_type").GoType(enum.SecretType("")).SchemaType(textType()).Annotations(gql("SecretType")).Comment("What kind of secret it is."),
		field.Bytes("encrypted_value").Sensitive().Annotations(hidden()).Comment("The current version's ciphertext."),
		field.String("encryption_key_id").Sensitive().SchemaType(textType()).Annotations(hidden()).Comment("The key that wraps the current version."),
		jsonField("metadata", "Free-form facts about the secret; never its value."),
		textArray("tags", "Labels."),
		ref("owner_id", "ownerId", "Who owns it."),
		field.String("required_permission").Optional().Nillable().SchemaType(textType()).Comment("Opens it to holders of the permission besides the owner."),
		field.Bool("is_active").Default(true).Comment("False once deleted."),
		field.Bool("is_rotatable").Default(true).Comment("Whether it can be rotated."),
		field.Bool("rotation_enabled").Default(false).Comment("Whether it is rotated by itself."),
		field.Int("rotation_days").Optional().Nillable().Annotations(guarded()).Comment("Days between rotations."),
		field.Time("last_rotated").Optional().Nillable().Comment("When it was last rotated."),
		field.Time("next_rotation").Optional().Nillable().Annotations(entgql.OrderField("NEXT_ROTATION")).Comment("When it is to be rotated next."),
		field.Time("expires_at").Optional().Nillable().Annotations(entgql.OrderField("EXPIRES_AT")).Comment("When it stops being valid."),
		field.Time("last_accessed").Optional().Nillable().Comment("When it was last used or shown, at most one write a minute."),
		field.Enum("sensitivity").GoType(enum.Sensitivity("")).Default(string(enum.SensitivityRestricted)).SchemaType(textType()).Annotations(gql("Sensitivity")).Comment("How confidential it is."),
		field.Enum("rotation_state").GoType(enum.SecretRotationState("")).Default(string(enum.SecretRotationStateIdle)).SchemaType(textType()).Annotations(gql("SecretRotationState")).Comment("The step a rotation has reached."),
		field.String("rotation_error").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why the last rotation failed."),
		field.Int("current_version").Default(1).Comment("Number of the current version."),
		textArray("allowed_tools", "Tools that may use it; empty means none."),
		textArray("allowed_hosts", "Hosts it may be sent to; empty means none."),
	}
}

// Edges of Secret.
func (Secret) Edges() []ent.Edge {
	return []ent.Edge{
		edge.From("owner", User.Type).Ref("secrets").Field("owner_id").Unique().Required().Comment("Who owns it."),
		edge.To("versions", SecretVersion.Type).Annotations(many(restrict)...).Comment("Versions, oldest first."),
		edge.To("access_logs", SecretAccessLog.Type).Annotations(many(restrict)...).Comment("Who used it, when and how."),
	}
}

// Indexes of Secret.
func (Secret) Indexes() []ent.Index {
	return []ent.Index{index.Fields("owner_id"), index.Fields("is_active"), index.Fields("next_rotation"), index.Fields("expires_at"), index.Fields("rotation_state"), index.Fields("created_at")}
}

// Annotations of Secret.
func (Secret) Annotations() []schema.Annotation { return node() }

// Policy of Secret.
func (Secret) Policy() ent.Policy { return rule.For("Secret") }
