package realtime

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// Sink is a transport's end of a subscription. The hub makes one call at a time, Cancel and Full apart, and none after
// an ending one: Gap, Complete, Fail, or a Deliver that returned false.
type Sink interface {
	// Deliver executes and sends events, in order, without waiting for the peer, and does not keep the slice. false: the
	// subscription is over.
	Deliver([]Event) bool
	// Full says that the peer is behind. The hub then ends the subscription with a gap.
	Full() bool
	// Wait returns when the peer is no longer behind; an error ends the subscription.
	Wait(context.Context) error
	// Gap sends a gap once the peer can take it, and the end after it.
	Gap(reason string, seq uint64)
	// Complete sends the end.
	Complete()
	// Fail sends the error, which is the end.
	Fail(error)
	// Cancel makes a Deliver that hangs return; it may be called beside it.
	Cancel()
}

type state uint8

const (
	live     state = iota // the worker delivers
	resuming              // a goroutine delivers stored events, the worker only keeps new ones
)

// Subscription is a place in the hub.
type Subscription struct {
	hub    *Hub
	shard  *shard
	topics []string
	replay Replay
	accept func(Event) bool
	sink   Sink
	gone   atomic.Bool
	last   uint64 // of the goroutine that delivers: the greatest Seq delivered or filtered

	mu       sync.Mutex
	state    state
	hold     []Event // while resuming
	overflow bool    // hold was too small: read again
	ending   *item   // while resuming: what ends it afterwards
}

// Join adds a subscription. From its return on, sink gets the ticket's events until Leave, the end of ctx for a
// replay, or an ending call. For transports.
func (h *Hub) Join(ctx context.Context, t *Ticket, sink Sink) *Subscription {
	sub := &Subscription{
		hub: h, shard: h.shards[h.next.Add(1)%uint32(len(h.shards))], sink: sink,
		topics: unique(t.Topics), replay: t.Replay, accept: t.Accept, last: t.After,
	}
	h.stats.subscriptions.Add(1)
	sub.mu.Lock() // a worker that already knows the subscription waits for its state
	defer sub.mu.Unlock()
	sub.shard.add(sub)
	// Position is read after joining: whatever is published later than this comes through the shard.
	if sub.replay != nil && sub.last < h.Position() {
		sub.state = resuming
		h.start(func() { sub.resume(ctx) })
	}
	return sub
}

// unique keeps a topic named twice from delivering twice.
func unique(topics []string) []string {
	var l []string
outer:
	for _, t := range topics {
		for _, have := range l {
			if have == t {
				continue outer
			}
		}
		l = append(l, t)
	}
	return l
}

// Leave ends the subscription without a word to its sink, which may still be in a call. It is idempotent.
func (sub *Subscription) Leave() {
	if sub.gone.Swap(true) {
		return
	}
	sub.hub.stats.subscriptions.Add(-1)
	sub.shard.remove(sub)
	sub.mu.Lock()
	sub.hold = nil
	sub.mu.Unlock()
}

// take says whether the worker is to deliver; while resuming it keeps the batch for later.
func (sub *Subscription) take(batch []Event) bool {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state == live {
		return true
	}
	switch {
	case sub.gone.Load() || sub.overflow:
	case len(sub.hold)+len(batch) > sub.hub.opt.Hold:
		sub.overflow, sub.hold = true, nil
	default:
		sub.hold = append(sub.hold, batch...)
	}
	return false
}

// postpone keeps an end until a resuming subscription has had what came before it.
func (sub *Subscription) postpone(it item) bool {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state == live {
		return false
	}
	if sub.ending == nil {
		sub.ending = &it
	}
	return true
}

// filter gives what of events is new and accepted, in scratch if not all is, and moves last on.
func (sub *Subscription) filter(events []Event, scratch *[]Event) []Event {
	out, all := (*scratch)[:0], true
	for i, e := range events {
		fresh := e.Seq == 0 || e.Seq > sub.last
		if fresh && e.Seq != 0 {
			sub.last = e.Seq
		}
		if fresh && (sub.accept == nil || sub.accept(e)) {
			if !all {
				out = append(out, e)
			}
			continue
		}
		if all {
			all = false
			out = append(out, events[:i]...)
		}
	}
	*scratch = out
	if all {
		return events
	}
	return out
}

func (sub *Subscription) finish(it item) {
	if it.kind == itemGap {
		sub.gap(it.reason, it.event.Seq)
		return
	}
	sub.Leave()
	sub.sink.Complete()
}

func (sub *Subscription) gap(reason string, seq uint64) {
	sub.hub.stats.gaps.Add(1)
	sub.Leave()
	sub.sink.Gap(reason, seq)
}

// errGone ends a resume whose subscription has ended.
var errGone = errors.New("realtime: the subscription has ended")

// resume replays what is stored and hands over to the worker.
func (sub *Subscription) resume(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(sub.hub.ctx, cancel)()
	defer func() {
		if r := recover(); r != nil {
			sub.panicked(r)
		}
	}()
	err := sub.catchUp(ctx)
	switch {
	case err == nil, errors.Is(err, errGone), ctx.Err() != nil:
		if err != nil {
			sub.Leave()
		}
	case errors.Is(err, ErrCursorExpired):
		sub.gap(CursorExpired, sub.hub.Position())
	default:
		sub.Leave()
		sub.sink.Fail(err)
	}
}

// catchUp returns nil when the worker has taken over, or the subscription was ended in order.
func (sub *Subscription) catchUp(ctx context.Context) error {
	for {
		if err := sub.readStored(ctx, sub.hub.Position()); err != nil {
			return err
		}
		for {
			events, again, end := sub.handOver()
			if end != nil {
				sub.finish(*end)
				return nil
			}
			if again {
				sub.hub.stats.rereads.Add(1)
				break
			}
			if events == nil {
				return nil
			}
			if err := sub.send(ctx, events); err != nil {
				return err
			}
		}
	}
}

// handOver makes the subscription live if nothing is left to do. Otherwise it gives the kept events, or says to read
// again, or gives what ends it.
func (sub *Subscription) handOver() (events []Event, again bool, end *item) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	switch {
	case sub.overflow:
		sub.overflow = false
		return nil, true, nil
	case len(sub.hold) > 0:
		events, sub.hold = sub.hold, nil
		return events, false, nil
	case sub.ending != nil: // it stays resuming, so that the worker keeps off
		return nil, false, sub.ending
	}
	sub.state = live
	return nil, false, nil
}

// replayChunk is how many stored events are read before they are delivered: a slow peer holds them, not a reader.
const replayChunk = 256

func (sub *Subscription) readStored(ctx context.Context, upto uint64) error {
	for sub.last < upto {
		events, done, err := sub.read(ctx, upto)
		if err != nil {
			return err
		}
		if err := sub.send(ctx, events); err != nil {
			return err
		}
		sub.hub.stats.replayed.Add(uint64(len(events)))
		if done {
			sub.last = max(sub.last, upto)
		}
	}
	return nil
}

// read gives the next stored events up to upto, done when there are no more.
func (sub *Subscription) read(ctx context.Context, upto uint64) (events []Event, done bool, err error) {
	select {
	case sub.hub.replays <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	defer func() { <-sub.hub.replays }()
	for e, err := range sub.replay(ctx, sub.last, upto) {
		if err != nil {
			return nil, false, err
		}
		if e.Seq <= sub.last || e.Seq > upto {
			continue
		}
		if events = append(events, e); len(events) == replayChunk {
			return events, false, nil
		}
	}
	return events, true, ctx.Err()
}

// send delivers while resuming: it waits for the peer instead of ending with a gap, as what is stored can wait.
func (sub *Subscription) send(ctx context.Context, events []Event) error {
	var scratch []Event
	for len(events) > 0 {
		if sub.gone.Load() {
			return errGone
		}
		if err := sub.sink.Wait(ctx); err != nil {
			return errGone
		}
		n := min(len(events), maxBatch)
		last := slices.IndexFunc(events[:n], func(e Event) bool { return e.Last })
		if last >= 0 {
			n = last
		}
		if evs := sub.filter(events[:n], &scratch); len(evs) > 0 {
			sub.hub.stats.delivered.Add(uint64(len(evs)))
			if !sub.sink.Deliver(evs) {
				return errGone
			}
		}
		if last >= 0 {
			sub.finish(item{kind: itemComplete})
			return errGone
		}
		events = events[n:]
	}
	return nil
}
