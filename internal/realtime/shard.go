package realtime

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxBatch is how many waiting events of a topic a subscriber gets at once, to be joined in one write.
const maxBatch = 16

type itemKind uint8

const (
	itemEvent itemKind = iota
	itemComplete
	itemGap
)

// item is what waits for a worker. Ends travel in the same queue as data, hence after it.
type item struct {
	kind   itemKind
	event  Event
	reason string
}

// topic lists its subscriptions. The slice is only appended to or replaced, so a worker may walk it without the lock.
type topic struct {
	subs []*Subscription
	dead int
}

// shard is a worker with its queue and its share of the subscriptions.
type shard struct {
	hub     *Hub
	queue   chan item
	mu      sync.RWMutex
	topics  map[string]*topic
	scratch []Event // the worker's

	current atomic.Pointer[Subscription] // being delivered to
	since   atomic.Int64                 // Unix ns
}

func (s *shard) has(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.topics[name] != nil
}

func (s *shard) add(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range sub.topics {
		t := s.topics[name]
		if t == nil {
			t = &topic{}
			s.topics[name] = t
		}
		t.subs = append(t.subs, sub)
	}
}

// remove forgets a subscription that is marked gone. A quarter of gone ones is kept at most, which makes leaving
// constant work on average.
func (s *shard) remove(sub *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range sub.topics {
		t := s.topics[name]
		if t == nil {
			continue
		}
		t.dead++
		if t.dead*4 < len(t.subs) {
			continue
		}
		live := make([]*Subscription, 0, len(t.subs)-t.dead)
		for _, x := range t.subs {
			if !x.gone.Load() {
				live = append(live, x)
			}
		}
		t.subs, t.dead = live, 0
		if len(live) == 0 {
			delete(s.topics, name)
		}
	}
}

func (s *shard) subscribers(name string) []*Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics[name]; t != nil {
		return t.subs
	}
	return nil
}

func (s *shard) all() []*Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var l []*Subscription
	for _, t := range s.topics {
		l = append(l, t.subs...)
	}
	return l
}

// work delivers until the hub is closed. Events of one topic that wait together are delivered together.
func (s *shard) work() {
	batch := make([]Event, 0, maxBatch)
	for {
		var it item
		select {
		case it = <-s.queue:
		case <-s.hub.ctx.Done():
			return
		}
		for more := true; more; {
			if it.kind != itemEvent {
				s.end(it)
				break
			}
			batch = append(batch[:0], it.event)
			it, more = s.fill(&batch)
			for _, sub := range s.subscribers(batch[0].Topic) {
				s.deliver(sub, batch)
			}
			clear(batch)
		}
	}
}

// fill adds what waits and is of the batch's topic. It gives the first item that is not, if there is one.
func (s *shard) fill(batch *[]Event) (item, bool) {
	for len(*batch) < maxBatch {
		select {
		case x := <-s.queue:
			if x.kind != itemEvent || x.event.Topic != (*batch)[0].Topic {
				return x, true
			}
			*batch = append(*batch, x.event)
		default:
			return item{}, false
		}
	}
	return item{}, false
}

// end carries out a complete or gap for those it concerns.
func (s *shard) end(it item) {
	subs := s.subscribers(it.event.Topic)
	if it.kind == itemGap {
		subs = s.all()
	}
	for _, sub := range subs {
		if sub.gone.Load() {
			continue
		}
		if sub.postpone(it) {
			continue
		}
		s.guard(sub, func() { sub.finish(it) })
	}
}

// deliver gives one subscription what it has not had of the batch.
func (s *shard) deliver(sub *Subscription, batch []Event) {
	if sub.gone.Load() || !sub.take(batch) {
		return
	}
	s.guard(sub, func() {
		if sub.sink.Full() {
			sub.gap(SlowConsumer, sub.last)
			return
		}
		evs := sub.filter(batch, &s.scratch)
		if len(evs) > 0 {
			s.hub.stats.delivered.Add(uint64(len(evs)))
			if !sub.sink.Deliver(evs) {
				sub.Leave()
			}
		}
		clear(s.scratch)
	})
}

// guard runs f for sub under the eye of the watch; a panic of a resolver's function ends this subscription only.
func (s *shard) guard(sub *Subscription, f func()) {
	s.since.Store(time.Now().UnixNano())
	s.current.Store(sub)
	defer func() {
		s.current.Store(nil)
		if r := recover(); r != nil {
			sub.panicked(r)
		}
	}()
	f()
}

func (s *shard) unstall(now time.Time) {
	sub := s.current.Load()
	if sub == nil || now.UnixNano()-s.since.Load() < int64(s.hub.opt.Stall) {
		return
	}
	if s.current.CompareAndSwap(sub, nil) { // once for each stall
		s.hub.stats.stalls.Add(1)
		s.hub.opt.Log.Warn("subscription held its worker too long", "topic_count", len(sub.topics))
		sub.sink.Cancel()
	}
}

// panicked ends a subscription whose functions panicked. The value may hold anything and is not logged.
func (sub *Subscription) panicked(r any) {
	sub.hub.opt.Log.Error("panic in a subscription", "type", fmt.Sprintf("%T", r))
	sub.Leave()
	sub.sink.Fail(fmt.Errorf("panic of type %T in a subscription", r))
}
