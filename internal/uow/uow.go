// Package uow is the one way to write: a unit of work is one transaction with its audit rows, its events and its jobs.
// Nothing of it is seen before commit, and nothing is published that was not committed. It retries nothing by itself.
package uow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/meter/entmeter"
	"cdsa.dev/cdsa/internal/rule"
)

// Enqueuer adds a job in a transaction.
type Enqueuer interface {
	InsertManyFastTx(ctx context.Context, tx pgx.Tx, params []river.InsertManyParams) (int, error)
}

// Store begins units of work.
type Store struct {
	DB    *sql.DB // over the server's pgx pool
	Audit *audit.Recorder
	Jobs  Enqueuer
	Wake  func() // tells the relay that there are events; may be nil
}

// Tx is a unit of work under way. It is for one goroutine.
type Tx struct {
	*ent.Client        // bound to the transaction and to the policies
	PG          pgx.Tx // the same transaction for hand-written SQL, which sees everything: scope it with package rule

	recorder *audit.Recorder

	queued pgx.Batch
	audit  []audit.Entry
	made   []audit.Subject
	events []pending
	jobs   []river.InsertManyParams
	after  []func()
}

type pending struct {
	subject string
	payload any
}

// Queue adds a statement that is executed after the work's own, in one round trip with its audit rows and events. It sees
// everything, as PG does: scope it with package rule. A statement whose result is needed is not for Queue.
func (t *Tx) Queue(sql string, args ...any) { t.queued.Queue(sql, args...) }

// Audit adds an audit row to the unit of work.
func (t *Tx) Audit(e audit.Entry) { t.audit = append(t.audit, e) }

// Subject stores the key of the audit rows of somebody whom the unit of work makes. Made at their first row instead, it
// would show by its time that they are new, and would be left behind by a unit of work that is rolled back.
func (t *Tx) Subject(id uuid.UUID) error {
	s, err := t.recorder.NewSubject(id)
	if err != nil {
		return err
	}
	s.Queue(&t.queued)
	t.made = append(t.made, s)
	t.After(func() { t.recorder.Keep(s) })
	return nil
}

// Event adds an event: ids only, no contents.
func (t *Tx) Event(subject string, payload any) {
	t.events = append(t.events, pending{subject, payload})
}

// Job adds a job, which can run as soon as the unit of work is committed.
func (t *Tx) Job(args river.JobArgs, opts *river.InsertOpts) {
	t.jobs = append(t.jobs, river.InsertManyParams{Args: args, InsertOpts: opts})
}

// After runs fn once the unit of work is committed: for signals and caches, never for facts.
func (t *Tx) After(fn func()) { t.after = append(t.after, fn) }

// Do runs fn in a unit of work as the context's principal and commits it, or rolls all of it back when fn fails. Errors
// of fn are returned as they are; a unique or foreign key violation stays a *pgconn.PgError in the chain.
func (s *Store) Do(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if err := s.Audit.Warm(ctx); err != nil {
		return err
	}
	conn, err := s.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close()
	// Not ctx: when it ends, database/sql would roll back from a goroutine of its own, while this one uses the connection
	// below it. Every statement has ctx and fails when it ends; the deferred Rollback follows.
	dbtx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = dbtx.Rollback() }() // after Commit it does nothing
	var t *Tx
	err = conn.Raw(func(dc any) error {
		pc, ok := dc.(*stdlib.Conn)
		if !ok {
			return errors.New("uow: the database is not pgx")
		}
		t = &Tx{Client: ent.NewClient(ent.Driver(joined{entmeter.Driver(entsql.NewDriver(dialect.Postgres, entsql.Conn{ExecQuerier: dbtx}))})), PG: shim{pc.Conn(), pc.Conn()}, recorder: s.Audit}
		return nil
	})
	if err != nil {
		return err
	}
	if err := fn(authz.WithWitness(rule.Writing(ctx), witness(authz.WitnessFrom(ctx), t)), t); err != nil {
		return err
	}
	if err := s.flush(ctx, t); err != nil {
		return err
	}
	if err := dbtx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if len(t.events) > 0 && s.Wake != nil {
		s.Wake()
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

// flush writes what came with the work: one round trip for queued statements, audit rows and events, one for jobs.
func (s *Store) flush(ctx context.Context, t *Tx) error {
	b := &t.queued
	for _, e := range t.audit {
		row, err := s.Audit.Prepare(ctx, e, t.made...)
		if err != nil {
			return err
		}
		row.Queue(b)
	}
	for _, e := range t.events {
		if err := event.Queue(b, e.subject, e.payload); err != nil {
			return err
		}
	}
	if b.Len() > 0 {
		if err := t.PG.SendBatch(ctx, b).Close(); err != nil {
			return fmt.Errorf("write queued statements, audit rows and events: %w", err)
		}
	}
	if len(t.jobs) > 0 {
		if _, err := s.Jobs.InsertManyFastTx(ctx, t.PG, t.jobs); err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
	}
	return nil
}

// Value is Do for work that returns something.
func Value[T any](ctx context.Context, s *Store, fn func(ctx context.Context, tx *Tx) (T, error)) (T, error) {
	var v T
	err := s.Do(ctx, func(ctx context.Context, tx *Tx) (err error) {
		v, err = fn(ctx, tx)
		return err
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return v, nil
}

// IsDuplicate says whether err is a violation of a unique constraint.
func IsDuplicate(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505"
}

// joined has ent's own transactions, which it begins to write a row with its edges, be part of the unit of work.
type joined struct{ dialect.Driver }

func (d joined) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d.Driver), nil }

// connection is what a pgx transaction and a pgx connection have in common.
type connection interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// shim presents the connection below a database/sql transaction as a pgx.Tx that its user can neither commit nor roll back.
type shim struct {
	connection
	conn *pgx.Conn
}

var errOwned = errors.New("uow: the unit of work commits by itself")

// Begin refuses: a connection would take the commit of what it began for the whole transaction's.
func (s shim) Begin(context.Context) (pgx.Tx, error) { return nil, errOwned }

func (s shim) Commit(context.Context) error   { return errOwned }
func (s shim) Rollback(context.Context) error { return errOwned }
func (s shim) Conn() *pgx.Conn                { return s.conn }
func (s shim) LargeObjects() pgx.LargeObjects { panic("uow: large objects are not used") }
