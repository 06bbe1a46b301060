package execution

import (
	"context"
	"errors"
	"time"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uow"
)

const (
	finishAttempts = 4
	finishTimeout  = 5 * time.Second // of one attempt; also after the worker was told to stop
)

// sentenceLost is what a call says whose outcome nobody knows.
const sentenceLost = "The server that ran the tool stopped before it had the result; the tool may have taken effect."

// finish writes down how a run ended. The database may be away for a moment, so it tries again; if it gives up, the
// sweeper ends the call as WORKER_LOST. A result whose lease was lost is dropped.
func (s *Service) finish(ctx context.Context, w *work, res tool.Result, runErr error) error {
	if errors.Is(runErr, errLost) {
		s.Log.WarnContext(ctx, "a tool call was taken from its worker; its result is dropped", "execution_id", w.x.ID, "tool", w.t.Name)
		return nil
	}
	if e, ok := tool.AsError(runErr); ok {
		attrs := []any{"execution_id", w.x.ID, "tool", w.t.Name, "code", string(e.Code), "message", e.Message}
		if cause := e.Unwrap(); cause != nil {
			attrs = append(attrs, "error", cause)
		}
		s.Log.WarnContext(ctx, "a tool call failed", attrs...)
	}
	took := int(time.Since(w.started).Milliseconds())
	ctx = context.WithoutCancel(ctx)
	var err error
	for attempt := range finishAttempts {
		if attempt > 0 {
			wait := time.NewTimer(time.Duration(100<<attempt) * time.Millisecond)
			<-wait.C
		}
		once, cancel := context.WithTimeout(ctx, finishTimeout)
		err = s.Store.Do(once, func(ctx context.Context, tx *uow.Tx) error { return s.end(ctx, tx, w, res, runErr, took) })
		cancel()
		if _, ours := errs.As(err); err == nil || ours {
			return err
		}
	}
	return err
}

// end takes the call from RUNNING to its end. Nothing is written when the row is no longer this run's.
func (s *Service) end(ctx context.Context, tx *uow.Tx, w *work, res tool.Result, runErr error, took int) error {
	if w.x.SessionID != nil { // deleting a conversation locks it and then its calls
		if _, err := tx.PG.Exec(ctx, `SELECT 1 FROM chat_sessions WHERE id = $1 FOR NO KEY UPDATE`, *w.x.SessionID); err != nil {
			return err
		}
	}
	x, err := tx.ToolExecution.Query().Where(toolexecution.ID(w.x.ID)).ForUpdate().Only(ctx)
	if err != nil {
		return err
	}
	if x.Status != enum.ToolExecutionStatusRunning || x.StartedAt == nil || !x.StartedAt.Equal(*w.x.StartedAt) {
		s.Log.WarnContext(ctx, "a tool call ended without its worker; its result is dropped", "execution_id", x.ID, "status", string(x.Status))
		return nil
	}
	c := outcome(x, res, runErr)
	c.Details = map[string]any{"tool": w.t.Name, "milliseconds": took}
	c.Set = func(u *ent.ToolExecutionUpdate) {
		u.SetExecutionTimeMs(took)
		if c.To == enum.ToolExecutionStatusCompleted {
			u.SetResult(res.Value).SetResultSensitivity(res.Sensitivity)
		}
	}
	if c.To == enum.ToolExecutionStatusCompleted {
		x.ResultSensitivity = &res.Sensitivity
	}
	if err := approval.Advance(ctx, tx, x, c); err != nil {
		return err
	}
	if c.To == enum.ToolExecutionStatusCompleted {
		if err := keep(ctx, tx, w.t, x, res.Value, res.Sensitivity); err != nil {
			return err
		}
		if err := raise(ctx, tx, x, res.Sensitivity); err != nil {
			return err
		}
	}
	return callNext(ctx, tx, x)
}

// outcome is the step that a run's end is.
func outcome(x *ent.ToolExecution, res tool.Result, runErr error) approval.Change {
	if runErr == nil {
		return approval.Change{To: enum.ToolExecutionStatusCompleted}
	}
	if e, ok := tool.AsError(runErr); ok {
		return approval.Change{To: enum.ToolExecutionStatusFailed, Code: e.Code, Error: e.Message}
	}
	if errors.Is(runErr, errCancelled) && x.ReasonCode != nil {
		return approval.Change{To: enum.ToolExecutionStatusCancelled, Reason: *x.ReasonCode}
	}
	if _, lost := errs.As(runErr); lost { // of the answer that the call was made for
		return approval.Change{To: enum.ToolExecutionStatusCancelled, Reason: enum.ToolReasonCodeAuthorizationLost}
	}
	return approval.Change{To: enum.ToolExecutionStatusFailed, Code: enum.ToolErrorCodeWorkerLost, Error: sentenceLost}
}

// raise lifts the conversation's sensitivity to a result's, in the unit of work that lets the conversation see it. It
// only rises.
func raise(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution, level enum.Sensitivity) error {
	if x.SessionID == nil {
		return nil
	}
	_, err := tx.PG.Exec(ctx, `UPDATE chat_sessions SET sensitivity = $3, updated_at = now() WHERE id = $1 AND user_id = $2
		AND array_position($4::text[], sensitivity) < array_position($4::text[], $3)`, *x.SessionID, x.UserID, string(level), level.Values())
	return err
}

// callNext enqueues the call of the same tool that has waited longest for the slot that is free now.
func callNext(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution) error {
	ids, err := collect(ctx, tx, `SELECT x.id FROM tool_executions x WHERE x.tool_id = $1 AND x.status = 'PENDING' AND `+noLiveJob+`
		ORDER BY x.created_at LIMIT 1 FOR UPDATE OF x SKIP LOCKED`, x.ToolID)
	for _, id := range ids {
		tx.Job(job.RunTool{Execution: id}, nil)
	}
	return err
}
