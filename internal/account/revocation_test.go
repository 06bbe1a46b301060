//go:build unix

package account_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// heard is what a watcher was told, in order.
type heard struct {
	changed  chan []uuid.UUID
	anything chan struct{}
	blind    chan struct{}
}

// watch follows the revocations until the test ends and returns once they are followed.
func (r *rig) watch(t *testing.T) heard {
	t.Helper()
	h := heard{make(chan []uuid.UUID, 100), make(chan struct{}, 100), make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Watch(ctx, account.Watcher{
			Changed: func(ids []uuid.UUID) { h.changed <- ids }, Anything: func() { h.anything <- struct{}{} }, Blind: func() { h.blind <- struct{}{} },
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	receive(t, h.anything)
	return h
}

const watchLimit = 20 * time.Second // only a failing test waits as long

func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(watchLimit):
		require.FailNow(t, "nothing was told")
	}
	return v
}

// begin opens a transaction that has written a revocation and is not committed yet.
func (r *rig) begin(t *testing.T, subject uuid.UUID) pgx.Tx {
	t.Helper()
	tx, err := r.DB.Pool.Begin(context.Background())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) }) // after Commit it does nothing
	_, err = tx.Exec(context.Background(), `INSERT INTO revocations (subject) VALUES ($1)`, subject)
	require.NoError(t, err)
	return tx
}

// TestWatch: every committed row is told once, in whatever order transactions commit and whatever their rows' clocks say.
func TestWatch(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	before, early, late, never := uid.New(uid.User), uid.New(uid.User), uid.New(uid.Session), uid.New(uid.Role)
	open := r.begin(t, before)
	h := r.watch(t)
	require.NoError(t, open.Commit(ctx))
	require.Equal(t, []uuid.UUID{before}, receive(t, h.changed), "begun before the first read")

	slow, rolledBack := r.begin(t, late), r.begin(t, never)
	r.sql(t, `INSERT INTO revocations (subject) VALUES ($1)`, early)
	require.Equal(t, []uuid.UUID{early}, receive(t, h.changed), "a higher id is read first")
	require.NoError(t, rolledBack.Rollback(ctx))
	_, err := slow.Exec(ctx, `SAVEPOINT s; INSERT INTO revocations (subject, at) VALUES ('`+late.String()+`', now() - interval '1 day'); RELEASE s`)
	require.NoError(t, err)
	require.NoError(t, slow.Commit(ctx))
	require.Equal(t, []uuid.UUID{late}, receive(t, h.changed), "committed late, and once a subject")

	last := uid.New(uid.Role)
	r.sql(t, `INSERT INTO revocations (subject) VALUES ($1)`, last)
	require.Equal(t, []uuid.UUID{last}, receive(t, h.changed), "nothing is told twice")

	r.sql(t, `INSERT INTO revocations (subject) SELECT gen_random_uuid() FROM generate_series(1, 100)`)
	receive(t, h.anything)
	require.Empty(t, h.changed)
	require.Empty(t, h.blind)
}

// A connection that breaks is no reason to be blind, and nothing is lost meanwhile.
func TestWatch_Reconnects(t *testing.T) {
	r := newRig(t)
	h := r.watch(t)
	for range 3 {
		id := uid.New(uid.User)
		admin, err := pgx.Connect(context.Background(), r.DB.SuperuserURL)
		require.NoError(t, err)
		var ended int
		require.NoError(t, admin.QueryRow(context.Background(), `WITH i AS (INSERT INTO revocations (subject) VALUES ($1)) SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'cdsa-revocations'`, id).Scan(&ended))
		require.NoError(t, admin.Close(context.Background()))
		require.LessOrEqual(t, ended, 1)
		require.Equal(t, []uuid.UUID{id}, receive(t, h.changed))
	}
	require.Empty(t, h.blind)
}

// A read that hangs is noticed in time.
func TestWatch_Blind(t *testing.T) {
	r := newRig(t)
	h := r.watch(t)
	tx, err := r.DB.Owner.Begin(context.Background())
	require.NoError(t, err)
	start := time.Now()
	_, err = tx.Exec(context.Background(), `LOCK TABLE revocations`)
	require.NoError(t, err)
	receive(t, h.blind)
	took := time.Since(start)
	t.Logf("blind after %v", took)
	require.Greater(t, took, time.Second)
	require.Less(t, took, 3*time.Second)
	receive(t, h.blind)
	id := uid.New(uid.User)
	_, err = tx.Exec(context.Background(), `INSERT INTO revocations (subject) VALUES ($1)`, id)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(context.Background()))
	require.Equal(t, []uuid.UUID{id}, receive(t, h.changed))
}

// TestStanding: one statement says of many sessions what LoadPrincipal says of each.
func TestStanding(t *testing.T) {
	r := newRig(t)
	var all []account.Signed
	var ids []uuid.UUID
	for i := range 8 {
		all = append(all, r.user(t, fmt.Sprint("user", i), []string{"analyst", "approver", "auditor"}[i%3]))
		ids = append(ids, all[i].Session.ID)
	}
	ids = append(ids, ids[0], uid.New(uid.Session), all[0].User.ID)
	require.NoError(t, r.Logout(testkit.As(all[1].Principal)))
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE id = $1`, all[2].User.ID)
	r.sql(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, all[3].Session.ID)
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1`, all[4].User.ID)
	refreshed := r.refresh(t, laptop, all[5].RefreshToken)
	ids = append(ids, refreshed.Session.ID)
	got, err := r.Standing(context.Background(), ids)
	require.NoError(t, err)
	standing := 0
	for _, id := range ids {
		p, err := r.LoadPrincipal(context.Background(), id)
		if err != nil {
			require.NotContains(t, got, id)
			continue
		}
		standing++
		require.True(t, p.SameRights(got[id]))
		require.Equal(t, p, got[id])
	}
	require.Equal(t, 7, standing) // of 9 sessions three have ended; one was asked for twice
	require.True(t, all[0].Principal.SameRights(got[ids[0]]))
	require.False(t, all[4].Principal.SameRights(got[ids[4]]), "a role was taken")
	empty, err := r.Standing(context.Background(), nil)
	require.NoError(t, err)
	require.Empty(t, empty)
}
