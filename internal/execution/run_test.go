//go:build unix

package execution_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// blocking makes the executor tell when it has begun and wait until it is released or told to stop.
func (h *house) blocking() (begun <-chan uuid.UUID, release chan<- struct{}) {
	b, r := make(chan uuid.UUID, 16), make(chan struct{})
	h.answer(func(ctx context.Context, c tool.Call) (tool.Result, error) {
		b <- c.ExecutionID
		select {
		case <-ctx.Done():
			return tool.Result{}, ctx.Err()
		case <-r:
			return tool.Result{Value: "done", Sensitivity: enum.SensitivityPublic}, nil
		}
	})
	return b, r
}

// start runs a call in the background.
func (h *house) start(ctx context.Context, id uuid.UUID) <-chan error {
	done := make(chan error, 1)
	go func() { done <- h.exec.Run(ctx, id) }()
	return done
}

func wait[T any](tb testing.TB, c <-chan T) T {
	tb.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		tb.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestService_Run_Outcomes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	session := h.session(ann, enum.SensitivityPublic)
	for name, c := range map[string]struct {
		do     tool.ExecutorFunc
		code   enum.ToolErrorCode
		action string
	}{
		"ToolError": {func(context.Context, tool.Call) (tool.Result, error) {
			return tool.Result{}, tool.Fail("No such plant.")
		}, enum.ToolErrorCodeToolError, "TOOL_EXECUTION_FAILED"},
		"Panic": {func(context.Context, tool.Call) (tool.Result, error) { panic("boom") }, enum.ToolErrorCodeToolError, "TOOL_EXECUTION_FAILED"},
		"Unavailable": {func(context.Context, tool.Call) (tool.Result, error) {
			return tool.Result{}, tool.Unavailable(errors.New("dns"), "The host is away.")
		}, enum.ToolErrorCodeDependencyUnavailable, "TOOL_EXECUTION_FAILED"},
		"Invalid": {func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{Value: make(chan int)}, nil }, enum.ToolErrorCodeInvalidResult, "TOOL_EXECUTION_FAILED"},
		"Null":    {func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, nil }, "", "TOOL_EXECUTION_COMPLETED"},
	} {
		t.Run(name, func(t *testing.T) {
			reply := h.reply(ann, session)
			in := input("low")
			in.SessionID, in.ReplyID, in.CallID = &session, &reply, "c1"
			x := h.request(ann.AsAgent(), in)
			before := h.jobs("turn")
			h.answer(c.do)
			h.work()
			status := enum.ToolExecutionStatusFailed
			if c.code == "" {
				status = enum.ToolExecutionStatusCompleted
			}
			h.mustBe(x.ID, status, "", c.code)
			require.Equal(t, c.code != "", h.row(x.ID).Error != nil)
			require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_STARTED", c.action}, h.actions(x.ID))
			require.Equal(t, before+1, h.jobs("turn"), "the answer goes on")
			require.NoError(t, h.exec.Run(context.Background(), x.ID), "a job that comes twice does nothing")
			require.Len(t, h.actions(x.ID), 3)
		})
	}
}

// What was cleared and does not hold any more when the worker comes is cancelled, and the executor never called.
func TestService_Run_Obstacles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tool   string
		spoil  func(h *house, ann *authz.Principal, id, session uuid.UUID)
		reason enum.ToolReasonCode
		state  enum.ApprovalState
	}{
		"ToolVersion": {"low", func(h *house, _ *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE tools SET version = version + 1 WHERE name = 'low_tool'`)
		}, enum.ToolReasonCodeToolChanged, ""},
		"ToolInactive": {"high", func(h *house, _ *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE tools SET is_active = false WHERE name = 'high_tool'`)
		}, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"Arguments": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE tool_executions SET parameters = '{"n": 2}' WHERE id = $1`, id)
		}, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"ArgumentsAndHash": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE tool_executions SET (parameters, args_hash) = (SELECT parameters, args_hash FROM tool_executions WHERE args_hash <> (SELECT args_hash FROM tool_executions WHERE id = $1)) WHERE id = $1`, id)
		}, enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"Policy": {"high", func(h *house, _ *authz.Principal, _, _ uuid.UUID) { h.exec.Approval.ApprovalQuorum = 2 },
			enum.ToolReasonCodeToolChanged, enum.ApprovalStateWithdrawn},
		"GrantLapsed": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE tool_approvals SET use_by = now() WHERE execution_id = $1`, id)
		}, enum.ToolReasonCodeGrantLapsed, enum.ApprovalStateExpired},
		"GrantConsumed": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE tool_approvals SET consumed_at = now() WHERE execution_id = $1`, id)
		}, enum.ToolReasonCodeGrantLapsed, ""},
		"RightsLost": {"low", func(h *house, ann *authz.Principal, _, _ uuid.UUID) { h.strip(ann) }, enum.ToolReasonCodeAuthorizationLost, ""},
		"Deactivated": {"high", func(h *house, ann *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE users SET is_active = false WHERE id = $1`, ann.UserID)
		}, enum.ToolReasonCodeAuthorizationLost, enum.ApprovalStateWithdrawn},
		"Erased": {"low", func(h *house, ann *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE users SET erased_at = now() WHERE id = $1`, ann.UserID)
		}, enum.ToolReasonCodeAuthorizationLost, ""},
		"NewPermission": {"low", func(h *house, _ *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE tools SET required_permission = 'audit:read' WHERE name = 'low_tool'`)
		}, enum.ToolReasonCodeAuthorizationLost, ""},
		"ConversationSawSecret": {"medium", func(h *house, _ *authz.Principal, _, session uuid.UUID) {
			h.sql(`UPDATE chat_sessions SET sensitivity = 'RESTRICTED' WHERE id = $1`, session)
		}, enum.ToolReasonCodeAuthorizationLost, ""},
		"GateRaised": {"high", func(h *house, _ *authz.Principal, _, _ uuid.UUID) {
			h.sql(`UPDATE tools SET risk_level = 'CRITICAL' WHERE name = 'high_tool'`)
		}, enum.ToolReasonCodeAuthorizationLost, enum.ApprovalStateWithdrawn},
		"AnswerCancelled": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE chat_messages SET status = 'CANCELLED' WHERE id = (SELECT reply_id FROM tool_executions WHERE id = $1)`, id)
		}, enum.ToolReasonCodeByRequester, enum.ApprovalStateWithdrawn},
		"AnswerStopping": {"low", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE chat_messages SET cancel_requested = true WHERE id = (SELECT reply_id FROM tool_executions WHERE id = $1)`, id)
		}, enum.ToolReasonCodeByRequester, ""},
		"AnswerFailed": {"high", func(h *house, _ *authz.Principal, id, _ uuid.UUID) {
			h.sql(`UPDATE chat_messages SET status = 'FAILED' WHERE id = (SELECT reply_id FROM tool_executions WHERE id = $1)`, id)
		}, enum.ToolReasonCodeAuthorizationLost, enum.ApprovalStateWithdrawn},
		"ConversationDeleted": {"low", func(h *house, _ *authz.Principal, id, session uuid.UUID) {
			h.sql(`UPDATE tool_executions SET session_id = NULL WHERE id = $1`, id)
		}, enum.ToolReasonCodeSessionDeleted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
			session := h.session(ann, enum.SensitivityPublic)
			reply := h.reply(ann, session)
			other := input("high")
			other.Parameters = map[string]any{"n": 7}
			h.asked(h.person("carl", "analyst"), other) // another's call, with other arguments
			in := input(c.tool)
			in.SessionID, in.ReplyID, in.CallID = &session, &reply, "c1"
			x := h.request(ann.AsAgent(), in)
			if x.RequiresApproval {
				a := h.approvalOf(x.ID)
				_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
				require.NoError(t, err)
			}
			c.spoil(h, ann, x.ID, session)
			h.work()
			h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, c.reason, "")
			require.Zero(t, h.calls.Load())
			if c.state != "" {
				require.Equal(t, c.state, h.approvalOf(x.ID).State())
			}
			require.Equal(t, 1, h.jobs("turn"), "the answer goes on")
		})
	}
}

// Many workers get the same job: one runs it, and the grant is used once.
func TestService_Run_Once(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	x, a := h.asked(ann, input("high"))
	_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
	require.NoError(t, err)
	replicas := []func(context.Context, uuid.UUID) error{h.exec.Run, h.replica(h.exec.Tools, h.exec.Log).Run}
	var wg sync.WaitGroup
	failures := make([]error, 16)
	for i := range failures {
		wg.Go(func() { failures[i] = replicas[i%2](context.Background(), x.ID) })
	}
	wg.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, h.calls.Load())
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'APPROVAL_CONSUMED'`))
}

// No more runs at once than the tool allows, on all replicas together; the next one starts when one has ended.
func TestService_Run_Slots(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	h.sql(`UPDATE tools SET max_concurrent_executions = 2 WHERE name = 'low_tool'`)
	begun, release := h.blocking()
	var ids []uuid.UUID
	for range 4 {
		ids = append(ids, h.request(ann, input("low")).ID)
	}
	h.sql(`DELETE FROM river_job`)
	first, second := h.start(context.Background(), ids[0]), h.start(context.Background(), ids[1])
	wait(t, begun)
	wait(t, begun)
	other := h.replica(h.exec.Tools, h.exec.Log)
	require.NoError(t, other.Run(context.Background(), ids[2]))
	h.mustBe(ids[2], enum.ToolExecutionStatusPending, "", "")
	h.sql(`UPDATE tool_executions SET updated_at = updated_at - interval '2 seconds' WHERE status = 'PENDING'`)
	require.NoError(t, h.exec.Sweep(context.Background()))
	require.Zero(t, h.jobs("run_tool"), "no slot, no job")
	close(release)
	require.NoError(t, wait(t, first))
	require.NoError(t, wait(t, second))
	require.Equal(t, 1, h.Count(t, `SELECT count(DISTINCT args->>'execution') FROM river_job WHERE args->>'execution' = $1`, ids[2].String()), "the oldest is called")
	require.NoError(t, h.exec.Sweep(context.Background()))
	h.work()
	for _, id := range ids {
		h.mustBe(id, enum.ToolExecutionStatusCompleted, "", "")
	}
	require.EqualValues(t, 4, h.calls.Load())
}

func TestService_Cancel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob, carl := h.person("ann", "analyst"), h.person("bob", "approver"), h.person("carl", "analyst")
	admin := h.person("admin", "admin")

	x, a := h.asked(ann, input("high"))
	_, err := h.exec.Cancel(testkit.As(bob), x.ID)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, h.Count(t, `SELECT count(*) FROM audit_logs WHERE action = 'PERMISSION_DENIED' AND user_id = $1`, bob.UserID))
	_, err = h.exec.Cancel(testkit.As(carl), x.ID)
	requireCode(t, errs.NotFound, err)
	_, err = h.exec.Cancel(testkit.As(ann), a.ID)
	requireCode(t, errs.BadUserInput, err)
	x, err = h.exec.Cancel(testkit.As(ann), x.ID)
	require.NoError(t, err)
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")
	require.Equal(t, enum.ApprovalStateWithdrawn, h.approvalOf(x.ID).State())
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "APPROVAL_REQUESTED", "PERMISSION_DENIED", "TOOL_EXECUTION_CANCELLED", "APPROVAL_WITHDRAWN"}, h.actions(x.ID))
	_, err = h.exec.Cancel(testkit.As(ann), x.ID)
	requireCode(t, errs.IllegalTransition, err)

	y := h.request(ann, input("low"))
	_, err = h.exec.Cancel(testkit.As(admin), y.ID)
	require.NoError(t, err)
	h.mustBe(y.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByAdmin, "")
	h.work()
	require.Zero(t, h.calls.Load())

	z := h.request(ann, input("low"))
	h.work()
	_, err = h.exec.Cancel(testkit.As(ann), z.ID)
	requireCode(t, errs.IllegalTransition, err)
}

func TestService_Cancel_Running(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var signals []string
	h.exec.Signal = func(subject string, data []byte) { signals = append(signals, subject+" "+string(data)) }
	ann := h.person("ann", "analyst")
	begun, release := h.blocking()
	x := h.request(ann, input("low"))
	done := h.start(context.Background(), x.ID)
	wait(t, begun)
	h.mustBe(x.ID, enum.ToolExecutionStatusRunning, "", "")
	x, err := h.exec.Cancel(testkit.As(ann), x.ID)
	require.NoError(t, err)
	require.NoError(t, wait(t, done), "the worker stops at once")
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")
	require.Equal(t, []string{fact.Cancel + " " + x.ID.String()}, signals)

	// A worker in another process hears nothing, and honours the row at its next heartbeat.
	other := h.replica(h.exec.Tools, h.exec.Log)
	other.Lease = 300 * time.Millisecond
	x = h.request(ann, input("low"))
	lone := make(chan error, 1)
	go func() { lone <- other.Run(context.Background(), x.ID) }()
	wait(t, begun)
	_, err = h.exec.Cancel(testkit.As(ann), x.ID)
	require.NoError(t, err)
	require.NoError(t, wait(t, lone))
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")

	// What had its result before it was stopped is complete, and says so.
	h.answer(func(ctx context.Context, _ tool.Call) (tool.Result, error) {
		x := h.Count(t, `SELECT count(*) FROM tool_executions WHERE status = 'RUNNING' AND reason_code IS NULL`)
		require.Equal(t, 1, x)
		h.sql(`UPDATE tool_executions SET reason_code = 'BY_REQUESTER' WHERE status = 'RUNNING'`)
		return tool.Result{Value: 1, Sensitivity: enum.SensitivityPublic}, nil
	})
	x = h.request(ann, input("low"))
	h.work()
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
	close(release)
}

// A call stops while it runs when its requester, or the API token that asked for it, may not call the tool any more: at
// once where that is told, at the next heartbeat where it is not.
func TestService_Run_RightsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(h *house, ann, program *authz.Principal){
		"Revoked":  func(h *house, _, program *authz.Principal) { h.sql(testkit.APITokenEnds["Revoked"], program.SessionID) },
		"Expired":  func(h *house, _, program *authz.Principal) { h.sql(testkit.APITokenEnds["Expired"], program.SessionID) },
		"Stripped": func(h *house, ann, _ *authz.Principal) { h.strip(ann) },
	} {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%t", name, told), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				h.exec.Lease = time.Hour // no heartbeat comes by itself
				if !told {
					h.exec.Lease = 300 * time.Millisecond
				}
				ann := h.person("ann", "analyst")
				program := h.APIToken(t, ann, "tools:read", "tools:execute")
				begun, release := h.blocking()
				defer close(release)
				x := h.request(program, input("low"))
				done := h.start(context.Background(), x.ID)
				wait(t, begun)
				h.exec.Rejudge() // it may still
				lose(h, ann, program)
				if told {
					h.exec.Rejudge(uid.New(uid.Session), uid.New(uid.User)) // others
					h.mustBe(x.ID, enum.ToolExecutionStatusRunning, "", "")
					h.exec.Rejudge(program.SessionID)
				}
				require.NoError(t, wait(t, done))
				h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeAuthorizationLost, "")
				require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_STARTED", "TOOL_EXECUTION_BLOCKED"}, h.actions(x.ID))
			})
		}
	}
}

// all ends the calls of an answer or a conversation, as whoever ends that does.
func (h *house) all(p *authz.Principal, end func(context.Context, *uow.Tx, uuid.UUID) error, id uuid.UUID) error {
	return h.Store.Do(testkit.As(p), func(ctx context.Context, tx *uow.Tx) error { return end(ctx, tx, id) })
}

func TestService_CancelReply(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "analyst")
	session := h.session(ann, enum.SensitivityPublic)
	reply := h.reply(ann, session)
	require.NoError(t, h.all(ann, h.exec.CancelReply, reply), "nothing to do")
	begun, _ := h.blocking()
	var ids []uuid.UUID
	for i, name := range []string{"low", "low", "high"} {
		in := input(name)
		in.SessionID, in.ReplyID, in.CallID = &session, &reply, string(rune('a'+i))
		ids = append(ids, h.request(ann.AsAgent(), in).ID)
	}
	other := h.request(ann, input("low")).ID
	done := h.start(context.Background(), ids[0])
	wait(t, begun)
	require.NoError(t, h.all(bob, h.exec.CancelReply, reply))
	h.mustBe(ids[1], enum.ToolExecutionStatusPending, "", "")
	require.NoError(t, h.all(ann, h.exec.CancelReply, reply))
	require.NoError(t, wait(t, done))
	for _, id := range ids {
		h.mustBe(id, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "")
	}
	h.mustBe(other, enum.ToolExecutionStatusPending, "", "")

	in := input("high")
	in.SessionID = &session
	x := h.request(ann, in)
	require.NoError(t, h.all(ann, h.exec.CancelSession, session))
	h.mustBe(x.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeSessionDeleted, "")
}

// The log names what went wrong, whether the tool knew a cause or not.
func TestService_Run_LogsWhatFailed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	for want, fail := range map[string]*tool.Error{
		`"code":"TOOL_ERROR","message":"There is no host of this name."}`:                       tool.Fail("There is no host of this name."),
		`"code":"DEPENDENCY_UNAVAILABLE","message":"It is away.","error":"connection refused"}`: tool.Unavailable(errors.New("connection refused"), "It is away."),
	} {
		var log bytes.Buffer
		h.exec.Log = slog.New(slog.NewJSONHandler(&log, nil))
		h.answer(func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{}, fail })
		h.request(ann, input("low"))
		h.work()
		require.Contains(t, log.String(), want)
		require.NotContains(t, log.String(), "nil")
	}
}

// A server that stops does not know what its tools have done, and says so at once.
func TestService_Run_Shutdown(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann := h.person("ann", "analyst")
	begun, _ := h.blocking()
	x := h.request(ann, input("low"))
	ctx, stop := context.WithCancel(context.Background())
	done := h.start(ctx, x.ID)
	wait(t, begun)
	stop()
	require.NoError(t, wait(t, done))
	h.mustBe(x.ID, enum.ToolExecutionStatusFailed, "", enum.ToolErrorCodeWorkerLost)
}

// A worker whose lease is taken stops its executor and drops the result.
func TestService_Run_LeaseLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.exec.Lease = 300 * time.Millisecond
	h.exec.Log = slog.New(slog.DiscardHandler)
	ann := h.person("ann", "analyst")
	begun, _ := h.blocking()
	x := h.request(ann, input("low"))
	done := h.start(context.Background(), x.ID)
	wait(t, begun)
	h.sql(`UPDATE tool_executions SET lease_expires_at = now() - interval '1 second' WHERE id = $1`, x.ID)
	sweeper := h.replica(h.exec.Tools, h.exec.Log)
	require.Eventually(t, func() bool { // the heartbeat may renew between the two statements
		h.sql(`UPDATE tool_executions SET lease_expires_at = now() - interval '1 second' WHERE id = $1`, x.ID)
		require.NoError(t, sweeper.Sweep(context.Background()))
		return h.row(x.ID).Status == enum.ToolExecutionStatusFailed
	}, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, wait(t, done))
	h.mustBe(x.ID, enum.ToolExecutionStatusFailed, "", enum.ToolErrorCodeWorkerLost)
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_STARTED", "TOOL_EXECUTION_FAILED"}, h.actions(x.ID))
}

// A long run keeps its lease: the sweeper leaves it alone for as long as its worker lives.
func TestService_Run_Heartbeat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.exec.Lease = 600 * time.Millisecond
	ann := h.person("ann", "analyst")
	begun, release := h.blocking()
	x := h.request(ann, input("low"))
	done := h.start(context.Background(), x.ID)
	wait(t, begun)
	first := *h.row(x.ID).LeaseExpiresAt
	require.Eventually(t, func() bool {
		require.NoError(t, h.exec.Sweep(context.Background()))
		return h.row(x.ID).LeaseExpiresAt.After(first.Add(time.Second))
	}, 20*time.Second, 50*time.Millisecond)
	close(release)
	require.NoError(t, wait(t, done))
	h.mustBe(x.ID, enum.ToolExecutionStatusCompleted, "", "")
}
