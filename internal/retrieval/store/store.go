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
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pgvector/pgvector-go"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/uid"
)

// keywordsKept is how many search keywords a chunk has.
const keywordsKept = 12

// embedBatch is how many chunks are embedded between two looks at the context and two reports of progress.
const embedBatch = 64

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
	Vector   []float32 // len 1536, L2-normalised
	Keywords []string
	Language string         // as Text.Language
	Metadata map[string]any // may be nil
}

// Prepare cuts and embeds a text. A chunk is embedded with its heading, which often names what it is about.
// progress, if not nil, is told the chunks embedded so far and in all, first with 0 when the text is cut. No transaction should be open: the embedder may be far away.
// The error is the embedder's or the context's.
func Prepare(ctx context.Context, e embed.Embedder, t *retrieval.Text, progress func(done, total int)) ([]Row, error) {
	chunks := retrieval.Split(t)
	rows := make([]Row, 0, len(chunks))
	if progress != nil {
		progress(0, len(chunks))
	}
	for at := 0; at < len(chunks); at += embedBatch {
		batch := chunks[at:min(at+embedBatch, len(chunks))]
		texts := make([]string, len(batch))
		for i, c := range batch {
			texts[i] = c.Text
			if c.Heading != "" {
				texts[i] = c.Heading + "\n" + c.Text
			}
		}
		vectors, err := e.Embed(ctx, texts)
		if err != nil {
			return nil, err
		}
		for i, c := range batch {
			rows = append(rows, Row{Chunk: c, Vector: vectors[i], Keywords: retrieval.Keywords(c.Text, keywordsKept), Language: t.Language})
		}
		if progress != nil {
			progress(len(rows), len(chunks))
		}
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

// ReplaceChunks stores a document's chunks of one generation and model, in place of those it had of the same; so a
// repeated job leaves one set. They are found by no search until the document's generation is this one. For the indexer, in its
// transaction. The error is the database's.
func ReplaceChunks(ctx context.Context, tx Writer, d Document, generation int, modelID uuid.UUID, rows []Row) error {
	_, err := tx.Exec(ctx, "DELETE FROM document_chunks WHERE document_id = $1 AND generation = $2 AND embedding_model_id = $3", d.ID, generation, modelID)
	if err != nil {
		return fmt.Errorf("delete chunks: %w", err)
	}
	now := time.Now().UTC()
	n, err := tx.CopyFrom(ctx, pgx.Identifier{"document_chunks"}, columns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		r := rows[i]
		if len(r.Vector) != embed.Size {
			return nil, fmt.Errorf("chunk %d: a vector of %d", i, len(r.Vector))
		}
		meta := r.Metadata
		if meta == nil {
			meta = map[string]any{}
		}
		m, err := json.Marshal(meta)
		if err != nil {
			return nil, fmt.Errorf("chunk %d: metadata: %w", i, err)
		}
		keywords := r.Keywords
		if keywords == nil {
			keywords = []string{}
		}
		return []any{
			uid.New(uid.DocumentChunk), now, d.ID, generation, modelID, r.Index, r.Text, pgvector.NewVector(r.Vector), r.TokenCount, r.End - r.Start,
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
