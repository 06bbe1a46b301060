package ent

import (
	"context"

	"github.com/google/uuid"
)

// What package read needs to hand over rows of its own SQL as if ent had loaded them. Nothing else should call this:
// rows given here have been scoped by whoever read them, not by the policies.

// Indexes into loadedTypes, in the order of the edges' structs.
const (
	messageToolExecution = 2
	executionTool        = 0
)

// Adopt lets rows that were read by hand load their edges through c.
func (c *Client) Adopt(rows ...any) {
	for _, row := range rows {
		switch x := row.(type) {
		case *ChatSession:
			x.config = c.config
		case *ChatMessage:
			x.config = c.config
		case *ToolExecution:
			x.config = c.config
		case *Tool:
			x.config = c.config
		case *AuditLog:
			x.config = c.config
		default:
			panic("ent: Adopt of an unknown type")
		}
	}
}

// SetNamedMessages says what the connection of this alias holds, in the order it is read: newest first for last, and
// one more than was asked for when there are more.
func (s *ChatSession) SetNamedMessages(alias string, rows []*ChatMessage) {
	if s.Edges.namedMessages == nil {
		s.Edges.namedMessages = make(map[string][]*ChatMessage, 1)
	}
	s.Edges.namedMessages[alias] = rows
}

// SetToolExecution says what call the message reports; nil for none, or none that may be seen.
func (m *ChatMessage) SetToolExecution(x *ToolExecution) {
	m.Edges.ToolExecution, m.Edges.loadedTypes[messageToolExecution] = x, true
}

// SetTool says which tool was called; nil for one that may not be seen.
func (x *ToolExecution) SetTool(t *Tool) {
	x.Edges.Tool, x.Edges.loadedTypes[executionTool] = t, true
}

// NewChatSessionConnection is the page of these rows, which were read as SetNamedMessages says.
func NewChatSessionConnection(rows []*ChatSession, after *Cursor, first *int, before *Cursor, last *int, order *ChatSessionOrder) (*ChatSessionConnection, error) {
	pager, err := newChatSessionPager([]ChatSessionPaginateOption{WithChatSessionOrder(order)}, last != nil)
	if err != nil {
		return nil, err
	}
	conn := &ChatSessionConnection{}
	conn.build(rows, pager, after, first, before, last)
	return conn, nil
}

// NewAuditLogConnection is the page of these rows, which were read as SetNamedMessages says.
func NewAuditLogConnection(rows []*AuditLog, after *Cursor, first *int, before *Cursor, last *int, order *AuditLogOrder) (*AuditLogConnection, error) {
	pager, err := newAuditLogPager([]AuditLogPaginateOption{WithAuditLogOrder(order)}, last != nil)
	if err != nil {
		return nil, err
	}
	conn := &AuditLogConnection{}
	conn.build(rows, pager, after, first, before, last)
	return conn, nil
}

// NodesOf is the rows of these ids of one table that may be seen, each at its id's place, and nil for the others.
func (c *Client) NodesOf(ctx context.Context, table string, ids []uuid.UUID) ([]Noder, error) {
	return c.noders(ctx, table, ids)
}
