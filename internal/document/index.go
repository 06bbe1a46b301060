package document

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/retrieval/store"
	"cdsa.dev/cdsa/internal/uow"
)

// maxProcessing bounds the work on one document: the largest takes some two minutes.
const maxProcessing = 15 * time.Minute

// Progress of the whole at the beginning of each step, 0..1.
const (
	atExtracting = 0.05
	atChunking   = 0.08
	atEmbedding  = 0.1
	atSwap       = 0.99
)

// Sentences for the document's row.
const (
	faultSentence = "The document could not be processed because of a fault of the server. Upload the file again later."
	slowSentence  = "The document took too long to process. Split it into smaller files."
)

// Index makes a document searchable, or FAILED with a sentence that says why. It does nothing when another worker holds the
// document, when it is done already, or once it is deleted. It is called by the worker of job.Index as the principal
// system:indexer, whatever the context's. When ctx ends, the document goes back to the queue. Errors are internal; the
// sweeper then tries again. Audited as DOCUMENT_PROCESSED or DOCUMENT_PROCESSING_FAILED.
func (s *Service) Index(ctx context.Context, documentID uuid.UUID) error {
	ctx = authz.With(ctx, authz.Indexer)
	model, err := s.model(ctx) // before the document is touched: until this is put right it waits
	if err != nil {
		return err
	}
	c, err := s.claim(ctx, documentID)
	if err != nil || c == nil {
		return err
	}
	working, stop := context.WithTimeoutCause(ctx, maxProcessing, errSlow)
	defer stop()
	working, lose := context.WithCancelCause(working)
	defer lose(nil)
	endBeat := c.keep(working, lose)
	defer endBeat()
	err = s.process(working, c, model, endBeat)
	cause := context.Cause(working)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errLost) || errors.Is(cause, errLost):
		return nil // deleted, or another worker has it
	case ctx.Err() != nil:
		endBeat()
		return s.release(ctx, c)
	}
	endBeat()
	var broken *brokenError
	switch {
	case errors.Is(cause, errSlow):
		return s.fail(ctx, c, slowSentence)
	case !errors.As(err, &broken):
		return err // the database's: the lease lapses and the sweeper tries again
	}
	if e, ok := errs.As(broken.err); ok {
		return s.fail(ctx, c, e.Message)
	}
	s.Log.ErrorContext(ctx, "a document cannot be processed", "document_id", c.id, "error", broken.err)
	return s.fail(ctx, c, faultSentence)
}

var (
	errLost = errors.New("another worker has the document, or it is gone")
	errSlow = errors.New("the document takes too long")
)

// brokenError is a failure of the work itself, which would fail again.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// process takes a claimed document to INDEXED.
func (s *Service) process(ctx context.Context, c *claim, model uuid.UUID, endBeat func()) error {
	t, err := s.extract(ctx, c)
	if err != nil {
		return err
	}
	if err := c.advance(ctx, enum.DocumentStatusChunking, atChunking, nil); err != nil {
		return err
	}
	chunks, err := guard(func() ([]retrieval.Chunk, error) { return store.Cut(t) })
	if err != nil {
		return err
	}
	if err := s.fill(ctx, c, model, t, chunks); err != nil {
		return err
	}
	return s.swap(ctx, c, model, t, len(chunks), endBeat)
}

func (s *Service) extract(ctx context.Context, c *claim) (*retrieval.Text, error) {
	if c.size > retrieval.MaxBytes { // not even loaded
		return nil, &brokenError{errs.New(errs.ResourceExhausted, "A document that is to be searched may have at most %d MB. Split it into smaller files.", retrieval.MaxBytes>>20)}
	}
	var data []byte
	err := s.Pool.QueryRow(ctx, "SELECT coalesce(original, '') FROM documents WHERE id = $1", c.id).Scan(&data)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errLost
	}
	if err != nil {
		return nil, fmt.Errorf("load the file: %w", err)
	}
	return guard(func() (*retrieval.Text, error) { return retrieval.Extract(ctx, data, "", c.fileType) })
}

// fill embeds the passages and stores them as the next generation, which no search finds yet, a batch a transaction: progress can
// be told, a document that is deleted is let go, and a large one holds no lock for minutes.
func (s *Service) fill(ctx context.Context, c *claim, model uuid.UUID, t *retrieval.Text, chunks []retrieval.Chunk) error {
	generation := c.generation + 1
	err := c.advance(ctx, enum.DocumentStatusEmbedding, atEmbedding, func(ctx context.Context, tx *uow.Tx, _ store.Document) error {
		return store.DropNewChunks(ctx, tx.PG, c.id) // what a worker left that did not end, perhaps of another model
	})
	if err != nil {
		return err
	}
	p := store.Preparer{Embedder: s.Embedder, Language: t.Language}
	for at := 0; at < len(chunks); at += store.Batch {
		end := min(at+store.Batch, len(chunks))
		rows, err := guard(func() ([]store.Row, error) { return p.Rows(ctx, chunks[at:end]) })
		if err != nil {
			return err
		}
		progress := atEmbedding + (atSwap-atEmbedding)*float64(end)/float64(len(chunks))
		err = c.advance(ctx, enum.DocumentStatusEmbedding, progress, func(ctx context.Context, tx *uow.Tx, access store.Document) error {
			return store.AddChunks(ctx, tx.PG, access, generation, model, rows)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// guard marks what fails in f as broken, panics included: no file may take the server down. A panic's value may quote the
// file, so only its type is told.
func guard[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &brokenError{fmt.Errorf("panic of %T\n%s", r, debug.Stack())}
		}
	}()
	if v, err = f(); err != nil {
		err = &brokenError{err}
	}
	return v, err
}

// swap puts the new generation in place of the old. Until it commits, searches find the old one.
func (s *Service) swap(ctx context.Context, c *claim, model uuid.UUID, t *retrieval.Text, passages int, endBeat func()) error {
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if err := lockOwner(ctx, tx, c.access.OwnerID); err != nil { // which may take longer than a lease
			return err
		}
		endBeat()
		access, err := c.hold(ctx, tx)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return errLost
		case err != nil:
			return fmt.Errorf("hold the document: %w", err)
		}
		generation := c.generation + 1
		if err := c.complete(ctx, tx.PG, generation, t); err != nil {
			return err
		}
		if err := store.DropOldChunks(ctx, tx.PG, c.id, generation); err != nil {
			return err
		}
		if err := c.next(ctx, tx); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionDocumentProcessed, Resource: "Document", ResourceID: c.id, Sensitive: atLeastConfidential(access.Sensitivity),
			Details: map[string]any{"generation": generation, "passages": passages, "embeddingModel": model, "language": t.Language, "type": t.MIME}})
		tx.Event(fact.Documents, fact.Document{Status: enum.DocumentStatusIndexed, Document: c.id, Progress: 1})
		return nil
	})
}

func changed(a, b store.Document) bool {
	same := a.RequiredPermission == nil && b.RequiredPermission == nil ||
		a.RequiredPermission != nil && b.RequiredPermission != nil && *a.RequiredPermission == *b.RequiredPermission
	return !same || a.OwnerID != b.OwnerID || a.IsPublic != b.IsPublic || a.Sensitivity != b.Sensitivity
}

// fail ends the processing with a sentence. A former generation stays searchable.
func (s *Service) fail(ctx context.Context, c *claim, sentence string) error {
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if err := lockOwner(ctx, tx, c.access.OwnerID); err != nil {
			return err
		}
		if err := failed(ctx, tx, c.id, &c.lease, sentence); err != nil {
			return err
		}
		return c.next(ctx, tx)
	})
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}

// failed writes the end of a processing that whoever has the lease gives up.
func failed(ctx context.Context, tx *uow.Tx, id uuid.UUID, lease *time.Time, sentence string) error {
	tag, err := tx.PG.Exec(ctx, `UPDATE documents SET status = 'FAILED', is_processed = true, processing_error = $3, lease_expires_at = NULL, updated_at = now()
		WHERE id = $1 AND lease_expires_at IS NOT DISTINCT FROM $2`, id, lease, sentence)
	if err != nil {
		return fmt.Errorf("end the processing: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errLost
	}
	if err := store.DropNewChunks(ctx, tx.PG, id); err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionDocumentProcessingFailed, Resource: "Document", ResourceID: id, Failed: true, Error: sentence})
	tx.Event(fact.Documents, fact.Document{Status: enum.DocumentStatusFailed, Document: id, Progress: 1})
	return nil
}

// release gives the document back to the queue: the server is stopping.
func (s *Service) release(ctx context.Context, c *claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		tx.Event(fact.Documents, fact.Document{Status: enum.DocumentStatusUploaded, Document: c.id})
		return requeue(ctx, tx, c.id, &c.lease)
	})
	if errors.Is(err, errLost) {
		return nil
	}
	return err
}
