package realtime

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// HubOptions size a hub; zero values are the defaults.
type HubOptions struct {
	Shards  int           // workers; default twice the processors, as an execution may wait for a database
	Queue   int           // events waiting for a worker before Publish waits; default 256
	Hold    int           // events kept for a subscription while it replays; default 256
	Replays int           // subscriptions reading stored events at once; default 32
	Stall   time.Duration // a subscription that holds its worker longer is ended; default 10 s
	Log     *slog.Logger  // default slog.Default()
}

// Hub delivers published events to the subscriptions of their topics. Make it with NewHub, end it with Close.
type Hub struct {
	opt     HubOptions
	shards  []*shard
	next    atomic.Uint32
	pos     atomic.Uint64
	replays chan struct{} // a slot for each subscription reading stored events

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed against the start of goroutines
	closed bool
	wg     sync.WaitGroup

	stats counters
}

type counters struct {
	subscriptions                                         atomic.Int64
	published, delivered, gaps, replayed, rereads, stalls atomic.Uint64
}

// Stats counts since the hub was made, Subscriptions apart, which is now.
type Stats struct {
	Subscriptions int64
	Published     uint64 // events
	Delivered     uint64 // events times subscribers, filtered ones apart
	Gaps          uint64 // subscriptions ended by a gap
	Replayed      uint64 // stored events delivered
	Rereads       uint64 // times a resuming subscription missed too much and read again
	Stalls        uint64 // subscriptions ended for holding their worker
}

// NewHub makes a hub and starts its workers.
func NewHub(o HubOptions) *Hub {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.Shards, max(4, 2*runtime.GOMAXPROCS(0)))
	def(&o.Queue, 256)
	def(&o.Hold, 256)
	def(&o.Replays, 32)
	if o.Stall <= 0 {
		o.Stall = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	h := &Hub{opt: o, replays: make(chan struct{}, o.Replays)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	for range o.Shards {
		s := &shard{hub: h, queue: make(chan item, o.Queue), topics: map[string]*topic{}}
		h.shards = append(h.shards, s)
		h.wg.Go(s.work)
	}
	h.wg.Go(h.watch)
	return h
}

// Close stops the workers and replays and waits for them. What is queued is not delivered: subscribers resume. It is
// idempotent; the transports are to be closed before.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
}

// start runs f unless the hub is closed.
func (h *Hub) start(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Go(f)
	}
}

// Position is the greatest sequence published or advanced to.
func (h *Hub) Position() uint64 { return h.pos.Load() }

// Advance tells the hub that the bus has reached seq. A publisher that asks HasSubscribers before it makes an event's
// value must Advance first: a subscription that joins between the two then replays the event instead of missing it.
func (h *Hub) Advance(seq uint64) {
	for {
		old := h.pos.Load()
		if seq <= old || h.pos.CompareAndSwap(old, seq) {
			return
		}
	}
}

// HasSubscribers says whether a subscription has joined the topic.
func (h *Hub) HasSubscribers(topic string) bool {
	for _, s := range h.shards {
		if s.has(topic) {
			return true
		}
	}
	return false
}

// Publish hands e to the subscriptions of its topic and returns without waiting for them, unless a queue is full; the
// last of a topic ends them. It is to be called by one goroutine, with rising Seq: the bus's consumer.
func (h *Hub) Publish(e Event) {
	h.Advance(e.Seq) // before the look for subscribers; see Advance
	h.stats.published.Add(1)
	if e.Last {
		h.Complete(e.Topic)
		return
	}
	for _, s := range h.shards {
		if s.has(e.Topic) {
			h.enqueue(s, item{event: e})
		}
	}
}

// Complete ends the topic's subscriptions after what was published before.
func (h *Hub) Complete(topic string) {
	for _, s := range h.shards {
		if s.has(topic) {
			h.enqueue(s, item{kind: itemComplete, event: Event{Topic: topic}})
		}
	}
}

// Gap ends every subscription with a gap, after what was published before: the bus lost events.
func (h *Hub) Gap(reason string) {
	for _, s := range h.shards {
		h.enqueue(s, item{kind: itemGap, reason: reason, event: Event{Seq: h.Position()}})
	}
}

func (h *Hub) enqueue(s *shard, it item) {
	select {
	case s.queue <- it:
	case <-h.ctx.Done():
	}
}

// Stats gives the hub's figures, for metrics.
func (h *Hub) Stats() Stats {
	return Stats{
		Subscriptions: h.stats.subscriptions.Load(), Published: h.stats.published.Load(), Delivered: h.stats.delivered.Load(),
		Gaps: h.stats.gaps.Load(), Replayed: h.stats.replayed.Load(), Rereads: h.stats.rereads.Load(), Stalls: h.stats.stalls.Load(),
	}
}

// watch ends what holds a worker for too long, or one subscription would keep its shard from all others.
func (h *Hub) watch() {
	t := time.NewTicker(h.opt.Stall / 4)
	defer t.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case now := <-t.C:
			for _, s := range h.shards {
				s.unstall(now)
			}
		}
	}
}
