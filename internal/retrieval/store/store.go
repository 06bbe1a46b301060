// Package store keeps chunks in Postgres and searches them by meaning, by words, or by both. What the searcher may
// not read takes no part: the condition of package rule stands inside each ranking, on the chunk's own columns, and once
// more on its document, so that neither a hit nor its rank tells of another's document.
//
// It uses pgx, not ent: vectors and ranks have no place there. The caller brings the transaction or pool, whose
// connections know pgvector's types. Everything is safe for concurrent use. Errors are *errs.Error for a bad query,
// else the database's, wrapped; neither carries a query or a content.
package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgvector/pgvector-go"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/uid"
)

// keywordsKept is how many search keywords a chunk has.
const keywordsKept = 12

// Batch is how many chunks are embedded and stored at a time: the index of vectors takes some milliseconds for each.
const Batch = 64

// maxChunks is how many passages a document may have: some 20 MB of prose. It is odd texts that have more.
const maxChunks = 20_000

// Document is what its chunks copy, so that the search needs no join to refuse a row.
type Document struct {
	ID                 uuid.UUID
	OwnerID            uuid.UUID
	IsPublic           bool
	RequiredPermission *string
	Sensitivity        enum.Sensitivity
}

// Row is a chunk ready to be stored.
type Row struct {
	retrieval.Chunk
	Vector   []float32 // len 1536, L2-normalised; nil for a passage the document has already, which would be found in its stead
	Keywords []string
	Language string         // as Text.Language
	Metadata map[string]any // may be nil
}

// Cut cuts a text into its passages. RESOURCE_EXHAUSTED for a text of too many.
func Cut(t *retrieval.Text) ([]retrieval.Chunk, error) {
	chunks := retrieval.Split(t)
	if len(chunks) > maxChunks {
		return nil, errs.New(errs.ResourceExhausted, "The document has %d passages; at most %d can be searched. Split it into smaller files.", len(chunks), maxChunks)
	}
	return chunks, nil
}

// Preparer makes the rows of one document's passages, batch after batch. Not for concurrent use.
type Preparer struct {
	Embedder embed.Embedder
	Language string // as Text.Language
	seen     map[[sha256.Size]byte]bool
}

// Rows embeds chunks. A chunk is embedded with its heading, which often names what it is about; what was embedded before is
// not again. No transaction should be open: the embedder may be far away. The error is the embedder's or the context's.
func (p *Preparer) Rows(ctx context.Context, chunks []retrieval.Chunk) ([]Row, error) {
	if p.seen == nil {
		p.seen = map[[sha256.Size]byte]bool{}
	}
	rows := make([]Row, len(chunks))
	var texts []string
	var of []int
	for i, c := range chunks {
		rows[i] = Row{Chunk: c, Keywords: retrieval.Keywords(c.Text, keywordsKept), Language: p.Language}
		text := c.Text
		if c.Heading != "" {
			text = c.Heading + "\n" + c.Text
		}
		if sum := sha256.Sum256([]byte(text)); !p.seen[sum] {
			p.seen[sum] = true
			texts, of = append(texts, text), append(of, i)
		}
	}
	if len(texts) == 0 {
		return rows, ctx.Err()
	}
	vectors, err := p.Embedder.Embed(ctx, texts)
	if err != nil {
		return nil, err
	}
	for i, v := range vectors {
		rows[of[i]].Vector = v
	}
	return rows, nil
}

// Writer is a transaction.
type Writer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
}

var columns = []string{
	"id", "created_at", "document_id", "generation", "embedding_model_id", "chunk_index", "content", "embedding", "token_count", "char_count",
	"metadata", "search_keywords", "start_offset", "end_offset", "page", "heading", "language",
	"owner_id", "is_public", "required_permission", "sensitivity",
}

// AddChunks stores some of a document's chunks of one generation and model. They are found by no search until the document's
// generation is this one. For the indexer, in its transaction. The error is the database's.
func AddChunks(ctx context.Context, tx Writer, d Document, generation int, modelID uuid.UUID, rows []Row) error {
	now := time.Now().UTC()
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"document_chunks"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		r := rows[i]
		var vector any
		if r.Vector != nil {
			if len(r.Vector) != embed.Size {
				return nil, fmt.Errorf("chunk %d: a vector of %d", r.Index, len(r.Vector))
			}
			vector = pgvector.NewVector(r.Vector)
		}
		meta := r.Metadata
		if meta == nil {
			meta = map[string]any{}
		}
		m, err := json.Marshal(meta)
		if err != nil {
			return nil, fmt.Errorf("chunk %d: metadata: %w", r.Index, err)
		}
		keywords := r.Keywords
		if keywords == nil {
			keywords = []string{}
		}
		return []any{
			uid.New(uid.DocumentChunk), now, d.ID, generation, modelID, r.Index, r.Text, vector, r.TokenCount, r.End - r.Start,
			m, keywords, r.Start, r.End, r.Page, optional(r.Heading), r.Language,
			d.OwnerID, d.IsPublic, d.RequiredPermission, string(d.Sensitivity),
		}, nil
	}))
	if err != nil {
		return fmt.Errorf("insert chunks: %w", err)
	}
	if n != int64(len(rows)) {
		return fmt.Errorf("insert chunks: %d of %d", n, len(rows))
	}
	return nil
}

// DropOldChunks deletes a document's chunks of generations before keep. For the indexer, in the transaction that makes keep
// the document's generation, or later.
func DropOldChunks(ctx context.Context, tx Writer, documentID uuid.UUID, keep int) error {
	if _, err := tx.Exec(ctx, "DELETE FROM document_chunks WHERE document_id = $1 AND generation < $2", documentID, keep); err != nil {
		return fmt.Errorf("delete old chunks: %w", err)
	}
	return nil
}

// DropNewChunks deletes what a document has of generations that are not to come. For the indexer, before AddChunks and when it
// gives up.
func DropNewChunks(ctx context.Context, tx Writer, documentID uuid.UUID) error {
	_, err := tx.Exec(ctx, "DELETE FROM document_chunks c USING documents d WHERE d.id = $1 AND c.document_id = d.id AND c.generation > d.generation", documentID)
	if err != nil {
		return fmt.Errorf("delete new chunks: %w", err)
	}
	return nil
}

// CopyAccess carries a document's changed owner, visibility, permission or sensitivity to its chunks, in the same transaction.
func CopyAccess(ctx context.Context, tx Writer, d Document) error {
	_, err := tx.Exec(ctx, "UPDATE document_chunks SET owner_id = $2, is_public = $3, required_permission = $4, sensitivity = $5 WHERE document_id = $1",
		d.ID, d.OwnerID, d.IsPublic, d.RequiredPermission, string(d.Sensitivity))
	if err != nil {
		return fmt.Errorf("change chunks: %w", err)
	}
	return nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
