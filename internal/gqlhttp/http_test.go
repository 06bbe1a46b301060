package gqlhttp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/gqlhttp/internal/testgraph"
)

// fixture is a server on loopback; a request with an Authorization header is signed in.
type fixture struct {
	t    *testing.T
	url  string
	logs *logBuffer
	seen chan string
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, change ...func(*Settings)) *fixture {
	t.Helper()
	f := &fixture{t: t, logs: &logBuffer{}, seen: make(chan string, 100)}
	s := DefaultSettings()
	s.Logger = slog.New(slog.NewJSONHandler(f.logs, nil))
	s.ValidCursor = func(_, cursor string) error {
		if cursor != "ok" {
			return errors.New("forged " + cursor)
		}
		return nil
	}
	for _, c := range change {
		c(&s)
	}
	root := &testgraph.Root{Seen: func(what string) { f.seen <- what }}
	gql := s.NewServer(testgraph.NewExecutableSchema(testgraph.Config{Resolvers: root}), nil)
	ada, session := uuid.New(), uuid.New()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := authz.WithRequest(r.Context(), authz.Request{ID: "req-1"})
		if r.Header.Get("Authorization") != "" {
			ctx = authz.With(ctx, authz.NewUser(ada, "ada", session, false, time.Now().Add(time.Hour)))
		}
		gql.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL + "/graphql"
	return f
}

// reply is an answer read to its end.
type reply struct {
	status int
	header http.Header
	text   string
	Data   json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions map[string]any
	}
	Extensions map[string]any
}

func (r reply) code() string {
	if len(r.Errors) == 0 {
		return ""
	}
	c, _ := r.Errors[0].Extensions["code"].(string)
	return c
}

func (r reply) message() string {
	if len(r.Errors) == 0 {
		return ""
	}
	return r.Errors[0].Message
}

func (f *fixture) do(method, target string, body io.Reader, header ...string) reply {
	f.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, target, body)
	require.NoError(f.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	r := reply{status: resp.StatusCode, header: resp.Header, text: string(b)}
	require.NoError(f.t, json.Unmarshal(b, &r), "answer is JSON: %s", b)
	return r
}

func (f *fixture) post(body string, header ...string) reply {
	f.t.Helper()
	return f.do("POST", f.url, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, header...)...)
}

var signedIn = []string{"Authorization", "Bearer test"}

// query runs a document as a signed-in caller.
func (f *fixture) query(query string, variables map[string]any, header ...string) reply {
	f.t.Helper()
	b, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	require.NoError(f.t, err)
	return f.post(string(b), append(header, signedIn...)...)
}

func TestPost(t *testing.T) {
	f := start(t)
	t.Run("Answer", func(t *testing.T) {
		r := f.post(`{"query":"{ viewer { name } }"}`)
		require.Equal(t, 200, r.status)
		require.Equal(t, `{"data":{"viewer":{"name":"Ada <&> Åse"}}}`, r.text)
		require.Equal(t, "application/json; charset=utf-8", r.header.Get("Content-Type"))
		require.Equal(t, "no-store", r.header.Get("Cache-Control"))
		require.NotEmpty(t, r.header.Get("Content-Length"))
	})
	const secret = "hunter2"
	for name, c := range map[string]struct {
		body, contentType, accept string
		status                    int
		code                      string
	}{
		"NoContentType":       {`{"query":"{__typename}"}`, "", "", 415, "BAD_USER_INPUT"},
		"Form":                {`query=hunter2`, "application/x-www-form-urlencoded", "", 415, "BAD_USER_INPUT"},
		"Charset":             {`{"query":"{__typename}"}`, "application/json; charset=latin1", "", 415, "BAD_USER_INPUT"},
		"UTF8":                {`{"query":"{__typename}"}`, `application/json; charset="UTF-8"`, "", 200, ""},
		"NotAcceptable":       {`{"query":"{__typename}"}`, "application/json", "text/html", 406, "BAD_USER_INPUT"},
		"Refused":             {`{"query":"{__typename}"}`, "application/json", "application/json;q=0", 406, "BAD_USER_INPUT"},
		"Trailing":            {`{"query":"{__typename}"} {"hunter2":1}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"Batch":               {`[{"query":"{__typename}"}]`, "application/json", "", 400, "BAD_USER_INPUT"},
		"Null":                {`null`, "application/json", "", 400, "BAD_USER_INPUT"},
		"Empty":               {``, "application/json", "", 400, "BAD_USER_INPUT"},
		"NoQuery":             {`{"hunter2":"x"}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"UpperCaseKey":        {`{"QUERY":"{__typename}"}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"OperationNameNumber": {`{"query":"{__typename}","operationName":7}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"VariablesList":       {`{"query":"{__typename}","variables":["hunter2"]}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"ExtensionsText":      {`{"query":"{__typename}","extensions":"hunter2"}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"ParseJSON":           {`{"query":"{ hunter2"}`, "application/json", "application/json", 200, "GRAPHQL_PARSE_FAILED"},
		"ParseResponse":       {`{"query":"{"}`, "application/json", "application/graphql-response+json", 400, "GRAPHQL_PARSE_FAILED"},
		"ParseLiteral":        {`{"query":"{ viewer \"hunter2\" }"}`, "application/json", "", 200, "GRAPHQL_PARSE_FAILED"},
		"ValidateLiteral":     {`{"query":"{ echo(number: \"hunter2\") }"}`, "application/json", "", 200, "GRAPHQL_VALIDATION_FAILED"},
		"Operation":           {`{"query":"query A {__typename}","operationName":"hunter2"}`, "application/json", "", 200, "GRAPHQL_VALIDATION_FAILED"},
		"Subscription":        {`{"query":"subscription {ticks}"}`, "application/json", "", 400, "BAD_USER_INPUT"},
		"Introspection":       {`{"query":"{__schema{queryType{name}}}"}`, "application/json", "application/graphql-response+json", 401, "UNAUTHENTICATED"},
		"IntrospectionJSON":   {`{"query":"{...A} fragment A on Query {__type(name:\"User\"){name}}"}`, "application/json", "", 200, "UNAUTHENTICATED"},
	} {
		t.Run(name, func(t *testing.T) {
			header := []string{}
			if c.contentType != "" {
				header = append(header, "Content-Type", c.contentType)
			}
			if c.accept != "" {
				header = append(header, "Accept", c.accept)
			}
			r := f.do("POST", f.url, strings.NewReader(c.body), header...)
			require.Equal(t, c.status, r.status, r.text)
			require.Equal(t, c.code, r.code(), r.text)
			if c.code != "" {
				require.NotContains(t, r.text, `"data"`)
				require.Equal(t, "req-1", r.Errors[0].Extensions["requestId"])
			}
			if !strings.Contains(name, "ParseJSON") { // the parser names words of the document, never literals
				require.NotContains(t, r.text, secret)
			}
		})
	}
	t.Run("NullDataStays", func(t *testing.T) {
		r := f.query(`{ failing(count: 1) { friend { broken } id } dearer: fail(kind: "x") }`, nil, "Accept", "application/graphql-response+json")
		require.Equal(t, 200, r.status)
		require.Contains(t, r.text, `"data":{`)
	})
	t.Run("ContentEncoding", func(t *testing.T) {
		require.Equal(t, 415, f.post(`{"query":"{__typename}"}`, "Content-Encoding", "gzip").status)
	})
}

func TestGet(t *testing.T) {
	f := start(t, func(s *Settings) { s.AllowedOrigins = []string{"https://ok.example"} })
	own := strings.TrimSuffix(f.url, "/graphql")
	for name, c := range map[string]struct {
		method, query string
		header        []string
		status        int
		code          string
	}{
		"OK":            {"GET", "?query={viewer{id}}", nil, 200, ""},
		"Variables":     {"GET", `?query=query($i:UUID!){user(id:$i){id}}&variables={"i":"0191e9a0-0000-7000-8000-000000000001"}`, nil, 200, ""},
		"Mutation":      {"GET", "?query=mutation{touch}", nil, 405, "BAD_USER_INPUT"},
		"Subscription":  {"GET", "?query=subscription{ticks}", nil, 400, "BAD_USER_INPUT"},
		"NoQuery":       {"GET", "", nil, 400, "BAD_USER_INPUT"},
		"Twice":         {"GET", "?query={viewer{id}}&query={viewer{id}}", nil, 400, "BAD_USER_INPUT"},
		"BadVariables":  {"GET", "?query={viewer{id}}&variables=[1]", nil, 400, "BAD_USER_INPUT"},
		"DeepVariables": {"GET", `?query={viewer{id}}&variables={"a":` + strings.Repeat("[", 3000) + "}", nil, 400, "RESOURCE_EXHAUSTED"},
		"NUL":           {"GET", "?query={viewer{id}}%00", nil, 400, "BAD_USER_INPUT"},
		"NotUTF8":       {"GET", "?query={viewer{id}}%ff", nil, 400, "BAD_USER_INPUT"},
		"BadEscape":     {"GET", "?query=%zz", nil, 400, "BAD_USER_INPUT"},
		"CrossSite":     {"GET", "?query={viewer{id}}", []string{"Sec-Fetch-Site", "cross-site"}, 403, "FORBIDDEN"},
		"SameOrigin":    {"GET", "?query={viewer{id}}", []string{"Sec-Fetch-Site", "same-origin", "Origin", own}, 200, ""},
		"ForeignOrigin": {"GET", "?query={viewer{id}}", []string{"Origin", "https://evil.example"}, 403, "FORBIDDEN"},
		"NullOrigin":    {"GET", "?query={viewer{id}}", []string{"Origin", "null"}, 403, "FORBIDDEN"},
		"TwoOrigins":    {"GET", "?query={viewer{id}}", []string{"Origin", own, "Origin", "https://evil.example"}, 403, "FORBIDDEN"},
		"AllowedOrigin": {"GET", "?query={viewer{id}}", []string{"Origin", "https://ok.example", "Sec-Fetch-Site", "cross-site"}, 200, ""},
		"Put":           {"PUT", "", nil, 405, "BAD_USER_INPUT"},
		"Delete":        {"DELETE", "?query={viewer{id}}", nil, 405, "BAD_USER_INPUT"},
		"Options":       {"OPTIONS", "", nil, 405, "BAD_USER_INPUT"},
	} {
		t.Run(name, func(t *testing.T) {
			r := f.do(c.method, f.url+strings.ReplaceAll(c.query, "{", "%7B"), nil, c.header...)
			require.Equal(t, c.status, r.status, r.text)
			require.Equal(t, c.code, r.code(), r.text)
			if c.status == 405 {
				require.NotEmpty(t, r.header.Get("Allow"))
			}
		})
	}
	require.Empty(t, f.seen, "no mutation ran")
}

func TestNegotiate(t *testing.T) {
	const response = "application/graphql-response+json"
	for _, c := range []struct {
		accept string
		want   media
		ok     bool
	}{
		{"", mediaJSON, true},
		{"*/*", mediaJSON, true},
		{"application/*", mediaJSON, true},
		{"application/json", mediaJSON, true},
		{response, mediaResponse, true},
		{response + ",application/json;q=0.9", mediaResponse, true},
		{response + ", application/json;q=0.9", mediaResponse, true},
		{response + ";q=0.8, application/json", mediaJSON, true},
		{"application/json, " + response, mediaJSON, true},
		{response + ", application/json", mediaResponse, true},
		{response + ", */*", mediaResponse, true},
		{response + ";q=0.1, */*;q=0.5", mediaJSON, true},
		{"application/json;q=0, */*", mediaResponse, true},
		{"text/html, application/xhtml+xml, */*;q=0.8", mediaJSON, true},
		{"multipart/mixed;deferSpec=20220824, application/json", mediaJSON, true},
		{"application/json; charset=utf-16", mediaJSON, false},
		{"application/json; charset=UTF-8", mediaJSON, true},
		{"text/html", mediaJSON, false},
		{"application/json;q=2", mediaJSON, false},
		{"application/json;q=NaN", mediaJSON, false},
		{"*/*;q=0", mediaJSON, false},
		{",;,", mediaJSON, false},
	} {
		got, ok := negotiate([]string{c.accept})
		require.Equal(t, c.ok, ok, c.accept)
		require.Equal(t, c.want, got, c.accept)
		if c.accept != "" { // which is as good as none
			weighed, ok := weigh([]string{c.accept})
			require.Equal(t, c.ok, ok, c.accept)
			require.Equal(t, c.want, weighed, "what is known at sight is what weighing gives: %s", c.accept)
		}
	}
	got, ok := negotiate([]string{"text/html", response})
	require.True(t, ok)
	require.Equal(t, mediaResponse, got, "several header lines are one list")
}

func TestPersistedQueries(t *testing.T) {
	f := start(t)
	const hash = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38" // of {__typename}
	ext := `"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`
	r := f.post(`{` + ext + `}`)
	require.Equal(t, 200, r.status)
	require.Equal(t, "PERSISTED_QUERY_NOT_FOUND", r.code())
	require.Equal(t, "PersistedQueryNotFound", r.message())
	for _, bad := range []string{`7`, `"x"`, `{"version":2,"sha256Hash":"a"}`, `{"version":1}`, `{"version":{},"sha256Hash":[]}`} {
		r = f.post(`{"query":"{__typename}","extensions":{"persistedQuery":` + bad + `}}`)
		require.Equal(t, "BAD_USER_INPUT", r.code(), bad)
	}
	require.JSONEq(t, `{"data":{"__typename":"Query"}}`, f.post(`{"query":"{__typename}",`+ext+`}`).text)
	require.JSONEq(t, `{"data":{"__typename":"Query"}}`, f.post(`{`+ext+`}`).text)
	r = f.do("GET", f.url+`?extensions=%7B"persistedQuery":%7B"version":1,"sha256Hash":"`+hash+`"%7D%7D`, nil)
	require.JSONEq(t, `{"data":{"__typename":"Query"}}`, r.text)
}
