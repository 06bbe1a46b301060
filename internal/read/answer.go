package read

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/meter"
	"cdsa.dev/cdsa/internal/scalar"
)

// Answer writes the result of the current field as JSON at once, when all that is selected below it are plain columns
// and loaded edges of the types that loaders read; otherwise it gives the result back, for the stock executor, as it
// does when anything about the data is unusual. What it writes is byte for byte what the executor would write, in a
// fraction of its time: there is no goroutine, context or map for each row. A field under a directive or with a resolver
// of its own is never written here. Directives of root fields call it with what the resolver gave.
func Answer(ctx context.Context, result any) any {
	op, field, ok := operation(ctx)
	if !ok {
		return result
	}
	l := &ahead{op: op}
	var write func(a *answer)
	switch v := result.(type) {
	case *ent.ChatSessionConnection:
		if c, ok := newConnection(l, field, "ChatSession", l.sessionObject); v != nil && ok {
			write = func(a *answer) {
				c.write(a, listing[session]{len(v.Edges), func() ent.PageInfo { return v.PageInfo }, func(i int) *session { return v.Edges[i].Node }, func(i int) ent.Cursor { return v.Edges[i].Cursor }})
			}
		}
	case *ent.AuditLogConnection:
		if c, ok := newConnection(l, field, "AuditLog", l.auditObject); v != nil && ok {
			write = func(a *answer) {
				c.write(a, listing[auditRow]{len(v.Edges), func() ent.PageInfo { return v.PageInfo }, func(i int) *auditRow { return v.Edges[i].Node }, func(i int) ent.Cursor { return v.Edges[i].Cursor }})
			}
		}
	case *ent.ChatSession:
		if o, ok := l.sessionObject(field); v != nil && ok {
			write = func(a *answer) { o.write(a, v) }
		}
	}
	if write == nil {
		return result
	}
	a := answers.Get().(*answer) //nolint:forcetypeassert // New makes nothing else
	m := meter.From(ctx)
	a.b, a.room, a.unusual = a.b[:0], m.Room(), false
	if write(a); a.unusual || m.Write(len(a.b)) != nil { // the executor says at which field it is too much
		if cap(a.b) <= largestKept {
			answers.Put(a)
		}
		return result
	}
	return &finished{a}
}

// finished is an answer that is written out once; then its buffer belongs to another operation.
type finished struct{ a *answer }

// MarshalGQL writes the answer into the response's buffer.
func (f *finished) MarshalGQL(w io.Writer) {
	a := f.a
	if a == nil {
		panic("read: an answer was written twice")
	}
	f.a = nil
	_, _ = w.Write(a.b) // a buffer in memory
	if cap(a.b) <= largestKept {
		answers.Put(a)
	}
}

var answers = sync.Pool{New: func() any { return &answer{b: make([]byte, 0, 4<<10)} }}

// largestKept bounds what a finished answer leaves in memory.
const largestKept = 256 << 10

// answer is JSON being written. unusual says that the executor has to judge instead.
type answer struct {
	b       []byte
	room    int // bytes; beyond them nothing is written
	unusual bool
}

// Write lets encoders of others write into the answer.
func (a *answer) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

func (a *answer) null() { a.b = append(a.b, "null"...) }

func orNull[V any](a *answer, v *V, write func(V)) {
	if v == nil {
		a.null()
		return
	}
	write(*v)
}

func (a *answer) id(u uuid.UUID) {
	if u == uuid.Nil {
		a.unusual = true // gqlgen takes it for null
		return
	}
	n := len(a.b) + 1
	a.b = append(a.b, `"00000000-0000-0000-0000-000000000000"`...)
	text, _ := u.MarshalText() // it cannot fail
	copy(a.b[n:], text)
}

// text escapes as gqlgen does: RFC 8259 section 7 and no more.
func (a *answer) text(s string) {
	a.b = append(a.b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		a.b = append(a.b, s[from:i]...)
		switch c {
		case '"', '\\':
			a.b = append(a.b, '\\', c)
		case '\n':
			a.b = append(a.b, '\\', 'n')
		case '\r':
			a.b = append(a.b, '\\', 'r')
		case '\t':
			a.b = append(a.b, '\\', 't')
		default:
			a.b = append(a.b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		from = i + 1
	}
	a.b = append(append(a.b, s[from:]...), '"')
}

func (a *answer) boolean(v bool) { a.b = strconv.AppendBool(a.b, v) }

func (a *answer) integer(n int) { a.b = strconv.AppendInt(a.b, int64(n), 10) }

func (a *answer) float(f float64) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		a.unusual = true
		return
	}
	a.b = scalar.AppendFloat(a.b, f)
}

func (a *answer) moment(t time.Time) {
	if t.IsZero() {
		a.unusual = true // gqlgen takes it for null
		return
	}
	a.b = append(t.AppendFormat(append(a.b, '"'), time.RFC3339Nano), '"')
}

func (a *answer) object(m map[string]any) {
	if err := json.NewEncoder(a).Encode(m); err != nil {
		a.unusual = true
	}
}

// part is one selected field of a T.
type part[T any] struct {
	alias string
	write func(a *answer, x *T)
}

// object is what is selected of a T.
type object[T any] []part[T]

func (o object[T]) write(a *answer, x *T) {
	a.b = append(a.b, '{')
	for i := range o {
		if a.unusual = a.unusual || len(a.b) > a.room; a.unusual {
			return
		}
		if i > 0 {
			a.b = append(a.b, ',')
		}
		a.key(o[i].alias)
		o[i].write(a, x)
	}
	a.b = append(a.b, '}')
}

// key writes a name of GraphQL, in which nothing has to be escaped.
func (a *answer) key(alias string) { a.b = append(append(append(a.b, '"'), alias...), '"', ':') }

// newObject compiles the selection on an object; nested compiles fields that are no columns.
func newObject[T any](l *ahead, f collectedField, on []string, direct map[string]func(*answer, *T), nested func(collectedField) (func(*answer, *T), bool)) (object[T], bool) {
	fields := l.fields(f, on)
	o := make(object[T], 0, len(fields))
	for _, sub := range fields {
		if len(sub.Deferrables) > 0 {
			return nil, false
		}
		write := direct[sub.Name]
		if sub.Name == "__typename" {
			write = func(a *answer, _ *T) { a.text(on[0]) }
		}
		if write == nil {
			ok := false
			if nested != nil {
				write, ok = nested(sub)
			}
			if !ok {
				return nil, false
			}
		}
		o = append(o, part[T]{sub.Alias, write})
	}
	return o, true
}

func (a *ahead) auditObject(f collectedField) (object[auditRow], bool) {
	return newObject(a, f, onAuditRow, auditRows.direct, nil)
}

func (a *ahead) sessionObject(f collectedField) (object[session], bool) {
	return newObject(a, f, onSession, sessions.direct, func(sub collectedField) (func(*answer, *session), bool) {
		if sub.Name != "messages" {
			return nil, false
		}
		return a.messagesOf(sub)
	})
}

// messagesOf writes the messages that were loaded for this alias.
func (a *ahead) messagesOf(f collectedField) (func(*answer, *session), bool) {
	p, ok := a.nestedPage(f, false)
	if !ok {
		return nil, false
	}
	c, ok := newConnection(a, f, "ChatMessage", a.messageObject)
	if !ok {
		return nil, false
	}
	return func(out *answer, s *session) {
		rows, err := s.NamedMessages(f.Alias)
		if err != nil {
			out.unusual = true // they have to be read first
			return
		}
		more := len(rows) > p.limit
		if more {
			rows = rows[:p.limit]
		}
		node := func(i int) *message {
			if p.reverse {
				i = len(rows) - 1 - i
			}
			return rows[i]
		}
		cursor := func(i int) ent.Cursor { return messageCursor(node(i), p.order) }
		c.write(out, listing[message]{len(rows), func() (info ent.PageInfo) {
			info.HasNextPage, info.HasPreviousPage = more && !p.reverse, more && p.reverse
			if n := len(rows); n > 0 {
				first, last := cursor(0), cursor(n-1)
				info.StartCursor, info.EndCursor = &first, &last
			}
			return info
		}, node, cursor})
	}, true
}

func messageCursor(m *message, order string) ent.Cursor {
	switch order {
	case "created_at":
		return ent.Cursor{ID: m.ID, Value: m.CreatedAt}
	case "updated_at":
		return ent.Cursor{ID: m.ID, Value: m.UpdatedAt}
	}
	return ent.Cursor{ID: m.ID}
}

func (a *ahead) messageObject(f collectedField) (object[message], bool) {
	return newObject(a, f, onMessage, messages.direct, func(sub collectedField) (func(*answer, *message), bool) {
		if sub.Name != "toolExecution" {
			return nil, false
		}
		o, ok := newObject(a, sub, onExecution, executions.direct, a.toolOf)
		return func(out *answer, m *message) {
			x, err := m.Edges.ToolExecutionOrErr()
			writeEdge(out, o, x, err)
		}, ok
	})
}

func (a *ahead) toolOf(f collectedField) (func(*answer, *execution), bool) {
	if f.Name != "tool" {
		return nil, false
	}
	o, ok := newObject(a, f, onTool, tools.direct, nil)
	return func(out *answer, x *execution) {
		t, err := x.Edges.ToolOrErr()
		writeEdge(out, o, t, err)
	}, ok
}

// writeEdge writes a loaded edge to one row; null when there is none.
func writeEdge[T any](a *answer, o object[T], x *T, err error) {
	switch {
	case err == nil && x != nil:
		o.write(a, x)
	case ent.IsNotFound(err):
		a.null()
	default:
		a.unusual = true // not loaded
	}
}

var _ graphql.Marshaler = (*finished)(nil)
