//go:build unix

package account_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
)

func TestLogin(t *testing.T) {
	r := newRig(t)
	r.user(t, "alice", "analyst", "auditor")
	for _, name := range []string{"alice", "Alice", "alice@example.org", " ALICE@Example.org "} {
		s, err := r.Login(laptop, account.LoginInput{Login: name, Password: password})
		require.NoError(t, err, name)
		c, err := r.tokens.Verify(s.AccessToken)
		require.NoError(t, err)
		require.Equal(t, s.User.ID, c.UserID)
		require.Equal(t, s.Session.ID, c.SessionID)
		require.True(t, s.ExpiresAt.Equal(c.ExpiresAt))
		require.Equal(t, "alice", s.Principal.Username)
		require.Equal(t, s.Session.ID, s.Principal.SessionID)
		require.Equal(t, s.ExpiresAt, s.Principal.ExpiresAt)
		require.ElementsMatch(t, union("analyst", "auditor"), s.Principal.Permissions())
		require.Equal(t, "192.0.2.7", *s.Session.IPAddress)
		require.Equal(t, "Firefox", *s.Session.UserAgent)
		require.Equal(t, 1, r.audited(t, "LOGIN_SUCCEEDED", `user_id = $1 AND session_id = $2 AND success AND actor_kind = 'USER'`, s.User.ID, s.Session.ID))

		// What is stored opens nothing.
		require.Zero(t, r.Count(t, `SELECT count(*) FROM sessions WHERE strpos($1, token) > 0 OR strpos($1, refresh_token) > 0`, s.AccessToken+s.RefreshToken))
		// Edges can be followed as the new principal.
		ctx := testkit.As(s.Principal)
		roles, err := s.User.QueryRoles().All(ctx)
		require.NoError(t, err)
		require.Len(t, roles, 2)
		u, err := s.Session.QueryUser().Only(ctx)
		require.NoError(t, err)
		require.Equal(t, "alice", u.Username)
	}
}

func union(roles ...string) []string {
	seen, out := map[string]bool{}, []string{}
	for _, name := range roles {
		for _, r := range authz.Roles {
			for _, p := range r.Holds {
				if r.Name == name && !seen[p] {
					seen[p], out = true, append(out, p)
				}
			}
		}
	}
	return out
}

func TestLogin_Refused(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"wrong", "inactive", "erased", "passwordless", "fine"} {
		r.user(t, name, "analyst")
	}
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'inactive'`)
	r.sql(t, `UPDATE users SET erased_at = now() WHERE username = 'erased'`)
	r.sql(t, `UPDATE users SET hashed_password = '' WHERE username = 'passwordless'`)
	for i, c := range []struct{ login, password, reason string }{
		{"nobody", password, "unknown_account"}, {"nobody@example.org", password, "unknown_account"}, {"no one at all", password, "unknown_account"},
		{"", password, "unknown_account"}, {"a\x00b", password, "unknown_account"},
		{"wrong", "another horse entirely", "password"}, {"wrong@example.org", "CORRECT HORSE BATTERY STAPLE", "password"},
		{"inactive", password, "inactive"}, {"erased", password, "inactive"}, {"passwordless", password, "password"},
		{"inactive", "not the password", "password"},
	} {
		before := r.audited(t, "LOGIN_FAILED", `details->>'reason' = $1`, c.reason)
		_, err := r.Login(elsewhere(i), account.LoginInput{Login: c.login, Password: c.password})
		e := failure(t, errs.Unauthenticated, err)
		require.Equal(t, "The name or the password is wrong. Check both and try again.", e.Message, "one answer for all")
		require.Equal(t, before+1, r.audited(t, "LOGIN_FAILED", `details->>'reason' = $1 AND NOT success AND session_id IS NULL`, c.reason), c.login)
	}
	require.Zero(t, r.audited(t, "LOGIN_FAILED", `details->>'reason' = 'unknown_account' AND (user_id IS NOT NULL OR username IS NOT NULL OR resource_id IS NOT NULL)`),
		"of an unknown account nothing is kept")
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM login_throttles WHERE failures = 2`), "inactive, by the name that was typed twice")
	counters := r.Count(t, `SELECT count(*) FROM login_throttles`)
	r.login(t, "wrong")
	require.Equal(t, counters-2, r.Count(t, `SELECT count(*) FROM login_throttles`), "the counters of both names")
}

func TestLogin_PasswordNoAccountCanHave(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"admin", "nobody"} {
		for _, pw := range []string{"", "a\x00b", string(make([]byte, 1<<20))} {
			_, err := r.Login(laptop, account.LoginInput{Login: name, Password: pw})
			e := failure(t, errs.BadUserInput, err)
			require.Contains(t, e.Fields, "input.password")
		}
	}
}

func TestLogin_Rehash(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice")
	strong, err := auth.NewHasher(auth.HasherConfig{})
	require.NoError(t, err)
	r.config.Hasher = strong
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	r.login(t, "alice")
	u := r.Client.User.GetX(testkit.As(r.admin), alice.User.ID)
	require.False(t, strong.NeedsRehash(u.HashedPassword))
	r.login(t, "alice")
}

func TestLogin_CallerIsIgnored(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice")
	ctx := authz.With(laptop, r.admin)
	s, err := r.Login(ctx, account.LoginInput{Login: "alice", Password: password})
	require.NoError(t, err)
	require.Equal(t, alice.User.ID, s.Principal.UserID)
	_, err = r.Login(ctx, account.LoginInput{Login: "alice", Password: "not the password"})
	requireCode(t, errs.Unauthenticated, err)
	require.Zero(t, r.audited(t, "LOGIN_FAILED", `user_id = $1`, r.admin.UserID))
}

func TestRegister(t *testing.T) {
	r := newRig(t)
	s, err := r.Register(laptop, account.RegisterInput{Email: "Bob@Example.org", Username: "Bob", Password: password, FullName: " Bob  B. "})
	require.NoError(t, err)
	require.Equal(t, "bob", s.User.Username)
	require.Equal(t, "bob@example.org", s.User.Email)
	require.Equal(t, "Bob B.", s.User.FullName)
	require.False(t, s.User.IsVerified || s.User.IsSuperuser)
	require.ElementsMatch(t, union(authz.DefaultRole), s.Principal.Permissions())
	require.True(t, r.stands(t, s))
	for _, action := range []string{"USER_CREATED", "ROLE_ASSIGNED", "LOGIN_SUCCEEDED"} {
		require.Equal(t, 1, r.audited(t, action, `user_id = $1 AND actor_kind = 'USER' AND success`, s.User.ID), action)
	}
	rows, err := r.Client.AuditLog.Query().All(testkit.As(s.Principal))
	require.NoError(t, err)
	require.Len(t, rows, 3)
	who, err := r.Store.Audit.Open(context.Background(), rows[0])
	require.NoError(t, err)
	require.Equal(t, "bob", *who.Username)
	require.Equal(t, "192.0.2.7", *who.IPAddress)

	var words []string
	for _, in := range []account.RegisterInput{
		{Email: "BOB@example.org", Username: "bob2", Password: password}, {Email: "bob2@example.org", Username: "BOB", Password: password},
	} {
		_, err := r.Register(laptop, in)
		words = append(words, failure(t, errs.Conflict, err).Message)
	}
	require.Equal(t, words[0], words[1], "it does not say which is taken")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM users WHERE username = 'bob2' OR email = 'bob2@example.org'`))
}

func TestRegister_BadInput(t *testing.T) {
	r := newRig(t)
	for field, in := range map[string]account.RegisterInput{
		"input.email":    {Email: "nobody", Username: "carol", Password: password},
		"input.username": {Email: "c@example.org", Username: "c@rol", Password: password},
		"input.password": {Email: "c@example.org", Username: "carol", Password: "carol1234567"},
		"input.fullName": {Email: "c@example.org", Username: "carol", Password: password, FullName: "a\nb"},
	} {
		_, err := r.Register(laptop, in)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, field)
	}
}

func TestRegister_NotOpen(t *testing.T) {
	r := newRig(t)
	var words []string
	for _, mode := range []string{"closed", ""} {
		r.config.Registration = mode
		svc, err := account.New(r.config)
		require.NoError(t, err)
		for _, in := range []account.RegisterInput{{Email: "x@example.org", Username: "xavier", Password: password, Invitation: "guess"}, {}} {
			_, err = svc.Register(laptop, in)
			words = append(words, failure(t, errs.Forbidden, err).Message)
		}
	}
	for _, w := range words {
		require.Equal(t, words[0], w)
	}
	require.Equal(t, 1, r.Client.User.Query().CountX(testkit.As(r.admin)), "the administrator alone")
}

func TestNew_Refuses(t *testing.T) {
	r := newRig(t)
	for name, edit := range map[string]func(c *account.Config){
		"NoStore": func(c *account.Config) { c.Store = nil }, "ShortKey": func(c *account.Config) { c.IdentityKey = c.IdentityKey[:31] },
		"NoLifetime": func(c *account.Config) { c.SessionTTL = 0 }, "NoSignal": func(c *account.Config) { c.Revoked = nil },
	} {
		c := r.config
		edit(&c)
		_, err := account.New(c)
		require.Error(t, err, name)
	}
}

// A failed sign-in is nobody's act, even after another one of the same operation had succeeded.
func TestLogin_AfterAnotherInOneOperation(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice")
	ctx := authz.WithSlot(laptop)
	authz.SignIn(ctx, alice.Principal)
	_, err := r.Login(ctx, account.LoginInput{Login: "nobody-at-all", Password: password})
	requireCode(t, errs.Unauthenticated, err)
	require.NoError(t, r.RequestPasswordReset(ctx, "nobody@example.org"))
	require.Equal(t, 1, r.audited(t, "LOGIN_FAILED", `user_id IS NULL AND session_id IS NULL`))
	require.Zero(t, r.audited(t, "LOGIN_FAILED", `user_id = $1`, alice.User.ID))
	require.Equal(t, 1, r.audited(t, "PASSWORD_RESET_REQUESTED", `user_id IS NULL`))
}
