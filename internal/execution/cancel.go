package execution

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/predicate"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Cancel ends a call: the requester's own, or anyone's for holders of tools:manage who may see it. A call that has not
// begun is CANCELLED at once, with its approval request. One that runs keeps RUNNING with the reason noted until its
// worker has stopped, or has finished after all. NOT_FOUND; FORBIDDEN; ILLEGAL_TRANSITION when it has ended. Audited as
// TOOL_EXECUTION_CANCELLED.
func (s *Service) Cancel(ctx context.Context, id uuid.UUID) (*ent.ToolExecution, error) {
	if err := uid.Check(id, uid.ToolExecution, "id"); err != nil {
		return nil, err
	}
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	x, err := s.Client.ToolExecution.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("tool call")
	}
	if err != nil {
		return nil, err
	}
	reason := enum.ToolReasonCodeByRequester
	if x.UserID != p.UserID {
		reason = enum.ToolReasonCodeByAdmin
		may, err := authz.May(ctx, "ToolExecution", "tools:manage")
		if err != nil {
			return nil, err
		}
		if !may {
			err := errs.New(errs.Forbidden, "This is another person's tool call; only they or a holder of tools:manage can cancel it.")
			if rec := s.Store.Audit.Record(ctx, audit.Entry{Action: enum.AuditActionPermissionDenied, Resource: "ToolExecution", ResourceID: id, ExecutionID: id, Failed: true, Error: string(errs.Forbidden)}); rec != nil {
				return nil, fmt.Errorf("record a refusal: %w", rec)
			}
			return nil, err
		}
	}
	if err := s.cancel(ctx, id, reason); err != nil {
		return nil, err
	}
	return s.Client.ToolExecution.Get(ctx, id)
}

// CancelReply ends all calls of the caller's answer that have not ended, as Cancel does, in the unit of work that stops
// the answer. The caller holds the conversation and the answer. Without any it does nothing.
func (s *Service) CancelReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error {
	return s.cancelOwn(ctx, tx, enum.ToolReasonCodeByRequester, toolexecution.ReplyID(replyID))
}

// StopReply is CancelReply for the worker that writes the answer and honours its user's wish to stop it.
func (s *Service) StopReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error {
	return s.cancelAll(ctx, tx, enum.ToolReasonCodeByRequester, toolexecution.ReplyID(replyID))
}

// ForfeitReply ends all calls of an answer that have not ended, in the unit of work in which the answer fails: nothing
// goes on in its name. AUTHORIZATION_LOST. It is for the worker that writes the answer.
func (s *Service) ForfeitReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error {
	return s.cancelAll(ctx, tx, enum.ToolReasonCodeAuthorizationLost, toolexecution.ReplyID(replyID))
}

// CancelSession ends all calls of the caller's conversation that have not ended, in the unit of work that deletes it:
// SESSION_DELETED. The caller holds the conversation. Without any it does nothing.
func (s *Service) CancelSession(ctx context.Context, tx *uow.Tx, sessionID uuid.UUID) error {
	return s.cancelOwn(ctx, tx, enum.ToolReasonCodeSessionDeleted, toolexecution.SessionID(sessionID))
}

func (s *Service) cancelOwn(ctx context.Context, tx *uow.Tx, reason enum.ToolReasonCode, of predicate.ToolExecution) error {
	p, err := authz.Signed(ctx)
	if err != nil {
		return err
	}
	return s.cancelAll(ctx, tx, reason, of, toolexecution.UserID(p.UserID))
}

func (s *Service) cancelAll(ctx context.Context, tx *uow.Tx, reason enum.ToolReasonCode, of ...predicate.ToolExecution) error {
	xs, err := tx.ToolExecution.Query().Where(of...).Where(toolexecution.StatusIn(
		enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning)).
		Order(toolexecution.ByID()).ForUpdate().All(machine(ctx))
	if err != nil {
		return err
	}
	for _, x := range xs {
		if err := s.stop(ctx, tx, x, reason); err != nil {
			return err
		}
	}
	return nil
}

// cancel ends a call whose canceller has been judged.
func (s *Service) cancel(ctx context.Context, id uuid.UUID, reason enum.ToolReasonCode) error {
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		x, err := tx.ToolExecution.Query().Where(toolexecution.ID(id)).ForUpdate().Only(machine(ctx))
		if err != nil {
			return err
		}
		return s.stop(ctx, tx, x, reason)
	})
}

// stop ends a locked call that has not begun, or asks the worker of one that runs to.
func (s *Service) stop(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution, reason enum.ToolReasonCode) error {
	if x.Status != enum.ToolExecutionStatusRunning {
		return approval.End(ctx, tx, x, reason)
	}
	if x.ReasonCode != nil {
		return nil // asked already
	}
	n, err := tx.ToolExecution.Update().Where(toolexecution.ID(x.ID), toolexecution.StatusEQ(x.Status)).SetReasonCode(reason).Save(machine(ctx))
	if err != nil {
		return err
	}
	if n != 1 {
		return errs.New(errs.Conflict, "The tool call changed at this very moment; read it again.")
	}
	e := audit.Entry{Action: enum.AuditActionToolExecutionCancelled, Resource: "ToolExecution", ResourceID: x.ID, ExecutionID: x.ID,
		Details: map[string]any{"status": x.Status, "reason": reason, "requested": true}}
	if x.SessionID != nil {
		e.SessionID = *x.SessionID
	}
	tx.Audit(e)
	tx.After(func() {
		s.Interrupt(x.ID)
		if s.Signal != nil {
			s.Signal(fact.Cancel, []byte(x.ID.String()))
		}
	})
	return nil
}

// Rejudge has the workers in this process of calls of these users and API tokens see now, instead of at their next
// heartbeat, whether the requester may still call the tool; without any, those of all calls. Call it when rights have
// changed.
func (s *Service) Rejudge(ids ...uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.running {
		if len(ids) == 0 || slices.Contains(ids, r.requester.UserID) || slices.Contains(ids, r.requester.SessionID) {
			r.look()
		}
	}
}

// Interrupt has the worker of a call, if it is in this process, look at the call's row now instead of at its next
// heartbeat. Call it for every signal on fact.Cancel; a stray one changes nothing.
func (s *Service) Interrupt(id uuid.UUID) {
	s.mu.Lock()
	r, here := s.running[id]
	s.mu.Unlock()
	if here {
		r.look()
	}
}

// run is a call that a worker in this process is at.
type run struct {
	requester *authz.Principal
	poke      chan struct{}
}

func (r run) look() {
	select {
	case r.poke <- struct{}{}:
	default: // it is about to
	}
}
