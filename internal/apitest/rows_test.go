//go:build unix

package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/uid"
)

// exhibit is a row that everyone tries to see.
type exhibit struct {
	entity, label string
	id            uuid.UUID
}

// rootLists are the entities that a root field lists.
var rootLists = map[string]string{
	"User": "users", "Role": "roles", "Permission": "permissions", "Session": "sessions", "ChatSession": "chatSessions", "Tool": "tools",
	"ToolExecution": "toolExecutions", "ToolApproval": "toolApprovals", "AuditLog": "auditLogs", "Document": "documents",
	"SearchResult": "searchResults", "EmbeddingModel": "embeddingModels",
}

// ownership is what makes a row someone's, and what must differ in a second row.
var ownership = map[string]func(x *person, own map[string]uuid.UUID) map[string]any{
	"ChatSession": func(x *person, _ map[string]uuid.UUID) map[string]any { return map[string]any{"user_id": x.id} },
	"ChatMessage": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"user_id": x.id, "session_id": own["ChatSession"], "tool_execution_id": nil, "parent_id": nil, "idempotency_key": nil}
	},
	"ContextWindow": func(_ *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"session_id": own["ChatSession"]}
	},
	"ToolExecution": func(x *person, _ map[string]uuid.UUID) map[string]any {
		return map[string]any{"user_id": x.id, "session_id": nil, "idempotency_key": nil, "reply_id": nil, "call_id": nil}
	},
	"ToolApproval": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"user_id": x.id, "execution_id": own["ToolExecution"]}
	},
	"Secret": func(x *person, _ map[string]uuid.UUID) map[string]any { return map[string]any{"owner_id": x.id} },
	"SecretVersion": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"secret_id": own["Secret"], "created_by": x.id}
	},
	"SecretAccessLog": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"secret_id": own["Secret"], "user_id": x.id}
	},
	"Document": func(x *person, _ map[string]uuid.UUID) map[string]any {
		return map[string]any{"uploaded_by": x.id, "is_public": false, "required_permission": nil}
	},
	"DocumentChunk": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"owner_id": x.id, "document_id": own["Document"], "is_public": false, "required_permission": nil}
	},
	"SearchResult": func(x *person, own map[string]uuid.UUID) map[string]any {
		return map[string]any{"user_id": x.id, "session_id": nil, "document_id": own["Document"], "chunk_id": own["DocumentChunk"]}
	},
}

// order is the order in which rows that hang on others are made.
var order = []string{"ChatSession", "ChatMessage", "ContextWindow", "ToolExecution", "ToolApproval", "Secret", "SecretVersion", "SecretAccessLog", "Document", "DocumentChunk", "SearchResult"}

// copyRow makes a row like another, of the owner of the database, with some columns set.
func (s *server) copyRow(tb testing.TB, entity string, like uuid.UUID, with map[string]any) uuid.UUID {
	tb.Helper()
	var t uid.Tag
	for tag, name := range uid.Types {
		if name == entity {
			t = tag
		}
	}
	id := uid.New(t)
	with = maps.Clone(with)
	with["id"] = id
	set, err := json.Marshal(with)
	require.NoError(tb, err)
	columns := s.text(tb, `SELECT string_agg(quote_ident(column_name), ', ') FROM information_schema.columns
		WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'`, uid.Tables[t])
	_, err = s.db.Owner.Exec(context.Background(), fmt.Sprintf(`INSERT INTO %[1]s (%[2]s) SELECT %[2]s FROM (
		SELECT (jsonb_populate_record(NULL::%[1]s, to_jsonb(t) || $2::jsonb)).* FROM %[1]s t WHERE id = $1) x`, uid.Tables[t], columns), like, string(set))
	require.NoError(tb, err, "a row of %s", entity)
	return id
}

// exhibits are rows of all entities: of other, public ones and ones open to a permission, and rows of each person's own.
func exhibits(tb testing.TB, w *world) (shown []exhibit, own map[*person][]exhibit) {
	tb.Helper()
	o := w.other
	one := func(query string, args ...any) uuid.UUID { return uuid.MustParse(w.text(tb, query, args...)) }
	theirs := map[string]uuid.UUID{
		"User": o.id, "Session": o.session, "ChatSession": w.chat, "ChatMessage": w.message, "ToolExecution": w.execution, "ToolApproval": w.approval,
		"Document": w.document, "DocumentChunk": one(`SELECT id::text FROM document_chunks WHERE document_id = $1 LIMIT 1`, w.document), "SearchResult": w.result,
		"Permission": one(`SELECT id::text FROM permissions WHERE name = 'users:erase'`),
		"Tool":       one(`SELECT id::text FROM tools WHERE name = 'calculator'`), "EmbeddingModel": one(`SELECT id::text FROM embedding_models LIMIT 1`),
		"ContextWindow": one(`SELECT id::text FROM context_windows WHERE session_id = $1`, w.chat),
		"AuditLog":      one(`SELECT id::text FROM audit_logs WHERE user_id = $1 LIMIT 1`, o.id),
	}
	add := func(entity, columns, values string, args ...any) {
		var t uid.Tag
		for tag, name := range uid.Types {
			if name == entity {
				t = tag
			}
		}
		theirs[entity] = uid.New(t)
		_, err := w.db.Owner.Exec(context.Background(), `INSERT INTO `+uid.Tables[t]+` (id, created_at, `+columns+`) VALUES ($1, now(), `+values+`)`, append([]any{theirs[entity]}, args...)...)
		require.NoError(tb, err, entity)
	}
	add("Secret", "updated_at, owner_id, name, secret_type, encrypted_value, encryption_key_id", "now(), $2, $3, 'GENERIC', ''::bytea, 'k'", o.id, uuid.NewString())
	add("SecretVersion", "secret_id, version_number, encrypted_value, encryption_key_id, stage, created_by", "$2, 1, ''::bytea, 'k', 'CURRENT', $3", theirs["Secret"], o.id)
	add("SecretAccessLog", "accessed_at, secret_id, user_id, access_type, success", "now(), $2, $3, 'USE', true", theirs["Secret"], o.id)
	add("SystemMetric", "metric_name, metric_value", "'cdsa.test', 1")
	add("ToolCache", "updated_at, tool_id, cache_key, expires_at", "now(), $2, $3, now() + interval '1 hour'", theirs["Tool"], uuid.NewString())

	add("Role", "updated_at, name", "now(), $2", uuid.NewString())
	for entity, id := range theirs {
		label := "another's"
		if slices.Contains([]string{"Role", "Permission", "Tool", "ToolCache", "EmbeddingModel", "SystemMetric"}, entity) {
			label = "nobody's"
		}
		shown = append(shown, exhibit{entity, label, id})
	}
	shown = append(shown,
		exhibit{"Document", "public", w.public}, exhibit{"DocumentChunk", "public", one(`SELECT id::text FROM document_chunks WHERE document_id = $1 LIMIT 1`, w.public)},
		exhibit{"ToolExecution", "gated", one(`SELECT execution_id::text FROM tool_approvals WHERE id = $1`, w.approval)})
	open := w.copyRow(tb, "Document", w.document, map[string]any{"required_permission": "metrics:read", "content_hash": uuid.NewString()})
	secret := w.copyRow(tb, "Secret", theirs["Secret"], map[string]any{"required_permission": "metrics:read", "name": uuid.NewString()})
	shown = append(shown, exhibit{"Document", "open to metrics:read", open}, exhibit{"Secret", "open to metrics:read", secret},
		exhibit{"DocumentChunk", "open to metrics:read", w.copyRow(tb, "DocumentChunk", theirs["DocumentChunk"], map[string]any{"document_id": open, "required_permission": "metrics:read"})},
		exhibit{"SecretVersion", "open to metrics:read", w.copyRow(tb, "SecretVersion", theirs["SecretVersion"], map[string]any{"secret_id": secret})})

	own = map[*person][]exhibit{}
	for _, x := range w.people[1:] {
		rows := map[string]uuid.UUID{"User": x.id, "Session": x.session, "AuditLog": one(`SELECT id::text FROM audit_logs WHERE user_id = $1 LIMIT 1`, x.id)}
		if len(x.roles) > 0 {
			rows["Role"] = one(`SELECT id::text FROM roles WHERE name = $1`, x.roles[0])
			rows["Permission"] = one(`SELECT permission_id::text FROM role_permissions WHERE role_id = $1 LIMIT 1`, rows["Role"])
		}
		for _, entity := range order {
			with := ownership[entity](x, rows)
			switch entity {
			case "Secret":
				with["name"] = uuid.NewString()
			case "Document":
				with["content_hash"] = uuid.NewString()
			}
			rows[entity] = w.copyRow(tb, entity, theirs[entity], with)
		}
		for entity, id := range rows {
			own[x] = append(own[x], exhibit{entity, "own", id})
		}
	}
	return shown, own
}

// sees says how a person reaches a row: by its id, in its root list, or not.
func (x *person) sees(tb testing.TB, e exhibit) (node, list bool) {
	tb.Helper()
	var d struct{ Node *struct{ ID uuid.UUID } }
	x.ok(tb, `query($id: ID!) { node(id: $id) { id } }`, map[string]any{"id": e.id}, &d)
	field, listed := rootLists[e.entity]
	if !listed {
		return d.Node != nil, false
	}
	r := x.do(tb, `query($id: ID!) { `+field+`(first: 2, where: {id: $id}) { edges { node { id } } } }`, map[string]any{"id": e.id})
	if r.outcome() == "FORBIDDEN" {
		return d.Node != nil, false
	}
	require.Equal(tb, "OK", r.outcome(), "%s lists %s: %s", x.name, e.entity, r)
	return d.Node != nil, strings.Contains(string(r.Data), e.id.String())
}

// TestRows shows everyone rows of every entity - another's, public ones, their own - and compares who reaches them by id
// and who in lists with one table that people read in review. What simulateAccess says is held to each of them.
func TestRows(t *testing.T) {
	w := shared()
	shown, own := exhibits(t, w)
	all := map[string]map[*person]exhibit{}
	for _, e := range shown {
		all[fmt.Sprintf("%-15s | %-20s", e.entity, e.label)] = map[*person]exhibit{nil: e}
	}
	for x, rows := range own {
		for _, e := range rows {
			key := fmt.Sprintf("%-15s | %-20s", e.entity, e.label)
			if all[key] == nil {
				all[key] = map[*person]exhibit{}
			}
			all[key][x] = e
		}
	}
	entities := map[string]bool{}
	var b strings.Builder
	fmt.Fprintf(&b, "%-15s | %-20s |", "# entity", "row")
	for _, x := range w.people[1:] {
		fmt.Fprintf(&b, " %-9s", x.name)
	}
	b.WriteString("\n")
	judge := w.person(t, "admin")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(key + " |")
		for _, x := range w.people[1:] {
			e, ok := all[key][x]
			if !ok {
				e, ok = all[key][nil]
			}
			cell := "none" // there is no such row
			if ok {
				entities[e.entity] = true
				node, list := x.sees(t, e)
				cell = map[[2]bool]string{{false, false}: "-", {true, false}: "node", {false, true}: "list", {true, true}: "node,list"}[[2]bool{node, list}]
				var d struct {
					SimulateAccess struct {
						Allowed bool
						Reasons []string
					}
				}
				judge.ok(t, simulate, map[string]any{"user": x.id, "node": e.id}, &d)
				require.Equal(t, node, d.SimulateAccess.Allowed, "%s and %s: %v", x.name, key, d.SimulateAccess.Reasons)
				require.NotEmpty(t, d.SimulateAccess.Reasons)
			}
			fmt.Fprintf(&b, " %-9s", cell)
		}
		b.WriteString("\n")
	}
	require.Len(t, entities, len(uid.Types), "every entity is shown")
	compare(t, "testdata/rows.golden", strings.ReplaceAll(b.String(), " \n", "\n"))
}

func TestSimulateAccess(t *testing.T) {
	w := shared()
	admin, auditor := w.person(t, "admin"), w.person(t, "auditor")
	analyst, steward, norole := w.person(t, "analyst"), w.person(t, "steward"), w.person(t, "norole")
	gone := w.newPerson(t, "gone", "analyst")
	_, err := w.db.Owner.Exec(context.Background(), `UPDATE users SET is_active = false WHERE id = $1`, gone.id)
	require.NoError(t, err)
	reasons := func(t *testing.T, caller, user *person, node uuid.UUID) []string {
		t.Helper()
		var d struct{ SimulateAccess struct{ Reasons []string } }
		caller.ok(t, simulate, map[string]any{"user": user.id, "node": node}, &d)
		return d.SimulateAccess.Reasons
	}
	const noContent = "Does not see its content, which is for the owner, for all where it is public, and for holders of the permission it is open to."
	gated := uuid.MustParse(w.text(t, `SELECT execution_id::text FROM tool_approvals WHERE id = $1`, w.approval))
	for _, c := range []struct {
		user *person
		node uuid.UUID
		want []string
	}{
		{w.other, w.document, []string{"Holds documents:read and owns it."}},
		{analyst, w.document, []string{"No rule lets this user see it."}},
		{analyst, w.public, []string{"Holds documents:read and it is public to all who hold that permission."}},
		{auditor, w.document, []string{"Holds documents:read and holds audit:read.", noContent}},
		{norole, w.public, []string{"Lacks the permission documents:read."}},
		{norole, norole.id, []string{"Is this user."}},
		{analyst, w.other.id, []string{"No rule lets this user see it."}},
		{steward, gated, []string{"Holds tools:read and holds approvals:decide and it needs a decision.", "Sees its parameters; result and error are redacted."}},
		{auditor, w.execution, []string{"Holds tools:read and holds audit:read.", "Sees parameters, result and error redacted."}},
		{w.person(t, "superuser"), w.chat, []string{"Passes chat:read as a superuser and passes audit:read as a superuser."}},
		{w.person(t, "superuser"), w.message, []string{"No rule lets this user see it."}},
		{gone, w.public, []string{"This account is deactivated or erased; it can no longer sign in."}},
	} {
		require.Equal(t, c.want, reasons(t, admin, c.user, c.node), "%s", c.user.name)
	}

	t.Run("Audited", func(t *testing.T) {
		acts := w.since(t)
		reasons(t, auditor, analyst, w.document)
		rows := of(acts(), "ACCESS_SIMULATED", auditor.id)
		require.Len(t, rows, 1)
		require.Equal(t, "Document", rows[0].resource)
		require.Equal(t, map[string]any{"userId": analyst.id.String(), "allowed": false}, rows[0].details)
		require.Contains(t, rows[0].text, w.document.String())
	})
	t.Run("Ids", func(t *testing.T) {
		unknown := uid.New(uid.Document)
		foreign := uid.New(uid.Document)
		foreign[15] = 99
		for name, c := range map[string]struct {
			user, node any
			want       string
		}{
			"Malformed":   {"x", w.public, "BAD_USER_INPUT"},
			"NotAUser":    {w.public, w.public, "BAD_USER_INPUT"},
			"NoTag":       {analyst.id, foreign, "BAD_USER_INPUT"},
			"Nil":         {analyst.id, uuid.Nil, "BAD_USER_INPUT"},
			"NoUser":      {uid.New(uid.User), w.public, "NOT_FOUND"},
			"NoNode":      {analyst.id, unknown, "NOT_FOUND"},
			"NodeOfNoOne": {analyst.id, uid.New(uid.AuditLog), "NOT_FOUND"},
		} {
			require.Equal(t, c.want, admin.do(t, simulate, map[string]any{"user": c.user, "node": c.node}).outcome(), name)
		}
	})
	// Whoever may see accounts, and no more, learns nothing of objects they cannot see, not even that they exist.
	t.Run("CallerSeesNothing", func(t *testing.T) {
		reader := w.newHolder(t, "reader", "users:read", "documents:read")
		absent := reader.do(t, simulate, map[string]any{"user": w.other.id, "node": uid.New(uid.Document)})
		hidden := reader.do(t, simulate, map[string]any{"user": w.other.id, "node": w.document})
		require.Equal(t, "NOT_FOUND", hidden.outcome())
		require.Equal(t, absent.Errors, hidden.Errors)
		require.Equal(t, "NOT_FOUND", reader.do(t, simulate, map[string]any{"user": gone.id, "node": w.document}).outcome())
		require.Equal(t, []string{"Holds documents:read and owns it."}, reasons(t, reader, w.other, w.public)[:1])
		require.NotEmpty(t, reasons(t, reader, w.other, w.other.id))
		require.Equal(t, "NOT_FOUND", reader.do(t, simulate, map[string]any{"user": w.other.id, "node": w.chat}).outcome())
	})
}

// newRole is a person whose one role, of their own, holds exactly these permissions.
func (s *server) newHolder(tb testing.TB, name string, permissions ...string) *person {
	tb.Helper()
	x := s.newPerson(tb, name)
	role := uid.New(uid.Role)
	_, err := s.db.Owner.Exec(context.Background(), `WITH r AS (INSERT INTO roles (id, created_at, updated_at, name) VALUES ($1, now(), now(), $2) RETURNING id),
		p AS (INSERT INTO role_permissions (role_id, permission_id) SELECT r.id, p.id FROM r, permissions p WHERE p.name = ANY($3)),
		u AS (INSERT INTO user_roles (user_id, role_id) SELECT $4, r.id FROM r) SELECT 1`, role, "role-"+role.String(), permissions, x.id)
	require.NoError(tb, err)
	return x.login(tb)
}

// TestRows_LostPermission: rows are not reached around the permission, whoever they belong to.
func TestRows_LostPermission(t *testing.T) {
	w := shared()
	approver := w.person(t, "approver")
	var d struct {
		ToolApprovals struct {
			Edges []struct {
				Node struct {
					User struct {
						Documents struct{ Edges []any }
					}
				}
			}
		}
	}
	approver.ok(t, `{ toolApprovals(first: 5) { edges { node { user { documents(first: 5) { edges { node { id title content } } } } } } } }`, nil, &d)
	require.NotEmpty(t, d.ToolApprovals.Edges)
	for _, e := range d.ToolApprovals.Edges {
		require.Empty(t, e.Node.User.Documents.Edges, "an approver lists documents")
	}
	x := w.newPerson(t, "loser", "analyst")
	chat, document := x.newChat(t), x.newDocument(t, "Mine", "A document of mine.", true)
	_, err := w.db.Owner.Exec(context.Background(), `DELETE FROM user_roles WHERE user_id = $1`, x.id)
	require.NoError(t, err)
	x = x.login(t)
	r := x.do(t, `query($c: ID!, $d: ID!) { chat: node(id: $c) { id } document: node(id: $d) { id } viewer { chatSessions(first: 1) { totalCount edges { node { id } } } documents(first: 1) { totalCount } } }`, map[string]any{"c": chat, "d": document})
	require.JSONEq(t, `{"chat": null, "document": null, "viewer": {"chatSessions": {"totalCount": 0, "edges": []}, "documents": {"totalCount": 0}}}`, string(r.Data))
}

// TestSuperuser_Recorded: what a superuser gets past the permissions is in the log, wherever it is: by id, in an edge, in a
// field. Once for an operation and an entity.
func TestSuperuser_Recorded(t *testing.T) {
	w := shared()
	x := w.person(t, "superuser")
	for name, c := range map[string]struct {
		query string
		want  []string // entity: permissions
	}{
		"Nothing":  {`{ viewer { id email } viewerCan(resource: "chat", action: "read") }`, nil},
		"Node":     {`{ a: node(id: "` + w.chat.String() + `") { id } b: node(id: "` + w.chat.String() + `") { ... on ChatSession { title isActive } } }`, []string{"ChatSession: [audit:read chat:read]"}},
		"Account":  {`{ node(id: "` + w.other.id.String() + `") { ... on User { username } } }`, []string{"User: [users:read]"}},
		"Field":    {`{ node(id: "` + w.public.String() + `") { ... on Document { uploader { email lastLogin isActive } } } }`, []string{"Document: [audit:read documents:read]", "User: [users:read]"}},
		"Content":  {`{ node(id: "` + w.public.String() + `") { ... on Document { content } } }`, []string{"Document: [audit:read documents:read]"}},
		"Edge":     {`{ viewer { roles { name } secrets(first: 1) { totalCount } } }`, []string{"Role: [roles:read]", "Secret: [audit:read secrets:read secrets:write]"}},
		"Redacted": {`{ node(id: "` + uuid.MustParse(w.text(t, `SELECT execution_id::text FROM tool_approvals WHERE id = $1`, w.approval)).String() + `") { ... on ToolExecution { parameters result } } }`, []string{"ToolExecution: [approvals:decide audit:read tools:read]"}},
	} {
		t.Run(name, func(t *testing.T) {
			acts := w.since(t)
			x.ok(t, c.query, nil, nil)
			var got []string
			for _, a := range of(acts(), "SUPERUSER_BYPASS_USED", x.id) {
				require.NotEmpty(t, a.details["field"])
				require.NotEmpty(t, a.request)
				got = append(got, fmt.Sprintf("%s: %v", a.details["entity"], a.details["permissions"]))
			}
			slices.Sort(got)
			require.Equal(t, c.want, got)
		})
	}
}

// TestAuditLog_ViewedByEdge: whichever way the log is read, it is recorded, once.
func TestAuditLog_ViewedByEdge(t *testing.T) {
	w := shared()
	x := w.person(t, "auditor")
	const logs = `auditLogs(first: 2) { totalCount edges { node { id action } } }`
	for name, c := range map[string]struct {
		query string
		want  int
	}{
		"Users":              {`{ users(first: 3) { edges { node { ` + logs + ` } } } }`, 1},
		"Execution":          {`{ node(id: "` + w.execution.String() + `") { ... on ToolExecution { ` + logs + ` } } }`, 1},
		"Nodes":              {`{ a: ` + logs + ` b: ` + logs + ` }`, 1},
		"OwnActivity":        {`{ viewerActivity(first: 2) { edges { node { id } } } }`, 0},
		"OwnActivityAndMore": {`{ viewerActivity(first: 2) { edges { node { user { ` + logs + ` } } } } }`, 1},
		"Neither":            {`{ users(first: 1) { edges { node { id } } } }`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			acts := w.since(t)
			x.ok(t, c.query, nil, nil)
			require.Len(t, of(acts(), "AUDIT_LOG_VIEWED", x.id), c.want)
		})
	}
}

// TestDocumentEvents_Content: a document that comes with an event has its text for those who may read it, when they ask.
func TestDocumentEvents_Content(t *testing.T) {
	w := shared()
	x, auditor := w.person(t, "analyst"), w.person(t, "auditor")
	const feed = `subscription { documentEvents { status document { id content } } }`
	hers, theirs := x.connect(t).subscribe(t, feed, nil), auditor.connect(t).subscribe(t, feed, nil)
	id := x.newDocument(t, "Told", "A text that its owner reads.", false)
	for o, want := range map[*operationOf]string{hers: "A text that its owner reads", theirs: ""} {
		for {
			var d struct {
				DocumentEvents struct {
					Status   string
					Document struct {
						ID      uuid.UUID
						Content *string
					}
				}
			}
			if o.data(t, &d); d.DocumentEvents.Document.ID != id || d.DocumentEvents.Status != "INDEXED" {
				continue // before that its text has not been extracted
			}
			if want == "" {
				require.Nil(t, d.DocumentEvents.Document.Content)
			} else {
				require.Contains(t, *d.DocumentEvents.Document.Content, want)
			}
			break
		}
	}
}

// TestRole_Holders: whoever holds a role may know the role, not the list of all who hold it: that is the directory.
func TestRole_Holders(t *testing.T) {
	w := shared()
	type page struct {
		TotalCount int
		Edges      []struct{ Node struct{ ID, Username string } }
	}
	type roles struct {
		Viewer struct {
			Roles []struct {
				ID                 string
				Users, Some, Count page
			}
		}
	}
	const all = `totalCount edges { node { id username } }`
	x, admin := w.person(t, "analyst"), w.person(t, "admin")
	var mine roles
	x.ok(t, `{ viewer { roles { id users { `+all+` } some: users(first: 50, orderBy: {field: USERNAME, direction: ASC}) { `+all+` } count: users(where: {usernameContains: "a"}) { totalCount } } } }`, nil, &mine)
	require.Len(t, mine.Viewer.Roles, 1)
	r := mine.Viewer.Roles[0]
	for what, p := range map[string]page{"all": r.Users, "some": r.Some} {
		require.Equal(t, 1, p.TotalCount, what)
		require.Len(t, p.Edges, 1, what)
		require.Equal(t, x.id.String(), p.Edges[0].Node.ID, what)
	}
	require.LessOrEqual(t, r.Count.TotalCount, 1)
	var one struct{ Node struct{ Users page } }
	query := `{ node(id: "` + r.ID + `") { ... on Role { users(first: 50) { ` + all + ` } } } }`
	x.ok(t, query, nil, &one)
	require.Len(t, one.Node.Users.Edges, 1)
	require.Equal(t, 1, one.Node.Users.TotalCount)
	admin.ok(t, query, nil, &one)
	require.Greater(t, one.Node.Users.TotalCount, 1, "users:read lists them")
	acts := w.since(t)
	root := w.person(t, "superuser")
	root.ok(t, query, nil, &one)
	require.Greater(t, one.Node.Users.TotalCount, 1)
	entities := map[any]bool{}
	for _, a := range of(acts(), "SUPERUSER_BYPASS_USED", root.id) {
		entities[a.details["entity"]] = true
	}
	require.True(t, entities["User"], "a superuser's bypass is recorded: %v", entities)
}
