//go:build unix

package account_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
)

// door is who a bearer token makes its bearer, asked anew each time.
func (r *rig) door() *auth.Authenticator {
	return auth.NewAuthenticator(r.tokens, auth.NewPrincipalCache(r.LoadPrincipal, auth.PrincipalCacheConfig{TTL: time.Nanosecond})).AcceptAPITokens(r.FindAPIToken)
}

func (r *rig) input(permissions ...string) account.CreateAPITokenInput {
	return account.CreateAPITokenInput{Name: "Nightly report", Permissions: permissions, ExpiresAt: r.config.Now().Add(30 * 24 * time.Hour), Password: password}
}

// apiToken makes a token of s and gives its bearer.
func (r *rig) apiToken(t *testing.T, s account.Signed, permissions ...string) (string, *authz.Principal) {
	t.Helper()
	token, _, err := r.CreateAPIToken(testkit.As(s.Principal), r.input(permissions...))
	require.NoError(t, err)
	p, err := r.door().Authenticate(context.Background(), token)
	require.NoError(t, err)
	return token, p
}

func TestCreateAPIToken(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	in := r.input("documents:write", "chat:read", "chat:read")
	in.Name = "  Nightly   report "
	token, row, err := r.CreateAPIToken(testkit.As(s.Principal), in)
	require.NoError(t, err)
	require.Regexp(t, `^cdsa_pat_[0-9A-Za-z]{49}$`, token)
	require.Equal(t, "Nightly report", *row.Name)
	require.Equal(t, []string{"chat:read", "documents:write"}, []string(row.Scopes))
	require.Equal(t, row.ID, row.FamilyID)
	require.True(t, row.IsActive)
	require.Nil(t, row.MfaAt)
	require.WithinDuration(t, in.ExpiresAt, row.ExpiresAt, time.Millisecond)
	require.Zero(t, r.Count(t, `SELECT count(*) FROM sessions WHERE id = $1 AND (refresh_token IS NOT NULL OR strpos(to_jsonb(sessions)::text, $2) > 0)`, row.ID, token[9:30]))
	require.Equal(t, 1, r.audited(t, "API_TOKEN_CREATED", `success AND user_id = $1 AND resource_id = $2 AND details->'scopes' = '["chat:read","documents:write"]' AND details ? 'expiresAt' AND NOT to_jsonb(l)::text LIKE '%Nightly%'`, s.User.ID, row.ID))

	p, err := r.door().Authenticate(context.Background(), token)
	require.NoError(t, err)
	require.Equal(t, s.User.ID, p.UserID)
	require.Equal(t, row.ID, p.SessionID)
	require.True(t, p.APIToken)
	require.Equal(t, []string{"chat:read", "documents:write"}, p.Permissions())
	require.True(t, p.ExpiresAt.Equal(row.ExpiresAt), "an open stream ends with the token")
	require.False(t, s.Principal.APIToken)
}

func TestCreateAPIToken_Refuses(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	super := r.user(t, "super")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'super'`)
	p, err := r.LoadPrincipal(context.Background(), super.Session.ID)
	require.NoError(t, err)
	require.True(t, p.Can("users:write"))
	_, program := r.apiToken(t, s, "chat:read")
	lost := r.user(t, "lost", "analyst", "approver")
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1 AND role_id = (SELECT id FROM roles WHERE name = 'approver')`, lost.User.ID)
	gone := r.user(t, "gone", "analyst")
	require.NoError(t, r.Logout(testkit.As(gone.Principal)))
	cut := r.user(t, "cut", "analyst")
	r.sql(t, `UPDATE users SET tokens_valid_after = now() + interval '1 second' WHERE id = $1`, cut.User.ID)

	for name, c := range map[string]struct {
		as    *authz.Principal
		edit  func(in *account.CreateAPITokenInput)
		code  errs.Code
		field string
	}{
		"Anonymous":        {nil, nil, errs.Unauthenticated, ""},
		"System":           {authz.Indexer, nil, errs.Forbidden, ""},
		"Program":          {program, nil, errs.Forbidden, ""},
		"NotHeld":          {s.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = []string{"chat:read", "users:write"} }, errs.Forbidden, ""},
		"NotHeldAnyMore":   {lost.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = []string{"approvals:decide"} }, errs.Forbidden, ""},
		"Superuser":        {p, nil, errs.Forbidden, ""},
		"SessionEnded":     {gone.Principal, nil, errs.Unauthenticated, ""},
		"CutOff":           {cut.Principal, nil, errs.Unauthenticated, ""},
		"UnknownRight":     {s.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = []string{"chat:fly"} }, errs.BadUserInput, "input.permissions"},
		"BackgroundRight":  {s.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = []string{"system:register"} }, errs.BadUserInput, "input.permissions"},
		"NoRight":          {s.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = nil }, errs.BadUserInput, "input.permissions"},
		"ManyRights":       {s.Principal, func(in *account.CreateAPITokenInput) { in.Permissions = make([]string, 1_000_000) }, errs.BadUserInput, "input.permissions"},
		"NoName":           {s.Principal, func(in *account.CreateAPITokenInput) { in.Name = " \t" }, errs.BadUserInput, "input.name"},
		"LongName":         {s.Principal, func(in *account.CreateAPITokenInput) { in.Name = strings.Repeat("ä", 101) }, errs.BadUserInput, "input.name"},
		"HugeName":         {s.Principal, func(in *account.CreateAPITokenInput) { in.Name = strings.Repeat("ä", 10<<20) }, errs.BadUserInput, "input.name"},
		"NameWithALine":    {s.Principal, func(in *account.CreateAPITokenInput) { in.Name = "a\r\nBcc: b" }, errs.BadUserInput, "input.name"},
		"NameTurnsAround":  {s.Principal, func(in *account.CreateAPITokenInput) { in.Name = "a\u202egnp" }, errs.BadUserInput, "input.name"},
		"Past":             {s.Principal, func(in *account.CreateAPITokenInput) { in.ExpiresAt = r.config.Now() }, errs.BadUserInput, "input.expiresAt"},
		"LongAhead":        {s.Principal, func(in *account.CreateAPITokenInput) { in.ExpiresAt = r.config.Now().Add(367 * 24 * time.Hour) }, errs.BadUserInput, "input.expiresAt"},
		"NoTime":           {s.Principal, func(in *account.CreateAPITokenInput) { in.ExpiresAt = time.Time{} }, errs.BadUserInput, "input.expiresAt"},
		"EndOfTheCalendar": {s.Principal, func(in *account.CreateAPITokenInput) { in.ExpiresAt = time.Unix(1<<40, 0) }, errs.BadUserInput, "input.expiresAt"},
	} {
		t.Run(name, func(t *testing.T) {
			in := r.input("chat:read")
			if c.edit != nil {
				c.edit(&in)
			}
			before := r.audited(t, "PERMISSION_DENIED", `NOT success AND details->>'operation' = 'createApiToken'`)
			token, row, err := r.CreateAPIToken(testkit.As(c.as), in)
			e := failure(t, c.code, err)
			require.Empty(t, token)
			require.Nil(t, row)
			if c.field != "" {
				require.Contains(t, e.Fields, c.field)
			}
			after := r.audited(t, "PERMISSION_DENIED", `NOT success AND details->>'operation' = 'createApiToken'`)
			require.Equal(t, c.code == errs.Forbidden, after == before+1, "a denial is recorded, and nothing else is")
		})
	}
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE kind = 'API_TOKEN'`))
}

func TestCreateAPIToken_AtMost(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	r.sql(t, `INSERT INTO sessions (id, created_at, user_id, token, expires_at, kind, name, scopes, family_id, is_active, revoked_at)
		SELECT i, now(), $1, i::text, now() + CASE WHEN n = 50 THEN interval '-1 second' ELSE interval '1 day' END, 'API_TOKEN', 'x', '{chat:read}', i, n <> 51, CASE WHEN n = 51 THEN now() END
		FROM (SELECT overlay(gen_random_uuid()::text PLACING lpad(to_hex(n), 4, '0') FROM 1)::uuid AS i, n FROM generate_series(1, 51) n) x`, s.User.ID)
	_, row, err := r.CreateAPIToken(testkit.As(s.Principal), r.input("chat:read"))
	require.NoError(t, err, "expired and revoked ones do not count")
	_, _, err = r.CreateAPIToken(testkit.As(s.Principal), r.input("chat:read"))
	requireCode(t, errs.ResourceExhausted, err)
	_, err = r.RevokeSession(testkit.As(s.Principal), row.ID)
	require.NoError(t, err)
	_, _, err = r.CreateAPIToken(testkit.As(s.Principal), r.input("chat:read"))
	require.NoError(t, err)
}

// TestAPIToken_Rights: a token may do what it was made for and its owner still may, and is never a superuser's.
func TestAPIToken_Rights(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst", "approver")
	token, p := r.apiToken(t, s, "chat:read", "approvals:decide")
	require.Equal(t, []string{"approvals:decide", "chat:read"}, p.Permissions())
	require.False(t, p.Can("chat:write"))
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'alice'`)
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1 AND role_id = (SELECT id FROM roles WHERE name = 'approver')`, s.User.ID)
	p, err := r.door().Authenticate(context.Background(), token)
	require.NoError(t, err)
	require.False(t, p.Superuser)
	require.Equal(t, []string{"chat:read"}, p.Permissions())
	require.False(t, p.Can("approvals:decide"))
}

func TestAPIToken_Ends(t *testing.T) {
	r := newRig(t)
	for name, end := range map[string]func(t *testing.T, s account.Signed, p *authz.Principal){
		"ByItself": func(t *testing.T, _ account.Signed, p *authz.Principal) {
			t.Helper()
			require.NoError(t, r.Logout(testkit.As(p)))
		},
		"RevokedByIt": func(t *testing.T, _ account.Signed, p *authz.Principal) { t.Helper(); revoke(t, r, p, p.SessionID) },
		"ByItsOwner": func(t *testing.T, s account.Signed, p *authz.Principal) {
			t.Helper()
			revoke(t, r, s.Principal, p.SessionID)
		},
		"ByAdmin": func(t *testing.T, _ account.Signed, p *authz.Principal) {
			t.Helper()
			revoke(t, r, r.admin, p.SessionID)
		},
		"Deactivated": func(t *testing.T, s account.Signed, _ *authz.Principal) {
			t.Helper()
			r.sql(t, `UPDATE users SET is_active = FALSE WHERE id = $1`, s.User.ID)
		},
		"Erased": func(t *testing.T, s account.Signed, _ *authz.Principal) {
			t.Helper()
			r.sql(t, `UPDATE users SET erased_at = now() WHERE id = $1`, s.User.ID)
		},
		"CutOff": func(t *testing.T, s account.Signed, _ *authz.Principal) {
			t.Helper()
			r.sql(t, `UPDATE users SET tokens_valid_after = now() + interval '1 second' WHERE id = $1`, s.User.ID)
		},
		"RowGone": func(t *testing.T, _ account.Signed, p *authz.Principal) {
			t.Helper()
			r.sql(t, `DELETE FROM sessions WHERE id = $1`, p.SessionID)
		},
		"TurnedToUser": func(t *testing.T, _ account.Signed, p *authz.Principal) {
			t.Helper()
			r.sql(t, `UPDATE sessions SET kind = 'INTERACTIVE' WHERE id = $1`, p.SessionID)
		},
		"Expired": func(t *testing.T, _ account.Signed, p *authz.Principal) {
			t.Helper()
			r.sql(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, p.SessionID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.user(t, strings.ToLower(name), "analyst")
			token, p := r.apiToken(t, s, "chat:read")
			warm := r.door() // it knows which session the token is of
			_, err := warm.Authenticate(context.Background(), token)
			require.NoError(t, err)
			end(t, s, p)
			for _, d := range []*auth.Authenticator{r.door(), warm} {
				p, err := d.Authenticate(context.Background(), token)
				requireCode(t, errs.Unauthenticated, err)
				require.Nil(t, p)
			}
		})
	}
}

func revoke(t *testing.T, r *rig, p *authz.Principal, id uuid.UUID) {
	t.Helper()
	row, err := r.RevokeSession(testkit.As(p), id)
	require.NoError(t, err)
	require.NotNil(t, row.RevokedAt)
	require.True(t, r.wasRevoked(id))
}

// TestAPIToken_MayNot: what a token finds closed though its owner may do it.
func TestAPIToken_MayNot(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	other := r.login(t, "alice")
	_, p := r.apiToken(t, s, "chat:read")
	_, second := r.apiToken(t, s, "chat:read")
	ctx := testkit.As(p)
	_, _, err := r.CreateAPIToken(ctx, r.input("chat:read"))
	requireCode(t, errs.Forbidden, err)
	_, err = r.RevokeOthers(ctx)
	requireCode(t, errs.Forbidden, err)
	_, reader := r.apiToken(t, account.Signed{Principal: r.admin}, "users:read")
	for _, id := range []uuid.UUID{other.Session.ID, second.SessionID} {
		_, err = r.RevokeSession(ctx, id)
		requireCode(t, errs.NotFound, err) // it sees itself alone
		_, err = r.RevokeSession(testkit.As(reader), id)
		requireCode(t, errs.Forbidden, err)
	}
	_, err = r.RevokeSession(testkit.As(reader), r.admin.SessionID)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 4, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, s.User.ID), "looking for what it does not see, too")
	require.Equal(t, 3, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, r.admin.UserID))
	require.True(t, r.stands(t, s) && r.stands(t, other))

	_, manager := r.apiToken(t, account.Signed{Principal: r.admin}, "users:read", "users:write")
	_, err = r.RevokeSession(testkit.As(manager), other.Session.ID)
	requireCode(t, errs.Forbidden, err) // she may do more than the token
	_, err = r.RevokeSession(testkit.As(manager), r.user(t, "nobody").Session.ID)
	require.NoError(t, err, "a program of an administrator, scoped to it")
}

// TestRevokeOthers_LeavesAPITokens: they are programs', which cannot sign in again.
func TestRevokeOthers_LeavesAPITokens(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	other := r.login(t, "alice")
	token, _ := r.apiToken(t, s, "chat:read")
	n, err := r.RevokeOthers(testkit.As(s.Principal))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.False(t, r.stands(t, other))
	_, err = r.door().Authenticate(context.Background(), token)
	require.NoError(t, err)
}

// TestAPIToken_LastUse is written like that of a login session.
func TestAPIToken_LastUse(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	_, row, err := r.CreateAPIToken(testkit.As(s.Principal), r.input("chat:read"))
	require.NoError(t, err)
	require.Nil(t, row.LastActivity)
	r.pass(2 * time.Minute)
	_, err = r.LoadPrincipal(context.Background(), row.ID)
	require.NoError(t, err)
	require.NoError(t, r.Sweep(context.Background()))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE id = $1 AND last_activity > created_at`, row.ID))
}

func TestNoteSigningKey(t *testing.T) {
	r := newRig(t)
	rotated := func() int { return r.audited(t, "SIGNING_KEY_ROTATED", `success AND actor_kind = 'SYSTEM'`) }
	for range 2 { // two replicas
		require.NoError(t, r.NoteSigningKey(context.Background(), "first"))
	}
	require.Zero(t, rotated(), "there was none before it")
	for range 2 {
		require.NoError(t, r.NoteSigningKey(context.Background(), "second"))
	}
	require.Equal(t, 1, rotated())
	require.NoError(t, r.NoteSigningKey(context.Background(), "first"))
	require.Equal(t, 1, rotated())
}
