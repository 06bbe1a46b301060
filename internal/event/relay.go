package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// relayLock is the advisory lock of the one relay that runs: the first eight bytes of SHA-256("cdsa.event.relay").
const relayLock int64 = 0x4e5fdbd03e978122

const wakeSignal = "relay.wake"

// RelayConfig has defaults for everything.
type RelayConfig struct {
	Poll      time.Duration // fallback when a wake-up was missed; default 500 ms
	Retry     time.Duration // between attempts to lead; default 1 s
	StepAside time.Duration // a leader without a bus lets another try after this; default 3 s
	Keep      time.Duration // sent rows are deleted after this; default 10 min
	Sweep     time.Duration // between deletions; default 1 min
	Batch     int           // rows a read; default 256
	Logger    *slog.Logger
}

func (c *RelayConfig) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Poll, 500*time.Millisecond)
	set(&c.Retry, time.Second)
	set(&c.StepAside, 3*time.Second)
	set(&c.Keep, 10*time.Minute)
	set(&c.Sweep, time.Minute)
	if c.Batch <= 0 {
		c.Batch = 256
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// RelayStats counts since the start of the process.
type RelayStats struct {
	Published  uint64 // rows stored by the bus
	Duplicates uint64 // rows the bus had already
	Failures   uint64 // publications, marks and takeovers that failed and are tried again
	Deleted    uint64 // old sent rows removed
	Leading    bool   // this process is the relay now
}

// Relay publishes the outbox. Every process makes one and calls Run; the holder of an advisory lock in Postgres, on a
// connection of its own, works, the others wait for it. All its statements go over that connection, so that who lost the
// lock cannot go on. The connection must reach Postgres itself, not a pooler that switches sessions.
type Relay struct {
	pool *pgxpool.Pool
	bus  *Bus
	cfg  RelayConfig
	log  *slog.Logger
	wake chan struct{} // capacity 1

	acked []int64 // acknowledged, not yet marked: survives the loss of the connection; used by Run only

	leading                                  atomic.Bool
	published, duplicates, failures, deleted atomic.Uint64
}

// NewRelay makes a relay that reads through pool's settings and publishes to bus.
func NewRelay(pool *pgxpool.Pool, bus *Bus, cfg RelayConfig) *Relay {
	cfg.defaults()
	return &Relay{pool: pool, bus: bus, cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1)}
}

// Stats gives the counters, for metrics.
func (r *Relay) Stats() RelayStats {
	return RelayStats{
		Published: r.published.Load(), Duplicates: r.duplicates.Load(), Failures: r.failures.Load(), Deleted: r.deleted.Load(),
		Leading: r.leading.Load(),
	}
}

// Wake tells the relay, wherever it runs, that something was committed. It does not wait; a wake-up that gets lost costs one
// poll interval.
func (r *Relay) Wake() {
	if r.leading.Load() {
		r.poke()
		return
	}
	if err := r.bus.Signal(wakeSignal, nil); err != nil {
		r.failures.Add(1)
	}
}

func (r *Relay) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run relays, or waits to, until ctx ends; then it returns nil with nothing under way. It goes on through every failure
// of Postgres and of the bus. Its only error: the bus was closed before.
func (r *Relay) Run(ctx context.Context) error {
	stop, err := r.bus.OnSignal(wakeSignal, func([]byte) { r.poke() })
	if err != nil {
		return err
	}
	defer stop()
	for ctx.Err() == nil {
		err := r.lead(ctx)
		if ctx.Err() != nil {
			return nil
		}
		r.failures.Add(1)
		r.log.WarnContext(ctx, "the event relay starts over", "error", err)
		pause(ctx, r.cfg.Retry+rand.N(r.cfg.Retry/2))
	}
	return nil
}

// lead connects, waits for its turn and relays until something fails.
func (r *Relay) lead(ctx context.Context) error {
	conf := r.pool.Config().ConnConfig.Copy()
	conf.RuntimeParams["application_name"] = "cdsa-relay"
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.ConnectConfig(dial, conf)
	if err != nil {
		return fmt.Errorf("event: connect the relay: %w", err)
	}
	defer func() { // closing gives the lock back
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			r.log.DebugContext(ctx, "the event relay's connection did not close cleanly", "error", err)
		}
	}()
	for {
		ok, err := tryLock(ctx, conn)
		if err != nil {
			return err
		}
		if ok {
			break
		}
		if pause(ctx, r.cfg.Retry); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	r.leading.Store(true)
	defer r.leading.Store(false)
	r.log.DebugContext(ctx, "this process relays events")
	return r.relay(ctx, conn)
}

func tryLock(ctx context.Context, conn *pgx.Conn) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var ok bool
	if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, relayLock).Scan(&ok); err != nil {
		return false, fmt.Errorf("event: take the relay's lock: %w", err)
	}
	return ok, nil
}

const statementTimeout = 10 * time.Second

// relay is the leader's loop. It ends when Postgres fails or the bus has been away for long.
func (r *Relay) relay(ctx context.Context, conn *pgx.Conn) error {
	poll := time.NewTicker(r.cfg.Poll)
	defer poll.Stop()
	sweep := time.NewTicker(r.cfg.Sweep)
	defer sweep.Stop()
	var failing time.Time
	for {
		err := r.drain(ctx, conn)
		var busErr *busError
		switch {
		case err == nil:
			failing = time.Time{}
		case !errors.As(err, &busErr) || conn.IsClosed():
			return err
		case failing.IsZero():
			failing = time.Now()
			r.log.WarnContext(ctx, "events wait in the outbox", "error", err)
		case time.Since(failing) > r.cfg.StepAside:
			return fmt.Errorf("event: step aside so that another process may relay: %w", err)
		}
		wake := r.wake
		if err != nil {
			wake = nil // no hurry against a bus that is away: the poll is the pace
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-wake:
		case <-poll.C:
		case <-sweep.C:
			if err := r.sweep(ctx, conn); err != nil {
				return err
			}
		}
	}
}

// drain publishes and marks until nothing is unsent.
func (r *Relay) drain(ctx context.Context, conn *pgx.Conn) error {
	if err := r.markAcked(ctx, conn); err != nil {
		return err
	}
	for {
		rows, err := r.read(ctx, conn, nil)
		if err != nil {
			return err
		}
		_, pubErr := r.publishRows(ctx, rows, func(id int64) { r.acked = append(r.acked, id) })
		if err := r.markAcked(ctx, conn); err != nil {
			return err
		}
		if pubErr != nil {
			return pubErr
		}
		if len(rows) < r.cfg.Batch {
			return nil
		}
	}
}

func (r *Relay) markAcked(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if err := mark(ctx, conn, r.acked); err != nil {
		return err
	}
	r.acked = r.acked[:0]
	return nil
}

func (r *Relay) read(ctx context.Context, q querier, subject *string) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return unsent(ctx, q, subject, r.bus.cfg.Duplicates/2, r.cfg.Batch)
}

// sweep deletes old sent rows, at most ten batches at a time.
func (r *Relay) sweep(ctx context.Context, conn *pgx.Conn) error {
	const rows, rounds = 1000, 10
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	for range rounds {
		tag, err := conn.Exec(ctx, deleteSent, r.cfg.Keep, rows)
		if err != nil {
			return fmt.Errorf("event: delete old outbox rows: %w", err)
		}
		r.deleted.Add(uint64(tag.RowsAffected()))
		if tag.RowsAffected() < rows {
			return nil
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
