package read

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
)

const (
	sessionTable = "chat_sessions"
	auditTable   = "audit_logs"
)

// ChatSessions is Query.chatSessions: the page of conversations the caller may see, with what is selected of their
// messages. UNAUTHENTICATED without a caller; the permission is the schema's to check.
func (r *Reader) ChatSessions(ctx context.Context, after *ent.Cursor, first *int, before *ent.Cursor, last *int, order *ent.ChatSessionOrder, where *ent.ChatSessionWhereInput) (*ent.ChatSessionConnection, error) {
	if _, err := authz.Signed(ctx); err != nil {
		return nil, err
	}
	if op, field, ok := operation(ctx); ok && where == nil {
		a := &ahead{op: op}
		s, args, ok, err := a.chatSessions(ctx, field, after, first, before, last, order)
		if err != nil {
			return nil, err
		}
		if ok {
			rows, err := r.chatSessions(ctx, s, args, a)
			if err != nil {
				return nil, err
			}
			return ent.NewChatSessionConnection(rows, after, first, before, last, order)
		}
	}
	return r.client.ChatSession.Query().Paginate(ctx, after, first, before, last, ent.WithChatSessionOrder(order), ent.WithChatSessionFilter(where.Filter))
}

// chatSessions makes the shape and arguments of a page; false when something is not covered. An error is one of who may
// see the rows.
func (a *ahead) chatSessions(ctx context.Context, f collectedField, after *ent.Cursor, first *int, before *ent.Cursor, last *int, order *ent.ChatSessionOrder) (s shape, args []any, ok bool, err error) {
	s.of, s.cols = sessionTable, idOnly
	more, ok := a.connection(f, "ChatSession", func(node collectedField) bool {
		cols, b, ok := a.session(node)
		if !ok || s.below.message != 0 && b.message != 0 {
			return false // one node selection is the rule; two with messages are not worth merging
		}
		if s.cols |= cols; b.message != 0 {
			s.below = b
		}
		return true
	})
	column, desc, known := sessionOrder(order)
	if !ok || !known {
		return s, nil, false, nil
	}
	if s.page, ok = newPage(first, last, column, desc, more); !ok {
		return s, nil, false, nil
	}
	s.cols |= sessions.of(column)
	var c condition
	c.and(c.scope(ctx, "ChatSession", "s"))
	if !c.cursors(s.page, orderKind(column), after, before) {
		return s, nil, false, nil
	}
	c.nested(ctx, &s)
	return s, c.args, true, c.err
}

// nested adds the scopes of what is read below and takes the finished condition.
func (c *condition) nested(ctx context.Context, s *shape) {
	s.where = c.text.String()
	if s.below.message != 0 {
		s.scopes[0] = c.scope(ctx, "ChatMessage", "m")
	}
	if s.below.execution != 0 {
		s.scopes[1] = c.scope(ctx, "ToolExecution", "e")
	}
	if s.below.tool != 0 {
		s.scopes[2] = c.scope(ctx, "Tool", "t")
	}
}

// ChatSession is one conversation for Query.node, nil when it is absent or hidden; covered is false when something
// selected has to be read another way. UNAUTHENTICATED without a caller.
func (r *Reader) ChatSession(ctx context.Context, sessionID uuid.UUID) (found *ent.ChatSession, covered bool, err error) {
	if _, err := authz.Signed(ctx); err != nil {
		return nil, true, err
	}
	op, field, ok := operation(ctx)
	if !ok {
		return nil, false, nil
	}
	a := &ahead{op: op}
	s := shape{of: sessionTable, page: page{limit: 1}}
	if s.cols, s.below, ok = a.session(field); !ok {
		return nil, false, nil
	}
	var c condition
	c.and("s.id = " + c.arg(sessionID))
	c.and(c.scope(ctx, "ChatSession", "s"))
	if c.nested(ctx, &s); c.err != nil {
		return nil, true, c.err
	}
	rows, err := r.chatSessions(ctx, s, c.args, a)
	if err != nil || len(rows) == 0 {
		return nil, true, err
	}
	return rows[0], true, nil
}

// chatSessions reads conversations in the statement's order, for the messages connections that were seen.
func (r *Reader) chatSessions(ctx context.Context, s shape, args []any, seen *ahead) ([]*ent.ChatSession, error) {
	st := r.shapes.statement(s)
	rd := sessionRows{client: r.client, st: st, withCall: s.below.execution != 0, keepMessages: seen.derived.messages, keepCalls: seen.derived.executions, rows: make([]*ent.ChatSession, 0, s.page.limit), session: newSlab[ent.ChatSession](s.page.limit)}
	if s.below.message != 0 {
		rd.perSession = s.below.page.limit
		n := s.page.limit * rd.perSession
		rd.message, rd.call, rd.tool = newSlab[ent.ChatMessage](n), newSlab[ent.ToolExecution](n/4), newSlab[ent.Tool](n/4)
	}
	if err := r.each(ctx, st.sql, args, st.formats, s.page.limit*max(1, rd.perSession), rd.row); err != nil {
		return nil, err
	}
	for i, x := range rd.rows {
		for _, alias := range seen.aliases {
			x.SetNamedMessages(alias, rd.messages[i])
		}
	}
	if seen.derived.sessions {
		batch.Note(ctx, rd.rows)
	}
	batch.Note(ctx, rd.keptMessages)
	batch.Note(ctx, rd.kept)
	return rd.rows, nil
}

// sessionRows puts together conversations from joined rows, which come in order.
type sessionRows struct {
	client       *ent.Client
	st           *statement
	withCall     bool
	keepMessages bool
	keepCalls    bool
	perSession   int // 0: no messages are read

	rows     []*ent.ChatSession
	messages [][]*ent.ChatMessage // of rows, by place
	session  slab[ent.ChatSession]
	message  slab[ent.ChatMessage]
	call     slab[ent.ToolExecution]
	kept     []*ent.ToolExecution
	tool     slab[ent.Tool]

	keptMessages []*ent.ChatMessage
}

func (d *sessionRows) row(v [][]byte) error {
	n := len(d.st.session)
	if len(d.rows) == 0 || string(d.rows[len(d.rows)-1].ID[:]) != string(v[0]) {
		x := d.session.next()
		d.client.Adopt(x)
		if err := fill(x, d.st.session, v[:n]); err != nil {
			return err
		}
		d.rows = append(d.rows, x)
		if d.perSession > 0 {
			d.messages = append(d.messages, make([]*ent.ChatMessage, 0, d.perSession))
		}
	}
	if v = v[n:]; d.perSession == 0 || v[0] == nil {
		return nil
	}
	m := d.message.next()
	d.client.Adopt(m)
	if err := fill(m, d.st.message, v); err != nil {
		return err
	}
	last := len(d.messages) - 1
	d.messages[last] = append(d.messages[last], m)
	if d.keepMessages {
		d.keptMessages = append(d.keptMessages, m)
	}
	if !d.withCall {
		return nil
	}
	x, err := d.calls(v[len(d.st.message):])
	m.SetToolExecution(x)
	return err
}

// calls reads a message's call and its tool; nil when there is none or it is hidden.
func (d *sessionRows) calls(v [][]byte) (*ent.ToolExecution, error) {
	if v[0] == nil {
		return nil, nil //nolint:nilnil // most messages report no call
	}
	x := d.call.next()
	d.client.Adopt(x)
	if err := fill(x, d.st.call, v); err != nil {
		return nil, err
	}
	if d.keepCalls {
		d.kept = append(d.kept, x)
	}
	if len(d.st.tool) == 0 {
		return x, nil
	}
	if v = v[len(d.st.call):]; v[0] == nil {
		x.SetTool(nil)
		return x, nil
	}
	t := d.tool.next()
	d.client.Adopt(t)
	x.SetTool(t)
	return x, fill(t, d.st.tool, v)
}
