//go:build unix

package account_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
)

func (r *rig) refresh(t *testing.T, ctx context.Context, token string) account.Signed {
	t.Helper()
	s, err := r.Refresh(ctx, token)
	require.NoError(t, err)
	return s
}

func (r *rig) refuseRefresh(t *testing.T, ctx context.Context, token string) {
	t.Helper()
	s, err := r.Refresh(ctx, token)
	e := failure(t, errs.Unauthenticated, err)
	require.Equal(t, "The refresh token is not valid. Sign in again.", e.Message)
	require.Zero(t, s)
}

func TestRefresh(t *testing.T) {
	r := newRig(t)
	first := r.user(t, "alice", "analyst")
	chain := []account.Signed{first}
	for range 3 {
		r.pass(5 * time.Minute)
		s := r.refresh(t, laptop, chain[len(chain)-1].RefreshToken)
		require.NotEqual(t, first.Session.ID, s.Session.ID)
		require.Equal(t, first.Session.FamilyID, s.Session.FamilyID)
		require.Equal(t, first.Principal.Permissions(), s.Principal.Permissions())
		require.WithinDuration(t, s.Session.CreatedAt.Add(r.config.SessionTTL), s.Session.ExpiresAt, time.Second)
		require.Regexp(t, `^cdsa_rt_[A-Za-z0-9_-]{43}$`, s.RefreshToken)
		chain = append(chain, s)
	}
	require.Equal(t, 3, r.audited(t, "TOKEN_REFRESHED", `user_id = $1 AND success`, first.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND is_active`, first.User.ID))
	old := r.Client.Session.GetX(testkit.As(first.Principal), first.Session.ID)
	require.False(t, old.IsActive)
	require.Equal(t, chain[1].Session.ID, *old.ReplacedBy)
	require.Nil(t, old.RevokedAt)

	// A replaced session's access tokens live to their end and no longer.
	require.True(t, r.stands(t, chain[2]), "replaced just now")
	require.True(t, r.stands(t, chain[1]), "replaced 5 minutes ago")
	r.pass(11 * time.Minute)
	require.False(t, r.stands(t, chain[1]), "replaced 16 minutes ago")
	require.True(t, r.stands(t, chain[3]))
	require.False(t, r.wasRevoked(first.Session.ID), "being replaced is no revocation")
}

func TestRefresh_Reuse(t *testing.T) {
	r := newRig(t)
	first := r.user(t, "alice", "analyst")
	other := r.login(t, "alice")
	second := r.refresh(t, laptop, first.RefreshToken)
	r.pass(10 * time.Second)
	r.refuseRefresh(t, laptop, first.RefreshToken)
	require.Equal(t, 1, r.audited(t, "TOKEN_REUSE_DETECTED", `user_id = $1 AND NOT success AND session_id = $2 AND details->>'ended' = '1'`, first.User.ID, first.Session.ID))
	for _, s := range []account.Signed{first, second} {
		require.False(t, r.stands(t, s))
		require.True(t, r.wasRevoked(s.Session.ID), "every replica hears of it")
	}
	r.refuseRefresh(t, laptop, second.RefreshToken)
	r.refuseRefresh(t, laptop, first.RefreshToken)
	require.Equal(t, 1, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`), "once")
	require.Equal(t, 2, r.audited(t, "TOKEN_REFRESHED", `NOT success AND details->>'reason' = 'revoked'`))
	require.True(t, r.stands(t, other), "another login is another family")
	r.refresh(t, laptop, other.RefreshToken)
}

func TestRefresh_Grace(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration
		from  context.Context
		used  int // how often the device's other tabs refreshed the successor already
		same  bool
	}{
		"AtOnce":               {0, laptop, 0, true},
		"AtTheEnd":             {9900 * time.Millisecond, laptop, 0, true},
		"TooLate":              {10 * time.Second, laptop, 0, false},
		"NeighbouringAddress":  {0, from("192.0.2.200", "Firefox"), 0, true},
		"MappedAddress":        {0, from("::ffff:192.0.2.7", "Firefox"), 0, true},
		"OtherNetwork":         {0, from("198.51.100.7", "Firefox"), 0, true},
		"OtherFamily":          {0, from("2001:db8::7", "Firefox"), 0, false},
		"NoAddress":            {0, from("", "Firefox"), 0, false},
		"OtherClient":          {0, from("192.0.2.7", "curl"), 0, false},
		"SuccessorUsed":        {5 * time.Second, laptop, 1, true},
		"SuccessorsUsed":       {0, laptop, 15, true},
		"SuccessorsTooMany":    {0, laptop, 16, false},
		"SuccessorUsedLate":    {10 * time.Second, laptop, 1, false},
		"SuccessorOtherClient": {0, from("192.0.2.7", "curl"), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			first := r.user(t, "alice", "analyst")
			second := r.refresh(t, laptop, first.RefreshToken)
			for range c.used {
				second = r.refresh(t, laptop, second.RefreshToken)
			}
			r.pass(c.after)
			if !c.same {
				r.refuseRefresh(t, c.from, first.RefreshToken)
				require.Equal(t, 1, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`))
				require.False(t, r.stands(t, second))
				return
			}
			again := r.refresh(t, c.from, first.RefreshToken)
			require.Equal(t, second.RefreshToken, again.RefreshToken)
			require.Equal(t, second.Session.ID, again.Session.ID)
			require.NotEqual(t, second.AccessToken, again.AccessToken)
			require.Equal(t, 1, r.audited(t, "TOKEN_REFRESHED", `details->>'repeated' = 'true'`))
			require.Equal(t, 2+c.used, r.Count(t, `SELECT count(*) FROM sessions WHERE family_id = $1`, first.Session.FamilyID), "one successor a token")
			r.refresh(t, laptop, again.RefreshToken)
		})
	}
}

// A late tab gets the newest successor only where every one of them was its own device's, and only after the first of
// them was made within the window: what is newer does not make it longer.
func TestRefresh_LateTab(t *testing.T) {
	r := newRig(t)
	first := r.user(t, "alice", "analyst")
	second := r.refresh(t, laptop, first.RefreshToken)
	r.pass(9 * time.Second)
	third := r.refresh(t, laptop, second.RefreshToken)
	r.pass(2 * time.Second)
	late := r.refresh(t, laptop, second.RefreshToken)
	require.Equal(t, third.RefreshToken, late.RefreshToken)
	r.refuseRefresh(t, laptop, first.RefreshToken)
	require.False(t, r.stands(t, third))

	bob := r.user(t, "bob", "analyst")
	next := r.refresh(t, laptop, bob.RefreshToken)
	stolen := r.refresh(t, from("203.0.113.9", "curl"), next.RefreshToken)
	r.refuseRefresh(t, laptop, bob.RefreshToken)
	require.False(t, r.stands(t, stolen), "the thief who was quicker")
}

// A thief of the database and of an old token still cannot make its successor: that takes the server's key.
func TestRefresh_SuccessorNeedsTheKey(t *testing.T) {
	r := newRig(t)
	first := r.user(t, "alice")
	second := r.refresh(t, laptop, first.RefreshToken)
	r.config.IdentityKey = []byte("another key of thirty-two bytes.")
	other, err := account.New(r.config)
	require.NoError(t, err)
	_, err = other.Refresh(laptop, first.RefreshToken)
	requireCode(t, errs.Unauthenticated, err)
	require.False(t, r.stands(t, second), "a successor that cannot be given again is a reuse")
}

func TestRefresh_Refused(t *testing.T) {
	random, _, err := auth.NewRefreshToken()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, r *rig, s *account.Signed)
		reason string // in the audit log; none for a token that no one has
	}{
		"Unknown": {func(_ *testing.T, _ *rig, s *account.Signed) { s.RefreshToken = random }, ""},
		"Garbage": {func(_ *testing.T, _ *rig, s *account.Signed) { s.RefreshToken = "cdsa_rt_\x00" }, ""},
		"Access":  {func(_ *testing.T, _ *rig, s *account.Signed) { s.RefreshToken = s.AccessToken }, ""},
		"Expired": {func(_ *testing.T, r *rig, _ *account.Signed) { r.pass(30*24*time.Hour + time.Second) }, "expired"},
		"SignedOut": {func(t *testing.T, r *rig, s *account.Signed) {
			t.Helper()
			require.NoError(t, r.Logout(testkit.As(s.Principal)))
		}, "revoked"},
		"Inactive": {func(t *testing.T, r *rig, _ *account.Signed) {
			t.Helper()
			r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'alice'`)
		}, "inactive"},
		"Erased": {func(t *testing.T, r *rig, _ *account.Signed) {
			t.Helper()
			r.sql(t, `UPDATE users SET erased_at = now() WHERE username = 'alice'`)
		}, "inactive"},
		"CutOff": {func(t *testing.T, r *rig, _ *account.Signed) {
			t.Helper()
			r.sql(t, `UPDATE users SET tokens_valid_after = now() + interval '1 second' WHERE username = 'alice'`)
		}, "cut_off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			s := r.user(t, "alice", "analyst")
			c.spoil(t, r, &s)
			r.refuseRefresh(t, laptop, s.RefreshToken)
			n := 0
			if c.reason != "" {
				n = 1
			}
			require.Equal(t, n, r.audited(t, "TOKEN_REFRESHED", `NOT success AND details->>'reason' = $1`, c.reason))
			require.Zero(t, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`))
			require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1`, s.User.ID))
		})
	}
}

func TestRefresh_Race(t *testing.T) {
	r := newRig(t)
	first := r.user(t, "alice", "analyst")
	results := make([]account.Signed, 50)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = r.Refresh(laptop, first.RefreshToken); err != nil {
				t.Errorf("refresh %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	for _, s := range results {
		require.Equal(t, results[0].RefreshToken, s.RefreshToken)
		require.Equal(t, results[0].Session.ID, s.Session.ID)
	}
	require.Equal(t, 2, r.Count(t, `SELECT count(*) FROM sessions WHERE family_id = $1`, first.Session.FamilyID), "exactly one successor")
	require.Equal(t, 50, r.audited(t, "TOKEN_REFRESHED", `success`))
	require.True(t, r.stands(t, results[0]))
}

// Whoever revokes while others refresh leaves nothing behind that a refresh made in the meantime.
func TestRefresh_RaceWithRevocation(t *testing.T) {
	r := newRig(t)
	keep := r.user(t, "alice", "analyst")
	for round := range 6 {
		others := []account.Signed{r.login(t, "alice"), r.login(t, "alice")}
		var wg sync.WaitGroup
		for _, o := range others {
			wg.Go(func() {
				token := o.RefreshToken
				for range 5 {
					s, err := r.Refresh(laptop, token)
					if err != nil {
						if !errs.Is(err, errs.Unauthenticated) {
							t.Errorf("refresh: %v", err)
						}
						return
					}
					token = s.RefreshToken
				}
			})
		}
		wg.Go(func() {
			if _, err := r.RevokeOthers(testkit.As(keep.Principal)); err != nil {
				t.Errorf("revoke: %v", err)
			}
		})
		wg.Wait()
		require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND (is_active OR revoked_at IS NULL)`, keep.User.ID), fmt.Sprint("round ", round))
		require.Zero(t, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`))
	}
	require.True(t, r.stands(t, keep))
}
