package transport

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/outbox"
)

// event is one of an event stream; a comment has only that.
type event struct {
	kind, id, data string
	hasData        bool
	comment        bool
}

// events is an open stream.
type events struct {
	t      testing.TB
	res    *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

func (f *fixture) request(t testing.TB, method, query string, header ...string) *http.Request {
	t.Helper()
	var r *http.Request
	var err error
	if method == http.MethodGet {
		r, err = http.NewRequestWithContext(t.Context(), method, f.http.URL+"/graphql?query="+url.QueryEscape(query), nil)
	} else {
		body := fmt.Sprintf(`{"query":%q}`, query)
		r, err = http.NewRequestWithContext(t.Context(), method, f.http.URL+"/graphql", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
	}
	require.NoError(t, err)
	r.Header.Set("Accept", typeEventStream)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func (f *fixture) do(t testing.TB, r *http.Request) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(r.Context())
	res, err := f.http.Client().Do(r.WithContext(ctx))
	require.NoError(t, err)
	t.Cleanup(func() { cancel(); _ = res.Body.Close() })
	return &events{t, res, bufio.NewReader(res.Body), cancel}
}

// stream opens one and takes its greeting.
func (f *fixture) stream(t testing.TB, query string, header ...string) *events {
	t.Helper()
	s := f.do(t, f.request(t, http.MethodPost, query, header...))
	require.Equal(t, http.StatusOK, s.res.StatusCode)
	require.Equal(t, "text/event-stream; charset=utf-8", s.res.Header.Get("Content-Type"))
	require.Equal(t, "no-store", s.res.Header.Get("Cache-Control"))
	require.True(t, s.raw().comment)
	return s
}

func (s *events) raw() event {
	s.t.Helper()
	e, err := s.read()
	require.NoError(s.t, err)
	return e
}

func (s *events) read() (event, error) {
	timer := time.AfterFunc(patience, s.cancel)
	defer timer.Stop()
	var e event
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			return e, nil
		case name == "":
			e.comment = true
		case name == "event":
			e.kind = value
		case name == "id":
			e.id = value
		case name == "data":
			if e.hasData {
				s.t.Error("more than one data line")
			}
			e.data, e.hasData = value, true
		default:
			s.t.Errorf("unexpected field %q", name)
		}
	}
}

func (s *events) next() event {
	s.t.Helper()
	for {
		if e := s.raw(); !e.comment {
			return e
		}
	}
}

func (s *events) tick() (tick, string) {
	s.t.Helper()
	e := s.next()
	require.Equal(s.t, "next", e.kind)
	var p struct{ Data struct{ Ticks tick } }
	unmarshal(s.t, []byte(e.data), &p)
	return p.Data.Ticks, e.id
}

func (s *events) completed() {
	s.t.Helper()
	require.Equal(s.t, event{kind: "complete", hasData: true}, s.next())
	_, err := s.read()
	require.ErrorIs(s.t, err, io.EOF)
}

func TestSSE_QueryMutationErrors(t *testing.T) {
	f := serve(t, Config{}, nil)
	for _, tt := range []struct{ query, want string }{
		{`{hello}`, `{"data":{"hello":"world"}}`},
		{`mutation{bump}`, `{"data":{"bump":1}}`},
		{`subscription{plain(n:1)}`, `{"data":{"plain":1 }}`},
		{`{fail}`, `"data":null`},
		{`{fail}`, `NOT_FOUND`},
		{`{nope}`, `GRAPHQL_VALIDATION_FAILED`},
		{`{`, `GRAPHQL_PARSE_FAILED`},
		{`subscription{denied}`, `NOT_FOUND`},
		{`subscription{crash}`, `INTERNAL_SERVER_ERROR`},
		{`{panic}`, `INTERNAL_SERVER_ERROR`},
	} {
		s := f.stream(t, tt.query)
		e := s.next()
		require.Equal(t, "next", e.kind)
		require.Contains(t, e.data, tt.want)
		if !strings.HasPrefix(tt.query, "{fail") && strings.Contains(e.data, "errors") {
			require.NotContains(t, e.data, `"data"`, "a request error has no data")
		}
		s.completed()
	}
	s := f.do(t, f.request(t, http.MethodGet, `subscription{plain(n:2)}`))
	require.Equal(t, http.StatusOK, s.res.StatusCode)
	require.Contains(t, s.next().data, `"plain":1`)
	require.Contains(t, s.next().data, `"plain":2`)
	s.completed()
}

func TestSSE_Refusals(t *testing.T) {
	f := serve(t, Config{Origins: []string{"https://app.example"}, MaxBody: 1000}, map[string]*authz.Principal{"late": user("late", time.Now().Add(-time.Second))})
	post := func(body, typ string) *http.Request {
		r := f.request(t, http.MethodPost, "")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", typ)
		return r
	}
	get := func(query string) *http.Request {
		r := f.request(t, http.MethodGet, "")
		r.URL.RawQuery = query
		return r
	}
	const hello = "query=%7Bhello%7D"
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		code   string
	}{
		{"GET mutation", f.request(t, http.MethodGet, `mutation{bump}`), 405, "BAD_USER_INPUT"},
		{"foreign origin", f.request(t, http.MethodGet, `{hello}`, "Origin", "https://evil.example"), 403, "FORBIDDEN"},
		{"null origin", f.request(t, http.MethodGet, `{hello}`, "Origin", "null"), 403, "FORBIDDEN"},
		{"cross-site", f.request(t, http.MethodGet, `{hello}`, "Sec-Fetch-Site", "cross-site"), 403, "FORBIDDEN"},
		{"listed origin", f.request(t, http.MethodGet, `{hello}`, "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example"), 200, ""},
		{"same origin", f.request(t, http.MethodGet, `{hello}`, "Sec-Fetch-Site", "same-origin", "Origin", f.http.URL), 200, ""},
		{"no query", get(""), 400, "BAD_USER_INPUT"},
		{"bad escape", get("query=%zz"), 400, "BAD_USER_INPUT"},
		{"not UTF-8", get(hello + "&variables=%ff"), 400, "BAD_USER_INPUT"},
		{"variables are a list", get(hello + "&variables=[]"), 400, "BAD_USER_INPUT"},
		{"extensions are text", get(hello + "&extensions=x"), 400, "BAD_USER_INPUT"},
		{"NUL", get(hello + `&variables={"a":"%5Cu0000"}`), 400, "BAD_USER_INPUT"},
		{"not JSON", post(`{`, "application/json"), 400, "BAD_USER_INPUT"},
		{"trailing garbage", post(`{"query":"{hello}"}x`, "application/json"), 400, "BAD_USER_INPUT"},
		{"a list", post(`[{"query":"{hello}"}]`, "application/json"), 400, "BAD_USER_INPUT"},
		{"a form", post(`query={hello}`, "application/x-www-form-urlencoded"), 415, "BAD_USER_INPUT"},
		{"another charset", post(`{"query":"{hello}"}`, "application/json; charset=latin1"), 415, "BAD_USER_INPUT"},
		{"body is not UTF-8", post("{\"query\":\"{hello}\xff\"}", "application/json"), 400, "BAD_USER_INPUT"},
		{"too large", post(`{"query":"{hello}`+strings.Repeat(" ", 1000)+`"}`, "application/json"), 413, "RESOURCE_EXHAUSTED"},
		{"expired", f.request(t, http.MethodPost, `{hello}`, "Authorization", "Bearer late"), 401, "UNAUTHENTICATED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := f.do(t, tt.r)
			require.Equal(t, tt.status, s.res.StatusCode)
			if tt.status == 200 {
				return
			}
			b, err := io.ReadAll(s.res.Body)
			require.NoError(t, err)
			require.Contains(t, string(b), tt.code)
			require.NotContains(t, string(b), `"data"`)
			require.Equal(t, tt.status == 405, s.res.Header.Get("Allow") == "POST")
		})
	}
}

// TestSSE_Budget: requests that are refused are paid for, and with nothing left the next is refused unread.
func TestSSE_Budget(t *testing.T) {
	f := serve(t, Config{Budgets: budgets(t)}, nil)
	bad := func(body string) *events {
		r := f.request(t, http.MethodPost, "")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		return f.do(t, r)
	}
	require.Equal(t, http.StatusBadRequest, bad(`{`).res.StatusCode)
	require.Equal(t, http.StatusBadRequest, bad(`{"query":7,"variables":"`+strings.Repeat("x", 2<<10)+`"}`).res.StatusCode)
	r := f.request(t, http.MethodGet, "")
	r.URL.RawQuery = "query=%zz"
	require.Equal(t, http.StatusBadRequest, f.do(t, r).res.StatusCode)
	for _, body := range []string{`{`, `{"query":"{hello}"}`} {
		s := bad(body)
		require.Equal(t, http.StatusTooManyRequests, s.res.StatusCode)
		require.Equal(t, "1", s.res.Header.Get("Retry-After"))
		b, err := io.ReadAll(s.res.Body)
		require.NoError(t, err)
		require.Contains(t, string(b), "RATE_LIMITED")
	}
}

func TestSSE_Supports(t *testing.T) {
	for accept, want := range map[string]bool{
		"text/event-stream": true, "TEXT/Event-Stream; charset=utf-8": true, "text/event-stream, */*": true,
		"text/event-stream, application/json;q=0.5": true,
		"application/json, text/event-stream":       false, "text/event-stream;q=0": false, "*/*": false, "": false, "application/json": false,
		"application/graphql-response+json, text/event-stream;q=0.9": false,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		require.NoError(t, err)
		r.Header.Set("Accept", accept)
		require.Equal(t, want, eventStream{}.Supports(r), accept)
		r.Method = http.MethodDelete
		require.False(t, eventStream{}.Supports(r))
	}
}

func TestSSE_SubscriptionResumesByLastEventID(t *testing.T) {
	f := serve(t, Config{}, nil)
	const query = `subscription{ticks(topic:"a"){seq text gap}}`
	s := f.stream(t, query)
	f.subscribed(t, 1)
	f.publish(realtime.Event{Topic: "a", Seq: 4, Value: "line\nbreak"})
	got, id := s.tick()
	require.Equal(t, tick{Seq: 4, Text: "line\nbreak"}, got)
	require.Equal(t, "c4", id)
	s.cancel()
	f.subscribed(t, 0)
	for seq := uint64(5); seq <= 600; seq++ {
		f.publish(realtime.Event{Topic: "a", Seq: seq})
	}
	s = f.stream(t, query, "Last-Event-ID", id)
	for want := uint64(5); want <= 600; want++ {
		got, id := s.tick()
		require.Equal(t, want, got.Seq)
		require.Equal(t, fmt.Sprintf("c%d", want), id)
	}
	f.hub.Complete("a")
	s.completed()

	f.log.mu.Lock()
	f.log.expired = 10
	f.log.mu.Unlock()
	s = f.stream(t, query, "Last-Event-ID", id)
	got, id = s.tick()
	require.Equal(t, "CURSOR_EXPIRED", *got.Gap)
	require.Equal(t, "c600", id, "so that a client that reconnects by itself does not get it again")
	s.completed()

	s = f.stream(t, query, "Last-Event-ID", "forged")
	require.Contains(t, s.next().data, "BAD_USER_INPUT")
}

func TestSSE_KeepAlive(t *testing.T) {
	f := serve(t, Config{KeepAlive: 10 * time.Millisecond}, nil)
	s := f.stream(t, `subscription{ticks(topic:"a"){seq}}`)
	for range 3 {
		require.True(t, s.raw().comment)
	}
	slow := f.stream(t, `{slow}`)
	require.True(t, slow.raw().comment, "while a query runs, too")
	slow.cancel()
	wait(t, f.stopped, "the query's context ends with its client")
}

func TestSSE_RevocationExpiryShutdown(t *testing.T) {
	ann, bob := user("ann", time.Time{}), user("bob", time.Time{})
	eve := user("eve", time.Now().Add(200*time.Millisecond))
	f := serve(t, Config{Heartbeat: 40 * time.Millisecond}, map[string]*authz.Principal{"ann": ann, "bob": bob, "eve": eve})
	const query = `subscription{ticks(topic:"a"){seq}}`
	a, b, e := f.stream(t, query, "Authorization", "Bearer ann"), f.stream(t, query, "Authorization", "Bearer bob"), f.stream(t, query, "Authorization", "Bearer eve")
	anonymous := f.stream(t, query)
	f.subscribed(t, 4)
	f.rt.Revoke(ann.SessionID)
	f.rt.RevokeUser(bob.UserID)
	for _, s := range []*events{a, b, e} {
		got := s.next()
		require.Equal(t, "next", got.kind)
		require.Contains(t, got.data, "UNAUTHENTICATED")
		_, err := s.read()
		require.ErrorIs(t, err, io.EOF)
	}
	f.subscribed(t, 1)
	f.publish(realtime.Event{Topic: "a", Seq: 1})
	got, _ := anonymous.tick()
	require.Equal(t, uint64(1), got.Seq)

	again := f.do(t, f.request(t, http.MethodPost, query, "Authorization", "Bearer ann"))
	require.Equal(t, http.StatusUnauthorized, again.res.StatusCode)
	f.stream(t, query, "Authorization", "Bearer bob")

	f.rt.Close()
	_, err := anonymous.read()
	require.ErrorIs(t, err, io.EOF, "no complete: the client comes back")
	closed := f.do(t, f.request(t, http.MethodPost, query))
	require.Equal(t, http.StatusServiceUnavailable, closed.res.StatusCode)
}

func TestSSE_RevokedWhileAuthenticating(t *testing.T) {
	f := serve(t, Config{}, nil)
	p := user("ann", time.Time{})
	ctx := authz.WithRequest(t.Context(), authz.Request{Arrived: time.Now()})
	f.rt.RevokeUser(p.UserID)
	holds, err := f.rt.adopt(ctx, nil, p, arrival(ctx))
	require.NoError(t, err)
	require.False(t, holds)
	holds, err = f.rt.adopt(ctx, nil, p, arrival(t.Context()))
	require.NoError(t, err)
	require.True(t, holds)
}

// stalledStream is a client that does not read.
func (f *fixture) stalledStream(t testing.TB, query string) net.Conn {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", f.http.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.(*net.TCPConn).SetReadBuffer(64<<10))
	body := fmt.Sprintf(`{"query":%q}`, query)
	_, err = fmt.Fprintf(nc, "POST /graphql HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(t, err)
	return nc
}

func TestSSE_SlowConsumer(t *testing.T) {
	f := serve(t, Config{}, nil)
	nc := f.stalledStream(t, `subscription{ticks(topic:"a"){seq text gap}}`)
	f.subscribed(t, 1)
	text := strings.Repeat("x", 4096)
	var seq uint64
	until(t, "given up", func() bool {
		seq++
		f.publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
		return !f.hub.HasSubscribers("a")
	})
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	require.NoError(t, err)
	s := &events{t, res, bufio.NewReader(res.Body), func() { _ = nc.Close() }}
	last := uint64(0)
	for {
		got, id := s.tick()
		if got.Gap != nil {
			require.Equal(t, "SLOW_CONSUMER", *got.Gap)
			require.Equal(t, last, got.Seq)
			require.Equal(t, fmt.Sprintf("c%d", last), id)
			break
		}
		require.Equal(t, last+1, got.Seq)
		last++
	}
	s.completed()
}

func TestSSE_NoProgress(t *testing.T) {
	f := serve(t, Config{Outbox: outbox.Limits{Soft: 64 << 10, Hard: 256 << 10, Stall: 100 * time.Millisecond}}, nil)
	f.stalledStream(t, `subscription{ticks(topic:"a"){seq text}}`)
	f.subscribed(t, 1)
	text := strings.Repeat("x", 16<<10)
	var seq uint64
	until(t, "cut off", func() bool {
		seq++
		f.hub.Publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
		return f.rt.Stats().Peers == 0
	})
}

func TestSSE_ServerTimeouts(t *testing.T) {
	f := serve(t, Config{KeepAlive: 20 * time.Millisecond}, nil)
	require.Equal(t, 50*time.Millisecond, f.http.Config.WriteTimeout)
	s := f.stream(t, `subscription{ticks(topic:"a"){seq}}`)
	for range 10 { // four times the server's timeouts
		require.True(t, s.raw().comment)
	}
	f.publish(realtime.Event{Topic: "a", Seq: 1})
	got, _ := s.tick()
	require.Equal(t, uint64(1), got.Seq)
}

func TestMentionsStream(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "application/json": false, "text/event-strea": false, "text/event-stream": true,
		"application/json, Text/EVENT-stream;q=0.5": true, "ttext/event-stream": true,
	} {
		require.Equal(t, want, mentionsStream(accept), accept)
	}
}
