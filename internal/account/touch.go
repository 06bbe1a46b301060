package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/uow"
)

const (
	// touchEvery is the least time between two writes of one row's time of last use.
	touchEvery = time.Minute
	// maxTouches bounds what is remembered between writes; a time more than that is not noted.
	maxTouches = 10_000
)

// touches collects when sessions were used and users signed in, to be written now and then, outside any request. What
// a crash loses is at most a minute of it.
type touches struct {
	mu       sync.Mutex
	sessions map[uuid.UUID]time.Time
	logins   map[uuid.UUID]time.Time
	written  time.Time
}

func newTouches() touches {
	return touches{sessions: map[uuid.UUID]time.Time{}, logins: map[uuid.UUID]time.Time{}}
}

func (t *touches) session(id uuid.UUID, at time.Time) { t.note(t.sessions, id, at) }
func (t *touches) login(id uuid.UUID, at time.Time)   { t.note(t.logins, id, at) }

func (t *touches) note(m map[uuid.UUID]time.Time, id uuid.UUID, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := m[id]; ok || len(m) < maxTouches {
		m[id] = at
	}
}

// used is when a session was last used here since the last write; zero: not since.
func (t *touches) used(id uuid.UUID) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sessions[id]
}

// take hands over what was noted when it is time to write it.
func (t *touches) take(now time.Time) (sessions, logins map[uuid.UUID]time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.written) < touchEvery || len(t.sessions)+len(t.logins) == 0 {
		return nil, nil
	}
	t.written = now
	sessions, logins = maps.Clone(t.sessions), maps.Clone(t.logins)
	clear(t.sessions)
	clear(t.logins)
	return sessions, logins
}

// Sweep writes the times of last use and last login that were noted since the last write, forgets old failures to sign
// in, deletes mailed tokens that nobody can use any more and records tokens that nobody was given, each at most once a
// minute. Call it every second on every
// replica. Rows that someone has locked are left for the next use.
func (s *Service) Sweep(ctx context.Context) error {
	if err := errors.Join(s.sweepMailed(ctx), s.sweepThrottles(ctx), s.sweepStrays(ctx)); err != nil {
		return err
	}
	sessions, logins := s.touches.take(s.now())
	if len(sessions)+len(logins) == 0 {
		return nil
	}
	return s.cfg.Store.Do(asSystem(ctx), func(ctx context.Context, tx *uow.Tx) error {
		if err := touch(ctx, tx, "sessions", "last_activity", sessions); err != nil {
			return err
		}
		return touch(ctx, tx, "users", "last_login", logins)
	})
}

func touch(ctx context.Context, tx *uow.Tx, table, column string, times map[uuid.UUID]time.Time) error {
	if len(times) == 0 {
		return nil
	}
	ids := slices.SortedFunc(maps.Keys(times), func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
	at := make([]time.Time, len(ids))
	for i, id := range ids {
		at[i] = times[id]
	}
	_, err := tx.PG.Exec(ctx, fmt.Sprintf(`UPDATE %[1]s t SET %[2]s = v.at FROM unnest($1::uuid[], $2::timestamptz[]) v(id, at),
		(SELECT id FROM %[1]s WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED) free
		WHERE t.id = v.id AND t.id = free.id AND (t.%[2]s IS NULL OR t.%[2]s <= v.at - $3::interval)`, table, column), ids, at, touchEvery)
	if err != nil {
		return fmt.Errorf("note times of last use: %w", err)
	}
	return nil
}
