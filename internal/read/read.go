// Package read answers the hottest reads with SQL of its own: the list of conversations with their newest messages, one
// conversation, and the audit log. A read becomes one statement that fetches just the columns the operation selects,
// and the rows become ent's structs with their edges loaded, so that resolvers cannot tell the difference.
//
// Every statement is narrowed by package rule, for each table it touches: the source of ent's policies too. What a
// loader does not cover - filters, totalCount, other edges - is left to ent as a whole, never in part. Rows are as of
// one snapshot of the database. It writes nothing. A Reader is safe for concurrent use.
//
// Errors are those of the policies (UNAUTHENTICATED), of the meter (RESOURCE_EXHAUSTED) and of the database.
package read

import (
	"context"
	"fmt"

	"github.com/99designs/gqlgen/graphql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/meter"
)

// Reader reads with the server's pool. Make one with New.
type Reader struct {
	pool   *pgxpool.Pool
	client *ent.Client
	shapes shapes
}

// New makes a reader; client answers what the loaders do not cover and loads further edges of the rows they give.
func New(pool *pgxpool.Pool, client *ent.Client) *Reader {
	return &Reader{pool: pool, client: client}
}

// each runs the statement and hands its rows over one by one: the values are valid until the next. formats are what the
// columns' decoders expect, most is how many rows may come.
func (r *Reader) each(ctx context.Context, sql string, args []any, formats []int16, most int, row func(values [][]byte) error) error {
	m := meter.From(ctx)
	cancel := func() {}
	if most > 1 { // what is left when the meter is full is not worth receiving
		ctx, cancel = context.WithCancel(ctx)
	}
	defer cancel()
	rows, err := r.pool.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	defer rows.Close()
	for first := true; rows.Next(); first = false {
		if first {
			if err := checkFormats(rows, formats); err != nil {
				return err
			}
		}
		values := rows.RawValues()
		if err := m.Read(length(values)); err != nil {
			cancel()
			return err
		}
		if err := row(values); err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

func length(values [][]byte) (n int) {
	for _, v := range values {
		n += len(v)
	}
	return n
}

func checkFormats(rows pgx.Rows, want []int16) error {
	have := rows.FieldDescriptions()
	if len(have) != len(want) {
		return fmt.Errorf("read: %d columns came where %d were selected", len(have), len(want))
	}
	for i := range have {
		if have[i].Format != want[i] {
			return fmt.Errorf("read: column %s came in format %d, not %d", have[i].Name, have[i].Format, want[i])
		}
	}
	return nil
}

// operation gives what look-ahead needs; false outside of an operation.
func operation(ctx context.Context) (*graphql.OperationContext, collectedField, bool) {
	fc := graphql.GetFieldContext(ctx)
	if fc == nil || !graphql.HasOperationContext(ctx) {
		return nil, collectedField{}, false
	}
	return graphql.GetOperationContext(ctx), fc.Field, true
}

// slab makes structs several at a time: as many as may be needed, up to a bound.
type slab[T any] struct {
	size int // at once
	free []T
}

const slabMost = 64

func newSlab[T any](wanted int) slab[T] { return slab[T]{size: max(1, min(wanted, slabMost))} }

func (s *slab[T]) next() *T {
	if len(s.free) == 0 {
		s.free = make([]T, s.size)
	}
	x := &s.free[0]
	s.free = s.free[1:]
	return x
}
