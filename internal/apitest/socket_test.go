//go:build unix

package apitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// socket is a graphql-transport-ws client. Frames of each operation come in order on a channel of their own.
type socket struct {
	ws     *websocket.Conn
	mu     sync.Mutex
	subs   map[string]chan frame
	number int
	acked  chan struct{}
	closed chan struct{} // closed when the connection is; code is set then
	code   int
}

// frame is a message of the server.
type frame struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Payload json.RawMessage `json:"payload"`
}

// open opens a websocket and says nothing.
func (x *person) open(tb testing.TB) *socket {
	tb.Helper()
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, HandshakeTimeout: waitLimit}
	ws, res, err := d.DialContext(tb.Context(), "ws"+strings.TrimPrefix(x.server.url, "http")+"/graphql", http.Header{})
	require.NoError(tb, err)
	require.NoError(tb, res.Body.Close())
	s := &socket{ws: ws, subs: map[string]chan frame{}, acked: make(chan struct{}), closed: make(chan struct{})}
	go s.read()
	tb.Cleanup(s.close)
	return s
}

// dial opens a websocket as x, who is judged at connection_init, and does not wait for the answer.
func (x *person) dial(tb testing.TB) *socket {
	tb.Helper()
	s := x.open(tb)
	init := map[string]any{"type": "connection_init"}
	if x.token != "" {
		init["payload"] = map[string]any{"Authorization": "Bearer " + x.token}
	}
	s.write(tb, init)
	return s
}

// connect is dial with an answer.
func (x *person) connect(tb testing.TB) *socket {
	tb.Helper()
	s := x.dial(tb)
	select {
	case <-s.acked:
	case <-s.closed:
		require.FailNow(tb, "the connection was refused", "code %d", s.code)
	case <-time.After(waitLimit):
		require.FailNow(tb, "no connection_ack")
	}
	return s
}

func (s *socket) write(tb testing.TB, v any) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.NoError(tb, s.ws.WriteJSON(v))
}

func (s *socket) close() { _ = s.ws.Close() } // the peer may have been first

func (s *socket) read() {
	defer close(s.closed)
	for {
		var f frame
		if err := s.ws.ReadJSON(&f); err != nil {
			if ce, ok := err.(*websocket.CloseError); ok {
				s.code = ce.Code
			}
			return
		}
		switch f.Type {
		case "connection_ack":
			close(s.acked)
		case "ping":
			s.mu.Lock()
			err := s.ws.WriteJSON(map[string]any{"type": "pong"})
			s.mu.Unlock()
			if err != nil {
				return
			}
		default:
			s.mu.Lock()
			ch := s.subs[f.ID]
			s.mu.Unlock()
			if ch != nil {
				ch <- f
			}
		}
	}
}

// operation is one operation on a socket.
type operationOf struct {
	s      *socket
	id     string
	frames chan frame
}

func (s *socket) subscribe(tb testing.TB, query string, vars map[string]any) *operationOf {
	tb.Helper()
	s.mu.Lock()
	s.number++
	id := fmt.Sprint("o", s.number)
	ch := make(chan frame, 4096) // more than any test streams, so that reading never waits
	s.subs[id] = ch
	s.mu.Unlock()
	s.write(tb, map[string]any{"type": "subscribe", "id": id, "payload": map[string]any{"query": query, "variables": vars}})
	return &operationOf{s, id, ch}
}

// next waits for a frame.
func (o *operationOf) next(tb testing.TB) frame {
	tb.Helper()
	select {
	case f := <-o.frames:
		return f
	case <-o.s.closed:
		select {
		case f := <-o.frames:
			return f
		default:
		}
		require.FailNow(tb, "the connection closed", "code %d", o.s.code)
	case <-time.After(waitLimit):
		require.FailNow(tb, "nothing came")
	}
	panic("unreachable")
}

// data waits for a frame with data and decodes its field.
func (o *operationOf) data(tb testing.TB, to any) {
	tb.Helper()
	f := o.next(tb)
	require.Equal(tb, "next", f.Type, "%s", f.Payload)
	r := reply{body: f.Payload}
	require.NoError(tb, json.Unmarshal(f.Payload, &r))
	r.check(tb)
	require.Empty(tb, r.Errors, "%s", f.Payload)
	require.NoError(tb, json.Unmarshal(r.Data, to))
}

// outcome is OK when data comes, or the code of the error that comes instead.
func (o *operationOf) outcome(tb testing.TB) string {
	tb.Helper()
	f := o.next(tb)
	r := reply{body: f.Payload}
	switch f.Type {
	case "next":
		require.NoError(tb, json.Unmarshal(f.Payload, &r))
	case "error":
		require.NoError(tb, json.Unmarshal(f.Payload, &r.Errors))
		require.NotEmpty(tb, r.Errors)
	default:
		return f.Type
	}
	r.check(tb)
	return r.outcome()
}

// closeCode waits for the server to close the connection.
func (s *socket) closeCode(tb testing.TB) int {
	tb.Helper()
	select {
	case <-s.closed:
		return s.code
	case <-time.After(waitLimit):
		require.FailNow(tb, "the connection stays open")
	}
	panic("unreachable")
}

// Clients put the token where their library has them put it.
func TestSocket_WhereTheTokenIs(t *testing.T) {
	x := shared().root(t)
	bearer := "Bearer " + x.token
	const signedIn, anonymous = "OK", "UNAUTHENTICATED"
	for name, c := range map[string]struct {
		payload any
		outcome string // of a subscription for people who are signed in; none when the connection is refused
	}{
		"Authorization":   {map[string]any{"Authorization": bearer}, signedIn},
		"LowerCase":       {map[string]any{"authorization": bearer}, signedIn},
		"Headers":         {map[string]any{"headers": map[string]any{"authorization": bearer}}, signedIn},
		"Null":            {map[string]any{"Authorization": nil}, anonymous},
		"None":            {map[string]any{"token": bearer}, anonymous},
		"HeadersNoObject": {map[string]any{"headers": bearer}, anonymous},
		"Two":             {map[string]any{"Authorization": bearer, "authorization": bearer}, ""},
		"TwoPlaces":       {map[string]any{"Authorization": bearer, "headers": map[string]any{"Authorization": bearer}}, ""},
		"NoText":          {map[string]any{"authorization": 1}, ""},
		"NoBearer":        {map[string]any{"headers": map[string]any{"Authorization": x.token}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := x.open(t)
			s.write(t, map[string]any{"type": "connection_init", "payload": c.payload})
			if c.outcome == "" {
				require.Equal(t, 4403, s.closeCode(t))
				return
			}
			require.Equal(t, c.outcome, s.subscribe(t, `{ chatSessions(first: 1) { totalCount } }`, nil).outcome(t))
		})
	}
}
