// Package meter counts what one answer takes, so that none takes more memory than the server allows: the bytes that are
// read for it from the database and the bytes that are written into it. They are counted apart, each up to the same limit.
//
// A Meter travels in the context of one answer: of a query or mutation, or of one event of a subscription. Without one
// nothing is bounded: background work has none. Everything here is safe for concurrent use.
//
// What goes beyond is RESOURCE_EXHAUSTED.
package meter

import (
	"context"
	"sync"
	"sync/atomic"

	"cdsa.dev/cdsa/internal/errs"
)

// Meter is of one answer. A nil Meter allows everything.
type Meter struct {
	limit         int64
	read, written atomic.Int64
	large         sync.Mutex
}

type key struct{}

// metered is a context with its meter, in one piece.
type metered struct {
	context.Context
	meter Meter
}

// Value finds the meter.
func (c *metered) Value(k any) any {
	if _, ok := k.(key); ok {
		return &c.meter
	}
	return c.Context.Value(k)
}

// With gives ctx a meter of its own, for an answer of up to limit bytes.
func With(ctx context.Context, limit int64) context.Context {
	return &metered{Context: ctx, meter: Meter{limit: limit}}
}

// From is the meter of the answer in ctx; nil when there is none.
func From(ctx context.Context) *Meter {
	m, _ := ctx.Value(key{}).(*Meter)
	return m
}

// Read counts bytes that were read. From the first error on, nothing more is to be read.
func (m *Meter) Read(bytes int) error {
	if m == nil || m.read.Add(int64(bytes)) <= m.limit {
		return nil
	}
	return m.exceeded()
}

// Full says whether more was read than is allowed.
func (m *Meter) Full() bool { return m != nil && m.read.Load() > m.limit }

// Write counts bytes that are to be written into the answer; with an error they are not counted and not to be written.
func (m *Meter) Write(bytes int) error {
	if m == nil {
		return nil
	}
	if m.written.Add(int64(bytes)) <= m.limit {
		return nil
	}
	m.written.Add(-int64(bytes))
	return m.exceeded()
}

// Room is how many bytes may still be written.
func (m *Meter) Room() int {
	if m == nil {
		return int(^uint(0) >> 1)
	}
	return max(0, int(m.limit-m.written.Load()))
}

// Alone waits until no other large value is being read for the same answer, and keeps others waiting until release: one
// that is on its way is not counted yet.
func (m *Meter) Alone() (release func()) {
	if m == nil {
		return func() {}
	}
	m.large.Lock()
	return m.large.Unlock
}

func (m *Meter) exceeded() error {
	return errs.New(errs.ResourceExhausted, "The answer would be larger than the %d bytes allowed. Ask for fewer objects, or read documents one by one.", m.limit)
}

// Size is how many bytes a field's value takes in an answer: of text before it is escaped, of all else that has a bounded
// size by itself a few.
func Size(v any) int {
	switch v := v.(type) {
	case string:
		return text(v)
	case *string:
		if v != nil {
			return text(*v)
		}
	case map[string]any:
		return object(v)
	case []map[string]any:
		n := 2
		for _, m := range v {
			n += 1 + object(m)
		}
		return n
	case []string:
		n := 2
		for _, s := range v {
			n += 1 + text(s)
		}
		return n
	case []any:
		n := 2
		for _, e := range v {
			n += 1 + Size(e)
		}
		return n
	}
	return 4
}

func object(m map[string]any) int {
	n := 2
	for k, v := range m {
		n += 2 + text(k) + Size(v)
	}
	return n
}

func text(s string) int { return len(s) + len(`""`) }
