//go:build unix

package apitest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/uid"
)

// operation is how a field of a root type is called, with arguments that are good for whoever may call it.
type operation struct {
	query string
	// vars makes what the call needs: rows of x's own where x may make them, else of someone else.
	vars func(tb testing.TB, w *world, x *person) map[string]any
	// happy may call it and does it; empty: the analyst
	happy string
	// anew: the call is made in a session of its own, which it ends
	anew bool
	// file: the call uploads one
	file bool
	// then mends what the call did to x
	then func(tb testing.TB, x *person)
}

// schema is the API as written.
func schema(tb testing.TB) *ast.Schema {
	tb.Helper()
	files, err := filepath.Glob("../../graph/schema/*.graphql")
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	var sources []*ast.Source
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(tb, err)
		sources = append(sources, &ast.Source{Name: f, Input: string(b)})
	}
	s, gerr := gqlparser.LoadSchema(sources...)
	require.NoError(tb, gerr)
	return s
}

// rootFields are Type.field of every operation, sorted, as the schema has them.
func rootFields(tb testing.TB) map[string]*ast.FieldDefinition {
	tb.Helper()
	s := schema(tb)
	m := map[string]*ast.FieldDefinition{}
	for _, def := range []*ast.Definition{s.Query, s.Mutation, s.Subscription} {
		for _, f := range def.Fields {
			if !strings.HasPrefix(f.Name, "__") {
				m[def.Name+"."+f.Name] = f
			}
		}
	}
	return m
}

func TestOperations_Complete(t *testing.T) {
	fields := rootFields(t)
	for name := range fields {
		require.Contains(t, operations, name, "an operation of the schema that no test calls")
	}
	for name := range operations {
		require.Contains(t, fields, name, "a row of an operation that the schema does not have")
	}
}

func list(field string) operation {
	return operation{query: `{ ` + field + `(first: 5) { totalCount edges { cursor node { id } } pageInfo { hasNextPage } } }`}
}

func fixed(vars map[string]any) func(testing.TB, *world, *person) map[string]any {
	return func(testing.TB, *world, *person) map[string]any { return vars }
}

func byID(id func(tb testing.TB, w *world, x *person) uuid.UUID) func(testing.TB, *world, *person) map[string]any {
	return func(tb testing.TB, w *world, x *person) map[string]any { return map[string]any{"id": id(tb, w, x)} }
}

// chatOf is a new conversation of x, or other's.
func chatOf(tb testing.TB, w *world, x *person) uuid.UUID {
	if x.can("chat:write") {
		return x.newChat(tb)
	}
	return w.chat
}

// newcomer is an account of someone new.
func newcomer(tb testing.TB, w *world, _ *person) uuid.UUID {
	return w.newPerson(tb, "newcomer", "analyst").id
}

// begins is a cursor of a former stream: whoever may subscribe is told at once that events were left out.
func begins(tb testing.TB) string {
	tb.Helper()
	c, err := event.NewCursors(cursorKey, func() uint64 { return 7 })
	require.NoError(tb, err)
	return string(c.Seal(1))
}

// decide is a request of other, who did not get an answer yet.
func decide(tb testing.TB, w *world, _ *person) map[string]any {
	id, _, hash := w.other.ask(tb)
	return map[string]any{"in": map[string]any{"approvalId": id, "argsHash": hash}}
}

const userFields = `{ accessToken refreshToken expiresAt session { id } user { id username } }`

var operations = map[string]operation{
	"Query.node": {query: `query($id: ID!) { node(id: $id) { id } }`, vars: byID(func(_ testing.TB, w *world, _ *person) uuid.UUID { return w.public })},
	"Query.nodes": {query: `query($ids: [ID!]!) { nodes(ids: $ids) { id } }`, vars: func(_ testing.TB, w *world, _ *person) map[string]any {
		return map[string]any{"ids": []uuid.UUID{w.public, w.document, uid.New(uid.Document)}}
	}},
	"Query.viewer":          {query: `{ viewer { id username email permissions roles { name } } }`},
	"Query.viewerCan":       {query: `{ viewerCan(resource: "chat", action: "read") }`},
	"Query.serverInfo":      {query: `{ serverInfo { version registration chatModels { name } oidcProviders { name } } }`},
	"Query.eventCursor":     {query: `{ eventCursor }`},
	"Query.users":           list("users"),
	"Query.roles":           list("roles"),
	"Query.permissions":     list("permissions"),
	"Query.sessions":        list("sessions"),
	"Query.chatSessions":    list("chatSessions"),
	"Query.tools":           list("tools"),
	"Query.toolExecutions":  list("toolExecutions"),
	"Query.toolApprovals":   list("toolApprovals"),
	"Query.auditLogs":       list("auditLogs"),
	"Query.viewerActivity":  list("viewerActivity"),
	"Query.documents":       list("documents"),
	"Query.searchResults":   list("searchResults"),
	"Query.embeddingModels": list("embeddingModels"),
	"Query.searchDocuments": {query: `{ searchDocuments(input: {query: "otter"}) { searchId hits { score document { id } chunk { id content } result { id } } exhausted } }`},

	"Mutation.register": {query: `mutation($in: RegisterInput!) { register(input: $in) ` + userFields + ` }`, vars: func(testing.TB, *world, *person) map[string]any {
		n := uid.New(uid.User).String()
		return map[string]any{"in": map[string]any{"email": n + "@example.org", "username": "r" + n, "password": "the tide comes in at " + n}}
	}},
	"Mutation.login": {query: `mutation($in: LoginInput!) { login(input: $in) ` + userFields + ` }`, vars: func(_ testing.TB, w *world, _ *person) map[string]any {
		return map[string]any{"in": map[string]any{"login": w.other.email, "password": w.other.password}}
	}},
	"Mutation.refreshSession": {query: `mutation($t: String!) { refreshSession(refreshToken: $t) ` + userFields + ` }`, vars: func(tb testing.TB, w *world, _ *person) map[string]any {
		return map[string]any{"t": w.other.login(tb).refresh}
	}},
	"Mutation.logout": {query: `mutation { logout }`, anew: true},
	"Mutation.revokeSession": {query: `mutation($id: ID!) { revokeSession(id: $id) { id isActive } }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		if x.token == "" {
			return w.other.session
		}
		return x.login(tb).session
	})},
	"Mutation.revokeOtherSessions": {query: `mutation { revokeOtherSessions }`, anew: true},
	"Mutation.createUser": {happy: "admin", query: `mutation($in: CreateUserInput!) { createUser(input: $in) { id } }`, vars: func(testing.TB, *world, *person) map[string]any {
		n := uid.New(uid.User).String()
		return map[string]any{"in": map[string]any{"email": n + "@example.org", "username": "c" + n, "password": "the tide goes out at " + n}}
	}},
	"Mutation.assignRole":   {happy: "admin", query: `mutation($id: ID!) { assignRole(userId: $id, role: "approver") { id } }`, vars: byID(newcomer)},
	"Mutation.unassignRole": {happy: "admin", query: `mutation($id: ID!) { unassignRole(userId: $id, role: "analyst") { id } }`, vars: byID(newcomer)},

	"Mutation.createChatSession": {query: `mutation { createChatSession(input: {title: "A"}) { id title } }`},
	"Mutation.updateChatSession": {query: `mutation($id: ID!) { updateChatSession(id: $id, input: {title: "B"}) { id title } }`, vars: byID(chatOf)},
	"Mutation.deleteChatSession": {query: `mutation($id: ID!) { deleteChatSession(id: $id) }`, vars: byID(chatOf)},
	"Mutation.sendMessage":       {query: `mutation($id: ID!) { sendMessage(input: {sessionId: $id, content: "Hello."}) { message { id } reply { id status } eventCursor } }`, vars: byID(chatOf)},
	"Mutation.cancelGeneration": {query: `mutation($id: ID!) { cancelGeneration(sessionId: $id) { id } }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		id := chatOf(tb, w, x)
		if x.can("chat:write") {
			x.say(tb, id, "What does the public otter do in the southern canal at dawn?")
		}
		return id
	})},

	"Mutation.executeTool": {query: `mutation { executeTool(input: {tool: "calculator", parameters: {expression: "1+1"}}) { id status } }`},
	"Mutation.cancelToolExecution": {query: `mutation($id: ID!) { cancelToolExecution(id: $id) { id status } }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		if x.can("tools:execute") {
			_, id, _ := x.ask(tb)
			return id
		}
		return w.execution
	})},
	"Mutation.approveToolExecution": {happy: "approver", query: `mutation($in: ApproveToolExecutionInput!) { approveToolExecution(input: $in) { id state } }`, vars: decide},
	"Mutation.rejectToolExecution": {happy: "approver", query: `mutation($in: RejectToolExecutionInput!) { rejectToolExecution(input: $in) { id state } }`, vars: func(tb testing.TB, w *world, x *person) map[string]any {
		v := decide(tb, w, x)
		v["in"].(map[string]any)["reason"] = "Not today."
		return v
	}},
	"Mutation.withdrawToolApproval": {query: `mutation($id: ID!) { withdrawToolApproval(id: $id) { id state } }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		if x.can("tools:execute") {
			id, _, _ := x.ask(tb)
			return id
		}
		return w.approval
	})},

	"Mutation.uploadDocument": {file: true, query: `mutation($input: UploadDocumentInput!) { uploadDocument(input: $input) { id title } }`, vars: fixed(map[string]any{"input": map[string]any{"file": nil, "title": "Uploaded"}})},
	"Mutation.createDocument": {query: `mutation($in: CreateDocumentInput!) { createDocument(input: $in) { id } }`, vars: func(testing.TB, *world, *person) map[string]any {
		return map[string]any{"in": map[string]any{"title": "Kingfisher", "content": "The kingfisher " + uuid.NewString() + " dives."}}
	}},
	"Mutation.deleteDocument": {query: `mutation($id: ID!) { deleteDocument(id: $id) }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		if x.can("documents:write") {
			return x.newDocument(tb, "Mine", "A document to delete.", false)
		}
		return w.document
	})},
	"Mutation.rateSearchResult": {query: `mutation($id: ID!) { rateSearchResult(id: $id, wasHelpful: true) { id wasHelpful } }`, vars: byID(func(tb testing.TB, w *world, x *person) uuid.UUID {
		if x.can("search:execute") {
			return x.search(tb, "Where does the otter swim?")
		}
		return w.result
	})},

	"Subscription.chatEvents": {query: `subscription($id: ID!, $after: EventCursor) { chatEvents(sessionId: $id, after: $after) { __typename ... on ChatGap { reason } } }`, vars: func(tb testing.TB, w *world, x *person) map[string]any {
		return map[string]any{"id": chatOf(tb, w, x), "after": begins(tb)}
	}},
	"Subscription.approvalEvents":      {query: `subscription($after: EventCursor) { approvalEvents(after: $after) { gap kind } }`, vars: after},
	"Subscription.toolExecutionEvents": {query: `subscription($after: EventCursor) { toolExecutionEvents(after: $after) { gap status } }`, vars: after},
	"Subscription.documentEvents":      {query: `subscription($after: EventCursor) { documentEvents(after: $after) { gap status } }`, vars: after},
}

func after(tb testing.TB, _ *world, _ *person) map[string]any {
	return map[string]any{"after": begins(tb)}
}

// run calls an operation as x and gives its outcome.
func (op operation) run(tb testing.TB, w *world, x *person) reply {
	tb.Helper()
	var vars map[string]any
	if op.vars != nil {
		vars = op.vars(tb, w, x)
	}
	if op.anew && x.token != "" {
		defer func(x *person) { *x = *x.login(tb) }(x)
		x = x.login(tb)
	}
	if op.then != nil {
		defer op.then(tb, x)
	}
	switch {
	case op.file:
		return x.upload(tb, op.query, vars, "heron.txt", "A heron of "+uuid.NewString())
	case strings.HasPrefix(op.query, "subscription"):
		s := x.connect(tb)
		defer s.close()
		var r reply
		if o := s.subscribe(tb, op.query, vars).outcome(tb); o != "OK" {
			r.Errors = slices.Grow(r.Errors, 1)[:1]
			r.Errors[0].Extensions.Code = o
		}
		return r
	}
	return x.do(tb, op.query, vars)
}
