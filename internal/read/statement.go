package read

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/rule"
)

// shape is all that a statement's text depends on. Values are arguments, page sizes are not: with a literal LIMIT the
// planner knows how many rows it is for.
type shape struct {
	of     string // table
	cols   set
	where  string // row scope, filters and cursors
	page   page
	below  below
	scopes [3]string // row scopes of messages, executions and tools
}

// statement is a shape's text and how its rows are read.
type statement struct {
	sql     string
	formats []int16
	session []column[session]
	message []column[message]
	call    []column[execution]
	tool    []column[tool]
	audit   []column[auditRow]
}

// shapes remembers statements. Clients choose shapes, so they are bounded: when it is full it starts anew.
type shapes struct {
	mu   sync.RWMutex
	made map[shape]*statement
}

const maxShapes = 512

func (c *shapes) statement(s shape) *statement {
	c.mu.RLock()
	st := c.made[s]
	c.mu.RUnlock()
	if st != nil {
		return st
	}
	st = s.statement()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil || len(c.made) >= maxShapes {
		c.made = map[shape]*statement{}
	}
	c.made[s] = st
	return st
}

func (s shape) statement() *statement {
	st := &statement{}
	var b strings.Builder
	b.WriteString("SELECT ")
	switch {
	case s.of == auditTable:
		st.audit = auditRows.chosen(s.cols)
		st.formats = auditRows.list(&b, "s", s.cols, nil)
		s.from(&b)
	case s.below.message == 0:
		st.session = sessions.chosen(s.cols)
		st.formats = sessions.list(&b, "s", s.cols, nil)
		s.from(&b)
	default:
		s.nested(&b, st)
	}
	st.sql = b.String()
	return st
}

func (s shape) from(b *strings.Builder) {
	b.WriteString(" FROM " + s.of + " s WHERE " + s.where + " ORDER BY ")
	s.page.terms(b, "s")
	b.WriteString(" LIMIT " + strconv.Itoa(s.page.limit))
}

// nested joins the conversations of a page with the newest messages of each, their calls and tools. Conversations
// without messages stay, with NULLs.
func (s shape) nested(b *strings.Builder, st *statement) {
	n := s.below
	st.session, st.message = sessions.chosen(s.cols), messages.chosen(n.message)
	st.formats = sessions.list(b, "s", s.cols, nil)
	b.WriteString(", ")
	st.formats = messages.list(b, "m", n.message, st.formats)
	if n.execution != 0 {
		st.call = executions.chosen(n.execution)
		b.WriteString(", ")
		st.formats = executions.list(b, "e", n.execution, st.formats)
	}
	if n.tool != 0 {
		st.tool = tools.chosen(n.tool)
		b.WriteString(", ")
		st.formats = tools.list(b, "t", n.tool, st.formats)
	}
	b.WriteString(" FROM (SELECT ")
	sessions.list(b, "s", s.cols|sessions.of(s.page.order), nil)
	s.from(b)
	b.WriteString(") s LEFT JOIN LATERAL (SELECT ")
	messages.list(b, "m", n.message|messages.of(n.page.order, "tool_execution_id"), nil)
	b.WriteString(" FROM chat_messages m WHERE m.session_id = s.id AND " + s.scopes[0] + " ORDER BY ")
	n.page.terms(b, "m")
	b.WriteString(" LIMIT " + strconv.Itoa(n.page.limit) + ") m ON TRUE")
	if n.execution != 0 {
		b.WriteString(" LEFT JOIN tool_executions e ON e.id = m.tool_execution_id AND " + s.scopes[1])
	}
	if n.tool != 0 {
		b.WriteString(" LEFT JOIN tools t ON t.id = e.tool_id AND " + s.scopes[2])
	}
	b.WriteString(" ORDER BY ")
	s.page.terms(b, "s")
	b.WriteString(", ")
	n.page.terms(b, "m")
}

// terms writes the order; the id breaks ties in the same direction.
func (p page) terms(b *strings.Builder, alias string) {
	direction := ""
	if p.desc {
		direction = " DESC"
	}
	if p.order != "" {
		b.WriteString(alias + "." + p.order + direction + ", ")
	}
	b.WriteString(alias + ".id" + direction)
}

// condition collects a WHERE clause and all arguments of a statement, and the first fault of its scopes.
type condition struct {
	text strings.Builder
	args []any
	err  error
}

// arg adds an argument and gives its placeholder.
func (c *condition) arg(v any) string {
	if u, ok := v.(uuid.UUID); ok {
		v = pgtype.UUID{Bytes: u, Valid: true} // uuid.UUID would travel as text
	}
	c.args = append(c.args, v)
	return "$" + strconv.Itoa(len(c.args))
}

func (c *condition) and(text string) {
	if c.text.Len() > 0 {
		c.text.WriteString(" AND ")
	}
	c.text.WriteString(text)
}

// scope gives the rows of an entity that the caller may see, for the alias; none after a fault.
func (c *condition) scope(ctx context.Context, entity, alias string) string {
	p, err := rule.Judged(ctx, entity)
	if err != nil && c.err == nil {
		c.err = err
	}
	text, args := rule.Visible(entity, p).SQL(alias, len(c.args)+1)
	for _, a := range args {
		c.arg(a)
	}
	return text
}

// cursors narrows to what lies between the cursors; false for a cursor of a list in another order. No column that is
// ordered by here may be NULL.
func (c *condition) cursors(p page, kind func(any) bool, after, before *ent.Cursor) bool {
	for i, cur := range []*ent.Cursor{after, before} {
		sign := " > "
		if (i == 0) == (p.desc != p.reverse) { // p.desc is the direction of reading
			sign = " < "
		}
		if cur == nil {
			continue
		}
		v := cur.Value
		if v == nil && p.order == "title" { // an encoded cursor leaves out ""
			v = ""
		}
		switch {
		case (p.order == "") != (v == nil) || p.order != "" && !kind(v):
			return false
		case p.order == "":
			c.and("s.id" + sign + c.arg(cur.ID))
		default:
			c.and("(s." + p.order + ", s.id)" + sign + "(" + c.arg(v) + ", " + c.arg(cur.ID) + ")")
		}
	}
	return true
}

// orderKind says whether a cursor's value fits the order's column.
func orderKind(column string) func(any) bool {
	return func(v any) (ok bool) {
		if column == "title" {
			_, ok = v.(string)
			return ok
		}
		_, ok = v.(time.Time)
		return ok
	}
}
