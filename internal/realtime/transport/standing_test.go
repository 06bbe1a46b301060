package transport

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
)

// ledger is what a database would say of login sessions.
type ledger struct {
	mu     sync.Mutex
	rights map[uuid.UUID]*authz.Principal
	err    error
	asked  [][]uuid.UUID
}

func (l *ledger) standing(_ context.Context, ids []uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, ids)
	if l.err != nil {
		return nil, l.err
	}
	m := map[uuid.UUID]*authz.Principal{}
	for _, id := range ids {
		if p := l.rights[id]; p != nil {
			m[id] = p
		}
	}
	return m, nil
}

func (l *ledger) set(p *authz.Principal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rights[p.SessionID] = p
}

func (l *ledger) reads() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.asked)
}

// holding is p with these permissions instead.
func holding(p *authz.Principal, perms ...string) *authz.Principal {
	return authz.NewUser(p.UserID, p.Username, p.SessionID, p.Superuser, time.Now().Add(time.Hour), perms...)
}

func (c *client) answers(t *testing.T) {
	t.Helper()
	c.send(`{"type":"ping"}`)
	require.JSONEq(t, `{"type":"pong"}`, c.read())
}

// TestServer_RevokesWhatChanged: of all whom a change may concern only those are ended whose rights are others now, and
// a change that is told again ends nobody who came back since.
func TestServer_RevokesWhatChanged(t *testing.T) {
	ann, bob, eve := holding(user("ann", time.Time{}), "a", "b"), holding(user("bob", time.Time{}), "a"), holding(user("eve", time.Time{}), "a")
	l := &ledger{rights: map[uuid.UUID]*authz.Principal{}}
	l.set(holding(ann, "b", "a")) // read anew it is another value
	l.set(holding(bob))           // has lost a
	tokens := map[string]*authz.Principal{"ann": ann, "bob": bob, "eve": eve}
	f := serve(t, Config{Standing: l.standing}, tokens)
	a, b, e, anonymous := f.connect(t, "ann"), f.connect(t, "bob"), f.connect(t, "eve"), f.connect(t)
	f.rt.RevokeAll()
	for _, c := range []*client{b, e} { // eve's session is gone
		code, reason := c.closed()
		require.Equal(t, 4403, code)
		require.Equal(t, changed, reason)
	}
	require.Equal(t, 1, l.reads(), "one read for all")
	a.answers(t)
	anonymous.answers(t)

	tokens["bob"] = holding(bob)
	b = f.connect(t, "bob")
	for range 3 {
		f.rt.RevokeUser(bob.UserID)
		f.rt.Revoke(bob.SessionID)
		f.rt.RevokeAll()
	}
	// One more change, which is checked after those.
	l.set(holding(ann, "a"))
	f.rt.RevokeUser(ann.UserID)
	code, _ := a.closed()
	require.Equal(t, 4403, code)
	b.answers(t)
}

// A peer that is judged while a change comes in is let in only with what it may do after the change.
func TestServer_ChangeDuringInit(t *testing.T) {
	for name, c := range map[string]struct {
		now    func(*authz.Principal) *authz.Principal // what the ledger says after the change
		err    error
		revoke func(*Server, *authz.Principal)
		code   int // 0: it is let in
	}{
		"Same":        {func(p *authz.Principal) *authz.Principal { return holding(p, "a") }, nil, func(s *Server, p *authz.Principal) { s.RevokeUser(p.UserID) }, 0},
		"SameSession": {func(p *authz.Principal) *authz.Principal { return holding(p, "a") }, nil, func(s *Server, p *authz.Principal) { s.Revoke(p.SessionID) }, 0},
		"Less":        {func(p *authz.Principal) *authz.Principal { return holding(p) }, nil, func(s *Server, _ *authz.Principal) { s.RevokeAll() }, 4403},
		"Gone":        {func(*authz.Principal) *authz.Principal { return nil }, nil, func(s *Server, p *authz.Principal) { s.Revoke(p.SessionID) }, 4403},
		"Unknown":     {func(*authz.Principal) *authz.Principal { return nil }, errors.New("away"), func(s *Server, p *authz.Principal) { s.Revoke(p.SessionID) }, 1013},
	} {
		t.Run(name, func(t *testing.T) {
			ann := holding(user("ann", time.Time{}), "a")
			l := &ledger{rights: map[uuid.UUID]*authz.Principal{ann.SessionID: c.now(ann)}, err: c.err}
			judging, goOn := make(chan struct{}), make(chan struct{})
			f := serve(t, Config{Standing: l.standing, Init: func(ctx context.Context, _ map[string]any) (context.Context, *authz.Principal, error) {
				close(judging)
				<-goOn
				return ctx, ann, nil
			}}, nil)
			client := f.dial(t)
			client.send(`{"type":"connection_init"}`)
			wait(t, judging, "Init")
			c.revoke(f.rt, ann)
			close(goOn)
			if c.code != 0 {
				code, _ := client.closed()
				require.Equal(t, c.code, code)
				return
			}
			require.JSONEq(t, `{"type":"connection_ack"}`, client.read())
		})
	}
}

// Rights that cannot be read in time are not relied on: the peer is told to come back.
func TestServer_SuspendsWhenUnread(t *testing.T) {
	ann := holding(user("ann", time.Time{}), "a")
	l := &ledger{rights: map[uuid.UUID]*authz.Principal{ann.SessionID: ann}, err: errors.New("away")}
	f := serve(t, Config{Standing: l.standing}, map[string]*authz.Principal{"ann": ann})
	c, anonymous := f.connect(t, "ann"), f.connect(t)
	start := time.Now()
	f.rt.RevokeUser(ann.UserID)
	code, reason := c.closed()
	require.Equal(t, closeTryAgain, code)
	require.Equal(t, unsure, reason)
	require.GreaterOrEqual(t, time.Since(start), checkLimit)
	require.Greater(t, l.reads(), 1, "it is tried again")
	anonymous.answers(t)

	l.mu.Lock()
	l.err = nil
	l.mu.Unlock()
	c = f.connect(t, "ann")
	f.rt.Suspend()
	code, _ = c.closed()
	require.Equal(t, closeTryAgain, code)
	anonymous.answers(t)
}

// A panic of the reader is a failure like any other, not the end of all checking.
func TestServer_StandingPanics(t *testing.T) {
	ann := holding(user("ann", time.Time{}), "a")
	var calls int
	f := serve(t, Config{Standing: func(context.Context, []uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
		if calls++; calls == 1 {
			panic("no")
		}
		return nil, nil //nolint:nilnil // nobody stands
	}}, map[string]*authz.Principal{"ann": ann})
	c := f.connect(t, "ann")
	f.rt.RevokeUser(ann.UserID)
	code, _ := c.closed()
	require.Equal(t, 4403, code)
}
