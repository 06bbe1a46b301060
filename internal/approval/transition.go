package approval

import (
	"fmt"
	"slices"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

// None is the state before a call's row exists.
const None enum.ToolExecutionStatus = ""

// Step is one row of the state machine of tool executions.
type Step struct {
	From, To enum.ToolExecutionStatus
	Reasons  []enum.ToolReasonCode // exactly one is recorded; empty: none may be
	Errors   []enum.ToolErrorCode  // likewise
	When     string
}

// Steps is the whole machine; docs/states.md draws it. What is not here is refused.
var Steps = []Step{
	{None, enum.ToolExecutionStatusPending, nil, nil, "permission held, arguments valid, tool active, no gate"},
	{None, enum.ToolExecutionStatusAwaitingApproval, nil, nil, "as above, but a person must decide; the approval row is made in the same transaction"},
	{None, enum.ToolExecutionStatusRejected, []enum.ToolReasonCode{enum.ToolReasonCodePolicyDenied}, nil, "policy denies"},
	{None, enum.ToolExecutionStatusCompleted, nil, nil, "cache hit; LOW and MEDIUM only"},
	{enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, nil, nil, "quorum of distinct, still eligible approvers before expires_at"},
	{enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusRejected, []enum.ToolReasonCode{enum.ToolReasonCodeApproverRejected}, nil, "any one rejection"},
	{enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusCancelled, []enum.ToolReasonCode{
		enum.ToolReasonCodeByRequester, enum.ToolReasonCodeByAdmin, enum.ToolReasonCodeApprovalExpired, enum.ToolReasonCodeAuthorizationLost,
		enum.ToolReasonCodeToolChanged, enum.ToolReasonCodeSessionDeleted}, nil, "withdrawn, expired, requester's rights lost, tool disabled or changed, session deleted, its answer ended"},
	{enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning, nil, nil, "a worker takes it and consumes the grant"},
	{enum.ToolExecutionStatusPending, enum.ToolExecutionStatusCancelled, []enum.ToolReasonCode{
		enum.ToolReasonCodeByRequester, enum.ToolReasonCodeByAdmin, enum.ToolReasonCodeGrantLapsed, enum.ToolReasonCodeAuthorizationLost,
		enum.ToolReasonCodeToolChanged, enum.ToolReasonCodeSessionDeleted, enum.ToolReasonCodeQueueTimeout}, nil, "cancelled, grant lapsed, permission lost, tool changed, its answer ended, queued too long"},
	{enum.ToolExecutionStatusRunning, enum.ToolExecutionStatusCompleted, nil, nil, "result valid"},
	{enum.ToolExecutionStatusRunning, enum.ToolExecutionStatusFailed, nil, []enum.ToolErrorCode{
		enum.ToolErrorCodeToolError, enum.ToolErrorCodeTimeout, enum.ToolErrorCodeInvalidResult, enum.ToolErrorCodeWorkerLost,
		enum.ToolErrorCodeDependencyUnavailable}, "error, timeout, invalid result, lost worker"},
	{enum.ToolExecutionStatusRunning, enum.ToolExecutionStatusCancelled, []enum.ToolReasonCode{
		enum.ToolReasonCodeByRequester, enum.ToolReasonCodeByAdmin, enum.ToolReasonCodeAuthorizationLost, enum.ToolReasonCodeSessionDeleted}, nil, "cancel honoured, or requester's rights lost"},
}

// Transition allows one step, or refuses it with ILLEGAL_TRANSITION and the present state.
func Transition(from, to enum.ToolExecutionStatus) error {
	_, err := find(from, to)
	return err
}

// Record allows one step together with what the row will say of it. Besides ILLEGAL_TRANSITION it refuses, with a
// plain error, a reason or error code that the step does not carry: that is a fault of the caller.
func Record(from, to enum.ToolExecutionStatus, reason enum.ToolReasonCode, code enum.ToolErrorCode) error {
	s, err := find(from, to)
	if err != nil {
		return err
	}
	if reason == "" != (len(s.Reasons) == 0) || reason != "" && !slices.Contains(s.Reasons, reason) {
		return fmt.Errorf("approval: a step from %q to %s cannot carry reason %q", from, to, reason)
	}
	if code == "" != (len(s.Errors) == 0) || code != "" && !slices.Contains(s.Errors, code) {
		return fmt.Errorf("approval: a step from %q to %s cannot carry error code %q", from, to, code)
	}
	return nil
}

func find(from, to enum.ToolExecutionStatus) (Step, error) {
	for _, s := range Steps {
		if s.From == from && s.To == to {
			return s, nil
		}
	}
	switch {
	case from == None:
		return Step{}, errs.InState(errs.IllegalTransition, "", "A tool call cannot begin as %s.", to)
	case Terminal(from):
		return Step{}, errs.InState(errs.IllegalTransition, string(from), "This tool call has ended (%s) and stays as it is; make a new one.", from)
	default:
		return Step{}, errs.InState(errs.IllegalTransition, string(from), "A tool call that is %s cannot become %s.", from, to)
	}
}

// Terminal says whether a call in this state never changes again.
func Terminal(s enum.ToolExecutionStatus) bool {
	return !slices.ContainsFunc(Steps, func(t Step) bool { return t.From == s })
}
