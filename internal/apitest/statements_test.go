//go:build unix

package apitest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/pgtest"
	"cdsa.dev/cdsa/internal/uid"
)

// background are statements that a server executes whether anyone asks or not, or once for a request.
var background = regexp.MustCompile(`river_|outbox|pg_notify|LISTEN|^\s*(begin|commit|rollback)|subject_keys|SET last_activity|"sessions"|FROM sessions|pg_advisory|^;$`)

// counted are statements executed for an operation. It runs twice: the first time warms caches.
func (p *proxy) counted(tb testing.TB, x *person, query string, vars map[string]any) []string {
	tb.Helper()
	x.ok(tb, query, vars, nil)
	p.since()
	x.ok(tb, query, vars, nil)
	var l []string
	for _, sql := range p.since() {
		if !background.MatchString(sql) {
			l = append(l, sql)
		}
	}
	return l
}

// many inserts what a busy account has: n conversations of ten messages, each reporting a call; approvals, documents
// with chunks, search results.
func many(tb testing.TB, s *server, x *person, n int) {
	tb.Helper()
	ctx := context.Background()
	exec := func(sql string, args ...any) {
		tb.Helper()
		_, err := s.db.Owner.Exec(ctx, sql, args...)
		require.NoError(tb, err)
	}
	tool := s.text(tb, `SELECT id::text FROM tools WHERE name = 'calculator'`)
	model := s.text(tb, `SELECT id::text FROM embedding_models LIMIT 1`)
	for i := range n {
		chat, doc := uid.New(uid.ChatSession), uid.New(uid.Document)
		exec(`INSERT INTO chat_sessions (id, created_at, updated_at, user_id, title) VALUES ($1, now(), now(), $2, $3)`, chat, x.id, fmt.Sprint("Conversation ", i))
		exec(`INSERT INTO documents (id, created_at, updated_at, uploaded_by, title, source_type, content, content_hash) VALUES ($1, now(), now(), $2, $3, 'API', 'text', $4)`, doc, x.id, fmt.Sprint("Document ", i), doc.String())
		chunk := uid.New(uid.DocumentChunk)
		exec(`INSERT INTO document_chunks (id, created_at, document_id, chunk_index, content, embedding, embedding_model_id, owner_id) VALUES ($1, now(), $2, 0, 'text', array_fill(0.1, ARRAY[1536])::vector, $3, $4)`, chunk, doc, model, x.id)
		exec(`INSERT INTO search_results (id, created_at, query, query_embedding, chunk_id, relevance_score, rank, user_id, search_type, search_id, document_id) VALUES ($1, now(), 'q', array_fill(0.1, ARRAY[1536])::vector, $2, 1, 1, $3, 'HYBRID', $1, $4)`, uid.New(uid.SearchResult), chunk, x.id, doc)
		for range 10 {
			call := uid.New(uid.ToolExecution)
			exec(`INSERT INTO tool_executions (id, created_at, updated_at, tool_id, user_id, session_id, status, tool_version, args_hash, effective_risk, requires_approval) VALUES ($1, now(), now(), $2, $3, $4, 'COMPLETED', 1, '', 'LOW', true)`, call, tool, x.id, chat)
			exec(`INSERT INTO chat_messages (id, created_at, updated_at, session_id, user_id, tool_execution_id, role, status, content) VALUES ($1, now(), now(), $2, $3, $4, 'TOOL', 'COMPLETED', 'forty-two')`, uid.New(uid.ChatMessage), chat, x.id, call)
			if i%2 == 0 {
				exec(`INSERT INTO tool_approvals (id, created_at, updated_at, execution_id, user_id, expires_at, requested_at, required_approvals, args_hash, policy_version, requires_elevated_approval, decisions)
					VALUES ($1, now(), now(), $2, $3, now(), now(), 1, '', '', false, $4)`, uid.New(uid.ToolApproval), call, x.id, fmt.Sprintf(`[{"approverId": %q, "approved": true, "at": "2026-01-01T00:00:00Z"}]`, s.admin.id))
			}
		}
	}
}

// TestStatements: what one nested read costs the database, and that no read costs more for more rows.
func TestStatements(t *testing.T) {
	db := pgtest.New(t)
	p, through := between(t, db)
	s := startReplica(t, through)
	few, lots := s.newPerson(t, "few", "analyst"), s.newPerson(t, "lots", "analyst")
	many(t, s, few, 2)
	many(t, s, lots, 20)

	t.Run("TwentyConversations", func(t *testing.T) {
		l := p.counted(t, lots, `{ chatSessions(first: 20) { edges { node { id title messages(first: 10) { edges { node { id role content toolExecution { status tool { name } } } } } } } } }`, nil)
		require.LessOrEqual(t, len(l), 5, strings.Join(l, "\n\n"))
	})
	for name, query := range map[string]string{
		"Conversations":       `{ chatSessions(first: %d) { totalCount edges { node { id user { username } contextWindow { usagePercentage } messages(first: 3) { totalCount edges { node { id user { username } parent { id } citations { quote } toolExecution { id approval { id } tool { id name } } } } } } } } }`,
		"ConversationsFilter": `{ chatSessions(first: %d, where: {isActive: true}) { edges { node { messages(first: 3) { edges { node { id toolExecution { tool { name } } } } } } } } }`,
		"Calls":               `{ toolExecutions(first: %d) { edges { node { id parameters result tool { name } user { username } session { title } approval { id state } } } } }`,
		"Approvals":           `{ toolApprovals(first: %d) { edges { node { id state user { username } execution { id parameters tool { name } } } } } }`,
		"Documents":           `{ documents(first: %d) { edges { node { id title isPublic content uploader { username } chunks(first: 2) { edges { node { id } } } } } } }`,
		"Hits":                `{ searchResults(first: %d) { edges { node { id chunk { id document { title } } user { username } } } } }`,
		"Sessions":            `{ sessions(first: %d) { edges { node { id isCurrent user { username } } } } }`,
		"Activity":            `{ viewerActivity(first: %d) { edges { node { id action username user { username } toolExecution { id } } } } }`,
		"Viewer":              `{ viewer { roles { name permissions { name } } chatSessions(first: %d) { edges { node { title } } } documents(first: 2) { edges { node { title isPublic requiredPermission uploadedBy } } } } }`,
	} {
		t.Run(name, func(t *testing.T) {
			a := p.counted(t, few, fmt.Sprintf(query, 2), nil)
			b := p.counted(t, lots, fmt.Sprintf(query, 20), nil)
			require.LessOrEqual(t, len(b), len(a)+1, "more rows, more statements: %d for 2, %d for 20; the last is\n%s", len(a), len(b), last(b))
			require.LessOrEqual(t, len(b), 16)
		})
	}
	// Derived fields that ask for each row: one statement a row and no more, within what an operation may cost.
	for name, query := range map[string]string{
		"EventCursors": `{ chatSessions(first: %d) { edges { node { id eventCursor } } } }`,
		"ApprovalIDs":  `{ toolExecutions(first: %d) { edges { node { id approvalId } } } }`,
		"Decisions":    `{ toolApprovals(first: %d) { edges { node { id decisions { approved approver { username } } } } } }`,
		"ChunkCounts":  `{ documents(first: %d) { edges { node { id chunkCount } } } }`,
	} {
		t.Run(name, func(t *testing.T) {
			a := p.counted(t, few, fmt.Sprintf(query, 2), nil)
			b := p.counted(t, lots, fmt.Sprintf(query, 20), nil)
			require.LessOrEqual(t, len(b)-len(a), 18, last(b))
		})
	}
	t.Run("Nodes", func(t *testing.T) {
		rows, _ := s.rows(t, `SELECT id, user_id, true FROM chat_sessions WHERE user_id = ANY($1)`, lots.id)
		var ids []uuid.UUID
		for id := range rows {
			ids = append(ids, id)
		}
		l := p.counted(t, lots, `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": ids})
		require.LessOrEqual(t, len(l), 100, "at most one a node")
	})
}

// TestNestedPages selects, in a page within a page, every column and derived field there is: what is read for the
// directives and what is asked for must not get into each other's way.
func TestNestedPages(t *testing.T) {
	w := shared()
	x := w.person(t, "superuser")
	id := x.newDocument(t, "Nested", "A nested document.", false)
	w.indexed(t, id)
	x.ask(t)
	x.answered(t, x.say(t, x.newChat(t), "/calculator 2+2"))
	x.search(t, "Where does the otter swim?")
	s := schema(t)
	for edge, f := range edgesOf(s, "User") {
		inner := s.Types[s.Types[s.Types[f.Type.Name()].Fields.ForName("edges").Type.Name()].Fields.ForName("node").Type.Name()]
		t.Run(edge, func(t *testing.T) {
			var all []string
			for _, c := range inner.Fields {
				if len(c.Arguments) > 0 || s.Types[c.Type.Name()].Kind == ast.Object {
					continue
				}
				all = append(all, c.Name)
				x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { totalCount edges { node { %s } } } } }`, edge, c.Name), nil, nil)
			}
			x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { edges { node { %s } } } } }`, edge, strings.Join(all, " ")), nil, nil)
			for inside, g := range edgesOf(s, inner.Name) {
				x.ok(t, fmt.Sprintf(`{ viewer { %s(first: 2) { edges { node { %s %s(last: 2) { totalCount edges { node { id %s } } } } } } } }`,
					edge, strings.Join(all, " "), inside, scalars(s, g)), nil, nil)
			}
		})
	}
}

// edgesOf are a type's connections.
func edgesOf(s *ast.Schema, typ string) map[string]*ast.FieldDefinition {
	m := map[string]*ast.FieldDefinition{}
	for _, f := range s.Types[typ].Fields {
		if strings.HasSuffix(f.Type.Name(), "Connection") {
			m[f.Name] = f
		}
	}
	return m
}

// scalars are the fields of a connection's rows that need no selection.
func scalars(s *ast.Schema, f *ast.FieldDefinition) string {
	node := s.Types[s.Types[s.Types[f.Type.Name()].Fields.ForName("edges").Type.Name()].Fields.ForName("node").Type.Name()]
	var l []string
	for _, c := range node.Fields {
		if k := s.Types[c.Type.Name()].Kind; len(c.Arguments) == 0 && (k == ast.Scalar || k == ast.Enum) {
			l = append(l, c.Name)
		}
	}
	return strings.Join(l, " ")
}

func last(l []string) string {
	if len(l) == 0 {
		return ""
	}
	return l[len(l)-1]
}
