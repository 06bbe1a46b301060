package schema

import (
	"entgo.io/contrib/entgql"
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/schema"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"entgo.io/ent/schema/index"

	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// User is a person's account.
type User struct{ ent.Schema }

// Mixin of User.
func (User) Mixin() []ent.Mixin { return []ent.Mixin{Base{Tag: uid.User}, Mutable{}} }

// Fields of User.
func (User) Fields() []ent.Field {
	own := func() schema.Annotation { return personal("users:read") }
	citext := map[string]string{dialect.Postgres: "citext"}
	return []ent.Field{
		field.String("email").Unique().SchemaType(citext).Annotations(guarded(), own()).Comment("E-mail address, unique without regard to case."),
		field.String("username").Unique().SchemaType(citext).Annotations(entgql.OrderField("USERNAME")).Comment("Login name, unique without regard to case; never contains @."),
		field.String("hashed_password").Sensitive().SchemaType(textType()).Annotations(hidden()).Comment("argon2id hash (RFC 9106); empty when the account has no password."),
		field.String("full_name").Default("").SchemaType(textType()).Annotations(guarded()).Comment("Name as shown to others; empty when none was given."),
		field.Bool("is_active").Default(true).Annotations(guarded(), own()).Comment("A deactivated user can do nothing."),
		field.Bool("is_superuser").Default(false).Annotations(guarded(), own()).Comment("Passes every permission check; each use is audited."),
		field.Bool("is_verified").Default(false).Annotations(guarded(), own()).Comment("Whether the e-mail address was verified."),
		field.Time("last_login").Optional().Nillable().Annotations(guarded(), own()).Comment("When the user last signed in; null when never."),
		field.Bytes("totp_secret").Sensitive().Optional().Annotations(hidden()).Comment("TOTP secret, encrypted."),
		field.Int64("totp_last_step").Default(0).Annotations(hidden()).Comment("Time step of the last TOTP code that was taken: no step is taken twice (RFC 6238 section 5.2)."),
		field.Time("totp_enabled_at").Optional().Nillable().Annotations(guarded(), own()).Comment("When the second factor was confirmed; null without one."),
		field.Strings("recovery_codes").Sensitive().Optional().Annotations(hidden()).Comment("argon2id hashes of unused recovery codes."),
		field.Int("failed_login_count").Default(0).Annotations(guarded(), own()).Comment("Failed sign-ins since the last success."),
		field.Time("locked_until").Optional().Nillable().Annotations(guarded(), own()).Comment("Sign-in is refused before this time; null without a pause."),
		field.Time("password_changed_at").Optional().Nillable().Annotations(guarded(), own()).Comment("When the password last changed."),
		field.Time("tokens_valid_after").Optional().Nillable().Annotations(guarded(), own()).Comment("Tokens issued before this time are refused."),
		field.String("oidc_issuer").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), own()).Comment("Issuer of the linked OpenID Connect identity."),
		field.String("oidc_subject").Optional().Nillable().SchemaType(textType()).Annotations(guarded(), own()).Comment("Subject of the linked OpenID Connect identity."),
		field.Time("erased_at").Optional().Nillable().Annotations(guarded(), own()).Comment("When the user's personal data was erased."),
	}
}

// Edges of User.
func (User) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("roles", Role.Type).Comment("Roles the user holds."),
		edge.To("sessions", Session.Type).Annotations(many(cascade)...).Comment("Login sessions and API tokens that have not ended; a filter of one's own shows ended ones too, unless it says ended: false."),
		edge.To("chat_sessions", ChatSession.Type).Annotations(many(cascade)...).Comment("Conversations."),
		edge.To("chat_messages", ChatMessage.Type).Annotations(many(restrict)...).Comment("Messages in the user's conversations."),
		edge.To("tool_executions", ToolExecution.Type).Annotations(many(restrict)...).Comment("Tool calls the user asked for."),
		edge.To("tool_approvals", ToolApproval.Type).Annotations(many(restrict)...).Comment("Approval requests the user made."),
		edge.To("decided_approvals", ToolApproval.Type).Annotations(many(restrict)...).Comment("Approval requests the user's decision settled."),
		edge.To("audit_logs", AuditLog.Type).Annotations(many(restrict)...).Comment("Audit rows of the user's acts."),
		edge.To("secrets", Secret.Type).Annotations(many(restrict)...).Comment("Secrets the user owns."),
		edge.To("documents", Document.Type).Annotations(many(restrict)...).Comment("Documents the user uploaded."),
		edge.To("search_results", SearchResult.Type).Annotations(many(restrict)...).Comment("Hits of the user's searches."),
		edge.To("created_secret_versions", SecretVersion.Type).Annotations(many(restrict)...).Comment("Secret versions the user created."),
		edge.To("secret_access_logs", SecretAccessLog.Type).Annotations(many(restrict)...).Comment("The user's uses of secrets."),
	}
}

// Indexes of User.
func (User) Indexes() []ent.Index {
	return []ent.Index{
		index.Fields("oidc_issuer", "oidc_subject").Unique(),
		index.Fields("is_active"),
		index.Fields("created_at"),
	}
}

// Annotations of User.
func (User) Annotations() []schema.Annotation { return node() }

// Policy of User.
func (User) Policy() ent.Policy { return rule.For("User") }
