package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/ratelimit"
)

type gqlError = gqlerror.Error

func TestProtocol_CloseCodes(t *testing.T) {
	const init = `{"type":"connection_init"}`
	f := serve(t, Config{}, nil)
	for _, tt := range []struct {
		name string
		send []string
		code int
	}{
		{"not JSON", []string{`{`}, 4400},
		{"an array", []string{`[]`}, 4400},
		{"null", []string{`null`}, 4400},
		{"no type", []string{`{}`}, 4400},
		{"type in capitals", []string{`{"TYPE":"ping"}`}, 4400},
		{"type is a number", []string{`{"type":1}`}, 4400},
		{"unknown type", []string{`{"type":"start","id":"1"}`}, 4400},
		{"a server's type", []string{init, `{"type":"next","id":"1","payload":{}}`}, 4400},
		{"trailing garbage", []string{`{"type":"ping"}x`}, 4400},
		{"not UTF-8", []string{"{\"type\":\"ping\xff\"}"}, 4400},
		{"init with a list", []string{`{"type":"connection_init","payload":[]}`}, 4400},
		{"init with a string", []string{`{"type":"connection_init","payload":"x"}`}, 4400},
		{"ping with a string", []string{`{"type":"ping","payload":"x"}`}, 4400},
		{"subscribe before init", []string{`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`}, 4401},
		{"second init", []string{init, init}, 4429},
		{"bad token", []string{`{"type":"connection_init","payload":{"Authorization":"Bearer no"}}`}, 4403},
		{"no id", []string{init, `{"type":"subscribe","payload":{"query":"{hello}"}}`}, 4400},
		{"empty id", []string{init, `{"id":"","type":"subscribe","payload":{"query":"{hello}"}}`}, 4400},
		{"null id", []string{init, `{"id":null,"type":"subscribe","payload":{"query":"{hello}"}}`}, 4400},
		{"numeric id", []string{init, `{"id":1,"type":"subscribe","payload":{"query":"{hello}"}}`}, 4400},
		{"long id", []string{init, `{"id":"` + strings.Repeat("x", 257) + `","type":"subscribe","payload":{"query":"{hello}"}}`}, 4400},
		{"no payload", []string{init, `{"id":"1","type":"subscribe"}`}, 4400},
		{"no query", []string{init, `{"id":"1","type":"subscribe","payload":{}}`}, 4400},
		{"null query", []string{init, `{"id":"1","type":"subscribe","payload":{"query":null}}`}, 4400},
		{"query is a number", []string{init, `{"id":"1","type":"subscribe","payload":{"query":1}}`}, 4400},
		{"variables are a list", []string{init, `{"id":"1","type":"subscribe","payload":{"query":"{hello}","variables":[]}}`}, 4400},
		{"operationName is a number", []string{init, `{"id":"1","type":"subscribe","payload":{"query":"{hello}","operationName":1}}`}, 4400},
		{"complete without id", []string{init, `{"type":"complete"}`}, 4400},
		{"duplicate id", []string{init, `{"id":"1","type":"subscribe","payload":{"query":"subscription{ticks(topic:\"a\"){seq}}"}}`,
			`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`}, 4409},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := f.dial(t)
			for _, m := range tt.send {
				c.send(m)
			}
			code, reason := c.closed()
			require.Equal(t, tt.code, code)
			require.NotEmpty(t, reason)
		})
	}
	until(t, "all closed", func() bool { return f.rt.Stats().Peers == 0 })
}

// budgets holds four points, which hardly flow back.
func budgets(t *testing.T) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{
		Points: 4, Refill: 1, Secret: make([]byte, 32), Record: func(context.Context, ratelimit.Note) error { return nil },
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
	require.NoError(t, err)
	return l
}

// TestProtocol_Budget: messages that are refused are paid for by whoever the connection is, and with nothing left a
// subscribe is refused unread.
func TestProtocol_Budget(t *testing.T) {
	f := serve(t, Config{Budgets: budgets(t)}, map[string]*authz.Principal{"a": user("ada", time.Time{})})
	open := f.connect(t, "a")
	for _, m := range []string{
		`{"type":"subscribe"}`,
		`{"id":"1","type":"subscribe","payload":{"query":7}}`,
		`{"id":"1","type":"subscribe","payload":{"query":7,"variables":"` + strings.Repeat("x", 2<<10) + `"}}`,
	} {
		c := f.connect(t, "a")
		c.send(m)
		code, _ := c.closed()
		require.Equal(t, 4400, code)
	}
	open.send(`{"id":"1","type":"subscribe","payload":{"query":7}}`)
	require.Equal(t, "RATE_LIMITED", open.failed("1"))
	open.subscribe("1", "{hello}")
	require.Equal(t, "RATE_LIMITED", open.failed("1"), "the id is free again, and the connection open")

	stranger := f.connect(t)
	stranger.send(`{"id":"1","type":"subscribe","payload":{"query":"{hello}","variables":{"a":"\u0000"}}}`)
	require.Equal(t, "BAD_USER_INPUT", stranger.failed("1"), "another's budget is another")
}

func TestProtocol_BinaryMessage(t *testing.T) {
	c := serve(t, Config{}, nil).dial(t)
	require.NoError(t, c.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)))
	code, _ := c.closed()
	require.Equal(t, 4400, code)
}

func TestProtocol_Subprotocol(t *testing.T) {
	f := serve(t, Config{}, nil)
	for _, offered := range [][]string{nil, {"graphql-ws"}, {"chat", "GRAPHQL-TRANSPORT-WS"}} {
		d := websocket.Dialer{Subprotocols: offered}
		ws, res, err := d.DialContext(t.Context(), f.url(), nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Empty(t, ws.Subprotocol())
		code, _ := (&client{t, ws}).closed()
		require.Equal(t, 4406, code)
		require.NoError(t, ws.Close())
	}
}

func TestProtocol_MessageLimit(t *testing.T) {
	f := serve(t, Config{}, nil)
	c := f.connect(t)
	pad := strings.Repeat(" ", 1<<20-len(`{"type":"ping"}`))
	c.send(`{"type":"ping"}` + pad) // exactly 1 MiB
	require.JSONEq(t, `{"type":"pong"}`, c.read())
	_ = c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`+pad+" ")) // may be cut off while it sends
	code, _ := c.closed()
	require.Equal(t, websocket.CloseMessageTooBig, code)

	early := f.dial(t)
	_ = early.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`+pad)) // may be cut off while it sends
	code, _ = early.closed()
	require.Equal(t, websocket.CloseMessageTooBig, code, "an unknown peer gets less")
}

func TestProtocol_PingPong(t *testing.T) {
	c := serve(t, Config{}, nil).dial(t)
	for _, m := range []string{`{"type":"ping"}`, `{"type":"ping","payload":null}`, `{"payload":{"a":1},"type":"ping"}`} {
		c.send(m)
		require.JSONEq(t, `{"type":"pong"}`, c.read())
	}
	c.send(`{"type":"pong"}`)
	c.send(`{"type":"connection_init","payload":{}}`)
	require.JSONEq(t, `{"type":"connection_ack"}`, c.read())
	c.send(`{"type":"ping"}`)
	require.JSONEq(t, `{"type":"pong"}`, c.read())
}

func TestProtocol_InitTimeout(t *testing.T) {
	f := serve(t, Config{InitTimeout: 50 * time.Millisecond}, nil)
	ready := f.connect(t)
	code, _ := f.dial(t).closed()
	require.Equal(t, 4408, code)
	ready.send(`{"type":"ping"}`)
	require.JSONEq(t, `{"type":"pong"}`, ready.read(), "an acknowledged one stays")
}

func TestProtocol_InitThatHangs(t *testing.T) {
	let := make(chan struct{}, 1)
	f := serve(t, Config{InitTimeout: 50 * time.Millisecond, Init: func(ctx context.Context, _ map[string]any) (context.Context, *authz.Principal, error) {
		<-ctx.Done()
		let <- struct{}{}
		return nil, nil, ctx.Err()
	}}, nil)
	c := f.dial(t)
	c.send(`{"type":"connection_init"}`)
	code, _ := c.closed()
	require.Equal(t, 4408, code)
	wait(t, let, "Init's context ends")
}

func TestProtocol_InitFailure(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
	}{
		{errs.New(errs.Unauthenticated, "The token has expired."), 4403},
		{errs.New(errs.Forbidden, "%s", strings.Repeat("ä", 200)), 4403},
		{errs.New(errs.UpstreamUnavailable, "The database does not answer."), 1013},
		{errors.New("connection refused"), 1013},
		{nil, 1011}, // panics
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			f := serve(t, Config{Init: func(context.Context, map[string]any) (context.Context, *authz.Principal, error) {
				if tt.err == nil {
					panic("canary-panic")
				}
				return nil, nil, tt.err
			}}, nil)
			c := f.dial(t)
			c.send(`{"type":"connection_init"}`)
			code, reason := c.closed()
			require.Equal(t, tt.code, code)
			require.NotContains(t, reason, "refused")
		})
	}
}

func TestProtocol_Heartbeat(t *testing.T) {
	f := serve(t, Config{Heartbeat: 20 * time.Millisecond, Silence: 200 * time.Millisecond}, nil)
	c := f.connect(t)
	pings := make(chan struct{}, 100)
	answer := c.ws.PingHandler()
	var mute atomic.Bool
	c.ws.SetPingHandler(func(s string) error {
		pings <- struct{}{}
		if mute.Load() { // half open
			return nil
		}
		return answer(s)
	})
	ended := make(chan error, 1)
	go func() { _, err := c.next(); ended <- err }()
	for range 20 { // longer than Silence
		wait(t, pings, "a ping")
	}
	require.Equal(t, int64(1), f.rt.Stats().Peers, "who answers stays")
	mute.Store(true)
	select {
	case err := <-ended:
		require.Error(t, err)
		require.False(t, isTimeout(err), "the server dropped the peer")
	case <-time.After(patience):
		t.Fatal("not in time: dropped")
	}
	until(t, "forgotten", func() bool { return f.rt.Stats().Peers == 0 })
}

func TestProtocol_Origin(t *testing.T) {
	f := serve(t, Config{Origins: []string{"https://app.example", "https://Other.Example:8443/"}}, nil)
	own := f.http.URL
	for origin, want := range map[string]int{
		"": 101, own: 101, "https://app.example": 101, "https://other.example:8443": 101,
		"https://evil.example": 403, "http://app.example": 403, "null": 403, "https://app.example.evil.example": 403, "https://other.example": 403, "https://app.example/": 403,
	} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		d := websocket.Dialer{Subprotocols: []string{protocol}}
		ws, res, err := d.DialContext(t.Context(), f.url(), h)
		require.NotNil(t, res, "%s: %v", origin, err)
		require.Equal(t, want, res.StatusCode, origin)
		require.NoError(t, res.Body.Close())
		if err == nil {
			require.NoError(t, ws.Close())
		}
	}
	two := http.Header{"Origin": {own, "https://evil.example"}}
	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), f.url(), two)
	require.Error(t, err)
	require.Equal(t, 403, res.StatusCode)
	require.NoError(t, res.Body.Close())
}

func TestProtocol_SocketLimit(t *testing.T) {
	f := serve(t, Config{MaxSockets: 2}, nil)
	f.connect(t)
	f.connect(t)
	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), f.url(), nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.NoError(t, res.Body.Close())
}

func TestServer_CloseIsGoingAway(t *testing.T) {
	f := serve(t, Config{}, nil)
	c, idle := f.connect(t), f.dial(t)
	c.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	c.subscribe("2", `{slow}`)
	wait(t, f.started, "the query runs")
	f.subscribed(t, 1)
	closed := make(chan struct{})
	go func() { f.rt.Close(); close(closed) }()
	for _, c := range []*client{c, idle} {
		code, _ := c.closed()
		require.Equal(t, websocket.CloseGoingAway, code)
	}
	wait(t, f.stopped, "the query ends")
	wait(t, closed, "Close")
	f.rt.Close()
	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), f.url(), nil)
	require.Error(t, err)
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NoError(t, res.Body.Close())
}

func TestServer_RevokeAndExpiry(t *testing.T) {
	ann, bob, eve := user("ann", time.Time{}), user("bob", time.Time{}), user("eve", time.Now().Add(300*time.Millisecond))
	late := user("late", time.Now().Add(-time.Second))
	f := serve(t, Config{Heartbeat: 40 * time.Millisecond}, map[string]*authz.Principal{"ann": ann, "bob": bob, "eve": eve, "late": late})
	a1, a2, b, e, anonymous := f.connect(t, "ann"), f.connect(t, "ann"), f.connect(t, "bob"), f.connect(t, "eve"), f.connect(t)
	a1.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	e.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	f.subscribed(t, 2)

	f.rt.Revoke(ann.SessionID)
	for _, c := range []*client{a1, a2} {
		code, _ := c.closed()
		require.Equal(t, 4403, code)
	}
	code, reason := e.closed()
	require.Equal(t, 4403, code)
	require.Contains(t, reason, "expired")
	f.subscribed(t, 0)

	f.rt.RevokeUser(bob.UserID)
	code, _ = b.closed()
	require.Equal(t, 4403, code)
	f.connect(t, "bob") // judged anew
	anonymous.send(`{"type":"ping"}`)
	require.JSONEq(t, `{"type":"pong"}`, anonymous.read())

	for _, token := range []string{"late", "ann"} { // ann's session does not come back
		c := f.dial(t)
		c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token + `"}}`)
		code, _ = c.closed()
		require.Equal(t, 4403, code)
	}
}

func TestServer_RevokeDuringInit(t *testing.T) {
	ann := user("ann", time.Time{})
	judging, goOn := make(chan struct{}), make(chan struct{})
	f := serve(t, Config{Init: func(ctx context.Context, _ map[string]any) (context.Context, *authz.Principal, error) {
		close(judging)
		<-goOn
		return ctx, ann, nil
	}}, nil)
	c := f.dial(t)
	c.send(`{"type":"connection_init"}`)
	wait(t, judging, "Init")
	f.rt.RevokeUser(ann.UserID)
	close(goOn)
	b, err := c.next()
	require.Error(t, err, "no acknowledgement: %s", b)
	require.True(t, websocket.IsCloseError(err, 4403))
}

func TestConn_KeepsRequestAndPrincipal(t *testing.T) {
	type key struct{}
	f := serve(t, Config{Operation: func(ctx context.Context) context.Context {
		rq := authz.RequestFrom(ctx)
		rq.ID += ".7"
		return authz.WithRequest(context.WithValue(ctx, key{}, 1), rq)
	}}, map[string]*authz.Principal{"ann": user("ann", time.Now().Add(time.Hour))})
	c := f.connect(t, "ann")
	c.subscribe("1", `{who}`)
	require.JSONEq(t, `{"data":{"who":"ann req-1.7 192.0.2.1 test-agent"}}`, c.data("1"))
	c.completed("1")
	anonymous := f.connect(t)
	anonymous.subscribe("1", `{who}`)
	require.JSONEq(t, `{"data":{"who":"anonymous req-1.7 192.0.2.1 test-agent"}}`, anonymous.data("1"))
}

func TestRegistry_ForgetsOldRevocations(t *testing.T) {
	f := serve(t, Config{}, nil)
	p := user("ann", time.Time{})
	f.rt.Revoke(p.SessionID)
	f.rt.RevokeUser(p.UserID)
	holds, err := f.rt.adopt(t.Context(), nil, p, time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.False(t, holds)
	f.rt.open(nil, time.Now().Add(2*remember))
	holds, err = f.rt.adopt(t.Context(), nil, p, time.Now())
	require.NoError(t, err)
	require.True(t, holds)
}
