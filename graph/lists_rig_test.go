//go:build unix

package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	entsql "entgo.io/ent/dialect/sql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	pgxvec "github.com/pgvector/pgvector-go/pgx"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/graph"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/chat"
	"cdsa.dev/cdsa/internal/document"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/gqlhttp"
	"cdsa.dev/cdsa/internal/read"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/realtime/transport"
	"cdsa.dev/cdsa/internal/seed"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

var auditKey = []byte("0123456789abcdef0123456789abcdef")

// rig is the API over a database whose statements are counted, with as many rows of each kind as the longest page.
type rig struct {
	*testkit.Kit
	pool    *pgxpool.Pool
	client  *ent.Client
	sent    *statements
	streams *transport.Server
	docs    *document.Service
	people  map[string]*authz.Principal
	users   []uuid.UUID
	calls   []uuid.UUID
}

// statements keeps what goes to the database.
type statements struct {
	mu   sync.Mutex
	list []string
}

// TraceQueryStart keeps a statement, unless it belongs to the opening of a connection.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	if !strings.Contains(d.SQL, "regtype") {
		s.mu.Lock()
		s.list = append(s.list, d.SQL)
		s.mu.Unlock()
	}
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// take gives what was kept since it was called last.
func (s *statements) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.list
	s.list = nil
	return l
}

// rows is how many there are of each kind; few and many are the pages that are compared.
const rows, few, many = 32, 3, 30

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Kit: testkit.New(t), sent: &statements{}, people: map[string]*authz.Principal{}}
	cfg, err := pgxpool.ParseConfig(r.DB.URL)
	require.NoError(t, err)
	cfg.ConnConfig.Tracer = r.sent
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return pgxvec.RegisterTypes(ctx, c) }
	r.pool, err = pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(r.pool.Close)
	db := stdlib.OpenDBFromPool(r.pool)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	r.client = ent.NewClient(ent.Driver(entsql.OpenDB("postgres", db)))
	batch.Watch(r.client)
	hub := realtime.NewHub(realtime.HubOptions{})
	t.Cleanup(hub.Close)
	r.streams = transport.New(transport.Config{Hub: hub})
	embedder, err := embed.NewLocal()
	require.NoError(t, err)
	r.docs = &document.Service{
		Store: &uow.Store{DB: db, Audit: r.Store.Audit, Jobs: r.Store.Jobs}, Client: r.client, Pool: r.pool, Embedder: embedder,
		Log: slog.New(slog.DiscardHandler), LoadUser: func(context.Context, uuid.UUID) (*authz.Principal, error) { return nil, nil },
	}
	_, err = seed.Run(authz.With(t.Context(), authz.Seeder), r.Store, r.Kit.Client, seed.Input{})
	require.NoError(t, err)
	for _, name := range []string{"admin", "auditor", "analyst"} {
		r.people[name] = r.User(t, name, name)
		r.sql(t, `INSERT INTO user_roles SELECT $1, id FROM roles WHERE name = $2`, r.people[name].UserID, name)
	}
	root := r.User(t, "root")
	root.Superuser = true
	r.people["superuser"] = root
	for _, p := range r.people { // the first entry of each makes a key
		require.NoError(t, r.Store.Audit.Warm(authz.With(t.Context(), p)))
	}
	r.fill(t)
	return r
}

func (r *rig) sql(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := r.DB.Owner.Exec(t.Context(), statement, args...)
	require.NoError(t, err, statement)
}

// fill makes rows that differ from one another in all that is derived of them.
func (r *rig) fill(t *testing.T) {
	t.Helper()
	model := r.ID(t, `SELECT id FROM embedding_models LIMIT 1`)
	for i := range rows {
		p := r.User(t, fmt.Sprintf("user%02d", i))
		r.users = append(r.users, p.UserID)
		for k, role := range []string{"analyst", "approver", "auditor", "steward"} {
			if i&(1<<k) != 0 {
				r.sql(t, `INSERT INTO user_roles SELECT $1, id FROM roles WHERE name = $2`, p.UserID, role)
			}
		}
		if i%7 == 0 {
			r.sql(t, `UPDATE users SET is_active = false WHERE id = $1`, p.UserID)
		}
		r.sql(t, `UPDATE users SET is_superuser = $2 WHERE id = $1`, p.UserID, i%11 == 1)
	}
	for i, user := range r.users {
		j := rows - 1 - i // the last rows are those of a short page: they have everything
		next := func(n int) uuid.UUID { return r.users[(i+n)%rows] }
		session := uid.New(uid.Session)
		r.sql(t, `INSERT INTO sessions (id, created_at, token, expires_at, family_id, user_id) VALUES ($1, now(), $2, now() + interval '1 hour', $1, $3)`, session, session.String(), user)
		r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name) VALUES ($1, now(), now(), $2)`, uid.New(uid.Role), fmt.Sprintf("role%02d", i))
		r.sql(t, `INSERT INTO role_permissions SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = $1 AND p.resource = 'tools'`, fmt.Sprintf("role%02d", i))
		tool, cache := uid.New(uid.Tool), uid.New(uid.ToolCache)
		r.sql(t, `INSERT INTO tools (id, created_at, updated_at, name, display_name, category, schema, risk_level, executor) VALUES ($1, now(), now(), $2, 'A tool', 'DATA_ANALYSIS', '{}', 'LOW', 'BUILTIN')`, tool, fmt.Sprintf("tool%02d", i))
		r.sql(t, `INSERT INTO tool_caches (id, created_at, updated_at, cache_key, expires_at, tool_id) VALUES ($1, now(), now(), $2, now() + interval '1 hour', $3)`, cache, cache.String(), tool)
		for k := range 2 {
			chat := uid.New(uid.ChatSession)
			r.sql(t, `INSERT INTO chat_sessions (id, created_at, updated_at, user_id, title, forked_from) VALUES ($1, now(), now(), $2, 'A conversation', (SELECT id FROM chat_sessions ORDER BY id LIMIT 1))`, chat, user)
			r.sql(t, `INSERT INTO context_windows (id, created_at, updated_at, session_id) VALUES ($1, now(), now(), $2)`, uid.New(uid.ContextWindow), chat)
			call := uid.New(uid.ToolExecution)
			r.calls = append(r.calls, call)
			r.sql(t, `INSERT INTO tool_executions (id, created_at, updated_at, status, parameters, requires_approval, tool_version, args_hash, effective_risk, session_id, tool_id, user_id, cache_entry_id, retry_of)
				VALUES ($1, now(), now(), 'AWAITING_APPROVAL', '{"n": 1}', $2, 1, 'h', 'LOW', $3, $4, $5, $6, (SELECT id FROM tool_executions ORDER BY id LIMIT 1))`, call, j%4 != 3, chat, tool, user, cache)
			if j%4 < 2 {
				decisions, err := json.Marshal([]map[string]any{{"approverId": next(1), "approved": true, "at": time.Now()}, {"approverId": next(2), "approved": false, "at": time.Now(), "comment": "No."}}[:2-j%2])
				require.NoError(t, err)
				r.sql(t, `INSERT INTO tool_approvals (id, created_at, updated_at, requested_at, expires_at, decisions, args_hash, policy_version, execution_id, user_id, approver_id)
					VALUES ($1, now(), now(), now(), now() + interval '1 hour', $2, 'h', '1', $3, $4, $5)`, uid.New(uid.ToolApproval), decisions, call, user, next(1))
			}
			asked := uid.New(uid.ChatMessage)
			r.sql(t, `INSERT INTO chat_messages (id, created_at, updated_at, role, status, content, session_id, user_id) VALUES ($1, now(), now(), 'USER', 'COMPLETED', 'Hello.', $2, $3)`, asked, chat, user)
			status, lease := "STREAMING", any(time.Now().Add(time.Hour))
			switch j % 3 {
			case 2:
				status = "COMPLETED"
			case 1:
				lease = nil
			}
			r.sql(t, `INSERT INTO chat_messages (id, created_at, updated_at, role, status, stream_position, lease_expires_at, session_id, user_id, parent_id, tool_execution_id)
				VALUES ($1, now(), now(), 'ASSISTANT', $2, $3, $4, $5, $6, $7, $8)`, uid.New(uid.ChatMessage), status, 100+2*i+k, lease, chat, user, asked, call)
			doc, public := uid.New(uid.Document), j%2 == 0
			r.sql(t, `INSERT INTO documents (id, created_at, updated_at, title, source_type, content, content_hash, is_public, status, generation, uploaded_by) VALUES ($1, now(), now(), $2, 'API', $3, $1::uuid::text, $4, 'INDEXED', 1, $5)`,
				doc, fmt.Sprintf("Document %d", i), fmt.Sprintf("The otter number %d swims.", i), public, user)
			for c := range (j + 2) % 5 {
				chunk, result := uid.New(uid.DocumentChunk), uid.New(uid.SearchResult)
				r.sql(t, `INSERT INTO document_chunks (id, created_at, chunk_index, content, language, owner_id, is_public, document_id, embedding_model_id) VALUES ($1, now(), $2, 'An otter swims.', 'en', $3, $4, $5, $6)`, chunk, c, user, public, doc, model)
				r.sql(t, `INSERT INTO search_results (id, created_at, query, relevance_score, rank, search_type, search_id, document_id, chunk_id, user_id, session_id) VALUES ($1, now(), 'otter', 1, 1, 'KEYWORD', $1, $2, $3, $4, $5)`, result, doc, chunk, user, chat)
			}
			e := audit.Entry{Action: enum.AuditActionDocumentRead, Resource: "Document", ResourceID: doc, ExecutionID: call}
			ctx := authz.WithRequest(authz.With(context.Background(), authz.NewUser(user, fmt.Sprint("user", i), session, false, time.Time{})), authz.Request{ID: "r", IP: fmt.Sprintf("192.0.2.%d", i), UserAgent: "test"})
			require.NoError(t, r.Store.Audit.Record(ctx, e))
			if j%5 == 4 {
				r.sql(t, `DELETE FROM subject_keys WHERE subject_id = $1`, user) // erased
			}
			secret := uid.New(uid.Secret)
			r.sql(t, `INSERT INTO secrets (id, created_at, updated_at, name, secret_type, encrypted_value, encryption_key_id, owner_id) VALUES ($1, now(), now(), $1::uuid::text, 'GENERIC', '', '', $2)`, secret, user)
			r.sql(t, `INSERT INTO secret_versions (id, created_at, version_number, encrypted_value, encryption_key_id, stage, secret_id, created_by) VALUES ($1, now(), 1, '', '', 'CURRENT', $2, $3)`, uid.New(uid.SecretVersion), secret, user)
			r.sql(t, `INSERT INTO secret_access_logs (id, created_at, access_type, success, accessed_at, secret_id, tool_id, tool_execution_id, user_id) VALUES ($1, now(), 'USE', true, now(), $2, $3, $4, $5)`, uid.New(uid.SecretAccessLog), secret, tool, call, user)
		}
		r.sql(t, `INSERT INTO system_metrics (id, created_at, metric_name, metric_value) VALUES ($1, now(), 'cdsa.test', 1)`, uid.New(uid.SystemMetric))
		r.sql(t, `INSERT INTO embedding_models (id, created_at, updated_at, name, display_name, provider, model_id, dimension) VALUES ($1, now(), now(), $1::uuid::text, '', 'LOCAL', 'm', 384)`, uid.New(uid.EmbeddingModel))
	}
	r.sql(t, `UPDATE chat_messages m SET citations = (SELECT jsonb_agg(jsonb_build_object('documentId', id, 'start', 0, 'end', 3, 'quote', 'The'))
		FROM (SELECT id FROM documents ORDER BY md5(id::text || m.id::text) LIMIT 3) d) WHERE role = 'ASSISTANT'`)
}

// handler is the API as it is after a start: nothing is remembered of earlier questions.
func (r *rig) handler(t *testing.T) http.Handler {
	t.Helper()
	rec, err := audit.New(r.pool, auditKey)
	require.NoError(t, err)
	hasher, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5})
	require.NoError(t, err)
	material, err := auth.GenerateSigningKey()
	require.NoError(t, err)
	keys, err := auth.ParseKeyring(material)
	require.NoError(t, err)
	tokens, err := auth.NewTokens(keys, auth.TokenConfig{})
	require.NoError(t, err)
	accounts, err := account.New(account.Config{
		Store: r.docs.Store, Client: r.client, Pool: r.pool, Audit: rec, Hasher: hasher, Tokens: tokens, IdentityKey: []byte("a key of thirty-two bytes or more"),
		Registration: "open", SessionTTL: time.Hour, Revoked: func(uuid.UUID) {}, Log: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	cursors, err := event.NewCursors(bytes.Repeat([]byte("k"), 64), func() uint64 { return 1 })
	require.NoError(t, err)
	settings := gqlhttp.DefaultSettings()
	settings.MaxCost, settings.MaxAliases, settings.MaxDepth, settings.MaxTokens = 1e9, 1e6, 100, 1e6
	return graph.NewHandler(&graph.Resolver{
		Client: r.client, Audit: rec, Accounts: accounts, Chats: &chat.Service{Client: r.client}, Documents: r.docs, Cursors: cursors, Approvals: &approval.Service{},
		Position: func() uint64 { return 1000 }, Reads: read.New(r.pool, r.client),
	}, settings, r.streams)
}

// ask answers a query that must succeed, and gives the statements it took.
func (r *rig) ask(t *testing.T, p *authz.Principal, query string, to any) []string {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": query})
	require.NoError(t, err)
	req := httptest.NewRequestWithContext(authz.With(t.Context(), p), http.MethodPost, "/graphql", bytes.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	h, w := r.handler(t), httptest.NewRecorder()
	r.sent.take()
	h.ServeHTTP(w, req)
	sent := r.sent.take()
	require.NotContains(t, w.Body.String(), `"errors"`, query)
	if to != nil {
		var answer struct{ Data json.RawMessage }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), "%s: %.600s", query, w.Body)
		require.NoError(t, json.Unmarshal(answer.Data, to), "%s: %.600s", query, w.Body)
	}
	return sent
}

// sameCount asks for a short and a long page, "%d" in the query, and requires as many statements of both.
func (r *rig) sameCount(t *testing.T, p *authz.Principal, query string) {
	t.Helper()
	short := r.ask(t, p, strings.ReplaceAll(query, "%d", fmt.Sprint(few)), nil)
	long := r.ask(t, p, strings.ReplaceAll(query, "%d", fmt.Sprint(many)), nil)
	if len(short) == len(long) {
		return
	}
	more := map[string]int{}
	for _, s := range short {
		more[numbers.ReplaceAllString(s, "$$n")]--
	}
	for _, s := range long {
		more[numbers.ReplaceAllString(s, "$$n")]++
	}
	for s, n := range more {
		if n != 0 {
			t.Logf("%+d: %.400s", n, s)
		}
	}
	t.Errorf("%d rows take %d statements, %d take %d: %s", few, len(short), many, len(long), query)
}

// numbers are a statement's arguments, few or many.
var numbers = regexp.MustCompile(`\$\d+(, \$\d+)*`)
