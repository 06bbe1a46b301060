//go:build unix

package account_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// configure makes the rig's service anew with other settings.
func (r *rig) configure(t *testing.T, change func(c *account.Config)) {
	t.Helper()
	change(&r.config)
	s, err := account.New(r.config)
	require.NoError(t, err)
	r.Service = s
}

// No refresh carries a session beyond the absolute limit, and its tokens end with it.
func TestSessions_AbsoluteLimit(t *testing.T) {
	r := newRig(t)
	r.configure(t, func(c *account.Config) { c.SessionTTL, c.Settings.SessionMaxAge = 10*24*time.Hour, 25*24*time.Hour })
	s := r.user(t, "alice", "analyst")
	begun := s.Session.CreatedAt
	require.WithinDuration(t, begun.Add(10*24*time.Hour), s.Session.ExpiresAt, time.Second)
	for _, days := range []int{9, 18, 24} {
		r.pass(begun.Add(time.Duration(days) * 24 * time.Hour).Sub(r.config.Now()))
		s = r.refresh(t, laptop, s.RefreshToken)
		want := begun.Add(min(time.Duration(days)*24*time.Hour+10*24*time.Hour, 25*24*time.Hour))
		require.WithinDuration(t, want, s.Session.ExpiresAt, time.Second, "on day %d", days)
		require.Equal(t, begun, s.Session.SignedInAt)
	}
	r.pass(begun.Add(25*24*time.Hour - 5*time.Minute).Sub(r.config.Now()))
	s = r.refresh(t, laptop, s.RefreshToken)
	require.Equal(t, begun.Add(25*24*time.Hour), s.Session.ExpiresAt)
	require.Equal(t, s.Session.ExpiresAt, s.ExpiresAt, "the access token's end is no later")
	require.Equal(t, s.Session.ExpiresAt, s.Principal.ExpiresAt)
	again := r.refresh(t, laptop, s.RefreshToken)
	r.pass(5 * time.Minute)
	require.False(t, r.stands(t, again))
	r.refuseRefresh(t, laptop, again.RefreshToken)
	require.Equal(t, 1, r.audited(t, "TOKEN_REFRESHED", `NOT success AND details->>'reason' = 'expired'`))

	// A limit that was lowered holds at the next refresh.
	b := r.login(t, "alice")
	r.configure(t, func(c *account.Config) { c.Settings.SessionMaxAge = time.Hour })
	r.pass(time.Hour)
	r.refuseRefresh(t, laptop, b.RefreshToken)
}

// TestSessions_IdleLimit is exact to the microsecond, which is all that the database knows.
func TestSessions_IdleLimit(t *testing.T) {
	for name, c := range map[string]struct {
		before time.Duration
		ok     bool
	}{"JustBefore": {time.Microsecond, true}, "AtTheEnd": {0, false}, "JustAfter": {-time.Microsecond, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.user(t, "alice")
			at := s.Session.ExpiresAt.Add(-c.before)
			r.configure(t, func(cfg *account.Config) { cfg.Now = func() time.Time { return at } })
			_, err := r.Refresh(laptop, s.RefreshToken)
			if c.ok {
				require.NoError(t, err)
				return
			}
			requireCode(t, errs.Unauthenticated, err)
		})
	}
}

func TestSessions_Cap(t *testing.T) {
	r := newRig(t)
	r.configure(t, func(c *account.Config) { c.Settings.MaxSessions = 3 })
	bob := r.user(t, "bob")
	a := r.user(t, "alice", "analyst")
	r.pass(time.Second)
	b := r.login(t, "alice")
	r.pass(time.Second)
	c := r.login(t, "alice")
	r.pass(time.Second)
	a = r.refresh(t, laptop, a.RefreshToken) // now b was used longest ago
	r.sql(t, `INSERT INTO sessions (id, created_at, token, user_id, family_id, kind, name, expires_at) SELECT $1, now() - interval '1 day', 'x', $2, $1, 'API_TOKEN', 'ci', now() + interval '1 day'`,
		uid.New(uid.Session), a.User.ID)
	r.pass(time.Second)
	d := r.login(t, "alice")
	require.False(t, r.stands(t, b))
	require.True(t, r.wasRevoked(b.Session.ID), "every replica hears of it")
	for _, s := range []account.Signed{a, c, d, bob} {
		require.True(t, r.stands(t, s))
	}
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE id = $1 AND revoke_reason = 'too many sessions'`, b.Session.ID))
	require.Equal(t, 1, r.audited(t, "SESSION_REVOKED", `user_id = $1 AND details->>'reason' = 'too many sessions' AND details->>'ended' = '1'`, a.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND kind = 'API_TOKEN' AND is_active AND revoked_at IS NULL`, a.User.ID), "tokens are not counted")
	r.refuseRefresh(t, laptop, b.RefreshToken)

	// What was used a moment ago counts, though nobody has written it down yet.
	r.pass(time.Second)
	require.True(t, r.stands(t, c))
	r.pass(time.Second)
	e := r.login(t, "alice")
	require.True(t, r.stands(t, c))
	require.False(t, r.stands(t, a))

	// A number that was lowered ends as many as are too many.
	r.configure(t, func(c *account.Config) { c.Settings.MaxSessions = 1 })
	f := r.login(t, "alice")
	for _, s := range []account.Signed{c, d, e} {
		require.False(t, r.stands(t, s))
	}
	require.True(t, r.stands(t, f))
}

func TestSessions_CapRace(t *testing.T) {
	r := newRig(t)
	r.configure(t, func(c *account.Config) { c.Settings.MaxSessions = 3 })
	alice := r.user(t, "alice")
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			if _, err := r.Login(laptop, account.LoginInput{Login: "alice", Password: password}); err != nil {
				t.Errorf("login: %v", err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 3, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND is_active`, alice.User.ID))
}

func TestSessions_Prune(t *testing.T) {
	r := newRig(t)
	living, out, expired := r.user(t, "alice"), r.login(t, "alice"), r.login(t, "alice")
	first, begun := living, living.Session.CreatedAt
	out2 := r.refresh(t, laptop, out.RefreshToken)
	r.refresh(t, laptop, expired.RefreshToken)
	require.NoError(t, r.Logout(testkit.As(out2.Principal)))
	require.Equal(t, 2, r.Count(t, `SELECT count(*) FROM revocations`), "both could still be used")
	left := func(s account.Signed) int {
		return r.Count(t, `SELECT count(*) FROM sessions WHERE family_id = $1`, s.Session.FamilyID)
	}
	for _, c := range []struct{ days, out, expired, living int }{ // each time short of the idle limit
		{19, 2, 2, 2}, // signed out 19 days ago
		{38, 0, 2, 3},
		{57, 0, 2, 4}, // expired 27 days ago
		{62, 0, 0, 5},
	} {
		r.pass(begun.Add(time.Duration(c.days) * 24 * time.Hour).Sub(r.config.Now()))
		living = r.refresh(t, laptop, living.RefreshToken)
		require.NoError(t, r.Prune(context.Background()))
		require.Equal(t, []int{c.out, c.expired, c.living}, []int{left(out), left(expired), left(living)}, "on day %d", c.days)
	}
	r.refuseRefresh(t, laptop, first.RefreshToken)
	require.Equal(t, 1, r.audited(t, "TOKEN_REUSE_DETECTED", `session_id = $1`, first.Session.ID), "a token of long ago is still known")

	require.NotZero(t, r.Count(t, `SELECT count(*) FROM revocations`))
	_, err := r.DB.Owner.Exec(context.Background(), `UPDATE revocations SET at = at - interval '61 minutes' WHERE subject = $1`, out2.Session.ID)
	require.NoError(t, err)
	require.NoError(t, r.Prune(context.Background()))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM revocations WHERE subject = $1`, out2.Session.ID))
	require.NotZero(t, r.Count(t, `SELECT count(*) FROM revocations`))
}

// What is presented in a refresh token's place, or after what it belonged to has gone, is refused in the same words.
func TestSessions_BadTokens(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, r *rig, s account.Signed) string{
		"AccessToken": func(_ *testing.T, _ *rig, s account.Signed) string { return s.AccessToken },
		"SessionGone": func(t *testing.T, r *rig, s account.Signed) string {
			t.Helper()
			r.sql(t, `DELETE FROM sessions WHERE id = $1`, s.Session.ID)
			return s.RefreshToken
		},
		"UserGone": func(t *testing.T, r *rig, s account.Signed) string {
			t.Helper()
			r.sql(t, `UPDATE users SET is_active = FALSE, erased_at = now() WHERE id = $1`, s.User.ID)
			r.sql(t, `DELETE FROM sessions WHERE user_id = $1`, s.User.ID)
			return s.RefreshToken
		},
		"APIToken": func(t *testing.T, r *rig, s account.Signed) string {
			t.Helper()
			r.sql(t, `UPDATE sessions SET kind = 'API_TOKEN' WHERE id = $1`, s.Session.ID)
			return s.RefreshToken
		},
		"Empty":     func(*testing.T, *rig, account.Signed) string { return "" },
		"Truncated": func(_ *testing.T, _ *rig, s account.Signed) string { return s.RefreshToken[:len(s.RefreshToken)-1] },
		"Padded":    func(_ *testing.T, _ *rig, s account.Signed) string { return s.RefreshToken + "=" },
		"Spaced":    func(_ *testing.T, _ *rig, s account.Signed) string { return " " + s.RefreshToken },
		"Prefix":    func(_ *testing.T, _ *rig, s account.Signed) string { return "CDSA_RT_" + s.RefreshToken[8:] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.user(t, "alice")
			r.refuseRefresh(t, laptop, spoil(t, r, s))
			require.Zero(t, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`))
		})
	}
	r := newRig(t)
	s := r.user(t, "alice")
	_, err := r.tokens.Verify(s.RefreshToken)
	requireCode(t, errs.Unauthenticated, err)
	require.NotEqual(t, uuid.Nil, s.Session.ID)
	r.sql(t, `DELETE FROM sessions WHERE id = $1`, s.Session.ID)
	require.False(t, r.stands(t, s), "an access token of a session that is gone")
}
