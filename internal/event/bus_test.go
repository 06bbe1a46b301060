package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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
	if m.Subject != "chat.a" || m.ID != "m1" || string(m.Data) != "one" || time.Since(m.At) > time.Minute || m.At.Location() != time.UTC {
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

func TestEmbedded_Reopen(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, Config{StoreDir: dir})
	secret := "the quick brown fox signs the merger"
	var last uint64
	for range 50 {
		last = mustPublish(t, b, "chat.fox", "", secret)
	}
	mustPublish(t, b, "chat.fox", "id", "x")
	last++
	inc := b.Incarnation()
	if _, err := Open(t.Context(), Config{StoreDir: dir, Key: testKey}); err == nil {
		t.Fatal("a second server opened the same store")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		c, err := os.ReadFile(p)
		if bytes.Contains(c, []byte("quick brown")) || bytes.Contains(c, []byte("chat.fox")) {
			t.Errorf("%s holds plain text", filepath.Base(p))
		}
		return err
	})
	if err != nil || files < 4 {
		t.Fatalf("%d files in the store, %v", files, err)
	}
	began := time.Now()
	b = openBus(t, Config{StoreDir: dir})
	t.Logf("reopened in %v", time.Since(began))
	if b.Incarnation() != inc || b.Position() != last {
		t.Errorf("reopened at %d of %d, want %d of %d", b.Position(), b.Incarnation(), last, inc)
	}
	if seq := mustPublish(t, b, "chat.fox", "id", "x"); seq != last {
		t.Errorf("the duplicate window did not survive: %d, want %d", seq, last)
	}
}

func TestEmbedded_Damage(t *testing.T) {
	blocks := func(t *testing.T, dir string) []string {
		found, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no message blocks: %v", err)
		}
		return found
	}
	edit := func(t *testing.T, p string, f func([]byte) []byte) {
		c, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, f(c), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(t *testing.T, dir string) []byte{
		"OtherKey": func(*testing.T, string) []byte { return bytes.Repeat([]byte{9}, KeySize) },
		"TruncatedEnd": func(t *testing.T, dir string) []byte {
			for _, p := range blocks(t, dir) {
				edit(t, p, func(b []byte) []byte { return b[:len(b)/2] })
			}
			return testKey
		},
		"FlippedMiddle": func(t *testing.T, dir string) []byte {
			for _, p := range blocks(t, dir) {
				edit(t, p, func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b })
			}
			return testKey
		},
		"NoMarker": func(t *testing.T, dir string) []byte {
			if err := os.Remove(filepath.Join(dir, "marker.json")); err != nil {
				t.Fatal(err)
			}
			return testKey
		},
		"OtherBootAfterCrash": func(t *testing.T, dir string) []byte {
			edit(t, filepath.Join(dir, "marker.json"), func(b []byte) []byte {
				return bytes.Replace(bytes.Replace(b, []byte(bootID()), []byte("other"), 1), []byte(`"clean":true`), []byte(`"clean":false`), 1)
			})
			return testKey
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := openBus(t, Config{StoreDir: dir})
			for range 100 {
				mustPublish(t, b, "a", "", strings.Repeat("x", 200))
			}
			inc := b.Incarnation()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			var logged bytes.Buffer
			b = openBus(t, Config{StoreDir: dir, Key: damage(t, dir), Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			if b.Incarnation() == inc {
				t.Fatalf("a damaged store was taken for the same stream, position %d", b.Position())
			}
			if !strings.Contains(logged.String(), "starting a fresh stream") {
				t.Errorf("nothing was said: %s", logged.String())
			}
			if seq := mustPublish(t, b, "a", "", "x"); seq != 1 {
				t.Errorf("the fresh stream begins at %d", seq)
			}
		})
	}
}

// Messages that vanish without their sequences being given again are like expired ones.
func TestEmbedded_BlocksLost(t *testing.T) {
	dir := t.TempDir()
	b := openBus(t, Config{StoreDir: dir})
	for range 10 {
		mustPublish(t, b, "a", "", "x")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks: %v", err)
	}
	for _, p := range blocks {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	b = openBus(t, Config{StoreDir: dir})
	if seq := mustPublish(t, b, "a", "", "x"); seq != 11 {
		t.Fatalf("sequence %d was given twice", seq)
	}
	for _, err := range b.Replay(t.Context(), []string{"a"}, 5, 11) {
		if !errors.Is(err, ErrCursorExpired) {
			t.Errorf("a cursor into the lost part: %v", err)
		}
	}
}

func TestReplay(t *testing.T) {
	b := openBus(t, Config{MaxBytes: 1 << 20})
	want := map[string][]uint64{}
	for i := range 1000 {
		s := []string{"chat.a", "chat.b", "approval"}[i%3]
		want[s] = append(want[s], mustPublish(t, b, s, "", "x"))
	}
	read := func(subjects []string, after, upto uint64) ([]uint64, error) {
		var got []uint64
		for m, err := range b.Replay(t.Context(), subjects, after, upto) {
			if err != nil {
				return got, err
			}
			got = append(got, m.Seq)
		}
		return got, nil
	}
	for name, c := range map[string]struct {
		subjects    []string
		after, upto uint64
		n           int
		first, last uint64
	}{
		"All":       {[]string{">"}, 0, ^uint64(0), 1000, 1, 1000},
		"One":       {[]string{"chat.b"}, 0, 1000, 333, 2, 998},
		"Window":    {[]string{"chat.a"}, 100, 109, 3, 103, 109},
		"Two":       {[]string{"chat.a", "approval", "chat.a"}, 998, 1000, 2, 999, 1000},
		"Wildcard":  {[]string{"chat.*"}, 997, 2000, 2, 998, 1000},
		"Nothing":   {[]string{"chat.a"}, 1000, 1000, 0, 0, 0},
		"NoSuch":    {[]string{"chat.z"}, 0, 1000, 0, 0, 0},
		"Backwards": {[]string{"chat.a"}, 900, 100, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(c.subjects, c.after, c.upto)
			if err != nil || len(got) != c.n {
				t.Fatalf("%d messages, %v; want %d", len(got), err, c.n)
			}
			for i, s := range got {
				if i > 0 && s <= got[i-1] {
					t.Fatalf("%d after %d", s, got[i-1])
				}
			}
			if c.n > 0 && (got[0] != c.first || got[c.n-1] != c.last) {
				t.Errorf("from %d to %d, want %d to %d", got[0], got[c.n-1], c.first, c.last)
			}
		})
	}
	t.Run("Stop", func(t *testing.T) {
		for range b.Replay(t.Context(), []string{">"}, 0, 1000) {
			break
		}
	})
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range b.Replay(ctx, []string{">"}, 0, 1000) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		}
	})
	t.Run("Future", func(t *testing.T) {
		if _, err := read([]string{"a"}, 1001, 2000); !errors.Is(err, ErrCursorExpired) {
			t.Errorf("a position beyond the end: %v", err)
		}
	})
	t.Run("Expired", func(t *testing.T) {
		big := strings.Repeat("y", 60_000)
		for range 40 { // beyond MaxBytes
			mustPublish(t, b, "big", "", big)
		}
		first, err := b.First(t.Context())
		if err != nil || first <= 1000 {
			t.Fatalf("first = %d, %v", first, err)
		}
		if _, err := read([]string{"big"}, first-2, 2000); !errors.Is(err, ErrCursorExpired) {
			t.Errorf("one message lost: %v", err)
		}
		got, err := read([]string{"big"}, first-1, 2000)
		if err != nil || len(got) == 0 || got[0] != first {
			t.Errorf("nothing lost: %v, %v", got, err)
		}
	})
}

func TestReplay_Crowd(t *testing.T) {
	b := openBus(t, Config{})
	for range 300 {
		mustPublish(t, b, "chat.a", "", "x")
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			n := 0
			for _, err := range b.Replay(t.Context(), []string{"chat.a"}, 0, 300) {
				if err != nil {
					t.Error(err)
					return
				}
				n++
			}
			if n != 300 {
				t.Errorf("%d messages", n)
			}
		})
	}
	wg.Wait()
}

func TestFeed_TwoReplicas(t *testing.T) {
	n := startNATS(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	other := openBus(t, Config{URL: n.url(), Prefix: "other"})
	if a.Incarnation() != b.Incarnation() || a.Incarnation() == other.Incarnation() {
		t.Fatal("incarnations")
	}
	ra, rb, ro := new(recorder).follow(t, a), new(recorder).follow(t, b), new(recorder).follow(t, other)
	for i := range 50 {
		mustPublish(t, a, "chat.x", "", fmt.Sprint("a", i))
		mustPublish(t, b, "chat.x", "", fmt.Sprint("b", i))
	}
	ma, mb := ra.waitFor(t, 100), rb.waitFor(t, 100)
	for i := range ma {
		if ma[i].Seq != uint64(i+1) || mb[i].Seq != uint64(i+1) || !bytes.Equal(ma[i].Data, mb[i].Data) {
			t.Fatalf("message %d: %+v and %+v", i, ma[i], mb[i])
		}
	}
	if m, _ := ro.snapshot(); len(m) != 0 {
		t.Errorf("another prefix received %d messages", len(m))
	}
}

func TestFeed_ServerRestart(t *testing.T) {
	n := startNATS(t)
	a, b := openBus(t, Config{URL: n.url()}), openBus(t, Config{URL: n.url()})
	rec := new(recorder).follow(t, a)
	for i := range 20 {
		mustPublish(t, b, "s", fmt.Sprint(i), "x")
	}
	rec.waitFor(t, 20)
	n.stop()
	eventually(t, "both notice", func() bool { return a.Healthy() != nil && b.Healthy() != nil })
	began := time.Now()
	if _, err := b.Publish(t.Context(), "s", "", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Publish without a server: %v", err)
	}
	if _, err := b.PublishAsync("s", "", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("PublishAsync without a server: %v", err)
	}
	if err := b.Signal("s", nil); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Signal without a server: %v", err)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("refusals took %v", d)
	}
	n.start()
	eventually(t, "both are back", func() bool { return a.Healthy() == nil && b.Healthy() == nil })
	for i := range 20 {
		mustPublish(t, b, "s", fmt.Sprint(20+i), "x")
	}
	msgs := rec.waitFor(t, 40)
	for i, m := range msgs {
		if m.ID != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.ID)
		}
	}
	if _, gaps := rec.snapshot(); len(gaps) != 0 {
		t.Errorf("gaps %v without a loss", gaps)
	}
}

// A server that comes back without its files has another stream: everyone must read again.
func TestFeed_StreamReplaced(t *testing.T) {
	n := startNATS(t)
	a := openBus(t, Config{URL: n.url()})
	rec := new(recorder).follow(t, a)
	for range 5 {
		mustPublish(t, a, "s", "", "old")
	}
	rec.waitFor(t, 5)
	inc := a.Incarnation()
	n.stop()
	if err := os.RemoveAll(n.dir); err != nil {
		t.Fatal(err)
	}
	n.start()
	eventually(t, "a gap", func() bool { _, g := rec.snapshot(); return len(g) == 1 })
	eventually(t, "health", func() bool { return a.Healthy() == nil })
	if a.Incarnation() == inc {
		t.Error("the incarnation is the old one")
	}
	if _, g := rec.snapshot(); g[0] != 0 {
		t.Errorf("gap at %d", g[0])
	}
	mustPublish(t, a, "s", "", "new")
	if m := rec.waitFor(t, 6); m[5].Seq != 1 || string(m[5].Data) != "new" {
		t.Errorf("message %+v", m[5])
	}
}

// The stream is deleted under a connected process: publishing makes it anew, and the feed follows.
func TestFeed_StreamDeleted(t *testing.T) {
	b := openBus(t, Config{})
	rec := new(recorder).follow(t, b)
	mustPublish(t, b, "s", "", "old")
	rec.waitFor(t, 1)
	if err := b.js.DeleteStream(t.Context(), streamName("cdsa")); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, b, "s", "", "new")
	eventually(t, "a gap", func() bool { _, g := rec.snapshot(); return len(g) > 0 })
	eventually(t, "the feed", func() bool { return b.Healthy() == nil })
	last := mustPublish(t, b, "s", "", "newer")
	eventually(t, "the newest", func() bool { return b.Position() == last })
}

// What expired while a process was away is reported, and what is left is delivered.
func TestFeed_GapByExpiry(t *testing.T) {
	n := startNATS(t)
	cfg := Config{URL: n.url(), MaxBytes: 1 << 20}
	a, b := openBus(t, cfg), openBus(t, cfg)
	big := strings.Repeat("y", 60_000)
	for range 40 {
		mustPublish(t, b, "s", "", big)
	}
	first, err := b.First(t.Context())
	if err != nil || first < 2 {
		t.Fatalf("first = %d, %v", first, err)
	}
	rec := new(recorder).follow(t, a)
	msgs := rec.waitFor(t, 40-int(first)+1)
	_, gaps := rec.snapshot()
	if len(gaps) != 1 || gaps[0] != first-1 || msgs[0].Seq != first {
		t.Errorf("gaps %v, first message %d; first stored %d", gaps, msgs[0].Seq, first)
	}
}

func TestFeed_PanicIsAGap(t *testing.T) {
	b := openBus(t, Config{})
	gaps, got := make(chan uint64, 1), make(chan uint64, 1)
	err := b.Feed(t.Context(), func(m Message) {
		if string(m.Data) == "bad" {
			panic("no")
		}
		got <- m.Seq
	}, func(pos uint64) { gaps <- pos })
	if err != nil {
		t.Fatal(err)
	}
	bad := mustPublish(t, b, "s", "", "bad")
	good := mustPublish(t, b, "s", "", "good")
	if g, m := <-gaps, <-got; g != bad || m != good {
		t.Errorf("gap %d, message %d", g, m)
	}
}
