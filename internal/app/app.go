// Package app wires the server by hand: New opens everything in order, Run serves until its context ends, Close undoes
// New in reverse. It holds no logic of its own.
package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/nats-io/nats.go"
	pgxvec "github.com/pgvector/pgvector-go/pgx"
	"github.com/riverqueue/river"

	"cdsa.dev/cdsa/ent"
	_ "cdsa.dev/cdsa/ent/runtime" // the policies
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/httpx"
	"cdsa.dev/cdsa/internal/meter/entmeter"
	"cdsa.dev/cdsa/internal/pglocal"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/transport"
	"cdsa.dev/cdsa/internal/seed"
	"cdsa.dev/cdsa/migrate"
)

// App is the running server.
type App struct {
	cfg  *config.Config
	log  *slog.Logger
	urls urls

	pool    *pgxpool.Pool
	db      *sql.DB
	client  *ent.Client
	bus     *event.Bus
	relay   *event.Relay
	hub     *realtime.Hub
	streams *transport.Server
	river   *river.Client[pgx.Tx]
	services

	handler *httpx.Handler
	seeded  seed.Result
	hashing []string // program and arguments; nil: in this process
	closers []func(context.Context) error
}

type urls struct{ app, owner string }

// Seeded tells of the first administrator, if this start made one.
func (a *App) Seeded() seed.Result { return a.seeded }

// Open starts or finds the database and migrates it: what the commands besides serve need. Close ends it.
func Open(ctx context.Context, cfg *config.Config, log *slog.Logger) (*App, error) {
	a := &App{cfg: cfg, log: log}
	if err := a.openDatabase(ctx); err != nil {
		return nil, errors.Join(err, a.Close(ctx))
	}
	return a, nil
}

// Option is a choice of New's caller.
type Option func(*App)

// HashApart has passwords hashed by a child process, which program must serve when called with args: see hashproc.
func HashApart(program string, args ...string) Option {
	return func(a *App) { a.hashing = append([]string{program}, args...) }
}

// New opens everything but the listener.
func New(ctx context.Context, cfg *config.Config, version string, log *slog.Logger, options ...Option) (*App, error) {
	a, err := Open(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	for _, o := range options {
		o(a)
	}
	for _, step := range []func(context.Context) error{a.openBus, a.openServices, a.seed, func(context.Context) error { return a.openHTTP(version) }} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, a.Close(ctx))
		}
	}
	return a, nil
}

func (a *App) onClose(f func(context.Context) error) { a.closers = append(a.closers, f) }

// Close undoes New, newest first.
func (a *App) Close(ctx context.Context) error {
	var errsOf []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errsOf = append(errsOf, a.closers[i](ctx))
	}
	a.closers = nil
	return errors.Join(errsOf...)
}

func (a *App) openDatabase(ctx context.Context) error {
	if err := a.findDatabase(ctx); err != nil {
		return err
	}
	n, err := migrate.Up(ctx, a.urls.owner)
	if refused := (*pgconn.ConnectError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w; see that PostgreSQL runs where DATABASE_URL (and CDSA_MIGRATE_URL, if set) point", err)
	}
	if err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	if n > 0 {
		a.log.InfoContext(ctx, "database migrated", "files", n)
	}
	pc, err := pgxpool.ParseConfig(a.urls.app)
	if err != nil {
		return errors.New("DATABASE_URL is malformed") // the cause would show the password
	}
	if err := a.leastPrivileged(ctx, pc); err != nil {
		return err
	}
	pc.MaxConns = int32(a.cfg.Database.MaxConns)
	pc.AfterConnect = pgxvec.RegisterTypes
	pc.PrepareConn = bounded(a.cfg.Database.StatementTimeout)
	if a.pool, err = pgxpool.NewWithConfig(ctx, pc); err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	a.onClose(func(context.Context) error { a.pool.Close(); return nil })
	a.db = stdlib.OpenDBFromPool(a.pool)
	a.onClose(func(context.Context) error { return a.db.Close() })
	a.client = ent.NewClient(ent.Driver(entmeter.Driver(entsql.OpenDB(dialect.Postgres, a.db))))
	batch.Watch(a.client)
	return nil
}

func (a *App) findDatabase(ctx context.Context) error {
	if u := a.cfg.Database.URL; u.IsSet() {
		a.urls = urls{app: u.Reveal(), owner: u.Reveal()}
		if m := a.cfg.Database.MigrateURL; m.IsSet() {
			a.urls.owner = m.Reveal()
		}
		return nil
	}
	c, err := pglocal.Start(ctx, pglocal.Config{Dir: filepath.Join(a.cfg.Server.DataDir, "postgres"), BinDir: a.cfg.Database.PGBin, Logger: a.log})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("start the private database: %w; choose another folder with CDSA_DATA_DIR", err)
	}
	if err != nil {
		return fmt.Errorf("start the private database: %w", err)
	}
	a.onClose(c.Stop)
	a.urls = urls{app: c.URL(pglocal.App, pglocal.Database), owner: c.URL(pglocal.Owner, pglocal.Database)}
	return nil
}

// leastPrivileged makes the server act as a role that owns nothing. Production refuses a login that could do more; a
// developer's single URL is lowered for each connection.
func (a *App) leastPrivileged(ctx context.Context, pc *pgxpool.Config) error {
	conn, err := pgx.ConnectConfig(ctx, pc.ConnConfig)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer conn.Close(ctx)
	var strong bool
	err = conn.QueryRow(ctx, `SELECT rolsuper OR pg_has_role(current_user, (SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'audit_logs'), 'MEMBER') FROM pg_roles WHERE rolname = current_user`).Scan(&strong)
	if err != nil {
		return fmt.Errorf("look at the database role: %w", err)
	}
	if !strong {
		return nil
	}
	if a.cfg.InProduction() {
		return errors.New("DATABASE_URL signs in as a role that owns the tables or is a superuser; give it a role that is only granted cdsa_app, and the owner's URL to CDSA_MIGRATE_URL")
	}
	a.log.WarnContext(ctx, "DATABASE_URL signs in as the owner of the tables; the server lowers itself to the role cdsa_app")
	pc.ConnConfig.RuntimeParams["role"] = pglocal.App
	return nil
}

func (a *App) openBus(ctx context.Context) error {
	b := a.cfg.Bus
	var key []byte
	var err error
	if !b.URL.IsSet() { // the key is of the store inside this process
		if key, err = a.cfg.BusKey(); err != nil {
			return err
		}
	}
	a.bus, err = event.Open(ctx, event.Config{
		URL: b.URL.Reveal(), StoreDir: filepath.Join(a.cfg.Server.DataDir, "nats"), Key: key, Replicas: b.Replicas, MaxAge: b.MaxAge, Logger: a.log,
	})
	if errors.Is(err, nats.ErrNoServers) {
		return fmt.Errorf("open the event bus: %w; see that NATS runs where NATS_URL points", err)
	}
	if err != nil {
		return fmt.Errorf("open the event bus: %w", err)
	}
	a.onClose(func(context.Context) error { return a.bus.Close() })
	// A stream that is never empty lets a cursor of a former stream be told from a present one.
	if _, err := a.bus.Publish(ctx, "system", "", []byte("{}")); err != nil {
		return fmt.Errorf("publish to the event bus: %w", err)
	}
	a.relay = event.NewRelay(a.pool, a.bus, event.RelayConfig{Logger: a.log})
	return nil
}

// Run serves until ctx ends, then stops in order: listener, sockets, workers, relay.
func (a *App) Run(ctx context.Context, ln net.Listener) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := a.dispatch.Run(background); err != nil {
		return fmt.Errorf("follow the event bus: %w", err)
	}
	stopSignals, err := a.hearSignals()
	if err != nil {
		return err
	}
	defer stopSignals()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.relay.Run(background); err != nil && background.Err() == nil {
			a.log.ErrorContext(ctx, "the relay ended", "error", err)
		}
	})
	if a.cfg.Server.Workers {
		if err := a.river.Start(unhurried(background)); err != nil {
			return fmt.Errorf("start the workers: %w", err)
		}
		a.every(background, &wg, time.Second, "answers", a.turns.Sweep)
		a.every(background, &wg, time.Second, "tool calls", a.executions.Sweep)
		a.every(background, &wg, 2*time.Second, "documents", a.documents.Sweep)
	}
	a.every(background, &wg, time.Second, "last activity", a.accounts.Sweep) // what this replica has seen, workers or not
	a.every(background, &wg, time.Minute, "ended sessions", a.accounts.Prune)
	wg.Go(func() {
		a.accounts.Watch(background, account.Watcher{Changed: func(ids []uuid.UUID) { a.revoked(ids...) }, Anything: a.revokedAny, Blind: a.streams.Suspend})
	})

	a.every(background, &wg, tellEvery, "request budgets", func(context.Context) error { a.limits.Tell(); return nil })
	a.every(background, &wg, time.Second, "refused requests", a.limits.Record)

	a.every(background, &wg, keyInterval, "signing keys", a.keys.sweep)

	tuneGC()
	time.AfterFunc(trimAfter, trim)
	a.every(background, &wg, trimInterval, "memory", func(context.Context) error { trim(); return nil })
	a.every(background, &wg, settleInterval, "memory of sockets", a.settle())
	srv := httpx.NewServer(a.handler, httpx.ServerConfig{Logger: a.log, HeaderTimeout: a.cfg.Limits.HeaderTimeout, IdleTimeout: a.cfg.Limits.IdleTimeout})
	srv.ConnContext = transport.ConnContext
	srv.RegisterOnShutdown(a.streams.Close)
	err = httpx.Serve(ctx, srv, ln, a.cfg.Server.ShutdownGrace, a.handler.Drain)
	a.streams.Close()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Server.ShutdownGrace)
	defer cancel()
	if a.cfg.Server.Workers {
		err = errors.Join(err, a.river.StopAndCancel(end))
	}
	stop()
	a.turns.Wait()
	wg.Wait()
	a.hub.Close()
	return errors.Join(err, a.limits.Record(end)) // what was refused since the last time
}

// A trim costs a garbage collection and some hundred minor page faults.
const (
	trimAfter    = 2 * time.Second // what the start left
	trimInterval = 20 * time.Second
)

// gcPercent trades memory under load for a tenth to a fifth less CPU; what is idle is given back by trim.
const gcPercent = 400

// What sockets keep lies between what opening them left behind: with so rare a collection, thousands that open at once
// would be spread over twice the memory they need, for as long as they stay, as the heap does not move.
const (
	settleInterval = 200 * time.Millisecond
	settleGrowth   = 400 // sockets and streams, the price of whose opening is many times that of a collection
)

// settle collects while sockets become many more, so that the next ones take the room that the last ones left.
func (a *App) settle() func(context.Context) error {
	var last int64
	return func(context.Context) error {
		n := a.streams.Stats().Peers
		if n-last >= settleGrowth {
			runtime.GC()
			last = n
		}
		last = min(last, n)
		return nil
	}
}

// tuneGC leaves an operator's own GOGC alone.
func tuneGC() {
	if was := debug.SetGCPercent(gcPercent); was != 100 {
		debug.SetGCPercent(was)
	}
}

// every runs a sweep at an interval until ctx ends. A sweep that fails is tried again at the next tick.
func (a *App) every(ctx context.Context, wg *sync.WaitGroup, interval time.Duration, what string, sweep func(context.Context) error) {
	wg.Go(func() {
		ctx := unhurried(ctx)
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if err := sweep(ctx); err != nil && ctx.Err() == nil {
				a.log.WarnContext(ctx, "a sweep failed", "of", what, "error", err)
			}
		}
	})
}

// hearSignals listens for what other replicas say at once and nobody has to hear.
func (a *App) hearSignals() (stop func(), err error) {
	on := func(subject string, f func(uuid.UUID)) (func(), error) {
		return a.bus.OnSignal(subject, func(b []byte) {
			if id, err := uuid.ParseBytes(b); err == nil {
				f(id)
			}
		})
	}
	stopRevoked, err := on(fact.Revoked, func(id uuid.UUID) { a.revoked(id) })
	if err != nil {
		return nil, fmt.Errorf("listen for revocations: %w", err)
	}
	stopSpent, err := a.bus.OnSignal(fact.Spent, a.limits.Heard)
	if err != nil {
		stopRevoked()
		return nil, fmt.Errorf("listen for spent budgets: %w", err)
	}
	stopCancel, err := on(fact.Cancel, func(id uuid.UUID) {
		a.turns.Stop(id)
		a.executions.Interrupt(id)
	})
	if err != nil {
		stopRevoked()
		stopSpent()
		return nil, fmt.Errorf("listen for cancellations: %w", err)
	}
	return func() { stopRevoked(); stopSpent(); stopCancel() }, nil
}

func (a *App) signal(subject string, data []byte) {
	if err := a.bus.Signal(subject, data); err != nil {
		a.log.Warn("a signal was not sent", "subject", subject, "error", err) // a hint: leases and caches expire without it
	}
}
