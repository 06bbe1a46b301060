package httpx

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
)

func TestHealth(t *testing.T) {
	h, _ := handler(t, func(c *Config) {
		c.Checks = []Check{{"postgres", func(context.Context) error { return errors.New("down") }}}
	})
	rec := serve(h, request("GET", "/healthz"))
	require.Equal(t, 200, rec.Code, "a database that is down is no reason to restart")
	require.JSONEq(t, `{"status":"ok"}`, rec.Body.String())
}

func TestReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failing atomic.Pointer[error]
		runs := 0
		h, log := handler(t, func(c *Config) {
			c.Checks = []Check{
				{"postgres", func(context.Context) error {
					runs++
					if e := failing.Load(); e != nil {
						return *e
					}
					return nil
				}},
				{"bus", func(context.Context) error { return nil }},
			}
		})
		rec := serve(h, request("GET", "/readyz"))
		require.Equal(t, 200, rec.Code)
		require.JSONEq(t, `{"status":"ok","checks":{"postgres":"ok","bus":"ok"}}`, rec.Body.String())
		serve(h, request("GET", "/readyz"))
		require.Equal(t, 1, runs, "askers share an answer")

		<-time.After(readyKept)
		down := errors.New("dial tcp: password authentication failed")
		failing.Store(&down)
		rec = serve(h, request("GET", "/readyz"))
		require.Equal(t, 503, rec.Code)
		require.JSONEq(t, `{"status":"unavailable","checks":{"postgres":"failed","bus":"ok"}}`, rec.Body.String())
		require.Contains(t, log.String(), "password authentication failed")

		<-time.After(readyKept)
		failing.Store(nil)
		require.Equal(t, 200, serve(h, request("GET", "/readyz")).Code)
		h.Drain()
		rec = serve(h, request("GET", "/readyz"))
		require.Equal(t, 503, rec.Code)
		require.Contains(t, rec.Body.String(), "draining")
		require.Equal(t, 200, serve(h, request("POST", "/graphql")).Code, "requests are still served")
	})
}

func TestAskReady(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1") // nothing would come back
	listening := func(bus error) (*Handler, *httptest.Server, string) {
		h, _ := handler(t, func(c *Config) {
			c.Checks = []Check{
				{"postgres", func(context.Context) error { return nil }},
				{"bus", func(context.Context) error { return bus }},
			}
		})
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return h, srv, srv.Listener.Addr().String()
	}
	_, srv, address := listening(nil)
	require.NoError(t, AskReady(t.Context(), address))
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	require.NoError(t, AskReady(t.Context(), "0.0.0.0:"+port), "as the image listens")
	require.NoError(t, AskReady(t.Context(), ":"+port))
	srv.Close()
	require.EqualError(t, AskReady(t.Context(), address), "nothing answers at "+address+": is the server running?")
	require.ErrorContains(t, AskReady(t.Context(), "127.0.0.1:0"), "no port of its own")

	h, _, address := listening(errors.New("nats://name:password@host: no route"))
	require.EqualError(t, AskReady(t.Context(), address), "the server is not ready: unavailable, bus failed")
	h.Drain()
	require.EqualError(t, AskReady(t.Context(), address), "the server is not ready: draining, bus failed")

	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	require.ErrorContains(t, AskReady(t.Context(), other.Listener.Addr().String()), "is not this server: status 404")

	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // as the server does while it migrates
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, AskReady(ctx, ln.Addr().String()), "does not answer")
	require.Less(t, askTimeout, 5*time.Second, "the image's HEALTHCHECK waits as long")
}

func TestReady_HangingAndPanickingChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h, _ := handler(t, func(c *Config) {
			c.Checks = []Check{
				{"hangs", func(context.Context) error { <-release; return nil }},
				{"panics", func(context.Context) error { panic("x") }},
				{"works", func(context.Context) error { return nil }},
			}
		})
		began := time.Now()
		rec := serve(h, request("GET", "/readyz"))
		require.Equal(t, checkTimeout, time.Since(began))
		require.JSONEq(t, `{"status":"unavailable","checks":{"hangs":"timeout","panics":"failed","works":"ok"}}`, rec.Body.String())
		close(release)
	})
}

func TestOperators(t *testing.T) {
	open, _ := handler(t, func(c *Config) { c.PProf = true })
	guarded, _ := handler(t, func(c *Config) { c.MetricsToken = "operator-token" })
	local := func(headers ...string) *http.Request {
		r := request("GET", "/metrics", headers...)
		r.RemoteAddr, r.Host = "127.0.0.1:5", "localhost:8080"
		return r
	}
	require.Equal(t, 200, serve(open, local()).Code)
	profile := local()
	profile.URL.Path = "/debug/pprof/goroutine"
	require.Equal(t, 200, serve(open, profile).Code)
	require.Equal(t, "page", serve(guarded, profile).Body.String(), "no profiler unless it is switched on")

	for name, edit := range map[string]func(*http.Request){
		"OtherMachine": func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" },
		"ByProxy":      func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"ByOtherProxy": func(r *http.Request) { r.Header.Set("Via", "1.1 x") },
		"Rebinding":    func(r *http.Request) { r.Host = "evil.example:8080" },
		"WebPage":      func(r *http.Request) { r.Header.Set("Origin", "http://localhost:8080") },
		"NoAddress":    func(r *http.Request) { r.RemoteAddr = "@" },
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/metrics", "/debug/pprof/heap"} {
				r := local()
				r.URL.Path = path
				edit(r)
				rec := serve(open, r)
				require.Equal(t, 403, rec.Code)
				readProblem(t, rec, errs.Forbidden)
			}
		})
	}
	t.Run("TrustedProxy", func(t *testing.T) {
		behind, _ := handler(t, func(c *Config) {
			c.PProf, c.TrustedProxies = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		})
		for _, path := range []string{"/metrics", "/debug/pprof/heap"} {
			r := local() // with no header of a proxy, and the Host of its own upstream
			r.URL.Path = path
			rec := serve(behind, r)
			require.Equal(t, 403, rec.Code)
			readProblem(t, rec, errs.Forbidden)
			r = local()
			r.URL.Path, r.RemoteAddr = path, "[::1]:5"
			require.Equal(t, 200, serve(behind, r).Code, "the proxy's address alone")
		}
	})
	require.Equal(t, 401, serve(guarded, local()).Code, "with a token, the token decides")
	require.Equal(t, 401, serve(guarded, local("Authorization", "Bearer operator-toke")).Code)
	far := local("Authorization", "Bearer operator-token")
	far.RemoteAddr = "192.0.2.1:5"
	require.Equal(t, 200, serve(guarded, far).Code)
}

func TestMetrics_BoundedLabels(t *testing.T) {
	extra := prometheus.NewCounter(prometheus.CounterOpts{Name: "cdsa_extra_total", Help: "x"})
	h, _ := handler(t, func(c *Config) { c.Collectors = []prometheus.Collector{extra} })
	serve(h, request("POST", "/graphql", "Authorization", "Bearer x"))
	for _, path := range []string{"/a", "/b", "/c?d=e"} {
		serve(h, request("BREW", path))
	}
	r := request("GET", "/metrics")
	r.RemoteAddr, r.Host = "[::1]:5", "[::1]:8080"
	text := serve(h, r).Body.String()
	require.Contains(t, text, `cdsa_http_requests_total{method="POST",route="/graphql",status="4xx"} 1`)
	require.Contains(t, text, `cdsa_http_requests_total{method="other",route="/",status="2xx"} 3`)
	require.Contains(t, text, "cdsa_http_requests_in_flight 1")
	for _, name := range []string{"cdsa_extra_total", "go_goroutines", "process_resident_memory_bytes", "cdsa_http_request_seconds_bucket"} {
		require.Contains(t, text, name)
	}
	require.NotContains(t, strings.ToUpper(text), "BREW")
}
