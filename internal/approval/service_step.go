package approval

import (
	"context"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/uow"
)

// Change is one step of a call and what its row says of it.
type Change struct {
	To      enum.ToolExecutionStatus
	Reason  enum.ToolReasonCode            // with REJECTED and CANCELLED
	Code    enum.ToolErrorCode             // with FAILED
	Error   string                         // with FAILED: a sentence for people and the model
	Set     func(*ent.ToolExecutionUpdate) // further columns; may be nil
	Details map[string]any                 // further audit details
}

// Advance takes a call one step by compare-and-set, with its audit row, its events and the job that follows from it.
// The caller has locked and judged x, which is brought up to date. ILLEGAL_TRANSITION for a step that the machine does
// not have, CONFLICT when the row is no longer as x says.
func Advance(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution, c Change) error {
	if err := Record(x.Status, c.To, c.Reason, c.Code); err != nil {
		return err
	}
	u := tx.ToolExecution.Update().Where(toolexecution.ID(x.ID), toolexecution.StatusEQ(x.Status)).SetStatus(c.To)
	if x.Status == enum.ToolExecutionStatusRunning {
		u.ClearLeaseExpiresAt()
		if x.StartedAt != nil {
			u.Where(toolexecution.StartedAt(*x.StartedAt)) // the fence: this run and no other
		}
	}
	if c.Reason != "" {
		u.SetReasonCode(c.Reason)
	} else {
		u.ClearReasonCode() // of a cancellation that came too late
	}
	if c.Code != "" {
		u.SetErrorCode(c.Code).SetError(c.Error)
	}
	if Terminal(c.To) {
		u.SetCompletedAt(now())
	}
	if c.Set != nil {
		c.Set(u)
	}
	n, err := u.Save(machine(ctx))
	if err != nil {
		return err
	}
	if n != 1 {
		return errs.New(errs.Conflict, "The tool call changed at this very moment; read it again.")
	}
	x.Status = c.To
	Publish(tx, x, c)
	return nil
}

// Publish adds what follows from a call's step to the unit of work: audit row, events, and the job that goes on. It is
// Advance without the row, for calls that are just made.
func Publish(tx *uow.Tx, x *ent.ToolExecution, c Change) {
	if action := auditAction(c.To, c.Reason); action != "" {
		tx.Audit(entry(x, action, c))
	}
	tx.Event(fact.Tools, fact.Tool{Status: c.To, Execution: x.ID, Requester: x.UserID, NeedsApproval: x.RequiresApproval})
	if x.SessionID != nil {
		tx.Event(fact.ChatSubject(*x.SessionID), fact.Chat{Execution: x.ID})
	}
	if c.To == enum.ToolExecutionStatusPending {
		tx.Job(job.RunTool{Execution: x.ID}, nil)
	}
	if Terminal(c.To) && x.ReplyID != nil {
		tx.Job(job.Turn{Reply: *x.ReplyID}, nil)
	}
}

// auditAction is the action of a step. What a rule stopped is blocked; what someone stopped, or time, is cancelled.
func auditAction(to enum.ToolExecutionStatus, reason enum.ToolReasonCode) enum.AuditAction {
	switch to {
	case enum.ToolExecutionStatusRunning:
		return enum.AuditActionToolExecutionStarted
	case enum.ToolExecutionStatusCompleted:
		return enum.AuditActionToolExecutionCompleted
	case enum.ToolExecutionStatusFailed:
		return enum.AuditActionToolExecutionFailed
	case enum.ToolExecutionStatusRejected:
		return enum.AuditActionToolExecutionBlocked
	case enum.ToolExecutionStatusCancelled:
		switch reason {
		case enum.ToolReasonCodeAuthorizationLost, enum.ToolReasonCodeToolChanged, enum.ToolReasonCodeGrantLapsed:
			return enum.AuditActionToolExecutionBlocked
		default:
			return enum.AuditActionToolExecutionCancelled
		}
	default:
		return "" // the request or the decision that led here has its own row
	}
}

func entry(x *ent.ToolExecution, action enum.AuditAction, c Change) audit.Entry {
	e := audit.Entry{Action: action, Resource: "ToolExecution", ResourceID: x.ID, ExecutionID: x.ID, Failed: c.To == enum.ToolExecutionStatusFailed,
		Details: map[string]any{"status": c.To, "toolId": x.ToolID, "toolVersion": x.ToolVersion}}
	if x.SessionID != nil {
		e.SessionID = *x.SessionID
	}
	if c.Reason != "" {
		e.Details["reason"] = c.Reason
	}
	if c.Code != "" {
		e.Error = string(c.Code)
	}
	for k, v := range c.Details {
		e.Details[k] = v
	}
	if s := x.ResultSensitivity; s != nil && s.AtLeast(enum.SensitivityConfidential) {
		e.Sensitive = true
	}
	return e
}

// End cancels a call that has not begun, and closes its approval request with it. The caller has locked and judged x.
// ILLEGAL_TRANSITION once it runs: only its worker ends it then, because the tool may have taken effect.
func End(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution, reason enum.ToolReasonCode) error {
	if x.Status == enum.ToolExecutionStatusRunning {
		return errs.InState(errs.IllegalTransition, string(x.Status), "This tool call runs already; cancel it with cancelToolExecution.")
	}
	if err := Advance(ctx, tx, x, Change{To: enum.ToolExecutionStatusCancelled, Reason: reason}); err != nil {
		return err
	}
	if !x.RequiresApproval {
		return nil
	}
	a, err := tx.ToolApproval.Query().Where(toolapproval.ExecutionID(x.ID)).ForUpdate().Only(machine(ctx))
	if err != nil {
		return err
	}
	u := tx.ToolApproval.UpdateOneID(a.ID)
	if a.RespondedAt == nil {
		u.SetRespondedAt(now())
	}
	action, kind := enum.AuditActionApprovalExpired, fact.Expired
	if reason != enum.ToolReasonCodeApprovalExpired && reason != enum.ToolReasonCodeGrantLapsed {
		action, kind = enum.AuditActionApprovalWithdrawn, fact.Withdrawn
		u.SetWithdrawnAt(now())
	}
	if err := u.Exec(machine(ctx)); err != nil {
		return err
	}
	Note(tx, x, a.ID, action, kind, map[string]any{"reason": reason})
	return nil
}

// Note adds the audit row and the event of what happened to an approval request.
func Note(tx *uow.Tx, x *ent.ToolExecution, approvalID uuid.UUID, action enum.AuditAction, kind fact.ApprovalKind, details map[string]any) {
	e := audit.Entry{Action: action, Resource: "ToolApproval", ResourceID: approvalID, ExecutionID: x.ID, Details: details}
	if x.SessionID != nil {
		e.SessionID = *x.SessionID
	}
	tx.Audit(e)
	tx.Event(fact.Approvals, fact.Approval{Kind: kind, Approval: approvalID, Execution: x.ID, Requester: x.UserID})
}

// Stored is the part of an approval row that its state depends on.
func Stored(a *ent.ToolApproval) Request {
	return Request{RequesterID: a.UserID, ArgsHash: a.ArgsHash, PolicyVersion: a.PolicyVersion, Elevated: a.RequiresElevatedApproval,
		RequiredApprovals: a.RequiredApprovals, IsApproved: a.IsApproved, Decisions: a.Decisions, ExpiresAt: a.ExpiresAt,
		UseBy: a.UseBy, ConsumedAt: a.ConsumedAt, WithdrawnAt: a.WithdrawnAt}
}

// machine is ctx as the principal that takes calls from state to state, once the rules have been judged for whoever
// caused it. Audit rows keep the unit of work's own principal.
func machine(ctx context.Context) context.Context { return authz.With(ctx, authz.ToolRunner) }

// now is the time as the database keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
