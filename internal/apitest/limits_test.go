//go:build unix

package apitest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgtest"
)

const small = `{ viewer { id } }`

// streamed sends an operation for an event stream and gives the data lines of its answer.
func (x *person) streamed(tb testing.TB, query string) (lines []string) {
	tb.Helper()
	res := x.openStream(tb, query)
	defer func() { require.NoError(tb, res.Body.Close()) }()
	for s := bufio.NewScanner(res.Body); s.Scan(); {
		if data, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			lines = append(lines, data)
		}
	}
	return lines
}

// reply is the answer of one query or mutation over a websocket.
func (o *operationOf) reply(tb testing.TB) reply {
	tb.Helper()
	f := o.next(tb)
	r := reply{body: f.Payload}
	if f.Type == "error" {
		require.NoError(tb, json.Unmarshal(f.Payload, &r.Errors))
	} else {
		require.NoError(tb, json.Unmarshal(f.Payload, &r))
	}
	r.check(tb)
	return r
}

// TestRateLimit_Told: every answer of a query or mutation says what is left, over each transport, and rateLimit says
// the same; events of subscriptions do not.
func TestRateLimit_Told(t *testing.T) {
	s := startServer(t, "CDSA_RATE_POINTS=1000", "CDSA_RATE_REFILL=1")
	x := s.newPerson(t, "alice", "analyst")
	r := x.do(t, small, nil)
	require.Equal(t, 1000, r.Extensions.Cost.Limit)
	require.Equal(t, 1, r.Extensions.Cost.Cost)
	left := r.Extensions.Cost.Remaining
	require.WithinDuration(t, time.Now().Add(time.Duration(1000-left)*time.Second), r.Extensions.Cost.ResetAt, 3*time.Second)

	r = x.do(t, `{ rateLimit { limit cost remaining resetAt } chatSessions(first: 100) { edges { node { id title messages(first: 20) { edges { node { id } } } } } } }`, nil)
	var d struct{ RateLimit budget }
	require.NoError(t, json.Unmarshal(r.Data, &d))
	require.Equal(t, *r.Extensions.Cost, d.RateLimit)
	require.Greater(t, d.RateLimit.Cost, 20)
	require.InDelta(t, left-d.RateLimit.Cost, d.RateLimit.Remaining, 2)

	ws := x.connect(t)
	require.Equal(t, 1, ws.subscribe(t, small, nil).reply(t).Extensions.Cost.Cost)
	require.Equal(t, 1, ws.subscribe(t, `mutation { createChatSession(input: {title: "A"}) { id } }`, nil).reply(t).Extensions.Cost.Cost)
	require.Nil(t, ws.subscribe(t, operations["Subscription.documentEvents"].query, after(t, nil, nil)).reply(t).Extensions.Cost)
	lines := x.streamed(t, small)
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], `"extensions":{"cost":{"limit":1000,"cost":1,`)
	require.NotNil(t, (&person{server: s}).do(t, `{ serverInfo { version } }`, nil).Extensions.Cost, "anonymous callers have one as well")
}

// TestRateLimit_UsedUp: a caller without a budget gets nothing executed over any transport; others are served.
func TestRateLimit_UsedUp(t *testing.T) {
	s := startServer(t, "CDSA_RATE_POINTS=1000", "CDSA_RATE_REFILL=1")
	x, y := s.newPerson(t, "alice", "analyst"), s.newPerson(t, "bob", "analyst")
	ws := x.connect(t)
	acts := s.since(t)
	var b strings.Builder
	for i := range 60 { // a document of cost 18,000
		fmt.Fprintf(&b, "a%d: chatSessions(first: 100) { edges { node { id } } } ", i)
	}
	var r reply
	for range 20 {
		if r = x.do(t, "{ "+b.String()+" }", nil); r.outcome() != "OK" {
			break
		}
	}
	require.Equal(t, "RATE_LIMITED", r.outcome(), "%s", r)
	require.Equal(t, http.StatusTooManyRequests, r.status)
	require.Positive(t, r.Errors[0].Extensions.After)
	require.NotEmpty(t, r.header.Get("Retry-After"))
	for range 1000 {
		if r = x.do(t, small, nil); r.outcome() != "OK" {
			break
		}
	}
	require.Equal(t, "RATE_LIMITED", r.outcome())
	const create = `mutation { createChatSession(input: {title: "Never"}) { id } }`
	for _, q := range []string{create, operations["Subscription.documentEvents"].query} {
		r := ws.subscribe(t, q, after(t, nil, nil)).reply(t)
		require.Equal(t, "RATE_LIMITED", r.outcome())
		require.Positive(t, r.Errors[0].Extensions.After)
	}
	stream := x.openStream(t, create)
	require.Equal(t, http.StatusTooManyRequests, stream.StatusCode)
	require.NotEmpty(t, stream.Header.Get("Retry-After"))
	require.NoError(t, json.NewDecoder(stream.Body).Decode(&r))
	require.NoError(t, stream.Body.Close())
	require.Equal(t, "RATE_LIMITED", r.outcome())
	require.Positive(t, r.Errors[0].Extensions.After)
	up := x.upload(t, operations["Mutation.uploadDocument"].query, map[string]any{"input": map[string]any{"file": nil, "title": "Never"}}, "a.txt", "A heron.")
	require.Equal(t, "RATE_LIMITED", up.outcome())
	require.Equal(t, "0", s.text(t, `SELECT (SELECT count(*) FROM chat_sessions WHERE title = 'Never') + (SELECT count(*) FROM documents WHERE title = 'Never')`))
	y.ok(t, small, nil, nil)

	eventually(t, "the refusal is recorded", func() bool { return len(of(acts(), "RATE_LIMIT_EXCEEDED", x.id)) > 0 })
	rows := of(acts(), "RATE_LIMIT_EXCEEDED", uuid.Nil)
	require.Len(t, rows, 1, "once a minute")
	require.False(t, rows[0].success)
	require.Equal(t, "requests", rows[0].details["of"])
	require.NotEmpty(t, rows[0].request)
}

// TestRateLimit_Refused: what is refused is paid for over each transport, from the same budget, and when that is used up
// nothing is read any more.
func TestRateLimit_Refused(t *testing.T) {
	s := startServer(t, "CDSA_RATE_POINTS=1000", "CDSA_RATE_REFILL=1")
	x := s.newPerson(t, "alice", "analyst")
	ws := x.connect(t)
	look := func(x *person) (left int, at time.Time) {
		t.Helper()
		return x.do(t, `{ serverInfo { version } }`, nil).Extensions.Cost.Remaining, time.Now()
	}
	left, at := look(x)
	takes := func(x *person, points int) {
		t.Helper()
		was, since := left, at
		left, at = look(x)
		require.LessOrEqual(t, was-left, points+1)
		require.GreaterOrEqual(t, was-left, points-3-int(at.Sub(since).Seconds()), "a point a second flows back")
	}
	long := strings.Repeat("#", 40<<10)
	require.Equal(t, "GRAPHQL_VALIDATION_FAILED", x.do(t, "{ nothing "+long+"\n}", nil).outcome())
	takes(x, 21)
	require.Equal(t, "GRAPHQL_PARSE_FAILED", ws.subscribe(t, "{ "+long, nil).outcome(t))
	takes(x, 21)
	lines := x.streamed(t, "{ "+long)
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "GRAPHQL_PARSE_FAILED")
	takes(x, 21)

	stranger := &person{server: s} // whose network pays
	left, at = look(stranger)
	require.Equal(t, "GRAPHQL_PARSE_FAILED", stranger.do(t, "{ "+long, nil).outcome())
	takes(stranger, 21)

	long = strings.Repeat("#", 900<<10)
	for range 3 {
		x.do(t, "{ "+long, nil)
	}
	r := x.do(t, "{ "+long, nil)
	require.Equal(t, "RATE_LIMITED", r.outcome())
	require.Greater(t, r.Errors[0].Extensions.After, 200_000, "in debt")
	r = ws.subscribe(t, "{ ", nil).reply(t)
	require.Equal(t, "RATE_LIMITED", r.outcome())
	require.Positive(t, r.Errors[0].Extensions.After)
	require.Equal(t, "OK", stranger.do(t, `{ serverInfo { version } }`, nil).outcome())
}

// TestRateLimit_Replicas: what a caller spends at one replica is gone at the other.
func TestRateLimit_Replicas(t *testing.T) {
	db, bus := pgtest.New(t), startNATS(t)
	env := []string{"NATS_URL=" + bus, "CDSA_RATE_POINTS=300", "CDSA_RATE_REFILL=1"}
	one := startReplica(t, db, env...)
	two := startReplica(t, db, append(env, "CDSA_WORKERS=false")...)
	x := one.newPerson(t, "alice", "analyst")
	for range 250 {
		x.ok(t, small, nil, nil)
	}
	eventually(t, "the other replica hears of it", func() bool { return x.on(two).do(t, small, nil).Extensions.Cost.Remaining < 100 })
}

// TestLockout: failed sign-ins pause the next, over the whole API; an administrator lifts it.
func TestLockout(t *testing.T) {
	s := startServer(t, "CDSA_LOCKOUT_FAILURES=3", "CDSA_LOCKOUT_BASE=1m", "CDSA_LOCKOUT_MAX=1m")
	x := s.newPerson(t, "alice", "analyst")
	root := s.root(t)
	login := func(name, password string) reply {
		return (&person{server: s}).do(t, operations["Mutation.login"].query, map[string]any{"in": map[string]any{"login": name, "password": password}})
	}
	for _, name := range []string{x.username, "no.one.at.all"} {
		for range 3 {
			require.Equal(t, "UNAUTHENTICATED", login(name, "wrong, and long enough").outcome())
		}
		r := login(name, x.password)
		require.Equal(t, "RATE_LIMITED", r.outcome())
		require.InDelta(t, 60_000, r.Errors[0].Extensions.After, 59_000)
	}
	x.ok(t, small, nil, nil) // who is signed in stays so
	require.Equal(t, "RATE_LIMITED", login(strings.ToUpper(x.username), x.password).outcome())
	root.ok(t, operations["Mutation.unlockUser"].query, map[string]any{"id": x.id}, nil)
	require.Equal(t, "OK", login(x.username, x.password).outcome())
	var n int
	require.NoError(t, s.db.Owner.QueryRow(context.Background(), `SELECT count(*) FROM audit_logs WHERE action = 'ACCOUNT_UNLOCKED' AND user_id = $1 AND resource_id = $2`, root.id, x.id).Scan(&n))
	require.Equal(t, 1, n)
}
