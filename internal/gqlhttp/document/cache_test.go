package document

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql/executor"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/gqlhttp/internal/testgraph"
)

func TestLRU(t *testing.T) {
	c := newLRU[int](3, 100, 50)
	for i := range 3 {
		c.add(fmt.Sprint(i), i, 10)
	}
	_, ok := c.get("0") // now the newest
	require.True(t, ok)
	c.add("3", 3, 10)
	_, ok = c.get("1")
	require.False(t, ok, "the entry unused for longest goes first")
	_, ok = c.get("0")
	require.True(t, ok)

	c.add("heavy", 9, 51)
	_, ok = c.get("heavy")
	require.False(t, ok, "an entry heavier than its share is not kept")
	c.add("a", 1, 50)
	c.add("b", 1, 50)
	require.LessOrEqual(t, c.bytes, 100)
	c.add("b", 2, 20)
	v, _ := c.get("b")
	require.Equal(t, 2, v)
	require.Equal(t, 70, c.bytes, "a replaced entry's weight is given back")
}

// TestRegions: a flood of anonymous documents leaves what signed-in callers use in place.
func TestRegions(t *testing.T) {
	r := newRegions[int](80, 1<<16)
	signed := authz.With(context.Background(), authz.NewUser(uuid.New(), "ada", uuid.New(), false, time.Now()))
	r.add(signed, "hot", 1, 100)
	for i := range 10_000 {
		r.add(context.Background(), fmt.Sprint(i), i, 100)
	}
	_, ok := r.get("hot")
	require.True(t, ok)
	require.LessOrEqual(t, len(r.anonymous.entries), 10)
	_, ok = r.get("9999")
	require.True(t, ok, "anonymous callers find their own")
}

func TestInstall_WithoutValidCursor(t *testing.T) {
	srv := executor.New(testgraph.NewExecutableSchema(testgraph.Config{Resolvers: &testgraph.Root{}}))
	require.Panics(t, func() { DefaultLimits().Install(srv, nil) })
}

// BenchmarkPrepare is what a document costs that is not in the cache.
func BenchmarkPrepare(b *testing.B) {
	l := DefaultLimits()
	l.ValidCursor = func(string, string) error { return nil }
	d := &documents{limits: l}
	require.NoError(b, d.Validate(testgraph.NewExecutableSchema(testgraph.Config{Resolvers: &testgraph.Root{}})))
	q := "query($n:Int){users(first:$n){edges{node{" + strings.Repeat("friend{id name} ", 5) + "}}}}"
	b.ReportAllocs()
	for b.Loop() {
		if _, err, _ := d.prepare(q, true); err != nil {
			b.Fatal(err)
		}
	}
}
