package document

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

	mu       sync.Mutex
	lease    time.Time
	status   enum.DocumentStatus
	progress float64 // 0..1
	told     float64 // progress of the last event
}

// smallFile is the size in bytes up to which a document is in the lane of small ones. It takes seconds.
const smallFile = 256 << 10

var smallFileSQL = strconv.Itoa(smallFile)

// busy is true of a document d whose owner has another in work in the same lane: everyone has one worker of each at most.
var busy = `EXISTS (SELECT FROM documents o WHERE o.uploaded_by = d.uploaded_by AND o.id <> d.id AND o.status IN ('EXTRACTING', 'CHUNKING', 'EMBEDDING')
	AND o.lease_expires_at >= clock_timestamp() AND (o.file_size <= ` + smallFileSQL + `) = (d.file_size <= ` + smallFileSQL + `))`

// lockOwner makes claims of one owner's documents, and the ends of their processing, come one after the other. It is taken before any row.
func lockOwner(ctx context.Context, tx *uow.Tx, owner uuid.UUID) error {
	if _, err := tx.PG.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('documents of ' || $1, 0))", owner.String()); err != nil {
		return fmt.Errorf("lock an owner's documents: %w", err)
	}
	return nil
}

// claim takes a document that waits, or whose worker has lost it; nil when there is nothing to take. While its owner has
// another in work the document waits without a job, which its lease of NULL says: next gives it one.
func (s *Service) claim(ctx context.Context, id uuid.UUID) (*claim, error) {
	c := &claim{s: s, id: id, status: enum.DocumentStatusExtracting, progress: atExtracting, told: atExtracting}
	c.access.ID = id
	taken := false
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		var owner uuid.UUID
		if err := tx.PG.QueryRow(ctx, "SELECT uploaded_by FROM documents WHERE id = $1", id).Scan(&owner); err != nil {
			return err
		}
		if err := lockOwner(ctx, tx, owner); err != nil {
			return err
		}
		err := tx.PG.QueryRow(ctx, `UPDATE documents d SET status = 'EXTRACTING', is_processed = false, processing_error = NULL, updated_at = now(),
				lease_expires_at = clock_timestamp() + make_interval(secs => $2)
			WHERE id = $1 AND (status = 'UPLOADED' OR status IN ('EXTRACTING', 'CHUNKING', 'EMBEDDING') AND (lease_expires_at IS NULL OR lease_expires_at < clock_timestamp()))
				AND NOT `+busy+`
			RETURNING lease_expires_at, file_type, file_size, generation, uploaded_by, is_public, required_permission, sensitivity`, id, leaseTime.Seconds()).
			Scan(&c.lease, &c.fileType, &c.size, &c.generation, &c.access.OwnerID, &c.access.IsPublic, &c.access.RequiredPermission, &c.access.Sensitivity)
		if errors.Is(err, pgx.ErrNoRows) {
			_, err := tx.PG.Exec(ctx, "UPDATE documents d SET lease_expires_at = NULL WHERE id = $1 AND status = 'UPLOADED' AND "+busy, id)
			return err
		}
		if err != nil {
			return err
		}
		taken = true
		tx.Event(fact.Documents, fact.Document{Status: c.status, Document: id, Progress: c.progress})
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !taken {
		return nil, nil //nolint:nilnil // nothing to do is not an error
	}
	if err != nil {
		return nil, fmt.Errorf("claim a document: %w", err)
	}
	return c, nil
}

// next gives a job to the owner's document that waits longest in the lane that has become free. The caller has locked the owner.
func (c *claim) next(ctx context.Context, tx *uow.Tx) error {
	var id uuid.UUID
	var size int64
	err := tx.PG.QueryRow(ctx, `UPDATE documents SET lease_expires_at = clock_timestamp() + make_interval(secs => $3) WHERE id = (
			SELECT id FROM documents WHERE uploaded_by = $1 AND status = 'UPLOADED' AND lease_expires_at IS NULL AND (file_size <= `+smallFileSQL+`) = $2
			ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, file_size`,
		c.access.OwnerID, c.size <= smallFile, pickupTime.Seconds()).Scan(&id, &size)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the owner's next document: %w", err)
	}
	enqueue(tx, id, size)
	return nil
}

func enqueue(tx *uow.Tx, id uuid.UUID, size int64) {
	tx.Job(job.Index{Document: id, Small: size <= smallFile}, nil)
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

func (c *claim) beat(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime)
	defer cancel()
	return c.extend(ctx, c.status, false, nil)
}

// advance begins a step, or goes on with one, and does what belongs to it in the same transaction.
func (c *claim) advance(ctx context.Context, status enum.DocumentStatus, progress float64, work worker) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = progress
	return c.extend(ctx, status, status != c.status || progress-c.told >= 0.01, work)
}

// worker is what belongs to a step, done while the row is held.
type worker func(ctx context.Context, tx *uow.Tx, access store.Document) error

// extend moves the lease on; errLost when the row has another. The row is locked before the work, so that nobody else takes
// the document meanwhile, and the lease counts from its end. The caller holds the lock.
func (c *claim) extend(ctx context.Context, status enum.DocumentStatus, tell bool, work worker) error {
	lease, access := c.lease, c.access
	err := c.s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if work != nil {
			var err error
			if access, err = c.hold(ctx, tx); err != nil {
				return err
			}
			if err := work(ctx, tx, access); err != nil {
				return err
			}
		}
		err := tx.PG.QueryRow(ctx, `UPDATE documents SET status = $3, updated_at = now(), lease_expires_at = clock_timestamp() + make_interval(secs => $4)
			WHERE id = $1 AND lease_expires_at = $2 RETURNING lease_expires_at`, c.id, c.lease, string(status), leaseTime.Seconds()).Scan(&lease)
		if err != nil {
			return err
		}
		if tell {
			tx.Event(fact.Documents, fact.Document{Status: status, Document: c.id, Progress: c.progress})
		}
		return nil
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("extend a lease: %w", err)
	}
	c.lease, c.status, c.access = lease, status, access
	if tell {
		c.told = c.progress
	}
	return nil
}

// hold locks the row, gives who may read the document now, and carries it to the passages that are there.
func (c *claim) hold(ctx context.Context, tx *uow.Tx) (store.Document, error) {
	d := store.Document{ID: c.id}
	err := tx.PG.QueryRow(ctx, "SELECT uploaded_by, is_public, required_permission, sensitivity FROM documents WHERE id = $1 AND lease_expires_at = $2 FOR NO KEY UPDATE",
		c.id, c.lease).Scan(&d.OwnerID, &d.IsPublic, &d.RequiredPermission, &d.Sensitivity)
	if err != nil || !changed(d, c.access) {
		return d, err
	}
	return d, store.CopyAccess(ctx, tx.PG, d)
}

// complete ends the hold with the document INDEXED. The caller holds the row.
func (c *claim) complete(ctx context.Context, tx pgx.Tx, generation int, t *retrieval.Text) error {
	var pages *int
	if n := len(t.Pages); n > 0 {
		pages = &n
	}
	tag, err := tx.Exec(ctx, `UPDATE documents SET status = 'INDEXED', is_processed = true, is_indexed = true, processing_error = NULL, lease_expires_at = NULL,
			updated_at = now(), generation = $3, content = $4, language = $5, page_count = $6, file_type = $7
		WHERE id = $1 AND lease_expires_at = $2`, c.id, c.lease, generation, t.Content, t.Language, pages, retrieval.WithCharset(t.MIME, c.fileType))
	if err != nil {
		return fmt.Errorf("complete a document: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return errLost
	}
	return nil
}

// requeue makes a document wait again, for whoever has the lease; errLost when the row has another.
func requeue(ctx context.Context, tx *uow.Tx, id uuid.UUID, lease *time.Time) error {
	var size int64
	err := tx.PG.QueryRow(ctx, `UPDATE documents SET status = 'UPLOADED', updated_at = now(), lease_expires_at = clock_timestamp() + make_interval(secs => $3)
		WHERE id = $1 AND lease_expires_at IS NOT DISTINCT FROM $2 RETURNING file_size`, id, lease, pickupTime.Seconds()).Scan(&size)
	if errors.Is(err, pgx.ErrNoRows) {
		return errLost
	}
	if err != nil {
		return fmt.Errorf("give a document back: %w", err)
	}
	enqueue(tx, id, size)
	return nil
}
