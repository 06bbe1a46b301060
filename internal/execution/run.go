package execution

import (
	"context"
	"errors"
	"fmt"
	"time"

	"entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/canonical"
	"cdsa.dev/cdsa/internal/uow"
)

// Why a run was stopped from outside.
var (
	errCancelled = errors.New("execution: cancelled by a person")
	errLost      = errors.New("execution: the lease was lost")
)

// Run runs a cleared call, as the worker of job.RunTool. It does nothing when the call is not PENDING or no slot is
// free; the sweeper sees to it again. What may not run any more is cancelled instead. The executor acts as the
// requester, outside any transaction; when ctx ends first the call FAILED with WORKER_LOST, for nobody knows what the
// tool has done. Errors are faults of this server.
func (s *Service) Run(ctx context.Context, id uuid.UUID) error {
	ctx = machine(ctx)
	x, err := s.Client.ToolExecution.Query().Where(toolexecution.ID(id)).WithTool().Only(ctx)
	if ent.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if x.Status != enum.ToolExecutionStatusPending {
		return nil
	}
	slot, ok := s.Runner.Reserve(x.Edges.Tool.Name) // before the grant is consumed
	if !ok {
		return nil
	}
	defer slot.Release()
	w, err := uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (*work, error) { return s.claim(ctx, tx, x) })
	if err != nil || w == nil {
		return err
	}
	res, runErr := s.execute(ctx, slot, w)
	return s.finish(ctx, w, res, runErr)
}

// work is a call this process has taken to RUNNING.
type work struct {
	x         *ent.ToolExecution
	t         *ent.Tool
	requester *authz.Principal
	started   time.Time // on the monotonic clock
}

// claim takes the call from PENDING to RUNNING and consumes its grant, if everything that cleared it still holds;
// otherwise it cancels it. nil when there is nothing to run.
func (s *Service) claim(ctx context.Context, tx *uow.Tx, seen *ent.ToolExecution) (*work, error) {
	// One tool's starts are serial, so that the count of its runs is exact; the lock leaves requests free.
	if _, err := tx.PG.Exec(ctx, `SELECT 1 FROM tools WHERE id = $1 FOR NO KEY UPDATE`, seen.ToolID); err != nil {
		return nil, err
	}
	x, err := tx.ToolExecution.Query().Where(toolexecution.ID(seen.ID)).ForUpdate().Only(ctx)
	if err != nil {
		return nil, err
	}
	if x.Status != enum.ToolExecutionStatusPending {
		return nil, nil //nolint:nilnil // another worker's, or ended
	}
	t, err := tx.Tool.Get(ctx, x.ToolID)
	if err != nil {
		return nil, err
	}
	var a *ent.ToolApproval
	if x.RequiresApproval {
		if a, err = tx.ToolApproval.Query().Where(toolapproval.ExecutionID(x.ID)).ForUpdate().Only(ctx); err != nil {
			return nil, err
		}
	}
	requester, err := s.Approval.Requester(ctx, tx.PG, x)
	if err != nil {
		return nil, err
	}
	w := &work{x: x, t: t, requester: requester, started: time.Now()}
	reason, err := s.obstacle(ctx, tx, w, a)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		return nil, approval.End(ctx, tx, x, reason)
	}
	running, err := tx.ToolExecution.Query().Where(toolexecution.ToolID(t.ID), toolexecution.StatusEQ(enum.ToolExecutionStatusRunning)).Count(ctx)
	if err != nil {
		return nil, err
	}
	if running >= t.MaxConcurrentExecutions {
		return nil, nil //nolint:nilnil // stays queued
	}
	return w, s.start(ctx, tx, w, a)
}

// obstacle is why a cleared call may not run after all, "" when it may.
func (s *Service) obstacle(ctx context.Context, tx *uow.Tx, w *work, a *ent.ToolApproval) (enum.ToolReasonCode, error) {
	x, t := w.x, w.t
	if !t.IsActive || t.Version != x.ToolVersion || t.Executor != enum.ToolExecutorBuiltin {
		return enum.ToolReasonCodeToolChanged, nil
	}
	hash, err := canonical.ArgsHash(t.Name, x.ToolVersion, x.Parameters, nil)
	if err != nil || hash != x.ArgsHash {
		return enum.ToolReasonCodeToolChanged, nil //nolint:nilerr // arguments without a hash are not what was cleared
	}
	if !approval.MayCall(w.requester, t.RequiredPermission) {
		return enum.ToolReasonCodeAuthorizationLost, nil
	}
	if reason, err := approval.AnswerEnded(ctx, tx.PG, x); err != nil || reason != "" {
		return reason, err
	}
	var sensitivity enum.Sensitivity
	if x.SessionID != nil {
		// The columns alone: a conversation's text is none of this worker's business.
		var level string
		if err := tx.PG.QueryRow(ctx, `SELECT sensitivity FROM `+chatsession.Table+` WHERE id = $1`, *x.SessionID).Scan(&level); err != nil {
			return "", fmt.Errorf("read the conversation's sensitivity: %w", err)
		}
		sensitivity = enum.Sensitivity(level)
	}
	need := s.judge(t, sensitivity)
	if need.Gate == approval.GateNone && a == nil {
		return "", nil
	}
	if a == nil || need.Elevated() && !a.RequiresElevatedApproval {
		return enum.ToolReasonCodeAuthorizationLost, nil // the gate has risen since; asking again passes through it
	}
	reason, ok := approval.Stored(a).CheckGrant(hash, s.Approval.Version(), now())
	if ok {
		return "", nil
	}
	return reason, nil
}

func (s *Service) start(ctx context.Context, tx *uow.Tx, w *work, a *ent.ToolApproval) error {
	at := now()
	if a != nil {
		n, err := tx.ToolApproval.Update().Where(toolapproval.ID(a.ID), toolapproval.ConsumedAtIsNil(), toolapproval.WithdrawnAtIsNil(),
			toolapproval.IsApproved(true)).SetConsumedAt(at).Save(ctx)
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("execution: the grant of call %s was consumed before", w.x.ID)
		}
		approval.Note(tx, w.x, a.ID, enum.AuditActionApprovalConsumed, fact.ApprovalConsumed, nil)
	}
	approval.NoteCall(tx, w.requester, w.t)
	err := approval.Advance(ctx, tx, w.x, approval.Change{To: enum.ToolExecutionStatusRunning, Set: func(u *ent.ToolExecutionUpdate) {
		u.SetStartedAt(at).Modify(func(u *sql.UpdateBuilder) { u.Set(toolexecution.FieldLeaseExpiresAt, s.leaseEnd()) })
	}})
	w.x.StartedAt = &at
	return err
}

// leaseEnd is judged by the database's clock, which all replicas share.
func (s *Service) leaseEnd() sql.Querier {
	return sql.Expr(fmt.Sprintf("clock_timestamp() + interval '%d milliseconds'", s.lease().Milliseconds()))
}

// execute runs the executor while a heartbeat keeps the lease and watches for cancellation.
func (s *Service) execute(ctx context.Context, slot *tool.Slot, w *work) (tool.Result, error) {
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	as := w.requester
	if w.x.ReplyID != nil {
		as = as.AsAgent()
	}
	beat := s.beat(ctx, w, stop)
	defer beat()
	return slot.Run(authz.With(run, as), tool.Call{ExecutionID: w.x.ID, UserID: w.x.UserID, Tool: w.t.Name, Version: w.t.Version,
		Parameters: w.x.Parameters, Timeout: time.Duration(w.t.TimeoutSeconds) * time.Second})
}

// beat renews the lease three times in its span, and at once when poked, until the returned function is called. It
// stops the run when a person cancelled it, when the requester may not call the tool any more, when the row is no longer
// this run's, or when the lease could not be renewed before its end: another may have judged the worker lost by then.
func (s *Service) beat(ctx context.Context, w *work, stop context.CancelCauseFunc) (end func()) {
	x := w.x
	poke := make(chan struct{}, 1)
	s.mu.Lock()
	if s.running == nil {
		s.running = map[uuid.UUID]run{}
	}
	s.running[x.ID] = run{w.requester, poke}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(s.lease() / 3)
		defer tick.Stop()
		for until := time.Now().Add(s.lease()); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-poke:
			}
			asked := time.Now()
			reason, held, err := s.renew(ctx, w)
			switch {
			case err == nil && !held:
				stop(errLost)
				return
			case err == nil && reason != "":
				stop(errCancelled)
			case err == nil:
				until = asked.Add(s.lease())
			case ctx.Err() == nil && time.Now().After(until):
				s.Log.WarnContext(ctx, "a tool call's lease could not be renewed", "execution_id", x.ID, "error", err)
				stop(errLost)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		s.mu.Lock()
		delete(s.running, x.ID)
		s.mu.Unlock()
	}
}

// renew extends the lease of this very run and reads whether it is to be cancelled: because someone asked to, or because
// the requester may not call the tool any more, which it notes.
func (s *Service) renew(ctx context.Context, w *work) (reason string, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.lease()/3)
	defer cancel()
	err = s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		held = false
		requester, err := s.Approval.Requester(ctx, tx.PG, w.x)
		if err != nil {
			return err
		}
		var lost string
		if !approval.MayCall(requester, w.t.RequiredPermission) {
			lost = string(enum.ToolReasonCodeAuthorizationLost)
		}
		err = tx.PG.QueryRow(ctx, `UPDATE tool_executions SET lease_expires_at = clock_timestamp() + $3::bigint * interval '1 millisecond', reason_code = COALESCE(reason_code, NULLIF($4, ''))
			WHERE id = $1 AND status = 'RUNNING' AND started_at = $2 RETURNING COALESCE(reason_code, '')`,
			w.x.ID, *w.x.StartedAt, s.lease().Milliseconds(), lost).Scan(&reason)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		held = err == nil
		return err
	})
	return reason, held, err
}
