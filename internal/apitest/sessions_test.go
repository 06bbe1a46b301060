//go:build unix

package apitest

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const refreshSession = `mutation($t: String!) { refreshSession(refreshToken: $t) { accessToken refreshToken expiresAt session { id expiresAt } } }`

// TestSessionsTokens: each token in the other's place, and both after their session has gone, are refused everywhere.
func TestSessionsTokens(t *testing.T) {
	s := shared().server
	x := s.newPerson(t, "holder", "analyst")
	refused := func(t *testing.T, x *person) {
		t.Helper()
		require.Equal(t, "UNAUTHENTICATED", x.do(t, `{ viewer { id } }`, nil).outcome())
		require.Equal(t, 4403, x.dial(t).closeCode(t))
	}
	anonymous := &person{name: "anonymous", server: s}

	t.Run("AccessAsRefresh", func(t *testing.T) {
		require.Equal(t, "UNAUTHENTICATED", anonymous.do(t, refreshSession, map[string]any{"t": x.token}).outcome())
	})
	t.Run("RefreshAsAccess", func(t *testing.T) {
		y := *x
		y.token = x.refresh
		refused(t, &y)
	})
	t.Run("SessionGone", func(t *testing.T) {
		y := x.login(t)
		socket := y.connect(t)
		s.commit(t, y.session, `DELETE FROM sessions WHERE id = $1`, y.session)
		require.Equal(t, 4403, socket.closeCode(t))
		refused(t, y)
		require.Equal(t, "UNAUTHENTICATED", anonymous.do(t, refreshSession, map[string]any{"t": y.refresh}).outcome())
	})
	t.Run("TwoAtOnce", func(t *testing.T) {
		y := x.login(t)
		const n = 4
		var answers [n]reply
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { answers[i] = anonymous.do(t, refreshSession, map[string]any{"t": y.refresh}) })
		}
		wg.Wait()
		successors := map[string]bool{}
		for _, r := range answers {
			require.Equal(t, "OK", r.outcome(), "two tabs never sign each other out")
			var d struct{ RefreshSession struct{ RefreshToken string } }
			require.NoError(t, json.Unmarshal(r.Data, &d))
			keepOut(d.RefreshSession.RefreshToken)
			successors[d.RefreshSession.RefreshToken] = true
		}
		require.Len(t, successors, 1, "one successor")
	})
	x.ok(t, `{ viewer { id } }`, nil, nil)
}

// TestSessionsCap: one sign-in too many ends the session that was used longest ago, and what it has open.
func TestSessionsCap(t *testing.T) {
	s := startServer(t, "CDSA_MAX_SESSIONS=2")
	first := s.newPerson(t, "often", "analyst")
	socket := first.connect(t)
	second := first.login(t)
	second.ok(t, `{ viewer { id } }`, nil, nil)
	third := first.login(t)
	require.Equal(t, 4403, socket.closeCode(t))
	require.Equal(t, "UNAUTHENTICATED", first.do(t, `{ viewer { id } }`, nil).outcome())
	for _, x := range []*person{second, third} {
		x.ok(t, `{ viewer { id } }`, nil, nil)
	}
	require.Equal(t, "2", s.text(t, `SELECT count(*)::text FROM sessions WHERE user_id = $1 AND is_active`, first.id))
}
