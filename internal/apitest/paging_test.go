//go:build unix

package apitest

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/migrate"
)

// TestPaging walks every connection there is, by every order, from both ends, in pages of 1, 2 and 3: each row once, in
// the order that PostgreSQL gives, and pageInfo and totalCount right. The rows tie, and hold NULL wherever they may.
func TestPaging(t *testing.T) {
	s := startServer(t, "CDSA_RATE_POINTS=1000000000", "CDSA_RATE_REFILL=1000000000")
	x := s.newPerson(t, "walker", authz.AdminRole)
	_, err := s.db.Owner.Exec(t.Context(), `UPDATE users SET is_superuser = true WHERE id = $1`, x.id) // sees every entity's rows
	require.NoError(t, err)
	rows := x.login(t).rows(t)
	sch := schema(t)
	walked := 0
	for _, parent := range sch.Types {
		for _, f := range parent.Fields {
			order := f.Arguments.ForName("orderBy")
			if order == nil || !strings.HasSuffix(f.Type.Name(), "Connection") || parent == sch.Mutation || parent == sch.Subscription {
				continue
			}
			entity := strings.TrimSuffix(f.Type.Name(), "Connection")
			l := pagedList{field: f.Name, entity: entity, where: fmt.Sprintf("{idIn: [%s]}", quoted(rows[entity]))}
			if parent != sch.Query {
				require.NotEmpty(t, rows[parent.Name], "no row of %s", parent.Name)
				l.parent, l.on = rows[parent.Name][0], parent.Name
			}
			lists := []pagedList{l}
			if entity == "ChatSession" || entity == "ToolExecution" { // without a filter, another way may lead to the rows
				l.where = "null"
				lists = append(lists, l)
			}
			for _, l := range lists {
				t.Run(fmt.Sprintf("%s.%s.filtered=%t", parent.Name, f.Name, l.where != "null"), func(t *testing.T) {
					walked++
					l.all = x.page(t, l, `first: 50`, "").ids()
					require.GreaterOrEqual(t, len(l.all), 5, "too few rows to walk")
					x.walk(t, l, "", "ASC")
					for _, v := range sch.Types[sch.Types[order.Type.Name()].Fields.ForName("field").Type.Name()].EnumValues {
						for _, direction := range []string{"ASC", "DESC"} {
							x.walk(t, l, v.Name, direction)
						}
					}
				})
			}
		}
	}
	require.Greater(t, walked, 45)
}

// pagedList is a connection: of a parent, or of Query.
type pagedList struct {
	field, entity, where string
	parent               uuid.UUID
	on                   string
	all                  []uuid.UUID
}

// connectionPage is a page of a connection.
type connectionPage struct {
	TotalCount int
	Edges      []struct {
		Cursor string
		Node   struct{ ID uuid.UUID }
	}
	PageInfo pageInfo
}

type pageInfo struct {
	HasNextPage, HasPreviousPage bool
	StartCursor, EndCursor       *string
}

func (p connectionPage) ids() (ids []uuid.UUID) {
	for _, e := range p.Edges {
		ids = append(ids, e.Node.ID)
	}
	return ids
}

func quoted(ids []uuid.UUID) string {
	var q []string
	for _, id := range ids {
		q = append(q, fmt.Sprintf("%q", id))
	}
	return strings.Join(q, ", ")
}

const wholePage = `edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor }`

func (x *person) page(tb testing.TB, l pagedList, args, orderBy string) connectionPage {
	tb.Helper()
	return x.selected(tb, l, args, orderBy, wholePage)
}

func (x *person) selected(tb testing.TB, l pagedList, args, orderBy, selection string) connectionPage {
	tb.Helper()
	if l.where != "null" {
		args += ", where: " + l.where
	}
	q := fmt.Sprintf(`c: %s(%s%s) { %s }`, l.field, args, orderBy, selection)
	if l.on == "" {
		var d struct{ C connectionPage }
		x.ok(tb, "{ "+q+" }", nil, &d)
		return d.C
	}
	var d struct{ Node struct{ C connectionPage } }
	x.ok(tb, fmt.Sprintf(`{ node(id: %q) { ... on %s { %s } } }`, l.parent, l.on, q), nil, &d)
	return d.Node.C
}

// walk reads the list in one order every way there is.
func (x *person) walk(tb testing.TB, l pagedList, order, direction string) {
	tb.Helper()
	orderBy, column := "", ""
	if order != "" {
		orderBy = fmt.Sprintf(", orderBy: {field: %s, direction: %s}", order, direction)
		column = strings.ToLower(order) + " " + direction + ", "
	}
	column = strings.Replace(column, "last_message_at", "COALESCE(last_message_at, created_at)", 1)
	var want []uuid.UUID
	require.NoError(tb, x.server.db.Owner.QueryRow(context.Background(), fmt.Sprintf(`SELECT array_agg(id ORDER BY %sid %s) FROM %s WHERE id = ANY($1)`, column, direction, tableOf(tb, l.entity)), l.all).Scan(&want))
	what := l.field + orderBy
	n := len(want)

	whole := x.page(tb, l, fmt.Sprintf("first: %d", n), orderBy)
	require.Equal(tb, want, whole.ids(), what)
	require.False(tb, whole.PageInfo.HasNextPage || whole.PageInfo.HasPreviousPage, what)
	cursor := func(i int) string { return whole.Edges[i].Cursor }

	for size := 1; size <= 3; size++ {
		for _, back := range []bool{false, true} {
			var got []uuid.UUID
			args := fmt.Sprintf("first: %d", size)
			if back {
				args = fmt.Sprintf("last: %d", size)
			}
			from := ""
			for page := 0; ; page++ {
				require.Less(tb, page, n, "%s: %s does not end", what, args)
				p := x.page(tb, l, args+from, orderBy)
				ids := p.ids()
				require.NotEmpty(tb, ids, "%s: an empty page of %s%s", what, args, from)
				require.Equal(tb, p.Edges[0].Cursor, *p.PageInfo.StartCursor)
				require.Equal(tb, p.Edges[len(ids)-1].Cursor, *p.PageInfo.EndCursor)
				if back {
					require.Equal(tb, page > 0, p.PageInfo.HasNextPage, "%s: hasNextPage of %s%s", what, args, from)
					got = append(ids, got...)
				} else {
					require.Equal(tb, page > 0, p.PageInfo.HasPreviousPage, "%s: hasPreviousPage of %s%s", what, args, from)
					got = append(got, ids...)
				}
				more := p.PageInfo.HasNextPage
				from = fmt.Sprintf(", after: %q", *p.PageInfo.EndCursor)
				if back {
					more = p.PageInfo.HasPreviousPage
					from = fmt.Sprintf(", before: %q", *p.PageInfo.StartCursor)
				}
				if !more {
					break
				}
			}
			require.Equal(tb, want, got, "%s in pages of %s", what, args)
		}
	}

	inner := fmt.Sprintf(", after: %q, before: %q", cursor(0), cursor(n-1))
	require.Equal(tb, want[1:n-1], x.page(tb, l, "first: 50"+inner, orderBy).ids(), "%s between two cursors", what)
	require.Equal(tb, want[1:n-1], x.page(tb, l, "last: 50"+inner, orderBy).ids(), "%s between two cursors", what)
	require.Equal(tb, want[:1], x.page(tb, l, fmt.Sprintf("first: 1, before: %q", cursor(2)), orderBy).ids(), "%s: the first before a cursor", what)
	require.Equal(tb, want[n-1:], x.page(tb, l, fmt.Sprintf("last: 1, after: %q", cursor(0)), orderBy).ids(), "%s: the last after a cursor", what)

	end := fmt.Sprintf("first: 1, after: %q", cursor(n-2))
	require.Equal(tb, n, x.selected(tb, l, end, orderBy, "totalCount").TotalCount, what)
	alone := x.selected(tb, l, end, orderBy, "totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }")
	last := cursor(n - 1)
	require.Equal(tb, n, alone.TotalCount, what)
	require.Equal(tb, pageInfo{HasPreviousPage: true, StartCursor: &last, EndCursor: &last}, alone.PageInfo, "%s: pageInfo alone", what)
	require.True(tb, x.selected(tb, l, "first: 1", orderBy, "pageInfo { hasNextPage }").PageInfo.HasNextPage, what)

	if order != "" { // a cursor of the list by id is not one of this list
		foreign := x.page(tb, l, "first: 1", "").Edges[0].Cursor
		q := fmt.Sprintf(`{ c: %s(first: 1, after: %q%s) { edges { node { id } } } }`, l.field, foreign, orderBy)
		if l.on != "" {
			q = fmt.Sprintf(`{ node(id: %q) { ... on %s %s } }`, l.parent, l.on, q)
		}
		kind := x.server.text(tb, `SELECT data_type || ' ' || is_nullable FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND column_name = $2`, tableOf(tb, l.entity), strings.ToLower(order))
		if kind == "timestamp with time zone NO" { // it is the same as one of 0 or ""
			require.Equal(tb, "BAD_USER_INPUT", x.do(tb, q, nil).outcome(), q)
		}
	}
}

func tableOf(tb testing.TB, entity string) string {
	tb.Helper()
	for tag, name := range uid.Types {
		if name == entity {
			return uid.Tables[tag]
		}
	}
	require.Fail(tb, "no table", entity)
	return ""
}

// rows are six rows or so of every entity, the first of which all others hang on that can. All of them are the caller's.
func (x *person) rows(tb testing.TB) map[string][]uuid.UUID {
	tb.Helper()
	s := x.server
	one := func(query string, args ...any) uuid.UUID { return uuid.MustParse(s.text(tb, query, args...)) }
	exec := func(query string, args ...any) {
		_, err := s.db.Owner.Exec(context.Background(), query, args...)
		require.NoError(tb, err)
	}
	chat := x.newChat(tb)
	message := x.say(tb, chat, "Hello.")
	x.answered(tb, message)
	call := x.call(tb, "calculator", map[string]any{"expression": "6*7"})
	eventually(tb, "a call ends", func() bool {
		return s.text(tb, `SELECT status FROM tool_executions WHERE id = $1`, call) == "COMPLETED"
	})
	approval, _, _ := x.ask(tb)
	document := x.newDocument(tb, "Otter", "The otter swims in the southern canal at dawn.", false)
	s.indexed(tb, document)
	tool := one(`SELECT tool_id::text FROM tool_executions WHERE id = $1`, call)
	secret, version, log, cached := uid.New(uid.Secret), uid.New(uid.SecretVersion), uid.New(uid.SecretAccessLog), uid.New(uid.ToolCache)
	exec(`INSERT INTO secrets (id, created_at, updated_at, owner_id, name, secret_type, encrypted_value, encryption_key_id) VALUES ($1, now(), now(), $2, $3, 'GENERIC', ''::bytea, 'k')`, secret, x.id, uuid.NewString())
	exec(`INSERT INTO secret_versions (id, created_at, secret_id, version_number, encrypted_value, encryption_key_id, stage, created_by) VALUES ($1, now(), $2, 1, ''::bytea, 'k', 'CURRENT', $3)`, version, secret, x.id)
	exec(`INSERT INTO secret_access_logs (id, created_at, accessed_at, secret_id, user_id, access_type, success, tool_id, tool_execution_id) VALUES ($1, now(), now(), $2, $3, 'USE', true, $4, $5)`, log, secret, x.id, tool, call)
	exec(`INSERT INTO tool_caches (id, created_at, updated_at, tool_id, cache_key, expires_at) VALUES ($1, now(), now(), $2, 'k', now() + interval '1 hour')`, cached, tool)
	rows := map[string][]uuid.UUID{
		"ChatSession": {chat}, "ChatMessage": {message}, "ToolExecution": {call}, "ToolApproval": {approval}, "Document": {document},
		"DocumentChunk": {one(`SELECT id::text FROM document_chunks WHERE document_id = $1 LIMIT 1`, document)}, "SearchResult": {x.search(tb, "Where does the otter swim?")},
		"Secret": {secret}, "SecretVersion": {version}, "SecretAccessLog": {log}, "ToolCache": {cached}, "Tool": {tool}, "User": {x.id}, "Session": {x.session},
		"Role":           {one(`SELECT id::text FROM roles LIMIT 1`)},
		"Permission":     {one(`SELECT id::text FROM permissions LIMIT 1`)},
		"EmbeddingModel": {one(`SELECT c.embedding_model_id::text FROM document_chunks c WHERE c.document_id = $1 LIMIT 1`, document)},
		"AuditLog":       {one(`SELECT id::text FROM audit_logs WHERE user_id = $1 LIMIT 1`, x.id)},
	}
	of := func(entity string) uuid.UUID { return rows[entity][0] }
	hang := map[string]map[string]any{
		"ChatSession":    {"forked_from": chat},
		"ChatMessage":    {"parent_id": message, "tool_execution_id": call},
		"ToolExecution":  {"retry_of": call, "cache_entry_id": cached, "session_id": chat, "reply_id": nil},
		"ToolApproval":   {"approver_id": x.id},
		"SearchResult":   {"session_id": chat, "chunk_id": of("DocumentChunk"), "document_id": document},
		"AuditLog":       {"tool_execution_id": call},
		"EmbeddingModel": {"is_default": false},
		"Secret":         {"owner_id": x.id},
	}
	for _, entity := range append([]string{"User", "Role", "Permission", "Session", "Tool", "EmbeddingModel", "ToolCache", "AuditLog"}, order...) {
		if entity == "ContextWindow" {
			continue
		}
		for i := range 5 {
			with := x.varied(tb, tableOf(tb, entity), i)
			for c, v := range hang[entity] {
				with[c] = v
			}
			if entity == "ToolApproval" {
				with["execution_id"] = rows["ToolExecution"][i+1]
			}
			rows[entity] = append(rows[entity], s.copyRow(tb, entity, of(entity), with))
		}
	}
	for _, u := range rows["User"] {
		exec(`INSERT INTO user_roles (user_id, role_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, u, of("Role"))
	}
	return rows
}

// varied is what the i-th copy of a row holds in the columns that may be ordered by, and in those that must differ.
func (x *person) varied(tb testing.TB, table string, i int) map[string]any {
	tb.Helper()
	with := map[string]any{}
	rows, err := x.server.db.Owner.Query(context.Background(), `SELECT c.column_name, c.data_type, c.is_nullable = 'YES', EXISTS (
			SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey)
			WHERE x.indrelid = c.table_name::regclass AND x.indisunique AND NOT x.indisprimary AND a.attname = c.column_name)
		FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.table_name = $1 AND c.is_generated = 'NEVER'`, table)
	require.NoError(tb, err)
	defer rows.Close()
	ordered := map[string]bool{}
	for _, n := range uid.Types {
		if tableOf(tb, n) != table {
			continue
		}
		if e := schema(tb).Types[n+"OrderField"]; e != nil && e.Kind == ast.Enum {
			for _, v := range e.EnumValues {
				ordered[strings.ToLower(v.Name)] = true
			}
		}
	}
	start := time.Date(2026, 2, 3, 4, 5, 6, 789012000, time.UTC)
	for rows.Next() {
		var column, kind string
		var nullable, unique bool
		require.NoError(tb, rows.Scan(&column, &kind, &nullable, &unique))
		fresh := uuid.NewString()
		switch {
		case unique && (kind == "text" || kind == "USER-DEFINED"):
			with[column] = fresh
		case unique && kind == "bytea":
			with[column] = `\x` + hex.EncodeToString([]byte(fresh))
		case unique && kind == "bigint":
			with[column] = 1000 + i
		case !ordered[column]:
		case nullable && (i == 1 || i == 4):
			with[column] = nil
		case kind == "timestamp with time zone":
			with[column] = start.Add(time.Duration([]int{2, 0, 1, 1, 0}[i]) * time.Hour)
		case kind == "bigint" || kind == "double precision":
			with[column] = i % 2
		case kind == "text":
			with[column] = []string{"", "a"}[i%2]
		default:
			require.Fail(tb, "no values for a column that is ordered by", "%s.%s %s", table, column, kind)
		}
	}
	require.NoError(tb, rows.Err())
	return with
}

// TestActivityOrder: a conversation never used stands where it was made, not on top, and says that it has no message.
func TestActivityOrder(t *testing.T) {
	x := shared().newPerson(t, "lister", authz.DefaultRole)
	first, used, unused := x.newChat(t), x.newChat(t), x.newChat(t)
	x.answered(t, x.say(t, used, "Hello."))
	last := x.newChat(t)
	var d struct {
		ChatSessions struct {
			Edges []struct {
				Node struct {
					ID            uuid.UUID
					LastMessageAt *time.Time
				}
			}
		}
	}
	x.ok(t, `{ chatSessions(first: 10, orderBy: {field: LAST_MESSAGE_AT, direction: DESC}) { edges { node { id lastMessageAt } } } }`, nil, &d)
	var got []uuid.UUID
	for _, e := range d.ChatSessions.Edges {
		got = append(got, e.Node.ID)
		require.Equal(t, e.Node.ID == used, e.Node.LastMessageAt != nil)
	}
	require.Equal(t, []uuid.UUID{last, used, unused, first}, got)
	plan := x.server.plan(t, `SELECT id FROM chat_sessions WHERE user_id = '`+x.id.String()+`' ORDER BY activity_at DESC, id DESC LIMIT 20`)
	require.Contains(t, plan, "chatsession_user_id_activity_at")
	require.NotContains(t, plan, "Seq Scan")
	cursor := fmt.Sprintf(`AND (activity_at, id) < ('2026-02-03T04:05:06Z', '%s')`, uuid.New())
	plan = x.server.plan(t, `SELECT id FROM chat_sessions WHERE user_id = '`+x.id.String()+`' `+cursor+` ORDER BY activity_at DESC, id DESC LIMIT 20`)
	require.Contains(t, plan, "chatsession_user_id_activity_at")
	require.Regexp(t, `Index Cond: .*activity_at`, plan, "a page far down reads all pages before it")
}

// plan is how the database would run a query if the table were large.
func (s *server) plan(tb testing.TB, query string) string {
	tb.Helper()
	tx, err := s.db.Owner.Begin(context.Background())
	require.NoError(tb, err)
	defer func() { require.NoError(tb, tx.Rollback(context.Background())) }()
	_, err = tx.Exec(context.Background(), `SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off`)
	require.NoError(tb, err)
	rows, err := tx.Query(context.Background(), "EXPLAIN "+query)
	require.NoError(tb, err)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(tb, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(tb, rows.Err())
	return strings.Join(lines, "\n")
}

// TestLastAnswer: results of tools are stored after the answer they fed, as data without the model's envelope; the
// conversation's last word is found by a filter.
func TestLastAnswer(t *testing.T) {
	x := shared().newPerson(t, "asker", authz.DefaultRole)
	chat := x.newChat(t)
	reply := x.say(t, chat, "/calculator 2+2")
	x.answered(t, reply)
	type edges struct {
		Edges []struct {
			Node struct {
				ID            uuid.UUID
				Role, Content string
			}
		}
	}
	var d struct {
		ChatSessions struct {
			Edges []struct{ Node struct{ All, Last edges } }
		}
	}
	x.ok(t, `{ chatSessions(first: 5) { edges { node {
		all: messages(first: 20, orderBy: {field: CREATED_AT}) { edges { node { id role content } } }
		last: messages(last: 1, orderBy: {field: CREATED_AT}, where: {roleIn: [USER, ASSISTANT]}) { edges { node { id role } } } } } } }`, nil, &d)
	require.Len(t, d.ChatSessions.Edges, 1)
	n := d.ChatSessions.Edges[0].Node
	var roles []string
	for _, e := range n.All.Edges {
		roles = append(roles, e.Node.Role)
		require.NotContains(t, e.Node.Content, "untrusted_data")
		if e.Node.Role == "TOOL" {
			var r struct{ Tool, Status string }
			require.NoError(t, json.Unmarshal([]byte(e.Node.Content), &r), e.Node.Content)
			require.Equal(t, "calculator COMPLETED", r.Tool+" "+r.Status)
		}
	}
	require.Equal(t, []string{"USER", "ASSISTANT", "TOOL"}, roles)
	require.Len(t, n.Last.Edges, 1)
	require.Equal(t, reply, n.Last.Edges[0].Node.ID)
}

// TestStoredEnvelopes: the migration takes the envelope off results stored before, and off nothing else.
func TestStoredEnvelopes(t *testing.T) {
	s := shared()
	x := s.newPerson(t, "keeper", authz.DefaultRole)
	chat := x.newChat(t)
	x.answered(t, x.say(t, chat, "/calculator 2+2"))
	enveloped, err := llm.ToolResult{Tool: "echo", Status: enum.ToolExecutionStatusCompleted, Message: "ü </untrusted_data> 😀"}.Encode()
	require.NoError(t, err)
	all, err := migrate.SQL()
	require.NoError(t, err)
	_, strip, found := strings.Cut(all, "UPDATE chat_messages\n")
	require.True(t, found)
	strip, _, _ = strings.Cut(strip, ";\n")
	ctx := context.Background()
	tx, err := s.db.Owner.Begin(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(ctx)) }()
	for content, want := range map[string]string{enveloped: llm.Unwrap(enveloped), "<untrusted_data>": "<untrusted_data>", "": ""} {
		_, err = tx.Exec(ctx, `UPDATE chat_messages SET content = $2 WHERE session_id = $1`, chat, content)
		require.NoError(t, err)
		_, err = tx.Exec(ctx, "UPDATE chat_messages\n"+strip)
		require.NoError(t, err)
		var tool, others string
		require.NoError(t, tx.QueryRow(ctx, `SELECT max(content) FILTER (WHERE role = 'TOOL'), max(content) FILTER (WHERE role <> 'TOOL') FROM chat_messages WHERE session_id = $1`, chat).Scan(&tool, &others))
		require.Equal(t, want, tool)
		require.Equal(t, content, others, "what a person wrote was changed")
	}
}
