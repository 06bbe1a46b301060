package transport

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

// stream is one event stream. The goroutine of the HTTP request alone writes to the client (serve); whoever executes -
// a goroutine of the pool, or the hub's worker - appends to a bounded buffer.
type stream struct {
	s       *Server
	exec    graphql.GraphExecutor
	ctx     context.Context // of the operation; ends before the request's when the stream is to say one last thing
	cancel  context.CancelFunc
	expires time.Time

	execution
	sub     atomic.Pointer[realtime.Subscription]
	stalled atomic.Bool

	mu       sync.Mutex
	buf      []byte        // whole events
	inflight int           // bytes being written
	ended    bool          // nothing is appended any more
	lost     *lost         // a gap to execute once the client has taken what is kept
	wake     chan struct{} // capacity 1: there is something for serve
	room     chan struct{} // closed when Full turns false; nil when nobody waits
}

type lost struct {
	reason string
	seq    uint64
}

var (
	_ peer          = (*stream)(nil)
	_ realtime.Sink = (*stream)(nil)
)

func newStream(s *Server, exec graphql.GraphExecutor, ctx context.Context) *stream {
	st := &stream{s: s, exec: exec, wake: make(chan struct{}, 1)}
	st.ctx, st.cancel = context.WithCancel(ctx)
	if p := authz.From(ctx); p != nil {
		st.expires = p.ExpiresAt
	}
	s.operations.Add(1)
	return st
}

func (st *stream) close() {
	st.end(nil)
	if sub := st.sub.Load(); sub != nil {
		sub.Leave()
	}
	st.s.operations.Add(-1)
}

// run dispatches, as operation.run does.
func (st *stream) run(ctx context.Context, oc *graphql.OperationContext, ticket *realtime.Ticket) {
	defer st.rescue()
	next, nctx := st.exec.DispatchOperation(ctx, oc)
	if oc.Operation.Operation == ast.Subscription && ticket.Push != nil {
		st.execution = execution{ticket: ticket, next: next, nctx: nctx}
		st.sub.Store(st.s.cfg.Hub.Join(nctx, ticket, st))
		if st.isEnded() { // meanwhile; close may have seen no subscription
			st.sub.Load().Leave()
		}
		return
	}
	for st.Wait(nctx) == nil {
		r := next(nctx)
		if r == nil || !st.append(wire.AppendNextEvent(nil, "", r)) || failed(r) {
			break
		}
	}
	st.Complete()
}

func (st *stream) rescue() {
	if p := recover(); p != nil {
		st.last(st.s.recovered(st.ctx, st.exec, p))
	}
}

func (st *stream) isEnded() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.ended
}

// append adds whole events; false when the stream has ended.
func (st *stream) append(b []byte) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.ended {
		return false
	}
	if st.backlog() > st.s.cfg.Outbox.Hard { // the client does not read; what waits is not worth keeping
		st.ended, st.buf = true, nil
		st.signal()
		return false
	}
	st.buf = append(st.buf, b...)
	st.signal()
	return true
}

// end makes b the last that is sent.
func (st *stream) end(b []byte) {
	st.mu.Lock()
	if !st.ended {
		st.ended = true
		st.buf = append(st.buf, b...)
	}
	st.signal()
	st.mu.Unlock()
	st.cancel()
}

// last ends the stream with an answer.
func (st *stream) last(r *graphql.Response) {
	st.end(append(wire.AppendNextEvent(nil, "", r), wire.CompleteEvent...))
}

func (st *stream) signal() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
	if st.room != nil && (st.ended || st.backlog() <= st.s.cfg.Outbox.Soft) {
		close(st.room)
		st.room = nil
	}
}

func (st *stream) backlog() int { return len(st.buf) + st.inflight }

// serve writes what is appended until the end, or until the client has gone.
func (st *stream) serve(w http.ResponseWriter, gone <-chan struct{}) {
	alive := time.NewTicker(st.s.cfg.KeepAlive)
	defer alive.Stop()
	for {
		var b []byte
		select {
		case <-gone:
			return
		case <-st.wake:
		case <-alive.C:
			b = wire.KeepAlive
		}
		for {
			if len(b) > 0 && !st.write(w, b) {
				return
			}
			var gap *lost
			var done bool
			if b, gap, done = st.take(); done {
				return
			}
			if gap != nil {
				st.sendGap(gap)
				continue
			}
			if len(b) == 0 {
				break
			}
			alive.Reset(st.s.cfg.KeepAlive)
		}
	}
}

// take gives what is to be written next; what was given before has been written.
func (st *stream) take() (b []byte, gap *lost, done bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	b, st.buf = st.buf, nil
	st.inflight = len(b)
	if len(b) > 0 {
		return b, nil, false
	}
	gap, st.lost = st.lost, nil
	return nil, gap, st.ended
}

// write writes in pieces, each of which must be taken in time.
func (st *stream) write(w http.ResponseWriter, b []byte) bool {
	const piece = 16 << 10 // bytes
	rc := http.NewResponseController(w)
	for len(b) > 0 {
		_ = rc.SetWriteDeadline(time.Now().Add(st.s.cfg.Outbox.Stall)) // not supported by all; then TCP's own limit holds
		n := min(len(b), piece)
		if _, err := w.Write(b[:n]); err != nil {
			return false
		}
		if rc.Flush() != nil {
			return false
		}
		b = b[n:]
		st.mu.Lock()
		st.inflight = max(0, st.inflight-n)
		if st.room != nil && st.backlog() <= st.s.cfg.Outbox.Soft {
			close(st.room)
			st.room = nil
		}
		st.mu.Unlock()
	}
	_ = rc.SetWriteDeadline(time.Time{}) // or HTTP/2 would reset the idle stream
	return true
}

func (st *stream) sendGap(g *lost) {
	defer st.rescue()
	r, err := st.gap(g.reason, g.seq)
	switch {
	case err != nil:
		st.Fail(err)
	case r == nil:
		st.Complete()
	default:
		st.end(append(wire.AppendNextEvent(nil, st.cursor(realtime.Event{Seq: g.seq}), r), wire.CompleteEvent...))
	}
}

func (st *stream) cursor(e realtime.Event) string {
	if st.ticket.ID == nil {
		return ""
	}
	return st.ticket.ID(e)
}

// Deliver executes for each event. Called by the hub, as all below.
func (st *stream) Deliver(events []realtime.Event) bool {
	defer st.rescue()
	if st.expired(time.Now()) {
		return false // the clock says it
	}
	for _, e := range events {
		r, over := st.step(e)
		switch {
		case over && st.stalled.Load():
			st.Fail(tooLong())
			return false
		case over:
			st.Complete()
			return false
		case r == nil:
		case failed(r):
			st.last(r)
			return false
		default:
			if !st.append(wire.AppendNextEvent(nil, st.cursor(e), r)) {
				return false
			}
		}
	}
	return true
}

// Full says that the client is behind.
func (st *stream) Full() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.backlog() > st.s.cfg.Outbox.Soft
}

// Wait returns when the client is no longer behind.
func (st *stream) Wait(ctx context.Context) error {
	for {
		st.mu.Lock()
		if st.ended {
			st.mu.Unlock()
			return context.Canceled
		}
		if st.backlog() <= st.s.cfg.Outbox.Soft {
			st.mu.Unlock()
			return ctx.Err()
		}
		if st.room == nil {
			st.room = make(chan struct{})
		}
		room := st.room
		st.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Gap has serve send a gap and the end when all before is written.
func (st *stream) Gap(reason string, seq uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.lost = &lost{reason, seq}
	st.signal()
}

// Complete sends complete.
func (st *stream) Complete() { st.end(wire.CompleteEvent) }

// Fail sends the error and complete.
func (st *stream) Fail(err error) {
	if !st.isEnded() {
		st.last(st.s.answer(st.ctx, st.exec, err))
	}
}

// Cancel ends a Deliver that hangs.
func (st *stream) Cancel() {
	st.stalled.Store(true)
	st.cancel()
}

func (st *stream) expired(now time.Time) bool {
	return !st.expires.IsZero() && !now.Before(st.expires)
}

func (st *stream) tick(now time.Time) {
	if st.expired(now) {
		st.end(wire.AppendNextEvent(nil, "", unauthenticated("The access token has expired. Refresh it and connect again.")))
	}
}

func (st *stream) revoke() {
	st.end(wire.AppendNextEvent(nil, "", unauthenticated(changed)))
}

// suspend ends without complete: the client comes back.
func (st *stream) suspend() { st.end(nil) }

// shutdown ends without complete: the client comes back.
func (st *stream) shutdown() { st.end(nil) }
