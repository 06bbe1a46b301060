package account

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	watchEvery = 500 * time.Millisecond
	// watchRetry is the pause after a read that failed, and watchTimeout what one read may take.
	watchRetry   = 100 * time.Millisecond
	watchTimeout = 700 * time.Millisecond
	// blindAfter is how long nothing may be read before what was granted is not relied on any more.
	blindAfter = 2 * time.Second
	// maxSubjects is how many changes are told one by one; when there are more, anything may have changed.
	maxSubjects = 64
)

// Watcher is what Watch tells. None of its functions may wait.
type Watcher struct {
	// Changed: what these users, login sessions and roles may do has changed, by transactions committed since the last
	// call or a moment before. It may have been told already by Config.Revoked, here or on another replica.
	Changed func(subjects []uuid.UUID)
	// Anything: it cannot be said what has changed, as after a start, or when the database was restarted or is another.
	Anything func()
	// Blind: the database could not be read for 2 s, so that nothing is known of revocations since. It is called again
	// with every further try that fails.
	Blind func()
}

// Watch reads twice a second what revocations were committed, until ctx ends. It does so on a connection of its own, so
// that no crowd before the pool delays it, and goes on through every failure of the database.
//
// It asks for the rows whose transaction its last snapshot did not see: each row is told once, however late its
// transaction committed and whatever clocks say. A restart or a failover, after which transaction numbers may be
// others, shows in the server's start time.
func (s *Service) Watch(ctx context.Context, w Watcher) {
	r := watch{service: s}
	defer r.hangUp()
	seen, failing, blind := time.Now(), false, false
	for ctx.Err() == nil {
		began := time.Now()
		limit := watchTimeout
		if !blind { // a read that hangs must not hide that it is time
			limit = min(limit, blindAfter-began.Sub(seen))
		}
		subjects, anything, err := r.read(ctx, limit)
		wait := watchEvery - time.Since(began)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if failing {
				s.cfg.Log.InfoContext(ctx, "revocations are read again", "after", time.Since(seen))
			}
			seen, failing, blind = began, false, false
			if anything || len(subjects) > maxSubjects {
				w.Anything()
			} else if len(subjects) > 0 {
				w.Changed(subjects)
			}
		default:
			r.hangUp()
			if !failing {
				s.cfg.Log.WarnContext(ctx, "revocations could not be read", "error", err)
			}
			failing, wait = true, watchRetry
			if since := time.Since(seen); since >= blindAfter {
				if !blind {
					s.cfg.Log.WarnContext(ctx, "revocations cannot be read: what callers have open is ended", "error", err)
				}
				blind = true
				w.Blind()
			} else {
				wait = min(wait, blindAfter-since)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// watch is the state of the reader.
type watch struct {
	service  *Service
	conn     *pgx.Conn
	snapshot *string   // of the last read; nil before the first
	server   time.Time // when the database server started
}

const readRevocations = `SELECT pg_current_snapshot()::text, pg_postmaster_start_time(), ARRAY(SELECT DISTINCT subject FROM revocations
	WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) LIMIT $2)`

func (w *watch) read(ctx context.Context, limit time.Duration) (subjects []uuid.UUID, anything bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if w.conn == nil {
		conf := w.service.cfg.Pool.Config().ConnConfig.Copy()
		conf.RuntimeParams["application_name"] = "cdsa-revocations"
		if w.conn, err = pgx.ConnectConfig(ctx, conf); err != nil {
			w.conn = nil
			return nil, false, fmt.Errorf("connect: %w", err)
		}
	}
	var (
		snapshot string
		server   time.Time
	)
	if err = w.conn.QueryRow(ctx, readRevocations, w.snapshot, maxSubjects+1).Scan(&snapshot, &server, &subjects); err != nil {
		return nil, false, fmt.Errorf("read revocations: %w", err)
	}
	anything = w.snapshot == nil || !server.Equal(w.server)
	w.snapshot, w.server = &snapshot, server
	return subjects, anything, nil
}

func (w *watch) hangUp() {
	if w.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), watchRetry)
	defer cancel()
	if err := w.conn.Close(ctx); err != nil {
		w.service.cfg.Log.DebugContext(ctx, "the reader of revocations did not close its connection cleanly", "error", err)
	}
	w.conn = nil
}

// Standing reads in one statement who the login sessions belong to and what they may do now, as LoadPrincipal does for
// one; those that do not stand are missing. It is no use of the sessions.
func (s *Service) Standing(ctx context.Context, sessions []uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
	rows, err := s.cfg.Pool.Query(ctx, standing, sessions, s.cfg.Settings.MFARoles, s.now())
	if err != nil {
		return nil, fmt.Errorf("read login sessions: %w", err)
	}
	all := make(map[uuid.UUID]*authz.Principal, len(sessions))
	for rows.Next() {
		p, err := scanPrincipal(rows)
		if err != nil {
			rows.Close()
			return nil, fmt.Errorf("read login sessions: %w", err)
		}
		all[p.SessionID] = p
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read login sessions: %w", err)
	}
	return all, nil
}

// How long rows are kept that nothing needs any more, and how many go in one transaction.
const (
	keepRevocations = time.Hour
	keepSessions    = 30 * 24 * time.Hour
	pruneFamilies   = 200
	pruneRows       = 5000
)

// Prune deletes revocations of more than an hour ago, which every replica has read or was blind to, and the families of
// login sessions that ended more than 30 days ago, a bounded number at a time. A family that still lives keeps all its
// rows: they tell a refresh token that is used again from one that never was. Call it every minute on every replica.
func (s *Service) Prune(ctx context.Context) error {
	return s.cfg.Store.Do(asSystem(ctx), func(ctx context.Context, tx *uow.Tx) error {
		_, err := tx.PG.Exec(ctx, `DELETE FROM revocations WHERE id IN (SELECT id FROM revocations
			WHERE at < clock_timestamp() - $1::interval ORDER BY at LIMIT $2)`, keepRevocations, pruneRows)
		if err != nil {
			return fmt.Errorf("delete old revocations: %w", err)
		}
		// The head goes last: as long as it is there the rest is found.
		_, err = tx.PG.Exec(ctx, `WITH heads AS MATERIALIZED (SELECT family_id FROM sessions WHERE replaced_by IS NULL AND least(expires_at, revoked_at) < $1
				ORDER BY least(expires_at, revoked_at) LIMIT $2)
			DELETE FROM sessions WHERE id IN (SELECT s.id FROM heads h JOIN sessions s ON s.family_id = h.family_id
				ORDER BY s.replaced_by IS NULL, s.id LIMIT $3 FOR UPDATE OF s SKIP LOCKED)`, s.now().Add(-keepSessions), pruneFamilies, pruneRows)
		if err != nil {
			return fmt.Errorf("delete old login sessions: %w", err)
		}
		return nil
	})
}
