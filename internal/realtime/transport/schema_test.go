package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/realtime"
)

// schema is a small executable schema that behaves as generated code does: resolvers of subscriptions run at dispatch,
// those of queries and mutations at the first call of the handler.
type schema struct {
	hub     *realtime.Hub
	log     *eventLog
	started chan struct{} // one for each slow query that begins
	stopped chan struct{} // one for each whose context ends
	class   atomic.Pointer[realtime.Ticket]
}

var sdl = gqlparser.MustLoadSchema(&ast.Source{Input: `
	type Query { hello(v: String): String! who: String! slow: String! fail: String! panic: String! big(n: Int!): String! multi: String! }
	type Mutation { bump: Int! stuck: Int! }
	type Subscription {
		ticks(topic: String!, after: Int, lines: Boolean, only: String): Tick!
		plain(n: Int!): Int!
		denied: Int!
		crash: Int!
		noGap(topic: String!): Int!
		hang(topic: String!): Int!
		breaks(topic: String!): Int!
	}
	type Tick { seq: Int! text: String gap: String }
`})

func newSchema(h *realtime.Hub) *schema {
	return &schema{hub: h, log: &eventLog{}, started: make(chan struct{}, 300), stopped: make(chan struct{}, 300)}
}

func (s *schema) Schema() *ast.Schema { return sdl }

func (s *schema) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 1, true
}

func (s *schema) Exec(ctx context.Context) graphql.ResponseHandler {
	oc := graphql.GetOperationContext(ctx)
	f := oc.Operation.SelectionSet[0].(*ast.Field)
	args := f.ArgumentMap(oc.Variables)
	if oc.Operation.Operation != ast.Subscription {
		done := false
		return func(ctx context.Context) *graphql.Response {
			if done {
				return nil
			}
			done = true
			return s.once(ctx, f, args)
		}
	}
	next, err := s.subscribe(ctx, f, args)
	if err != nil {
		graphql.AddError(ctx, err)
		return func(context.Context) *graphql.Response { return nil }
	}
	var buf bytes.Buffer // reused, as in generated code
	return func(ctx context.Context) *graphql.Response {
		buf.Reset()
		v, ok := next(ctx)
		if !ok {
			return nil
		}
		fmt.Fprintf(&buf, `{%q:`, f.Alias)
		if err := json.NewEncoder(&buf).Encode(v); err != nil { // with its newline, as MarshalMap's
			panic(err)
		}
		buf.WriteByte('}')
		return &graphql.Response{Data: buf.Bytes()}
	}
}

func (s *schema) once(ctx context.Context, f *ast.Field, args map[string]any) *graphql.Response {
	answer := func(v any) *graphql.Response {
		b, err := json.Marshal(map[string]any{f.Alias: v})
		if err != nil {
			panic(err)
		}
		return &graphql.Response{Data: b}
	}
	switch f.Name {
	case "hello":
		return answer("world")
	case "who":
		name := "anonymous"
		if p := authz.From(ctx); p != nil {
			name = p.Username
		}
		return answer(name + " " + authz.RequestFrom(ctx).ID + " " + authz.RequestFrom(ctx).IP + " " + authz.RequestFrom(ctx).UserAgent)
	case "slow", "stuck":
		s.started <- struct{}{}
		<-ctx.Done()
		s.stopped <- struct{}{}
		graphql.AddError(ctx, ctx.Err())
		return &graphql.Response{Data: []byte("null")}
	case "fail":
		graphql.AddError(ctx, present(errs.New(errs.NotFound, "There is no such thing.")))
		return &graphql.Response{Data: []byte("null")}
	case "panic":
		panic("canary-panic")
	case "big":
		n, _ := args["n"].(json.Number)
		k, _ := n.Int64()
		if v, ok := args["n"].(int64); ok {
			k = v
		}
		return answer(strings.Repeat("x", int(k)))
	case "bump":
		return answer(1)
	}
	graphql.AddError(ctx, errors.New("unknown field"))
	return &graphql.Response{Data: []byte("null")}
}

type tick struct {
	Seq  uint64  `json:"seq"`
	Text string  `json:"text,omitempty"`
	Gap  *string `json:"gap,omitempty"`
}

func (s *schema) subscribe(ctx context.Context, f *ast.Field, args map[string]any) (func(context.Context) (any, bool), error) {
	topic, _ := args["topic"].(string)
	switch f.Name {
	case "ticks":
		return s.ticks(ctx, topic, args)
	case "plain":
		i := int64(0)
		n, _ := args["n"].(int64)
		return func(context.Context) (any, bool) { i++; return i, i <= n }, nil
	case "denied":
		return nil, present(errs.New(errs.NotFound, "There is no such session, or you may not see it."))
	case "crash":
		panic("canary-panic")
	}
	// the rest give numbers
	ch, err := realtime.Subscribe(ctx, realtime.Options{Topics: []string{topic}}, func(e realtime.Event) (uint64, bool) { return e.Seq, true }, nil)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, bool) {
		v := <-ch
		switch f.Name {
		case "breaks":
			panic("canary-panic")
		case "hang":
			s.started <- struct{}{}
			<-ctx.Done()
			return nil, false
		}
		return v, true
	}, nil
}

func (s *schema) ticks(ctx context.Context, topic string, args map[string]any) (func(context.Context) (any, bool), error) {
	o := realtime.Options{
		Topics: []string{topic}, Replay: s.log.replay(topic),
		ID: func(e realtime.Event) string { return "c" + strconv.FormatUint(e.Seq, 10) },
	}
	if after, ok := args["after"].(int64); ok {
		u := uint64(after)
		o.After = &u
	}
	if id := realtime.LastEventID(ctx); id != "" {
		u, err := strconv.ParseUint(strings.TrimPrefix(id, "c"), 10, 64)
		if err != nil {
			return nil, present(errs.Input("after", "The cursor is not valid."))
		}
		o.After = &u
	}
	if only, ok := args["only"].(string); ok {
		o.Accept = func(e realtime.Event) bool { return e.Value.(string) == only }
	}
	ch, err := realtime.Subscribe(ctx, o,
		func(e realtime.Event) (tick, bool) {
			text, _ := e.Value.(string)
			return tick{Seq: e.Seq, Text: text}, true
		},
		func(reason string, seq uint64) (tick, bool) { return tick{Seq: seq, Gap: &reason}, true })
	if err != nil {
		return nil, err
	}
	s.class.Store(realtime.TicketFrom(ctx))
	return func(ctx context.Context) (any, bool) {
		select {
		case v := <-ch:
			return v, true
		case <-ctx.Done():
			return nil, false
		}
	}, nil
}

// eventLog keeps what was published, as the bus does.
type eventLog struct {
	mu      sync.Mutex
	events  []realtime.Event
	expired uint64
}

func (l *eventLog) add(e realtime.Event) { l.mu.Lock(); l.events = append(l.events, e); l.mu.Unlock() }

func (l *eventLog) replay(topic string) realtime.Replay {
	return func(_ context.Context, after, upto uint64) iter.Seq2[realtime.Event, error] {
		return func(yield func(realtime.Event, error) bool) {
			l.mu.Lock()
			events, expired := l.events, l.expired
			l.mu.Unlock()
			if after < expired {
				yield(realtime.Event{}, realtime.ErrCursorExpired)
				return
			}
			for _, e := range events {
				if e.Seq > after && e.Seq <= upto && e.Topic == topic && !yield(e, nil) {
					return
				}
			}
		}
	}
}

// publish stores and publishes.
func (s *schema) publish(e realtime.Event) {
	s.log.add(e)
	s.hub.Publish(e)
}
