//go:build unix

package execution_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/testkit"
)

func TestService_Sweep(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ann, bob := h.person("ann", "analyst"), h.person("bob", "approver")
	approve := func(in string) (id [16]byte) {
		x, a := h.asked(ann, input(in))
		_, err := h.approvals.Approve(testkit.As(bob), a.ID, a.ArgsHash, "")
		require.NoError(t, err)
		return x.ID
	}
	open, _ := h.asked(ann, input("high"))
	expired, _ := h.asked(ann, input("high"))
	lapsed, granted := approve("high"), approve("high")
	queued, fresh, jobless := h.request(ann, input("low")), h.request(ann, input("low")), h.request(ann, input("low"))
	dying := h.request(ann, input("low")) // its worker was killed with the job in hand
	h.sql(`UPDATE river_job SET state = 'running', attempted_at = now() - interval '6 seconds' WHERE args->>'execution' = $1`, dying.ID.String())
	h.sql(`UPDATE tool_executions SET updated_at = now() - interval '6 seconds' WHERE id = $1`, dying.ID)
	lost, alive := h.request(ann, input("low")), h.request(ann, input("low"))
	h.sql(`UPDATE tool_approvals SET expires_at = now() WHERE execution_id = $1`, expired.ID)
	h.sql(`UPDATE tool_approvals SET use_by = now() WHERE execution_id = $1`, lapsed)
	h.sql(`UPDATE tool_executions SET updated_at = now() - interval '6 minutes' WHERE id = $1`, queued.ID)
	h.sql(`UPDATE tool_executions SET updated_at = now() - interval '2 seconds' WHERE id = $1`, jobless.ID)
	h.sql(`DELETE FROM river_job WHERE args->>'execution' = $1`, jobless.ID.String())
	h.sql(`UPDATE tool_executions SET status = 'RUNNING', started_at = now(), lease_expires_at = now() - interval '1 millisecond' WHERE id = $1`, lost.ID)
	h.sql(`UPDATE tool_executions SET status = 'RUNNING', started_at = now(), lease_expires_at = now() + interval '1 minute' WHERE id = $1`, alive.ID)
	jobs := h.jobs("run_tool")

	var wg sync.WaitGroup
	failures := make([]error, 6)
	for i := range failures { // replicas sweep at the same time
		wg.Go(func() { failures[i] = h.exec.Sweep(context.Background()) })
	}
	wg.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	h.mustBe(open.ID, enum.ToolExecutionStatusAwaitingApproval, "", "")
	h.mustBe(granted, enum.ToolExecutionStatusPending, "", "")
	h.mustBe(fresh.ID, enum.ToolExecutionStatusPending, "", "")
	h.mustBe(expired.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeApprovalExpired, "")
	h.mustBe(lapsed, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeGrantLapsed, "")
	h.mustBe(queued.ID, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeQueueTimeout, "")
	h.mustBe(lost.ID, enum.ToolExecutionStatusFailed, "", enum.ToolErrorCodeWorkerLost)
	h.mustBe(alive.ID, enum.ToolExecutionStatusRunning, "", "")
	h.mustBe(jobless.ID, enum.ToolExecutionStatusPending, "", "")
	require.Equal(t, enum.ApprovalStateExpired, h.approvalOf(expired.ID).State())
	require.Equal(t, enum.ApprovalStateExpired, h.approvalOf(lapsed).State())
	require.GreaterOrEqual(t, h.jobs("run_tool"), jobs+2)
	require.NotZero(t, h.Count(t, `SELECT count(*) FROM river_job WHERE args->>'execution' = $1 AND state = 'available'`, dying.ID.String()))
	require.LessOrEqual(t, h.Count(t, `SELECT count(*) FROM river_job WHERE args->>'execution' = $1`, jobless.ID.String()), 2)
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "APPROVAL_REQUESTED", "TOOL_EXECUTION_CANCELLED", "APPROVAL_EXPIRED"}, h.actions(expired.ID))
	require.Equal(t, []string{"TOOL_EXECUTION_REQUESTED", "TOOL_EXECUTION_FAILED"}, h.actions(lost.ID))
	require.Equal(t, 4, h.Count(t, `SELECT count(*) FROM audit_logs WHERE actor_kind = 'SYSTEM' AND action LIKE 'TOOL_EXECUTION_%' AND tool_execution_id IS NOT NULL`))

	before := h.Count(t, `SELECT count(*) FROM audit_logs`)
	events := h.Count(t, `SELECT count(*) FROM outbox`)
	require.NoError(t, h.exec.Sweep(context.Background()))
	require.Equal(t, before, h.Count(t, `SELECT count(*) FROM audit_logs`), "nothing is swept twice")
	require.Equal(t, events, h.Count(t, `SELECT count(*) FROM outbox`))
}
