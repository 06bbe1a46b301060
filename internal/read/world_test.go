//go:build unix

package read_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/read"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// fill makes tools, conversations with messages and calls of all kinds of owners, and audit rows; times repeat, so that
// ties are broken.
func (w *world) fill(t *testing.T, rec *audit.Recorder) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 7))
	exec := func(sql string, args ...any) {
		_, err := w.kit.DB.Owner.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	toolID := uid.New(uid.Tool)
	exec(`INSERT INTO tools (id, created_at, updated_at, name, display_name, category, schema, risk_level, executor, hints) VALUES ($1, now(), now(), 'calculator', 'Calculator', 'DATA_ANALYSIS', '{"type":"object","n":1.5e3}', 'LOW', 'BUILTIN', NULL)`, toolID)
	start := time.Date(2026, 3, 29, 0, 30, 0, 123456000, time.UTC)
	at := func() time.Time { return start.Add(time.Duration(rnd.IntN(40)) * time.Hour) }
	for i := range 60 {
		owner := w.people[[]int{0, 0, 1, 2}[rnd.IntN(4)]]
		id := uid.New(uid.ChatSession)
		w.sessions = append(w.sessions, id)
		var last, archived *time.Time
		if rnd.IntN(4) > 0 {
			last = new(time.Time)
			*last = at()
		}
		if rnd.IntN(4) == 0 {
			archived = last
		}
		exec(`INSERT INTO chat_sessions (id, created_at, updated_at, user_id, title, model, temperature, is_active, last_message_at, system_prompt, sensitivity, archived_at, forked_from)
			VALUES ($1, $2, $3, $4, $5, 'offline', $6, $7, $8, $9, $10, $11, $12)`, id, at(), at(), owner.UserID, fmt.Sprintf("Title %d é\"\n", rnd.IntN(10)), rnd.Float64(), rnd.IntN(2) == 0, last,
			"prompt of "+owner.Username, pick(rnd, enum.Sensitivity("").Values()), archived, orNil(rnd, w.sessions[rnd.IntN(i+1)]))
		for range rnd.IntN(9) {
			w.message(t, rnd, id, owner, toolID, at())
		}
	}
	for i := range 60 {
		p := w.people[rnd.IntN(len(w.people))]
		e := audit.Entry{Action: enum.AuditAction(pick(rnd, []string{"DOCUMENT_READ", "LOGOUT", "DOCUMENT_SEARCHED"})), Resource: pick(rnd, []string{"Document", "Session"}), Failed: rnd.IntN(3) == 0}
		if i%2 == 0 {
			e.ResourceID, e.Details, e.Error = uid.New(uid.Document), map[string]any{"n": i, "deep": []any{"a", nil, 1.25}}, "FORBIDDEN"
		}
		ctx := authz.WithRequest(testkit.As(p), authz.Request{ID: fmt.Sprint("r", i), IP: "127.0.0.1", UserAgent: "test"})
		require.NoError(t, rec.Record(ctx, e))
	}
}

func (w *world) message(t *testing.T, rnd *rand.Rand, session uuid.UUID, owner *authz.Principal, toolID uuid.UUID, at time.Time) {
	t.Helper()
	var call *uuid.UUID
	if rnd.IntN(2) == 0 {
		call = new(uuid.UUID)
		*call = uid.New(uid.ToolExecution)
		requester := owner
		if rnd.IntN(4) == 0 {
			requester = w.people[1]
		}
		_, err := w.kit.DB.Owner.Exec(t.Context(), `INSERT INTO tool_executions (id, created_at, updated_at, status, parameters, result, error, error_code, execution_time_ms, requires_approval, started_at, tool_version, args_hash, effective_risk, session_id, tool_id, user_id)
			VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $2, 1, 'h', 'LOW', $10, $11, $12)`, *call, at, pick(rnd, enum.ToolExecutionStatus("").Values()), fmt.Sprintf(`{"n":%d}`, rnd.IntN(99)),
			pick(rnd, []string{`[1,"two",null]`, `"text"`, `42`, `{"a":{"b":true}}`}), orNil(rnd, "it broke"), orNil(rnd, "TIMEOUT"), orNil(rnd, rnd.IntN(1000)), rnd.IntN(2) == 0, session, toolID, requester.UserID)
		require.NoError(t, err)
	}
	_, err := w.kit.DB.Owner.Exec(t.Context(), `INSERT INTO chat_messages (id, created_at, updated_at, session_id, user_id, role, status, content, tokens, model, metadata, finish_reason, citations, tool_calls, is_pinned, error_code, attempt, tool_execution_id)
		VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, 'offline', $9, $10, $11, $12, $13, $14, $15, $16)`, uid.New(uid.ChatMessage), at, session, owner.UserID, pick(rnd, enum.MessageRole("").Values()),
		pick(rnd, enum.MessageStatus("").Values()), strings.Repeat("wörd ", rnd.IntN(900)), rnd.IntN(1<<40), orNil(rnd, `{"k":[1,2,{"x":null}]}`), orNil(rnd, "stop"), orNil(rnd, `[]`),
		orNil(rnd, `[{"id":"c1","name":"calculator"}]`), rnd.IntN(2) == 0, orNil(rnd, "MODEL_ERROR"), rnd.IntN(3), call)
	require.NoError(t, err)
}

func pick(rnd *rand.Rand, of []string) string { return of[rnd.IntN(len(of))] }

func orNil[T any](rnd *rand.Rand, v T) *T {
	if rnd.IntN(2) == 0 {
		return nil
	}
	return &v
}

// scalars are the fields of a type that are made of its own row, without arguments.
func scalars(t *testing.T, typ string, without ...string) (names []string) {
	t.Helper()
	def := generated.NewExecutableSchema(generated.Config{}).Schema().Types[typ]
	require.NotNil(t, def)
	for _, f := range def.Fields {
		kind := generated.NewExecutableSchema(generated.Config{}).Schema().Types[f.Type.Name()].Kind
		if (kind == "SCALAR" || kind == "ENUM") && !slices.Contains(without, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// TestReader_Random asks random selections of every scalar field, as everybody, both ways.
func TestReader_Random(t *testing.T) {
	w := newWorld(t)
	rnd := rand.New(rand.NewPCG(3, 1))
	some := func(names []string, always string) string {
		picked := []string{always}
		for _, n := range names {
			if rnd.IntN(3) == 0 {
				picked = append(picked, n)
			}
		}
		rnd.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
		return strings.Join(picked, " ")
	}
	order := func(fields ...string) string {
		if rnd.IntN(3) == 0 {
			return ""
		}
		return fmt.Sprintf(", orderBy: {field: %s, direction: %s}", pick(rnd, fields), pick(rnd, []string{"ASC", "DESC"}))
	}
	of := map[string][]string{"ChatSession": scalars(t, "ChatSession"), "ChatMessage": append(scalars(t, "ChatMessage"), "citations { documentId }"), "ToolExecution": scalars(t, "ToolExecution"), "Tool": scalars(t, "Tool"), "AuditLog": scalars(t, "AuditLog")}
	written := w.answers.Load()
	for range 150 {
		size := func() string { return fmt.Sprintf("%s: %d", pick(rnd, []string{"first", "last"}), 1+rnd.IntN(12)) }
		// ent selects just the columns of the fields, so what directives judge is always asked for here.
		call := "toolExecution { " + some(of["ToolExecution"], "userId requiresApproval") + " tool { " + some(of["Tool"], "id") + " } }"
		msgs := fmt.Sprintf("messages(%s%s) { edges { cursor node { %s } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }", size(), order("CREATED_AT", "UPDATED_AT"), some(append([]string{call}, of["ChatMessage"]...), "id"))
		chats := fmt.Sprintf("chatSessions(%s%s) { edges { cursor node { %s } } pageInfo { hasNextPage hasPreviousPage } }", size(), order("CREATED_AT", "UPDATED_AT", "TITLE", "LAST_MESSAGE_AT"), some(append([]string{msgs}, of["ChatSession"]...), "userId"))
		logs := fmt.Sprintf("auditLogs(%s%s) { edges { cursor node { %s } } pageInfo { hasNextPage } }", size(), order("CREATED_AT"), some(of["AuditLog"], "userId"))
		p := w.people[rnd.IntN(len(w.people))]
		_, n := w.same(t, p, "{ "+chats+" "+logs+" }")
		require.EqualValues(t, 2, n, "both lists are covered: %s", chats)
	}
	require.Greater(t, w.answers.Load()-written, int64(20), "some are written at once")
}

// TestReader_Directives: a field that is written at once, past the executor, is under no directive and takes no argument.
func TestReader_Directives(t *testing.T) {
	for typ, fields := range read.DirectFields() {
		def := generated.NewExecutableSchema(generated.Config{}).Schema().Types[typ]
		for _, name := range fields {
			f := def.Fields.ForName(name)
			require.NotNil(t, f, "%s.%s", typ, name)
			require.Empty(t, f.Directives, "%s.%s", typ, name)
			require.Empty(t, f.Arguments, "%s.%s", typ, name)
		}
	}
}
