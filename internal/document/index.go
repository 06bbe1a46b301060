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
	atChunking   = 0.15
	atEmbedding  = 0.2
	atStoring    = 0.9
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
	if err := c.advance(ctx, enum.DocumentStatusChunking, atChunking); err != nil {
		return err
	}
	rows, err := s.prepare(ctx, c, t)
	if err != nil {
		return err
	}
	return s.swap(ctx, c, model, t, rows, endBeat)
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

// prepare cuts and embeds. EMBEDDING begins once the text is cut.
func (s *Service) prepare(ctx context.Context, c *claim, t *retrieval.Text) ([]store.Row, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var unsaid error
	rows, err := guard(func() ([]store.Row, error) {
		return store.Prepare(ctx, s.Embedder, t, func(done, total int) {
			c.note(atEmbedding + (atStoring-atEmbedding)*float64(done)/float64(max(total, 1)))
			if done == 0 {
				if unsaid = c.advance(ctx, enum.DocumentStatusEmbedding, atEmbedding); unsaid != nil {
					stop()
				}
			}
		})
	})
	if unsaid != nil {
		return nil, unsaid
	}
	return rows, err
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

// swap stores the new generation in place of the old. Until it commits, searches find the old one.
func (s *Service) swap(ctx context.Context, c *claim, model uuid.UUID, t *retrieval.Text, rows []store.Row, endBeat func()) error {
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		// This keeps the document from being deleted but not from being heartbeaten, which goes on; the row is locked last.
		tag, err := tx.PG.Exec(ctx, "SELECT FROM documents WHERE id = $1 FOR KEY SHARE", c.id)
		if err != nil {
			return fmt.Errorf("hold the document: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return errLost
		}
		generation := c.generation + 1
		if err := store.ReplaceChunks(ctx, tx.PG, c.access, generation, model, rows); err != nil {
			return err
		}
		endBeat()
		access, err := c.complete(ctx, tx.PG, generation, t)
		if err != nil {
			return err
		}
		if changed(access, c.access) {
			if err := store.CopyAccess(ctx, tx.PG, access); err != nil {
				return err
			}
		}
		if err := store.DropOldChunks(ctx, tx.PG, c.id, generation); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionDocumentProcessed, Resource: "Document", ResourceID: c.id, Sensitive: atLeastConfidential(access.Sensitivity),
			Details: map[string]any{"generation": generation, "passages": len(rows), "embeddingModel": model, "language": t.Language, "type": t.MIME}})
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
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error { return failed(ctx, tx, c.id, &c.lease, sentence) })
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
