package batch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"entgo.io/ent"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cdsa.dev/cdsa/internal/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type row struct{ id int }

func rows(n int) []*row {
	l := make([]*row, n)
	for i := range l {
		l[i] = &row{i}
	}
	return l
}

func within(s *batch.Scope) context.Context {
	return context.WithValue(context.Background(), batch.Key{}, s)
}

// squares is a reading that counts its calls.
type squares struct{ calls, rows atomic.Int64 }

func (s *squares) read(_ context.Context, l []*row) (map[int]int, error) {
	s.calls.Add(1)
	s.rows.Add(int64(len(l)))
	m := map[int]int{}
	for _, r := range l {
		m[r.id] = r.id * r.id
	}
	return m, nil
}

func (s *squares) of(t *testing.T, ctx context.Context, what any, r *row) {
	t.Helper()
	m, err := batch.Load(ctx, what, r, s.read)
	require.NoError(t, err)
	require.Equal(t, r.id*r.id, m[r.id])
}

func TestLoad_Once(t *testing.T) {
	var s batch.Scope
	ctx := within(&s)
	page, other, alone := rows(100), rows(7), &row{5}
	batch.Note(ctx, page)
	batch.Note(ctx, []*int{new(int), new(int)}) // of another kind
	batch.Note(ctx, other)
	var read squares
	var all sync.WaitGroup
	for _, r := range page {
		all.Go(func() { read.of(t, ctx, "squares", r) })
	}
	all.Wait()
	require.EqualValues(t, 1, read.calls.Load())
	require.EqualValues(t, 100, read.rows.Load())
	read.of(t, ctx, "squares", other[3])
	require.EqualValues(t, 2, read.calls.Load(), "rows of another statement are another group")
	for range 3 {
		read.of(t, ctx, "squares", alone)
	}
	require.EqualValues(t, 3, read.calls.Load(), "a row on its own is a group")
	read.of(t, ctx, "cubes", page[1])
	require.EqualValues(t, 4, read.calls.Load(), "something else is read of them")
	late := rows(3)
	batch.Note(ctx, late)
	read.of(t, ctx, "squares", late[2])
	require.EqualValues(t, 107+1+100+3, read.rows.Load(), "what is read later is noted later")

	s.Forget()
	read.of(t, ctx, "squares", page[1])
	require.EqualValues(t, 107+1+100+3+1, read.rows.Load(), "nothing is left, not even who was read with whom")
}

func TestLoad_WithoutScope(t *testing.T) {
	page := rows(3)
	batch.Note(t.Context(), page)
	var read squares
	for _, r := range page {
		read.of(t, t.Context(), "squares", r)
	}
	require.EqualValues(t, 3, read.calls.Load())
}

func TestLoad_Error(t *testing.T) {
	var s batch.Scope
	ctx, page, calls, broken := within(&s), rows(9), 0, errors.New("broken")
	batch.Note(ctx, page)
	for _, r := range page {
		_, err := batch.Load(ctx, "it", r, func(context.Context, []*row) (int, error) { calls++; return 0, broken })
		require.ErrorIs(t, err, broken)
	}
	require.Equal(t, 1, calls)
}

// TestLoad_Panic: it is the first's, and an error for those who wait, then and later.
func TestLoad_Panic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s batch.Scope
		ctx, page, wait := within(&s), rows(9), make(chan struct{})
		batch.Note(ctx, page)
		load := func(r *row) error {
			_, err := batch.Load(ctx, "it", r, func(context.Context, []*row) (int, error) { <-wait; panic("broken") })
			return err
		}
		var panics, failures atomic.Int64
		var all sync.WaitGroup
		for _, r := range page {
			all.Go(func() {
				defer func() {
					if recover() != nil {
						panics.Add(1)
					}
				}()
				if load(r) != nil {
					failures.Add(1)
				}
			})
		}
		synctest.Wait()
		close(wait)
		all.Wait()
		require.EqualValues(t, 1, panics.Load())
		require.EqualValues(t, 8, failures.Load())
		require.Error(t, load(page[0]))
	})
}

// TestLoad_Cancelled: nobody waits longer than their context, whoever reads.
func TestLoad_Cancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s batch.Scope
		ctx, cancel := context.WithCancel(within(&s))
		page, wait := rows(9), make(chan struct{})
		batch.Note(ctx, page)
		first := make(chan error)
		load := func(r *row) error {
			_, err := batch.Load(ctx, "it", r, func(context.Context, []*row) (int, error) { <-wait; return 0, nil })
			return err
		}
		go func() { first <- load(page[0]) }()
		synctest.Wait()
		var all sync.WaitGroup
		for _, r := range page[1:] {
			all.Go(func() { require.ErrorIs(t, load(r), context.Canceled) })
		}
		synctest.Wait()
		cancel()
		all.Wait()
		close(wait)
		require.NoError(t, <-first)
	})
}

func TestNoting(t *testing.T) {
	var s batch.Scope
	ctx, page := within(&s), rows(5)
	give := func(v ent.Value, err error) {
		q := batch.Noting[row]{}.Intercept(ent.QuerierFunc(func(context.Context, ent.Query) (ent.Value, error) { return v, err }))
		got, gotErr := q.Query(ctx, nil)
		require.Equal(t, v, got)
		require.Equal(t, err, gotErr)
	}
	give(5, nil) // a count
	give(rows(2), errors.New("broken"))
	give(page, nil)
	var read squares
	read.of(t, ctx, "squares", page[0])
	require.EqualValues(t, 5, read.rows.Load())
}
