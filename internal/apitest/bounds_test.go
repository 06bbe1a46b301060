//go:build unix

package apitest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// often selects a field several times.
func often(n int, field string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d: %s", i, field)
	}
	return b.String()
}

// TestAnswerLimit: whatever way leads to large texts, and however often, an answer stays within its limit, in memory and
// on the wire, and says so.
func TestAnswerLimit(t *testing.T) {
	const limit = 64 << 10
	s := startServer(t, "CDSA_MAX_ANSWER=64KiB")
	x := s.newPerson(t, "alice", "analyst")
	id := x.newDocument(t, "Herons", "The heron nests in the reed bed.", false)
	s.indexed(t, id)
	for i := range 3 {
		other := x.newDocument(t, "Otters", fmt.Sprintf("The otter %d swims.", i), false)
		s.indexed(t, other)
	}
	exec := func(sql string, args ...any) {
		_, err := s.db.Owner.Exec(t.Context(), sql, args...)
		require.NoError(t, err)
	}
	exec(`UPDATE documents SET content = repeat('x', 40000)`)
	chat := x.newChat(t)
	x.say(t, chat, "Hello.")
	eventually(t, "it is answered", func() bool {
		return s.text(t, `SELECT count(*)::text FROM chat_messages WHERE session_id = $1 AND status = 'COMPLETED'`, chat) == "2"
	})
	exec(`UPDATE chat_messages SET content = repeat('y', 40000)`)

	within := func(t *testing.T, r reply) {
		t.Helper()
		require.Equal(t, "RESOURCE_EXHAUSTED", r.outcome(), "%s", r)
		require.Contains(t, r.Errors[0].Message, "65536 bytes")
		require.Less(t, len(r.body), 2*limit)
	}
	one := fmt.Sprintf(`node(id: %q) { ... on Document { content } }`, id)
	queries := map[string]string{
		"Aliases":    `{` + often(10, one) + ` }`,
		"Nodes":      fmt.Sprintf(`{ nodes(ids: [%q, %q]) { ... on Document { content } } }`, id, id),
		"Field":      fmt.Sprintf(`{ node(id: %q) { ... on Document {%s } } }`, id, often(10, "content")),
		"Name":       fmt.Sprintf(`{ documents { edges { node { %s: id } } } chatSessions { edges { node { %[1]s: id } } } }`, strings.Repeat("a", 20000)),
		"List":       `{ documents(first: 10) { edges { node { content } } } }`,
		"Hits":       `{ searchDocuments(input: {query: "heron otter", limit: 10}) { hits { document { content } } } }`,
		"Edges":      fmt.Sprintf(`{ node(id: %q) { ... on Document { chunks { edges { node {%s } } } } } }`, id, often(2, `document { content }`)),
		"Messages":   `{ chatSessions { edges { node { messages(first: 10) { edges { node { content } } } } } } }`,
		"Repeated":   fmt.Sprintf(`{ node(id: %q) { ... on ChatSession { messages(first: 1) { edges { node {%s } } } } } }`, chat, often(4, "content")),
		"NotCovered": `{ chatSessions(where: {titleNEQ: "-"}) { edges { node { messages(first: 10) { edges { node { content } } } } } } }`,
	}
	for name, q := range queries {
		t.Run(name, func(t *testing.T) { within(t, x.do(t, q, nil)) })
	}
	t.Run("Fits", func(t *testing.T) {
		r := x.do(t, `{ `+one+` }`, nil)
		require.Equal(t, "OK", r.outcome(), "%s", r)
		require.Greater(t, len(r.body), 40000)
	})
	t.Run("Websocket", func(t *testing.T) {
		ws := x.connect(t)
		within(t, ws.subscribe(t, queries["Field"], nil).reply(t))
	})
	t.Run("Stream", func(t *testing.T) {
		lines := x.streamed(t, queries["Field"])
		require.NotEmpty(t, lines)
		r := reply{body: []byte(lines[0])}
		require.NoError(t, json.Unmarshal(r.body, &r))
		within(t, r)
	})
	t.Run("Events", func(t *testing.T) {
		var d struct{ EventCursor string }
		x.ok(t, `{ eventCursor }`, nil, &d)
		o := x.connect(t).subscribe(t, `subscription($after: EventCursor) { documentEvents(after: $after) { cursor document {`+often(60, "content")+` } } }`, map[string]any{"after": d.EventCursor})
		x.newDocument(t, "Reeds", strings.Repeat("The reed bends in the wind. ", 100), false)
		var r reply
		for len(r.Errors) == 0 { // before it is indexed a document has no text
			r = o.reply(t)
		}
		within(t, r)
	})
}

func TestFilters(t *testing.T) {
	x := shared().person(t, "superuser")
	list := func(n int, of string) string { return "[" + strings.TrimSuffix(strings.Repeat(of+",", n), ",") + "]" }
	documents := func(where string) string {
		return fmt.Sprintf(`{ documents(where: %s) { edges { node { id } } } }`, where)
	}
	for name, c := range map[string]struct{ where, field string }{
		"Conditions": {`{or: ` + list(101, `{title: "x"}`) + `}`, "where.or.100.title"},
		"Values":     {`{titleIn: ` + list(1001, `"x"`) + `}`, "where.titleIn"},
		"Deep":       {strings.Repeat(`{not: `, 8) + `{title: "x"}` + strings.Repeat(`}`, 8), "where" + strings.Repeat(".not", 8)},
		"EmptyNot":   {`{not: {}}`, "where.not"},
		"EmptyOr":    {`{or: [{title: "x"}, {}]}`, "where.or.1"},
		"NoOr":       {`{or: []}`, "where.or"},
		"OnlyNull":   {`{and: [{title: null}]}`, "where.and.0"},
		"OnlyFalse":  {`{not: {requiredPermissionIsNil: false}}`, "where.not"},
	} {
		t.Run(name, func(t *testing.T) {
			r := x.do(t, documents(c.where), nil)
			require.Equal(t, "BAD_USER_INPUT", r.outcome(), "%s", r)
			require.Contains(t, r.Errors[0].Extensions.Fields, c.field)
		})
	}
	t.Run("Variable", func(t *testing.T) {
		const q = `query($w: DocumentWhereInput, $s: [Int!]) { documents(where: $w) { edges { node { id } } } viewer { chatSessions(where: {contextWindowSizeIn: $s}) { edges { node { id } } } } }`
		r := x.do(t, q, map[string]any{"w": map[string]any{"or": slices.Repeat([]any{map[string]any{"titleContainsFold": "x"}}, 20_000)}})
		require.Equal(t, "BAD_USER_INPUT", r.outcome(), "%s", r)
		r = x.do(t, q, map[string]any{"s": slices.Repeat([]int{1}, 70_000)})
		require.Equal(t, "BAD_USER_INPUT", r.outcome(), "%s", r)
	})
	count := func(where string) int {
		var d struct{ Documents struct{ Edges []any } }
		x.ok(t, documents(where), nil, &d)
		return len(d.Documents.Edges)
	}
	all := count(`{}`)
	require.NotZero(t, all)
	require.Zero(t, count(`{idIn: []}`))
	require.Zero(t, count(`{title: "Private heron", titleIn: []}`))
	require.Equal(t, all, count(`{idNotIn: []}`))
	require.Equal(t, all, count(`{idIn: null}`))
	require.Equal(t, all, count(`{or: `+list(100, `{titleNEQ: "x"}`)+`}`))
}

// TestVariablesAreCharged: many values cost, long texts hardly.
func TestVariablesAreCharged(t *testing.T) {
	x := shared().person(t, "analyst")
	const q = `query($v: [String!]) { viewer { id } nodes(ids: []) @skip(if: true) { id } searchDocuments(input: {query: "x", tags: $v}) @skip(if: true) { searchId } }`
	require.Greater(t, x.do(t, q, map[string]any{"v": slices.Repeat([]string{""}, 100_000)}).Extensions.Cost.Cost, 90)
	require.Less(t, x.do(t, q, map[string]any{"v": []string{strings.Repeat("x", 1<<20)}}).Extensions.Cost.Cost, 20)
}

func TestSubscription_OneRootField(t *testing.T) {
	x := shared().person(t, "analyst")
	ws := x.connect(t)
	for name, q := range map[string]string{
		"Two":     `subscription { a: documentEvents { cursor } b: documentEvents { cursor } }`,
		"Skipped": `subscription { documentEvents @skip(if: true) { cursor } }`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []reply{ws.subscribe(t, q, nil).reply(t), streamedReply(t, x, q)} {
				require.Equal(t, "GRAPHQL_VALIDATION_FAILED", r.outcome(), "%s", r)
				require.Equal(t, "A subscription has exactly one root field.", r.Errors[0].Message)
			}
		})
	}
}

func streamedReply(tb testing.TB, x *person, query string) reply {
	tb.Helper()
	lines := x.streamed(tb, query)
	require.NotEmpty(tb, lines)
	r := reply{body: []byte(lines[0])}
	require.NoError(tb, json.Unmarshal(r.body, &r))
	r.check(tb)
	return r
}

// TestByteOrderMark: a mark in front of a request is no part of it.
func TestByteOrderMark(t *testing.T) {
	x := shared().person(t, "analyst")
	r := raw{body: strings.NewReader("\ufeff" + `{"query": "{ viewer { id } }"}`)}.send(t, x)
	require.Equal(t, "OK", r.outcome(), "%s", r)
}

// TestStatementTimeout: a statement that the database does not get done is given up, and said to be.
func TestStatementTimeout(t *testing.T) {
	s := startServer(t, "CDSA_STATEMENT_TIMEOUT=2s")
	x := s.newPerson(t, "alice", "analyst")
	tx, err := s.db.Owner.Begin(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	_, err = tx.Exec(t.Context(), `LOCK TABLE embedding_models IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)
	start := time.Now()
	r := x.do(t, `{ embeddingModels { edges { node { id } } } }`, nil)
	require.Equal(t, "RESOURCE_EXHAUSTED", r.outcome(), "%s", r)
	require.Less(t, time.Since(start), waitLimit)
}
