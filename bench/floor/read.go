//go:build unix

package main

import (
	"bytes"
	"context"
	"strconv"

	"entgo.io/contrib/entgql"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
)

const sessionSQL = `SELECT id, title, model, created_at, last_message_at, is_active, sensitivity FROM chat_sessions WHERE id = $1 AND user_id = $2`

func (f *floor) session(ctx context.Context, c caller, in request, b []byte) ([]byte, error) {
	rows, err := f.pool.Query(ctx, sessionSQL, pgID(in.ID), c.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return nil, err
		}
		return nil, pgx.ErrNoRows
	}
	v := rows.RawValues()
	b = appendID(append(b, `{"data":{"node":{"id":`...), v[0])
	b = appendString(append(b, `,"title":`...), v[1])
	b = appendString(append(b, `,"model":`...), v[2])
	b = appendTime(append(b, `,"createdAt":`...), v[3])
	b = appendTime(append(b, `,"lastMessageAt":`...), v[4])
	b = appendBool(append(b, `,"isActive":`...), v[5])
	b = appendString(append(b, `,"sensitivity":`...), v[6])
	return append(b, `}}}`...), rows.Err()
}

func sessionsSQL(first, last int) string {
	return `SELECT s.id, s.title, s.model, s.created_at, m.id, m.role, m.content, m.created_at, e.id, e.status, t.id, t.name
		FROM (SELECT id, title, model, created_at FROM chat_sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT ` + strconv.Itoa(first) + `) s
		LEFT JOIN LATERAL (SELECT id, role, content, created_at, tool_execution_id FROM chat_messages WHERE session_id = s.id AND user_id = $1
			ORDER BY created_at DESC, id DESC LIMIT ` + strconv.Itoa(last) + `) m ON TRUE
		LEFT JOIN tool_executions e ON e.id = m.tool_execution_id AND e.user_id = $1
		LEFT JOIN tools t ON t.id = e.tool_id
		ORDER BY s.created_at DESC, s.id DESC, m.created_at, m.id`
}

func (f *floor) sessions(ctx context.Context, c caller, in request, b []byte) ([]byte, error) {
	rows, err := f.pool.Query(ctx, sessionsSQL(in.First, in.Last), c.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	b = append(b, `{"data":{"chatSessions":{"edges":[`...)
	var session [16]byte
	some, someMessages := false, false
	for rows.Next() {
		v := rows.RawValues()
		if !some || string(session[:]) != string(v[0]) {
			if some {
				b = append(b, `]}}},`...)
			}
			copy(session[:], v[0])
			some, someMessages = true, false
			b = appendID(append(b, `{"node":{"id":`...), v[0])
			b = appendString(append(b, `,"title":`...), v[1])
			b = appendString(append(b, `,"model":`...), v[2])
			b = appendTime(append(b, `,"createdAt":`...), v[3])
			b = append(b, `,"messages":{"edges":[`...)
		}
		if v[4] == nil {
			continue
		}
		if someMessages {
			b = append(b, ',')
		}
		someMessages = true
		b = appendMessage(b, v)
	}
	if some {
		b = append(b, `]}}}`...)
	}
	return append(b, `]}}}`...), rows.Err()
}

func appendMessage(b []byte, v [][]byte) []byte {
	b = appendID(append(b, `{"node":{"id":`...), v[4])
	b = appendString(append(b, `,"role":`...), v[5])
	b = appendString(append(b, `,"content":`...), v[6])
	b = appendTime(append(b, `,"createdAt":`...), v[7])
	b = append(b, `,"toolExecution":`...)
	if v[8] == nil {
		return append(b, `null}}`...)
	}
	b = appendID(append(b, `{"id":`...), v[8])
	b = appendString(append(b, `,"status":`...), v[9])
	b = append(b, `,"tool":`...)
	if v[10] == nil {
		return append(b, `null}}}`...)
	}
	b = appendID(append(b, `{"id":`...), v[10])
	b = appendString(append(b, `,"name":`...), v[11])
	return append(b, `}}}}`...)
}

func auditSQL(first int) string {
	return `SELECT id, created_at, user_id, username, action, resource_type, resource_id, success FROM audit_logs WHERE action = $1
		ORDER BY created_at DESC, id DESC LIMIT ` + strconv.Itoa(first+1)
}

func (f *floor) auditLogs(ctx context.Context, c caller, in request, b []byte) ([]byte, error) {
	ctx = authz.With(ctx, c.principal)
	if err := f.audit.Record(ctx, audit.Entry{Action: enum.AuditActionAuditLogViewed, Resource: "AuditLog"}); err != nil {
		return nil, err
	}
	rows, err := f.pool.Query(ctx, auditSQL(in.First), in.Action)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	b = append(b, `{"data":{"auditLogs":{"edges":[`...)
	n, more := 0, false
	var row ent.AuditLog
	var user uuid.UUID
	for rows.Next() {
		if n == in.First {
			more = true
			continue
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		v := rows.RawValues()
		row = ent.AuditLog{Username: v[3], CreatedAt: instant(v[1])}
		copy(row.ID[:], v[0])
		b = appendID(append(b, `{"node":{"id":`...), v[0])
		b = appendTime(append(b, `,"createdAt":`...), v[1])
		if v[2] != nil {
			copy(user[:], v[2])
			row.UserID = &user
		}
		name, err := f.audit.Open(ctx, &row)
		if err != nil {
			return nil, err
		}
		b = append(b, `,"username":`...)
		if name.Username == nil {
			b = append(b, `null`...)
		} else {
			b = appendString(b, []byte(*name.Username))
		}
		b = appendString(append(b, `,"action":`...), v[4])
		b = appendString(append(b, `,"resourceType":`...), v[5])
		b = appendID(append(b, `,"resourceId":`...), v[6])
		b = append(appendBool(append(b, `,"success":`...), v[7]), `}}`...)
	}
	b = append(b, `],"pageInfo":{"hasNextPage":`...)
	b = append(strconv.AppendBool(b, more), `,"endCursor":`...)
	var cursor bytes.Buffer
	entgql.Cursor[uuid.UUID]{ID: row.ID, Value: row.CreatedAt}.MarshalGQL(&cursor)
	return append(append(b, cursor.Bytes()...), `}}}}`...), rows.Err()
}
