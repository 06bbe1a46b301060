package httpx

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// start serves h on a free loopback port and gives its address, a stop and what Serve returned.
func start(t *testing.T, h *Handler, grace time.Duration) (addr string, stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	srv := NewServer(h, ServerConfig{Logger: slog.New(slog.DiscardHandler), HeaderTimeout: 300 * time.Millisecond})
	go func() { done <- Serve(ctx, srv, ln, grace, h.Drain) }()
	t.Cleanup(stop)
	return ln.Addr().String(), stop, done
}

func dial(t *testing.T, addr, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, text)
	require.NoError(t, err)
	return c, bufio.NewReader(c)
}

func TestServe_BodyTimeoutAndLongStream(t *testing.T) {
	const wait = 300 * time.Millisecond
	released := make(chan struct{})
	readError := make(chan error, 1)
	h, _ := handler(t, func(c *Config) {
		c.BodyTimeout = wait
		c.API["/slow"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			readError <- err
		})
		c.API["/stream"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				panic(err)
			}
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			<-released
			select {
			case <-r.Context().Done():
				_, _ = io.WriteString(w, "cancelled")
			default:
				_, _ = io.WriteString(w, "still here")
			}
		})
	})
	addr, stop, ended := start(t, h, 5*time.Second)

	const post = "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 5\r\n\r\n%s"
	_, stream := dial(t, addr, fmt.Sprintf(post, "/stream", addr, "12345"))
	status, err := stream.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, status, "200")

	began := time.Now()
	dial(t, addr, fmt.Sprintf(post, "/slow", addr, "1"))
	var timeout net.Error
	require.ErrorAs(t, <-readError, &timeout)
	require.True(t, timeout.Timeout())
	require.GreaterOrEqual(t, time.Since(began), wait-20*time.Millisecond)

	close(released) // the stream began before the body timeout of the other passed, so its own is over
	var rest bytes.Buffer
	stop()
	_, err = io.Copy(&rest, stream)
	require.NoError(t, err)
	require.Contains(t, rest.String(), "still here")
	require.NoError(t, <-ended)
}

func TestServe_SlowHeader(t *testing.T) {
	h, _ := handler(t, nil)
	addr, _, _ := start(t, h, time.Second)
	_, r := dial(t, addr, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	b, err := io.ReadAll(r)
	require.NoError(t, err, "closed by the server, not by the test's deadline")
	require.NotContains(t, string(b), "200 OK")
}

func TestServe_MaxBody(t *testing.T) {
	got := make(chan error, 1)
	h, _ := handler(t, func(c *Config) {
		c.MaxBody = 1000
		c.API["/graphql"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			got <- err
		})
	})
	r := request("POST", "/graphql")
	r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 1001)))
	serve(h, r)
	var tooLarge *http.MaxBytesError
	require.ErrorAs(t, <-got, &tooLarge)
}

func TestServe_Hijack(t *testing.T) {
	h, log := handler(t, func(c *Config) {
		c.API["/graphql"] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = rw.WriteString("raw")
			_ = rw.Flush()
		})
	})
	addr, stop, ended := start(t, h, time.Second)
	_, r := dial(t, addr, "GET /graphql HTTP/1.1\r\nHost: x\r\n\r\n")
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "raw", string(b))
	stop()
	require.NoError(t, <-ended)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), `"status":101`) }, 5*time.Second, 5*time.Millisecond)
}

// A request that does not end has its context cancelled before the grace is over, and what ignores even that is cut.
func TestServe_Shutdown(t *testing.T) {
	entered := make(chan struct{}, 2)
	never := make(chan struct{})
	h, _ := handler(t, func(c *Config) {
		c.API["/polite"] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			entered <- struct{}{}
			<-r.Context().Done()
			_, _ = io.WriteString(w, "bye")
		})
		c.API["/deaf"] = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- struct{}{}
			<-never
		})
	})
	t.Run("Polite", func(t *testing.T) {
		addr, stop, ended := start(t, h, 400*time.Millisecond)
		_, r := dial(t, addr, "GET /polite HTTP/1.1\r\nHost: x\r\n\r\n")
		<-entered
		stop()
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(b), "bye"), string(b))
		require.NoError(t, <-ended)
	})
	t.Run("Deaf", func(t *testing.T) {
		defer close(never)
		addr, stop, ended := start(t, h, 200*time.Millisecond)
		dial(t, addr, "GET /deaf HTTP/1.1\r\nHost: x\r\n\r\n")
		<-entered
		stop()
		require.ErrorContains(t, <-ended, "cut off")
	})
}

func TestServe_ListenerFails(t *testing.T) {
	h, _ := handler(t, nil)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	err = Serve(t.Context(), NewServer(h, ServerConfig{Logger: slog.Default()}), ln, time.Second, nil)
	require.Error(t, err)
	require.NotErrorIs(t, err, http.ErrServerClosed)
}

// A peer that sends but never reads does not hold its handler for ever; the deadline is the connection's own.
func TestResponse_WriteDeadlineIsRenewed(t *testing.T) {
	x := &response{ResponseWriter: &deadlineRecorder{}}
	d := x.ResponseWriter.(*deadlineRecorder)
	_, err := x.Write([]byte("a"))
	require.NoError(t, err)
	_, err = x.Write([]byte("b"))
	require.NoError(t, err)
	require.Len(t, d.set, 1, "not at every write")
	require.WithinDuration(t, time.Now().Add(writeTimeout), d.set[0], 5*time.Second)
	x.deadline = x.deadline.Add(-writeRenewal)
	_, err = x.Write([]byte("c"))
	require.NoError(t, err)
	require.Len(t, d.set, 2)
}

type deadlineRecorder struct{ set []time.Time }

func (d *deadlineRecorder) Header() http.Header         { return http.Header{} }
func (d *deadlineRecorder) Write(b []byte) (int, error) { return len(b), nil }
func (d *deadlineRecorder) WriteHeader(int)             {}
func (d *deadlineRecorder) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}
