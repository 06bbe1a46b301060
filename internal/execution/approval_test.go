//go:build unix

package execution_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

func TestApprovals_Approve(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	session := h.session(ann, enum.SensitivityPublic)
	in := input("high")
	in.SessionID = &session
	x, a := h.asked(ann, in)
	a, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "go ahead")
	require.NoError(t, err)
	require.Equal(t, enum.ApprovalStateApproved, a.State())
	require.Equal(t, bob.UserID, *a.ApproverID)
	require.Equal(t, "go ahead", *a.ApprovalComment)
	require.WithinDuration(t, time.Now().Add(15*time.Minute), *a.UseBy, time.Minute)
	_, err = a.QueryExecution().Only(testkit.As(bob))
	require.NoError(t, err, "edges are read after commit")
	h.mustBe(x.ID, enum.ToolExecutionStatusPending, "", "")
	require.Zero(t, h.calls.Load())
	h.work()
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	require.Equal(t, enum.ApprovalStateConsumed, h.approvalOf(x.ID).State())
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "APPROVAL_REQUESTED", "APPROVAL_DECISION_RECORDED", "APPROVAL_GRANTED",
		"APPROVAL_CONSUMED", "TOOL_EXECUTION_STARTED", "TOOL_EXECUTION_COMPLETED"}, h.actions(x.ID))
	want := []string{}
	for _, kind := range []fact.ApprovalKind{fact.Requested, fact.Approved, fact.ApprovalConsumed} {
		want = append(want, fmt.Sprintf(`{"k":"%s","a":"%s","x":"%s","u":"%s"}`, kind, a.ID, x.ID, ann.UserID))
	}
	require.Equal(t, want, h.payloads(fact.Approvals))
	require.Len(t, h.payloads(fact.Tools), 4)
	require.Len(t, h.payloads(fact.ChatSubject(session)), 4)
	require.Zero(t, h.Count(t, `SELECT count(*) FROM audit_logs WHERE details::text LIKE '%go ahead%'`))
	_, err = h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	requireCode(t, errs.IllegalTransition, err)
	_, err = h.approvals.Withdraw(testkit.As(ann), a.ID)
	requireCode(t, errs.IllegalTransition, err)
}

func TestApprovals_Reject(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	session := h.session(ann, enum.SensitivityPublic)
	reply := h.reply(ann, session)
	in := input("high")
	in.SessionID, in.ReplyID, in.CallID = &session, &reply, "c1"
	x, a := h.asked(ann.AsAgent(), in)
	_, err := h.approvals.Reject(testkit.As(bob), a.ID, a.ArgsHash, " ")
	requireCode(t, errs.BadUserInput, err)
	a, err = h.approvals.Reject(testkit.As(bob), a.ID, a.ArgsHash, "not today")
	require.NoError(t, err)
	require.Equal(t, enum.ApprovalStateRejected, a.State())
	require.Equal(t, "not today", *a.RejectionReason)
	h.mustBe(x.ID, enum.ToolExecutionStatusRejected, enum.ToolReasonCodeApproverRejected, "")
	require.Equal(t, 1, h.jobs("turn"), "the answer goes on")
	require.Zero(t, h.jobs("run_tool"))
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "APPROVAL_REQUESTED", "APPROVAL_REJECTED", "TOOL_EXECUTION_BLOCKED"}, h.actions(x.ID))
	_, err = h.approvals.Approve(testkit.As(h.person("eve", "approver")), a.ID, a.ArgsHash, "")
	requireCode(t, errs.IllegalTransition, err)
}

func TestApprovals_Refuse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	root := h.superuser("root")
	ann, bob, carl := h.person("ann", "analyst", "approver"), h.person("bob", "approver"), h.person("carl", "analyst")
	gone, stripped := h.person("gone", "approver"), h.person("stripped", "approver")
	h.sql(`UPDATE users SET is_active = false WHERE id = $1`, gone.UserID)
	h.strip(stripped)
	x, a := h.asked(ann, input("high"))
	rx, ra := h.asked(root, input("critical"))
	for name, c := range map[string]struct {
		p      *authz.Principal
		a      string
		hash   string
		code   errs.Code
		action string
	}{
		"Own":          {ann, "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"OwnSuperuser": {root, "r", ra.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"Agent":        {bob.AsAgent(), "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"System":       {authz.NewSystem("system:rogue", "approvals:decide", "approvals:read"), "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"NoPermission": {carl, "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"Deactivated":  {gone, "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"RightsLost":   {stripped, "a", a.ArgsHash, errs.Forbidden, "PERMISSION_DENIED"},
		"OtherHash":    {bob, "a", ra.ArgsHash, errs.Conflict, "TOOL_EXECUTION_BLOCKED"},
		"NoHash":       {bob, "a", "", errs.Conflict, "TOOL_EXECUTION_BLOCKED"},
		"Unknown":      {bob, "unknown", a.ArgsHash, errs.NotFound, ""},
		"WrongType":    {bob, "wrong", a.ArgsHash, errs.BadUserInput, ""},
		"Anonymous":    {nil, "a", a.ArgsHash, errs.Unauthenticated, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := a.ID
			switch c.a {
			case "r":
				id = ra.ID
			case "unknown":
				id = uid.New(uid.ToolApproval)
			case "wrong":
				id = x.ID
			}
			for _, decide := range []func() error{
				func() error { _, err := h.approvals.Approve(testkit.As(c.p), id, c.hash, ""); return err },
				func() error { _, err := h.approvals.Reject(testkit.As(c.p), id, c.hash, "no"); return err },
			} {
				before := h.Count(t, `SELECT count(*) FROM audit_logs WHERE resource_id = $1 AND NOT success`, id)
				requireCode(t, c.code, decide())
				after := h.Count(t, `SELECT count(*) FROM audit_logs WHERE resource_id = $1 AND NOT success`, id)
				if c.action == "" {
					require.Equal(t, before, after)
					continue
				}
				require.Equal(t, before+1, after)
				require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM (SELECT action FROM audit_logs WHERE resource_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1) l WHERE action = $2`, id, c.action))
			}
			h.mustBe(x.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
			h.mustBe(rx.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
			require.Empty(t, h.approvalOf(x.ID).Decisions)
		})
	}
}

func TestApprovals_Elevated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	low1, low2, low3 := h.person("low1", "steward"), h.person("low2", "steward"), h.person("low3", "steward")
	high := h.person("high", "approver")
	x, a := h.asked(ann, input("critical"))
	approve := func(p *authz.Principal) enum.ApprovalState {
		t.Helper()
		got, err := h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
		require.NoError(t, err)
		return got.State()
	}
	require.Equal(t, enum.ApprovalStatePartiallyApproved, approve(low1))
	_, err := h.approvals.Approve(testkit.As(low1), a.ID, a.ArgsHash, "")
	requireCode(t, errs.Conflict, err)
	_, err = h.approvals.Reject(testkit.As(low1), a.ID, a.ArgsHash, "changed my mind")
	requireCode(t, errs.Conflict, err)
	require.Equal(t, enum.ApprovalStatePartiallyApproved, approve(low2), "two, but none may decide elevated requests")
	h.strip(low1)
	h.strip(low2)
	require.Equal(t, enum.ApprovalStatePartiallyApproved, approve(high), "those before have lost their rights")
	h.mustBe(x.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
	require.Equal(t, enum.ApprovalStateApproved, approve(low3))
	h.mustBe(x.ID, enum.ToolExecutionStatusPending, "", "")
	require.WithinDuration(t, time.Now().Add(5*time.Minute), *h.approvalOf(x.ID).UseBy, time.Minute)
	require.Equal(t, []string{"REQUESTED", "DECIDED", "DECIDED", "DECIDED", "APPROVED"}, h.kinds())
}

// kinds are the kinds of all approval events, in order.
func (h *house) kinds() []string {
	h.tb.Helper()
	rows, err := h.DB.Pool.Query(context.Background(), `SELECT convert_from(payload, 'UTF8')::jsonb->>'k' FROM outbox WHERE subject = $1 ORDER BY id`, fact.Approvals)
	require.NoError(h.tb, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var k string
		require.NoError(h.tb, rows.Scan(&k))
		out = append(out, k)
	}
	require.NoError(h.tb, rows.Err())
	return out
}

// signIn opens p's login session, in which a second factor was given at mfa (nil: never).
func (h *house) signIn(p *authz.Principal, mfa any) {
	h.tb.Helper()
	h.sql(`INSERT INTO sessions (id, created_at, token, expires_at, family_id, user_id, mfa_at) VALUES ($1, now(), 't', now() + interval '1 day', $1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET mfa_at = $3`, p.SessionID, p.UserID, mfa)
}

// enrol gives people a second factor.
func (h *house) enrol(people ...*authz.Principal) {
	h.tb.Helper()
	for _, p := range people {
		h.sql(`UPDATE users SET totp_enabled_at = now() WHERE id = $1`, p.UserID)
	}
}

func TestApprovals_SecondFactor(t *testing.T) {
	t.Parallel()
	for name, required := range map[string]bool{"Production": true, "Development": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.approvals.Policy.SecondFactor = approval.SecondFactor{Age: 10 * time.Minute, Required: required}
			h.exec.Approval = h.approvals.Policy
			ann, bob, eve := h.person("ann", "analyst"), h.person("bob", "approver"), h.person("eve", "approver")
			h.enrol(bob, eve)
			x, a := h.asked(ann, input("critical"))
			approve := func(p *authz.Principal) error {
				_, err := h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
				return err
			}
			requireCode(t, errs.StepUpRequired, approve(bob)) // no session row: no factor
			h.signIn(bob, nil)
			requireCode(t, errs.StepUpRequired, approve(bob))
			h.signIn(bob, time.Now().Add(-11*time.Minute))
			requireCode(t, errs.StepUpRequired, approve(bob))
			h.signIn(bob, time.Now().Add(-time.Minute))
			h.sql(`UPDATE sessions SET kind = 'API_TOKEN' WHERE id = $1`, bob.SessionID)
			requireCode(t, errs.StepUpRequired, approve(bob))
			program := *bob
			program.APIToken = true
			requireCode(t, errs.Forbidden, approve(&program))
			h.sql(`UPDATE sessions SET kind = 'INTERACTIVE', revoked_at = now() WHERE id = $1`, bob.SessionID)
			requireCode(t, errs.StepUpRequired, approve(bob))
			require.Equal(t, 6, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'PERMISSION_DENIED' AND NOT success AND resource_id = $1`, a.ID))
			h.sql(`UPDATE sessions SET revoked_at = NULL, is_active = false, replaced_by = id WHERE id = $1`, bob.SessionID)
			require.NoError(t, approve(bob), "an access token outlives the refresh")
			require.NotNil(t, h.approvalOf(x.ID).Decisions[0].MFAAt)
			h.signIn(eve, time.Now())
			require.NoError(t, approve(eve))
			h.mustBe(x.ID, enum.ToolExecutionStatusPending, "", "")
			_, a = h.asked(ann, input("critical"))
			h.signIn(bob, nil)
			_, err := h.approvals.Reject(testkit.As(bob), a.ID, a.ArgsHash, "stopping is always safe")
			require.NoError(t, err)
		})
	}
}

// Without a second factor one approves elevated requests only where none is required.
func TestApprovals_NoSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob, eve := h.person("ann", "analyst"), h.person("bob", "approver"), h.person("eve", "approver")
	h.approvals.Policy.SecondFactor.Required = true
	h.exec.Approval = h.approvals.Policy
	_, a := h.asked(ann, input("critical"))
	_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	requireCode(t, errs.MFARequired, err)
	e, _ := errs.As(err)
	require.Equal(t, "ENROLLMENT", e.State)
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'PERMISSION_DENIED' AND error_message = 'MFA_REQUIRED' AND user_id = $1`, bob.UserID))
	_, ordinary := h.asked(ann, input("high"))
	_, err = h.approvals.Approve(testkit.As(bob), ordinary.ID, ordinary.ArgsHash, "")
	require.NoError(t, err, "an ordinary request asks for none")

	h.approvals.Policy.SecondFactor.Required = false
	h.exec.Approval = h.approvals.Policy
	x, a := h.asked(ann, input("critical"))
	for _, p := range []*authz.Principal{bob, eve} {
		_, err = h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
		require.NoError(t, err)
	}
	h.mustBe(x.ID, enum.ToolExecutionStatusPending, "", "")
}

// Whoever holds a role that demands a second factor counts for nothing until they have one, as decider and as requester.
func TestApprovals_RoleDemandsSecondFactor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	x, a := h.asked(ann, input("high"))
	h.approvals.Policy.MFARoles = []string{"role of bob"}
	_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	requireCode(t, errs.Forbidden, err)
	h.enrol(bob)
	h.approvals.Policy.MFARoles = []string{"role of ann"}
	_, err = h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	requireCode(t, errs.FailedPrecondition, err)
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeAuthorizationLost, "")
}

// Whatever makes a request void ends the call when someone decides on it, and keeps that although the decider is refused.
func TestApprovals_Void(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil  func(h *house, ann *authz.Principal, id any)
		code   errs.Code
		reason enum.ToolReasonCode
		state  enum.ApprovalState
	}{
		"Expired": {func(h *house, _ *authz.Principal, id any) {
			h.sql(`UPDATE tool_approvals SET expires_at = now() WHERE execution_id = $1`, id)
		}, errs.Expired, enum.ToolReasonCodeApprovalExpired, enum.ApprovalStateExpired},
		"ToolVersion": {func(h *house, _ *authz.Principal, _ any) {
			h.sql(`UPDATE tools SET version = version + 1 WHERE name = 'high_tool'`)
		}, errs.FailedPrecondition, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"ToolInactive": {func(h *house, _ *authz.Principal, _ any) {
			h.sql(`UPDATE tools SET is_active = false WHERE name = 'high_tool'`)
		}, errs.FailedPrecondition, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"Policy": {func(h *house, _ *authz.Principal, _ any) { h.approvals.Policy.ApprovalGrantTTL++ },
			errs.FailedPrecondition, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"RequesterStripped": {func(h *house, ann *authz.Principal, _ any) { h.strip(ann) },
			errs.FailedPrecondition, enum.ToolReasonCodeAuthorizationLost, enum.ApprovalStateWithdrawn},
		"RequesterDeactivated": {func(h *house, ann *authz.Principal, _ any) {
			h.sql(`UPDATE users SET is_active = false WHERE id = $1`, ann.UserID)
		}, errs.FailedPrecondition, enum.ToolReasonCodeAuthorizationLost, enum.ApprovalStateWithdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
			x, a := h.asked(ann, input("high"))
			c.spoil(h, ann, x.ID)
			_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
			requireCode(t, c.code, err)
			h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, c.reason, "")
			require.Equal(t, c.state, h.approvalOf(x.ID).State())
			require.NotNil(t, h.approvalOf(x.ID).RespondedAt)
			_, err = h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
			require.Error(t, err)
			require.Zero(t, h.jobs("run_tool"))
		})
	}
}

// An API token's requests end with it, before they are decided and after: nothing of them runs.
func TestAPIToken_Ended(t *testing.T) {
	t.Parallel()
	for name, end := range testkit.APITokenEnds {
		for _, granted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", name, granted), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
				program := h.APIToken(t, ann, "tools:read", "tools:execute", "approvals:read")
				kept := h.request(h.APIToken(t, ann, "tools:read", "tools:execute"), input("low"))
				x, a := h.asked(program, input("high"))
				if granted {
					_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
					require.NoError(t, err)
				}
				h.sql(end, program.SessionID)
				if granted {
					h.work()
				} else {
					_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
					requireCode(t, errs.FailedPrecondition, err)
					h.work()
				}
				h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeAuthorizationLost, "")
				require.Equal(t, enum.ApprovalStateWithdrawn, h.approvalOf(x.ID).State())
				require.Contains(t, h.actions(x.ID), "TOOL_EXECUTION_BLOCKED")
				require.Contains(t, h.actions(x.ID), "APPROVAL_WITHDRAWN")
				if name == "CutOff" || name == "OwnerErased" {
					require.Zero(t, h.calls.Load())
					return
				}
				require.EqualValues(t, 1, h.calls.Load())
				h.mustBe(kept.ID, enum.ToolExecutionStatusCompleted, "", "") // another token's
			})
		}
	}
}

func TestApprovals_Withdraw(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	x, a := h.asked(ann, input("high"))
	_, err := h.approvals.Withdraw(testkit.As(bob), a.ID)
	requireCode(t, errs.Forbidden, err)
	_, err = h.approvals.Withdraw(testkit.As(h.person("carl", "analyst")), a.ID)
	requireCode(t, errs.NotFound, err)
	a, err = h.approvals.Withdraw(testkit.As(ann), a.ID)
	require.NoError(t, err)
	require.Equal(t, enum.ApprovalStateWithdrawn, a.State())
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")
	_, err = h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	requireCode(t, errs.IllegalTransition, err)

	x, a = h.asked(ann, input("high"))
	_, err = h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	require.NoError(t, err)
	a, err = h.approvals.Withdraw(testkit.As(ann), a.ID)
	require.NoError(t, err, "an unused grant can be given back")
	require.Equal(t, enum.ApprovalStateWithdrawn, a.State())
	h.work()
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")
	require.Zero(t, h.calls.Load())
}

// A grant that is in use is the worker's: taking it back would rewrite what has happened while the tool goes on.
func TestApprovals_WithdrawRunning(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	begun, release := h.blocking()
	x, a := h.asked(ann, input("high"))
	_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	require.NoError(t, err)
	done := h.start(context.Background(), x.ID)
	wait(t, begun)
	_, err = h.approvals.Withdraw(testkit.As(ann), a.ID)
	requireCode(t, errs.IllegalTransition, err)
	e, _ := errs.As(err)
	require.Equal(t, "RUNNING", e.State)
	h.mustBe(x.ID, enum.ToolExecutionStatusRunning, "", "")
	require.Equal(t, enum.ApprovalStateConsumed, h.approvalOf(x.ID).State())
	close(release)
	require.NoError(t, wait(t, done))
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	_, err = h.approvals.Withdraw(testkit.As(ann), a.ID)
	requireCode(t, errs.IllegalTransition, err)
	require.Equal(t, enum.ApprovalStateConsumed, h.approvalOf(x.ID).State())
}

// What was left over of an answer that has ended cannot be approved, and the sweeper ends it.
func TestApprovals_AnswerEnded(t *testing.T) {
	t.Parallel()
	for status, reason := range map[string]enum.ToolReasonCode{"CANCELLED": enum.ToolReasonCodeByRequester, "FAILED": enum.ToolReasonCodeAuthorizationLost} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
			session := h.session(ann, enum.SensitivityPublic)
			reply := h.reply(ann, session)
			var calls []*ent.ToolExecution
			for i := range 3 {
				in := input("high")
				if i == 2 {
					in = input("low")
				}
				in.SessionID, in.ReplyID, in.CallID = &session, &reply, string(rune('a'+i))
				calls = append(calls, h.request(ann.AsAgent(), in))
			}
			alone, _ := h.asked(ann, input("high")) // of no answer
			h.sql(`UPDATE chat_messages SET status = $2 WHERE id = $1`, reply, status)
			a := h.approvalOf(calls[0].ID)
			_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
			requireCode(t, errs.FailedPrecondition, err)
			h.mustBe(calls[0].ID, enum.ToolExecutionStatusCancelled, reason, "")
			require.Equal(t, enum.ApprovalStateWithdrawn, h.approvalOf(calls[0].ID).State())
			require.NoError(t, h.exec.Sweep(context.Background()))
			for _, x := range calls {
				h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, reason, "")
			}
			h.mustBe(alone.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
			require.Zero(t, h.calls.Load())
		})
	}
}

// Twenty people decide at the same moment: exactly one decision settles the request.
func TestApprovals_Race(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	x, a := h.asked(ann, input("high"))
	var people []*authz.Principal
	for i := range 20 {
		people = append(people, h.person(fmt.Sprintf("p%d", i), "approver"))
	}
	var wg sync.WaitGroup
	failures := make([]error, len(people)+1)
	for i, p := range people {
		wg.Go(func() {
			if i%2 == 0 {
				_, failures[i] = h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
			} else {
				_, failures[i] = h.approvals.Reject(testkit.As(p), a.ID, a.ArgsHash, "no")
			}
		})
	}
	wg.Go(func() { _, failures[len(people)] = h.approvals.Withdraw(testkit.As(ann), a.ID) })
	wg.Wait()
	settled := 0
	for _, err := range failures {
		if err == nil {
			settled++
			continue
		}
		requireCode(t, errs.IllegalTransition, err)
	}
	got := h.approvalOf(x.ID)
	want := 1 // a withdrawal may still follow an approval; nothing else follows anything
	if got.IsApproved != nil && *got.IsApproved && got.WithdrawnAt != nil {
		want = 2
	}
	require.Equal(t, want, settled)
	require.LessOrEqual(t, len(got.Decisions), 1)
	require.LessOrEqual(t, h.jobs("run_tool"), 1)
}

func TestApprovals_RaceOfApprovers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	x, a := h.asked(ann, input("critical"))
	var wg sync.WaitGroup
	failures := make([]error, 20)
	for i := range failures {
		p := h.person(fmt.Sprintf("p%d", i), "approver")
		wg.Go(func() { _, failures[i] = h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "") })
	}
	wg.Wait()
	ok := 0
	for _, err := range failures {
		if err == nil {
			ok++
		} else {
			requireCode(t, errs.IllegalTransition, err)
		}
	}
	require.Equal(t, 2, ok, "the quorum and no more")
	require.Len(t, h.approvalOf(x.ID).Decisions, 2)
	require.Equal(t, 1, h.jobs("run_tool"))
	require.Equal(t, []string{"REQUESTED", "DECIDED", "APPROVED"}, h.kinds())
}

// A refusal that cannot be recorded is a fault, not a refusal.
func TestApprovals_FailClosed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst", "approver")
	x, a := h.asked(ann, input("high"))
	_, err := h.DB.Owner.Exec(context.Background(), `ALTER TABLE audit_logs ADD CONSTRAINT broken CHECK (action NOT IN ('PERMISSION_DENIED', 'APPROVAL_GRANTED')) NOT VALID`)
	require.NoError(t, err)
	_, err = h.approvals.Approve(testkit.As(ann), a.ID, a.ArgsHash, "")
	require.Error(t, err)
	_, client := errs.As(err)
	require.False(t, client)
	_, err = h.approvals.Approve(testkit.As(h.person("bob", "approver")), a.ID, a.ArgsHash, "")
	require.Error(t, err, "a grant without its audit row is none")
	h.mustBe(x.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
	require.Empty(t, h.approvalOf(x.ID).Decisions)
	require.Zero(t, h.jobs("run_tool"))
}

// The step function is the last fence: it refuses a row that is not as it was read.
func TestAdvance_CompareAndSet(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	stale := h.request(ann, input("low"))
	_, err := h.exec.Cancel(testkit.As(ann), stale.ID)
	require.NoError(t, err)
	err = h.Store.Do(testkit.As(authz.Sweeper), func(ctx context.Context, tx *uow.Tx) error {
		return approval.Advance(ctx, tx, stale, approval.Change{To: enum.ToolExecutionStatusRunning})
	})
	requireCode(t, errs.Conflict, err)
	err = h.Store.Do(testkit.As(authz.Sweeper), func(ctx context.Context, tx *uow.Tx) error {
		return approval.Advance(ctx, tx, h.row(stale.ID), approval.Change{To: enum.ToolExecutionStatusRunning})
	})
	requireCode(t, errs.IllegalTransition, err)
}

// TestSuperusers_Recorded: each time a superuser's right to call, or to decide, is one that no role gives them, that is in
// the audit log, whoever's unit of work it decides in.
func TestSuperusers_Recorded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	root, ruth := h.superuser("root"), h.superuser("ruth")
	passed := func(who *authz.Principal, entity string, permissions string) int {
		return h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'SUPERUSER_BYPASS_USED' AND details->>'userId' = $1
			AND resource_type = $2 AND details->'permissions' = $3::jsonb`, who.UserID, entity, permissions)
	}
	x := h.request(root, input("special"))
	const call = `["tools:execute", "metrics:read"]`
	require.Equal(t, 1, passed(root, "Tool", call), "asked")
	h.work()
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	require.Equal(t, 2, passed(root, "Tool", call), "begun")

	ann, carl := h.person("ann", "analyst"), h.person("carl", "approver")
	h.enrol(root, ruth, carl)
	for _, p := range []*authz.Principal{root, ruth, carl} {
		h.signIn(p, time.Now())
	}
	const decide, elevated = `["approvals:decide"]`, `["approvals:decide", "approvals:decide_elevated"]`
	_, a := h.asked(ann, input("critical"))
	for i, p := range []*authz.Principal{root, ruth} {
		require.Zero(t, passed(root, "ToolApproval", elevated), "%d", i)
		_, err := h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
		require.NoError(t, err)
	}
	require.Equal(t, 1, passed(root, "ToolApproval", elevated))
	require.Equal(t, 1, passed(ruth, "ToolApproval", elevated))
	in := input("critical")
	in.Parameters["n"] = 2
	_, a = h.asked(ann, in)
	for _, p := range []*authz.Principal{root, carl} { // carl's role gives the higher permission: no bypass decides that
		_, err := h.approvals.Approve(testkit.As(p), a.ID, a.ArgsHash, "")
		require.NoError(t, err)
	}
	require.Equal(t, 1, passed(root, "ToolApproval", decide))
	require.Zero(t, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'SUPERUSER_BYPASS_USED' AND details->>'userId' = ANY($1)`,
		[]string{ann.UserID.String(), carl.UserID.String()}))
}

// The rule of a request's state is the same in SQL as in Go, whatever a row holds.
func TestApprovals_StateInSQL(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	now := time.Now().UTC().Truncate(time.Microsecond)
	times := []*time.Time{nil, new(now.Add(-time.Second)), &now, new(now.Add(time.Second))}
	var rows []map[string]any
	want := map[enum.ApprovalState][]int{}
	for _, votes := range [][]bool{nil, {}, {true}, {false}, {true, false}} {
		var decisions []decision.Decision
		if votes != nil {
			decisions = []decision.Decision{}
		}
		for _, v := range votes {
			decisions = append(decisions, decision.Decision{Approved: v})
		}
		for _, approved := range []*bool{nil, new(true), new(false)} {
			for _, consumed := range times[:2] {
				for _, withdrawn := range times[:2] {
					for _, useBy := range times {
						for _, expires := range times[1:] {
							state := (&ent.ToolApproval{Decisions: decisions, IsApproved: approved, ConsumedAt: consumed, WithdrawnAt: withdrawn, UseBy: useBy, ExpiresAt: *expires}).StateAt(now)
							want[state] = append(want[state], len(rows))
							rows = append(rows, map[string]any{"id": len(rows), "decisions": decisions, "is_approved": approved, "consumed_at": consumed,
								"withdrawn_at": withdrawn, "use_by": useBy, "expires_at": expires})
						}
					}
				}
			}
		}
	}
	require.Len(t, want, 7)
	for _, states := range [][]enum.ApprovalState{{}, {enum.ApprovalStatePending}, {enum.ApprovalStatePartiallyApproved}, {enum.ApprovalStateApproved}, {enum.ApprovalStateRejected},
		{enum.ApprovalStateExpired}, {enum.ApprovalStateWithdrawn}, {enum.ApprovalStateConsumed}, {enum.ApprovalStatePending, enum.ApprovalStatePartiallyApproved},
		{enum.ApprovalStatePending, enum.ApprovalStateExpired}} {
		s := sql.Dialect(dialect.Postgres).Select("id").From(sql.Table("tool_approvals"))
		ent.ToolApprovalInState(now, states...)(s)
		query, args := s.Query()
		got, err := h.DB.Pool.Query(t.Context(), fmt.Sprintf(`WITH tool_approvals AS (SELECT * FROM jsonb_to_recordset($%d) AS r(id int, decisions jsonb, is_approved bool,
			consumed_at timestamptz, withdrawn_at timestamptz, use_by timestamptz, expires_at timestamptz, responded_at timestamptz)) `, len(args)+1)+query, append(args, rows)...)
		require.NoError(t, err)
		ids, err := pgx.CollectRows(got, pgx.RowTo[int])
		require.NoError(t, err)
		var expected []int
		for _, state := range states {
			expected = append(expected, want[state]...)
		}
		require.ElementsMatch(t, expected, ids, "%v", states)
	}
}
