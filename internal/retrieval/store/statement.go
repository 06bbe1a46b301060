package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/rule"
)

// Below these an exact scan of the readable rows is faster than the index, whose filtered scan also misses rows: measured crossover
// at 10 to 20 of a hundred rows readable.
const (
	exactRows  = 2_000
	exactShare = 0.15
)

// scanExactly asks the planner how many rows the condition leaves. Chosen documents or tags leave few.
func scanExactly(ctx context.Context, tx pgx.Tx, p Params) (bool, error) {
	if len(p.DocumentIDs) > 0 || len(p.Tags) > 0 {
		return true, nil
	}
	s := &statement{p: p}
	s.text("EXPLAIN (FORMAT JSON) SELECT 1 FROM document_chunks c WHERE ")
	s.readable("c", "owner_id")
	var plan []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	var raw []byte
	if err := tx.QueryRow(ctx, s.sql.String(), s.args...).Scan(&raw); err != nil {
		return false, fmt.Errorf("estimate: %w", err)
	}
	if err := json.Unmarshal(raw, &plan); err != nil {
		return false, fmt.Errorf("estimate: %w", err)
	}
	if len(plan) != 1 {
		return false, fmt.Errorf("estimate: %d plans", len(plan))
	}
	var total float64
	err := tx.QueryRow(ctx, "SELECT reltuples FROM pg_class WHERE oid = 'document_chunks'::regclass").Scan(&total)
	if err != nil {
		return false, fmt.Errorf("estimate: %w", err)
	}
	rows := plan[0].Plan.Rows
	return rows <= exactRows || rows < exactShare*total, nil
}

// configurations are the text search configurations of the languages, as in the column's definition; any other
// language is "simple".
var configurations = []struct{ language, name string }{{"en", "english"}, {"de", "german"}, {"fr", "french"}, {"es", "spanish"}}

// A statement is SQL being written, with its arguments.
type statement struct {
	p    Params
	sql  strings.Builder
	args []any
}

func (s *statement) text(sql string) { s.sql.WriteString(sql) }

// arg adds an argument and gives its placeholder.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// readable writes the condition that the principal may read the rows of a table.
func (s *statement) readable(alias, ownerColumn string) {
	sql, args := rule.Readable(s.p.Principal, ownerColumn).SQL(alias, len(s.args)+1)
	s.text(sql)
	s.args = append(s.args, args...)
}

// from writes the rows a ranking may see: readable by the chunk's columns and by the document's, of the current generation and
// the model, within the filters.
func (s *statement) from() {
	s.text(" FROM document_chunks c JOIN documents d ON d.id = c.document_id AND d.generation = c.generation WHERE ")
	s.readable("c", "owner_id")
	s.text(" AND ")
	s.readable("d", "uploaded_by")
	s.text(" AND c.embedding_model_id = " + s.arg(s.p.ModelID))
	if len(s.p.DocumentIDs) > 0 {
		s.text(" AND c.document_id = ANY(" + s.arg(s.p.DocumentIDs) + "::uuid[])")
	}
	if len(s.p.Tags) > 0 {
		s.text(" AND d.tags && " + s.arg(s.p.Tags) + "::text[]")
	}
}

// build writes the search: a common table expression a ranking, their fusion, and only for what is left the columns.
func build(p Params, exact bool) *statement {
	s := &statement{p: p}
	s.text("WITH ")
	if p.Type != enum.SearchTypeKeyword {
		s.byMeaning(exact)
	}
	if p.Type == enum.SearchTypeHybrid {
		s.text(", ")
	}
	if p.Type != enum.SearchTypeSemantic {
		s.byWords()
	}
	switch p.Type {
	case enum.SearchTypeSemantic:
		s.text(", best AS (SELECT id, 1 - distance AS score, distance, vector_rank, NULL::bigint AS keyword_rank FROM vec)")
	case enum.SearchTypeKeyword:
		s.text(", best AS (SELECT id, density AS score, NULL::float8 AS distance, NULL::bigint AS vector_rank, keyword_rank FROM kw)")
	default:
		k := strconv.Itoa(retrieval.FusionK)
		s.text(", best AS (SELECT id, coalesce(1.0::float8 / (" + k + " + vector_rank), 0) + coalesce(1.0::float8 / (" + k +
			" + keyword_rank), 0) AS score, distance, vector_rank, keyword_rank FROM vec FULL JOIN kw USING (id))")
	}
	s.text(` SELECT c.id, c.document_id, d.title, c.chunk_index, c.content, c.start_offset, c.end_offset, c.page, c.heading, c.language,
		c.sensitivity, b.score, 1 - b.distance, b.vector_rank, b.keyword_rank, `)
	s.grantedBy()
	s.text(` FROM best b JOIN document_chunks c ON c.id = b.id JOIN documents d ON d.id = c.document_id
		ORDER BY b.score DESC, b.vector_rank, b.keyword_rank, c.id LIMIT ` + s.arg(p.Limit))
	return s
}

// byMeaning ranks by cosine distance, computed once a row. The exact form computes all distances before it orders
// them, which keeps the planner from the index; the other orders as the index does and sorts again, for a relaxed scan yields nearly in order.
func (s *statement) byMeaning(exact bool) {
	distance := "c.embedding <=> " + s.arg(pgvector.NewVector(s.p.Vector))
	depth := strconv.Itoa(s.p.depth())
	s.text("near AS MATERIALIZED (SELECT c.id, " + distance + " AS distance")
	s.from()
	s.text(" AND c.embedding IS NOT NULL")
	if !exact {
		s.text(" ORDER BY " + distance + " LIMIT " + depth)
	}
	s.text(`), vec AS (SELECT id, distance, row_number() OVER (ORDER BY distance, id) AS vector_rank
		FROM (SELECT id, distance FROM near ORDER BY distance, id LIMIT ` + depth + `) n)`)
}

// byWords ranks the passages that have the words. KEYWORD asks for all of them and ranks by cover density; HYBRID prefers that but
// takes any, since people ask in sentences, and ranks by how many different ones there are: cover density would count a common
// word ten times. A query with a phrase or an exclusion is left as it is.
func (s *statement) byWords() {
	w := readWords(s.p.Query)
	query := s.arg(w.text)
	depth := strconv.Itoa(s.p.depth())
	function := "ts_rank_cd"
	if s.p.Type == enum.SearchTypeHybrid && !w.literal {
		function = "ts_rank"
	}
	var whole, found, density, languages strings.Builder
	one := func(cfg string) (isWhole, isFound, dense string) {
		strict, all, least := w.asked(cfg, query)
		if s.p.Type != enum.SearchTypeHybrid {
			least = all
		}
		isWhole = "(c.search_vector @@ " + strict + ")::int"
		if !w.literal {
			isWhole += " + (c.search_vector @@ " + all + ")::int"
		}
		// 33: divided by 1 + the logarithm of the length, and brought between 0 and 1.
		return isWhole, "c.search_vector @@ " + least, function + "(c.search_vector, " + least + ", 33)"
	}
	for _, c := range configurations {
		isWhole, isFound, dense := one(c.name)
		fmt.Fprintf(&whole, "WHEN '%s' THEN %s ", c.language, isWhole)
		fmt.Fprintf(&found, "c.language = '%s' AND %s OR ", c.language, isFound)
		fmt.Fprintf(&density, "WHEN '%s' THEN %s ", c.language, dense)
		languages.WriteString("'" + c.language + "', ")
	}
	other := strings.TrimSuffix(languages.String(), ", ")
	isWhole, isFound, dense := one("simple")
	s.text("found AS (SELECT c.id, CASE c.language " + whole.String() + "ELSE " + isWhole + " END AS whole, " +
		"(CASE c.language " + density.String() + "ELSE " + dense + " END)::float8 AS density")
	s.from()
	s.text(" AND (" + found.String() + "c.language NOT IN (" + other + ") AND " + isFound + ")")
	s.text(`), kw AS (SELECT id, density, row_number() OVER (ORDER BY whole DESC, density DESC, id) AS keyword_rank
		FROM (SELECT id, whole, density FROM found ORDER BY whole DESC, density DESC, id LIMIT ` + depth + `) f)`)
}

// grantedBy writes why the principal may read the document, the first reason that holds.
func (s *statement) grantedBy() {
	if s.p.Principal.UserID == uuid.Nil {
		s.text("'system'")
		return
	}
	s.text("CASE WHEN d.uploaded_by = " + s.arg(s.p.Principal.UserID) + " THEN 'owner' WHEN d.is_public THEN 'public' ELSE coalesce(d.required_permission, '') END")
}
