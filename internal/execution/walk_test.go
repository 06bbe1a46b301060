//go:build unix

package execution_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
)

// TestWalk takes calls along random ways through the services and judges what must never be, from the rows alone.
func TestWalk(t *testing.T) {
	t.Parallel()
	require.NoError(t, flag.Set("rapid.checks", "25"))
	require.NoError(t, flag.Set("rapid.steps", "18"))
	h := newHouse(t)
	var mu sync.Mutex
	ran := map[uuid.UUID]int{}
	h.answer(func(_ context.Context, c tool.Call) (tool.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		ran[c.ExecutionID]++
		return tool.Result{Value: "ok", Sensitivity: enum.SensitivityPublic}, nil
	})
	people := 0
	rapid.Check(t, func(rt *rapid.T) {
		people++
		name := func(s string) string { return fmt.Sprintf("%s%d", s, people) }
		requester := h.person(name("ann"), "analyst", "approver")
		crowd := []*authz.Principal{requester, h.person(name("bob"), "approver"), h.person(name("eve"), "approver"), h.person(name("stu"), "steward")}
		x := h.request(requester, input(rapid.SampledFrom([]string{"low", "high", "high", "critical", "critical"}).Draw(rt, "tool")))
		ctx := testkit.As(requester)
		var ended string
		// Only a person may see these codes; anything else is a fault of the services.
		refusable := func(err error) {
			if _, ok := errs.As(err); err != nil && !ok {
				rt.Fatalf("a fault: %v", err)
			}
		}
		decide := func(rt *rapid.T, yes bool) {
			if !x.RequiresApproval {
				return
			}
			p := rapid.SampledFrom(crowd).Draw(rt, "who")
			a := h.approvalOf(x.ID)
			hash := rapid.SampledFrom([]string{a.ArgsHash, a.ArgsHash, a.ArgsHash, "other"}).Draw(rt, "hash")
			var err error
			if yes {
				_, err = h.approvals.Approve(testkit.As(p), a.ID, hash, "")
			} else {
				_, err = h.approvals.Reject(testkit.As(p), a.ID, hash, "no")
			}
			refusable(err)
			if err == nil && (p == requester || hash == "other") {
				rt.Fatalf("a decision was taken that must not be")
			}
		}
		behind := func(query string) { // what time and operators do
			_, err := h.DB.Pool.Exec(context.Background(), query, x.ID)
			require.NoError(rt, err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"approve":  func(rt *rapid.T) { decide(rt, true) },
			"approve2": func(rt *rapid.T) { decide(rt, true) },
			"approve3": func(rt *rapid.T) { decide(rt, true) },
			"reject": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
					decide(rt, false)
				}
			},
			"run":   func(*rapid.T) { require.NoError(rt, h.exec.Run(context.Background(), x.ID)) },
			"sweep": func(*rapid.T) { require.NoError(rt, h.exec.Sweep(context.Background())) },
			"cancel": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
					_, err := h.exec.Cancel(ctx, x.ID)
					refusable(err)
				}
			},
			"withdraw": func(rt *rapid.T) {
				if x.RequiresApproval && rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
					_, err := h.approvals.Withdraw(ctx, h.approvalOf(x.ID).ID)
					refusable(err)
				}
			},
			"late": func(rt *rapid.T) {
				behind(rapid.SampledFrom([]string{
					`UPDATE tool_approvals SET expires_at = now() WHERE execution_id = $1 AND responded_at IS NULL`,
					`UPDATE tool_approvals SET use_by = now() WHERE execution_id = $1 AND use_by IS NOT NULL AND consumed_at IS NULL AND withdrawn_at IS NULL`,
					`UPDATE tool_executions SET updated_at = now() - interval '1 hour' WHERE id = $1 AND status = 'PENDING'`,
				}).Draw(rt, "what"))
			},
			"lose": func(rt *rapid.T) {
				if p := rapid.SampledFrom(crowd[1:]).Draw(rt, "who"); rapid.IntRange(0, 3).Draw(rt, "rarely") == 0 {
					_, err := h.DB.Pool.Exec(context.Background(), `DELETE FROM user_roles WHERE user_id = $1`, p.UserID)
					require.NoError(rt, err)
				}
			},
			"": func(rt *rapid.T) {
				now := h.row(x.ID)
				if ended != "" && ended != now.String() {
					rt.Fatalf("a call that had ended changed:\n%s\n%s", ended, now)
				}
				if approval.Terminal(now.Status) {
					ended = now.String()
				}
				mu.Lock()
				times := ran[x.ID]
				mu.Unlock()
				if times > 1 || (times == 1) != (now.Status == enum.ToolExecutionStatusCompleted) {
					rt.Fatalf("ran %d times and is %s", times, now.Status)
				}
				if now.RequiresApproval && times == 1 {
					mustBeGranted(rt, h, x.ID, requester.UserID)
				}
			},
		})
	})
	require.NotEmpty(t, ran)
}

// mustBeGranted counts in its own way whether a call that ran was allowed to.
func mustBeGranted(rt *rapid.T, h *house, id, requester uuid.UUID) {
	a := h.approvalOf(id)
	yes := map[uuid.UUID]bool{}
	for _, d := range a.Decisions {
		if !d.Approved || d.ApproverID == requester || yes[d.ApproverID] {
			rt.Fatalf("ran with the decision %+v", d)
		}
		yes[d.ApproverID] = true
	}
	if len(yes) < a.RequiredApprovals || a.ConsumedAt == nil || a.WithdrawnAt != nil || !deref(a.IsApproved) || !a.ConsumedAt.Before(*a.UseBy) {
		rt.Fatalf("ran on the request %s", a)
	}
}
