package transport

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/realtime"
)

// benchClients tells a child of the benchmark how many sockets to open. Clients are another process, so that the
// server's CPU and memory are measured alone.
const benchClients = "REALTIME_BENCH_CLIENTS"

// clients opens n sockets, subscribes, says so, and reads until its input ends.
func clients(n int, url string) {
	for range n {
		d := websocket.Dialer{Subprotocols: []string{protocol}, ReadBufferSize: 512, WriteBufferSize: 512}
		ws, res, err := d.Dial(url, nil)
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		_ = res.Body.Close()
		for _, m := range []string{`{"type":"connection_init"}`, `{"id":"5f0c6c54-0f7d-4d55-8f37-1f3d2b1f5a10","type":"subscribe","payload":{"query":"subscription{ticks(topic:\"a\"){seq text}}"}}`} {
			if err := ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
				fmt.Println("failed:", err)
				return
			}
		}
		go func() { _, _ = io.Copy(io.Discard, ws.NetConn()) }()
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// fleet starts n clients in another process.
func fleet(b *testing.B, n int, url string) {
	b.Helper()
	cmd := exec.Command(os.Args[0], url)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", benchClients, n))
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	require.Equal(b, "ready\n", line)
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const subscribers = 1000

// BenchmarkFanOut counts deliveries per second of server CPU to 1,000 subscribers. Compare Hub with Gorilla.
func BenchmarkFanOut(b *testing.B) {
	text := strings.Repeat("x", 200)
	b.Run("Hub", func(b *testing.B) {
		f := serve(b, Config{}, nil)
		fleet(b, subscribers, f.url())
		f.subscribed(b, subscribers)
		seq := f.hub.Position()
		start, from := f.hub.Stats().Delivered, cpu()
		for i := uint64(1); b.Loop(); i++ {
			seq++
			f.hub.Publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
			until(b, "delivered", func() bool { return f.hub.Stats().Delivered-start >= i*subscribers })
		}
		b.ReportMetric(float64(f.hub.Stats().Delivered-start)/(cpu()-from).Seconds(), "deliveries/cpu-s")
		require.Zero(b, f.hub.Stats().Gaps)
	})
	b.Run("Gorilla", func(b *testing.B) {
		var mu sync.Mutex
		var all []*websocket.Conn
		up := websocket.Upgrader{Subprotocols: []string{protocol}}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if ws, err := up.Upgrade(w, r, nil); err == nil {
				mu.Lock()
				all = append(all, ws)
				mu.Unlock()
			}
		}))
		b.Cleanup(srv.Close)
		fleet(b, subscribers, "ws"+strings.TrimPrefix(srv.URL, "http"))
		until(b, "connected", func() bool { mu.Lock(); defer mu.Unlock(); return len(all) == subscribers })
		from := cpu()
		for b.Loop() {
			m, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte(`{"id":"5f0c6c54-0f7d-4d55-8f37-1f3d2b1f5a10","type":"next","payload":{"data":{"ticks":{"seq":1,"text":"`+text+`"}}}}`))
			require.NoError(b, err)
			for _, ws := range all {
				require.NoError(b, ws.WritePreparedMessage(m))
			}
		}
		b.ReportMetric(float64(b.N)*subscribers/(cpu()-from).Seconds(), "deliveries/cpu-s")
		for _, ws := range all {
			_ = ws.Close()
		}
	})
}

// BenchmarkIdle gives the resident memory of a connection with one subscription.
func BenchmarkIdle(b *testing.B) {
	const n = 5000
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Max < n+500 {
		b.Skipf("needs %d descriptors", n+500)
	}
	lim.Cur = lim.Max
	require.NoError(b, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim))
	f := serve(b, Config{}, nil)
	before := rss(b)
	fleet(b, n, f.url())
	f.subscribed(b, n)
	debug.FreeOSMemory()
	for b.Loop() {
		b.ReportMetric(float64(rss(b)-before)/n/1024, "KiB/connection")
	}
}

func rss(b *testing.B) int64 {
	b.Helper()
	s, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip("needs /proc")
	}
	var size, resident int64
	_, err = fmt.Sscan(string(s), &size, &resident)
	require.NoError(b, err)
	return resident * int64(os.Getpagesize())
}
