package store

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/retrieval"
)

// crowd stores a document of n chunks with vectors at random around a few centres.
func (w *world) crowd(d Document, n int, r *rand.Rand) {
	w.t.Helper()
	rows := make([]Row, n)
	for i := range rows {
		v := make([]float32, embed.Size)
		for j := range 64 {
			v[j] = float32(r.NormFloat64())
		}
		v[i%8] += 12
		require.True(w.t, embed.Normalise(v))
		rows[i] = Row{Chunk: retrieval.Chunk{Index: i, Start: i, End: i + 1, Text: "x", TokenCount: 1}, Vector: v}
	}
	w.replace(d, 1, rows)
}

// forced runs a search by the index, whatever the planner would prefer for so few rows, and gives its plan.
func (w *world) forced(p Params) (hits []Hit, plan string) {
	w.t.Helper()
	ctx := context.Background()
	err := pgx.BeginFunc(ctx, w.db.Pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true)")
		require.NoError(w.t, err)
		hits, err = run(ctx, tx, p, false)
		require.NoError(w.t, err)
		s := build(p, false)
		rows, err := tx.Query(ctx, "EXPLAIN "+s.sql.String(), s.args...)
		require.NoError(w.t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan = strings.Join(lines, "\n")
		return err
	})
	require.NoError(w.t, err)
	return hits, plan
}

func TestSearch_Index(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.user("ann"), w.user("bob")
	r := rand.New(rand.NewPCG(3, 4))
	w.crowd(w.document(bob, "crowd", "crowd", nil), 500, r)
	w.crowd(w.document(ann, "few", "few", nil), 25, r)
	w.exec("ANALYZE document_chunks")
	for name, c := range map[string]struct {
		p    Params
		want int
	}{
		"Most": {w.params(bob, enum.SearchTypeSemantic, "x"), 50},
		"Few":  {w.params(ann, enum.SearchTypeSemantic, "x"), 20}, // 5 of a hundred rows pass: only an iterative scan finds them
	} {
		t.Run(name, func(t *testing.T) {
			c.p.Limit = c.want
			v := make([]float32, embed.Size)
			v[3], v[70] = 0.9, 0.1
			require.True(t, embed.Normalise(v))
			c.p.Vector = v
			exact := map[uuid.UUID]bool{}
			for _, h := range w.search(c.p) {
				exact[h.ChunkID] = true
			}
			require.Len(t, exact, c.want)
			hits, plan := w.forced(c.p)
			require.Contains(t, plan, "documentchunk_embedding")
			require.Len(t, hits, c.want)
			same := 0
			last := 2.0
			for i, h := range hits {
				require.Equal(t, "owner", h.GrantedBy)
				require.LessOrEqual(t, h.Score, last)
				require.Equal(t, i+1, *h.VectorRank)
				last = h.Score
				if exact[h.ChunkID] {
					same++
				}
			}
			require.GreaterOrEqual(t, same*10, c.want*8, "recall")
		})
	}
	hits, plan := w.forced(func() Params { p := w.params(bob, enum.SearchTypeHybrid, "x"); p.Limit = 5; return p }())
	require.Contains(t, plan, "documentchunk_embedding")
	require.Len(t, hits, 5)
}

func TestScanExactly(t *testing.T) {
	w := newWorld(t)
	ann, bob := w.user("ann"), w.user("bob")
	w.crowd(w.document(bob, "crowd", "crowd", nil), 50, rand.New(rand.NewPCG(5, 6)))
	ask := func(p Params) bool {
		var exact bool
		require.NoError(t, pgx.BeginFunc(context.Background(), w.db.Owner, func(tx pgx.Tx) (err error) {
			exact, err = scanExactly(context.Background(), tx, p)
			return err
		}))
		return exact
	}
	require.True(t, ask(w.params(bob, enum.SearchTypeSemantic, "x")), "a small table")
	// The planner's view of a large one, nearly all of it bob's.
	su, err := pgx.Connect(context.Background(), w.db.SuperuserURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, su.Close(context.Background())) }()
	w.exec("ANALYZE document_chunks")
	_, err = su.Exec(context.Background(), "UPDATE pg_class SET reltuples = 100000 WHERE oid = 'document_chunks'::regclass")
	require.NoError(t, err)
	p := w.params(bob, enum.SearchTypeSemantic, "x")
	require.False(t, ask(p))
	require.True(t, ask(w.params(ann, enum.SearchTypeSemantic, "x")), "few rows are ann's")
	p.Tags = []string{"a"}
	require.True(t, ask(p))
}
