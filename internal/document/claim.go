package document

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/retrieval"
	"cdsa.dev/cdsa/internal/retrieval/store"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	// leaseTime is how long a worker may be silent. With the sweep every two seconds, another takes over within 8 s of a kill.
	leaseTime = 6 * time.Second
	// heartbeat is the pace of lease extensions and, with them, of progress events.
	heartbeat = time.Second
	// pickupTime is how long a job may wait in the queue before the sweeper makes another, in case it was lost.
	pickupTime     = time.Minute
	releaseTimeout = 5 * time.Second
)

// A claim is one worker's hold of one document. Its lease, a time by the database's clock that every extension moves
// on, is the fence: a write names it, and writes nothing when the row has another.
type claim struct {
	s          *Service
	id         uuid.UUID
	fileType   string
	size       int64 // bytes
	generation int   // that is searched now, 0 for none
	access     store.Document

	mu     sync.Mutex
	lease  time.Time
	status enum.DocumentStatus
	noted  float64 // progress, 0..1
	told   float64 // progress of the last event
}

// claim takes a document that waits, or whose worker has lost it; nil when there is nothing to take.
func (s *Service) claim(ctx context.Context, id uuid.UUID) (*claim, error) {
	c := &claim{s: s, id: id, status: enum.DocumentStatusExtracting, noted: atExtracting, told: atExtracting}
	c.access.ID = id
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		err := tx.PG.QueryRow(ctx, `UPDATE documents SET status = 'EXTRACTING', is_processed = false, processing_error = NULL, updated_at = now(),
				lease_expires_at = clock_timestamp() + make_interval(secs => $2)
			WHERE id = $1 AND (status = 'UPLOADED' OR status IN ('EXTRACTING', 'CHUNKING', 'EMBEDDING') AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp()))
			RETURNING lease_expires_at, file_type, file_size, generation, uploaded_by, is_public, required_permission, sensitivity`, id, leaseTime.Seconds()).
			Scan(&c.lease, &c.fileType, &c.size, &c.generation, &c.access.OwnerID, &c.access.IsPublic, &c.access.RequiredPermission, &c.access.Sensitivity)
		if err != nil {
			return err
		}
		tx.Event(fact.Documents, fact.Document{Status: c.status, Document: id, Progress: c.noted})
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // nothing to do is not an error
	}
	if err != nil {
		return nil, fmt.Errorf("claim a document: %w", err)
	}
	return c, nil
}

// keep extends the lease until end is called, which waits; when the document is lost it calls lose. A beat under way is
// not cut short, for then nobody knew which lease the row has.
func (c *claim) keep(ctx context.Context, lose context.CancelCauseFunc) (end func()) {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(heartbeat)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			err := c.beat(ctx)
			switch {
			case errors.Is(err, errLost):
				lose(errLost)
				return
			case err != nil: // the database may come back before the lease lapses
				c.s.Log.WarnContext(ctx, "a lease was not extended", "document_id", c.id, "error", err)
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(stop)
		<-done
	})
}

// note tells the next heartbeat how far the work is.
func (c *claim) note(progress float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noted = progress
}

func (c *claim) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.extend(ctx, c.status, math.Abs(c.noted-c.told) >= 0.01)
}

// advance begins a step.
func (c *claim) advance(ctx context.Context, status enum.DocumentStatus, progress float64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noted = progress
	return c.extend(ctx, status, true)
}

// extend moves the lease on; errLost when the row has another. The caller holds the lock.
func (c *claim) extend(ctx context.Context, status enum.DocumentStatus, tell bool) error {
	lease := c.lease
	err := c.s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		err := tx.PG.QueryRow(ctx, `UPDATE documents SET status = $3, updated_at = now(), lease_expires_at = clock_timestamp() + make_interval(secs => $4)
			WHERE id = $1 AND lease_expires_at = $2 RETURNING lease_expires_at`, c.id, c.lease, string(status), leaseTime.Seconds()).Scan(&lease)
		if err != nil {
			return err
		}
		if tell {
			tx.Event(fact.Documents, fact.Document{Status: status, Document: c.id, Progress: c.noted})
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("extend a lease: %w", err)
	}
	c.lease, c.status = lease, status
	if tell {
		c.told = c.noted
	}
	return nil
}

// complete ends the hold with the document INDEXED, in the transaction that stored its chunks, and gives the access it has now.
func (c *claim) complete(ctx context.Context, tx pgx.Tx, generation int, t *retrieval.Text) (store.Document, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var pages *int
	if n := len(t.Pages); n > 0 {
		pages = &n
	}
	d := store.Document{ID: c.id}
	err := tx.QueryRow(ctx, `UPDATE documents SET status = 'INDEXED', is_processed = true, is_indexed = true, processing_error = NULL, lease_expires_at = NULL,
			updated_at = now(), generation = $3, content = $4, language = $5, page_count = $6, file_type = $7
		WHERE id = $1 AND lease_expires_at = $2 RETURNING uploaded_by, is_public, required_permission, sensitivity`,
		c.id, c.lease, generation, t.Content, t.Language, pages, t.MIME).Scan(&d.OwnerID, &d.IsPublic, &d.RequiredPermission, &d.Sensitivity)
	if errors.Is(err, pgx.ErrNoRows) {
		return d, errLost
	}
	if err != nil {
		return d, fmt.Errorf("complete a document: %w", err)
	}
	return d, nil
}

// requeue makes a document wait again, for whoever has the lease; errLost when the row has another.
func requeue(ctx context.Context, tx *uow.Tx, id uuid.UUID, lease *time.Time) error {
	tag, err := tx.PG.Exec(ctx, `UPDATE documents SET status = 'UPLOADED', updated_at = now(), lease_expires_at = clock_timestamp() + make_interval(secs => $3)
		WHERE id = $1 AND lease_expires_at IS NOT DISTINCT FROM $2`, id, lease, pickupTime.Seconds())
	if err != nil {
		return fmt.Errorf("give a document back: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errLost
	}
	tx.Job(job.Index{Document: id}, nil)
	return nil
}
