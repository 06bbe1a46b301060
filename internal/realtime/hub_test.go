package realtime

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/errs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a Sink that writes down what it is told, and complains about overlapping calls.
type recorder struct {
	mu      sync.Mutex
	busy    bool
	overlap bool
	seqs    []uint64
	end     string
	full    bool
	cancels int
	changed chan struct{}
	deliver func([]Event) bool
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{}, 1)} }

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *recorder) Deliver(evs []Event) bool {
	r.note(func() { r.overlap = r.overlap || r.busy; r.busy = true })
	ok := true
	if r.deliver != nil {
		ok = r.deliver(evs)
	}
	r.note(func() {
		r.busy = false
		for _, e := range evs {
			r.seqs = append(r.seqs, e.Seq)
		}
	})
	return ok
}
func (r *recorder) Full() bool                     { r.mu.Lock(); defer r.mu.Unlock(); return r.full }
func (r *recorder) Wait(ctx context.Context) error { return ctx.Err() }
func (r *recorder) Gap(reason string, seq uint64) {
	r.note(func() { r.end = fmt.Sprintf("gap %s %d", reason, seq) })
}
func (r *recorder) Complete()      { r.note(func() { r.end = "complete" }) }
func (r *recorder) Fail(err error) { r.note(func() { r.end = "fail " + err.Error() }) }
func (r *recorder) Cancel()        { r.note(func() { r.cancels++ }) }

// until waits until ok holds.
func (r *recorder) until(t testing.TB, ok func(*recorder) bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		done := ok(r)
		r.mu.Unlock()
		if done {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("not in time: %d events %v, end %q", len(r.seqs), r.seqs[max(0, len(r.seqs)-5):], r.end)
		}
	}
}

func (r *recorder) has(seqs ...uint64) func(*recorder) bool {
	return func(r *recorder) bool { return slices.Equal(r.seqs, seqs) }
}

func ended(end string) func(*recorder) bool {
	return func(r *recorder) bool { return r.end == end }
}

// store keeps published events, as the bus does.
type store struct {
	mu      sync.Mutex
	events  []Event
	expired uint64 // events up to this are gone
}

func (s *store) add(e Event) { s.mu.Lock(); s.events = append(s.events, e); s.mu.Unlock() }

func (s *store) replay(topics ...string) Replay {
	return func(_ context.Context, after, upto uint64) iter.Seq2[Event, error] {
		return func(yield func(Event, error) bool) {
			s.mu.Lock()
			events, expired := s.events, s.expired
			s.mu.Unlock()
			if after < expired {
				yield(Event{}, ErrCursorExpired)
				return
			}
			for _, e := range events {
				if e.Seq > after && e.Seq <= upto && slices.Contains(topics, e.Topic) && !yield(e, nil) {
					return
				}
			}
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newHub(t testing.TB, o HubOptions) *Hub {
	o.Log = quiet()
	h := NewHub(o)
	t.Cleanup(h.Close)
	return h
}

func TestHub_DeliversInOrder(t *testing.T) {
	h := newHub(t, HubOptions{})
	var rs []*recorder
	for range 20 {
		r := newRecorder()
		rs = append(rs, r)
		h.Join(t.Context(), &Ticket{Topics: []string{"a", "b", "a"}, Accept: func(e Event) bool { return e.Seq%5 != 0 }}, r)
	}
	require.True(t, h.HasSubscribers("a"))
	require.False(t, h.HasSubscribers("c"))
	var want []uint64
	for i := uint64(1); i <= 500; i++ {
		topic := []string{"a", "b", "c"}[i%3]
		if topic != "c" && i%5 != 0 {
			want = append(want, i)
		}
		h.Publish(Event{Topic: topic, Seq: i})
	}
	h.Complete("b")
	for _, r := range rs {
		r.until(t, ended("complete"))
		require.Equal(t, want, r.seqs)
		require.False(t, r.overlap)
	}
	require.Equal(t, uint64(500), h.Position())
	require.False(t, h.HasSubscribers("a"), "complete leaves all topics")
	require.Zero(t, h.Stats().Subscriptions)
}

func TestHub_SkipsWhatIsNotAfter(t *testing.T) {
	h := newHub(t, HubOptions{})
	r := newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}, After: 7}, r)
	for i := range uint64(10) {
		h.Publish(Event{Topic: "a", Seq: i + 1})
	}
	h.Publish(Event{Topic: "a"}) // unnumbered
	r.until(t, r.has(8, 9, 10, 0))
}

func TestHub_LeaveStopsAndForgets(t *testing.T) {
	h := newHub(t, HubOptions{Shards: 1})
	var subs []*Subscription
	rs := make([]*recorder, 40)
	for i := range rs {
		rs[i] = newRecorder()
		subs = append(subs, h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, rs[i]))
	}
	for i := range 30 {
		subs[i].Leave()
		subs[i].Leave()
	}
	require.Equal(t, int64(10), h.Stats().Subscriptions)
	require.LessOrEqual(t, len(h.shards[0].topics["a"].subs), 13, "the gone ones are dropped")
	h.Publish(Event{Topic: "a", Seq: 1})
	rs[39].until(t, rs[39].has(1))
	require.Empty(t, rs[0].seqs)
	for _, s := range subs {
		s.Leave()
	}
	require.False(t, h.HasSubscribers("a"))
}

func TestHub_SlowConsumerGetsGap(t *testing.T) {
	h := newHub(t, HubOptions{})
	r := newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, r)
	h.Publish(Event{Topic: "a", Seq: 3})
	r.until(t, r.has(3))
	r.note(func() { r.full = true })
	h.Publish(Event{Topic: "a", Seq: 5})
	r.until(t, ended("gap SLOW_CONSUMER 3"))
	h.Publish(Event{Topic: "a", Seq: 6})
	require.False(t, h.HasSubscribers("a"))
	require.Equal(t, []uint64{3}, r.seqs)
	require.Equal(t, uint64(1), h.Stats().Gaps)
}

func TestHub_GapEndsAll(t *testing.T) {
	h := newHub(t, HubOptions{})
	a, b := newRecorder(), newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a", "x"}}, a)
	h.Join(t.Context(), &Ticket{Topics: []string{"b"}}, b)
	h.Publish(Event{Topic: "a", Seq: 9})
	h.Gap(CursorExpired)
	a.until(t, ended("gap CURSOR_EXPIRED 9"))
	b.until(t, ended("gap CURSOR_EXPIRED 9"))
	require.Equal(t, []uint64{9}, a.seqs)
}

func TestHub_PanicEndsOneSubscription(t *testing.T) {
	h := newHub(t, HubOptions{Shards: 1})
	bad, good := newRecorder(), newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}, Accept: func(Event) bool { panic("secret") }}, bad)
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, good)
	h.Publish(Event{Topic: "a", Seq: 1})
	good.until(t, good.has(1))
	bad.until(t, ended("fail panic of type string in a subscription"))
}

func TestHub_StallIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(HubOptions{Shards: 1, Stall: 10 * time.Second, Log: quiet()})
		defer h.Close()
		hung, other := newRecorder(), newRecorder()
		release := make(chan struct{})
		hung.deliver = func([]Event) bool { <-release; return false }
		h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, hung)
		h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, other)
		h.Publish(Event{Topic: "a", Seq: 1})
		cancels := func(after time.Duration) int {
			<-time.After(after) // synctest's clock
			synctest.Wait()
			hung.mu.Lock()
			defer hung.mu.Unlock()
			return hung.cancels
		}
		require.Zero(t, cancels(9*time.Second))
		require.Equal(t, 1, cancels(20*time.Second), "once")
		require.Equal(t, uint64(1), h.Stats().Stalls)
		close(release)
		synctest.Wait()
		other.until(t, other.has(1))
	})
}

func TestHub_Close(t *testing.T) {
	h := NewHub(HubOptions{Shards: 1, Queue: 1, Log: quiet()})
	r := newRecorder()
	release, in := make(chan struct{}), make(chan struct{}, 100)
	r.deliver = func([]Event) bool { in <- struct{}{}; <-release; return true }
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, r)
	blocked := make(chan struct{})
	go func() {
		for i := range uint64(100) {
			h.Publish(Event{Topic: "a", Seq: i + 1})
		}
		close(blocked)
	}()
	<-in
	closed := make(chan struct{})
	go func() { h.Close(); close(closed) }()
	<-blocked // Close frees the publisher
	select {
	case <-closed:
		t.Fatal("Close did not wait for the worker")
	default:
	}
	close(release)
	<-closed
	h.Close()
	h.Publish(Event{Topic: "a", Seq: 1000})
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}, Replay: (&store{}).replay("a")}, r).Leave()
}

func TestResume_Expired(t *testing.T) {
	h := newHub(t, HubOptions{})
	s := &store{expired: 5}
	h.Advance(10)
	r := newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}, After: 4, Replay: s.replay("a")}, r)
	r.until(t, ended("gap CURSOR_EXPIRED 10"))
}

func TestResume_Failure(t *testing.T) {
	h := newHub(t, HubOptions{})
	h.Advance(10)
	r := newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}, Replay: func(context.Context, uint64, uint64) iter.Seq2[Event, error] {
		return func(yield func(Event, error) bool) { yield(Event{}, errors.New("bus is down")) }
	}}, r)
	r.until(t, ended("fail bus is down"))
	require.Zero(t, h.Stats().Subscriptions)
}

// What is published while the stored events are read is kept, or read again when it is too much; the end comes last.
func TestResume_LiveEventsAndEndDuringReplay(t *testing.T) {
	for _, during := range []uint64{3, 100} {
		t.Run(fmt.Sprint(during), func(t *testing.T) {
			h := newHub(t, HubOptions{Hold: 10, Shards: 1})
			s := &store{}
			var want []uint64
			put := func(seq uint64) {
				e := Event{Topic: "a", Seq: seq}
				want = append(want, seq)
				s.add(e)
				h.Publish(e)
			}
			for i := range uint64(20) {
				put(i + 1)
			}
			reading, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			stored := s.replay("a")
			r := newRecorder()
			h.Join(t.Context(), &Ticket{Topics: []string{"a"}, After: 5, Replay: func(ctx context.Context, after, upto uint64) iter.Seq2[Event, error] {
				once.Do(func() { close(reading); <-goOn })
				return stored(ctx, after, upto)
			}}, r)
			<-reading
			for i := range during {
				put(21 + i)
			}
			h.Complete("a")
			other := newRecorder() // its end is behind the first in the one queue
			h.Join(t.Context(), &Ticket{Topics: []string{"b"}}, other)
			h.Complete("b")
			other.until(t, ended("complete"))
			close(goOn)
			r.until(t, ended("complete"))
			require.Equal(t, want[5:], r.seqs)
			require.False(t, r.overlap)
		})
	}
}

// A topic's last event is not shown: it completes those who listen, and those who come for what was before it.
func TestHub_Last(t *testing.T) {
	h := newHub(t, HubOptions{})
	s := &store{}
	live, elsewhere := newRecorder(), newRecorder()
	h.Join(t.Context(), &Ticket{Topics: []string{"a"}}, live)
	h.Join(t.Context(), &Ticket{Topics: []string{"b"}}, elsewhere)
	for _, e := range []Event{{Topic: "a", Seq: 1}, {Topic: "a", Seq: 2}, {Topic: "a", Seq: 3, Last: true}, {Topic: "a", Seq: 4}, {Topic: "b", Seq: 5}} {
		s.add(e)
		h.Publish(e)
	}
	live.until(t, ended("complete"))
	require.Equal(t, []uint64{1, 2}, live.seqs)
	elsewhere.until(t, elsewhere.has(5))
	for after, want := range [][]uint64{{1, 2}, {2}, nil} {
		r := newRecorder()
		h.Join(t.Context(), &Ticket{Topics: []string{"a"}, After: uint64(after), Replay: s.replay("a")}, r)
		r.until(t, ended("complete"))
		require.Equal(t, want, r.seqs)
	}
	require.EqualValues(t, 1, h.Stats().Subscriptions)
}

// However publishing and resuming interleave: no gap, no duplicate, in order.
func TestResume_Property(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Uint64Range(1, 400).Draw(rt, "events")
		hold := rapid.IntRange(1, 40).Draw(rt, "hold")
		joins := rapid.SliceOfN(rapid.Uint64Range(0, n), 1, 12).Draw(rt, "joinAt")
		seed := rapid.Uint64().Draw(rt, "seed")
		h := NewHub(HubOptions{Hold: hold, Queue: 8, Log: quiet()})
		defer h.Close()
		s := &store{}
		rng := rand.New(rand.NewPCG(seed, 1))
		topics := []string{"a", "b", "c"}
		published := make([]Event, 0, n)
		for seq := uint64(1); seq <= n; seq++ {
			published = append(published, Event{Topic: topics[rng.IntN(3)], Seq: seq})
		}
		at := make([]chan struct{}, n+1)
		for i := range at {
			at[i] = make(chan struct{})
		}
		var wg sync.WaitGroup
		type joined struct {
			r     *recorder
			after uint64
		}
		subs := make([]joined, len(joins))
		for i, j := range joins {
			after := rng.Uint64N(n + 1)
			subs[i] = joined{newRecorder(), after}
			wg.Go(func() {
				<-at[j]
				h.Join(t.Context(), &Ticket{Topics: []string{"a", "b"}, After: after, Replay: s.replay("a", "b")}, subs[i].r)
			})
		}
		close(at[0])
		for i, e := range published {
			s.add(e)
			h.Advance(e.Seq)
			if h.HasSubscribers(e.Topic) { // as the bus's consumer does
				h.Publish(e)
			}
			close(at[i+1])
		}
		wg.Wait()
		for i, sub := range subs {
			var want []uint64
			for _, e := range published {
				if e.Topic != "c" && e.Seq > sub.after {
					want = append(want, e.Seq)
				}
			}
			sub.r.until(t, func(r *recorder) bool { return len(r.seqs) >= len(want) })
			sub.r.mu.Lock()
			if !slices.Equal(want, sub.r.seqs) || sub.r.overlap || sub.r.end != "" {
				rt.Fatalf("subscription %d after %d: want %v, got %v, end %q, overlap %v", i, sub.after, want, sub.r.seqs, sub.r.end, sub.r.overlap)
			}
			sub.r.mu.Unlock()
		}
	})
}

func TestSubscribe_WithoutTransport(t *testing.T) {
	_, err := Subscribe(t.Context(), Options{}, func(Event) (int, bool) { return 0, true }, nil)
	require.True(t, errs.Is(err, errs.FailedPrecondition))
}

func TestSubscribe_FillsTicket(t *testing.T) {
	tk := &Ticket{Position: 42}
	ctx := WithTicket(t.Context(), tk)
	ch, err := Subscribe(ctx, Options{Topics: []string{"a"}}, func(e Event) (uint64, bool) { return e.Seq, e.Seq > 1 },
		func(_ string, seq uint64) (uint64, bool) { return seq * 100, true })
	require.NoError(t, err)
	require.Equal(t, uint64(42), tk.After)
	require.False(t, tk.Push(Event{Seq: 1}), "no answer for this event")
	require.True(t, tk.Push(Event{Seq: 2}))
	require.False(t, tk.Push(Event{Seq: 3}), "the answer before was not taken")
	require.Equal(t, uint64(2), <-ch)
	require.True(t, tk.Gap(SlowConsumer, 2))
	require.Equal(t, uint64(200), <-ch)

	after := uint64(0)
	_, err = Subscribe(ctx, Options{After: &after}, func(e Event) (uint64, bool) { return 0, true }, nil)
	require.NoError(t, err)
	require.Zero(t, tk.After, "the beginning is a position")
	require.False(t, tk.Gap(SlowConsumer, 2))
	require.Empty(t, LastEventID(ctx))
	require.Equal(t, "x", LastEventID(WithLastEventID(ctx, "x")))
}
