//go:build unix

package apitest

import (
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// What is read for rows together is read anew for each event and for each field of a mutation.

// TestBatch_Events: a subscriber sees in each event the roles, decisions and approvals of that moment.
func TestBatch_Events(t *testing.T) {
	w := shared()
	asker, decider := w.newPerson(t, "asker", "analyst"), w.newPerson(t, "decider", "approver")
	events := w.person(t, "auditor").connect(t).subscribe(t, `subscription { approvalEvents { kind approval { id
		decisions { approved approver { id a: hasRole(name: "steward") } }
		user { id steward: hasRole(name: "steward") may: hasPermission(resource: "tools", action: "manage") permissions
			toolExecutions(last: 10) { edges { node { id approvalId user { steward: hasRole(name: "steward") } } } } } } } }`, nil)
	type seen struct {
		Kind     string
		Approval struct {
			ID        uuid.UUID
			Decisions []struct {
				Approved bool
				Approver struct {
					ID uuid.UUID
					A  bool
				}
			}
			User struct {
				ID             uuid.UUID
				Steward, May   bool
				Permissions    []string
				ToolExecutions struct {
					Edges []struct {
						Node struct {
							ID, ApprovalID uuid.UUID
							User           struct{ Steward bool }
						}
					}
				}
			}
		}
	}
	next := func(approval uuid.UUID, decisions int) seen {
		t.Helper()
		for {
			var d struct{ ApprovalEvents seen }
			events.data(t, &d)
			if s := d.ApprovalEvents; s.Approval.ID == approval && len(s.Approval.Decisions) == decisions {
				return s
			}
		}
	}
	check := func(s seen, steward bool, approvals ...uuid.UUID) {
		t.Helper()
		require.Equal(t, asker.id, s.Approval.User.ID)
		require.Equal(t, []bool{steward, steward}, []bool{s.Approval.User.Steward, s.Approval.User.May})
		require.Equal(t, steward, slices.Contains(s.Approval.User.Permissions, "tools:manage"))
		var of []uuid.UUID
		for _, e := range s.Approval.User.ToolExecutions.Edges {
			of = append(of, e.Node.ApprovalID)
			require.Equal(t, steward, e.Node.User.Steward)
		}
		require.ElementsMatch(t, approvals, of)
	}
	change := func(field string, x *person) {
		t.Helper()
		w.root(t).ok(t, `mutation($id: ID!) { `+field+`(userId: $id, role: "steward") { id } }`, map[string]any{"id": x.id}, nil)
	}

	first, _, _ := asker.ask(t)
	check(next(first, 0), false, first)
	change("assignRole", asker)
	second, _, hash := asker.ask(t)
	check(next(second, 0), true, first, second)
	change("unassignRole", asker)
	change("assignRole", decider)
	decider.ok(t, operations["Mutation.approveToolExecution"].query, map[string]any{"in": map[string]any{"approvalId": second, "argsHash": hash}}, nil)
	s := next(second, 1)
	check(s, false, first, second)
	require.True(t, s.Approval.Decisions[0].Approved)
	require.Equal(t, decider.id, s.Approval.Decisions[0].Approver.ID)
	require.True(t, s.Approval.Decisions[0].Approver.A)
}

// TestBatch_Mutation: each field of a mutation shows what it left, and what the next changes shows in the next.
func TestBatch_Mutation(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "changed", "analyst")
	const shown = `{ id steward: hasRole(name: "steward") analyst: hasRole(name: "analyst") permissions }`
	type user struct {
		Steward, Analyst bool
		Permissions      []string
	}
	var d struct{ A, B, C user }
	w.root(t).ok(t, `mutation($id: ID!) { a: assignRole(userId: $id, role: "steward") `+shown+` b: unassignRole(userId: $id, role: "analyst") `+shown+` c: unassignRole(userId: $id, role: "steward") `+shown+` }`,
		map[string]any{"id": x.id}, &d)
	require.Equal(t, []bool{true, true, true, false, false, false}, []bool{d.A.Steward, d.A.Analyst, d.B.Steward, d.B.Analyst, d.C.Steward, d.C.Analyst})
	require.Contains(t, d.A.Permissions, "chat:write")
	require.Contains(t, d.B.Permissions, "tools:manage")
	require.NotContains(t, d.B.Permissions, "chat:write")
	require.Empty(t, d.C.Permissions)
}
