package chat

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/delegate"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/job"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Sending a message is the commonest write: its statements are written by hand, two round trips between begin and
// commit besides the job's. They are narrowed by package rule like ent's.

// held is a conversation as far as sending goes, its row locked.
type held struct {
	owner       uuid.UUID
	active      bool
	model       string
	sensitivity enum.Sensitivity
	busy        bool // an answer is being written
}

const holdSession = `SELECT s.user_id, s.is_active, s.model, s.sensitivity FROM chat_sessions s WHERE s.id = $1 AND %s FOR UPDATE`

// A statement of its own: after waiting for the lock it sees what whoever held it wrote.
const sessionBusy = `SELECT EXISTS (SELECT FROM chat_messages WHERE session_id = $1 AND status IN ('PENDING', 'STREAMING'))`

// hold locks a conversation that the caller may see, so that its turns are serial. NOT_FOUND; FORBIDDEN for another's.
func hold(ctx context.Context, tx *uow.Tx, p *authz.Principal, id uuid.UUID) (h held, err error) {
	seen, err := rule.Judged(ctx, "ChatSession")
	if err != nil {
		return h, err
	}
	scope, args := rule.Visible("ChatSession", seen).SQL("s", 2)
	var b pgx.Batch
	b.Queue(fmt.Sprintf(holdSession, scope), append([]any{id}, args...)...)
	b.Queue(sessionBusy, id)
	rows := tx.PG.SendBatch(ctx, &b)
	defer func() { err = errors.Join(err, rows.Close()) }()
	err = rows.QueryRow().Scan(&h.owner, &h.active, &h.model, &h.sensitivity)
	if errors.Is(err, pgx.ErrNoRows) {
		return h, errs.Missing("conversation")
	}
	if err == nil {
		err = rows.QueryRow().Scan(&h.busy)
	}
	if err != nil {
		return h, fmt.Errorf("lock a conversation: %w", err)
	}
	if h.owner != p.UserID {
		return h, errs.New(errs.Forbidden, "This is another person's conversation.")
	}
	return h, nil
}

func (s *Service) send(ctx context.Context, tx *uow.Tx, in Message) (Sent, error) {
	p, err := authz.Require(ctx, "chat", "write")
	if err != nil {
		return Sent{}, err
	}
	h, err := hold(ctx, tx, p, in.SessionID)
	if err != nil {
		return Sent{}, err
	}
	if in.IdempotencyKey != nil {
		if again, err := earlier(ctx, tx, in); again != nil || err != nil {
			if err != nil {
				return Sent{}, err
			}
			return *again, nil
		}
	}
	if !h.active {
		return Sent{}, errs.InState(errs.FailedPrecondition, "ARCHIVED", "This conversation is archived. Revive it first.")
	}
	entry, err := s.Models.Lookup(h.model)
	if err != nil {
		return Sent{}, errs.InState(errs.FailedPrecondition, "NO_MODEL", "The conversation's model is no longer offered. Choose another with updateChatSession.")
	}
	if !entry.Info.SensitivityCeiling.AtLeast(h.sensitivity) {
		return Sent{}, errs.InState(errs.FailedPrecondition, string(h.sensitivity), "The conversation has seen %s data, which its model may not see. Choose another model with updateChatSession.", h.sensitivity)
	}
	if h.busy {
		return Sent{}, errs.InState(errs.FailedPrecondition, string(enum.MessageStatusStreaming), "An answer is still being written in this conversation. Wait for it or stop it with cancelGeneration.")
	}
	return begin(tx, p, h, in), nil
}

const (
	insertTurn = `INSERT INTO chat_messages (id, created_at, updated_at, session_id, user_id, role, status, content, metadata, idempotency_key, parent_id, model, lease_expires_at)
	VALUES ($1, $2, $2, $3, $4, 'USER', 'COMPLETED', $5, $6, $7, NULL, '', NULL), ($8, $9, $9, $3, $4, 'ASSISTANT', 'PENDING', '', NULL, NULL, $1, $10, $11)`
	touchSession = `UPDATE chat_sessions SET last_message_at = $2, updated_at = $2 WHERE id = $1`
)

// begin writes the message, the empty answer and what sets it going. What it gives is what the rows hold.
func begin(tx *uow.Tx, p *authz.Principal, h held, in Message) Sent {
	now := time.Now().UTC().Truncate(time.Microsecond)
	next := now.Add(time.Microsecond) // the answer comes after its question
	lease := now.Add(pickupTime)
	owner := h.owner
	m := &ent.ChatMessage{
		ID: uid.New(uid.ChatMessage), CreatedAt: now, UpdatedAt: now, SessionID: in.SessionID, UserID: &owner,
		Role: enum.MessageRoleUser, Status: enum.MessageStatusCompleted, Content: in.Content, IdempotencyKey: in.IdempotencyKey,
	}
	if len(in.DocumentIDs) > 0 {
		m.Metadata = map[string]any{"documentIds": in.DocumentIDs}
	}
	reply := &ent.ChatMessage{
		ID: uid.New(uid.ChatMessage), CreatedAt: next, UpdatedAt: next, SessionID: in.SessionID, UserID: &owner, ParentID: &m.ID,
		Role: enum.MessageRoleAssistant, Status: enum.MessageStatusPending, Model: h.model, LeaseExpiresAt: &lease,
	}
	var metadata any // NULL, not the JSON null
	if m.Metadata != nil {
		metadata = m.Metadata
	}
	tx.Queue(insertTurn, m.ID, now, in.SessionID, owner, in.Content, metadata, in.IdempotencyKey, reply.ID, next, h.model, lease)
	tx.Queue(touchSession, in.SessionID, now)
	delegate.Note(tx, p, delegate.Reply, reply.ID)
	tx.Audit(audit.Entry{Action: enum.AuditActionChatMessageSent, Resource: "ChatMessage", ResourceID: m.ID, SessionID: in.SessionID, Details: map[string]any{"characters": utf8.RuneCountInString(in.Content)}})
	tx.Event(fact.ChatSubject(in.SessionID), fact.Chat{Kind: fact.Created, Message: m.ID})
	tx.Event(fact.ChatSubject(in.SessionID), fact.Chat{Kind: fact.Created, Message: reply.ID})
	tx.Job(job.Turn{Reply: reply.ID}, nil)
	return Sent{Message: m, Reply: reply}
}
