// Package document keeps the documents that answers rest on: it takes them in, makes them searchable, searches them and
// lets them go.
//
// A document goes UPLOADED -> EXTRACTING -> CHUNKING -> EMBEDDING -> INDEXED or FAILED. One worker at a time holds it by a
// lease on the row; every write of a worker names the lease it holds, so one that was taken for dead changes nothing.
// Reading, cutting and embedding happen outside transactions; the result replaces the former generation in one.
//
// The package decides who may read by package rule and nowhere else: what a caller may not read is not found, takes no
// part in a search and is not counted. A document's text, a query and a file's name never enter a log, an audit row or an
// error. Errors for clients are *errs.Error with the codes named at each function; others are internal. A Service is
// safe for concurrent use.
package document

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/document"
	"cdsa.dev/cdsa/ent/predicate"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/pgarray"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Service works on documents. Every field is needed; it is not changed once in use.
type Service struct {
	Store    *uow.Store
	Client   *ent.Client
	Pool     *pgxpool.Pool
	Embedder embed.Embedder // of the default embedding model
	Log      *slog.Logger
	// LoadUser gives a user's rights as they are now; for tools, which know who asks by id only.
	LoadUser func(ctx context.Context, userID uuid.UUID) (*authz.Principal, error)

	once    sync.Once
	intake  chan struct{} // bounds files in memory
	touched touches
}

// columns is a document without the bytes and, unless content is wanted, the text.
func columns(content bool) []string {
	if content {
		return without(document.Columns, document.FieldOriginal)
	}
	return without(document.Columns, document.FieldOriginal, document.FieldContent)
}

// Tagged is a filter of documents that have all of these tags. BAD_USER_INPUT.
func Tagged(tags []string) (predicate.Document, error) {
	if badTags(tags) {
		return nil, errs.Input("where.tagsContain", "At most %d tags of at most %d characters.", maxTags, maxTag)
	}
	return func(s *sql.Selector) {
		s.Where(sql.P(func(b *sql.Builder) { b.Ident(s.C(document.FieldTags)).WriteString(" @> ").Arg(pgarray.Strings(tags)) }))
	}, nil
}

func without(columns []string, not ...string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return slices.Contains(not, c) })
}

// read loads a document without its text outside a unit of work as the context's principal, so that its edges can be read.
func (s *Service) read(ctx context.Context, id uuid.UUID) (*ent.Document, error) {
	q := s.Client.Document.Query().Where(document.ID(id))
	q.Select(columns(false)...)
	d, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("document")
	}
	return d, err
}

// ChunkCount is how many passages of the document can be searched; 0 for a caller who may not read it. Only d.ID is used;
// documents that were read together are counted together.
func (s *Service) ChunkCount(ctx context.Context, d *ent.Document) (int, error) {
	if authz.From(ctx) == nil {
		return 0, nil
	}
	counts, err := batch.Load(ctx, "chunk counts", d, s.chunkCounts)
	return counts[d.ID], err
}

// chunkCounts counts the passages of documents; those without any are not in the map.
func (s *Service) chunkCounts(ctx context.Context, documents []*ent.Document) (map[uuid.UUID]int, error) {
	p, err := rule.Judged(ctx, "DocumentChunk")
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(documents))
	for i, d := range documents {
		ids[i] = d.ID
	}
	scope, args := rule.Readable(p, "owner_id").SQL("c", 2)
	// One model's chunks may stand beside another's while models are switched; each passage counts once.
	rows, err := s.Pool.Query(ctx, `SELECT c.document_id, count(DISTINCT c.chunk_index) FROM document_chunks c
		JOIN documents d ON d.id = c.document_id AND d.generation = c.generation
		WHERE c.document_id = ANY($1) AND `+scope+` GROUP BY c.document_id`, append([]any{ids}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("count passages: %w", err)
	}
	counts := make(map[uuid.UUID]int, len(documents))
	var id uuid.UUID
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] = n; return nil }); err != nil {
		return nil, fmt.Errorf("count passages: %w", err)
	}
	return counts, nil
}

// model is the row of the embedding model that this server embeds with. When an operator has made another the default,
// vectors would not be comparable: it fails.
func (s *Service) model(ctx context.Context) (uuid.UUID, error) {
	var id uuid.UUID
	var name string
	err := s.Pool.QueryRow(ctx, "SELECT id, model_id FROM embedding_models WHERE is_default AND is_active").Scan(&id, &name)
	if err != nil {
		return uuid.Nil, fmt.Errorf("the default embedding model: %w", err)
	}
	if name != s.Embedder.Model() {
		return uuid.Nil, fmt.Errorf("the default embedding model is %q, this server embeds with %q", name, s.Embedder.Model())
	}
	return id, nil
}

// checkIDs refuses too many ids and those of other entities.
func checkIDs(ids []uuid.UUID, field string) error {
	if len(ids) > maxDocumentIDs {
		return errs.Input(field, "At most %d documents.", maxDocumentIDs)
	}
	for _, id := range ids {
		if uid.Check(id, uid.Document, field) != nil {
			return errs.Input(field, "One of them is not the id of a Document.")
		}
	}
	return nil
}

func atLeastConfidential(s enum.Sensitivity) bool { return s.AtLeast(enum.SensitivityConfidential) }
