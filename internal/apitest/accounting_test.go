//go:build unix

package apitest

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/enum"
)

var auditedAs = regexp.MustCompile(`Audited as ([A-Z_]+(?:(?: and | or |, )[A-Z_]+)*)\.`)

// promised are the actions that a field's description names, and whether all of them are meant.
func promised(t *testing.T, name string, f *ast.FieldDefinition) (actions []string, all bool) {
	t.Helper()
	m := auditedAs.FindStringSubmatch(f.Description)
	require.NotNil(t, m, "the description of %s does not say what it is audited as", name)
	all = !strings.Contains(m[1], " or ")
	actions = regexp.MustCompile(`[A-Z_]{3,}`).FindAllString(m[1], -1)
	for _, a := range actions {
		require.Contains(t, enum.AuditAction("").Values(), a)
	}
	return actions, all
}

// act is a row of the audit log, as stored.
type act struct {
	action, resource, request, kind string
	user                            *uuid.UUID
	success                         bool
	details                         map[string]any
	text                            string // the row, for looking into it
}

// since gives the acts after the newest row there was when it is called.
func (s *server) since(tb testing.TB) func() []act {
	tb.Helper()
	var last uuid.UUID
	require.NoError(tb, s.db.Owner.QueryRow(context.Background(), `SELECT id FROM audit_logs ORDER BY id DESC LIMIT 1`).Scan(&last))
	return func() []act {
		rows, err := s.db.Owner.Query(context.Background(), `SELECT action, resource_type, request_id, actor_kind, user_id, success, details, to_jsonb(a)::text FROM audit_logs a WHERE id > $1 ORDER BY id`, last)
		require.NoError(tb, err)
		defer rows.Close()
		var l []act
		for rows.Next() {
			var a act
			var details []byte
			require.NoError(tb, rows.Scan(&a.action, &a.resource, &a.request, &a.kind, &a.user, &a.success, &details, &a.text))
			if details != nil {
				require.NoError(tb, json.Unmarshal(details, &a.details))
			}
			l = append(l, a)
		}
		require.NoError(tb, rows.Err())
		return l
	}
}

func of(l []act, action string, by uuid.UUID) []act {
	var found []act
	for _, a := range l {
		if a.action == action && (by == uuid.Nil || a.user != nil && *a.user == by) {
			found = append(found, a)
		}
	}
	return found
}

func names(l []act) []string {
	var n []string
	for _, a := range l {
		n = append(n, a.action)
	}
	return n
}

// TestAccounting runs every mutation as someone who may and finds the audit rows that its description promises.
func TestAccounting(t *testing.T) {
	w := shared()
	fields := rootFields(t)
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		if !strings.HasPrefix(name, "Mutation.") {
			continue
		}
		t.Run(fieldName(name), func(t *testing.T) {
			op := operations[name]
			x := w.person(t, cmp.Or(op.happy, "analyst"))
			actions, all := promised(t, name, fields[name])
			acts := op.traced(t, w, x)
			var missing []string
			for _, a := range actions {
				rows := of(acts, a, uuid.Nil)
				if len(rows) == 0 {
					missing = append(missing, a)
					continue
				}
				for _, row := range rows {
					require.NotEmpty(t, row.request, "the row names no request")
					require.NotNil(t, row.user, "the row names no one")
					require.Equal(t, "USER", row.kind)
					for _, personal := range []string{x.username, x.email, x.password, x.token, w.other.email, w.other.password, "Go-http-client"} {
						require.NotContains(t, row.text, personal, "%s holds personal data in the clear", a)
					}
				}
			}
			if all {
				require.Empty(t, missing, "recorded were %v", names(acts))
			} else {
				require.Less(t, len(missing), len(actions), "recorded were %v", names(acts))
			}
		})
	}
}

// traced runs an operation and gives what was recorded from after its preparation on.
func (op operation) traced(tb testing.TB, w *world, x *person) []act {
	tb.Helper()
	prepared := op
	var acts func() []act
	prepared.vars = func(tb testing.TB, w *world, x *person) map[string]any {
		var vars map[string]any
		if op.vars != nil {
			vars = op.vars(tb, w, x)
		}
		acts = w.since(tb)
		return vars
	}
	r := prepared.run(tb, w, x)
	require.Equal(tb, "OK", r.outcome(), "%s", r)
	return acts()
}

// TestAccounting_OtherBranches are the actions that the descriptions name for when things go otherwise.
func TestAccounting_OtherBranches(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst")
	t.Run("LoginFailed", func(t *testing.T) {
		acts := w.since(t)
		for _, who := range []string{w.other.email, "no.one@example.org"} {
			r := (&person{server: w.server}).do(t, operations["Mutation.login"].query, map[string]any{"in": map[string]any{"login": who, "password": "wrong, and long enough"}})
			require.Equal(t, "UNAUTHENTICATED", r.outcome())
		}
		rows := of(acts(), "LOGIN_FAILED", uuid.Nil)
		require.Len(t, rows, 2, "unknown names count as well")
		require.False(t, rows[0].success)
		require.NotContains(t, rows[1].text, "no.one")
	})
	t.Run("TokenReuse", func(t *testing.T) {
		y := x.login(t)
		refresh := operations["Mutation.refreshSession"].query
		var d struct {
			RefreshSession struct{ AccessToken, RefreshToken string }
		}
		y.ok(t, refresh, map[string]any{"t": y.refresh}, &d)
		z := *y
		z.token = d.RefreshSession.AccessToken
		_, err := w.db.Owner.Exec(t.Context(), `UPDATE sessions SET created_at = created_at - interval '1 minute' WHERE family_id = $1`, y.session)
		require.NoError(t, err) // too long ago for a tab that comes late
		acts := w.since(t)
		require.Equal(t, "UNAUTHENTICATED", y.do(t, refresh, map[string]any{"t": y.refresh}).outcome())
		require.Len(t, of(acts(), "TOKEN_REUSE_DETECTED", x.id), 1)
		require.Equal(t, "UNAUTHENTICATED", z.do(t, `{ viewer { id } }`, nil).outcome(), "whoever holds the other copy is out as well")
	})
	t.Run("ToolBlocked", func(t *testing.T) {
		acts := w.since(t)
		r := x.do(t, `mutation { executeTool(input: {tool: "no_such_tool", parameters: {}}) { id } }`, nil)
		require.Equal(t, "NOT_FOUND", r.outcome())
		require.Len(t, of(acts(), "TOOL_EXECUTION_BLOCKED", x.id), 1)
	})
	t.Run("Searched", func(t *testing.T) {
		acts := w.since(t)
		x.search(t, "Where does the otter swim?")
		rows := of(acts(), "DOCUMENT_SEARCHED", x.id)
		require.Len(t, rows, 1)
		require.NotContains(t, rows[0].text, "otter", "what was searched for is the searcher's")
	})
	t.Run("LogViewed", func(t *testing.T) {
		a := w.person(t, "auditor")
		acts := w.since(t)
		a.ok(t, `{ auditLogs(first: 1) { totalCount } }`, nil, nil)
		require.Len(t, of(acts(), "AUDIT_LOG_VIEWED", a.id), 1)
	})
}

// permissionOf is the permission that a field's directive asks for.
func permissionOf(f *ast.FieldDefinition) string {
	d := f.Directives.ForName("hasPermission")
	if d == nil {
		return ""
	}
	return d.Arguments.ForName("resource").Value.Raw + ":" + d.Arguments.ForName("action").Value.Raw
}

// TestAccounting_Denials: whoever lacks a permission is told and recorded, once, by name of field and permission; who
// passes without it, as a superuser, is recorded too; anonymous callers are not.
func TestAccounting_Denials(t *testing.T) {
	w := shared()
	fields := rootFields(t)
	nobody, super, anonymous := w.person(t, "norole"), w.person(t, "superuser"), w.person(t, "anonymous")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fields[name]
		directives := 0
		for _, d := range []string{"public", "authenticated", "hasPermission"} {
			if f.Directives.ForName(d) != nil {
				directives++
			}
		}
		require.Equal(t, 1, directives, "%s is guarded by exactly one of @public, @authenticated and @hasPermission", name)
		permission := permissionOf(f)
		if permission == "" {
			continue
		}
		op := operations[name]
		for _, c := range []struct {
			x      *person
			action string
			want   string
		}{{nobody, "PERMISSION_DENIED", "FORBIDDEN"}, {super, "SUPERUSER_BYPASS_USED", "OK"}, {anonymous, "", "UNAUTHENTICATED"}} {
			prepared := op
			var acts func() []act
			prepared.vars = func(tb testing.TB, w *world, x *person) map[string]any {
				var vars map[string]any
				if op.vars != nil {
					vars = op.vars(tb, w, x)
				}
				acts = w.since(tb)
				return vars
			}
			r := prepared.run(t, w, c.x)
			require.Equal(t, c.want, r.outcome(), "%s as %s: %s", name, c.x.name, r)
			if c.action == "" {
				require.Empty(t, of(acts(), "PERMISSION_DENIED", uuid.Nil), "%s", name)
				continue
			}
			rows := of(acts(), c.action, c.x.id)
			require.NotEmpty(t, rows, "%s as %s", name, c.x.name)
			if c.x == nobody {
				require.Len(t, rows, 1, "%s", name)
			}
			require.Equal(t, permission, rows[0].details["permission"])
			require.Equal(t, name, rows[0].details["field"])
			require.Equal(t, c.action != "PERMISSION_DENIED", rows[0].success)
		}
	}
}

// TestAccounting_DeniedRows: a row that may be seen and not changed is a denial like any other.
func TestAccounting_DeniedRows(t *testing.T) {
	w := shared()
	approval, _, _ := w.other.ask(t)
	own, _, ownHash := w.person(t, "superuser").ask(t)
	for name, c := range map[string]struct {
		as, query string
		vars      map[string]any
	}{
		"UpdateChat":       {"admin", operations["Mutation.updateChatSession"].query, map[string]any{"id": w.chat}},
		"DeleteChat":       {"admin", operations["Mutation.deleteChatSession"].query, map[string]any{"id": w.chat}},
		"SendMessage":      {"admin", operations["Mutation.sendMessage"].query, map[string]any{"id": w.chat}},
		"CancelGeneration": {"superuser", operations["Mutation.cancelGeneration"].query, map[string]any{"id": w.chat}},
		"DeleteDocument":   {"analyst", operations["Mutation.deleteDocument"].query, map[string]any{"id": w.public}},
		"Withdraw":         {"approver", operations["Mutation.withdrawToolApproval"].query, map[string]any{"id": approval}},
		"ApproveOwn":       {"superuser", operations["Mutation.approveToolExecution"].query, map[string]any{"in": map[string]any{"approvalId": own, "argsHash": ownHash}}},
		"RejectOwn":        {"superuser", operations["Mutation.rejectToolExecution"].query, map[string]any{"in": map[string]any{"approvalId": own, "argsHash": ownHash, "reason": "Mine."}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := w.person(t, c.as)
			acts := w.since(t)
			r := x.do(t, c.query, c.vars)
			require.Equal(t, "FORBIDDEN", r.outcome(), "%s", r)
			require.Len(t, of(acts(), "PERMISSION_DENIED", x.id), 1, "recorded were %v", names(acts()))
		})
	}
}
