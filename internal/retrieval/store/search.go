package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

// Bounds of a search.
const (
	MaxLimit = 100   // hits
	MaxQuery = 2_000 // code points of a query
	minDepth = 50    // hits of each ranking that fusion looks at, at least
)

// Beginner is a pool, a connection or a transaction.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Params say what to search. Principal and ModelID are required, Query and Vector as Type needs them.
type Params struct {
	Principal *authz.Principal // who searches; decides what may be found
	Type      enum.SearchType
	Query     string    // words, "a phrase", -without, or; for KEYWORD and HYBRID
	Vector    []float32 // the query's embedding by ModelID's model; for SEMANTIC and HYBRID
	ModelID   uuid.UUID // only chunks of this embedding model
	Limit     int       // 1..100
	// DocumentIDs and Tags narrow the search to these documents and to documents with one of these tags; empty does not.
	DocumentIDs []uuid.UUID
	Tags        []string
}

// Hit is a chunk that was found.
type Hit struct {
	ChunkID, DocumentID uuid.UUID
	Title               string // of the document
	ChunkIndex          int
	Content             string
	Start, End          int // code points into the document's text
	Page                *int
	Heading             *string
	Language            string
	Sensitivity         enum.Sensitivity
	// Score falls along the hits. SEMANTIC: cosine similarity, -1..1. KEYWORD: cover density, 0..1. HYBRID: the sum of
	// 1/(60+rank) over the two rankings, at most 2/61.
	Score       float64
	Similarity  *float64 // cosine similarity to the query, for hits of the vector ranking
	VectorRank  *int     // from 1; nil when not in that ranking
	KeywordRank *int
	GrantedBy   string // why it may be read: "owner", "public", the permission's name, or "system"
}

// Search gives the best chunks, best first; equal ones in the order of their ids. Only the current generation of a
// document is searched. BAD_USER_INPUT for a query, limit or type that cannot be searched, UNAUTHENTICATED without a
// principal.
func Search(ctx context.Context, db Beginner, p Params) ([]Hit, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // a no-op after the commit
	hits, err := search(ctx, tx, p)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return hits, nil
}

func (p *Params) check() error {
	words := p.Type == enum.SearchTypeKeyword || p.Type == enum.SearchTypeHybrid
	meaning := p.Type == enum.SearchTypeSemantic || p.Type == enum.SearchTypeHybrid
	switch {
	case p.Principal == nil:
		return errs.New(errs.Unauthenticated, "Sign in first.")
	case !words && !meaning:
		return errs.Input("searchType", "The search type must be SEMANTIC, KEYWORD or HYBRID.")
	case p.Limit < 1 || p.Limit > MaxLimit:
		return errs.Input("limit", "Ask for between 1 and %d results.", MaxLimit)
	case words && strings.TrimSpace(p.Query) == "":
		return errs.Input("query", "Say what to search for.")
	case utf8.RuneCountInString(p.Query) > MaxQuery:
		return errs.Input("query", "A query may have at most %d characters. Shorten it.", MaxQuery)
	case strings.ContainsRune(p.Query, 0) || !utf8.ValidString(p.Query):
		return errs.Input("query", "The query contains characters that are not text. Remove them.")
	case meaning && len(p.Vector) != embed.Size:
		return fmt.Errorf("search: a vector of %d", len(p.Vector))
	case p.ModelID == uuid.Nil:
		return errors.New("search: no embedding model")
	}
	return nil
}

// depth is how many hits of each ranking are looked at.
func (p *Params) depth() int {
	if p.Type == enum.SearchTypeHybrid {
		return max(4*p.Limit, minDepth)
	}
	return p.Limit
}

func search(ctx context.Context, tx pgx.Tx, p Params) ([]Hit, error) {
	exact := true
	if p.Type != enum.SearchTypeKeyword {
		var err error
		if exact, err = scanExactly(ctx, tx, p); err != nil {
			return nil, err
		}
	}
	hits, err := run(ctx, tx, p, exact)
	if err == nil && !exact && short(p, hits) {
		hits, err = run(ctx, tx, p, true) // the index gave up before it had enough readable rows
	}
	return hits, err
}

// short says whether the vector ranking is not full.
func short(p Params, hits []Hit) bool {
	n := 0
	for _, h := range hits {
		if h.VectorRank != nil {
			n++
		}
	}
	return n < p.Limit && len(hits) < p.Limit
}

func run(ctx context.Context, tx pgx.Tx, p Params, exact bool) ([]Hit, error) {
	// ef_search bounds what one pass of the index yields; the scan goes on until enough rows pass the condition.
	ef := strconv.Itoa(min(max(2*p.depth(), 100), 1000))
	if _, err := tx.Exec(ctx, `SELECT set_config('jit', 'off', true), set_config('hnsw.ef_search', $1, true),
		set_config('hnsw.iterative_scan', 'relaxed_order', true)`, ef); err != nil {
		return nil, err
	}
	s := build(p, exact)
	rows, err := tx.Query(ctx, s.sql.String(), s.args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (Hit, error) {
		var h Hit
		err := r.Scan(&h.ChunkID, &h.DocumentID, &h.Title, &h.ChunkIndex, &h.Content, &h.Start, &h.End, &h.Page, &h.Heading, &h.Language,
			&h.Sensitivity, &h.Score, &h.Similarity, &h.VectorRank, &h.KeywordRank, &h.GrantedBy)
		return h, err
	})
}
