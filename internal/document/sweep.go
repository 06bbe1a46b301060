package document

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	// sweepBatch bounds the documents one sweep gives back to the queue.
	sweepBatch = 16
	// maxInterruptions is how often a document may lose its worker before it is held to be the cause.
	maxInterruptions = 5
	// touchEvery is the least time between two writes of last_accessed of a document.
	touchEvery = time.Minute
	// maxTouched bounds what is remembered between two sweeps; what is beyond is forgotten, a touch is no fact.
	maxTouched = 10_000
)

const interruptedSentence = "The server stopped repeatedly while it processed the document. Upload it in another format or in smaller files."

// interrupted is the error of an audit row that says a worker was lost.
const interrupted = "INTERRUPTED"

// Sweep gives documents whose worker is gone back to the queue and writes when documents were last read. Every replica
// calls it every second or two; it takes little when there is nothing to do. Errors are internal.
func (s *Service) Sweep(ctx context.Context) error {
	ctx = authz.With(ctx, authz.Indexer)
	if err := s.writeTouches(ctx); err != nil {
		return err
	}
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		rows, err := tx.PG.Query(ctx, lapsedDocuments, sweepBatch)
		if err != nil {
			return fmt.Errorf("sweep documents: %w", err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[lapsed])
		if err != nil {
			return fmt.Errorf("sweep documents: %w", err)
		}
		for _, l := range found {
			if err := l.retry(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	})
}

// lapsedDocuments are those whose worker is gone, and of each owner and lane where none is in work the one that waits longest without
// a job. A job at work for seconds while its document waits belongs to a process that died: claiming is the first thing a worker does.
var lapsedDocuments = `SELECT d.id, d.status, d.lease_expires_at FROM documents d
	WHERE d.status IN ('UPLOADED', 'EXTRACTING', 'CHUNKING', 'EMBEDDING') AND (d.lease_expires_at IS NULL OR d.lease_expires_at < clock_timestamp()) AND d.id IN (
		SELECT id FROM documents WHERE status IN ('EXTRACTING', 'CHUNKING', 'EMBEDDING') AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp())
		UNION ALL (SELECT DISTINCT ON (d.uploaded_by, d.file_size <= ` + smallFileSQL + `) d.id FROM documents d
			WHERE d.status = 'UPLOADED' AND NOT ` + busy + ` AND (d.lease_expires_at IS NULL OR d.lease_expires_at < clock_timestamp()
				AND NOT EXISTS (SELECT FROM river_job j WHERE j.kind = 'index' AND j.args @> jsonb_build_object('document', d.id::text)
					AND (j.state IN ('available', 'pending', 'retryable', 'scheduled') OR j.state = 'running' AND j.attempted_at > clock_timestamp() - interval '5 seconds')))
			ORDER BY d.uploaded_by, d.file_size <= ` + smallFileSQL + `, d.created_at))
	ORDER BY d.lease_expires_at NULLS FIRST LIMIT $1 FOR UPDATE OF d SKIP LOCKED`

// lapsed is a document that no worker holds though it is not done.
type lapsed struct {
	ID     uuid.UUID
	Status string
	Lease  *time.Time
}

// retry puts the document back into the queue, unless it has cost too many workers.
func (l lapsed) retry(ctx context.Context, tx *uow.Tx) error {
	if enum.DocumentStatus(l.Status) == enum.DocumentStatusUploaded { // no worker had it: the job was lost, or it waited for another
		return requeue(ctx, tx, l.ID, l.Lease)
	}
	var n int
	err := tx.PG.QueryRow(ctx, `SELECT count(*) FROM audit_logs WHERE resource_type = 'Document' AND resource_id = $1 AND action = $2 AND error_message = $3
		AND created_at > coalesce((SELECT max(created_at) FROM audit_logs WHERE resource_type = 'Document' AND resource_id = $1 AND action = ANY($4)), '-infinity')`,
		l.ID, string(enum.AuditActionDocumentProcessingFailed), interrupted,
		[]string{string(enum.AuditActionDocumentUploaded), string(enum.AuditActionDocumentProcessed)}).Scan(&n)
	if err != nil {
		return fmt.Errorf("count interruptions: %w", err)
	}
	if n+1 >= maxInterruptions {
		return failed(ctx, tx, l.ID, l.Lease, interruptedSentence)
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionDocumentProcessingFailed, Resource: "Document", ResourceID: l.ID, Failed: true, Error: interrupted,
		Details: map[string]any{"status": l.Status, "interruptions": n + 1, "retry": true}})
	tx.Event(fact.Documents, fact.Document{Status: enum.DocumentStatusUploaded, Document: l.ID})
	return requeue(ctx, tx, l.ID, l.Lease)
}

// touches remembers which documents were read.
type touches struct {
	mu   sync.Mutex
	read map[uuid.UUID]struct{}
}

// Touch notes that documents were read; the next sweep writes last_accessed, at most once a minute.
func (s *Service) Touch(ids ...uuid.UUID) {
	s.touched.mu.Lock()
	defer s.touched.mu.Unlock()
	if s.touched.read == nil {
		s.touched.read = map[uuid.UUID]struct{}{}
	}
	for _, id := range ids {
		if len(s.touched.read) == maxTouched {
			return
		}
		s.touched.read[id] = struct{}{}
	}
}

func (s *Service) writeTouches(ctx context.Context) error {
	s.touched.mu.Lock()
	ids := make([]uuid.UUID, 0, len(s.touched.read))
	for id := range s.touched.read {
		ids = append(ids, id)
	}
	clear(s.touched.read)
	s.touched.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		// SKIP LOCKED: a touch is not worth waiting for a worker, nor a deadlock with another replica's.
		_, err := tx.PG.Exec(ctx, `UPDATE documents SET last_accessed = now() WHERE id IN (SELECT id FROM documents
			WHERE id = ANY($1) AND (last_accessed IS NULL OR last_accessed < now() - make_interval(secs => $2)) FOR NO KEY UPDATE SKIP LOCKED)`, ids, touchEvery.Seconds())
		if err != nil {
			return fmt.Errorf("touch documents: %w", err)
		}
		return nil
	})
}
