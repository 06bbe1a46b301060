package auth

import (
	"context"
	"slices"
	"sync"
	"time"

	"cdsa.dev/cdsa/internal/errs"
)

// turns bounds what is done at once and how many wait for it. Networks are served in turn, each in the order of
// arrival. When everybody's places to wait are taken, a newcomer gets that of the last to come of the network that has the
// most, unless it would then have as many itself: so one network may have all the places that nobody else wants, and
// whatever it sends, it keeps out nobody else.
type turns struct {
	mu      sync.Mutex
	free    int
	places  int // to wait in, that are left
	waiting []*queue
}

// queue is the callers of a network that wait. There is none without callers.
type queue struct {
	network string
	callers []*caller
}

type caller struct {
	answer chan error // gets one: nil is the turn
}

func newTurns(atOnce, places int) *turns { return &turns{free: atOnce, places: max(0, places)} }

// take waits for a turn; the caller gives it back with done. RATE_LIMITED; ctx's error.
func (t *turns) take(ctx context.Context, network string) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t.mu.Lock()
	if t.free > 0 { // then nobody waits
		t.free--
		t.mu.Unlock()
		return t.done, nil
	}
	i := slices.IndexFunc(t.waiting, func(l *queue) bool { return l.network == network })
	if i < 0 {
		i = len(t.waiting)
	}
	if t.places == 0 && !t.makeRoom(i) {
		t.mu.Unlock()
		return nil, crowded()
	}
	if i == len(t.waiting) {
		t.waiting = append(t.waiting, &queue{network: network})
	}
	c := &caller{answer: make(chan error, 1)}
	t.waiting[i].callers = append(t.waiting[i].callers, c)
	t.places--
	t.mu.Unlock()
	select {
	case err = <-c.answer:
	case <-ctx.Done():
		if !t.leave(network, c) { // the answer was first
			if <-c.answer == nil {
				t.done()
			}
		}
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return t.done, nil
}

// makeRoom sends one away for a newcomer to the i-th line. It leaves that line more than one short of the longest, so no
// line vanishes by it and i stays right.
func (t *turns) makeRoom(i int) bool {
	if len(t.waiting) == 0 { // nobody may wait
		return false
	}
	own := 0
	if i < len(t.waiting) {
		own = len(t.waiting[i].callers)
	}
	longest := slices.MaxFunc(t.waiting, func(a, b *queue) int { return len(a.callers) - len(b.callers) })
	last := len(longest.callers) - 1
	if own >= last {
		return false
	}
	longest.callers[last].answer <- crowded()
	longest.callers = longest.callers[:last]
	t.places++
	return true
}

// leave takes back a caller that waits; false when it has its answer.
func (t *turns) leave(network string, c *caller) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.waiting, func(l *queue) bool { return l.network == network })
	if i < 0 {
		return false
	}
	l := t.waiting[i]
	n := slices.Index(l.callers, c)
	if n < 0 {
		return false
	}
	l.callers = slices.Delete(l.callers, n, n+1)
	if len(l.callers) == 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.places++
	return true
}

// done gives a turn back, to the first caller of the line whose turn it is.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.free++
		return
	}
	l := t.waiting[0]
	l.callers[0].answer <- nil
	l.callers = slices.Delete(l.callers, 0, 1)
	t.waiting = slices.Delete(t.waiting, 0, 1)
	if len(l.callers) > 0 {
		t.waiting = append(t.waiting, l)
	}
	t.places++
}

func crowded() error {
	e := errs.New(errs.RateLimited, "Too many people are signing in at this moment. Try again in a second.")
	e.RetryAfter = time.Second
	return e
}
