package event

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"
)

var testKey = bytes.Repeat([]byte{7}, KeySize)

// eventually polls a condition that another goroutine makes true.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func openBus(t *testing.T, cfg Config) *Bus {
	t.Helper()
	if cfg.URL == "" && cfg.StoreDir == "" {
		cfg.StoreDir = t.TempDir()
	}
	if cfg.Key == nil {
		cfg.Key = testKey
	}
	b, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// natsServer is a server with a listener on loopback that can be stopped and started again on its port.
type natsServer struct {
	t    *testing.T
	srv  *server.Server
	dir  string
	port int
}

func startNATS(t *testing.T) *natsServer {
	n := &natsServer{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	srv, err := server.NewServer(&server.Options{ServerName: "test", Host: "127.0.0.1", Port: n.port, NoSigs: true, JetStream: true, StoreDir: n.dir})
	if err != nil {
		n.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("the NATS server of the test did not start")
	}
	n.srv = srv
	n.port = srv.Addr().(*net.TCPAddr).Port
}

func (n *natsServer) stop() {
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

func (n *natsServer) url() string { return n.srv.ClientURL() }

// recorder is a feed's handler that remembers.
type recorder struct {
	mu   sync.Mutex
	msgs []Message
	gaps []uint64
}

func (r *recorder) follow(t *testing.T, b *Bus) *recorder {
	t.Helper()
	err := b.Feed(t.Context(), func(m Message) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.msgs = append(r.msgs, m)
	}, func(pos uint64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gaps = append(r.gaps, pos)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *recorder) snapshot() ([]Message, []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Message(nil), r.msgs...), append([]uint64(nil), r.gaps...)
}

func (r *recorder) waitFor(t *testing.T, n int) []Message {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages in the feed", n), func() bool { m, _ := r.snapshot(); return len(m) >= n })
	m, _ := r.snapshot()
	return m
}

func mustPublish(t *testing.T, b *Bus, subject, id, data string) uint64 {
	t.Helper()
	seq, err := b.Publish(t.Context(), subject, id, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestBus_PublishFeed(t *testing.T) {
	b := openBus(t, Config{})
	before := mustPublish(t, b, "chat.a", "", "before the feed, after Open: still delivered")
	rec := new(recorder).follow(t, b)
	first := mustPublish(t, b, "chat.a", "m1", "one")
	if again := mustPublish(t, b, "chat.a", "m1", "one"); again != first {
		t.Errorf("a duplicate got sequence %d, the first had %d", again, first)
	}
	var futures []Future
	for i := range 500 {
		f, err := b.PublishAsync("chat.a", "", fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, f)
	}
	last := mustPublish(t, b, "chat.b", "m2", "after the deltas")
	for i, f := range futures {
		seq, err := f.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seq != first+1+uint64(i) {
			t.Fatalf("delta %d has sequence %d, want %d", i, seq, first+1+uint64(i))
		}
	}
	if last != first+501 {
		t.Errorf("the message after 500 deltas has sequence %d, want %d", last, first+501)
	}
	msgs := rec.waitFor(t, 503)
	for i, m := range msgs {
		if m.Seq != before+uint64(i) {
			t.Fatalf("message %d has sequence %d, want %d", i, m.Seq, before+uint64(i))
		}
	}
	m := msgs[1]
	if m.Subject != "chat.a" || m.ID != "m1" || string(m.Data) != "one" || time.Since(m.At) > time.Minute || m.At.Nanosecond()%1000 != 0 || m.At.Location() != time.UTC {
		t.Errorf("unexpected message %+v", m)
	}
	eventually(t, "the position", func() bool { return b.Position() == last })
	if err := b.Healthy(); err != nil {
		t.Error(err)
	}
	if got, err := b.Last(t.Context(), "chat.a"); err != nil || got != last-1 {
		t.Errorf("Last = %d, %v", got, err)
	}
	if got, err := b.Last(t.Context(), "nothing"); err != nil || got != 0 {
		t.Errorf("Last of an unused subject = %d, %v", got, err)
	}
}

func TestBus_Refuses(t *testing.T) {
	b := openBus(t, Config{})
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\x00", "ä", strings.Repeat("x", 201)} {
		if _, err := b.Publish(t.Context(), s, "", nil); err == nil {
			t.Errorf("Publish accepted the subject %q", s)
		}
		if _, err := b.PublishAsync(s, "", nil); err == nil {
			t.Errorf("PublishAsync accepted the subject %q", s)
		}
		if err := b.Signal(s, nil); err == nil {
			t.Errorf("Signal accepted the subject %q", s)
		}
	}
	if _, err := b.Publish(t.Context(), "a", "", make([]byte, MaxPayload+1)); err == nil {
		t.Error("Publish accepted a payload that is too large")
	}
	if _, err := b.Publish(t.Context(), "a", "", make([]byte, MaxPayload)); err != nil {
		t.Errorf("the largest payload: %v", err)
	}
	for _, cfg := range []Config{
		{StoreDir: t.TempDir(), Key: []byte("short")},
		{StoreDir: t.TempDir(), Key: testKey, Prefix: "a.b"},
		{StoreDir: t.TempDir(), Key: testKey, MaxAge: time.Minute},
		{StoreDir: t.TempDir(), Key: testKey, MaxBytes: 1},
	} {
		if b, err := Open(t.Context(), cfg); err == nil {
			t.Errorf("Open accepted %+v", cfg)
			_ = b.Close()
		}
	}
	_, err := Open(t.Context(), Config{URL: "nats://user:hunter2@127.0.0.1:bad%zz"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a bad URL gives %v", err)
	}
}

func TestBus_Closed(t *testing.T) {
	b := openBus(t, Config{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), "a", "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Publish after Close: %v", err)
	}
	if _, err := b.PublishAsync("a", "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("PublishAsync after Close: %v", err)
	}
	if err := b.Signal("a", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Signal after Close: %v", err)
	}
	if err := b.Healthy(); !errors.Is(err, ErrClosed) {
		t.Errorf("Healthy after Close: %v", err)
	}
	if err := b.Feed(t.Context(), nil, nil); err == nil {
		t.Error("Feed after Close started")
	}
}

func TestBus_Signals(t *testing.T) {
	b := openBus(t, Config{})
	got := make(chan string, 10)
	stop, err := b.OnSignal("cancel.*", func(d []byte) { got <- string(d) })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Signal("cancel.1", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "x" {
		t.Errorf("signal %q", s)
	}
	stop()
	stop()
	end := make(chan string, 1)
	if _, err := b.OnSignal("end", func(d []byte) { end <- string(d) }); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"cancel.1", "end"} {
		if err := b.Signal(s, nil); err != nil {
			t.Fatal(err)
		}
	}
	<-end
	if len(got) != 0 {
		t.Error("a signal arrived after stop")
	}
	if first, err := b.First(t.Context()); err != nil || first != 1 {
		t.Errorf("signals were stored: first = %d, %v", first, err)
	}
}

// Messages that vanish without their sequences being given again are like expired ones.
// More readers than slots stop in the middle of what they read: the others are served all the same.
// A server that comes back without its files has another stream: everyone must read again.
// The stream is deleted under a connected process: publishing makes it anew, and the feed follows.
// What expired while a process was away is reported, and what is left is delivered.
func TestBus_CloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b := openBus(t, Config{})
	rec := new(recorder).follow(t, b)
	if _, err := b.OnSignal("x", func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, b, "s", "", "x")
	rec.waitFor(t, 1)
	streamed(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

// What one event costs from Publish to the feed's handler.
func BenchmarkBus_PublishDeliver(b *testing.B) {
	bus, err := Open(b.Context(), Config{StoreDir: b.TempDir(), Key: testKey})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := bus.Close(); err != nil {
			b.Error(err)
		}
	}()
	got := make(chan struct{}, 1)
	if err := bus.Feed(b.Context(), func(Message) { got <- struct{}{} }, func(uint64) {}); err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 120)
	for b.Loop() {
		if _, err := bus.Publish(b.Context(), "chat.a", "", data); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}
