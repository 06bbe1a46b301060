//go:build unix

package apitest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/authz"
)

// world is a server with people and with rows of one of them, other, which the rest have no part in.
type world struct {
	*server
	people []*person // anonymous first, then without a role, each seeded role, superuser
	other  *person
	// rows of other
	chat, message, execution, approval, document, public, result uuid.UUID
}

var numbers atomic.Int64

// newPerson makes an account with exactly these roles and signs in.
func (s *server) newPerson(tb testing.TB, name string, roles ...string) *person {
	tb.Helper()
	n := numbers.Add(1)
	x := &person{
		name: name, username: fmt.Sprintf("%s.%d", name, n), email: fmt.Sprintf("%s.%d@example.org", name, n),
		password: fmt.Sprintf("a %d winded otter on the quay", n), server: s, roles: roles,
	}
	keepOut(x.email, x.password)
	var d struct {
		CreateUser struct{ ID uuid.UUID }
	}
	first := roles
	if len(first) == 0 {
		first = []string{authz.DefaultRole}
	}
	s.root(tb).ok(tb, `mutation($in: CreateUserInput!) { createUser(input: $in) { id } }`,
		map[string]any{"in": map[string]any{"email": x.email, "username": x.username, "password": x.password, "roles": first}}, &d)
	if len(roles) == 0 {
		s.root(tb).ok(tb, `mutation($id: ID!, $role: String!) { unassignRole(userId: $id, role: $role) { id } }`, map[string]any{"id": d.CreateUser.ID, "role": authz.DefaultRole}, nil)
	}
	return x.login(tb)
}

// newSuperuser makes an account without a role that passes every check.
func (s *server) newSuperuser(tb testing.TB) *person {
	tb.Helper()
	x := s.newPerson(tb, "superuser")
	_, err := s.db.Owner.Exec(context.Background(), `UPDATE users SET is_superuser = true WHERE id = $1`, x.id)
	require.NoError(tb, err)
	x.superuser = true
	return x.login(tb)
}

var rootMu sync.Mutex

// root is the first administrator, signed in.
func (s *server) root(tb testing.TB) *person {
	tb.Helper()
	rootMu.Lock()
	defer rootMu.Unlock()
	if s.admin.token == "" {
		s.admin.username, s.admin.password, s.admin.roles = "admin", adminPassword, []string{authz.AdminRole}
		*s.admin = *s.admin.login(tb)
	}
	return s.admin
}

func newWorld(tb testing.TB, s *server) *world {
	tb.Helper()
	w := &world{server: s}
	w.people = append(w.people, &person{name: "anonymous", server: s}, s.newPerson(tb, "norole"))
	for _, r := range authz.Roles {
		w.people = append(w.people, s.newPerson(tb, r.Name, r.Name))
	}
	w.people = append(w.people, s.newSuperuser(tb))
	w.other = s.newPerson(tb, "other", authz.DefaultRole)
	w.chat = w.other.newChat(tb)
	w.message = w.other.say(tb, w.chat, "Hello.")
	w.execution = w.other.call(tb, "calculator", map[string]any{"expression": "6*7"})
	w.approval, _, _ = w.other.ask(tb)
	w.document = w.other.newDocument(tb, "Private heron", "The private heron nests in the northern reed bed.", false)
	w.public = w.other.newDocument(tb, "Public otter", "The public otter swims in the southern canal at dawn.", true)
	s.indexed(tb, w.document)
	s.indexed(tb, w.public)
	w.result = w.other.search(tb, "Where does the otter swim?")
	return w
}

// person of a name.
func (w *world) person(tb testing.TB, name string) *person {
	tb.Helper()
	i := slices.IndexFunc(w.people, func(x *person) bool { return x.name == name })
	require.GreaterOrEqual(tb, i, 0, "no one is called %s", name)
	return w.people[i]
}

// can is what the tables of package authz say of a person.
func (x *person) can(permission string) bool {
	if x.superuser {
		return true
	}
	for _, r := range authz.Roles {
		if slices.Contains(x.roles, r.Name) && slices.Contains(r.Holds, permission) {
			return true
		}
	}
	return false
}

func (x *person) newChat(tb testing.TB) uuid.UUID {
	tb.Helper()
	var d struct{ CreateChatSession struct{ ID uuid.UUID } }
	x.ok(tb, `mutation { createChatSession(input: {title: "Herons"}) { id } }`, nil, &d)
	return d.CreateChatSession.ID
}

// say sends a message and gives the answer's id.
func (x *person) say(tb testing.TB, chat uuid.UUID, text string) uuid.UUID {
	tb.Helper()
	var d struct {
		SendMessage struct{ Reply struct{ ID uuid.UUID } }
	}
	x.ok(tb, `mutation($in: SendMessageInput!) { sendMessage(input: $in) { reply { id } } }`, map[string]any{"in": map[string]any{"sessionId": chat, "content": text}}, &d)
	return d.SendMessage.Reply.ID
}

func (x *person) call(tb testing.TB, tool string, params map[string]any) uuid.UUID {
	tb.Helper()
	var d struct{ ExecuteTool struct{ ID uuid.UUID } }
	x.ok(tb, `mutation($in: ExecuteToolInput!) { executeTool(input: $in) { id } }`, map[string]any{"in": map[string]any{"tool": tool, "parameters": params}}, &d)
	return d.ExecuteTool.ID
}

// ask asks for a call that needs an approval: the request's id, the call's, the hash to name.
func (x *person) ask(tb testing.TB) (approval, execution uuid.UUID, hash string) {
	tb.Helper()
	id := x.call(tb, "http_request", map[string]any{"method": "GET", "url": fmt.Sprintf("http://127.0.0.1:1/%d", numbers.Add(1))})
	var d struct {
		Node struct {
			ArgsHash   string
			ApprovalID uuid.UUID
		}
	}
	x.ok(tb, `query($id: ID!) { node(id: $id) { ... on ToolExecution { argsHash approvalId } } }`, map[string]any{"id": id}, &d)
	return d.Node.ApprovalID, id, d.Node.ArgsHash
}

func (x *person) newDocument(tb testing.TB, title, text string, public bool) uuid.UUID {
	tb.Helper()
	var d struct{ CreateDocument struct{ ID uuid.UUID } }
	text = fmt.Sprintf("%s (%d)", text, numbers.Add(1))
	keepOut(text)
	x.ok(tb, `mutation($in: CreateDocumentInput!) { createDocument(input: $in) { id } }`, map[string]any{"in": map[string]any{"title": title, "content": text, "isPublic": public}}, &d)
	return d.CreateDocument.ID
}

func (s *server) indexed(tb testing.TB, id uuid.UUID) {
	tb.Helper()
	eventually(tb, "a document is indexed", func() bool { return s.text(tb, `SELECT status FROM documents WHERE id = $1`, id) == "INDEXED" })
}

// search gives the first hit's result.
func (x *person) search(tb testing.TB, query string) uuid.UUID {
	tb.Helper()
	var d struct {
		SearchDocuments struct {
			Hits []struct{ Result struct{ ID uuid.UUID } }
		}
	}
	x.ok(tb, `query($q: String!) { searchDocuments(input: {query: $q}) { hits { result { id } } } }`, map[string]any{"q": query}, &d)
	require.NotEmpty(tb, d.SearchDocuments.Hits)
	return d.SearchDocuments.Hits[0].Result.ID
}

// text reads one text from the database as its owner.
func (s *server) text(tb testing.TB, query string, args ...any) string {
	tb.Helper()
	var v string
	require.NoError(tb, s.db.Owner.QueryRow(context.Background(), query, args...).Scan(&v))
	return v
}

// fieldName is the second part of Type.field.
func fieldName(operation string) string {
	_, f, _ := strings.Cut(operation, ".")
	return f
}
