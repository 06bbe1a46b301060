package httprequest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

// TestMain names a proxy that nobody is: every test would fail if the tool heeded it.
func TestMain(m *testing.M) {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(v, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

type obj = map[string]any

func addrs(ss ...string) []netip.Addr {
	out := make([]netip.Addr, len(ss))
	for i, s := range ss {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

// world is a TLS server on loopback that answers as example.com, the names that lead to it, and the tool.
type world struct {
	t      *testing.T
	srv    *httptest.Server
	names  *names
	port   string
	runner *tool.Runner
}

func newWorld(t *testing.T, h http.HandlerFunc, change func(*Config)) *world {
	t.Helper()
	w := &world{t: t, srv: httptest.NewTLSServer(h)}
	t.Cleanup(w.srv.Close)
	at := w.srv.Listener.Addr().(*net.TCPAddr).AddrPort()
	w.port = fmt.Sprint(at.Port())
	var resolver *net.Resolver
	w.names, resolver = startNames(t)
	w.names.set("example.com", addrs("127.0.0.1"))
	pool := x509.NewCertPool()
	pool.AddCert(w.srv.Certificate())
	cfg := Config{Resolver: resolver, RootCAs: pool, AllowPrivate: func(ap netip.AddrPort) bool { return ap == at }}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	require.NoError(t, err)
	reg, err := tool.NewRegistry(b)
	require.NoError(t, err)
	w.runner = tool.NewRunner(reg, slog.New(slog.DiscardHandler))
	return w
}

func (w *world) url(path string) string { return "https://example.com:" + w.port + path }

func (w *world) run(params obj) (obj, error) {
	w.t.Helper()
	res, err := w.runner.Run(w.t.Context(), tool.Call{Tool: "http_request", Parameters: params, Timeout: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	require.Equal(w.t, enum.SensitivityInternal, res.Sensitivity)
	return res.Value.(obj), nil
}

func requireCode(t *testing.T, err error, code enum.ToolErrorCode, want string) {
	t.Helper()
	e, ok := tool.AsError(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, e.Code, "%v: %v", err, e.Unwrap())
	require.Contains(t, e.Message, want)
}

func TestTool_Answers(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "secret=1")
		w.Header().Set("X-Internal", "hidden")
		switch r.URL.Path {
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, `{"method":%q,"body":%q,"type":%q,"thing":%q,"agent":%q,"cookie":%q}`, r.Method, body, r.Header.Get("Content-Type"), r.Header.Get("X-Thing"),
				r.Header.Get("User-Agent"), r.Header.Get("Cookie"))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Type", "text/plain")
			z := gzip.NewWriter(w)
			_, _ = io.Copy(z, io.LimitReader(zeros{}, 64<<20))
			_ = z.Close()
		case "/png":
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write([]byte{0x89, 'P', 'N', 'G'})
		case "/missing":
			http.Error(w, "no", http.StatusNotFound)
		}
	}, nil)
	t.Run("Get", func(t *testing.T) {
		v, err := w.run(obj{"url": w.url("/echo#part"), "headers": obj{"X-Thing": "yes"}})
		require.NoError(t, err)
		require.InDelta(t, 201, v["status"], 0)
		require.JSONEq(t, `{"method":"GET","body":"","type":"","thing":"yes","agent":"cdsa-http-request/1","cookie":""}`, v["body"].(string))
		require.Equal(t, w.url("/echo"), v["finalUrl"])
		require.Equal(t, "text", v["encoding"])
		require.Equal(t, false, v["truncated"])
		h := v["headers"].(obj)
		require.Equal(t, "application/json", h["content-type"])
		require.NotContains(t, h, "set-cookie")
		require.NotContains(t, h, "x-internal")
	})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			v, err := w.run(obj{"method": method, "url": w.url("/echo"), "body": `{"a":"é"}`})
			require.NoError(t, err)
			require.JSONEq(t, fmt.Sprintf(`{"method":%q,"body":"{\"a\":\"é\"}","type":"application/json","thing":"","agent":"cdsa-http-request/1","cookie":""}`, method), v["body"].(string))
		})
	}
	t.Run("Head", func(t *testing.T) {
		v, err := w.run(obj{"method": "HEAD", "url": w.url("/missing")})
		require.NoError(t, err)
		require.InDelta(t, 404, v["status"], 0)
		require.Empty(t, v["body"])
	})
	t.Run("Binary", func(t *testing.T) {
		v, err := w.run(obj{"url": w.url("/png")})
		require.NoError(t, err)
		require.Equal(t, []any{"iVBORw==", "base64"}, []any{v["body"], v["encoding"]})
	})
	t.Run("Bomb", func(t *testing.T) {
		v, err := w.run(obj{"url": w.url("/bomb")})
		require.NoError(t, err)
		require.Equal(t, true, v["truncated"])
		require.InDelta(t, maxRead, v["bytes"], 0)
		require.LessOrEqual(t, len(v["body"].(string)), keptText)
	})
	t.Run("Refused", func(t *testing.T) {
		for want, p := range map[string]obj{
			"no body":           {"url": w.url("/"), "body": "x"},
			"cannot be read":    {"url": "https://a b/"},
			"credentials":       {"url": w.url("/"), "headers": obj{"Cookie": "a=b"}},
			"parameters.method": {"url": w.url("/"), "method": "CONNECT"},
			"parameters.url":    {},
		} {
			_, err := w.run(p)
			requireCode(t, err, enum.ToolErrorCodeToolError, want)
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte{'0'}, len(p))), nil }

func TestTool_AddressFamilies(t *testing.T) {
	var hits atomic.Int32
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) }, nil)
	for name, a := range map[string]string{
		"Loopback": "127.0.0.1", "LoopbackOther": "127.8.9.10", "Private10": "10.0.0.1", "Private172": "172.16.0.1", "Private192": "192.168.1.1", "CGNAT": "100.64.0.1",
		"Metadata": "169.254.169.254", "Unspecified": "0.0.0.0", "Multicast": "224.0.0.1", "Broadcast": "255.255.255.255", "Documentation": "192.0.2.1",
		"Loopback6": "::1", "Unspecified6": "::", "LinkLocal6": "fe80::1", "UniqueLocal6": "fd00:ec2::254", "Multicast6": "ff02::1", "Mapped": "::ffff:127.0.0.1",
		"MappedMetadata": "::ffff:169.254.169.254", "NAT64": "64:ff9b::a9fe:a9fe", "NAT64Local": "64:ff9b:1::7f00:1", "SixToFour": "2002:7f00:1::1", "Teredo": "2001::7f00:1",
	} {
		t.Run(name, func(t *testing.T) {
			w.names.set("evil.test", addrs(a))
			_, err := w.run(obj{"url": "https://evil.test/"}) // a port that AllowPrivate does not name
			requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
			_, err = w.run(obj{"url": "https://" + net.JoinHostPort(a, "443") + "/"})
			requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
			require.NotContains(t, err.Error(), a, "where a name leads stays untold")
		})
	}
	t.Run("AllOfSeveral", func(t *testing.T) {
		w.names.set("evil.test", addrs("10.0.0.1", "127.0.0.1", "::1", "fd00::1"))
		_, err := w.run(obj{"url": "https://evil.test/"})
		requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
	})
	require.Zero(t, hits.Load())
}

func TestTool_Rebinding(t *testing.T) {
	var hits atomic.Int32
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if hits.Add(1) == 1 {
			http.Redirect(rw, r, "/again", http.StatusFound)
		}
	}, nil)
	w.names.set("example.com", addrs("127.0.0.1"), addrs("127.0.0.2"))
	_, err := w.run(obj{"url": w.url("/")})
	requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
	require.EqualValues(t, 1, hits.Load(), "the second look-up led elsewhere and was not followed")
}

func TestTool_Redirects(t *testing.T) {
	var seen []string
	var mu sync.Mutex
	var w *world
	w = newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, fmt.Sprintf("%s %s%s %s %s %s", r.Method, r.Host[:strings.IndexByte(r.Host, ':')], r.URL.Path, body, r.Header.Get("X-Thing"), r.Header.Get("Accept")))
		mu.Unlock()
		if to := r.URL.Query().Get("to"); to != "" {
			code := http.StatusFound
			_, _ = fmt.Sscan(r.URL.Query().Get("code"), &code)
			rw.Header().Set("Location", to)
			rw.WriteHeader(code)
		}
		if r.URL.Path == "/loop" {
			http.Redirect(rw, r, "/loop", http.StatusMovedPermanently)
		}
		if r.URL.Path == "/nowhere" {
			rw.WriteHeader(http.StatusFound)
		}
	}, nil)
	w.names.set("www.example.com", addrs("127.0.0.1"))
	w.names.set("evil.test", addrs("10.0.0.1"))
	other := "https://127.0.0.1:" + w.port
	call := func(method, to, code, body string) (obj, error) {
		mu.Lock()
		seen = nil
		mu.Unlock()
		p := obj{"method": method, "url": w.url("/a?code=" + code + "&to=" + to), "headers": obj{"X-Thing": "x", "Accept": "y"}}
		if body != "" {
			p["body"] = body
		}
		return w.run(p)
	}
	for name, c := range map[string]struct {
		method, to, code, body string
		seen                   []string
	}{
		"SameOrigin":           {"GET", "/b", "302", "", []string{"GET example.com/a  x y", "GET example.com/b  x y"}},
		"OtherOriginNoHeaders": {"GET", other + "/b", "302", "", []string{"GET example.com/a  x y", "GET 127.0.0.1/b   y"}},
		"Head":                 {"HEAD", "/b", "307", "", []string{"HEAD example.com/a  x y", "HEAD example.com/b  x y"}},
		"PostBecomesGet":       {"POST", "/b", "303", "data", []string{"POST example.com/a data x y", "GET example.com/b  x y"}},
		"PostElsewhereAsGet":   {"POST", other + "/b", "302", "data", []string{"POST example.com/a data x y", "GET 127.0.0.1/b   y"}},
		"PostStaysPost":        {"POST", "/b", "308", "data", []string{"POST example.com/a data x y", "POST example.com/b data x y"}},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := call(c.method, c.to, c.code, c.body)
			require.NoError(t, err)
			require.Equal(t, c.seen, seen)
			require.InDelta(t, 1, v["redirects"], 0)
			require.True(t, strings.HasSuffix(v["finalUrl"].(string), "/b"))
		})
	}
	for name, c := range map[string]struct{ method, to, code, want string }{
		"PostToOtherOrigin":   {"POST", other + "/b", "307", "nobody approved"},
		"DeleteToOtherOrigin": {"DELETE", other + "/b", "308", "nobody approved"},
		"PlainHTTP":           {"GET", "http://example.com/", "302", "plain http"},
		"Loopback":            {"GET", "https://127.0.0.1/", "302", "public internet"},
		"Metadata":            {"GET", "https://169.254.169.254/latest", "302", "public internet"},
		"Mapped":              {"GET", "https://[::ffff:10.0.0.1]/", "302", "public internet"},
		"PrivateByName":       {"GET", "https://evil.test/", "302", "public internet"},
		"UserInfo":            {"GET", "https://user:pw@example.com/", "302", "user name"},
		"File":                {"GET", "file:///etc/passwd", "302", "plain http"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call(c.method, c.to, c.code, "")
			requireCode(t, err, enum.ToolErrorCodeToolError, c.want)
			require.Len(t, seen, 1)
		})
	}
	t.Run("Loop", func(t *testing.T) {
		seen = nil
		_, err := w.run(obj{"url": w.url("/loop")})
		requireCode(t, err, enum.ToolErrorCodeToolError, "more than 5 times")
		require.Len(t, seen, 6)
	})
	t.Run("NoLocation", func(t *testing.T) {
		v, err := w.run(obj{"url": w.url("/nowhere")})
		require.NoError(t, err)
		require.InDelta(t, 302, v["status"], 0)
	})
}

func TestTool_Allow(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer plain.Close()
	_, port, err := net.SplitHostPort(plain.Listener.Addr().String())
	require.NoError(t, err)
	names, resolver := startNames(t)
	names.set("dev.test", addrs("127.0.0.1"))
	names.set("meta.test", addrs("169.254.169.254"))
	run := func(cfg Config, url string) (obj, error) {
		cfg.Resolver = resolver
		w := newWorld(t, nil, func(c *Config) { *c = cfg })
		return w.run(obj{"url": url})
	}
	for name, url := range map[string]string{"Literal": "http://127.0.0.1:" + port, "Name": "http://dev.test:" + port + "/x"} {
		t.Run(name, func(t *testing.T) {
			v, err := run(Config{Allow: []string{"127.0.0.1:" + port, "Dev.Test:" + port}}, url)
			require.NoError(t, err)
			require.Equal(t, "hello", v["body"])
			_, err = run(Config{}, url)
			require.Error(t, err)
			_, err = run(Config{Allow: []string{"127.0.0.1:1", "dev.test:1"}}, url)
			require.Error(t, err)
			_, err = run(Config{AllowHTTP: true}, url)
			require.Error(t, err)
		})
	}
	t.Run("LinkLocalStaysRefused", func(t *testing.T) {
		_, err := run(Config{Allow: []string{"meta.test:80", "169.254.169.254:80"}}, "http://meta.test/")
		requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
		_, err = run(Config{Allow: []string{"169.254.169.254:80"}}, "http://169.254.169.254/")
		requireCode(t, err, enum.ToolErrorCodeToolError, "public internet")
	})
	for _, bad := range []string{"localhost", "localhost:http", ":80", "a b:80", "localhost:0", "http://localhost:80", "[fe80::1%eth0]:80", "localhost:70000"} {
		_, err := New(Config{Allow: []string{bad}})
		require.Error(t, err, bad)
	}
}

func TestTool_Failures(t *testing.T) {
	asked := make(chan struct{}, 1)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			asked <- struct{}{}
			<-r.Context().Done()
		case "/break":
			rw.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(rw, "short")
			panic(http.ErrAbortHandler)
		}
	}, nil)
	const canary = "?token=canary-33f0"
	t.Run("Timeout", func(t *testing.T) {
		_, err := w.runner.Run(t.Context(), tool.Call{Tool: "http_request", Parameters: obj{"url": w.url("/hang" + canary)}, Timeout: time.Second})
		requireCode(t, err, enum.ToolErrorCodeTimeout, "finish within")
		require.NoError(t, w.runner.Close(t.Context()))
		<-asked
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		_, err := w.runner.Run(ctx, tool.Call{Tool: "http_request", Parameters: obj{"url": w.url("/hang")}, Timeout: 10 * time.Second})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, w.runner.Close(t.Context()))
	})
	t.Run("BrokenOff", func(t *testing.T) {
		_, err := w.run(obj{"url": w.url("/break" + canary)})
		requireCode(t, err, enum.ToolErrorCodeDependencyUnavailable, "broke off")
		requireNoCanary(t, err)
	})
	t.Run("NoSuchName", func(t *testing.T) {
		_, err := w.run(obj{"url": "https://nowhere.test/" + canary})
		requireCode(t, err, enum.ToolErrorCodeToolError, "no host of this name")
		requireNoCanary(t, err)
	})
	t.Run("BadCertificate", func(t *testing.T) {
		w := newWorld(t, func(http.ResponseWriter, *http.Request) {}, func(c *Config) { c.RootCAs = x509.NewCertPool() })
		w.srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		_, err := w.run(obj{"url": w.url("/" + canary)})
		requireCode(t, err, enum.ToolErrorCodeDependencyUnavailable, "certificate")
		requireNoCanary(t, err)
	})
	t.Run("Refused", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		at := l.Addr().String()
		require.NoError(t, l.Close())
		w := newWorld(t, nil, func(c *Config) { c.Allow = []string{at} })
		_, err = w.run(obj{"url": "http://" + at + "/" + canary})
		requireCode(t, err, enum.ToolErrorCodeDependencyUnavailable, "could not be reached")
		requireNoCanary(t, err)
	})
}

// requireNoCanary looks at everything that could be shown or logged.
func requireNoCanary(t *testing.T, err error) {
	t.Helper()
	e, ok := tool.AsError(err)
	require.True(t, ok)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", e, e.Unwrap(), e.Unwrap()), "canary")
}
