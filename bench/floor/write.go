//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/uid"
)

const (
	holdSQL = `SELECT is_active, model FROM chat_sessions WHERE id = $1 AND user_id = $2 FOR UPDATE`
	busySQL = `SELECT EXISTS (SELECT FROM chat_messages WHERE session_id = $1 AND status IN ('PENDING', 'STREAMING'))`
	saidSQL = `INSERT INTO chat_messages (id, created_at, updated_at, session_id, user_id, role, status, content) VALUES ($1, $2, $2, $3, $4, 'USER', 'COMPLETED', $5)`
	dueSQL  = `INSERT INTO chat_messages (id, created_at, updated_at, session_id, user_id, role, parent_id, model, lease_expires_at) VALUES ($1, $2, $2, $3, $4, 'ASSISTANT', $5, $6, $7)`
	lastSQL = `UPDATE chat_sessions SET last_message_at = $2, updated_at = $2 WHERE id = $1`
	jobSQL  = `INSERT INTO river_job (args, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags) VALUES ($1, $2, 1, '{}', 1, $3, now(), 'available', '{}')`
)

// pickup is the server's: how long an answer may wait for a worker.
const pickup = 5 * time.Second

// send writes what the server's sendMessage writes, in one transaction of four round trips: message, answer,
// conversation, audit row, two events, one job.
func (f *floor) send(ctx context.Context, c caller, in request, b []byte) ([]byte, error) {
	ctx = authz.With(ctx, c.principal)
	now := time.Now().UTC().Truncate(time.Microsecond)
	said, due := uid.New(uid.ChatMessage), uid.New(uid.ChatMessage)
	err := pgx.BeginFunc(ctx, f.pool, func(tx pgx.Tx) error {
		var active, busy bool
		var model string
		if err := tx.QueryRow(ctx, holdSQL, pgID(in.SessionID), c.id).Scan(&active, &model); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, busySQL, pgID(in.SessionID)).Scan(&busy); err != nil {
			return err
		}
		if busy || !active {
			return errors.New("not now")
		}
		row, err := f.audit.Prepare(ctx, audit.Entry{Action: enum.AuditActionChatMessageSent, Resource: "ChatMessage", ResourceID: said, SessionID: in.SessionID,
			Details: map[string]any{"characters": utf8.RuneCountInString(in.Content)}})
		if err != nil {
			return err
		}
		args, err := json.Marshal(job.Turn{Reply: due})
		if err != nil {
			return err
		}
		var q pgx.Batch
		q.Queue(saidSQL, pgID(said), now, pgID(in.SessionID), c.id, in.Content)
		q.Queue(dueSQL, pgID(due), now.Add(time.Microsecond), pgID(in.SessionID), c.id, pgID(said), model, now.Add(pickup))
		q.Queue(lastSQL, pgID(in.SessionID), now)
		row.Queue(&q)
		for _, message := range []fact.Chat{{Kind: fact.Created, Message: said}, {Kind: fact.Created, Message: due}} {
			if err := event.Queue(&q, fact.ChatSubject(in.SessionID), message); err != nil {
				return err
			}
		}
		q.Queue(jobSQL, args, job.Turn{}.Kind(), job.QueueTurns)
		return tx.SendBatch(ctx, &q).Close()
	})
	if err != nil {
		return nil, err
	}
	b = appendID(append(b, `{"data":{"sendMessage":{"message":{"id":`...), said[:])
	b = appendString(append(b, `,"role":"USER","content":`...), []byte(in.Content))
	b = append(now.AppendFormat(append(b, `,"createdAt":"`...), time.RFC3339Nano), '"')
	b = appendID(append(b, `},"reply":{"id":`...), due[:])
	return append(b, `,"status":"PENDING"}}}}`...), nil
}
