//go:build unix

package apitest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// guardedFields are a type's fields with a directive that hides them from some.
func guardedFields(s *ast.Schema, typ string) []string {
	var l []string
	for _, f := range s.Types[typ].Fields {
		for _, d := range []string{"selfOr", "redacted", "readersOnly"} {
			if f.Directives.ForName(d) != nil {
				l = append(l, f.Name)
			}
		}
	}
	slices.Sort(l)
	return l
}

// TestGuardedFields shows everyone the same rows of someone and compares which fields of them they see.
func TestGuardedFields(t *testing.T) {
	w := shared()
	s := schema(t)
	x := w.newPerson(t, "exhibit", "analyst")
	_, err := w.db.Owner.Exec(t.Context(), `UPDATE users SET last_login = created_at, locked_until = created_at, totp_enabled_at = created_at, password_changed_at = created_at,
		tokens_valid_after = created_at, oidc_issuer = 'https://id.example.org', oidc_subject = 'x' WHERE id = $1`, x.id)
	require.NoError(t, err)
	chat := x.newChat(t)
	call := x.call(t, "calculator", map[string]any{"expression": "21*2"})
	approval, gated, hash := x.ask(t)
	w.person(t, "approver").ok(t, operations["Mutation.approveToolExecution"].query, map[string]any{"in": map[string]any{"approvalId": approval, "argsHash": hash}}, nil)
	for id, status := range map[uuid.UUID]string{call: "COMPLETED", gated: "FAILED"} {
		eventually(t, "a call ends", func() bool { return w.text(t, `SELECT status FROM tool_executions WHERE id = $1`, id) == status })
	}
	private, public := x.newDocument(t, "Private", "An exhibit.", false), x.newDocument(t, "Public", "An open exhibit.", true)
	w.indexed(t, private)
	w.indexed(t, public)
	secret, accessLog, cached := uid.New(uid.Secret), uid.New(uid.SecretAccessLog), uid.New(uid.ToolCache) // no operation makes rows of these yet
	_, err = w.db.Owner.Exec(t.Context(), `WITH s AS (INSERT INTO secrets (id, created_at, updated_at, owner_id, name, secret_type, encrypted_value, encryption_key_id)
			VALUES ($1, now(), now(), $4, $5, 'GENERIC', ''::bytea, 'k') RETURNING id),
		l AS (INSERT INTO secret_access_logs (id, created_at, accessed_at, secret_id, user_id, access_type, success, ip_address, user_agent) SELECT $2, now(), now(), s.id, $4, 'USE', true, '192.0.2.1', 'x' FROM s)
		INSERT INTO tool_caches (id, created_at, updated_at, tool_id, cache_key, expires_at, parameters, result)
			SELECT $3, now(), now(), id, $5, now() + interval '1 hour', '{"a": 1}', '{"b": 2}' FROM tools LIMIT 1`, secret, accessLog, cached, x.id, uuid.NewString())
	require.NoError(t, err)
	rows := []struct {
		name, typ, path string
		id              uuid.UUID
	}{
		{"an account", "User", "%s", x.id},
		{"an account, beside a document", "User", "... on Document { uploader { ... on Node { %s } } }", public},
		{"a login session", "Session", "%s", x.session},
		{"a conversation", "ChatSession", "%s", chat},
		{"a call", "ToolExecution", "%s", call},
		{"a call that needs an approval", "ToolExecution", "%s", gated},
		{"a private document", "Document", "%s", private},
		{"a public document", "Document", "%s", public},
		{"a document open to a permission", "Document", "%s", w.copyRow(t, "Document", private, map[string]any{"required_permission": "metrics:read", "content_hash": uuid.NewString()})},
		{"a use of a secret", "SecretAccessLog", "%s", accessLog},
		{"a cached result", "ToolCache", "%s", cached},
	}
	token, _ := x.newToken(t, time.Hour, testkit.Permissions(t, "analyst")...)
	program := x.bearing(token)
	program.name = "program"
	covered := map[string]bool{}
	var b strings.Builder
	b.WriteString("# row of another | field | who sees it; (who sees that it is redacted)\n")
	for _, row := range rows {
		covered[row.typ] = true
		fields := guardedFields(s, row.typ)
		require.NotEmpty(t, fields)
		query := fmt.Sprintf(`query($id: ID!) { node(id: $id) { `+row.path+` } }`, "... on "+row.typ+" { "+strings.Join(fields, " ")+" }")
		shown := map[string][]string{}
		for _, viewer := range append(slices.Clone(w.people[1:]), x, program) {
			r := viewer.do(t, query, map[string]any{"id": row.id})
			if viewer == program && r.outcome() == "NOT_FOUND" {
				continue // its owner sees it
			}
			require.Equal(t, "OK", r.outcome())
			for _, f := range fields {
				switch v := find(t, r.Data, f); v {
				case nil:
				default:
					who := viewer.name
					if text := fmt.Sprint(v); text == "redacted" || text == "map[redacted:true]" {
						who = "(" + who + ")"
					}
					shown[f] = append(shown[f], who)
				}
			}
		}
		for _, f := range fields {
			fmt.Fprintf(&b, "%-32s | %-18s | %s\n", row.name, f, strings.Join(shown[f], " "))
		}
	}
	for name := range s.Types {
		if s.Types[name].Kind == ast.Object && len(guardedFields(s, name)) > 0 {
			require.True(t, covered[name], "%s has guarded fields and no row here", name)
		}
	}
	compare(t, "testdata/fields.golden", b.String())
}

// find is the value of a key, wherever it stands.
func find(tb testing.TB, b []byte, key string) any {
	tb.Helper()
	var v any
	require.NoError(tb, json.Unmarshal(b, &v))
	var walk func(v any) any
	walk = func(v any) any {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		if x, ok := m[key]; ok {
			return x
		}
		for _, x := range m {
			if y := walk(x); y != nil {
				return y
			}
		}
		return nil
	}
	return walk(v)
}
