//go:build unix

package apitest

import (
	"encoding/json"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
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

// TestSessions_Listed: a session that is refreshed stays one in the lists, and keeps the time of its sign-in.
func TestSessions_Listed(t *testing.T) {
	x := shared().newPerson(t, "fresh", "analyst")
	type row struct {
		ID                    uuid.UUID
		SignedInAt, CreatedAt time.Time
		IsCurrent             bool
	}
	type page struct {
		TotalCount int
		Edges      []struct{ Node row }
	}
	type lists struct{ Sessions, Ended, Going, All page }
	const node = ` { totalCount edges { node { id signedInAt createdAt isCurrent } } }`
	const of = `sessions` + node + ` ended: sessions(where: {ended: true})` + node + ` going: sessions(where: {ended: false, kind: INTERACTIVE})` + node + ` all: sessions(where: {})` + node
	list := func() lists {
		var d struct {
			Viewer lists
			lists
		}
		x.ok(t, `{ viewer { `+of+` } `+of+` }`, nil, &d)
		require.Equal(t, d.lists, d.Viewer)
		return d.lists
	}
	first := list()
	require.Equal(t, 1, first.Sessions.TotalCount)
	begun := first.Sessions.Edges[0].Node
	require.Equal(t, x.session, begun.ID)
	require.True(t, begun.IsCurrent)
	require.Equal(t, begun.CreatedAt, begun.SignedInAt)
	for range 3 {
		var d struct {
			RefreshSession struct {
				AccessToken, RefreshToken string
				Session                   struct{ ID uuid.UUID }
			}
		}
		(&person{server: x.server}).ok(t, refreshSession, map[string]any{"t": x.refresh}, &d)
		x.token, x.refresh, x.session = d.RefreshSession.AccessToken, d.RefreshSession.RefreshToken, d.RefreshSession.Session.ID
		keepOut(x.token, x.refresh)
	}
	other := x.login(t)
	l := list()
	require.Equal(t, []int{2, 3, 2, 5}, []int{l.Sessions.TotalCount, l.Ended.TotalCount, l.Going.TotalCount, l.All.TotalCount})
	now := l.Sessions.Edges[0].Node
	require.Equal(t, x.session, now.ID)
	require.NotEqual(t, begun.ID, now.ID)
	require.Equal(t, begun.SignedInAt, now.SignedInAt)
	require.True(t, now.CreatedAt.After(begun.CreatedAt))
	require.True(t, l.Sessions.Edges[1].Node.SignedInAt.After(begun.SignedInAt), "another sign-in")
	for _, e := range l.Ended.Edges {
		require.Equal(t, begun.SignedInAt, e.Node.SignedInAt)
	}

	other.ok(t, `mutation { logout }`, nil, nil)
	require.Equal(t, 1, list().Sessions.TotalCount)
	x.server.commit(t, uuid.Nil, `UPDATE sessions SET expires_at = now() WHERE user_id = $1 AND id <> $2`, x.id, x.session)
	third := x.login(t)
	x.server.commit(t, third.session, `UPDATE sessions SET expires_at = now() WHERE id = $1`, third.session)
	l = list()
	require.Equal(t, []int{1, 5}, []int{l.Sessions.TotalCount, l.Ended.TotalCount}, "one that has expired has ended")
}
