package execution

import (
	"context"
	"errors"
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

// CancelReply ends all calls of the caller's answer that have not ended, as Cancel does. Without any it does nothing.
func (s *Service) CancelReply(ctx context.Context, replyID uuid.UUID) error {
	return s.cancelOwn(ctx, enum.ToolReasonCodeByRequester, toolexecution.ReplyID(replyID))
}

// ForfeitReply ends all calls of an answer that have not ended, because who it is for may not have it any more:
// AUTHORIZATION_LOST. It is for the worker that writes the answer.
func (s *Service) ForfeitReply(ctx context.Context, replyID uuid.UUID) error {
	return s.cancelAll(ctx, enum.ToolReasonCodeAuthorizationLost, toolexecution.ReplyID(replyID))
}

// CancelSession ends all calls of the caller's conversation that have not ended, because it is about to be deleted:
// SESSION_DELETED. Without any it does nothing.
func (s *Service) CancelSession(ctx context.Context, sessionID uuid.UUID) error {
	return s.cancelOwn(ctx, enum.ToolReasonCodeSessionDeleted, toolexecution.SessionID(sessionID))
}

func (s *Service) cancelOwn(ctx context.Context, reason enum.ToolReasonCode, of predicate.ToolExecution) error {
	p, err := authz.Signed(ctx)
	if err != nil {
		return err
	}
	return s.cancelAll(ctx, reason, of, toolexecution.UserID(p.UserID))
}

func (s *Service) cancelAll(ctx context.Context, reason enum.ToolReasonCode, of ...predicate.ToolExecution) error {
	ids, err := s.Client.ToolExecution.Query().Where(of...).Where(toolexecution.StatusIn(
		enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning)).IDs(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range ids {
		if err := s.cancel(ctx, id, reason); err != nil && !errs.Is(err, errs.IllegalTransition) { // it may have ended meanwhile
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// cancel ends a call whose canceller has been judged.
func (s *Service) cancel(ctx context.Context, id uuid.UUID, reason enum.ToolReasonCode) error {
	return s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		x, err := tx.ToolExecution.Query().Where(toolexecution.ID(id)).ForUpdate().Only(machine(ctx))
		if err != nil {
			return err
		}
		if x.Status != enum.ToolExecutionStatusRunning {
			return approval.End(ctx, tx, x, reason)
		}
		if x.ReasonCode != nil {
			return nil // asked already
		}
		n, err := tx.ToolExecution.Update().Where(toolexecution.ID(id), toolexecution.StatusEQ(x.Status)).SetReasonCode(reason).Save(machine(ctx))
		if err != nil {
			return err
		}
		if n != 1 {
			return errs.New(errs.Conflict, "The tool call changed at this very moment; read it again.")
		}
		e := audit.Entry{Action: enum.AuditActionToolExecutionCancelled, Resource: "ToolExecution", ResourceID: id, ExecutionID: id,
			Details: map[string]any{"status": x.Status, "reason": reason, "requested": true}}
		if x.SessionID != nil {
			e.SessionID = *x.SessionID
		}
		tx.Audit(e)
		tx.After(func() {
			s.Interrupt(id)
			if s.Signal != nil {
				s.Signal(fact.Cancel, []byte(id.String()))
			}
		})
		return nil
	})
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
