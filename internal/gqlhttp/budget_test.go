package gqlhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/gqlhttp/internal/testgraph"
	"cdsa.dev/cdsa/internal/ratelimit"
)

// budgeted has a budget of so many points, which hardly flow back.
func budgeted(t testing.TB, points int) func(*Settings) {
	t.Helper()
	l, err := ratelimit.New(ratelimit.Config{
		Points: points, Refill: 1, Secret: make([]byte, 32), Record: func(context.Context, ratelimit.Note) error { return nil },
		Now: func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) },
	})
	require.NoError(t, err)
	return func(s *Settings) { s.Budgets = l }
}

func TestBudget_InEveryAnswer(t *testing.T) {
	f := start(t, budgeted(t, 100))
	const answer = `{"data":{"viewer":{"name":"Ada <&> Åse"}},"extensions":{"cost":{"limit":100,"cost":1,"remaining":99,"resetAt":"2026-01-02T03:04:06.001Z"}}}`
	require.Equal(t, answer, f.post(`{"query":"{ viewer { name } }"}`).text)
	r := f.do(http.MethodGet, f.url+"?query="+url.QueryEscape(`{ viewer { name } }`), nil)
	require.Equal(t, strings.NewReplacer(":99", ":98", "06.001", "07.001").Replace(answer), r.text)

	// An answer with errors of its fields has it as well; what was not executed has none.
	r = f.post(`{"query":"{ nothing }"}`)
	require.Nil(t, r.Extensions)
	require.NotEmpty(t, r.code())
	r = f.post(`{"query":"{ viewer { name } }"}`)
	require.EqualValues(t, 96, r.Extensions["cost"].(map[string]any)["remaining"])

	body, contentType := form(t, formPart{"operations", "", oneFile}, formPart{"map", "", `{"0":["variables.f"]}`}, formPart{"0", "a.txt", "hello"})
	r = f.do(http.MethodPost, f.url, body, append([]string{"Content-Type", contentType, "GraphQL-Require-Preflight", "1"}, signedIn...)...)
	require.EqualValues(t, 1, r.Extensions["cost"].(map[string]any)["cost"], r.text)
}

func TestBudget_Cost(t *testing.T) {
	f := start(t, budgeted(t, 1000))
	cost := func(query string) any { return f.post(query).Extensions["cost"].(map[string]any)["cost"] }
	require.EqualValues(t, 1, cost(`{"query":"{users(first:10){page}}"}`))
	require.EqualValues(t, 2, cost(`{"query":"query($n:Int){users(first:$n){page}}","variables":{"n":99}}`))
	require.EqualValues(t, 2, cost(`{"query":"query($n:Int){users(first:$n){page}}","variables":{"n":100}}`))
}

func TestBudget_UsedUp(t *testing.T) {
	f := start(t, budgeted(t, 3))
	for range 3 {
		require.Empty(t, f.post(`{"query":"{ viewer { name } }"}`).code())
	}
	for media, status := range map[string]int{"application/graphql-response+json": http.StatusTooManyRequests, "application/json": http.StatusOK} {
		for _, body := range []string{`{"query":"{ viewer { name } }"}`, `{"query":"mutation { upload(file: null) }"}`, `{"query":"{"}`, `{`, strings.Repeat(" ", 1<<20)} {
			r := f.post(body, "Accept", media)
			require.Equal(t, status, r.status, "%.40s", body)
			require.Equal(t, "RATE_LIMITED", r.code())
			require.EqualValues(t, 1000, r.Errors[0].Extensions["retryAfterMs"])
			require.Equal(t, "1", r.header.Get("Retry-After"))
			require.NotContains(t, r.text, `"data"`)
			require.Nil(t, r.Extensions)
		}
	}
	r := f.post(`{"query":"{ viewer { name } }"}`, signedIn...)
	require.Empty(t, r.code(), "another caller's budget is another")
	require.NotContains(t, f.logs.String(), `"level":"ERROR"`)
	require.Empty(t, f.seen)
}

// TestBudget_Refused: what is refused is paid for, whatever was wrong with it and wherever that was found.
func TestBudget_Refused(t *testing.T) {
	f := start(t, budgeted(t, 10_000))
	left := 10_000
	pays := func(name string, want int, r reply) {
		t.Helper()
		require.NotEmpty(t, r.code(), name)
		require.NotEqual(t, "RATE_LIMITED", r.code(), name)
		probe := f.post(`{"query":"{ viewer { name } }"}`)
		now := int(probe.Extensions["cost"].(map[string]any)["remaining"].(float64))
		require.Equal(t, want, left-now-1, name)
		left = now
	}
	query := func(query string, variables map[string]any) reply {
		t.Helper()
		b, err := json.Marshal(map[string]any{"query": query, "variables": variables})
		require.NoError(t, err)
		return f.post(string(b))
	}
	long := strings.Repeat("#", 8<<10)
	pays("no JSON", 1, f.post(`{`))
	pays("no JSON, long", 5, f.post(`{`+long))
	pays("no query", 1, f.post(`{}`))
	pays("another type", 1, f.post(`{}`, "Content-Type", "text/plain"))
	pays("too large", 1, f.post(strings.Repeat(" ", int(DefaultSettings().MaxBody)+1)))
	pays("GET, no JSON", 5, f.do(http.MethodGet, f.url+"?query={a}&variables="+url.QueryEscape("{"+strings.Repeat("x", 8<<10)), nil))
	pays("syntax", 1, query(`{ viewer {`, nil))
	pays("syntax, long", 5, query(`{ viewer { `+long, nil))
	pays("syntax again", 5, query(`{ viewer { `+long, nil))
	pays("validation", 1, query(`{ nothing }`, nil))
	pays("validation, many errors", 4, query(`{ `+strings.Repeat("nothing ", 30)+`}`, nil))
	pays("shape", 2, query(`{`+strings.Repeat("a ", 1050)+`}`, nil))
	pays("operation name", 1, f.post(`{"query":"query A { viewer { name } }","operationName":"B"}`))
	pays("variables", 1, query(`query($n:Int!){users(first:$n){page}}`, map[string]any{"n": "x"}))
	pays("variables, document known", 1, query(`query($n:Int!){users(first:$n){page}}`, map[string]any{}))
	pays("page size", 1, query(`query($n:Int!){users(first:$n){page}}`, map[string]any{"n": 1e6}))
	pays("introspection", 1, query(`{ __schema { queryType { name } } }`, nil))
	pays("persisted query unknown", 1, f.post(`{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"`+strings.Repeat("a", 64)+`"}}}`))
	pays("mutation by GET", 1, f.do(http.MethodGet, f.url+"?query="+url.QueryEscape(`mutation { touch(text: "x") }`), nil))

	// Uploads, which have the caller's own budget.
	f = start(t, budgeted(t, 4))
	body, contentType := form(t, formPart{"operations", "", `{"query":"{` + strings.Repeat(" ", 7<<10)}, formPart{"map", "", `{}`})
	header := append([]string{"Content-Type", contentType, "GraphQL-Require-Preflight", "1"}, signedIn...)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "BAD_USER_INPUT", f.do(http.MethodPost, f.url, bytes.NewReader(text), header...).code())
	r := f.do(http.MethodPost, f.url, bytes.NewReader(text), header...)
	require.Equal(t, "RATE_LIMITED", r.code())
	require.Equal(t, "1", r.header.Get("Retry-After"))
	require.Empty(t, f.post(`{"query":"{ viewer { name } }"}`).code(), "another caller's budget is another")
}

// TestExtensions: the budget beside what others add.
func TestExtensions(t *testing.T) {
	b := &ratelimit.Budget{Limit: 9, Cost: 1, Remaining: 8, ResetAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	const own = `"cost":{"limit":9,"cost":1,"remaining":8,"resetAt":"2026-01-02T03:04:05Z"}`
	for _, c := range []struct {
		ext  map[string]any
		want string
	}{
		{map[string]any{"cost": b}, `{` + own + `}`},
		{map[string]any{"cost": b, "trace": 1}, `{` + own + `,"trace":1}`},
		{map[string]any{"trace": 1}, `{"trace":1}`},
		{map[string]any{"cost": 7}, `{"cost":7}`},
	} {
		got := appendExtensions(nil, c.ext)
		require.Equal(t, c.want, string(got))
		require.True(t, json.Valid(got))
	}
}

// BenchmarkBudget measures what a budget adds to a small query over HTTP, without the network.
func BenchmarkBudget(b *testing.B) {
	for name, change := range map[string]func(*Settings){"Without": func(*Settings) {}, "With": budgeted(b, 1e9)} {
		b.Run(name, func(b *testing.B) {
			s := DefaultSettings()
			s.ValidCursor = func(string, string) error { return nil }
			change(&s)
			gql := s.NewServer(testgraph.NewExecutableSchema(testgraph.Config{Resolvers: &testgraph.Root{Seen: func(string) {}}}), nil)
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{ viewer { name } }"}`))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				gql.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body.String())
				}
			}
		})
	}
}
