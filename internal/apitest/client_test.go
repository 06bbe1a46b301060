//go:build unix

package apitest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// person is a caller; without a token, anonymous.
type person struct {
	name, username, email, password string
	id                              uuid.UUID
	token, refresh                  string
	session                         uuid.UUID
	server                          *server
	roles                           []string
	superuser                       bool
}

// reply is what came back.
type reply struct {
	status int
	body   []byte
	header http.Header
	Data   json.RawMessage `json:"data"`
	Errors []struct {
		Message    string `json:"message"`
		Path       []any  `json:"path"`
		Extensions struct {
			Code   string            `json:"code"`
			Fields map[string]string `json:"fields"`
			State  string            `json:"state"`
			After  int               `json:"retryAfterMs"`
		} `json:"extensions"`
	} `json:"errors"`
	Extensions struct {
		Cost *budget `json:"cost"`
	} `json:"extensions"`
}

// budget is what is left of a caller's.
type budget struct {
	Limit, Cost, Remaining int
	ResetAt                time.Time
}

// outcome is OK or the first error's code.
func (r reply) outcome() string {
	if len(r.Errors) > 0 {
		return r.Errors[0].Extensions.Code
	}
	return "OK"
}

// cost is what an answer says of the caller's budget, at its end.
var cost = regexp.MustCompile(`,"extensions":\{"cost":\{"limit":\d+,"cost":\d+,"remaining":\d+,"resetAt":"[-0-9T:.]+Z"\}\}\}$`)

// answer is the text without what differs each time.
func (r reply) answer() string { return cost.ReplaceAllString(string(r.body), "}") }

func (r reply) String() string { return fmt.Sprintf("%d %.600s", r.status, r.body) }

var httpClient = &http.Client{Timeout: time.Minute}

// do sends an operation and requires an answer that shows nothing of the machinery.
func (x *person) do(tb testing.TB, query string, vars map[string]any) reply {
	tb.Helper()
	b, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	require.NoError(tb, err)
	return x.post(tb, "application/json", bytes.NewReader(b))
}

func (x *person) post(tb testing.TB, contentType string, body io.Reader) reply {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, x.server.url+"/graphql", body)
	require.NoError(tb, err)
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/graphql-response+json, application/json")
	if x.token != "" {
		req.Header.Set("Authorization", "Bearer "+x.token)
	}
	return send(tb, req)
}

// openStream sends an operation for an event stream and returns once the server has answered.
func (x *person) openStream(tb testing.TB, query string) *http.Response {
	tb.Helper()
	b, err := json.Marshal(map[string]any{"query": query})
	require.NoError(tb, err)
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, x.server.url+"/graphql", bytes.NewReader(b))
	require.NoError(tb, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+x.token)
	res, err := httpClient.Do(req)
	require.NoError(tb, err)
	return res
}

func send(tb testing.TB, req *http.Request) reply {
	tb.Helper()
	res, err := httpClient.Do(req)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, res.Body.Close()) }()
	r := reply{status: res.StatusCode, header: res.Header}
	r.body, err = io.ReadAll(res.Body)
	require.NoError(tb, err)
	require.NoError(tb, json.Unmarshal(r.body, &r), "%s", r.body)
	r.check(tb)
	return r
}

// leaks are traces of the machinery: SQL, drivers, Go types and stacks, paths of files, Go's own error texts.
var leaks = regexp.MustCompile(`(?i)SQLSTATE|pgconn|pgx|\bpq:|sql:|\bent:|\bent\.|uuid\.|relation "|column "|syntax error at or near|duplicate key|violates|\bINSERT INTO\b|\bSELECT .* FROM\b|\.go\b|goroutine|runtime error|panic|nil pointer|reflect|json: |strconv|\*errs\.|\bnats\b|jetstream|dial tcp|connection refused|context (canceled|deadline)|/root/|/home/|/tmp/|/usr/|/work/|github\.com|gqlgen|interface \{|map\[string\]`)

// sentence is what a person can read: some words and a stop.
var sentence = regexp.MustCompile(`^\S+ .*[.?!]$`)

// protocols are codes of GraphQL itself, whose texts are its own.
var protocols = []string{"GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "PERSISTED_QUERY_NOT_FOUND"}

// check holds every error to its form.
func (r reply) check(tb testing.TB) {
	tb.Helper()
	for _, e := range r.Errors {
		b, err := json.Marshal(e)
		require.NoError(tb, err)
		require.NotRegexp(tb, leaks, string(b), "the answer shows the machinery")
		require.NotEmpty(tb, e.Extensions.Code, "an error without a code: %s", r)
		if !slices.Contains(protocols, e.Extensions.Code) {
			require.Regexp(tb, sentence, e.Message, "an error that is no sentence: %s", r)
		}
		for _, s := range e.Extensions.Fields {
			require.Regexp(tb, sentence, s)
		}
		require.NotEqual(tb, "INTERNAL_SERVER_ERROR", e.Extensions.Code, "a fault of the server: %s", r)
	}
}

// ok sends an operation that must succeed and decodes its data.
func (x *person) ok(tb testing.TB, query string, vars map[string]any, to any) {
	tb.Helper()
	r := x.do(tb, query, vars)
	require.Empty(tb, r.Errors, "%s: %s", x.name, r)
	if to != nil {
		require.NoError(tb, json.Unmarshal(r.Data, to), "%s", r)
	}
}

// upload sends an operation with a file as its variable input.file.
func (x *person) upload(tb testing.TB, query string, vars map[string]any, name, content string) reply {
	tb.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	ops, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	require.NoError(tb, err)
	require.NoError(tb, w.WriteField("operations", string(ops)))
	require.NoError(tb, w.WriteField("map", `{"0": ["variables.input.file"]}`))
	f, err := w.CreateFormFile("0", name)
	require.NoError(tb, err)
	_, err = io.WriteString(f, content)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, x.server.url+"/graphql", &b)
	require.NoError(tb, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	req.Header.Set("GraphQL-Require-Preflight", "1")
	if x.token != "" {
		req.Header.Set("Authorization", "Bearer "+x.token)
	}
	return send(tb, req)
}

// login signs a person in anew: the copy has a session of its own.
func (x *person) login(tb testing.TB) *person {
	tb.Helper()
	y := *x
	y.token = ""
	var d struct {
		Login struct {
			AccessToken, RefreshToken string
			Session                   struct{ ID uuid.UUID }
			User                      struct{ ID uuid.UUID }
		}
	}
	y.ok(tb, `mutation($in: LoginInput!) { login(input: $in) { accessToken refreshToken session { id } user { id } } }`,
		map[string]any{"in": map[string]any{"login": x.username, "password": x.password}}, &d)
	y.token, y.refresh, y.session, y.id = d.Login.AccessToken, d.Login.RefreshToken, d.Login.Session.ID, d.Login.User.ID
	keepOut(y.token, y.refresh)
	return &y
}
