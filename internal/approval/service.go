package approval

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/toolapproval"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/delegate"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// maxComment bounds what an approver writes, in Unicode code points.
const maxComment = 4_000

// Service takes the decisions of approvers. It is safe for concurrent use, by any number of processes: decisions on one
// request are serial, because the call's row and then the request's row are locked.
type Service struct {
	Store  *uow.Store
	Client *ent.Client
	Policy Settings
}

// Approve records the caller's approval of exactly the arguments whose hash they name; the decision that completes the
// quorum clears the call to run. For holders of approvals:decide, never the requester, never an agent. Errors:
// NOT_FOUND, FORBIDDEN, EXPIRED, ILLEGAL_TRANSITION when settled, CONFLICT for a second decision or another hash,
// FAILED_PRECONDITION when tool, policy or the requester's rights changed or the answer it was for has ended (which voids the
// request), STEP_UP_REQUIRED
// for an elevated request when the caller's second factor is not fresh, MFA_REQUIRED when they have none and one is
// required. Audited as APPROVAL_DECISION_RECORDED, the last one also as
// APPROVAL_GRANTED; events DECIDED or APPROVED.
func (s *Service) Approve(ctx context.Context, approvalID uuid.UUID, argsHash, comment string) (*ent.ToolApproval, error) {
	return s.decide(ctx, approvalID, argsHash, ballot{approved: true, text: comment, field: "input.comment"})
}

// Reject records the caller's rejection, which ends the request and the call. Callers and errors as for Approve, but no
// second factor is asked: stopping is always safe. Audited as APPROVAL_REJECTED, the call as TOOL_EXECUTION_BLOCKED;
// event REJECTED.
func (s *Service) Reject(ctx context.Context, approvalID uuid.UUID, argsHash, reason string) (*ent.ToolApproval, error) {
	if strings.TrimSpace(reason) == "" {
		return nil, errs.Input("input.reason", "Say why; the requester and the auditors read it.")
	}
	return s.decide(ctx, approvalID, argsHash, ballot{text: reason, field: "input.reason"})
}

// Withdraw takes back the caller's own request, or its unused grant, and cancels the call. NOT_FOUND; FORBIDDEN for
// another's; ILLEGAL_TRANSITION once the call runs or has ended. Audited as APPROVAL_WITHDRAWN; event WITHDRAWN.
func (s *Service) Withdraw(ctx context.Context, approvalID uuid.UUID) (*ent.ToolApproval, error) {
	if err := uid.Check(approvalID, uid.ToolApproval, "id"); err != nil {
		return nil, err
	}
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	err = s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		m, err := open(ctx, tx, approvalID)
		if err != nil {
			return err
		}
		if m.a.UserID != p.UserID {
			return errs.New(errs.Forbidden, "Only who asked can withdraw the request; an approver can reject it.")
		}
		return End(ctx, tx, m.x, enum.ToolReasonCodeByRequester)
	})
	if err != nil {
		return nil, s.denied(ctx, approvalID, err)
	}
	return s.Client.ToolApproval.Get(ctx, approvalID)
}

// ballot is what an approver says.
type ballot struct {
	approved    bool
	text, field string
}

func (b ballot) check() error {
	if utf8.RuneCountInString(b.text) > maxComment || strings.ContainsRune(b.text, 0) || !utf8.ValidString(b.text) {
		return errs.Input(b.field, "At most %d characters, none of them NUL.", maxComment)
	}
	return nil
}

func (s *Service) decide(ctx context.Context, id uuid.UUID, hash string, b ballot) (*ent.ToolApproval, error) {
	if err := uid.Check(id, uid.ToolApproval, "input.approvalId"); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	p, err := authz.Require(ctx, "approvals", "decide")
	if err != nil {
		return nil, s.denied(ctx, id, err)
	}
	var refused error // committed with what it brought about
	err = s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		m, err := open(ctx, tx, id)
		if err != nil {
			return err
		}
		void, err := s.judge(ctx, tx, m, p, hash)
		if err != nil {
			if void == "" || m.x.Status != enum.ToolExecutionStatusAwaitingApproval {
				return err
			}
			refused = err
			return End(ctx, tx, m.x, void)
		}
		return s.settle(ctx, tx, m, p, b)
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, s.denied(ctx, id, err)
	}
	return s.Client.ToolApproval.Get(ctx, id)
}

// mayDecide says whether p, who holds these rights, may decide on a request now, by its row alone.
func (s Settings) mayDecide(p, rights *authz.Principal, a *ent.ToolApproval, hash string) error {
	if p.Kind != enum.ActorKindUser || !rights.Can("approvals:decide") {
		return errs.New(errs.Forbidden, "Only a person who holds approvals:decide at this moment can decide.")
	}
	return Stored(a).CheckDecision(p.UserID, hash, s.Version(), now())
}

// ViewerCanDecide says whether the context's principal could decide on a request now: they hold approvals:decide, did not
// ask for it and have not decided on it, it is open and of today's policy, and it is not an elevated one that an API token
// would approve. Approving an elevated one still takes a fresh second factor. It reads nothing.
func (s *Service) ViewerCanDecide(ctx context.Context, a *ent.ToolApproval) bool {
	p := authz.From(ctx)
	return p != nil && (!p.APIToken || !a.RequiresElevatedApproval) && s.Policy.mayDecide(p, p, a, a.ArgsHash) == nil
}

// matter is a request with its call, both locked.
type matter struct {
	x      *ent.ToolExecution
	a      *ent.ToolApproval
	t      *ent.Tool                      // with judge
	people map[uuid.UUID]*authz.Principal // the approvers' and the requester's rights, with judge
}

// open locks the call and then the request, in this order everywhere. NOT_FOUND for a request the caller may not see.
func open(ctx context.Context, tx *uow.Tx, id uuid.UUID) (*matter, error) {
	seen, err := tx.ToolApproval.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("approval request")
	}
	if err != nil {
		return nil, err
	}
	x, err := tx.ToolExecution.Query().Where(toolexecution.ID(seen.ExecutionID)).ForUpdate().Only(machine(ctx))
	if err != nil {
		return nil, fmt.Errorf("lock the call of approval %s: %w", id, err)
	}
	a, err := tx.ToolApproval.Query().Where(toolapproval.ID(id)).ForUpdate().Only(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock approval %s: %w", id, err)
	}
	return &matter{x: x, a: a}, nil
}

// judge says whether p may decide now, by the rights in the database. With an error it also gives the reason to void
// the request, if it cannot go on for anyone.
func (s *Service) judge(ctx context.Context, tx *uow.Tx, m *matter, p *authz.Principal, hash string) (enum.ToolReasonCode, error) {
	ids := []uuid.UUID{p.UserID, m.a.UserID}
	for _, d := range m.a.Decisions {
		ids = append(ids, d.ApproverID)
	}
	var err error
	if m.people, err = s.Policy.Load(ctx, tx.PG, ids...); err != nil {
		return "", err
	}
	if err := s.Policy.mayDecide(p, m.people[p.UserID], m.a, hash); err != nil {
		switch {
		case errs.Is(err, errs.Expired):
			return enum.ToolReasonCodeApprovalExpired, err
		case errs.Is(err, errs.FailedPrecondition):
			return enum.ToolReasonCodeToolChanged, err
		}
		return "", err
	}
	if m.x.Status != enum.ToolExecutionStatusAwaitingApproval {
		return "", Transition(m.x.Status, enum.ToolExecutionStatusPending)
	}
	t, err := tx.Tool.Get(machine(ctx), m.x.ToolID)
	if err != nil {
		return "", err
	}
	m.t = t
	if !t.IsActive || t.Version != m.x.ToolVersion {
		return enum.ToolReasonCodeToolChanged, errs.InState(errs.FailedPrecondition, string(m.a.State()), "The tool has changed since this was asked; the requester must ask again.")
	}
	if m.people[m.a.UserID], err = delegate.Narrow(ctx, tx.PG, m.people[m.a.UserID], delegate.Execution, m.x.ID); err != nil {
		return "", err
	}
	reason, err := AnswerEnded(ctx, tx.PG, m.x)
	if err != nil {
		return "", err
	}
	if reason != "" {
		return reason, errs.InState(errs.FailedPrecondition, string(m.a.State()), "The answer this was asked for has ended; its result would reach nobody.")
	}
	if !MayCall(m.people[m.a.UserID], t.RequiredPermission) {
		return enum.ToolReasonCodeAuthorizationLost, errs.InState(errs.FailedPrecondition, string(m.a.State()), "The requester may no longer call this tool.")
	}
	return "", nil
}

// settle stores the decision and takes the call on when it settles the request.
func (s *Service) settle(ctx context.Context, tx *uow.Tx, m *matter, p *authz.Principal, b ballot) error {
	d := decision.Decision{ApproverID: p.UserID, Approved: b.approved, Comment: b.text, At: now()}
	var err error
	if d.Enrolled, d.MFAAt, err = secondFactorOf(ctx, tx.PG, p); err != nil {
		return err
	}
	if b.approved && m.a.RequiresElevatedApproval {
		if e := s.Policy.SecondFactor.refuses(d); e != nil {
			if p.APIToken {
				return errs.New(errs.Forbidden, "Approving this needs a second factor, which no API token can give; sign in and decide yourself.")
			}
			return e
		}
	}
	m.a.Decisions = append(m.a.Decisions, d)
	tally := Stored(m.a).Count(s.Policy.SecondFactor, rightsOf(m.people))
	u := tx.ToolApproval.UpdateOneID(m.a.ID).Where(toolapproval.IsApprovedIsNil(), toolapproval.WithdrawnAtIsNil()).SetDecisions(m.a.Decisions)
	details := map[string]any{"approvals": tally.Approvals, "required": m.a.RequiredApprovals, "elevated": m.a.RequiresElevatedApproval}
	switch {
	case tally.Rejected:
		u.SetIsApproved(false).SetApproverID(p.UserID).SetRespondedAt(d.At).SetRejectionReason(b.text)
		if err := u.Exec(ctx); err != nil {
			return err
		}
		Note(tx, m.x, m.a.ID, enum.AuditActionApprovalRejected, fact.Rejected, details)
		return Advance(ctx, tx, m.x, Change{To: enum.ToolExecutionStatusRejected, Reason: enum.ToolReasonCodeApproverRejected})
	case tally.Met:
		u.SetIsApproved(true).SetApproverID(p.UserID).SetRespondedAt(d.At).SetUseBy(d.At.Add(s.grantTTL(m.a)))
		if b.text != "" {
			u.SetApprovalComment(b.text)
		}
		if err := u.Exec(ctx); err != nil {
			return err
		}
		m.noteDecisions(tx)
		NoteCall(tx, m.people[m.a.UserID], m.t)
		tx.Audit(audit.Entry{Action: enum.AuditActionApprovalDecisionRecorded, Resource: "ToolApproval", ResourceID: m.a.ID, ExecutionID: m.x.ID, Details: details})
		Note(tx, m.x, m.a.ID, enum.AuditActionApprovalGranted, fact.Approved, details)
		return Advance(ctx, tx, m.x, Change{To: enum.ToolExecutionStatusPending})
	default:
		if err := u.Exec(ctx); err != nil {
			return err
		}
		Note(tx, m.x, m.a.ID, enum.AuditActionApprovalDecisionRecorded, fact.Decided, details)
		return nil
	}
}

func (s *Service) grantTTL(a *ent.ToolApproval) time.Duration {
	if a.RequiresElevatedApproval {
		return s.Policy.ElevatedGrantTTL
	}
	return s.Policy.ApprovalGrantTTL
}

// denied records a refusal, whose own transaction is gone, and returns it; a refusal that cannot be recorded is a fault.
func (s *Service) denied(ctx context.Context, id uuid.UUID, err error) error {
	e, ok := errs.As(err)
	if !ok {
		return err
	}
	action := enum.AuditActionPermissionDenied
	switch e.Code {
	case errs.Forbidden, errs.StepUpRequired, errs.MFARequired:
	case errs.Conflict, errs.Expired, errs.FailedPrecondition:
		action = enum.AuditActionToolExecutionBlocked
	default:
		return err
	}
	entry := audit.Entry{Action: action, Resource: "ToolApproval", ResourceID: id, Failed: true, Error: string(e.Code)}
	if rec := s.Store.Audit.Record(ctx, entry); rec != nil {
		return fmt.Errorf("record a refusal (%s): %w", e.Code, rec)
	}
	return err
}
