//go:build unix

package apitest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// TestOpenApprovals: an approver can list what waits for a decision and nothing else, and sees what they could decide on.
func TestOpenApprovals(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "asker", "analyst", "approver")
	y, z := w.newPerson(t, "decider", "approver"), w.newPerson(t, "onlooker", "auditor")
	open, _, _ := x.ask(t)
	withdrawn, _, _ := x.ask(t)
	rejected, _, hash := x.ask(t)
	x.ok(t, operations["Mutation.withdrawToolApproval"].query, map[string]any{"id": withdrawn}, nil)
	y.ok(t, operations["Mutation.rejectToolExecution"].query, map[string]any{"in": map[string]any{"approvalId": rejected, "argsHash": hash, "reason": "No."}}, nil)
	half, _, _ := x.ask(t) // an elevated one on which y has decided
	_, err := w.db.Owner.Exec(t.Context(), `UPDATE tool_approvals SET requires_elevated_approval = true, required_approvals = 2,
		decisions = jsonb_build_array(jsonb_build_object('approverId', $2::text, 'approved', true, 'at', now())) WHERE id = $1`, half, y.id)
	require.NoError(t, err)
	lapsed, _, _ := x.ask(t)
	_, err = w.db.Owner.Exec(t.Context(), `UPDATE tool_approvals SET expires_at = now() WHERE id = $1`, lapsed)
	require.NoError(t, err)

	type row struct {
		ID              uuid.UUID
		State           string
		ViewerCanDecide bool
	}
	asker := x.id
	list := func(x *person, args string) (rows []row, total int) {
		t.Helper()
		after, more := "null", true
		for more {
			var d struct {
				ToolApprovals struct {
					TotalCount int
					Edges      []struct {
						Cursor string
						Node   row
					}
					PageInfo struct{ HasNextPage bool }
				}
			}
			x.ok(t, `query($user: ID!) { toolApprovals(first: 1, after: `+after+`, orderBy: {field: REQUESTED_AT, direction: ASC}, where: {userId: $user}`+args+`) {
				totalCount pageInfo { hasNextPage } edges { cursor node { id state viewerCanDecide } } } }`, map[string]any{"user": asker}, &d)
			for _, e := range d.ToolApprovals.Edges {
				rows, after = append(rows, e.Node), `"`+e.Cursor+`"`
			}
			total, more = d.ToolApprovals.TotalCount, d.ToolApprovals.PageInfo.HasNextPage
		}
		return rows, total
	}
	const pending = `, state: [PENDING, PARTIALLY_APPROVED]`
	rows, total := list(y, pending)
	require.Equal(t, []row{{open, "PENDING", true}, {half, "PARTIALLY_APPROVED", false}}, rows, "y has decided on the second")
	require.Equal(t, 2, total)
	rows, _ = list(x, pending)
	require.Equal(t, []row{{open, "PENDING", false}, {half, "PARTIALLY_APPROVED", false}}, rows, "nobody decides on their own")
	rows, _ = list(w.person(t, "superuser"), pending)
	require.Equal(t, []row{{open, "PENDING", true}, {half, "PARTIALLY_APPROVED", true}}, rows)
	rows, _ = list(z, pending)
	require.Equal(t, []row{{open, "PENDING", false}, {half, "PARTIALLY_APPROVED", false}}, rows, "seeing is not deciding")
	v := w.newPerson(t, "programmer", "approver")
	token, _ := v.newToken(t, time.Hour, "approvals:read", "approvals:decide", "tools:read")
	rows, _ = list(v.bearing(token), pending)
	require.Equal(t, []row{{open, "PENDING", true}, {half, "PARTIALLY_APPROVED", false}}, rows, "no program approves an elevated one")

	rows, total = list(y, "")
	require.Len(t, rows, 5)
	require.Equal(t, 5, total)
	for state, id := range map[string]uuid.UUID{"WITHDRAWN": withdrawn, "REJECTED": rejected, "EXPIRED": lapsed} {
		rows, total = list(y, `, state: [`+state+`]`)
		require.Equal(t, []row{{id, state, false}}, rows)
		require.Equal(t, 1, total)
	}
	rows, total = list(y, `, state: []`)
	require.Empty(t, rows)
	require.Zero(t, total)
}
