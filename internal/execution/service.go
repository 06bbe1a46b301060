// Package execution takes tool calls from request to end: it validates and judges them, runs cleared ones as a leased
// worker, cancels them, and sweeps up what ran out of time or lost its worker.
//
// It decides nothing about approvals, which is package approval's, and executes nothing itself, which is package
// tool's. No executor runs inside a transaction. Every step is one unit of work: compare-and-set on the row, audit row,
// events and follow-up jobs together. Any number of processes may work on the same calls: a call is run by whoever took
// it from PENDING to RUNNING, for as long as their lease is renewed, and never a second time. What was lost with its worker
// may be asked for anew, as a call of its own, where a second run can do no harm.
//
// Locks are taken in one order everywhere: conversation, answer, tool, call, approval request. Errors a client may see are
// *errs.Error with the codes each method names.
package execution

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uow"
)

// Defaults of Service's settings.
const (
	// DefaultLease is that of answers: with the sweep each second, a worker's death is noticed within 8 s.
	DefaultLease        = 6 * time.Second
	DefaultQueueTimeout = 5 * time.Minute
)

// Service takes tool calls from request to end. Fields are set before first use and not changed after; it is safe for
// concurrent use.
type Service struct {
	Store    *uow.Store
	Client   *ent.Client
	Tools    *tool.Registry // the built-ins of this process
	Runner   *tool.Runner   // of Tools
	Schemas  *tool.SchemaCache
	Approval approval.Settings
	Signal   func(subject string, data []byte) // tells workers to look at a call now; lossy, may be nil
	Log      *slog.Logger

	Lease        time.Duration // of a running call; 0: DefaultLease
	QueueTimeout time.Duration // how long a cleared call may wait for a worker; 0: DefaultQueueTimeout

	mu      sync.Mutex
	running map[uuid.UUID]run
	hits    map[uuid.UUID]int // uses of cached results not written down yet
	noted   time.Time         // when they last were
}

func (s *Service) lease() time.Duration {
	if s.Lease > 0 {
		return s.Lease
	}
	return DefaultLease
}

func (s *Service) queueTimeout() time.Duration {
	if s.QueueTimeout > 0 {
		return s.QueueTimeout
	}
	return DefaultQueueTimeout
}

// machine is ctx as the principal that takes calls from state to state, once the rules have been judged for whoever
// caused it. Audit rows keep the unit of work's own principal.
func machine(ctx context.Context) context.Context { return authz.With(ctx, authz.ToolRunner) }

// now is the time as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
