package realtime

import (
	"context"
	"errors"
	"iter"

	"cdsa.dev/cdsa/internal/errs"
)

// Event is one thing that happened. Value is shared by all subscribers and must not be changed.
type Event struct {
	Topic string
	Seq   uint64 // the stream's sequence: rises over all topics. 0 is unnumbered: live only, never replayed
	Value any
	Last  bool // nothing of the topic follows: the event is not shown, it completes the topic's subscriptions
}

// Reasons of a gap; the API's GapReason.
const (
	SlowConsumer  = "SLOW_CONSUMER"
	CursorExpired = "CURSOR_EXPIRED"
)

// ErrCursorExpired is what a Replay yields when events after the position asked for are no longer stored.
var ErrCursorExpired = errors.New("realtime: the cursor is older than what is stored")

// Replay yields the stored events of the ticket's topics with after < Seq <= upto, in order. It may be stopped early.
// It fails with ErrCursorExpired when some of them may be gone.
type Replay func(ctx context.Context, after, upto uint64) iter.Seq2[Event, error]

// Ticket travels in the context of a dispatched subscription. The transport sets Position; the resolver, having judged
// the subscriber, sets the rest (by Subscribe) and returns the channel that Push fills. Its functions are called by
// one goroutine at a time.
type Ticket struct {
	Position uint64 // of the hub when the operation began, before anything was read

	Topics []string
	After  uint64                               // only events with a greater Seq
	Replay Replay                               // nil: only what is published from now on
	Accept func(Event) bool                     // in memory, decides whether the subscriber may and wants to see it; nil: all
	Push   func(Event) bool                     // puts the event in the resolver's channel; false: not this one
	Gap    func(reason string, seq uint64) bool // puts a gap in the channel; false: there is none to show
	ID     func(Event) string                   // the event's cursor, for Last-Event-ID; nil: none

	// Class is the seam for sharing one execution between subscribers who may see the same. Not used yet.
	Class string
}

type ticketKey struct{}

// WithTicket puts an empty ticket in the context of an operation. For transports.
func WithTicket(ctx context.Context, t *Ticket) context.Context {
	return context.WithValue(ctx, ticketKey{}, t)
}

// TicketFrom gives the operation's ticket, nil where the transport cannot carry a subscription.
func TicketFrom(ctx context.Context) *Ticket {
	t, _ := ctx.Value(ticketKey{}).(*Ticket)
	return t
}

type lastEventIDKey struct{}

// WithLastEventID puts the cursor a client resumes from in the context. For transports.
func WithLastEventID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, lastEventIDKey{}, id)
}

// LastEventID gives the cursor of the Last-Event-ID header, empty without one. It is the client's word: judge it as
// any argument. Prefer it to an argument of the operation: a client that reconnects repeats its first request, and only
// the header has moved on.
func LastEventID(ctx context.Context) string {
	id, _ := ctx.Value(lastEventIDKey{}).(string)
	return id
}

// Options are what a resolver says of its subscription.
type Options struct {
	Topics []string
	After  *uint64 // position to resume after; nil: the hub's position when the operation began
	Replay Replay
	Accept func(Event) bool
	ID     func(Event) string
}

// Subscribe is the last line of a subscription's resolver: it fills the ticket and gives the channel to return.
// convert makes the answer of an event, or says that there is none; gap makes the answer that tells of a gap and may be
// nil. Both run on the hub's worker and must not wait. The caller must have judged the subscriber before; Subscribe
// judges nothing.
//
// FAILED_PRECONDITION when the operation did not come over a transport that carries subscriptions.
func Subscribe[T any](ctx context.Context, o Options, convert func(Event) (T, bool), gap func(reason string, seq uint64) (T, bool)) (<-chan T, error) {
	t := TicketFrom(ctx)
	if t == nil {
		return nil, errs.New(errs.FailedPrecondition, "Subscriptions need a websocket or an event stream: connect with graphql-transport-ws, or send Accept: text/event-stream.")
	}
	ch := make(chan T, 1) // the answer is taken before the next event is pushed
	put := func(v T, ok bool) bool {
		if !ok {
			return false
		}
		select {
		case ch <- v:
			return true
		default: // the answer before was not taken: the operation has ended
			return false
		}
	}
	t.Topics, t.Replay, t.Accept, t.ID = o.Topics, o.Replay, o.Accept, o.ID
	t.After = t.Position
	if o.After != nil {
		t.After = *o.After
	}
	t.Push = func(e Event) bool { return put(convert(e)) }
	t.Gap = func(reason string, seq uint64) bool {
		if gap == nil {
			return false
		}
		return put(gap(reason, seq))
	}
	return ch, nil
}

// Expired is the Replay of a position whose stream is gone: the subscription begins with a gap.
func Expired(context.Context, uint64, uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) { yield(Event{}, ErrCursorExpired) }
}
