//go:build unix

package graph_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/event/eventcursor"
	"cdsa.dev/cdsa/internal/uid"
)

// holder is somebody with just these permissions and no row of their own.
func holder(permissions ...string) *authz.Principal {
	return authz.NewUser(uid.New(uid.User), "holder", uid.New(uid.Session), false, time.Now().Add(time.Hour), permissions...)
}

// truth reads a text for each id, as the owner of the database.
func (r *rig) truth(t *testing.T, query string, args ...any) map[uuid.UUID]string {
	t.Helper()
	rows, err := r.DB.Owner.Query(t.Context(), query, args...)
	require.NoError(t, err)
	m := map[uuid.UUID]string{}
	var id uuid.UUID
	var text *string
	_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() error {
		m[id] = "null"
		if text != nil {
			m[id] = *text
		}
		return nil
	})
	require.NoError(t, err)
	return m
}

// page asks a list for a field of the long page's rows, named x, and gives it by row. A short page takes as many statements.
func (r *rig) page(t *testing.T, p *authz.Principal, connection, field string) map[uuid.UUID]string {
	t.Helper()
	query := list(connection, "id x: "+field)
	r.sameCount(t, p, query)
	var d map[string]struct {
		Edges []struct {
			Node struct {
				ID uuid.UUID
				X  json.RawMessage
			}
		}
	}
	r.ask(t, p, strings.ReplaceAll(query, "%d", fmt.Sprint(many)), &d)
	require.Len(t, d[connection].Edges, many)
	m := map[uuid.UUID]string{}
	for _, e := range d[connection].Edges {
		m[e.Node.ID] = strings.Trim(string(e.Node.X), `"`)
	}
	return m
}

// same requires of each row what is true of it, and that rows differ, or the test says little.
func same(t *testing.T, truth, got map[uuid.UUID]string) {
	t.Helper()
	values := map[string]bool{}
	for id, v := range got {
		require.Equal(t, truth[id], v, id)
		values[v] = true
	}
	require.Greater(t, len(values), 1)
}

// cites requires of each citation the document it names, if it may be seen, on pages that are read by hand and by ent.
func (r *rig) cites(t *testing.T, owner uuid.UUID) {
	t.Helper()
	title := r.truth(t, `SELECT id, title FROM documents WHERE is_public`)
	for _, c := range []struct {
		messages, cited string
		reads           bool
	}{
		{"messages(first: 2)", "documentId document { id title }", true},
		{"messages(first: 2)", "... on Citation { documentId ...Of } } } } } } } } } fragment Of on Citation { document { id title", true},
		{"messages(first: 2, where: {roleNEQ: TOOL})", "documentId document { id title }", true},
		{"messages(first: 2)", "documentId document { id title }", false},
	} {
		p := authz.NewUser(owner, "analyst", uid.New(uid.Session), false, time.Now().Add(time.Hour), "chat:read")
		if c.reads {
			p = authz.NewUser(owner, "analyst", uid.New(uid.Session), false, time.Now().Add(time.Hour), "chat:read", "documents:read")
		}
		query := "{ chatSessions(last: %d) { edges { node { " + c.messages + " { edges { node { citations { " + c.cited
		query += strings.Repeat(" }", strings.Count(query, "{")-strings.Count(query, "}"))
		r.sameCount(t, p, query)
		var d struct {
			ChatSessions struct {
				Edges []struct {
					Node struct {
						Messages struct {
							Edges []struct {
								Node struct {
									Citations []struct {
										DocumentID uuid.UUID
										Document   *struct {
											ID    uuid.UUID
											Title string
										}
									}
								}
							}
						}
					}
				}
			}
		}
		r.ask(t, p, strings.ReplaceAll(query, "%d", fmt.Sprint(many)), &d)
		shown, hidden := 0, 0
		for _, s := range d.ChatSessions.Edges {
			for _, m := range s.Node.Messages.Edges {
				for _, x := range m.Node.Citations {
					want, public := title[x.DocumentID]
					if !public || !c.reads {
						hidden++
						require.Nil(t, x.Document, "a document that may not be seen")
						continue
					}
					shown++
					require.NotNil(t, x.Document)
					require.Equal(t, x.DocumentID, x.Document.ID)
					require.Equal(t, want, x.Document.Title)
				}
			}
		}
		require.Equal(t, 3*many, shown+hidden)
		require.Equal(t, c.reads, shown > many/2)
	}
}

// TestDerived: what is read of rows by statements is right for each of a page, for who may just read it and for everyone's
// administrator, and what may not be known is not asked for.
func TestDerived(t *testing.T) {
	r := newRig(t)
	admin := r.people["admin"]
	const held = ` FROM users u LEFT JOIN user_roles ur ON ur.user_id = u.id LEFT JOIN roles r ON r.id = ur.role_id
		LEFT JOIN role_permissions rp ON rp.role_id = r.id LEFT JOIN permissions p ON p.id = rp.permission_id GROUP BY u.id`

	t.Run("User.permissions", func(t *testing.T) {
		truth := r.truth(t, `SELECT u.id, CASE WHEN u.is_active THEN COALESCE(to_jsonb(array_agg(DISTINCT p.name ORDER BY p.name) FILTER (WHERE p.id IS NOT NULL)), '[]')::text ELSE '[]' END`+held)
		for id, v := range truth {
			truth[id] = strings.ReplaceAll(v, `", "`, `","`)
		}
		for _, p := range []*authz.Principal{holder("users:read"), admin} {
			same(t, truth, r.page(t, p, "users", "permissions"))
		}
	})
	t.Run("User.hasPermission", func(t *testing.T) {
		truth := r.truth(t, `SELECT u.id, (u.is_active AND (u.is_superuser OR bool_or(COALESCE(p.name, '') = 'audit:read')))::text`+held)
		for _, p := range []*authz.Principal{holder("users:read"), admin} {
			same(t, truth, r.page(t, p, "users", `hasPermission(resource: "audit", action: "read")`))
		}
	})
	t.Run("User.hasRole", func(t *testing.T) {
		for _, role := range []string{"approver", "steward"} {
			truth := r.truth(t, `SELECT u.id, bool_or(COALESCE(r.name, '') = '`+role+`')::text`+held)
			for _, p := range []*authz.Principal{holder("users:read"), admin} {
				same(t, truth, r.page(t, p, "users", `hasRole(name: "`+role+`")`))
			}
		}
		roles := func(names ...string) (sent []string) {
			var l []string
			for _, n := range names {
				l = append(l, fmt.Sprintf("%s: hasRole(name: %q)", n, n))
			}
			return r.ask(t, admin, strings.ReplaceAll(list("users", strings.Join(l, " ")), "%d", fmt.Sprint(many)), nil)
		}
		require.Len(t, roles("analyst", "approver", "auditor", "steward"), len(roles("analyst")), "one statement, whatever roles")
	})
	t.Run("ToolExecution.approvalId", func(t *testing.T) {
		truth := r.truth(t, `SELECT x.id, a.id::text FROM tool_executions x LEFT JOIN tool_approvals a ON a.execution_id = x.id`)
		same(t, truth, r.page(t, admin, "toolExecutions", "approvalId"))
		got := r.page(t, holder("tools:read", "approvals:read", "approvals:decide"), "toolExecutions", "approvalId")
		same(t, truth, got)
		for _, v := range r.page(t, holder("tools:read", "audit:read"), "toolExecutions", "approvalId") {
			require.Equal(t, "null", v, "who may not see approvals")
		}
	})
	t.Run("ToolApproval.decisions", func(t *testing.T) {
		truth := r.truth(t, `SELECT a.id, (SELECT jsonb_agg(jsonb_build_object('approved', d->'approved', 'approver', jsonb_build_object('username', u.username)) ORDER BY n)
			FROM jsonb_array_elements(a.decisions) WITH ORDINALITY AS e(d, n) JOIN users u ON u.id = (d->>'approverId')::uuid)::text FROM tool_approvals a`)
		for _, p := range []*authz.Principal{holder("approvals:read", "approvals:decide"), admin} {
			got := r.page(t, p, "toolApprovals", "decisions { approved approver { username } }")
			for id, v := range got {
				require.JSONEq(t, truth[id], v)
			}
		}
		// Whoever may not know what others may do is told nothing, and nothing is read.
		query := func(of string) string {
			return strings.ReplaceAll(list("toolApprovals", "decisions { approver { "+of+" } }"), "%d", fmt.Sprint(many))
		}
		p := holder("approvals:read", "approvals:decide")
		var d struct {
			ToolApprovals struct {
				Edges []struct {
					Node struct {
						Decisions []struct {
							Approver struct {
								Permissions   []string
								HasRole, Has2 bool
							}
						}
					}
				}
			}
		}
		asked := r.ask(t, p, query(`permissions hasRole(name: "approver") has2: hasPermission(resource: "audit", action: "read")`), &d)
		require.Len(t, asked, len(r.ask(t, p, query("username"), nil)))
		require.Len(t, d.ToolApprovals.Edges, many)
		for _, e := range d.ToolApprovals.Edges {
			for _, x := range e.Node.Decisions {
				require.Empty(t, x.Approver.Permissions)
				require.False(t, x.Approver.HasRole || x.Approver.Has2)
			}
		}
	})
	t.Run("Document.chunkCount", func(t *testing.T) {
		truth := r.truth(t, `SELECT d.id, count(c.id) FILTER (WHERE d.is_public)::text FROM documents d LEFT JOIN document_chunks c ON c.document_id = d.id GROUP BY d.id`)
		for _, p := range []*authz.Principal{holder("documents:read"), holder("documents:read", "audit:read"), admin} {
			same(t, truth, r.page(t, p, "documents", "chunkCount"))
		}
	})
	t.Run("AuditLog", func(t *testing.T) {
		reader := r.people["auditor"].Limited(false, "audit:read") // the reading is recorded, of somebody who exists
		for column, field := range map[string]string{"CASE WHEN k.subject_id IS NULL THEN NULL ELSE 'user' || n END": "username", "CASE WHEN k.subject_id IS NULL THEN NULL ELSE '192.0.2.' || n END": "ipAddress"} {
			truth := r.truth(t, `SELECT l.id, `+column+` FROM audit_logs l JOIN (SELECT u, n - 1 AS n FROM unnest($1::uuid[]) WITH ORDINALITY AS e(u, n)) e ON e.u = l.user_id LEFT JOIN subject_keys k ON k.subject_id = l.user_id`, r.users)
			for _, p := range []*authz.Principal{reader, admin} {
				same(t, truth, r.page(t, p, "auditLogs", field))
			}
		}
	})
	t.Run("ChatSession.eventCursor", func(t *testing.T) {
		// All conversations get one owner: nobody else sees messages.
		owner := r.people["analyst"]
		r.sql(t, `UPDATE chat_messages SET user_id = $1`, owner.UserID)
		r.sql(t, `UPDATE chat_sessions SET user_id = $1`, owner.UserID)
		cursors, err := event.NewCursors(bytes.Repeat([]byte("k"), 64), func() uint64 { return 1 })
		require.NoError(t, err)
		truth := r.truth(t, `SELECT s.id, COALESCE((SELECT stream_position FROM chat_messages m WHERE m.session_id = s.id AND status = 'STREAMING' AND lease_expires_at IS NOT NULL), 1000)::text FROM chat_sessions s`)
		me := authz.NewUser(owner.UserID, "analyst", uid.New(uid.Session), false, time.Now().Add(time.Hour), "chat:read")
		r.cites(t, owner.UserID)
		for id, v := range r.page(t, me, "chatSessions", "eventCursor") {
			seq, _, err := cursors.Open(eventcursor.Cursor(v))
			require.NoError(t, err)
			require.Equal(t, truth[id], fmt.Sprint(seq))
		}
		for _, v := range r.page(t, admin, "chatSessions", "eventCursor") { // who does not see that an answer is being written
			seq, _, err := cursors.Open(eventcursor.Cursor(v))
			require.NoError(t, err)
			require.EqualValues(t, 1000, seq)
		}
		query := strings.ReplaceAll(list("chatSessions", "messages(last: 2) { edges { node { toolExecution { id approvalId } } } }"), "%d", fmt.Sprint(many))
		var d struct {
			ChatSessions struct {
				Edges []struct {
					Node struct {
						Messages struct {
							Edges []struct {
								Node struct {
									ToolExecution *struct{ ID, ApprovalID uuid.UUID }
								}
							}
						}
					}
				}
			}
		}
		r.ask(t, admin, query, &d)
		r.sql(t, `UPDATE tool_executions SET user_id = $1`, owner.UserID)
		r.sql(t, `UPDATE tool_approvals SET user_id = $1`, owner.UserID)
		me = authz.NewUser(owner.UserID, "analyst", uid.New(uid.Session), false, time.Now().Add(time.Hour), "chat:read", "tools:read", "approvals:read")
		sent := r.ask(t, me, query, &d)
		require.Len(t, sent, 2, "the conversations with all below them, and the approvals of all calls")
		approvals := r.truth(t, `SELECT x.id, a.id::text FROM tool_executions x LEFT JOIN tool_approvals a ON a.execution_id = x.id`)
		seen := 0
		for _, e := range d.ChatSessions.Edges {
			for _, m := range e.Node.Messages.Edges {
				if x := m.Node.ToolExecution; x != nil {
					if x.ApprovalID != uuid.Nil {
						seen++
						require.Equal(t, approvals[x.ID], x.ApprovalID.String())
					} else {
						require.Equal(t, "null", approvals[x.ID])
					}
				}
			}
		}
		require.Greater(t, seen, 10)
	})
}

// TestDerived_Recorded: a superuser's bypass is recorded once for a page.
func TestDerived_Recorded(t *testing.T) {
	r := newRig(t)
	const passed = `SELECT count(*) FROM audit_logs WHERE action = 'SUPERUSER_BYPASS_USED' AND details->>'entity' = 'User'`
	before := r.Count(t, passed)
	r.ask(t, r.people["superuser"], strings.ReplaceAll(list("toolApprovals", `decisions { approver { permissions a: hasRole(name: "x") hasPermission(resource: "audit", action: "read") } }`), "%d", fmt.Sprint(many)), nil)
	require.Equal(t, before+1, r.Count(t, passed))
	sent := r.ask(t, r.people["superuser"], strings.ReplaceAll(list("toolApprovals", `decisions { approver { permissions } }`), "%d", fmt.Sprint(many)), nil)
	recorded := slices.IndexFunc(sent, func(s string) bool { return strings.HasPrefix(s, "INSERT INTO audit_logs") })
	read := slices.IndexFunc(sent, func(s string) bool { return strings.Contains(s, "role_permissions") })
	require.Less(t, recorded, read, "before anything is given")
}
