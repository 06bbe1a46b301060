// Package chat keeps conversations: sessions, messages and the state of answers. It does not call models; package agent
// goes on with an answer from the rows written here.
package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatmessage"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/ent/contextwindow"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Limits of what a conversation holds, in Unicode code points or tokens.
const (
	maxTitle        = 200
	maxSystemPrompt = 16_000
	maxContent      = 200_000
	maxKey          = 200
	minWindow       = 512
	maxWindow       = 1_000_000
	maxDocumentIDs  = 100
	// pickupTime is how long a new answer may wait for a worker before the sweeper enqueues it again.
	pickupTime = 5 * time.Second
)

// ToolCanceller ends tool calls that have not ended, in the unit of work that ends what they were made for.
type ToolCanceller interface {
	CancelReply(ctx context.Context, tx *uow.Tx, replyID uuid.UUID) error
	CancelSession(ctx context.Context, tx *uow.Tx, sessionID uuid.UUID) error
}

// Service keeps conversations. It is safe for concurrent use.
type Service struct {
	Store    *uow.Store
	Client   *ent.Client
	Models   *llm.Registry
	Position func() uint64                     // of the event stream
	Signal   func(subject string, data []byte) // core signal, lossy
	Tools    ToolCanceller
}

// Settings are a conversation's changeable settings; nil leaves them as they are.
type Settings struct {
	Title         *string
	Model         *string
	SystemPrompt  *string
	Temperature   *float64
	ContextWindow *int
	Strategy      *enum.ContextStrategy
	IsActive      *bool
}

// Create starts a conversation of the caller, who needs chat:write. BAD_USER_INPUT names each bad setting. Audited as
// CHAT_SESSION_CREATED.
func (s *Service) Create(ctx context.Context, in Settings) (*ent.ChatSession, error) {
	p, err := authz.Require(ctx, "chat", "write")
	if err != nil {
		return nil, err
	}
	if err := s.check(&in); err != nil {
		return nil, err
	}
	if in.Model == nil || *in.Model == "" {
		name := s.Models.Default().Info.Name
		in.Model = &name
	}
	made, err := uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (*ent.ChatSession, error) {
		c, err := tx.ChatSession.Create().SetUserID(p.UserID).SetNillableTitle(in.Title).SetModel(*in.Model).
			SetNillableSystemPrompt(in.SystemPrompt).SetNillableTemperature(in.Temperature).SetNillableContextWindowSize(in.ContextWindow).Save(ctx)
		if err != nil {
			return nil, err
		}
		w := tx.ContextWindow.Create().SetSessionID(c.ID).SetMaxTokens(c.ContextWindowSize).SetNillableStrategy(in.Strategy)
		if err := w.Exec(ctx); err != nil {
			return nil, err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionChatSessionCreated, Resource: "ChatSession", ResourceID: c.ID, SessionID: c.ID, Details: map[string]any{"model": c.Model}})
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	s.Client.Adopt(made) // its edges are read after commit
	return made, nil
}

// Update changes settings of the caller's conversation. NOT_FOUND, BAD_USER_INPUT. Audited as CHAT_SESSION_UPDATED.
func (s *Service) Update(ctx context.Context, id uuid.UUID, in Settings) (*ent.ChatSession, error) {
	if err := uid.Check(id, uid.ChatSession, "id"); err != nil {
		return nil, err
	}
	if err := s.check(&in); err != nil {
		return nil, err
	}
	updated, err := uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (*ent.ChatSession, error) {
		c, err := ownSession(ctx, tx, id)
		if err != nil {
			return nil, err
		}
		u := c.Update().SetNillableTitle(in.Title).SetNillableModel(in.Model).SetNillableSystemPrompt(in.SystemPrompt).
			SetNillableTemperature(in.Temperature).SetNillableContextWindowSize(in.ContextWindow)
		if in.IsActive != nil {
			u.SetIsActive(*in.IsActive)
			if *in.IsActive {
				u.ClearArchivedAt()
			} else {
				u.SetArchivedAt(time.Now().UTC())
			}
		}
		if c, err = u.Save(ctx); err != nil {
			return nil, err
		}
		w := tx.ContextWindow.Update().Where(contextwindow.SessionID(id)).SetMaxTokens(c.ContextWindowSize)
		if in.Strategy != nil {
			w.SetStrategy(*in.Strategy)
		}
		if err := w.Exec(ctx); err != nil {
			return nil, err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionChatSessionUpdated, Resource: "ChatSession", ResourceID: id, SessionID: id, Details: map[string]any{"changed": in.names()}})
		return c, nil
	})
	if err != nil {
		return nil, s.refused(ctx, "update", id, err)
	}
	s.Client.Adopt(updated) // its edges are read after commit
	return updated, nil
}

func (in Settings) names() []string {
	n := []string{}
	for name, set := range map[string]bool{"title": in.Title != nil, "model": in.Model != nil, "systemPrompt": in.SystemPrompt != nil,
		"temperature": in.Temperature != nil, "contextWindowSize": in.ContextWindow != nil, "strategy": in.Strategy != nil, "isActive": in.IsActive != nil} {
		if set {
			n = append(n, name)
		}
	}
	return n
}

func (s *Service) check(in *Settings) error {
	bad := map[string]string{}
	text := func(field string, v *string, limit int) {
		if v != nil && (utf8.RuneCountInString(*v) > limit || strings.ContainsRune(*v, 0)) {
			bad["input."+field] = fmt.Sprintf("At most %d characters, none of them NUL.", limit)
		}
	}
	text("title", in.Title, maxTitle)
	text("systemPrompt", in.SystemPrompt, maxSystemPrompt)
	if in.Model != nil && *in.Model == "" {
		in.Model = nil // leaves it, or takes the default
	}
	if in.Model != nil {
		if _, err := s.Models.Lookup(*in.Model); err != nil {
			bad["input.model"] = "There is no such model; serverInfo lists them."
		}
	}
	if t := in.Temperature; t != nil && !(*t >= 0 && *t <= 2) {
		bad["input.temperature"] = "The temperature goes from 0 to 2."
	}
	if w := in.ContextWindow; w != nil && (*w < minWindow || *w > maxWindow) {
		bad["input.contextWindowSize"] = fmt.Sprintf("The window goes from %d to %d tokens.", minWindow, maxWindow)
	}
	return inputError(bad)
}

func inputError(bad map[string]string) error {
	if len(bad) == 0 {
		return nil
	}
	e := errs.New(errs.BadUserInput, "Some of the input is wrong; see extensions.fields.")
	if len(bad) == 1 {
		for _, sentence := range bad {
			e.Message = sentence
		}
	}
	e.Fields = bad
	return e
}

// ownSession loads the caller's conversation and holds its row, so that turns of one conversation are serial.
func ownSession(ctx context.Context, tx *uow.Tx, id uuid.UUID) (*ent.ChatSession, error) {
	p, err := authz.Require(ctx, "chat", "write")
	if err != nil {
		return nil, err
	}
	c, err := tx.ChatSession.Query().Where(chatsession.ID(id)).ForUpdate().Only(ctx)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("conversation")
	}
	if err != nil {
		return nil, err
	}
	if c.UserID != p.UserID {
		return nil, errs.New(errs.Forbidden, "This is another person's conversation.")
	}
	return c, nil
}

// refused audits a denial outside its rolled-back unit of work; any other error passes through.
func (s *Service) refused(ctx context.Context, doing string, id uuid.UUID, err error) error {
	if !errs.Is(err, errs.Forbidden) {
		return err
	}
	e := audit.Entry{
		Action: enum.AuditActionPermissionDenied, Resource: "ChatSession", ResourceID: id, Failed: true, Error: string(errs.Forbidden),
		Details: map[string]any{"operation": doing},
	}
	if rerr := s.Store.Audit.Record(ctx, e); rerr != nil {
		return errors.Join(rerr, err)
	}
	return err
}

// Delete removes the caller's conversation and its messages, stops what runs in it and ends who listens to it. Tool calls,
// approvals and audit rows stay. NOT_FOUND, FORBIDDEN. Audited as CHAT_SESSION_DELETED.
func (s *Service) Delete(ctx context.Context, id uuid.UUID) error {
	if err := uid.Check(id, uid.ChatSession, "id"); err != nil {
		return err
	}
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := ownSession(ctx, tx, id); err != nil {
			return err
		}
		if _, err := s.stopUnderWay(ctx, tx, id); err != nil {
			return err
		}
		if err := s.Tools.CancelSession(ctx, tx, id); err != nil {
			return err
		}
		n, err := tx.ChatMessage.Query().Where(chatmessage.SessionID(id)).Count(ctx)
		if err != nil {
			return err
		}
		if err := tx.ChatSession.DeleteOneID(id).Exec(ctx); err != nil {
			return err
		}
		tx.Event(fact.ChatSubject(id), fact.Chat{Deleted: true})
		tx.Audit(audit.Entry{Action: enum.AuditActionChatSessionDeleted, Resource: "ChatSession", ResourceID: id, SessionID: id, Details: map[string]any{"messages": n}})
		return nil
	})
	return s.refused(ctx, "delete", id, err)
}

// Message is what is sent.
type Message struct {
	SessionID      uuid.UUID
	Content        string
	IdempotencyKey *string
	DocumentIDs    []uuid.UUID
}

// Sent is a stored message, the answer that was begun, and the stream's position before both.
type Sent struct {
	Message, Reply *ent.ChatMessage
	Position       uint64
}

// Send stores a message of the caller and begins the answer, which arrives as events. The same idempotency key in the
// same conversation returns the first message again. NOT_FOUND, FORBIDDEN, BAD_USER_INPUT, FAILED_PRECONDITION while
// another answer is being written, when the conversation is archived, or when the model may not see data this
// confidential. Audited as CHAT_MESSAGE_SENT.
func (s *Service) Send(ctx context.Context, in Message) (Sent, error) {
	if err := checkMessage(in); err != nil {
		return Sent{}, err
	}
	position := s.Position()
	sent, err := uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (Sent, error) { return s.send(ctx, tx, in) })
	if err != nil {
		return Sent{}, s.refused(ctx, "send", in.SessionID, err)
	}
	s.Client.Adopt(sent.Message) // their edges are read after commit
	s.Client.Adopt(sent.Reply)
	sent.Position = position
	if sent.Reply.StreamPosition != 0 { // sent before: from before its first delta
		sent.Position = min(position, sent.Reply.StreamPosition)
	}
	return sent, nil
}

func checkMessage(in Message) error {
	if err := uid.Check(in.SessionID, uid.ChatSession, "input.sessionId"); err != nil {
		return err
	}
	bad := map[string]string{}
	if strings.TrimSpace(in.Content) == "" {
		bad["input.content"] = "The message is empty."
	} else if utf8.RuneCountInString(in.Content) > maxContent || strings.ContainsRune(in.Content, 0) {
		bad["input.content"] = fmt.Sprintf("A message has at most %d characters, none of them NUL.", maxContent)
	}
	if k := in.IdempotencyKey; k != nil && (*k == "" || len(*k) > maxKey || strings.ContainsRune(*k, 0)) {
		bad["input.idempotencyKey"] = fmt.Sprintf("A key has 1 to %d bytes.", maxKey)
	}
	if len(in.DocumentIDs) > maxDocumentIDs {
		bad["input.documentIds"] = fmt.Sprintf("At most %d documents.", maxDocumentIDs)
	}
	for _, id := range in.DocumentIDs {
		if uid.Check(id, uid.Document, "") != nil {
			bad["input.documentIds"] = "One of them is not the id of a Document."
		}
	}
	return inputError(bad)
}

// earlier finds what the same key sent before.
func earlier(ctx context.Context, tx *uow.Tx, in Message) (*Sent, error) {
	m, err := tx.ChatMessage.Query().Where(chatmessage.SessionID(in.SessionID), chatmessage.IdempotencyKey(*in.IdempotencyKey)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is the usual case
	}
	if err != nil {
		return nil, err
	}
	if m.Content != in.Content {
		return nil, errs.New(errs.Conflict, "This idempotency key was used for another message.")
	}
	reply, err := tx.ChatMessage.Query().Where(chatmessage.ParentID(m.ID), chatmessage.RoleEQ(enum.MessageRoleAssistant)).Order(chatmessage.ByCreatedAt()).First(ctx)
	if err != nil {
		return nil, fmt.Errorf("the answer to message %s: %w", m.ID, err)
	}
	return &Sent{Message: m, Reply: reply}, nil
}

// Cancel stops the answer being written in the caller's conversation and returns it; nil when there is none. A worker
// that holds the answer is told and ends it within moments; the returned message may still be STREAMING. Its tool calls
// that have not ended are cancelled with it. Audited as
// CHAT_GENERATION_CANCELLED.
func (s *Service) Cancel(ctx context.Context, sessionID uuid.UUID) (*ent.ChatMessage, error) {
	if err := uid.Check(sessionID, uid.ChatSession, "sessionId"); err != nil {
		return nil, err
	}
	var reply *ent.ChatMessage
	err := s.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := ownSession(ctx, tx, sessionID); err != nil {
			return err
		}
		var err error
		if reply, err = s.stopUnderWay(ctx, tx, sessionID); err != nil || reply == nil {
			return err
		}
		return s.Tools.CancelReply(ctx, tx, reply.ID)
	})
	if err != nil || reply == nil {
		return nil, s.refused(ctx, "cancel", sessionID, err)
	}
	s.Client.Adopt(reply) // its edges are read after commit
	return reply, nil
}

// stopUnderWay stops the answer being written in a conversation that the caller holds; nil when there is none.
func (s *Service) stopUnderWay(ctx context.Context, tx *uow.Tx, sessionID uuid.UUID) (*ent.ChatMessage, error) {
	m, err := tx.ChatMessage.Query().Where(chatmessage.SessionID(sessionID), chatmessage.RoleEQ(enum.MessageRoleAssistant),
		chatmessage.StatusIn(enum.MessageStatusPending, enum.MessageStatusStreaming)).ForUpdate().First(ctx)
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nothing is being written
	}
	if err != nil {
		return nil, err
	}
	return s.stop(ctx, tx, m)
}

// stop ends an answer that no worker holds, or asks the worker that holds it to.
func (s *Service) stop(ctx context.Context, tx *uow.Tx, m *ent.ChatMessage) (*ent.ChatMessage, error) {
	held := m.Status == enum.MessageStatusStreaming && m.LeaseExpiresAt != nil && m.LeaseExpiresAt.After(time.Now())
	u := m.Update().SetCancelRequested(true)
	if !held {
		u.SetStatus(enum.MessageStatusCancelled).SetFinishReason("cancelled").ClearLeaseExpiresAt()
		tx.Event(fact.ChatSubject(m.SessionID), fact.Chat{Kind: fact.Cancelled, Message: m.ID})
	}
	m, err := u.Save(ctx)
	if err != nil {
		return nil, err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionChatGenerationCancelled, Resource: "ChatMessage", ResourceID: m.ID, SessionID: m.SessionID})
	if s.Signal != nil {
		tx.After(func() { s.Signal(fact.Cancel, []byte(m.ID.String())) })
	}
	return m, nil
}

// StreamPosition is where to subscribe to a conversation of which everything up to now has been read: now, or, while an
// answer is being written, before its present attempt's first delta, so that a second window gets the whole answer. Only
// c.ID is used; conversations that were read together are asked about together.
func (s *Service) StreamPosition(ctx context.Context, c *ent.ChatSession, now uint64) (uint64, error) {
	streaming, err := batch.Load(ctx, "streaming answers", c, s.streaming)
	if err != nil {
		return 0, err
	}
	m := streaming[c.ID]
	if m == nil || m.LeaseExpiresAt == nil { // none, or parked: all its text is stored, and its first delta may be long gone
		return now, nil
	}
	return min(now, m.StreamPosition), nil
}

// streaming reads the answers being written in conversations, by conversation.
func (s *Service) streaming(ctx context.Context, chats []*ent.ChatSession) (map[uuid.UUID]*ent.ChatMessage, error) {
	ids := make([]uuid.UUID, len(chats))
	for i, c := range chats {
		ids[i] = c.ID
	}
	messages, err := s.Client.ChatMessage.Query().Where(chatmessage.SessionIDIn(ids...), chatmessage.StatusEQ(enum.MessageStatusStreaming)).
		Select(chatmessage.FieldID, chatmessage.FieldSessionID, chatmessage.FieldStreamPosition, chatmessage.FieldLeaseExpiresAt).All(ctx)
	if err != nil {
		return nil, err
	}
	found := make(map[uuid.UUID]*ent.ChatMessage, len(messages))
	for _, m := range messages {
		found[m.SessionID] = m
	}
	return found, nil
}
