//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/fact"
)

const (
	subscribers     = 1_000
	idleSubscribers = 5_000
	// idleTime is when a server without work has given back what work needed: it does so every 20 s.
	idleTime     = 25 * time.Second
	burst        = 20 // events that are committed together: the relay finds them by its next look
	fanoutBursts = 6  // a slice
	fanoutPairs  = 4
	dialers      = 32 // connections being opened at once
	subscription = `subscription { documentEvents { cursor status progress document { id title status } } }`
)

// fleet is open websockets that count what they are sent.
type fleet struct {
	conns    []*websocket.Conn
	received atomic.Int64
	wrong    atomic.Pointer[error]
	sample   atomic.Pointer[[]byte] // one frame's text
	progress chan struct{}          // capacity 1
}

func (f *fleet) close() {
	for _, c := range f.conns {
		_ = c.Close() // the other side learns it by the reset
	}
}

// open connects n sockets; greet makes the i-th ready to receive.
func open(ctx context.Context, n int, url, must string, greet func(i int, ws *websocket.Conn) error) (*fleet, error) {
	f := &fleet{progress: make(chan struct{}, 1), conns: make([]*websocket.Conn, 0, n)}
	d := websocket.Dialer{Subprotocols: []string{"graphql-transport-ws"}, ReadBufferSize: 512, WriteBufferSize: 512, HandshakeTimeout: 20 * time.Second}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	turn := make(chan struct{}, dialers)
	for i := range n {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			ws, res, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(url, "http"), http.Header{})
			if err == nil {
				_ = res.Body.Close()
				err = greet(i, ws)
			}
			mu.Lock()
			defer mu.Unlock()
			if ws != nil {
				f.conns = append(f.conns, ws)
			}
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	if failed != nil {
		f.close()
		return nil, failed
	}
	for _, ws := range f.conns {
		go f.read(ws, []byte(must))
	}
	return f, nil
}

// read counts frames until the connection ends. Every frame must hold must.
func (f *fleet) read(ws *websocket.Conn, must []byte) {
	for {
		_, b, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if bytes.Contains(b, []byte(`"type":"ping"`)) {
			continue
		}
		if !bytes.Contains(b, must) {
			err := fmt.Errorf("a subscriber received %.300s", b)
			f.wrong.CompareAndSwap(nil, &err)
		}
		if f.sample.Load() == nil {
			f.sample.Store(&b)
		}
		f.received.Add(1)
		select {
		case f.progress <- struct{}{}:
		default:
		}
	}
}

// until waits for the total of received frames, and for none beyond it.
func (f *fleet) until(ctx context.Context, total int64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if err := f.wrong.Load(); err != nil {
			return *err
		}
		switch n := f.received.Load(); {
		case n == total:
			return nil
		case n > total:
			return fmt.Errorf("%d deliveries where %d were due", n, total)
		}
		select {
		case <-f.progress:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d deliveries came: %w", f.received.Load(), total, ctx.Err())
		}
	}
}

// subscribe opens n subscriptions at the server, as everybody in turn.
func (r *rig) subscribe(ctx context.Context, n int, tokens []string, must string) (*fleet, error) {
	return open(ctx, n, r.server.url+"/graphql", must, func(i int, ws *websocket.Conn) error {
		if err := ws.WriteJSON(map[string]any{"type": "connection_init", "payload": map[string]any{"Authorization": "Bearer " + tokens[i%len(tokens)]}}); err != nil {
			return err
		}
		if _, b, err := ws.ReadMessage(); err != nil || !bytes.Contains(b, []byte(`"connection_ack"`)) {
			return errors.Join(err, fmt.Errorf("instead of an acknowledgement: %.200s", b))
		}
		return ws.WriteJSON(map[string]any{"type": "subscribe", "id": fmt.Sprintf("5f0c6c54-0f7d-4d55-8f37-%012d", i), "payload": map[string]any{"query": subscription}})
	})
}

// fanOut measures deliveries of events to subscribers.
func (r *rig) fanOut(ctx context.Context, w *world, tokens []string) (result, error) {
	res := result{workload: workload{name: "fan-out", what: fmt.Sprintf("one event to %d websocket subscribers of %d people; deliveries", subscribers, people), mark: 0.50}}
	must := `"document":{"id":"` + w.document.String() + `"`
	subs, err := r.subscribe(ctx, subscribers, tokens, must)
	if err != nil {
		return res, err
	}
	defer subs.close()
	if err := r.settle(ctx, subs, w); err != nil {
		return res, fmt.Errorf("the first event: %w", err)
	}
	plain, err := open(ctx, subscribers, r.floor.url+"/socket", must, func(int, *websocket.Conn) error { return nil })
	if err != nil {
		return res, err
	}
	defer plain.close()
	frame := *subs.sample.Load()
	fire := [2]func() error{
		func() error {
			var buf bytes.Buffer
			answer, err := post(ctx, r.floor.url, call{path: fmt.Sprintf("/broadcast?times=%d", burst), body: frame}, &buf)
			if err == nil && string(answer) != fmt.Sprint(burst*subscribers) {
				err = fmt.Errorf("the floor sent %s", answer)
			}
			return err
		},
		func() error { return r.publish(ctx, w, burst) },
	}
	fleets, pids := [2]*fleet{plain, subs}, [2]int{r.floor.pid(), r.server.pid()}
	for pair := range fanoutPairs {
		var now [2]tally
		for _, side := range [2][2]int{{floorSide, serverSide}, {serverSide, floorSide}}[pair%2] {
			p0, d0, err := r.clocks([]int{pids[side]})
			if err != nil {
				return res, err
			}
			for range fanoutBursts * (1 + 3*(1-side)) { // the floor is faster: longer slices keep the clock's ticks small
				due := fleets[side].received.Load() + burst*subscribers
				if err := fire[side](); err != nil {
					return res, err
				}
				if err := fleets[side].until(ctx, due); err != nil {
					return res, err
				}
				now[side].calls += burst * subscribers
			}
			p1, d1, err := r.clocks([]int{pids[side]})
			if err != nil {
				return res, err
			}
			now[side].process, now[side].data = p1-p0, d1-d0
			res.sides[side].calls += now[side].calls
			res.sides[side].process += now[side].process
			res.sides[side].data += now[side].data
		}
		res.pairs = append(res.pairs, now[serverSide].rate()/now[floorSide].rate())
	}
	return res, nil
}

// publish commits n events to the outbox, as a service would in its transaction.
func (r *rig) publish(ctx context.Context, w *world, n int) error {
	payload := body(fact.Document{Status: enum.DocumentStatusIndexed, Document: w.document, Progress: 1})
	_, err := r.db.Exec(ctx, `INSERT INTO outbox (subject, payload) SELECT $1, $2 FROM generate_series(1, $3)`, fact.Documents, payload, n)
	return err
}

// settle publishes until every subscriber has been reached: subscribing is acknowledged by nothing else.
func (r *rig) settle(ctx context.Context, f *fleet, w *world) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		before := f.received.Load()
		if err := r.publish(ctx, w, 1); err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return fmt.Errorf("%d of %d subscribers were reached: %w", f.received.Load()-before, len(f.conns), err)
		}
		if f.received.Load()-before == int64(len(f.conns)) {
			return nil
		}
	}
}

// memory is what processes hold.
type memory struct {
	idle          int64 // bytes, of a server that nobody calls
	perConnection int64 // bytes, of a websocket with one idle subscription
}

// idleSubscriptions measures the memory of connections on a fresh server.
func (r *rig) idleSubscriptions(ctx context.Context, tokens []string, w *world) (int64, error) {
	if err := pause(ctx, idleTime); err != nil {
		return 0, err
	}
	before, err := rss(r.server.pid())
	if err != nil {
		return 0, err
	}
	subs, err := r.subscribe(ctx, idleSubscribers, tokens, w.document.String())
	if err != nil {
		return 0, err
	}
	defer subs.close()
	if err := r.settle(ctx, subs, w); err != nil { // all of them are there, and have been used once
		return 0, err
	}
	if err := pause(ctx, idleTime); err != nil {
		return 0, err
	}
	after, err := rss(r.server.pid())
	return (after - before) / idleSubscribers, err
}
