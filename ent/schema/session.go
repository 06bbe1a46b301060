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

// Session is a login session or an API token.
type Session struct{ ent.Schema }

// Mixin of Session.
func (Session) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.Session}} }

// Fields of Session.
func (Session) Fields() []ent.Field {
	return []ent.Field{
		ref("user_id", "userId", "Whose session it is."),
		field.String("token").Sensitive().SchemaType(textType()).Annotations(hidden()).Comment("SHA-256 of the present access token's id."),
		field.String("refresh_token").Sensitive().Optional().Nillable().Unique().SchemaType(textType()).Annotations(hidden()).Comment("SHA-256 of the opaque refresh token."),
		field.String("ip_address").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), personal("users:write")).Comment("Address the session was opened from."),
		field.String("user_agent").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), personal("users:write")).Comment("Client that opened the session."),
		field.Bool("is_active").Default(true).Comment("False once signed out, revoked or replaced."),
		field.Time("expires_at").Annotations(entgql.OrderField("EXPIRES_AT")).Comment("When the session ends unless it is refreshed."),
		field.Time("last_activity").Optional().Nillable().Comment("Last use, to the minute."),
		field.Enum("kind").GoType(enum.SessionKind("")).Default(string(enum.SessionKindInteractive)).SchemaType(textType()).Annotations(gql("SessionKind")).Comment("Interactive login or API token."),
		field.String("name").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Name of an API token; null for an interactive session."),
		textArray("scopes", "Permissions an API token is limited to; empty for an interactive session."),
		ref("family_id", "familyId", "The chain of refreshes the session belongs to."),
		field.Time("signed_in_at").Default(now).Immutable().Annotations(guarded(), entsql.DefaultExpr("now()")).Comment("When the user signed in; refreshes keep it, while id and createdAt are new each time. Of an API token: when it was made."),
		ref("replaced_by", "replacedBy", "The session that a refresh put in its place; null for one that was not refreshed.").opt(),
		field.Time("mfa_at").Optional().Nillable().Comment("When a second factor was last given in this session; null when none was."),
		field.Time("revoked_at").Optional().Nillable().Comment("When the session was revoked; null when it was not."),
		field.String("revoke_reason").Optional().Nillable().SchemaType(textType()).Annotations(guarded()).Comment("Why the session was revoked; null when it was not."),
	}
}

// Edges of Session.
func (Session) Edges() []ent.Edge {
	return []ent.Edge{edge.From("user", User.Type).Ref("sessions").Field("user_id").Unique().Required().Comment("Whose session it is.")}
}

// Indexes of Session.
func (Session) Indexes() []ent.Index {
	return []ent.Index{index.Fields("user_id", "created_at"), index.Fields("family_id"), index.Fields("is_active", "expires_at"), index.Fields("replaced_by"), index.Fields("token")}
}

// Annotations of Session.
func (Session) Annotations() []schema.Annotation { return node() }

// Policy of Session.
func (Session) Policy() ent.Policy { return rule.For("Session") }
