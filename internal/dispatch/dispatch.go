// Package dispatch turns messages of the event stream into events with their rows loaded: once for each event and
// process, whoever subscribes. Rows are read as authz.Dispatcher; what a subscriber may see is decided by the
// subscription that receives them. An event whose row is gone is left out. One goroutine follows the bus, so order is
// the stream's; while the database is away it waits, and nothing is skipped. A row that the database has and this
// server cannot read would hold up everyone for ever: after some tries its event is left out, logged and counted.
package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/pgaway"
	"cdsa.dev/cdsa/internal/realtime"
)

// Chat is what happened in a conversation: exactly one of Delta, Message and Execution is set.
type Chat struct {
	At        time.Time
	Delta     *fact.Delta
	Kind      fact.MessageKind
	Message   *ent.ChatMessage
	Execution *ent.ToolExecution
	Approval  *ent.ToolApproval // with Execution, when there is one
}

// Approval is what happened to a request.
type Approval struct {
	At       time.Time
	Fact     fact.Approval
	Approval *ent.ToolApproval
}

// Tool is what happened to a tool call.
type Tool struct {
	At        time.Time
	Fact      fact.Tool
	Execution *ent.ToolExecution
}

// Document is what happened to a document; it is loaded without its text, and nil when it was deleted.
type Document struct {
	At       time.Time
	Fact     fact.Document
	Document *ent.Document
}

// Dispatcher follows the bus and feeds the hub.
type Dispatcher struct {
	Bus    *event.Bus
	Hub    *realtime.Hub
	Client *ent.Client
	Log    *slog.Logger

	skipped atomic.Int64
}

// Run attaches to the bus and returns; events flow until ctx ends.
func (d *Dispatcher) Run(ctx context.Context) error {
	d.Hub.Advance(d.Bus.Position())
	return d.Bus.Feed(ctx, func(m event.Message) { d.deliver(ctx, m) }, func(position uint64) {
		d.Hub.Gap(realtime.CursorExpired)
		d.Hub.Advance(position)
	})
}

func (d *Dispatcher) deliver(ctx context.Context, m event.Message) {
	d.Hub.Advance(m.Seq)
	if !d.Hub.HasSubscribers(m.Subject) {
		return
	}
	if e, ok, err := d.patiently(ctx, m, true); ok && err == nil {
		d.Hub.Publish(e)
	}
}

// tries is how often a row is read that cannot be read although the database is there: a second and a half in all.
const tries = 6

// patiently loads, again and again while the database is away if wait says so. What cannot be read is left out. An error
// means that ctx ended or, without wait, that the database is away.
func (d *Dispatcher) patiently(ctx context.Context, m event.Message, wait bool) (realtime.Event, bool, error) {
	failed := 0
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		e, ok, err := d.load(ctx, m)
		if err == nil {
			return e, ok, nil
		}
		if ctx.Err() != nil {
			return e, false, ctx.Err()
		}
		switch away := pgaway.Momentary(err); {
		case away && !wait:
			return e, false, err
		case !away:
			if failed++; failed == tries {
				d.skipped.Add(1)
				d.Log.ErrorContext(ctx, "the row of an event cannot be read: it is left out", "topic", kind(m.Subject), "seq", m.Seq, "error", err)
				return e, false, nil
			}
		}
		d.Log.WarnContext(ctx, "an event waits for the database", "error", err)
		select {
		case <-ctx.Done():
			return e, false, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// kind is a subject without the id in it.
func kind(subject string) string {
	k, _, _ := strings.Cut(subject, ".")
	return k
}

// Collector counts the events that were left out because their rows could not be read.
func (d *Dispatcher) Collector() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "cdsa_events_unreadable_total", Help: "Events left out because their rows could not be read."},
		func() float64 { return float64(d.skipped.Load()) })
}

// Replay gives the stored events of topics in (after, upto], loaded like live ones.
func (d *Dispatcher) Replay(topics ...string) realtime.Replay {
	return func(ctx context.Context, after, upto uint64) iter.Seq2[realtime.Event, error] {
		return func(yield func(realtime.Event, error) bool) {
			for m, err := range d.Bus.Replay(ctx, topics, after, upto) {
				if errors.Is(err, event.ErrCursorExpired) {
					err = realtime.ErrCursorExpired
				}
				if err != nil {
					yield(realtime.Event{}, err)
					return
				}
				e, ok, err := d.patiently(ctx, m, false)
				if err != nil {
					yield(realtime.Event{}, err)
					return
				}
				if ok && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// load decodes a message and reads its row; false when the row is gone.
func (d *Dispatcher) load(ctx context.Context, m event.Message) (realtime.Event, bool, error) {
	ctx = authz.With(ctx, authz.Dispatcher)
	var v any
	var err error
	last := false
	switch {
	case strings.HasPrefix(m.Subject, "chat."):
		var f fact.Chat
		if f, err = decode[fact.Chat](m); err != nil {
			break
		}
		if last = f.Deleted; !last {
			v, err = d.chat(ctx, m.At, f)
		}
	case m.Subject == fact.Approvals:
		var f fact.Approval
		if f, err = decode[fact.Approval](m); err == nil {
			var a *ent.ToolApproval
			a, err = d.Client.ToolApproval.Get(ctx, f.Approval)
			v = Approval{At: m.At, Fact: f, Approval: a}
		}
	case m.Subject == fact.Tools:
		var f fact.Tool
		if f, err = decode[fact.Tool](m); err == nil {
			var x *ent.ToolExecution
			x, err = d.Client.ToolExecution.Get(ctx, f.Execution)
			v = Tool{At: m.At, Fact: f, Execution: x}
		}
	case m.Subject == fact.Documents:
		var f fact.Document
		if f, err = decode[fact.Document](m); err == nil {
			var x *ent.Document
			if f.Deleted == nil {
				x, err = d.document(ctx, f.Document)
			}
			v = Document{At: m.At, Fact: f, Document: x}
		}
	default:
		return realtime.Event{}, false, nil
	}
	var bad *malformed
	switch {
	case errors.As(err, &bad):
		d.Log.ErrorContext(ctx, "an event cannot be read and is left out", "error", err)
		return realtime.Event{}, false, nil
	case ent.IsNotFound(err):
		return realtime.Event{}, false, nil
	case err != nil:
		return realtime.Event{}, false, err
	}
	return realtime.Event{Topic: m.Subject, Seq: m.Seq, Value: v, Last: last}, true, nil
}

func (d *Dispatcher) chat(ctx context.Context, at time.Time, f fact.Chat) (out Chat, err error) {
	out = Chat{At: at, Delta: f.Delta, Kind: f.Kind}
	switch {
	case f.Delta != nil:
	case f.Message != uuid.Nil:
		out.Message, err = d.Client.ChatMessage.Get(ctx, f.Message)
	default:
		if out.Execution, err = d.Client.ToolExecution.Get(ctx, f.Execution); err != nil || !out.Execution.RequiresApproval {
			break
		}
		out.Approval, err = d.Client.ToolApproval.Query().Where(toolapproval.ExecutionID(f.Execution)).Only(ctx)
		if ent.IsNotFound(err) {
			err = nil
		}
	}
	return out, err
}

// documentColumns is all but the text and the bytes, which an event must not pull.
var documentColumns = func() []string {
	var cols []string
	for _, c := range document.Columns {
		if c != document.FieldContent && c != document.FieldOriginal {
			cols = append(cols, c)
		}
	}
	return cols
}()

func (d *Dispatcher) document(ctx context.Context, id uuid.UUID) (*ent.Document, error) {
	q := d.Client.Document.Query().Where(document.ID(id))
	q.Select(documentColumns...)
	return q.Only(ctx)
}

type malformed struct{ err error }

func (m *malformed) Error() string { return m.err.Error() }

func decode[T any](m event.Message) (T, error) {
	var v T
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return v, &malformed{fmt.Errorf("payload of %s at %d: %w", m.Subject, m.Seq, err)}
	}
	return v, nil
}
