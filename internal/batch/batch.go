// Package batch reads what is derived of a row for all rows that were read with it, in one statement: a page of a hundred
// costs as much as a page of one, at every level of nesting, and nothing waits for others to ask.
//
// A Scope is what one response has read. The queries of a client given to Watch, and loaders that call Note, tell it which
// rows one statement read; the first Load for one of them reads for all, and the others wait for it. What was read is of
// these rows alone and forgotten with them: rows read again, by the next event or after a mutation, are asked about again.
//
// It decides nothing: what Load calls must narrow its statement to what the context's principal may see, as for one row,
// and what depends on the row must be checked for each. A response has one principal. A Scope is safe for concurrent use.
// A reading's error is the error of each row; one that panics is an error for those who wait. There are no goroutines.
package batch

import (
	"context"
	"errors"
	"sync"

	"entgo.io/ent"
)

// Scope is which rows a response has read together, and what of them. The zero Scope is ready.
type Scope struct {
	mu       sync.Mutex
	noted    []any // slices of rows, until one of them is asked about
	groups   map[any]any
	readings map[reading]any
}

// reading is something read of a group.
type reading struct{ group, what any }

// Key is the context key under which a Scope's pointer is found.
type Key struct{}

func from(ctx context.Context) *Scope {
	s, _ := ctx.Value(Key{}).(*Scope)
	return s
}

// Forget empties the scope, between two responses of one operation.
func (s *Scope) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.noted)
	s.noted, s.groups, s.readings = s.noted[:0], nil, nil
}

// Note tells the context's scope that one statement read these rows. The slice must not change any more.
func Note[T any](ctx context.Context, rows []*T) {
	s := from(ctx)
	if s == nil || len(rows) < 2 { // a row on its own is a group by itself
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = append(s.noted, rows)
}

// Noting is an ent interceptor that notes what the queries of T give.
type Noting[T any] struct{}

// Intercept wraps a query.
func (Noting[T]) Intercept(next ent.Querier) ent.Querier {
	return ent.QuerierFunc(func(ctx context.Context, q ent.Query) (ent.Value, error) {
		v, err := next.Query(ctx, q)
		if rows, ok := v.([]*T); ok && err == nil {
			Note(ctx, rows)
		}
		return v, err
	})
}

// group is rows that were read together.
type group[T any] struct{ rows []*T }

// groupOf finds the group of a row.
func groupOf[T any](s *Scope, row *T) *group[T] {
	if g, ok := s.groups[row].(*group[T]); ok {
		return g
	}
	if s.groups == nil {
		s.groups = map[any]any{}
	}
	others := s.noted[:0]
	for _, list := range s.noted {
		rows, ok := list.([]*T)
		if !ok {
			others = append(others, list)
			continue
		}
		g := &group[T]{rows}
		for _, r := range rows {
			s.groups[r] = g
		}
	}
	clear(s.noted[len(others):])
	s.noted = others
	if g, ok := s.groups[row].(*group[T]); ok {
		return g
	}
	g := &group[T]{[]*T{row}}
	s.groups[row] = g
	return g
}

// pending is a reading that has begun.
type pending[V any] struct {
	done  chan struct{}
	value V
	err   error
}

var errAbandoned = errors.New("batch: the reading did not end")

// Load is what read gives for the rows that were read together with row: read once in the context's scope, under the name
// what, which is anything comparable. Without a scope it is read for the row alone. The value is shared and must not be changed.
func Load[T, V any](ctx context.Context, what any, row *T, read func(ctx context.Context, rows []*T) (V, error)) (V, error) {
	s := from(ctx)
	if s == nil {
		return read(ctx, []*T{row})
	}
	s.mu.Lock()
	g := groupOf(s, row)
	key := reading{g, what}
	p, begun := s.readings[key].(*pending[V])
	if !begun {
		p = &pending[V]{done: make(chan struct{}), err: errAbandoned}
		if s.readings == nil {
			s.readings = map[reading]any{}
		}
		s.readings[key] = p
	}
	s.mu.Unlock()
	if !begun {
		defer close(p.done) // also when read panics
		p.value, p.err = read(ctx, g.rows)
		return p.value, p.err
	}
	select {
	case <-p.done:
		return p.value, p.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}
