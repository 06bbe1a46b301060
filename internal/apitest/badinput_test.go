//go:build unix

package apitest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/uid"
)

// answerLimit is how soon whatever was sent is answered.
const answerLimit = 2 * time.Second

// raw is a request that no well-behaved client sends.
type raw struct {
	method, path, contentType, accept string
	body                              io.Reader
	header                            map[string]string
	anonymous                         bool
}

func (q raw) send(tb testing.TB, x *person) reply {
	tb.Helper()
	method, path := cmp.Or(q.method, http.MethodPost), cmp.Or(q.path, "/graphql")
	req, err := http.NewRequestWithContext(tb.Context(), method, x.server.url+path, q.body)
	require.NoError(tb, err)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", cmp.Or(q.contentType, "application/json"))
	}
	req.Header.Set("Accept", cmp.Or(q.accept, "application/graphql-response+json"))
	if !q.anonymous {
		req.Header.Set("Authorization", "Bearer "+x.token)
	}
	for k, v := range q.header {
		req.Header.Set(k, v)
	}
	start := time.Now()
	r := send(tb, req)
	require.Less(tb, time.Since(start), answerLimit, "%s", r)
	return r
}

func jsonBody(query string) io.Reader {
	return strings.NewReader(fmt.Sprintf(`{"query": %q}`, query))
}

func TestBadRequests(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst")
	deep := strings.Repeat("{ children { edges { node ", 200) + "{ id }" + strings.Repeat(" } } }", 200)
	big := strings.Repeat("a", 20<<20)
	for name, c := range map[string]struct {
		raw
		code   string
		status int
	}{
		"Body20MB":           {raw{body: jsonBody("{ viewer { id } } # " + big)}, "RESOURCE_EXHAUSTED", 413},
		"Body20MBAnonymous":  {raw{body: jsonBody("{ viewer { id } } # " + big), anonymous: true}, "RESOURCE_EXHAUSTED", 413},
		"Body20MBUntold":     {raw{body: io.MultiReader(jsonBody("{ viewer { id } } # " + big))}, "RESOURCE_EXHAUSTED", 413},
		"Tokens100000":       {raw{body: jsonBody("{ viewer { " + strings.Repeat("id ", 100_000) + "} }")}, "RESOURCE_EXHAUSTED", 400},
		"Brackets100000":     {raw{body: jsonBody(strings.Repeat("{", 100_000))}, "GRAPHQL_PARSE_FAILED", 400},
		"Lists100000":        {raw{body: jsonBody("{ node(id: " + strings.Repeat("[", 100_000) + ") { id } }")}, "RESOURCE_EXHAUSTED", 400},
		"Depth200":           {raw{body: jsonBody(`{ node(id: "x") { ... on ChatMessage ` + deep + ` } }`)}, "RESOURCE_EXHAUSTED", 400},
		"Depth200InFragment": {raw{body: jsonBody(`{ node(id: "x") { ...F } } fragment F on ChatMessage ` + deep)}, "RESOURCE_EXHAUSTED", 400},
		"FragmentCycle":      {raw{body: jsonBody(`{ viewer { ...A } } fragment A on User { ...B } fragment B on User { ...A }`)}, "GRAPHQL_VALIDATION_FAILED", 400},
		"Aliases":            {raw{body: jsonBody("{ " + aliases("serverInfo { version }", 500) + " }")}, "RESOURCE_EXHAUSTED", 400},
		"NULInQuery":         {raw{body: strings.NewReader(`{"query": "{ viewer { id } } #\u0000"}`)}, "BAD_USER_INPUT", 400},
		"NULInVariable":      {raw{body: strings.NewReader(`{"query": "query($t: String!) { viewerCan(resource: $t, action: \"x\") }", "variables": {"t": "a\u0000b"}}`)}, "BAD_USER_INPUT", 400},
		"NULRaw":             {raw{body: strings.NewReader("{\"query\": \"{ viewer { id } } \x00\"}")}, "BAD_USER_INPUT", 400},
		"InvalidUTF8":        {raw{body: strings.NewReader("{\"query\": \"{ viewer { id } } # \xff\xfe\"}")}, "BAD_USER_INPUT", 400},
		"Empty":              {raw{body: strings.NewReader("")}, "BAD_USER_INPUT", 400},
		"NotJSON":            {raw{body: strings.NewReader("query { viewer { id } }")}, "BAD_USER_INPUT", 400},
		"Batch":              {raw{body: strings.NewReader(`[{"query": "{ viewer { id } }"}]`)}, "BAD_USER_INPUT", 400},
		"NoQuery":            {raw{body: strings.NewReader(`{}`)}, "BAD_USER_INPUT", 400},
		"EmptyQuery":         {raw{body: jsonBody("")}, "BAD_USER_INPUT", 400},
		"QueryIsNumber":      {raw{body: strings.NewReader(`{"query": 1}`)}, "BAD_USER_INPUT", 400},
		"VariablesAreList":   {raw{body: strings.NewReader(`{"query": "{ viewer { id } }", "variables": []}`)}, "BAD_USER_INPUT", 400},
		"DeepJSON":           {raw{body: strings.NewReader(`{"query": "{ viewer { id } }", "variables": ` + strings.Repeat(`{"a":`, 200_000) + `1` + strings.Repeat("}", 200_000) + `}`)}, "RESOURCE_EXHAUSTED", 400},
		"UnknownOperation":   {raw{body: strings.NewReader(`{"query": "query A { viewer { id } }", "operationName": "B"}`)}, "GRAPHQL_VALIDATION_FAILED", 400},
		"Syntax":             {raw{body: jsonBody("{ viewer { id }")}, "GRAPHQL_PARSE_FAILED", 400},
		"UnknownField":       {raw{body: jsonBody("{ viewer { hashedPassword } }")}, "GRAPHQL_VALIDATION_FAILED", 400},
		"SecretField":        {raw{body: jsonBody("{ sessions { edges { node { token refreshToken } } } }")}, "GRAPHQL_VALIDATION_FAILED", 400},
		"PersistedUnknown":   {raw{body: strings.NewReader(`{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "` + strings.Repeat("0", 64) + `"}}}`)}, "PERSISTED_QUERY_NOT_FOUND", 400},
		"Form":               {raw{body: strings.NewReader("query=%7Bviewer%7Bid%7D%7D"), contentType: "application/x-www-form-urlencoded"}, "BAD_USER_INPUT", 415},
		"Text":               {raw{body: jsonBody("{ viewer { id } }"), contentType: "text/plain"}, "BAD_USER_INPUT", 415},
		"MultipartSimple":    {raw{body: strings.NewReader("--x\r\n\r\n--x--"), contentType: "multipart/form-data; boundary=x"}, "BAD_USER_INPUT", 400},
		"MutationOverGET":    {raw{method: http.MethodGet, path: "/graphql?query=mutation%7Blogout%7D"}, "BAD_USER_INPUT", 405},
		"PUT":                {raw{method: http.MethodPut, body: jsonBody("{ viewer { id } }")}, "BAD_USER_INPUT", 405},
		"ForeignOrigin":      {raw{method: http.MethodGet, path: "/graphql?query=%7Bviewer%7Bid%7D%7D", header: map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}}, "FORBIDDEN", 403},
	} {
		t.Run(name, func(t *testing.T) {
			r := c.raw.send(t, x)
			require.Equal(t, c.code, r.outcome(), "%s", r)
			require.Equal(t, c.status, r.status, "%s", r)
		})
	}
}

func aliases(field string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "a%d: %s ", i, field)
	}
	return b.String()
}

// identifiers are the arguments that name rows: operation, path in its variables, what it names, a row of other.
var identifiers = []struct {
	operation string
	path      string
	tag       uid.Tag
	others    func(w *world) uuid.UUID
	hidden    string // outcome for other's row; OK is for what is left out without a word
}{
	{"Mutation.revokeSession", "id", uid.Session, func(w *world) uuid.UUID { return w.other.session }, "NOT_FOUND"},
	{"Mutation.updateChatSession", "id", uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
	{"Mutation.deleteChatSession", "id", uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
	{"Mutation.sendMessage", "id", uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
	{"Mutation.cancelGeneration", "id", uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
	{"Mutation.cancelToolExecution", "id", uid.ToolExecution, func(w *world) uuid.UUID { return w.execution }, "NOT_FOUND"},
	{"Mutation.approveToolExecution", "in.approvalId", uid.ToolApproval, nil, ""},
	{"Mutation.rejectToolExecution", "in.approvalId", uid.ToolApproval, nil, ""},
	{"Mutation.withdrawToolApproval", "id", uid.ToolApproval, func(w *world) uuid.UUID { return w.approval }, "NOT_FOUND"},
	{"Mutation.deleteDocument", "id", uid.Document, func(w *world) uuid.UUID { return w.document }, "NOT_FOUND"},
	{"Mutation.rateSearchResult", "id", uid.SearchResult, func(w *world) uuid.UUID { return w.result }, "NOT_FOUND"},
	{"Mutation.assignRole", "id", uid.User, nil, ""},
	{"Mutation.unassignRole", "id", uid.User, nil, ""},
	{"Subscription.chatEvents", "id", uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
}

// more are identifiers in arguments that the operations' rows do not use.
var more = map[string]struct {
	query  string
	tag    uid.Tag
	others func(w *world) uuid.UUID
	hidden string
}{
	"sendMessage.documentIds":     {`mutation($id: ID!, $chat: ID!) { sendMessage(input: {sessionId: $chat, content: "Hello.", documentIds: [$id]}) { reply { id } } }`, uid.Document, func(w *world) uuid.UUID { return w.document }, ""},
	"searchDocuments.documentIds": {`query($id: ID!) { searchDocuments(input: {query: "heron", documentIds: [$id]}) { hits { rank } } }`, uid.Document, func(w *world) uuid.UUID { return w.document }, "OK"},
	"searchDocuments.sessionId":   {`query($id: ID!) { searchDocuments(input: {query: "heron", sessionId: $id}) { hits { rank } } }`, uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
	"executeTool.sessionId":       {`mutation($id: ID!) { executeTool(input: {tool: "calculator", parameters: {expression: "1"}, sessionId: $id}) { id } }`, uid.ChatSession, func(w *world) uuid.UUID { return w.chat }, "NOT_FOUND"},
}

func replaced(vars map[string]any, path string, v any) map[string]any {
	out := maps.Clone(vars)
	head, tail, nested := strings.Cut(path, ".")
	if nested {
		out[head] = replaced(vars[head].(map[string]any), tail, v)
	} else {
		out[head] = v
	}
	return out
}

func TestBadIdentifiers(t *testing.T) {
	w := shared()
	listed := map[string]bool{}
	for _, c := range identifiers {
		listed[c.operation] = true
		t.Run(fieldName(c.operation), func(t *testing.T) {
			op := operations[c.operation]
			x := w.person(t, cmp.Or(op.happy, "analyst"))
			vars := op.vars(t, w, x)
			try := func(id any) string {
				bad := op
				bad.vars = fixed(replaced(vars, c.path, id))
				start := time.Now()
				defer func() { require.Less(t, time.Since(start), answerLimit) }()
				return bad.run(t, w, x).outcome()
			}
			other := uid.Document
			if c.tag == uid.Document {
				other = uid.User
			}
			require.Equal(t, "BAD_USER_INPUT", try(uid.New(other)), "the id of another entity")
			require.Equal(t, "BAD_USER_INPUT", try(uuid.New()), "an id that no entity has")
			require.Equal(t, "BAD_USER_INPUT", try(uuid.Nil))
			for _, junk := range []any{"x", "", 1, true, []any{}, map[string]any{}, strings.Repeat("0", 5000), "' OR 1=1 --"} {
				require.Contains(t, []string{"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}, try(junk), "%v", junk)
			}
			require.Equal(t, "NOT_FOUND", try(uid.New(c.tag)), "an id of nothing")
			if c.others != nil {
				require.Equal(t, c.hidden, try(c.others(w)), "a row of someone else")
			}
		})
	}
	for name, op := range operations { // none is forgotten
		if strings.Contains(op.query, "$id: ID!") && name != "Query.node" && name != "Mutation.revokeInvitation" || strings.Contains(op.query, "approvalId") {
			require.True(t, listed[name], "%s takes an id and is not in the table", name)
		}
	}
	for id, code := range map[string]string{uuid.NewString(): "NOT_FOUND", uid.New(uid.User).String(): "NOT_FOUND", uuid.Nil.String(): "NOT_FOUND", "x": "BAD_USER_INPUT"} {
		r := w.root(t).do(t, operations["Mutation.revokeInvitation"].query, map[string]any{"id": id}) // of no entity: its ids have no tag
		require.Equal(t, code, r.outcome(), "%s: %s", id, r)
	}
	x := w.person(t, "analyst")
	for name, c := range more {
		t.Run(name, func(t *testing.T) {
			try := func(id any) reply {
				return x.do(t, c.query, map[string]any{"id": id, "chat": x.newChat(t)})
			}
			require.Equal(t, "BAD_USER_INPUT", try(uid.New(uid.User)).outcome())
			require.Equal(t, "BAD_USER_INPUT", try(uuid.New()).outcome())
			r := try(c.others(w))
			if c.hidden != "" {
				require.Equal(t, c.hidden, r.outcome(), "%s", r)
			}
			require.NotContains(t, string(r.body), "northern", "a document of someone else")
			unknown := try(uid.New(c.tag))
			require.Equal(t, r.outcome(), unknown.outcome(), "hidden and absent are not told apart")
		})
	}
}

// TestHiddenAndAbsent: a hidden row is answered to the letter as one that does not exist.
func TestHiddenAndAbsent(t *testing.T) {
	w := shared()
	x := w.person(t, "analyst")
	for name, ids := range map[string][2]uuid.UUID{
		"User": {w.other.id, uid.New(uid.User)}, "Session": {w.other.session, uid.New(uid.Session)}, "ChatSession": {w.chat, uid.New(uid.ChatSession)},
		"ChatMessage": {w.message, uid.New(uid.ChatMessage)}, "ToolExecution": {w.execution, uid.New(uid.ToolExecution)}, "ToolApproval": {w.approval, uid.New(uid.ToolApproval)},
		"Document": {w.document, uid.New(uid.Document)}, "SearchResult": {w.result, uid.New(uid.SearchResult)}, "AuditLog": {w.oneID(t, "audit_logs"), uid.New(uid.AuditLog)},
		"Role": {w.oneID(t, "roles"), uid.New(uid.Role)}, "Permission": {w.oneID(t, "permissions"), uid.New(uid.Permission)}, "DocumentChunk": {w.chunkOf(t, w.document), uid.New(uid.DocumentChunk)},
	} {
		hidden, absent := x.do(t, operations["Query.node"].query, map[string]any{"id": ids[0]}), x.do(t, operations["Query.node"].query, map[string]any{"id": ids[1]})
		require.JSONEq(t, `{"node": null}`, string(hidden.Data), name)
		require.Equal(t, absent.answer(), hidden.answer(), name)
	}
	junk := x.do(t, `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": []uuid.UUID{w.chat, uuid.Nil, uuid.New(), uid.New(uid.Tool)}})
	require.JSONEq(t, `{"nodes": [null, null, null, null]}`, string(junk.Data))
	many := make([]uuid.UUID, 101)
	require.Equal(t, "BAD_USER_INPUT", x.do(t, `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, map[string]any{"ids": many}).outcome())
}

func (s *server) oneID(tb testing.TB, table string) uuid.UUID {
	tb.Helper()
	return uuid.MustParse(s.text(tb, `SELECT id::text FROM `+table+` LIMIT 1`))
}

func (s *server) chunkOf(tb testing.TB, document uuid.UUID) uuid.UUID {
	tb.Helper()
	return uuid.MustParse(s.text(tb, `SELECT id::text FROM document_chunks WHERE document_id = $1 LIMIT 1`, document))
}

// TestBadPages: sizes and cursors of lists, at the root and below.
func TestBadPages(t *testing.T) {
	w := shared()
	x := w.person(t, "superuser") // who passes every permission, so that the list itself answers
	nested := map[string]string{
		"ChatSession.messages":      `{ node(id: "` + x.newChat(t).String() + `") { ... on ChatSession { messages(%s) { totalCount edges { node { id } } } } } }`,
		"User.chatSessions":         `{ viewer { chatSessions(%s) { totalCount edges { node { id } } } } }`,
		"Document.chunks":           `{ node(id: "` + w.public.String() + `") { ... on Document { chunks(%s) { totalCount edges { node { id } } } } } }`,
		"ChatSession.messages.list": `{ chatSessions(first: 2) { edges { node { messages(%s) { totalCount edges { node { id } } } } } } }`,
	}
	for name, op := range operations {
		if strings.Contains(op.query, "(first: 5)") {
			nested[name] = strings.Replace(op.query, "(first: 5)", "(%s)", 1)
		}
	}
	b64 := base64.StdEncoding.EncodeToString
	for name, query := range nested {
		t.Run(name, func(t *testing.T) {
			for _, arguments := range []string{
				"first: -1", "last: -1", "first: -2147483648", "first: 2147483647", "first: 101", "last: 5000", "first: 9223372036854775807", "first: 99999999999999999999", "first: 1.5", `first: "5"`,
				`after: "x"`, `after: ""`, `before: "x"`, `after: "` + b64([]byte("garbage")) + `"`, `after: "` + b64([]byte{0xff, 0xff, 0xff}) + `"`, `after: "` + b64([]byte("\x82\xa1i\xc4\x10")) + `"`,
				`after: "` + b64([]byte(`{"i":"x","v":1}`)) + `"`, `after: "` + strings.Repeat("A", 9000) + `"`, `after: 5`, `after: ["x"]`, "first: 5, last: 5",
			} {
				start := time.Now()
				r := x.do(t, fmt.Sprintf(query, arguments), nil)
				require.Less(t, time.Since(start), answerLimit, arguments)
				require.Contains(t, []string{"BAD_USER_INPUT", "RESOURCE_EXHAUSTED", "GRAPHQL_VALIDATION_FAILED"}, r.outcome(), "%s: %s", arguments, r)
			}
		})
	}
	t.Run("CursorOfAnotherList", func(t *testing.T) {
		var d struct {
			Tools struct{ Edges []struct{ Cursor string } }
			Users struct{ Edges []struct{ Cursor string } }
		}
		x.ok(t, `{ tools(first: 1, orderBy: {field: NAME, direction: ASC}) { edges { cursor } } users(first: 1, orderBy: {field: USERNAME, direction: DESC}) { edges { cursor } } }`, nil, &d)
		for _, q := range []string{
			`query($c: Cursor) { users(first: 1, after: $c) { edges { cursor } } }`,
			`query($c: Cursor) { users(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } }`,
			`query($c: Cursor) { tools(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } }`,
			`query($c: Cursor) { auditLogs(first: 1, before: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } }`,
		} {
			for _, c := range []string{d.Tools.Edges[0].Cursor, d.Users.Edges[0].Cursor} {
				r := x.do(t, q, map[string]any{"c": c})
				require.Contains(t, []string{"BAD_USER_INPUT", "OK"}, r.outcome(), "%s", r)
			}
		}
		x.ok(t, `mutation { createChatSession(input: {title: "A"}) { messages(first: 1) { edges { cursor } } user { id } } }`, nil, nil)
		// Below the root it is the caller's mistake as well, wherever in the answer the list is read.
		for _, q := range []string{
			`query($c: Cursor) { viewer { chatSessions(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } } }`,
			`query($c: Cursor) { viewer { documents(first: 1, after: $c) { edges { cursor } } } }`,
			`query($c: Cursor) { a: viewer { ...f } } fragment f on User { toolExecutions(first: 1, before: $c, orderBy: {field: CREATED_AT, direction: DESC}) { totalCount edges { node { id } } } }`,
			`query($c: Cursor) { users(first: 2) { edges { node { chatSessions(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } } } } }`,
			`query($c: Cursor) { node(id: "` + w.public.String() + `") { ... on Document { uploader { documents(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } } } } }`,
			`mutation($c: Cursor) { createChatSession(input: {title: "A"}) { messages(first: 1, after: $c, orderBy: {field: CREATED_AT, direction: ASC}) { edges { cursor } } } }`,
		} {
			r := x.do(t, q, map[string]any{"c": d.Users.Edges[0].Cursor})
			require.Equal(t, "BAD_USER_INPUT", r.outcome(), "%s: %s", q, r)
		}
	})
}

// TestBadEventCursors: only what this installation sealed is taken for a position.
func TestBadEventCursors(t *testing.T) {
	w := shared()
	x := w.person(t, "superuser")
	other, err := event.NewCursors(keyOf("another"), func() uint64 { return 7 })
	require.NoError(t, err)
	good := begins(t)
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		op := operations[name]
		if !strings.HasPrefix(name, "Subscription.") {
			continue
		}
		t.Run(fieldName(name), func(t *testing.T) {
			s := x.connect(t)
			defer s.close()
			vars := op.vars(t, w, x)
			for _, c := range []any{"x", "0", "12345", good[:len(good)-1], good + "A", strings.ToUpper(good), string(other.Seal(1)), strings.Repeat("A", 100_000), 1, true, []any{}} {
				start := time.Now()
				got := s.subscribe(t, op.query, replaced(vars, "after", c)).outcome(t)
				require.Less(t, time.Since(start), answerLimit)
				require.Contains(t, []string{"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}, got, "%.40v", c)
			}
		})
	}
}

// TestBadValues puts values of every wrong kind in every variable of every operation: each is answered with a sentence,
// and none is a fault of the server.
func TestBadValues(t *testing.T) {
	w := shared()
	x := w.person(t, "superuser")
	long := strings.Repeat("🦦", 50_000)
	values := []any{nil, true, 7, -1, 1.5, 1e300, "", " ", long, "\u202e\u0007", []any{nil}, []any{[]any{}}, map[string]any{}, map[string]any{"a": map[string]any{"b": nil}}}
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		op := operations[name]
		if op.vars == nil || op.anew || op.file || strings.HasPrefix(name, "Subscription.") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			x := x
			if op.then != nil { // the call, or its preparation, changes who calls
				x = w.newSuperuser(t)
			}
			good := op.vars(t, w, x)
			for _, path := range paths("", good) {
				for _, v := range values {
					start := time.Now()
					x.do(t, op.query, replaced(good, path, v)) // do holds the answer to its form
					require.Less(t, time.Since(start), answerLimit, "%s = %.40v", path, v)
				}
			}
		})
	}
}

func paths(prefix string, m map[string]any) []string {
	var l []string
	for k, v := range m {
		l = append(l, prefix+k)
		if inner, ok := v.(map[string]any); ok {
			l = append(l, paths(prefix+k+".", inner)...)
		}
	}
	slices.Sort(l)
	return l
}
