//go:build unix

package read_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"entgo.io/contrib/entgql"
	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/graph/generated"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/cite"
	"cdsa.dev/cdsa/internal/event/eventcursor"
	"cdsa.dev/cdsa/internal/read"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// api is the generated API over the hot reads alone, once with the loaders and once with ent.
type api struct {
	generated.ResolverRoot
	client *ent.Client
	reads  *read.Reader // nil: ent answers
	audit  *audit.Recorder
	// answers counts what was written at once; nil: nothing is
	answers *atomic.Int64
}

func (a api) Query() generated.QueryResolver                 { return query{api: a} }
func (a api) AuditLog() generated.AuditLogResolver           { return auditLog{a} }
func (a api) ChatSession() generated.ChatSessionResolver     { return chatSession{} }
func (a api) ChatMessage() generated.ChatMessageResolver     { return chatMessage{} }
func (a api) ToolExecution() generated.ToolExecutionResolver { return toolExecution{} }

type chatMessage struct{ generated.ChatMessageResolver }

func (chatMessage) Citations(_ context.Context, m *ent.ChatMessage) ([]*cite.Citation, error) {
	l := make([]*cite.Citation, len(m.Citations))
	for i := range l {
		l[i] = &m.Citations[i]
	}
	return l, nil
}

type query struct {
	generated.QueryResolver
	api
}

func (q query) ChatSessions(ctx context.Context, after *entgql.Cursor[uuid.UUID], first *int, before *entgql.Cursor[uuid.UUID], last *int, orderBy *ent.ChatSessionOrder, where *ent.ChatSessionWhereInput) (*ent.ChatSessionConnection, error) {
	if q.reads != nil {
		return q.reads.ChatSessions(ctx, after, first, before, last, orderBy, where)
	}
	return q.client.ChatSession.Query().Paginate(ctx, after, first, before, last, ent.WithChatSessionOrder(orderBy), ent.WithChatSessionFilter(where.Filter))
}

func (q query) AuditLogs(ctx context.Context, after *entgql.Cursor[uuid.UUID], first *int, before *entgql.Cursor[uuid.UUID], last *int, orderBy *ent.AuditLogOrder, where *ent.AuditLogWhereInput) (*ent.AuditLogConnection, error) {
	if q.reads != nil {
		return q.reads.AuditLogs(ctx, after, first, before, last, orderBy, where)
	}
	return q.client.AuditLog.Query().Paginate(ctx, after, first, before, last, ent.WithAuditLogOrder(orderBy), ent.WithAuditLogFilter(where.Filter))
}

func (q query) Node(ctx context.Context, id uuid.UUID) (ent.Noder, error) {
	if q.reads != nil {
		if x, covered, err := q.reads.ChatSession(ctx, id); covered || err != nil {
			if x == nil {
				return nil, err
			}
			return x, nil
		}
	}
	n, err := q.client.Noder(ctx, id, ent.WithNodeType(func(context.Context, uuid.UUID) (string, error) { return "chat_sessions", nil }))
	if ent.IsNotFound(err) {
		return nil, nil
	}
	return n, err
}

type auditLog struct{ api }

func (a auditLog) Username(ctx context.Context, obj *ent.AuditLog) (*string, error) {
	p, err := a.audit.Open(ctx, obj)
	return p.Username, err
}

func (a auditLog) IPAddress(ctx context.Context, obj *ent.AuditLog) (*string, error) {
	p, err := a.audit.Open(ctx, obj)
	return p.IPAddress, err
}

func (a auditLog) UserAgent(ctx context.Context, obj *ent.AuditLog) (*string, error) {
	p, err := a.audit.Open(ctx, obj)
	return p.UserAgent, err
}

type chatSession struct{}

func (chatSession) EventCursor(_ context.Context, obj *ent.ChatSession) (eventcursor.Cursor, error) {
	return eventcursor.Cursor(obj.ID.String()), nil
}

type toolExecution struct{}

func (toolExecution) ApprovalID(_ context.Context, obj *ent.ToolExecution) (*uuid.UUID, error) {
	if !obj.RequiresApproval {
		return nil, nil
	}
	return &obj.ID, nil
}

// own stands for the directives that judge columns of the object.
func own(ctx context.Context, obj any, next graphql.Resolver) (any, error) {
	p := authz.From(ctx)
	switch x := obj.(type) {
	case *ent.ChatSession:
		if x.UserID == p.UserID {
			return next(ctx)
		}
	case *ent.ToolExecution:
		if x.UserID == p.UserID || x.RequiresApproval && p.Can("approvals:decide") {
			return next(ctx)
		}
	}
	return nil, nil
}

func pass(ctx context.Context, _ any, next graphql.Resolver) (any, error) { return next(ctx) }

// root stands for the directives of root fields, which hand results to read.Answer.
func (a api) root(ctx context.Context, _ any, next graphql.Resolver) (any, error) {
	v, err := next(ctx)
	if err != nil || a.answers == nil {
		return v, err
	}
	v = read.Answer(ctx, v)
	if _, written := v.(graphql.Marshaler); written {
		a.answers.Add(1)
	}
	return v, nil
}

func (a api) handler() http.Handler {
	srv := handler.New(generated.NewExecutableSchema(generated.Config{Resolvers: a, Directives: generated.DirectiveRoot{
		Authenticated: a.root, Public: pass, ReadersOnly: pass, Redacted: own,
		SelfOr: func(ctx context.Context, obj any, next graphql.Resolver, _ string) (any, error) {
			return own(ctx, obj, next)
		},
		HasPermission: func(ctx context.Context, obj any, next graphql.Resolver, _, _ string) (any, error) {
			return a.root(ctx, obj, next)
		},
	}}))
	srv.AddTransport(transport.POST{})
	return srv
}

// world is random data and both ways to read it.
type world struct {
	kit       *testkit.Kit
	fast, ent http.Handler
	direct    http.Handler // fast, with answers written at once
	answers   atomic.Int64 // that were
	count     *counter     // statements of fast and direct
	people    []*authz.Principal
	sessions  []uuid.UUID
}

// counter counts statements on the wire.
type counter struct{ n atomic.Int64 }

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}
func (c *counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func newWorld(t *testing.T) *world {
	t.Helper()
	k := testkit.New(t)
	rec, err := audit.New(k.DB.Pool, []byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	w := &world{kit: k, count: &counter{}}
	cfg, err := pgxpool.ParseConfig(k.DB.URL)
	require.NoError(t, err)
	cfg.ConnConfig.Tracer = w.count
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	reads := read.New(pool, k.Client)
	w.fast = api{client: k.Client, reads: reads, audit: rec}.handler()
	w.direct = api{client: k.Client, reads: reads, audit: rec, answers: &w.answers}.handler()
	w.ent = api{client: k.Client, audit: rec}.handler()
	w.people = []*authz.Principal{
		k.User(t, "ada", "analyst"), k.User(t, "ben", "analyst", "approver"), k.User(t, "cem", "auditor"), k.User(t, "dot", "approver"), k.User(t, "eve"),
	}
	root := k.User(t, "root")
	w.people = append(w.people, authz.NewUser(root.UserID, "root", root.SessionID, true, time.Now().Add(time.Hour)))
	w.fill(t, rec)
	return w
}

func (w *world) ask(t *testing.T, h http.Handler, p *authz.Principal, q string) string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": q})
	require.NoError(t, err)
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)).WithContext(testkit.As(p))
	req.Header.Set("Content-Type", "application/json")
	rr := httptest.NewRecorder()
	h.ServeHTTP(rr, req)
	return rr.Body.String()
}

// same asks all three and gives the answer and the number of statements the loader sent.
func (w *world) same(t *testing.T, p *authz.Principal, q string) (answer string, statements int64) {
	t.Helper()
	before := w.count.n.Load()
	answer = w.ask(t, w.fast, p, q)
	statements = w.count.n.Load() - before
	require.NotContains(t, answer, `"errors"`, q)
	require.JSONEq(t, w.ask(t, w.ent, p, q), answer, "%s asks %s", p.Username, q)
	if w.ask(t, w.direct, p, q) != answer {
		require.Equal(t, answer, w.ask(t, w.direct, p, q), "%s asks %s", p.Username, q)
	}
	return answer, statements
}

const hot = `{ chatSessions(first: 20, orderBy: {field: CREATED_AT, direction: DESC}) { edges { node { id title model createdAt lastMessageAt
	messages(last: 10) { edges { node { id role status content createdAt toolExecution { id status tool { id name } } } } } } } } }`

func TestReader_ChatSessions(t *testing.T) {
	w := newWorld(t)
	t.Run("OneStatement", func(t *testing.T) {
		for i, p := range w.people {
			answer, n := w.same(t, p, hot)
			require.EqualValues(t, 1, n)
			require.EqualValues(t, i+1, w.answers.Load())
			owns := i < 3
			require.Equal(t, owns, strings.Contains(answer, `"tool":{"id"`), "%s and the calls of messages", p.Username)
		}
	})
	t.Run("GuardedFieldAlone", func(t *testing.T) {
		q := `{ chatSessions(first: 50) { edges { node { systemPrompt messages(first: 50) { edges { node { toolExecution { parameters } } } } } } } }`
		before := w.count.n.Load()
		answer := w.ask(t, w.fast, w.people[0], q)
		require.EqualValues(t, 1, w.count.n.Load()-before)
		require.Contains(t, answer, "prompt of ada")
		require.Contains(t, answer, `"parameters":{"n":`)
		require.NotContains(t, w.ask(t, w.fast, w.people[2], q), "prompt of ada", "an auditor sees nobody else's prompt")
	})
	t.Run("NotCovered", func(t *testing.T) {
		for _, q := range []string{
			`{ chatSessions(first: 3) { totalCount edges { node { id } } } }`,
			`{ chatSessions(first: 3) { edges { node { id user { id } } } } }`,
			`{ chatSessions(first: 3, where: {isActive: true}) { edges { node { id } } } }`,
			`{ chatSessions(first: 3) { pageInfo { hasNextPage } } }`,
			`{ chatSessions(first: 3) { edges { node { id messages(first: 2) { totalCount edges { node { id } } } } } } }`,
			`{ chatSessions(first: 3) { edges { node { id messages(first: 2, where: {role: USER}) { edges { node { id } } } } } } }`,
			`{ chatSessions(first: 3) { edges { node { id a: messages(first: 2) { edges { node { id } } } b: messages(last: 3) { edges { node { id } } } } } } }`,
		} {
			_, n := w.same(t, w.people[0], q)
			require.Zero(t, n, q)
		}
	})
	t.Run("NotWritten", func(t *testing.T) {
		written := w.answers.Load()
		for _, q := range []string{
			`{ chatSessions(first: 9) { edges { node { eventCursor } } } }`,
			`{ chatSessions(first: 9) { edges { node { systemPrompt userId } } } }`,
			`{ chatSessions(first: 9) { edges { node { id messages(first: 3) { edges { node { toolExecution { parameters userId requiresApproval } } } } } } } }`,
			`{ chatSessions(first: 9) { edges { node { id messages(first: 3) { edges { node { citations { documentId } } } } } } } }`,
		} {
			w.same(t, w.people[0], q)
			require.Equal(t, written, w.answers.Load(), q)
		}
	})
	t.Run("Variants", func(t *testing.T) {
		for _, q := range []string{
			`{ chatSessions(first: 7) { edges { node { id a: messages(first: 2) { edges { node { id } } } b: messages(first: 2) { edges { cursor node { content } } } } } } }`,
			`{ chatSessions(first: 7) { __typename edges { cursor node { __typename ... on ChatSession { title ...f } ... on Node { id } x: title } } } } fragment f on ChatSession { model messages(first: 1) { pageInfo { hasNextPage startCursor } edges { node { ... on ChatMessage { id } } } } }`,
			`{ chatSessions(last: 5) { pageInfo { hasPreviousPage hasNextPage endCursor } edges { node { id eventCursor title @skip(if: true) } } } }`,
			`{ a: chatSessions(first: 2) { edges { node { id } } } b: chatSessions(first: 100, orderBy: {field: LAST_MESSAGE_AT, direction: DESC}) { edges { cursor node { id } } pageInfo { hasNextPage } } }`,
		} {
			_, n := w.same(t, w.people[0], q)
			require.Positive(t, n, q)
		}
	})
	t.Run("NoCaller", func(t *testing.T) {
		require.Contains(t, w.ask(t, w.fast, nil, hot), `"errors"`)
	})
}

func TestReader_Pages(t *testing.T) {
	w := newWorld(t)
	type connection struct {
		Edges []struct {
			Node struct{ ID string }
		}
		PageInfo struct {
			HasNextPage            bool
			StartCursor, EndCursor string
		}
	}
	for _, list := range []struct{ field, order string }{
		{"chatSessions", ""}, {"chatSessions", `, orderBy: {field: CREATED_AT, direction: DESC}`}, {"chatSessions", `, orderBy: {field: TITLE, direction: ASC}`},
		{"chatSessions", `, orderBy: {field: UPDATED_AT, direction: ASC}`},
		{"chatSessions", `, orderBy: {field: LAST_MESSAGE_AT, direction: ASC}`}, {"chatSessions", `, orderBy: {field: LAST_MESSAGE_AT, direction: DESC}`},
		{"auditLogs", ""}, {"auditLogs", `, orderBy: {field: CREATED_AT, direction: DESC}`},
	} {
		for _, size := range []string{"first: 4, after", "last: 4, before"} {
			seen, cursor := map[string]bool{}, ""
			for range 100 {
				args := strings.Split(size, ",")[0]
				if cursor != "" {
					args = size + fmt.Sprintf(": %q", cursor)
				}
				answer, n := w.same(t, w.people[2], fmt.Sprintf(`{ c: %s(%s%s) { edges { node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }`, list.field, args, list.order))
				require.EqualValues(t, 1, n)
				var got struct{ Data struct{ C connection } }
				require.NoError(t, json.Unmarshal([]byte(answer), &got))
				for _, e := range got.Data.C.Edges {
					require.False(t, seen[e.Node.ID], "seen twice")
					seen[e.Node.ID] = true
				}
				if len(got.Data.C.Edges) < 4 {
					break
				}
				if cursor = got.Data.C.PageInfo.EndCursor; strings.HasPrefix(size, "last") {
					cursor = got.Data.C.PageInfo.StartCursor
				}
			}
			require.Greater(t, len(seen), 20)
			if list.field == "chatSessions" {
				require.Len(t, seen, len(w.sessions), "rows were lost")
			}
		}
	}
}

func TestReader_AuditLogs(t *testing.T) {
	w := newWorld(t)
	user := w.people[0].UserID
	for _, q := range []string{
		`{ auditLogs(first: 50, orderBy: {field: CREATED_AT, direction: DESC}, where: {action: DOCUMENT_READ}) { edges { node { id action username resourceType success createdAt } } pageInfo { hasNextPage endCursor } } }`,
		`{ auditLogs(first: 9, where: {userId: "` + user.String() + `", success: true}) { edges { node { id userId ipAddress } } } }`,
		`{ auditLogs(first: 100) { edges { node { id createdAt userId action resourceType resourceId sessionId details changes success errorMessage toolExecutionId sensitiveData retentionDays requestId actorKind username ipAddress userAgent ageDays shouldBeRetained } } } }`,
		`{ auditLogs(first: 5, where: {}) { edges { node { id } } } }`,
		`{ auditLogs(first: 5, where: {createdAtGTE: "2020-01-01T00:00:00Z", createdAtLT: "2100-01-01T00:00:00Z", resourceType: "Document"}) { edges { node { id } } } }`,
	} {
		for _, p := range w.people {
			_, n := w.same(t, p, q)
			require.EqualValues(t, 1, n, q)
		}
	}
	for _, q := range []string{
		`{ auditLogs(first: 5) { totalCount edges { node { id } } } }`,
		`{ auditLogs(first: 5, where: {actionIn: [LOGOUT]}) { edges { node { id } } } }`,
		`{ auditLogs(first: 5) { edges { node { id user { id } } } } }`,
	} {
		_, n := w.same(t, w.people[2], q)
		require.Zero(t, n, q)
	}
}

func TestReader_ChatSession(t *testing.T) {
	w := newWorld(t)
	for i, id := range append(w.sessions, uid.New(uid.ChatSession)) {
		for _, p := range w.people {
			answer, n := w.same(t, p, fmt.Sprintf(`{ node(id: %q) { __typename id ... on ChatSession { title userId systemPrompt model createdAt messages(last: 5) { pageInfo { hasPreviousPage } edges { node { id role toolExecution { status result userId requiresApproval tool { name schema } } } } } } } }`, id))
			require.EqualValues(t, 1, n)
			if i == len(w.sessions) {
				require.JSONEq(t, `{"data":{"node":null}}`, answer)
			}
		}
	}
	_, n := w.same(t, w.people[0], fmt.Sprintf(`{ node(id: %q) { id ... on ChatSession { forks(first: 1) { edges { node { id } } } } } }`, w.sessions[0]))
	require.Zero(t, n)
}
