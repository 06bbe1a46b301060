package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime"
)

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(benchClients)); err == nil {
		clients(n, os.Args[len(os.Args)-1]) // a child of a benchmark
		return
	}
	goleak.VerifyTestMain(m)
}

// fixture is a running server.
type fixture struct {
	*schema
	rt   *Server
	http *httptest.Server
	logs *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// serve starts a server; principals are found by the token in the payload or header.
func serve(t testing.TB, cfg Config, users map[string]*authz.Principal) *fixture {
	return serveHub(t, cfg, users, realtime.HubOptions{})
}

func serveHub(t testing.TB, cfg Config, users map[string]*authz.Principal, o realtime.HubOptions) *fixture {
	f := &fixture{logs: &syncBuffer{}}
	log := slog.New(slog.NewTextHandler(f.logs, nil))
	o.Log = log
	hub := realtime.NewHub(o)
	f.schema = newSchema(hub)
	cfg.Hub, cfg.Log = hub, log
	if cfg.Init == nil {
		cfg.Init = func(ctx context.Context, payload map[string]any) (context.Context, *authz.Principal, error) {
			token, ok := payload["Authorization"].(string)
			if !ok {
				return ctx, nil, nil
			}
			p, ok := users[strings.TrimPrefix(token, "Bearer ")]
			if !ok {
				return nil, nil, errs.New(errs.Unauthenticated, "The token is not valid. Sign in again.")
			}
			return ctx, p, nil
		}
	}
	f.rt = New(cfg)
	gql := executor.New(f.schema)
	gql.SetRecoverFunc(func(context.Context, any) error { return errs.New(errs.Internal, internalFault) })
	gql.SetErrorPresenter(presenter)
	transports := []graphql.Transport{f.rt.WebSocket(), f.rt.SSE()}
	f.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := authz.WithRequest(r.Context(), authz.Request{ID: "req-1", IP: "192.0.2.1", UserAgent: r.UserAgent()})
		if token := r.Header.Get("Authorization"); token != "" {
			ctx = authz.With(ctx, users[strings.TrimPrefix(token, "Bearer ")])
		}
		for _, tr := range transports { // as the server does: it prepares nothing
			if tr.Supports(r) {
				tr.Do(w, r.WithContext(ctx), gql)
				return
			}
		}
		http.Error(w, "no transport", http.StatusBadRequest)
	}))
	f.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.http.Config.ConnContext = ConnContext
	if cfg.KeepAlive > 0 { // streams are to outlive them
		f.http.Config.ReadTimeout, f.http.Config.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond
	}
	f.http.Start()
	t.Cleanup(func() {
		f.rt.Close()
		f.http.CloseClientConnections()
		f.http.Close()
		hub.Close()
		require.Zero(t, f.rt.Stats().Operations)
		require.Zero(t, f.rt.Stats().Peers)
		require.NotContains(t, f.logs.String(), "canary")
	})
	return f
}

// presenter stands for the server's own.
func presenter(ctx context.Context, err error) *gqlError {
	g := graphql.DefaultErrorPresenter(ctx, err)
	if e, ok := errs.As(err); ok {
		g.Message, g.Extensions = e.Message, map[string]any{"code": string(e.Code), "presented": true}
	}
	return g
}

// client is one websocket.
type client struct {
	t  testing.TB
	ws *websocket.Conn
}

func (f *fixture) url() string { return "ws" + strings.TrimPrefix(f.http.URL, "http") + "/graphql" }

// dial connects without connection_init.
func (f *fixture) dial(t testing.TB) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol}}
	ws, res, err := d.DialContext(t.Context(), f.url(), http.Header{"User-Agent": {"test-agent"}})
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, protocol, ws.Subprotocol())
	t.Cleanup(func() { _ = ws.Close() })
	return &client{t, ws}
}

// connect dials and is acknowledged.
func (f *fixture) connect(t testing.TB, token ...string) *client {
	t.Helper()
	c := f.dial(t)
	if len(token) > 0 {
		c.send(`{"type":"connection_init","payload":{"Authorization":"Bearer ` + token[0] + `"}}`)
	} else {
		c.send(`{"type":"connection_init"}`)
	}
	require.JSONEq(t, `{"type":"connection_ack"}`, c.read())
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	require.NoError(c.t, c.ws.WriteMessage(websocket.TextMessage, []byte(s)))
}

func (c *client) subscribe(id, query string) {
	c.t.Helper()
	b, err := json.Marshal(map[string]any{"id": id, "type": "subscribe", "payload": map[string]any{"query": query}})
	require.NoError(c.t, err)
	c.send(string(b))
}

// patience bounds every wait of the tests.
const patience = 10 * time.Second

func (c *client) next() ([]byte, error) {
	if err := c.ws.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	_, b, err := c.ws.ReadMessage()
	return b, err
}

func (c *client) read() string {
	c.t.Helper()
	b, err := c.next()
	require.NoError(c.t, err)
	return string(b)
}

// message is what the server sends.
type message struct {
	ID, Type string
	Payload  json.RawMessage
}

func (c *client) message() message {
	c.t.Helper()
	var m message
	require.NoError(c.t, json.Unmarshal([]byte(c.read()), &m))
	return m
}

// data expects a next with data.
func (c *client) data(id string) string {
	c.t.Helper()
	m := c.message()
	require.Equal(c.t, "next", m.Type, "%s", m.Payload)
	require.Equal(c.t, id, m.ID)
	return string(m.Payload)
}

func (c *client) tick(id string) tick {
	c.t.Helper()
	var p struct{ Data struct{ Ticks tick } }
	require.NoError(c.t, json.Unmarshal([]byte(c.data(id)), &p))
	return p.Data.Ticks
}

func (c *client) completed(id string) {
	c.t.Helper()
	require.JSONEq(c.t, `{"id":"`+id+`","type":"complete"}`, c.read())
}

// failed expects an error and gives its code.
func (c *client) failed(id string) string {
	c.t.Helper()
	m := c.message()
	require.Equal(c.t, "error", m.Type, "%s", m.Payload)
	require.Equal(c.t, id, m.ID)
	var list []struct {
		Message    string
		Extensions struct{ Code string }
	}
	require.NoError(c.t, json.Unmarshal(m.Payload, &list))
	require.NotEmpty(c.t, list)
	require.NotEmpty(c.t, list[0].Message)
	return list[0].Extensions.Code
}

// closed expects the server to close, and gives code and reason. What comes before is skipped.
func (c *client) closed() (int, string) {
	c.t.Helper()
	for {
		_, err := c.next()
		if err == nil {
			continue
		}
		var ce *websocket.CloseError
		require.ErrorAs(c.t, err, &ce)
		return ce.Code, ce.Text
	}
}

// until polls for what has no signal of its own.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	every := time.NewTicker(2 * time.Millisecond)
	defer every.Stop()
	for !ok() {
		select {
		case <-every.C:
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func (f *fixture) subscribed(t testing.TB, n int64) {
	t.Helper()
	until(t, fmt.Sprintf("%d subscriptions", n), func() bool { return f.hub.Stats().Subscriptions == n })
}

func wait(t testing.TB, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("not in time: %s", what)
	}
}

func user(name string, expires time.Time) *authz.Principal {
	return authz.NewUser(uuid.New(), name, uuid.New(), false, expires)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func unmarshal(t testing.TB, b []byte, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(b, v))
}
