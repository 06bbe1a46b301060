package transport

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/outbox"
)

func TestOperation_QueryAndMutation(t *testing.T) {
	c := serve(t, Config{}, nil).connect(t)
	c.subscribe(`a"\u00e9`, `{hello}`)
	m := c.message()
	require.Equal(t, `a"\u00e9`, m.ID)
	require.JSONEq(t, `{"data":{"hello":"world"}}`, string(m.Payload))
	require.Equal(t, "complete", c.message().Type)
	c.subscribe("2", `mutation{bump}`)
	require.JSONEq(t, `{"data":{"bump":1}}`, c.data("2"))
	c.completed("2")
	c.send(`{"id":"3","type":"subscribe","payload":{"query":"query A($n:Int!){big(n:$n)} query B{hello}","operationName":"A","variables":{"n":70000},"extensions":{}}}`)
	require.Len(t, c.data("3"), 70000+len(`{"data":{"big":""}}`))
	c.completed("3")
}

func TestOperation_Errors(t *testing.T) {
	f := serve(t, Config{}, nil)
	c := f.connect(t)
	for _, tt := range []struct{ query, code string }{
		{`{`, "GRAPHQL_PARSE_FAILED"},
		{``, "GRAPHQL_VALIDATION_FAILED"},
		{`{nope}`, "GRAPHQL_VALIDATION_FAILED"},
		{`{multi}`, ""},
		{`{panic}`, "INTERNAL_SERVER_ERROR"},
		{`subscription{denied}`, "NOT_FOUND"},
		{`subscription{crash}`, "INTERNAL_SERVER_ERROR"},
		{"{hello(v:\"\x00\")}", "BAD_USER_INPUT"},
	} {
		if tt.code == "" {
			continue
		}
		c.subscribe("1", tt.query)
		require.Equal(t, tt.code, c.failed("1"), tt.query)
		c.subscribe("1", `{hello}`) // nothing of the failed one comes in between, and the id is free
		c.data("1")
		c.completed("1")
	}
	c.subscribe("1", `{fail}`) // an execution error is a result
	require.Contains(t, c.data("1"), "NOT_FOUND")
	c.completed("1")
	c.send(`{"id":"1","type":"subscribe","payload":{"query":"query($v:String){hello(v:$v)}","variables":{"v":["a",{"b":"\u0000"}]}}}`)
	require.Equal(t, "BAD_USER_INPUT", c.failed("1"))
}

func TestOperation_CompleteStopsTheWork(t *testing.T) {
	f := serve(t, Config{}, nil)
	c := f.connect(t)
	for _, q := range []string{`{slow}`, `mutation{stuck}`} {
		c.subscribe("1", q)
		wait(t, f.started, "it runs")
		c.send(`{"id":"1","type":"complete"}`)
		wait(t, f.stopped, "its context ends")
	}
	c.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	f.subscribed(t, 1)
	c.send(`{"id":"1","type":"complete"}`)
	c.send(`{"id":"1","type":"complete"}`)
	c.send(`{"id":"unknown","type":"complete"}`)
	f.subscribed(t, 0)
	c.subscribe("1", `{hello}`)
	require.JSONEq(t, `{"data":{"hello":"world"}}`, c.data("1"), "nothing of the stopped ones was sent")
	c.completed("1")
	c.subscribe("1", `{slow}`)
	wait(t, f.started, "it runs")
	require.NoError(t, c.ws.Close())
	wait(t, f.stopped, "its context ends with the connection")
}

func TestOperation_Limit(t *testing.T) {
	f := serve(t, Config{MaxOperations: 3}, nil)
	c := f.connect(t)
	for i := range 3 {
		c.subscribe(fmt.Sprint(i), `subscription{ticks(topic:"a"){seq}}`)
	}
	c.subscribe("3", `{hello}`)
	require.Equal(t, "RESOURCE_EXHAUSTED", c.failed("3"))
	c.send(`{"id":"1","type":"complete"}`)
	c.subscribe("3", `{hello}`)
	require.Equal(t, `{"data":{"hello":"world"}}`, c.data("3"))
}

func TestOperation_Subscription(t *testing.T) {
	f := serve(t, Config{}, nil)
	a, b := f.connect(t), f.connect(t)
	a.subscribe("x", `subscription{ticks(topic:"a", only:"yes"){seq text}}`)
	b.subscribe("y", `subscription{ticks(topic:"a"){seq}}`)
	b.subscribe("z", `subscription{plain(n:3)}`)
	for i := 1; i <= 3; i++ {
		require.JSONEq(t, fmt.Sprintf(`{"data":{"plain":%d}}`, i), b.data("z"))
	}
	b.completed("z")
	f.subscribed(t, 2)
	f.publish(realtime.Event{Topic: "a", Seq: 1, Value: "no"})
	f.publish(realtime.Event{Topic: "a", Seq: 2, Value: "yes"})
	require.Equal(t, tick{Seq: 2, Text: "yes"}, a.tick("x"))
	require.Equal(t, uint64(1), b.tick("y").Seq)
	require.Equal(t, uint64(2), b.tick("y").Seq)
	f.hub.Complete("a")
	a.completed("x")
	b.completed("y")
	require.Empty(t, f.class.Load().Class)
}

func TestOperation_PanicOnTheWorker(t *testing.T) {
	f := serve(t, Config{}, nil)
	a, b := f.connect(t), f.connect(t)
	a.subscribe("1", `subscription{breaks(topic:"a")}`)
	b.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	f.subscribed(t, 2)
	f.publish(realtime.Event{Topic: "a", Seq: 1})
	require.Equal(t, "INTERNAL_SERVER_ERROR", a.failed("1"))
	require.Equal(t, uint64(1), b.tick("1").Seq)
	f.publish(realtime.Event{Topic: "a", Seq: 2})
	require.Equal(t, uint64(2), b.tick("1").Seq)
}

func TestOperation_HangOnTheWorker(t *testing.T) {
	f := serveHub(t, Config{}, nil, realtime.HubOptions{Shards: 1, Stall: 50 * time.Millisecond})
	a, b := f.connect(t), f.connect(t)
	a.subscribe("1", `subscription{hang(topic:"a")}`)
	b.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	f.subscribed(t, 2)
	f.publish(realtime.Event{Topic: "a", Seq: 1})
	require.Equal(t, "UPSTREAM_UNAVAILABLE", a.failed("1"))
	require.Equal(t, uint64(1), b.tick("1").Seq)
}

func TestOperation_Deadline(t *testing.T) {
	var cancels sync.Map
	f := serve(t, Config{Operation: func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		cancels.Store(&cancel, cancel)
		return ctx
	}}, nil)
	defer cancels.Range(func(_, c any) bool { c.(context.CancelFunc)(); return true })
	c := f.connect(t)
	c.subscribe("1", `{slow}`)
	require.Contains(t, c.data("1"), "deadline")
	require.Equal(t, "UPSTREAM_UNAVAILABLE", c.failed("1"))
}

func TestOperation_GapWhenCursorExpired(t *testing.T) {
	f := serve(t, Config{}, nil)
	f.log.expired = 5
	f.hub.Advance(9)
	c := f.connect(t)
	c.subscribe("1", `subscription{ticks(topic:"a", after:3){seq gap}}`)
	got := c.tick("1")
	require.Equal(t, "CURSOR_EXPIRED", *got.Gap)
	require.Equal(t, uint64(9), got.Seq)
	c.completed("1")
	c.subscribe("2", `subscription{noGap(topic:"a")}`)
	f.subscribed(t, 1)
	f.hub.Gap(realtime.CursorExpired)
	require.Equal(t, "RESOURCE_EXHAUSTED", c.failed("2"), "a subscription that cannot show a gap fails")
}

// stalled is a peer that does not read: it receives what the kernel buffers and no more.
func (f *fixture) stalled(t testing.TB) *client {
	t.Helper()
	return f.stalledBy(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			err = nc.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		return nc, err
	})
}

func (f *fixture) stalledBy(t testing.TB, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *client {
	t.Helper()
	d := websocket.Dialer{Subprotocols: []string{protocol}, NetDialContext: dial}
	ws, res, err := d.DialContext(t.Context(), f.url(), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	t.Cleanup(func() { _ = ws.Close() })
	c := &client{t, ws}
	c.send(`{"type":"connection_init"}`)
	c.read()
	return c
}

func TestSlowConsumer_GapThenComplete(t *testing.T) {
	f := serve(t, Config{}, nil)
	slow, quick := f.stalled(t), f.connect(t)
	for _, id := range []string{"1", "2"} {
		slow.subscribe(id, `subscription{ticks(topic:"a"){seq text gap}}`)
	}
	quick.subscribe("1", `subscription{ticks(topic:"b"){seq}}`)
	f.subscribed(t, 3)
	text := strings.Repeat("x", 4096)
	var seq uint64
	until(t, "the slow one is given up", func() bool {
		seq++
		f.publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
		return !f.hub.HasSubscribers("a")
	})
	for range 1000 { // nothing is kept of what follows
		seq++
		f.publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
	}
	seq++
	f.publish(realtime.Event{Topic: "b", Seq: seq})
	require.Equal(t, seq, quick.tick("1").Seq, "another is not delayed")
	// it reads at last
	last, gaps, completes := map[string]uint64{}, map[string]uint64{}, 0
	for completes < 2 {
		m := slow.message()
		switch m.Type {
		case "complete":
			require.Contains(t, gaps, m.ID)
			completes++
		case "next":
			var p struct{ Data struct{ Ticks tick } }
			unmarshal(t, m.Payload, &p)
			require.NotContains(t, gaps, m.ID)
			if p.Data.Ticks.Gap != nil {
				require.Equal(t, "SLOW_CONSUMER", *p.Data.Ticks.Gap)
				require.Equal(t, last[m.ID], p.Data.Ticks.Seq, "the gap's cursor is that of the last event sent")
				gaps[m.ID] = p.Data.Ticks.Seq
				continue
			}
			require.Equal(t, last[m.ID]+1, p.Data.Ticks.Seq)
			last[m.ID]++
		default:
			t.Fatalf("unexpected %s", m.Type)
		}
	}
	// and loses nothing when it resumes
	slow.subscribe("3", fmt.Sprintf(`subscription{ticks(topic:"a", after:%d){seq}}`, gaps["1"]))
	for want := gaps["1"] + 1; want < seq; want++ {
		require.Equal(t, want, slow.tick("3").Seq)
	}
}

// The peer sends and does not read, over a Unix socket: by TCP, a peer whose receive buffer is full also drops the
// acknowledgements of what it sends, and stalls before the server has anything to keep.
func TestSlowConsumer_HardLimit(t *testing.T) {
	f := serve(t, Config{MaxOperations: 1, Outbox: outbox.Limits{Soft: 64 << 10, Hard: 256 << 10, Stall: time.Hour}}, nil)
	dir, err := os.MkdirTemp("", "cdsa") // t.TempDir is too long for a socket's path on some systems
	require.NoError(t, err)
	defer func() { require.NoError(t, os.RemoveAll(dir)) }()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	var serving sync.WaitGroup
	serving.Go(func() { _ = f.http.Config.Serve(l) })
	defer func() { require.NoError(t, l.Close()); serving.Wait() }()
	c := f.stalledBy(t, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", l.Addr().String())
	})
	c.subscribe("1", `subscription{ticks(topic:"a"){seq}}`)
	f.subscribed(t, 1)
	refused := `{"id":"` + strings.Repeat("x", 250) + `","type":"subscribe","payload":{"query":"{hello}"}}`
	frame := append([]byte{0x81, 0x80 | 126, byte(len(refused) >> 8), byte(len(refused)), 0, 0, 0, 0}, refused...)
	flood, nc, sent := bytes.Repeat(frame, 100), c.ws.NetConn(), 0
	require.NoError(t, nc.SetWriteDeadline(time.Now().Add(patience)))
	for err == nil { // such answers have no soft limit
		require.Less(t, sent, 64<<20, "the server keeps what the peer does not read")
		var n int
		n, err = nc.Write(flood)
		sent += n
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server reads on until it cuts the peer off")
	until(t, "cut off", func() bool { return f.rt.Stats().Peers == 0 })
}

func TestSlowConsumer_NoProgress(t *testing.T) {
	f := serve(t, Config{Outbox: outbox.Limits{Soft: 64 << 10, Hard: 256 << 10, Stall: 100 * time.Millisecond}}, nil)
	c := f.stalled(t)
	c.subscribe("1", `{big(n:900000)}`)
	until(t, "cut off", func() bool { return f.rt.Stats().Peers == 0 })
}

func TestSlowConsumer_BoundedMemory(t *testing.T) {
	f := serve(t, Config{}, nil)
	const peers = 20
	for range peers {
		f.stalled(t).subscribe("1", `subscription{ticks(topic:"a"){seq text}}`)
	}
	f.subscribed(t, peers)
	before := heap()
	text := strings.Repeat("x", 8<<10)
	for seq := uint64(1); seq <= 5000; seq++ { // 40 MB for each
		f.hub.Publish(realtime.Event{Topic: "a", Seq: seq, Value: text})
	}
	until(t, "all are given up", func() bool { return f.hub.Stats().Subscriptions == 0 })
	grown := int64(heap()) - int64(before)
	// soft limit, one batch beyond it, and append's slack
	require.Less(t, grown/peers, int64(2*(64<<10+16*9<<10)), "bytes for a peer that does not read")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A client that drops and resumes at any point of a stream sees every event once.
func TestResume_OverSockets(t *testing.T) {
	f := serveHub(t, Config{}, nil, realtime.HubOptions{Hold: 5})
	const total = 3000
	published := make(chan struct{})
	defer func() { <-published }()
	go func() {
		defer close(published)
		for seq := uint64(1); seq <= total; seq++ {
			f.publish(realtime.Event{Topic: "a", Seq: seq})
			if seq%50 == 0 {
				runtime.Gosched()
			}
		}
	}()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var last uint64
			for last < total {
				c := f.connect(t)
				c.subscribe("1", fmt.Sprintf(`subscription{ticks(topic:"a", after:%d){seq gap}}`, last))
				for range 1 + rand.IntN(300) {
					got := c.tick("1")
					if got.Gap != nil { // possible on a slow machine; it must name the last event
						break
					}
					if got.Seq != last+1 {
						t.Errorf("after %d came %d", last, got.Seq)
						return
					}
					if last = got.Seq; last == total {
						break
					}
				}
				_ = c.ws.Close() // dropped, not completed
			}
		})
	}
	wg.Wait()
}

// Whatever a client sends, the server answers, closes or keeps silent; it never breaks or leaks.
func TestProtocol_AnySequence(t *testing.T) {
	f := serve(t, Config{MaxOperations: 4}, nil)
	steps := []string{
		`{"type":"connection_init"}`, `{"type":"ping"}`, `{"type":"pong"}`, `{"id":"1","type":"complete"}`, `{"id":"2","type":"complete"}`,
		`{"id":"1","type":"subscribe","payload":{"query":"{hello}"}}`, `{"id":"2","type":"subscribe","payload":{"query":"subscription{ticks(topic:\"a\"){seq}}"}}`,
		`{"id":"1","type":"subscribe","payload":{"query":"{slow}"}}`, `{"id":"3","type":"subscribe","payload":{"query":"{panic}"}}`, `{"type":"nonsense"}`,
		`{"id":"4","type":"subscribe","payload":{"query":"subscription{plain(n:5)}"}}`,
	}
	seq := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		c := f.dial(t)
		if rapid.Bool().Draw(rt, "init") {
			c.send(steps[0])
		}
		for _, s := range rapid.SliceOfN(rapid.SampledFrom(steps), 0, 15).Draw(rt, "steps") {
			if c.ws.WriteMessage(websocket.TextMessage, []byte(s)) != nil {
				break
			}
			seq++
			f.hub.Publish(realtime.Event{Topic: "a", Seq: seq})
		}
		if rapid.Bool().Draw(rt, "polite") {
			_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
		}
		_ = c.ws.Close()
		for len(f.started) > 0 {
			<-f.started
		}
		for len(f.stopped) > 0 {
			<-f.stopped
		}
	})
	until(t, "all ended", func() bool { return f.rt.Stats() == Stats{} && f.hub.Stats().Subscriptions == 0 })
}
