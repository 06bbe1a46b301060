package transport

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/wire"
)

// operation is one operation of a websocket. One goroutine at a time executes it: its own until it joins the hub, the
// hub's afterwards. Whoever sets ended, under the connection's lock, calls release.
type operation struct {
	c      *conn
	id     string
	qid    string // id as JSON text
	ctx    context.Context
	cancel context.CancelFunc
	ended  atomic.Bool

	execution
	class   atomic.Pointer[class]
	sub     atomic.Pointer[realtime.Subscription]
	stalled atomic.Bool
	reason  string // of the gap that waits to be sent
	seq     uint64
}

// execution is a dispatched subscription.
type execution struct {
	ticket *realtime.Ticket
	next   graphql.ResponseHandler
	nctx   context.Context
}

// step executes for one event; nil without an answer when the event gives none, over when the operation has ended.
func (x *execution) step(e realtime.Event) (r *graphql.Response, over bool) {
	if !x.ticket.Push(e) {
		return nil, false
	}
	r = x.next(x.nctx)
	return r, r == nil
}

// gap executes for a gap. A subscription that cannot show one fails: a hole is never silent.
func (x *execution) gap(reason string, seq uint64) (*graphql.Response, error) {
	if x.ticket.Gap == nil || !x.ticket.Gap(reason, seq) {
		return nil, errs.New(errs.ResourceExhausted, "Events were lost (%s). Read again and subscribe anew.", reason)
	}
	return x.next(x.nctx), nil
}

// failed says that the answer is an error of the whole operation.
func failed(r *graphql.Response) bool { return len(r.Data) == 0 && len(r.Errors) > 0 }

var _ realtime.Sink = (*operation)(nil)

func newOperation(c *conn, id string) *operation {
	o := &operation{c: c, id: id, qid: wire.Quote(id)}
	// Not a child of the connection's for its end, which releases every operation: that would take a map of each connection.
	o.ctx, o.cancel = context.WithCancel(context.WithoutCancel(c.ctx))
	return o
}

// release frees what an ended operation holds.
func (o *operation) release() {
	o.cancel()
	o.c.s.operations.Add(-1)
	if sub := o.sub.Load(); sub != nil {
		sub.Leave()
	}
	o.c.s.sharing.leave(o.class.Swap(nil))
}

// run dispatches. A subscription that filled its ticket goes to the hub; anything else is executed here.
func (o *operation) run(params *graphql.RawParams) {
	defer o.rescue()
	exec := o.c.exec
	ticket := &realtime.Ticket{Position: o.c.s.cfg.Hub.Position()}
	ctx := realtime.WithTicket(graphql.StartOperationTrace(o.c.s.cfg.Operation(o.ctx)), ticket)
	now := graphql.Now()
	params.ReadTime = graphql.TraceTiming{Start: now, End: now}
	oc, list := exec.CreateOperationContext(ctx, params)
	shareText(oc)
	ctx = graphql.WithOperationContext(ctx, oc)
	if len(list) > 0 {
		o.fail(exec.DispatchError(ctx, list))
		return
	}
	if o.c.out.Wait(ctx) != nil { // a peer that does not read gets nothing executed
		o.giveUp(ctx)
		return
	}
	next, nctx := exec.DispatchOperation(ctx, oc)
	if oc.Operation.Operation != ast.Subscription || ticket.Push == nil {
		o.pump(next, nctx)
		return
	}
	o.execution = execution{ticket: ticket, next: next, nctx: nctx}
	o.class.Store(o.c.s.sharing.join(authz.From(nctx), oc))
	o.sub.Store(o.c.s.cfg.Hub.Join(nctx, ticket, o))
	if o.ended.Load() { // meanwhile; release saw no subscription
		o.sub.Load().Leave()
		o.c.s.sharing.leave(o.class.Swap(nil))
	}
}

// shareText lets an operation that stays keep the text of the document, which the cache of documents has for all of its
// kind, instead of its own copy.
func shareText(oc *graphql.OperationContext) {
	if oc == nil || oc.Operation == nil || oc.Operation.Position == nil || oc.Operation.Position.Src == nil {
		return
	}
	if text := oc.Operation.Position.Src.Input; text == oc.RawQuery {
		oc.RawQuery = text
	}
}

// pump executes until there is no more.
func (o *operation) pump(next graphql.ResponseHandler, ctx context.Context) {
	for {
		if o.c.out.Wait(ctx) != nil {
			o.giveUp(ctx)
			return
		}
		r := next(ctx)
		if r == nil {
			break
		}
		if failed(r) {
			o.fail(r)
			return
		}
		if !o.c.send(o, wire.AppendNext(nil, o.qid, r)) {
			return
		}
	}
	if ctx.Err() != nil {
		o.giveUp(ctx)
		return
	}
	o.Complete()
}

// giveUp ends an operation whose context, or connection, has ended. Only a deadline set by Config.Operation leaves
// anybody to tell.
func (o *operation) giveUp(ctx context.Context) {
	if ctx.Err() != nil && o.ctx.Err() == nil {
		o.Fail(tooLong())
	}
}

func (o *operation) fail(r *graphql.Response) {
	o.c.finish(o, wire.AppendError(nil, o.qid, r.Errors))
}

// rescue makes a panic the operation's error. Outside net/http's handler nothing else would.
func (o *operation) rescue() {
	if p := recover(); p != nil {
		o.fail(o.c.s.recovered(o.ctx, o.c.exec, p))
	}
}

var frames = sync.Pool{New: func() any { return new([]byte) }}

// Deliver executes for each event and sends the answers in one write. Called by the hub, as all below.
func (o *operation) Deliver(events []realtime.Event) bool {
	if o.ended.Load() {
		return false
	}
	defer o.rescue()
	p := frames.Get().(*[]byte)
	b := (*p)[:0]
	defer func() {
		if cap(b) <= maxKept {
			*p = b
			frames.Put(p)
		}
	}()
	for _, e := range events {
		r, over := o.class.Load().step(&o.execution, e)
		switch {
		case over && o.stalled.Load():
			o.Fail(tooLong())
			return false
		case over:
			o.c.finish(o, wire.AppendComplete(b, o.qid))
			return false
		case r == nil:
		case failed(r):
			o.c.finish(o, wire.AppendError(b, o.qid, r.Errors))
			return false
		default:
			b = wire.AppendNext(b, o.qid, r)
		}
	}
	return len(b) == 0 || o.c.send(o, b)
}

// Full says that the peer is behind.
func (o *operation) Full() bool { return o.c.out.Full() }

// Wait returns when the peer is no longer behind.
func (o *operation) Wait(ctx context.Context) error { return o.c.out.Wait(ctx) }

// Gap sends the gap and the end as soon as the peer has taken what was sent before.
func (o *operation) Gap(reason string, seq uint64) {
	o.reason, o.seq = reason, seq
	c := o.c
	c.mu.Lock()
	if !o.ended.Load() {
		c.slow = append(c.slow, o)
	}
	c.mu.Unlock()
	if c.out.Idle() { // or drained has run, or will run, after the append
		c.drained()
	}
}

func (o *operation) sendGap() {
	defer o.rescue()
	if o.ended.Load() {
		return
	}
	r, err := o.gap(o.reason, o.seq)
	switch {
	case err != nil:
		o.Fail(err)
	case r == nil:
		o.Complete()
	case failed(r):
		o.fail(r)
	default:
		o.c.finish(o, wire.AppendComplete(wire.AppendNext(nil, o.qid, r), o.qid))
	}
}

// Complete sends complete.
func (o *operation) Complete() { o.c.finish(o, wire.AppendComplete(nil, o.qid)) }

// Fail sends an error, after which there is no complete.
func (o *operation) Fail(err error) {
	if !o.ended.Load() {
		o.fail(o.c.s.answer(o.ctx, o.c.exec, err))
	}
}

// Cancel ends a Deliver that hangs.
func (o *operation) Cancel() {
	o.stalled.Store(true)
	o.cancel()
}
