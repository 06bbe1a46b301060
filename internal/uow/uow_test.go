package uow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// limit bounds what would otherwise hang.
const limit = 20 * time.Second

// rig is a store with someone who may write conversations.
type rig struct {
	*testkit.Kit
	p       *authz.Principal
	wakes   int
	signals []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Kit: testkit.New(t)}
	r.p = r.User(t, "alice", authz.DefaultRole)
	r.Store.Wake = func() { r.wakes++ }
	return r
}

// work writes one of everything.
func (r *rig) work(ctx context.Context, tx *uow.Tx) error {
	c, err := tx.ChatSession.Create().SetUserID(r.p.UserID).Save(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.PG.Exec(ctx, `UPDATE chat_sessions SET title = 'by hand' WHERE id = $1`, c.ID); err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionChatSessionCreated, Resource: "ChatSession", ResourceID: c.ID})
	tx.Event(fact.ChatSubject(c.ID), fact.Chat{Kind: fact.Created, Message: uid.New(uid.ChatMessage)})
	tx.Job(job.Turn{Reply: uid.New(uid.ChatMessage)}, nil)
	tx.After(func() { r.signals = append(r.signals, "after") })
	return nil
}

// left is what is in the database: rows, audit rows, events, jobs.
func (r *rig) left(t *testing.T) [4]int {
	t.Helper()
	var n [4]int
	for i, table := range []string{"chat_sessions WHERE title = 'by hand'", "audit_logs", "outbox", "river_job"} {
		n[i] = r.Count(t, "SELECT count(*) FROM "+table)
	}
	return n
}

func (r *rig) requireNothing(t *testing.T) {
	t.Helper()
	require.Equal(t, [4]int{}, r.left(t))
	require.Zero(t, r.wakes, "the relay was woken for nothing")
	require.Empty(t, r.signals, "After ran without a commit")
	// The connection went back clean: the next unit of work is as good as the first.
	require.NoError(t, r.Store.Do(testkit.As(r.p), r.work))
	require.Equal(t, [4]int{1, 1, 1, 1}, r.left(t))
}

func TestStore_Do_Commit(t *testing.T) {
	r := newRig(t)
	require.NoError(t, r.Store.Do(testkit.As(r.p), func(ctx context.Context, tx *uow.Tx) error {
		require.NoError(t, r.work(ctx, tx))
		require.Equal(t, [4]int{}, r.left(t), "seen before the commit")
		require.Empty(t, r.signals)
		return nil
	}))
	require.Equal(t, [4]int{1, 1, 1, 1}, r.left(t))
	require.Equal(t, 1, r.wakes)
	require.Equal(t, []string{"after"}, r.signals)
}

func TestStore_Do_Rollback(t *testing.T) {
	fault := errors.New("a fault")
	for name, c := range map[string]struct {
		fn   func(r *rig, ctx context.Context, tx *uow.Tx) error
		want func(t *testing.T, err error)
	}{
		"Error": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error { return errors.Join(r.work(ctx, tx), fault) },
			func(t *testing.T, err error) { t.Helper(); require.ErrorIs(t, err, fault) },
		},
		"Duplicate": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				if err := r.work(ctx, tx); err != nil {
					return err
				}
				id := uid.New(uid.ChatSession)
				return errors.Join(tx.ChatSession.Create().SetID(id).SetUserID(r.p.UserID).Exec(ctx), tx.ChatSession.Create().SetID(id).SetUserID(r.p.UserID).Exec(ctx))
			},
			func(t *testing.T, err error) { t.Helper(); require.True(t, uow.IsDuplicate(err), "%v", err) },
		},
		"SwallowedStatementError": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				_, _ = tx.PG.Exec(ctx, `SELECT 1/0`) // a careless service goes on; the transaction does not
				return nil
			},
			func(t *testing.T, err error) { t.Helper(); require.Error(t, err) },
		},
		"AuditDetailsCannotBeWritten": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				tx.Audit(audit.Entry{Action: enum.AuditActionLogout, Details: map[string]any{"x": make(chan int)}})
				return r.work(ctx, tx)
			},
			func(t *testing.T, err error) { t.Helper(); require.ErrorContains(t, err, "audit") },
		},
		"AuditActionUnknown": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				tx.Audit(audit.Entry{Action: "NOTHING_KNOWN"})
				return r.work(ctx, tx)
			},
			func(t *testing.T, err error) { t.Helper(); require.ErrorContains(t, err, "audit") },
		},
		"EventSubjectMalformed": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				tx.Event("no subject", nil)
				return r.work(ctx, tx)
			},
			func(t *testing.T, err error) { t.Helper(); require.Error(t, err) },
		},
		"EventTooLarge": {
			func(r *rig, ctx context.Context, tx *uow.Tx) error {
				tx.Event(fact.Tools, make([]byte, 1<<20))
				return r.work(ctx, tx)
			},
			func(t *testing.T, err error) { t.Helper(); require.Error(t, err) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.want(t, r.Store.Do(testkit.As(r.p), func(ctx context.Context, tx *uow.Tx) error { return c.fn(r, ctx, tx) }))
			r.requireNothing(t)
		})
	}
}

// TestStore_Do_DatabaseRefuses takes away the right to write each part that comes with the work.
func TestStore_Do_DatabaseRefuses(t *testing.T) {
	for _, table := range []string{"audit_logs", "outbox", "river_job"} {
		t.Run(table, func(t *testing.T) {
			r := newRig(t)
			_, err := r.DB.Owner.Exec(context.Background(), `REVOKE INSERT ON `+table+` FROM cdsa_app`)
			require.NoError(t, err)
			require.ErrorContains(t, r.Store.Do(testkit.As(r.p), r.work), "permission denied")
			_, err = r.DB.Owner.Exec(context.Background(), `GRANT INSERT ON `+table+` TO cdsa_app`)
			require.NoError(t, err)
			r.requireNothing(t)
		})
	}
}

func TestStore_Do_Panic(t *testing.T) {
	r := newRig(t)
	require.PanicsWithValue(t, "boom", func() {
		_ = r.Store.Do(testkit.As(r.p), func(ctx context.Context, tx *uow.Tx) error {
			require.NoError(t, r.work(ctx, tx))
			panic("boom")
		})
	})
	r.requireNothing(t)
}

func TestStore_Do_Cancelled(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(testkit.As(r.p))
	err := r.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		defer cancel()
		return r.work(ctx, tx)
	})
	require.Error(t, err)
	r.requireNothing(t)
}

// TestTx_PG: whoever has the transaction in hand can neither end it nor begin another on its connection.
func TestTx_PG(t *testing.T) {
	r := newRig(t)
	fault := errors.New("a fault")
	err := r.Store.Do(testkit.As(r.p), func(ctx context.Context, tx *uow.Tx) error {
		require.NoError(t, r.work(ctx, tx))
		require.Error(t, tx.PG.Commit(ctx))
		require.Error(t, tx.PG.Rollback(ctx))
		_, err := tx.PG.Begin(ctx)
		require.Error(t, err)
		require.Panics(t, func() { tx.PG.LargeObjects() })
		// Both sides are one transaction: what ent wrote is there by hand, and the reverse.
		var n int
		require.NoError(t, tx.PG.QueryRow(ctx, `SELECT count(*) FROM chat_sessions WHERE title = 'by hand'`).Scan(&n))
		require.Equal(t, 1, n)
		c, err := tx.ChatSession.Query().Only(ctx)
		require.NoError(t, err)
		require.Equal(t, "by hand", c.Title)
		_, err = tx.PG.CopyFrom(ctx, pgx.Identifier{"subject_keys"}, []string{"subject_id", "wrapped"}, pgx.CopyFromRows([][]any{{uuid.New(), []byte{1}}}))
		require.NoError(t, err)
		return fault
	})
	require.ErrorIs(t, err, fault)
	r.requireNothing(t)
}

// TestStore_Do_SmallPool: a unit of work needs one connection and no second one, or as many callers as connections wait
// for each other for ever.
func TestStore_Do_SmallPool(t *testing.T) {
	r := newRig(t)
	cfg := r.DB.Pool.Config()
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	rec, err := audit.New(pool, make([]byte, 32))
	require.NoError(t, err)
	store := &uow.Store{DB: db, Audit: rec, Jobs: r.Store.Jobs}
	ctx, cancel := context.WithTimeout(testkit.As(r.p), limit)
	defer cancel()
	require.NoError(t, store.Do(ctx, r.work))
	require.Equal(t, [4]int{1, 1, 1, 1}, r.left(t))
}

func TestValue(t *testing.T) {
	r := newRig(t)
	c, err := uow.Value(testkit.As(r.p), r.Store, func(ctx context.Context, tx *uow.Tx) (*ent.ChatSession, error) {
		return tx.ChatSession.Create().SetUserID(r.p.UserID).Save(ctx)
	})
	require.NoError(t, err)
	require.Equal(t, r.p.UserID, c.UserID)
	n, err := uow.Value(testkit.As(r.p), r.Store, func(context.Context, *uow.Tx) (int, error) { return 7, errors.New("a fault") })
	require.Error(t, err)
	require.Zero(t, n, "a value of work that was rolled back")
}
