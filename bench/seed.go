//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uid"
)

// The size of the database, as the marks are defined for.
const (
	people          = 10
	sessionsEach    = 2_000 // 20,000 in all
	messagesEach    = 20    // 400,000 in all
	auditRows       = 200_000
	callEvery       = 5 // of messages, one reports a tool call
	password        = "seeded bench horse battery 4711"
	auditBatch      = 2_000
	secondsBetween  = 37
	startOfSessions = "2026-01-01T00:00:00Z"
)

var actions = []enum.AuditAction{
	enum.AuditActionDocumentRead, enum.AuditActionDocumentSearched, enum.AuditActionToolExecutionRequested, enum.AuditActionToolExecutionCompleted,
	enum.AuditActionLoginSucceeded, enum.AuditActionLogout, enum.AuditActionChatSessionCreated, enum.AuditActionSecretUsed,
}

// world is what was seeded and is asked for.
type world struct {
	users    []uuid.UUID // analysts
	sessions [][]uuid.UUID
	document uuid.UUID // public
}

// seed fills the migrated database, on which the server ran once, in well under a minute.
func (r *rig) seed(ctx context.Context, auditKey []byte) (*world, error) {
	w := &world{document: uid.New(uid.Document)}
	conn, err := r.db.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	db := conn.Conn()
	if _, err := db.Exec(ctx, "SET synchronous_commit = off"); err != nil {
		return nil, err
	}
	if err := w.seedPeople(ctx, db); err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	if err := w.seedChats(ctx, db); err != nil {
		return nil, fmt.Errorf("conversations: %w", err)
	}
	if err := r.seedAudit(ctx, db, w, auditKey); err != nil {
		return nil, fmt.Errorf("audit rows: %w", err)
	}
	for _, sql := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := db.Exec(ctx, sql); err != nil && sql != "CHECKPOINT" { // the owner may not; a checkpoint only steadies
			return nil, err
		}
	}
	return w, nil
}

func (w *world) seedPeople(ctx context.Context, db *pgx.Conn) error {
	hasher, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 19 << 10, Iterations: 2, Parallelism: 1})
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	for i := range people + 1 {
		id, roles := uid.New(uid.User), []string{authz.DefaultRole}
		if i < people {
			w.users = append(w.users, id)
		} else {
			roles = []string{"auditor"}
		}
		if _, err := db.Exec(ctx, `INSERT INTO users (id, created_at, updated_at, email, username, hashed_password, is_verified) VALUES ($1, now(), now(), $2, $3, $4, true)`,
			id, name(i)+"@example.org", name(i), hash); err != nil {
			return err
		}
		if _, err := db.Exec(ctx, `INSERT INTO user_roles (user_id, role_id) SELECT $1, id FROM roles WHERE name = ANY($2)`, id, roles); err != nil {
			return err
		}
	}
	_, err = db.Exec(ctx, `INSERT INTO documents (id, created_at, updated_at, title, source_type, content_hash, is_public, status, uploaded_by) VALUES ($1, now(), now(), 'Handbook', 'API', 'bench', true, 'INDEXED', $2)`, w.document, w.users[0])
	return err
}

// name is a person's; people is the auditor's.
func name(i int) string { return fmt.Sprintf("bench%d", i) }

var sentence = "The quarterly figures of the northern plants are due on the fifteenth and go to the steward before anyone else sees them. "

func (w *world) seedChats(ctx context.Context, db *pgx.Conn) error {
	start, err := time.Parse(time.RFC3339, startOfSessions)
	if err != nil {
		return err
	}
	var tool uuid.UUID
	if err := db.QueryRow(ctx, `SELECT id FROM tools WHERE name = 'calculator'`).Scan(&tool); err != nil {
		return err
	}
	var sessions, calls, messages [][]any
	for u, user := range w.users {
		var own []uuid.UUID
		for s := range sessionsEach {
			at := start.Add(time.Duration(s*people+u) * secondsBetween * time.Second)
			id := uid.New(uid.ChatSession)
			own = append(own, id)
			sessions = append(sessions, []any{id, at, at, user, fmt.Sprintf("Conversation %d of %s", s, name(u)), "offline", at.Add(messagesEach * time.Second)})
			for m := range messagesEach {
				mid, mat := uid.New(uid.ChatMessage), at.Add(time.Duration(m)*time.Second)
				role, call := [2]string{"USER", "ASSISTANT"}[m%2], pgtype.UUID{}
				if m%callEvery == callEvery-1 {
					role, call = "TOOL", pgtype.UUID{Bytes: uid.New(uid.ToolExecution), Valid: true}
					calls = append(calls, []any{call, mat, mat, "COMPLETED", tool, user, id, int64(1), "bench", "LOW", []byte(`{"expression":"2*21"}`), []byte(`42`)})
				}
				messages = append(messages, []any{mid, mat, mat, id, user, role, "COMPLETED", strings.Repeat(sentence, 1+m%4), call})
			}
		}
		w.sessions = append(w.sessions, own)
	}
	for _, t := range []struct {
		table   string
		columns string
		rows    [][]any
	}{
		{"chat_sessions", "id created_at updated_at user_id title model last_message_at", sessions},
		{"tool_executions", "id created_at updated_at status tool_id user_id session_id tool_version args_hash effective_risk parameters result", calls},
		{"chat_messages", "id created_at updated_at session_id user_id role status content tool_execution_id", messages},
	} {
		if _, err := db.CopyFrom(ctx, pgx.Identifier{t.table}, strings.Fields(t.columns), pgx.CopyFromRows(t.rows)); err != nil {
			return fmt.Errorf("%s: %w", t.table, err)
		}
	}
	return nil
}

// seedAudit writes rows with encrypted personal fields, in the way the server does.
func (r *rig) seedAudit(ctx context.Context, db *pgx.Conn, w *world, key []byte) error {
	rec, err := audit.New(r.db, key)
	if err != nil {
		return err
	}
	for done := 0; done < auditRows; done += auditBatch {
		var b pgx.Batch
		for i := done; i < done+auditBatch; i++ {
			user := i % people
			p := authz.NewUser(w.users[user], name(user), uid.New(uid.Session), false, time.Time{})
			row, err := rec.Prepare(authz.WithRequest(authz.With(ctx, p), authz.Request{ID: fmt.Sprint("seed-", i), IP: "127.0.0.1", UserAgent: "bench"}),
				audit.Entry{Action: actions[i%len(actions)], Resource: "ChatSession", ResourceID: w.sessions[user][i/people%sessionsEach]})
			if err != nil {
				return err
			}
			row.Queue(&b)
		}
		if err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &b).Close() }); err != nil {
			return err
		}
	}
	return nil
}
