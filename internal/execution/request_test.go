//go:build unix

package execution_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uid"
)

func TestService_Request(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	session := h.session(ann, enum.SensitivityPublic)
	in := input("low")
	in.SessionID = &session
	x := h.request(ann, in)
	h.mustBe(x.ID, enum.ToolExecutionStatusPending, "", "")
	require.Equal(t, 1, h.jobs("run_tool"))
	require.Len(t, x.ArgsHash, 64)
	owner, err := x.QueryUser().Only(testkit.As(ann))
	require.NoError(t, err, "edges are read after commit")
	require.Equal(t, ann.UserID, owner.ID)

	h.answer(func(ctx context.Context, c tool.Call) (tool.Result, error) {
		require.Equal(t, ann.UserID, authz.From(ctx).UserID, "an executor acts as the requester")
		require.False(t, authz.From(ctx).Holds("system:tools"))
		require.Equal(t, map[string]any{"n": 1.0}, c.Parameters)
		return tool.Result{Value: "secret plan", Sensitivity: enum.SensitivityConfidential}, nil
	})
	h.work()
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	x = h.row(x.ID)
	require.Equal(t, "secret plan", x.Result)
	require.Equal(t, enum.SensitivityConfidential, *x.ResultSensitivity)
	require.NotNil(t, x.ExecutionTimeMs)
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_STARTED", "TOOL_EXECUTION_COMPLETED"}, h.actions(x.ID))
	require.Len(t, h.payloads(fact.Tools), 3)
	require.Len(t, h.payloads(fact.ChatSubject(session)), 3)
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM chat_sessions WHERE id = $1 AND sensitivity = 'CONFIDENTIAL'`, session), "the conversation has seen it")
	require.Zero(t, h.Count(t, `SELECT count(*) FROM audit_logs WHERE details::text LIKE '%secret plan%'`))

	h.answer(func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{Value: 1, Sensitivity: enum.SensitivityPublic}, nil
	})
	h.request(ann, in)
	h.work()
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM chat_sessions WHERE id = $1 AND sensitivity = 'CONFIDENTIAL'`, session), "it only rises")
}

func TestService_Request_Refuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob, guest := h.person("ann", "analyst"), h.person("bob", "analyst"), h.person("guest", "auditor")
	session := h.session(ann, enum.SensitivityPublic)
	h.sql(`UPDATE tools SET is_active = false WHERE name = 'mine_tool'`)
	with := func(change func(*execution.Input)) execution.Input {
		in := input("low")
		change(&in)
		return in
	}
	text := func(s string) *string { return &s }
	other, wrong := uid.New(uid.ChatMessage), uid.New(uid.Tool)
	for name, c := range map[string]struct {
		p     *authz.Principal
		in    execution.Input
		code  errs.Code
		audit int
	}{
		"Anonymous":        {nil, input("low"), errs.Unauthenticated, 0},
		"NoPermission":     {guest, input("low"), errs.Forbidden, 1},
		"System":           {authz.NewSystem("system:rogue", "tools:execute", "tools:read"), input("low"), errs.Forbidden, 1},
		"UnknownTool":      {ann, input("nothing"), errs.NotFound, 1},
		"InactiveTool":     {ann, input("mine"), errs.FailedPrecondition, 1},
		"NeedsPermission":  {ann, input("special"), errs.Forbidden, 1},
		"WrongArguments":   {ann, with(func(in *execution.Input) { in.Parameters = map[string]any{"n": "x"} }), errs.BadUserInput, 0},
		"HopelessArgument": {ann, with(func(in *execution.Input) { in.Tool = "high_tool"; in.Parameters = map[string]any{"n": 13} }), errs.BadUserInput, 0},
		"UnknownArgument":  {ann, with(func(in *execution.Input) { in.Parameters = map[string]any{"n": 1, "m": 1} }), errs.BadUserInput, 0},
		"NoArguments":      {ann, with(func(in *execution.Input) { in.Parameters = nil }), errs.BadUserInput, 0},
		"HugeArguments":    {ann, with(func(in *execution.Input) { in.Parameters = map[string]any{"n": strings.Repeat("x", 300<<10)} }), errs.ResourceExhausted, 0},
		"ForeignSession":   {bob, with(func(in *execution.Input) { in.SessionID = &session }), errs.NotFound, 1},
		"NotASession":      {ann, with(func(in *execution.Input) { in.SessionID = &wrong }), errs.BadUserInput, 0},
		"EmptyKey":         {ann, with(func(in *execution.Input) { in.IdempotencyKey = text("") }), errs.BadUserInput, 0},
		"NULInKey":         {ann, with(func(in *execution.Input) { in.IdempotencyKey = text("a\x00") }), errs.BadUserInput, 0},
		"BadUTF8":          {ann, with(func(in *execution.Input) { in.Justification = text("\xff") }), errs.BadUserInput, 0},
		"NoJustification":  {ann, with(func(in *execution.Input) { in.Tool = "critical_tool"; in.Justification = text(" \n") }), errs.BadUserInput, 0},
		"UnknownReply":     {ann, with(func(in *execution.Input) { in.SessionID, in.ReplyID, in.CallID = &session, &other, "c1" }), errs.NotFound, 1},
		"ReplyWithoutCall": {ann, with(func(in *execution.Input) { in.SessionID, in.ReplyID = &session, &other }), errs.BadUserInput, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'TOOL_EXECUTION_BLOCKED' AND NOT success`)
			x, err := h.exec.Request(testkit.As(c.p), c.in)
			requireCode(t, c.code, err)
			require.Nil(t, x)
			require.Equal(t, before+c.audit, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'TOOL_EXECUTION_BLOCKED' AND NOT success`))
			require.Zero(t, h.Count(t, `SELECT count(*) FROM tool_executions`), "no row")
		})
	}
}

func TestService_Request_AgentDenied(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	session := h.session(ann, enum.SensitivityPublic)
	reply := h.reply(ann, session)
	in := input("special")
	in.SessionID, in.ReplyID, in.CallID = &session, &reply, "c1"
	x := h.request(ann.AsAgent(), in)
	h.mustBe(x.ID, enum.ToolExecutionStatusRejected, enum.ToolReasonCodePolicyDenied, "")
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_BLOCKED"}, h.actions(x.ID))
	require.Zero(t, h.jobs("run_tool"))
	require.Equal(t, 1, h.jobs("turn"), "the answer goes on")
	require.Equal(t, 2, h.Count(t, `SELECT count(*) FROM audit_logs WHERE actor_kind = 'AGENT' AND user_id = $1`, ann.UserID))
}

func TestService_Request_Idempotent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "analyst")
	key := "once"
	in := input("low")
	in.IdempotencyKey = &key

	var wg sync.WaitGroup
	ids, failures := make([]uuid.UUID, 12), make([]error, 12)
	for i := range ids {
		wg.Go(func() {
			x, err := h.exec.Request(testkit.As(ann), in)
			if failures[i] = err; err == nil {
				ids[i] = x.ID
			}
		})
	}
	wg.Wait()
	for i := range ids {
		require.NoError(t, failures[i])
		require.Equal(t, ids[0], ids[i])
	}
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM tool_executions`))
	require.Equal(t, 1, h.jobs("run_tool"))
	require.NotEqual(t, ids[0], h.request(bob, in).ID, "a key is its user's")

	in.Parameters = map[string]any{"n": 2}
	_, err := h.exec.Request(testkit.As(ann), in)
	requireCode(t, errs.Conflict, err)

	session := h.session(ann, enum.SensitivityPublic)
	reply := h.reply(ann, session)
	in = input("low")
	in.SessionID, in.ReplyID, in.CallID = &session, &reply, "c1"
	first := h.request(ann.AsAgent(), in)
	h.sql(`UPDATE tools SET is_active = false WHERE name = 'low_tool'`)
	require.Equal(t, first.ID, h.request(ann.AsAgent(), in).ID, "what was asked before is found whatever has changed since")
	h.sql(`UPDATE chat_messages SET cancel_requested = true WHERE id = $1`, reply)
	h.sql(`UPDATE tools SET is_active = true WHERE name = 'low_tool'`)
	in.CallID = "c2"
	_, err = h.exec.Request(testkit.As(ann.AsAgent()), in)
	requireCode(t, errs.FailedPrecondition, err)
}

func TestService_Request_Gates(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	calm, hot := h.session(ann, enum.SensitivityInternal), h.session(ann, enum.SensitivityConfidential)
	for name, c := range map[string]struct {
		tool    string
		session *uuid.UUID
		status  enum.ToolExecutionStatus
		risk    enum.RiskLevel
	}{
		"Low":               {"low", &hot, enum.ToolExecutionStatusPending, enum.RiskLevelLow},
		"Medium":            {"medium", &calm, enum.ToolExecutionStatusPending, enum.RiskLevelMedium},
		"MediumOutside":     {"medium", nil, enum.ToolExecutionStatusPending, enum.RiskLevelMedium},
		"MediumAfterSecret": {"medium", &hot, enum.ToolExecutionStatusAwaitingApproval, enum.RiskLevelHigh},
		"High":              {"high", nil, enum.ToolExecutionStatusAwaitingApproval, enum.RiskLevelHigh},
		"Critical":          {"critical", nil, enum.ToolExecutionStatusAwaitingApproval, enum.RiskLevelCritical},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(c.tool)
			in.SessionID = c.session
			x := h.request(ann, in)
			h.mustBe(x.ID, c.status, "", "")
			require.Equal(t, c.risk, x.EffectiveRisk)
			if c.status == enum.ToolExecutionStatusPending {
				require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED"}, h.actions(x.ID))
				return
			}
			a := h.approvalOf(x.ID)
			require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "APPROVAL_REQUESTED"}, h.actions(x.ID))
			require.Equal(t, x.ArgsHash, a.ArgsHash)
			require.Equal(t, c.risk == enum.RiskLevelCritical, a.RequiresElevatedApproval)
			require.Equal(t, map[bool]int{false: 1, true: 2}[a.RequiresElevatedApproval], a.RequiredApprovals)
			require.NotEmpty(t, a.RiskAssessment["reasons"])
		})
	}
	require.Zero(t, h.calls.Load())
	h.work()
	require.EqualValues(t, 3, h.calls.Load(), "only what is cleared runs")
}

func TestService_Request_Cache(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "analyst")
	session := h.session(bob, enum.SensitivityPublic)
	h.answer(func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{Value: []any{"r", nil}, Sensitivity: enum.SensitivityConfidential}, nil
	})
	for _, c := range []struct {
		tool   string
		shared bool
	}{{"pure", true}, {"mine", false}} {
		first := h.request(ann, input(c.tool))
		h.work()
		require.False(t, h.row(first.ID).Cached)
		again := h.request(ann, input(c.tool))
		h.mustBe(again.ID, enum.ToolExecutionStatusCompleted, "", "")
		require.True(t, again.Cached)
		require.Equal(t, []any{"r", nil}, again.Result)
		require.Equal(t, enum.SensitivityConfidential, *again.ResultSensitivity)
		require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_COMPLETED"}, h.actions(again.ID))

		in := input(c.tool)
		in.SessionID = &session
		require.Equal(t, c.shared, h.request(bob, in).Cached, "%s: another user", c.tool)
		in.Parameters = map[string]any{"n": 2}
		require.False(t, h.request(ann, execution.Input{Tool: in.Tool, Parameters: in.Parameters}).Cached, "other arguments")
		h.sql(`UPDATE tools SET version = version + 1 WHERE name = $1`, in.Tool)
		require.False(t, h.request(ann, input(c.tool)).Cached, "another version")
	}
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM chat_sessions WHERE id = $1 AND sensitivity = 'CONFIDENTIAL'`, session), "a reused result is as confidential")

	require.NoError(t, h.exec.Sweep(context.Background()))
	require.Equal(t, 3, h.Count(t, `SELECT sum(hit_count)::int FROM tool_caches`))
	h.sql(`UPDATE tool_caches SET expires_at = now()`)
	require.NoError(t, h.exec.Sweep(context.Background()))
	require.Zero(t, h.Count(t, `SELECT count(*) FROM tool_caches`))
}
