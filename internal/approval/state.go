package approval

import (
	"crypto/subtle"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

// Request is what an approval row says that its state depends on.
type Request struct {
	RequesterID       uuid.UUID
	ArgsHash          string
	PolicyVersion     string
	Elevated          bool
	RequiredApprovals int
	IsApproved        *bool // nil while open
	Decisions         []decision.Decision
	ExpiresAt         time.Time
	UseBy             *time.Time // of the grant
	ConsumedAt        *time.Time
	WithdrawnAt       *time.Time
}

// State is the state at a time; decision.Facts has the rule.
func (r Request) State(now time.Time) enum.ApprovalState {
	return decision.Facts{IsApproved: r.IsApproved, Decisions: r.Decisions, ExpiresAt: r.ExpiresAt, UseBy: r.UseBy, ConsumedAt: r.ConsumedAt,
		WithdrawnAt: r.WithdrawnAt}.State(now)
}

// Open says whether decisions are still taken.
func (r Request) Open(now time.Time) bool {
	s := r.State(now)
	return s == enum.ApprovalStatePending || s == enum.ApprovalStatePartiallyApproved
}

// CheckDecision says whether the approver, whose permission the caller has checked, may decide now on the arguments
// they saw. FORBIDDEN for the requester, superusers included; EXPIRED; ILLEGAL_TRANSITION once it is settled;
// FAILED_PRECONDITION when the policy has changed since; CONFLICT for a second decision of the same approver or for
// another hash than the request's.
func (r Request) CheckDecision(approver uuid.UUID, argsHash, policyVersion string, now time.Time) error {
	if approver == r.RequesterID || approver == uuid.Nil {
		return errs.New(errs.Forbidden, "Nobody decides on their own request; ask another approver.")
	}
	switch state := r.State(now); state {
	case enum.ApprovalStatePending, enum.ApprovalStatePartiallyApproved:
	case enum.ApprovalStateExpired:
		e := errs.New(errs.Expired, "This approval request is past its time; the requester can ask again.")
		e.State = string(state)
		return e
	default:
		return errs.InState(errs.IllegalTransition, string(state), "This approval request is settled already (%s).", state)
	}
	for _, d := range r.Decisions {
		if d.ApproverID == approver {
			return errs.New(errs.Conflict, "You have decided on this request already; a decision cannot be changed.")
		}
	}
	if !sameHash(argsHash, r.ArgsHash) {
		return errs.New(errs.Conflict, "These are not the arguments of the request; read it again and decide on what it shows.")
	}
	if policyVersion != r.PolicyVersion {
		return errs.InState(errs.FailedPrecondition, string(r.State(now)), "The approval policy has changed since this was asked; the requester must ask again.")
	}
	return nil
}

// CheckGrant says whether a worker may start the call on this request's grant, or why it must cancel it instead. The
// hash is that of the arguments about to run. The caller then consumes the grant by compare-and-set on consumed_at.
func (r Request) CheckGrant(argsHash, policyVersion string, now time.Time) (enum.ToolReasonCode, bool) {
	switch {
	case !sameHash(argsHash, r.ArgsHash) || policyVersion != r.PolicyVersion:
		return enum.ToolReasonCodeToolChanged, false
	case r.State(now) != enum.ApprovalStateApproved:
		return enum.ToolReasonCodeGrantLapsed, false
	}
	return "", true
}

// sameHash compares in constant time; an empty hash equals nothing.
func sameHash(a, b string) bool {
	return a != "" && subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// Rights are what an approver holds at the time of counting.
type Rights struct{ Decide, DecideElevated bool }

// Tally is the count of a request's decisions.
type Tally struct {
	Approvals int  // of distinct approvers that count
	Elevated  bool // one of them holds approvals:decide_elevated
	Rejected  bool // someone said no, which ends it whatever else there is
	Met       bool // the quorum is reached
}

// Count counts the decisions by the rights their makers hold now: who has lost the permission counts no longer, nor
// the requester, nor a second decision of one person. factor, with an elevated request, is the second factor that each
// decider must have had and given by the time of the decision.
func (r Request) Count(factor SecondFactor, rights func(approver uuid.UUID) Rights) Tally {
	var t Tally
	seen := map[uuid.UUID]bool{r.RequesterID: true, uuid.Nil: true}
	for _, d := range r.Decisions {
		if !d.Approved {
			t.Rejected = true
			continue
		}
		if seen[d.ApproverID] {
			continue
		}
		seen[d.ApproverID] = true
		has := rights(d.ApproverID)
		if !has.Decide || r.Elevated && factor.refuses(d) != nil {
			continue
		}
		t.Approvals++
		t.Elevated = t.Elevated || has.DecideElevated
	}
	required := max(r.RequiredApprovals, 1)
	if r.Elevated {
		required = max(required, 2)
	}
	t.Met = !t.Rejected && t.Approvals >= required && (t.Elevated || !r.Elevated)
	return t
}

// factorSkew is how far ahead of this replica's clock that of the one that took the second factor may be.
const factorSkew = time.Minute

// refuses says what is amiss with the second factor of an elevated approval, as it was when the decision was made:
// MFA_REQUIRED for someone who had none where one is required, STEP_UP_REQUIRED for one that was not fresh; nil.
func (f SecondFactor) refuses(d decision.Decision) *errs.Error {
	switch {
	case !d.Enrolled && !f.Required:
		return nil
	case !d.Enrolled:
		return errs.InState(errs.MFARequired, "ENROLLMENT", "Approving this is for people with a second factor; enrol one with enrollTotp and confirmTotp, then approve again.")
	case d.MFAAt == nil || d.MFAAt.Sub(d.At) > factorSkew || d.At.Sub(*d.MFAAt) > f.Age:
		return errs.New(errs.StepUpRequired, "Approving this needs a second factor given within %s; call stepUp, then approve again.", f.Age)
	}
	return nil
}
