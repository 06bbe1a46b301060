package httpx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
)

// logBuffer is a log that may be read while it is written.
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

var alice = authz.NewUser(uid.New(uid.User), "alice", uid.New(uid.Session), false, time.Time{})

// tokens is an Authenticate over a few fixed words.
func tokens(_ context.Context, bearer string) (*authz.Principal, error) {
	switch bearer {
	case "":
		return nil, nil
	case "alice":
		return alice, nil
	case "down":
		e := errs.Wrap(errors.New("connection refused"), errs.UpstreamUnavailable, "Try again shortly.")
		e.Retryable = true
		return nil, e
	case "broken":
		return nil, errors.New("a fault of the server with details")
	case "nobody":
		return nil, nil
	}
	return nil, errs.New(errs.Unauthenticated, "The access token is not valid or has expired.")
}

func handler(t *testing.T, edit func(*Config)) (*Handler, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	c := Config{
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Authenticate: tokens,
		API: map[string]http.Handler{"/graphql": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if p := authz.From(r.Context()); p != nil {
				_, _ = io.WriteString(w, p.Username)
				return
			}
			_, _ = io.WriteString(w, "anonymous")
		})},
		Public: map[string]http.Handler{"/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })},
	}
	if edit != nil {
		edit(&c)
	}
	h, err := New(c)
	require.NoError(t, err)
	return h, log
}

type problem struct {
	Errors []struct {
		Message    string
		Extensions struct {
			Code, RequestID string
			RetryAfterMs    int
			Retryable       bool
		}
	}
	Data json.RawMessage
}

func readProblem(t *testing.T, rec *httptest.ResponseRecorder, code errs.Code) problem {
	t.Helper()
	var p problem
	require.NoError(t, json.Unmarshal(rec.Body.Bytes(), &p), rec.Body.String())
	require.Len(t, p.Errors, 1)
	require.Equal(t, string(code), p.Errors[0].Extensions.Code)
	require.Equal(t, rec.Header().Get("X-Request-Id"), p.Errors[0].Extensions.RequestID)
	require.NotEmpty(t, p.Errors[0].Message)
	require.Nil(t, p.Data)
	return p
}

func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestHandler_Authentication(t *testing.T) {
	h, log := handler(t, nil)
	for name, c := range map[string]struct {
		headers []string
		status  int
		code    errs.Code
		body    string
	}{
		"Absent":        {nil, 200, "", "anonymous"},
		"Alice":         {[]string{"Authorization", "Bearer alice"}, 200, "", "alice"},
		"LowerCase":     {[]string{"Authorization", "bearer alice"}, 200, "", "alice"},
		"Bad":           {[]string{"Authorization", "Bearer hunter2"}, 401, errs.Unauthenticated, ""},
		"EmptyHeader":   {[]string{"Authorization", ""}, 401, errs.Unauthenticated, ""},
		"EmptyToken":    {[]string{"Authorization", "Bearer "}, 401, errs.Unauthenticated, ""},
		"Basic":         {[]string{"Authorization", "Basic YTpodW50ZXIy"}, 401, errs.Unauthenticated, ""},
		"Two":           {[]string{"Authorization", "Bearer alice", "Authorization", "Bearer alice"}, 401, errs.Unauthenticated, ""},
		"StoreDown":     {[]string{"Authorization", "Bearer down"}, 503, errs.UpstreamUnavailable, ""},
		"Fault":         {[]string{"Authorization", "Bearer broken"}, 500, errs.Internal, ""},
		"NeitherAnswer": {[]string{"Authorization", "Bearer nobody"}, 500, errs.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rec := serve(h, request("POST", "/graphql", c.headers...))
			require.Equal(t, c.status, rec.Code, rec.Body.String())
			if c.code == "" {
				require.Equal(t, c.body, rec.Body.String())
				return
			}
			readProblem(t, rec, c.code)
			require.Equal(t, c.code == errs.Unauthenticated, rec.Header().Get("WWW-Authenticate") != "")
			require.NotContains(t, rec.Body.String(), "details")
			require.NotContains(t, rec.Body.String(), "hunter2")
		})
	}
	require.Contains(t, log.String(), "a fault of the server with details")
	require.NotContains(t, log.String(), "hunter2")
	require.NotContains(t, log.String(), "YTpodW50ZXIy")

	rec := serve(h, request("POST", "/graphql", "Authorization", "Bearer x", "Accept", "application/graphql-response+json"))
	require.Equal(t, "application/graphql-response+json; charset=utf-8", rec.Header().Get("Content-Type"))
	rec = serve(h, request("GET", "/", "Authorization", "Bearer x"))
	require.Equal(t, 200, rec.Code, "pages ask for no one")
}

func TestHandler_Limit(t *testing.T) {
	h, _ := handler(t, func(c *Config) {
		c.Limit = func(_ *http.Request, p *authz.Principal) error {
			if p == nil {
				return nil
			}
			e := errs.New(errs.RateLimited, "Too many requests.")
			e.RetryAfter = 1500 * time.Millisecond
			return e
		}
	})
	require.Equal(t, 200, serve(h, request("POST", "/graphql")).Code)
	rec := serve(h, request("POST", "/graphql", "Authorization", "Bearer alice"))
	require.Equal(t, 429, rec.Code)
	require.Equal(t, "2", rec.Header().Get("Retry-After"))
	require.Equal(t, 1500, readProblem(t, rec, errs.RateLimited).Errors[0].Extensions.RetryAfterMs)
}

func TestHandler_RequestFacts(t *testing.T) {
	var got authz.Request
	h, _ := handler(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		c.API["/graphql"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = authz.RequestFrom(r.Context()) })
	})
	for name, c := range map[string]struct {
		peer    string
		headers []string
		ip      string
	}{
		"Direct":                 {"192.0.2.1:99", nil, "192.0.2.1"},
		"UntrustedForwards":      {"192.0.2.1:99", []string{"X-Forwarded-For", "203.0.113.9"}, "192.0.2.1"},
		"Proxy":                  {"10.0.0.1:99", []string{"X-Forwarded-For", "203.0.113.9"}, "203.0.113.9"},
		"ClientForged":           {"10.0.0.1:99", []string{"X-Forwarded-For", "127.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		"TwoProxies":             {"10.0.0.1:99", []string{"X-Forwarded-For", "1.1.1.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"TwoHeaders":             {"10.0.0.1:99", []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-For", "10.0.0.2"}, "203.0.113.9"},
		"GarbageIsNotSkipped":    {"10.0.0.1:99", []string{"X-Forwarded-For", "203.0.113.9, <script>, 10.0.0.2"}, "10.0.0.2"},
		"EmptyForward":           {"10.0.0.1:99", []string{"X-Forwarded-For", ""}, "10.0.0.1"},
		"WithPort":               {"10.0.0.1:99", []string{"X-Forwarded-For", "203.0.113.9:1234"}, "203.0.113.9"},
		"Six":                    {"[fd00::1]:99", []string{"X-Forwarded-For", "[2001:db8::7]:1"}, "2001:db8::7"},
		"MappedIsFour":           {"[::ffff:10.0.0.1]:99", []string{"X-Forwarded-For", "::ffff:203.0.113.9"}, "203.0.113.9"},
		"OnlyProxies":            {"10.0.0.1:99", []string{"X-Forwarded-For", "10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		"EndlessHops":            {"10.0.0.1:99", []string{"X-Forwarded-For", strings.Repeat("10.0.0.2,", 5000) + "10.0.0.2"}, "10.0.0.2"},
		"OtherHeadersAreIgnored": {"10.0.0.1:99", []string{"X-Real-Ip", "203.0.113.9", "Forwarded", "for=203.0.113.9"}, "10.0.0.1"},
		"UnixSocket":             {"@", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := request("POST", "/graphql", c.headers...)
			r.RemoteAddr = c.peer
			serve(h, r)
			require.Equal(t, c.ip, got.IP)
		})
	}
	rec := serve(h, request("POST", "/graphql", "X-Request-Id", "trace-0123.a_B", "User-Agent", "x\x01y\xff"+strings.Repeat("é", 300)))
	require.Equal(t, "trace-0123.a_B", rec.Header().Get("X-Request-Id"))
	require.Equal(t, "trace-0123.a_B", got.ID)
	require.LessOrEqual(t, len(got.UserAgent), maxUserAgent)
	require.True(t, strings.HasPrefix(got.UserAgent, "xyéé"), got.UserAgent[:10])
	require.NotContains(t, got.UserAgent, "\ufffd")
	for _, bad := range []string{"short", strings.Repeat("a", 65), "abcdefgh\r\nX: y", "abcdefgh<b>", "abc defgh", `abcdefgh"`} {
		rec := serve(h, request("POST", "/graphql", "X-Request-Id", bad))
		require.NotEqual(t, bad, rec.Header().Get("X-Request-Id"))
		require.Regexp(t, `^[A-Z2-7]{26}$`, rec.Header().Get("X-Request-Id"))
	}
}

func TestHandler_AccessLog(t *testing.T) {
	h, log := handler(t, nil)
	r := httptest.NewRequest("POST", "/graphql?query=hunter2", strings.NewReader(`{"query":"hunter2"}`))
	r.Header.Set("Authorization", "Bearer alice")
	r.Header.Set("User-Agent", "hunter2")
	rec := serve(h, r)
	var line map[string]any
	require.NoError(t, json.Unmarshal([]byte(log.String()), &line), log.String())
	require.Equal(t, "request", line["msg"])
	require.Equal(t, "POST", line["method"])
	require.Equal(t, "/graphql", line["path"])
	require.EqualValues(t, 200, line["status"])
	require.Equal(t, rec.Header().Get("X-Request-Id"), line["request_id"])
	require.Equal(t, alice.UserID.String(), line["principal_id"])
	require.Contains(t, line, "ms")
	require.NotContains(t, log.String(), "hunter2")
	require.NotContains(t, log.String(), "192.0.2.1", "an address is personal")
}

func TestHandler_Panic(t *testing.T) {
	type secretive struct{ password string }
	for name, c := range map[string]struct {
		value any
		logs  string
	}{
		"Value":   {secretive{"hunter2"}, "httpx.secretive"},
		"Text":    {"hunter2", `"panic":"string"`},
		"Error":   {errors.New("hunter2"), "*errors.errorString"},
		"Runtime": {nil, "index out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			h, log := handler(t, func(cfg *Config) {
				cfg.API["/graphql"] = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					if c.value == nil {
						var list []int
						_ = list[len(cfg.API)]
					}
					panic(c.value)
				})
			})
			rec := serve(h, request("POST", "/graphql"))
			require.Equal(t, 500, rec.Code)
			readProblem(t, rec, errs.Internal)
			require.Contains(t, log.String(), c.logs)
			require.NotContains(t, log.String()+rec.Body.String(), "hunter2")
			require.Contains(t, log.String(), `"status":500`)
		})
	}
	t.Run("AfterTheAnswerBegan", func(t *testing.T) {
		h, _ := handler(t, func(cfg *Config) {
			cfg.API["/graphql"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "half")
				panic("x")
			})
		})
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(h, request("POST", "/graphql")) })
	})
}

func TestHandler_Headers(t *testing.T) {
	h, _ := handler(t, nil)
	for _, path := range []string{"/", "/graphql", "/healthz", "/nowhere"} {
		hd := serve(h, request("GET", path)).Header()
		require.Equal(t, "nosniff", hd.Get("X-Content-Type-Options"), path)
		require.Contains(t, hd.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		require.Empty(t, hd.Get("Access-Control-Allow-Origin"), path)
	}
	page := serve(h, request("GET", "/")).Header().Get("Content-Security-Policy")
	require.Contains(t, page, "default-src 'self'")
	require.Contains(t, page, "connect-src 'self' ws: wss:")
	require.NotContains(t, page, "unsafe-eval")
	require.Equal(t, "no-store", serve(h, request("POST", "/graphql")).Header().Get("Cache-Control"))
	serve(h, request("GET", "/")).Header().Add("X-Frame-Options", "x")
	require.Equal(t, []string{"DENY"}, serve(h, request("GET", "/")).Header().Values("X-Frame-Options"), "requests do not share header values")
}

func TestHandler_CORS(t *testing.T) {
	h, log := handler(t, func(c *Config) { c.AllowedOrigins = []string{"https://app.example"} })
	for name, c := range map[string]struct {
		method, origin string
		preflight      bool
		status         int
		allow          string
	}{
		"NoOrigin":         {"POST", "", false, 200, ""},
		"Own":              {"POST", "http://example.com", false, 200, ""},
		"OwnByTLSProxy":    {"POST", "https://example.com", false, 200, ""},
		"Listed":           {"POST", "https://app.example", false, 200, "https://app.example"},
		"Foreign":          {"POST", "https://evil.example", false, 403, ""},
		"ForeignGet":       {"GET", "https://evil.example", false, 403, ""},
		"Null":             {"POST", "null", false, 403, ""},
		"OtherScheme":      {"POST", "http://app.example", false, 403, ""},
		"OtherPort":        {"POST", "https://app.example:8443", false, 403, ""},
		"Suffix":           {"POST", "https://app.example.evil.example", false, 403, ""},
		"OwnAsPath":        {"POST", "https://evil.example/example.com", false, 403, ""},
		"ListedPreflight":  {"OPTIONS", "https://app.example", true, 204, "https://app.example"},
		"ForeignPreflight": {"OPTIONS", "https://evil.example", true, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(c.method, "/graphql")
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.preflight {
				r.Header.Set("Access-Control-Request-Method", "POST")
			}
			rec := serve(h, r)
			require.Equal(t, c.status, rec.Code, rec.Body.String())
			require.Equal(t, c.allow, rec.Header().Get("Access-Control-Allow-Origin"))
			require.Empty(t, rec.Header().Get("Access-Control-Allow-Credentials"))
			require.Contains(t, rec.Header().Values("Vary"), "Origin")
			if c.status == 204 {
				for _, sent := range []string{"Authorization", "Apollo-Require-Preflight", "Apollographql-Client-Name", "Traceparent"} {
					require.Contains(t, rec.Header().Get("Access-Control-Allow-Headers"), sent)
				}
			}
		})
	}
	r := request("POST", "/graphql", "Origin", "https://app.example", "Origin", "https://evil.example")
	require.Equal(t, 403, serve(h, r).Code)
	rec := serve(h, request("POST", "/graphql", "Origin", "https://app.example", "Authorization", "Bearer x"))
	require.Equal(t, 401, rec.Code)
	require.Equal(t, "https://app.example", rec.Header().Get("Access-Control-Allow-Origin"), "the page may read why")
	require.Equal(t, 1, strings.Count(log.String(), "CDSA_ALLOWED_ORIGINS"), "the operator is told, and not each time")
}

func TestNew_Refuses(t *testing.T) {
	_, err := New(Config{})
	require.Error(t, err)
	_, err = New(Config{Logger: slog.Default()})
	require.Error(t, err, "no server without authentication")
}

func TestLogHandler(t *testing.T) {
	var b bytes.Buffer
	inner := slog.NewTextHandler(&b, nil)
	log := slog.New(NewLogHandler(NewLogHandler(inner)))
	ctx := authz.With(authz.WithRequest(t.Context(), authz.Request{ID: "r-1"}), alice)
	log.With("a", 1).InfoContext(ctx, "x")
	require.Contains(t, b.String(), "a=1 request_id=r-1 principal_id="+alice.UserID.String())
	require.Equal(t, 1, strings.Count(b.String(), "request_id"))
	b.Reset()
	log.InfoContext(authz.With(t.Context(), authz.Indexer), "x")
	require.Contains(t, b.String(), "principal_id=system:indexer")
	b.Reset()
	log.Info("x")
	require.NotContains(t, b.String(), "_id=")
	require.NotEqual(t, uuid.Nil, alice.UserID)
}

// sink costs the formatting, which io.Discard under slog does not stand for.
type sink struct{}

func (sink) Write(b []byte) (int, error) { return len(b), nil }

// nowhere is a ResponseWriter that costs what a real one's header map does.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

func BenchmarkHandler(b *testing.B) {
	for name, level := range map[string]slog.Level{"AccessLog": slog.LevelInfo, "NoAccessLog": slog.LevelWarn} {
		b.Run(name, func(b *testing.B) {
			h, err := New(Config{
				Logger: slog.New(slog.NewJSONHandler(sink{}, &slog.HandlerOptions{Level: level})), Authenticate: tokens,
				API: map[string]http.Handler{"/graphql": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })},
			})
			require.NoError(b, err)
			r := request("POST", "/graphql", "Authorization", "Bearer alice")
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(&nowhere{http.Header{}}, r)
			}
		})
	}
}

// TestNewRequestID: made-up ids are of the form that is taken from callers, and differ.
func TestNewRequestID(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := newRequestID()
		require.Regexp(t, `^[A-Z2-7]{26}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
