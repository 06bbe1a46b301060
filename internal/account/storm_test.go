//go:build unix

package account_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
)

// TestSessions_Storm: 100 clients refresh 10,000 times while 200 people sign in. Every fifth refresh is presented twice
// at the same instant, as two tabs do. Nobody loses their session, no token gets two successors, nothing waits for ever.
func TestSessions_Storm(t *testing.T) {
	const (
		clients   = 100
		refreshes = 100 // of a client, tokens that is
		people    = 20  // whose locks the clients share
		logins    = 200
	)
	r := newRig(t)
	r.configure(t, func(c *account.Config) { c.Settings.MaxSessions = 1000 })
	for i := range people {
		r.user(t, fmt.Sprint("client", i), "analyst")
	}
	last := make([]account.Signed, clients)
	for i := range last {
		last[i] = r.login(t, fmt.Sprint("client", i%people))
	}
	begun := make([]uuid.UUID, clients)
	for i, s := range last {
		begun[i] = s.Session.FamilyID
	}
	ctx, cancel := context.WithTimeout(laptop, 5*time.Minute) // a deadlock of ours, not of the database, ends here
	defer cancel()
	var requests, signedIn atomic.Int64
	var slowest atomic.Int64
	refresh := func(token string) (account.Signed, error) {
		start := time.Now()
		s, err := r.Refresh(ctx, token)
		for took := int64(time.Since(start)); ; {
			was := slowest.Load()
			if took <= was || slowest.CompareAndSwap(was, took) {
				break
			}
		}
		requests.Add(1)
		return s, err
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for n := range refreshes {
				token := last[i].RefreshToken
				tabs := 1
				if n%5 == 0 {
					tabs = 2
				}
				got, errors := make([]account.Signed, tabs), make([]error, tabs)
				var pair sync.WaitGroup
				for tab := range tabs {
					pair.Go(func() { got[tab], errors[tab] = refresh(token) })
				}
				pair.Wait()
				for tab := range tabs {
					if errors[tab] != nil {
						t.Errorf("client %d, refresh %d, tab %d: %v", i, n, tab, errors[tab])
						return
					}
					if got[tab].RefreshToken != got[0].RefreshToken || got[tab].Session.ID != got[0].Session.ID {
						t.Errorf("client %d, refresh %d: two successors", i, n)
						return
					}
				}
				last[i] = got[0]
			}
		})
	}
	for i := range logins {
		wg.Go(func() {
			if _, err := r.Login(ctx, account.LoginInput{Login: fmt.Sprint("client", i%people), Password: password}); err != nil {
				t.Errorf("login %d: %v", i, err)
				return
			}
			signedIn.Add(1)
		})
	}
	wg.Wait()
	took := time.Since(start)
	t.Logf("%d tokens refreshed by %d requests, %d logins in %v; slowest refresh %v",
		clients*refreshes, requests.Load(), signedIn.Load(), took.Round(time.Millisecond), time.Duration(slowest.Load()).Round(time.Millisecond))
	if t.Failed() {
		return
	}
	require.EqualValues(t, logins, signedIn.Load())
	for i, s := range last {
		require.True(t, r.stands(t, s), "client %d", i)
		require.Equal(t, begun[i], s.Session.FamilyID)
	}
	require.Equal(t, clients, r.Count(t, `SELECT count(*) FROM sessions WHERE family_id = ANY($1) AND is_active AND revoked_at IS NULL`, begun), "one session in use a family")
	require.Equal(t, clients*(refreshes+1), r.Count(t, `SELECT count(*) FROM sessions WHERE family_id = ANY($1)`, begun), "one successor a token")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM (SELECT replaced_by FROM sessions WHERE replaced_by IS NOT NULL GROUP BY 1 HAVING count(*) > 1) x`), "one predecessor a session")
	require.EqualValues(t, requests.Load(), r.audited(t, "TOKEN_REFRESHED", `success`))
	require.Zero(t, r.audited(t, "TOKEN_REUSE_DETECTED", `TRUE`))
	require.Zero(t, r.Count(t, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`))
}
