package read

import (
	"github.com/99designs/gqlgen/graphql"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/selection"
)

// What types a selection on an object may be conditioned on.
var (
	onSession   = []string{"ChatSession", "Node"}
	onMessage   = []string{"ChatMessage", "Node"}
	onExecution = []string{"ToolExecution", "Node"}
	onTool      = []string{"Tool", "Node"}
	onAuditRow  = []string{"AuditLog", "Node"}
)

// page is what a connection reads: so many rows of an order, from its end for last.
type page struct {
	order   string // column besides the id; "" orders by id alone
	desc    bool   // the direction of reading
	limit   int
	reverse bool // last was asked for
}

// newPage makes a page of a connection's arguments. One row more than asked for tells whether there are more, where that
// is selected.
func newPage(first, last *int, order string, descending, more bool) (page, bool) {
	p := page{order: order, desc: descending}
	switch {
	case first != nil && last == nil && *first > 0:
		p.limit = *first
	case last != nil && first == nil && *last > 0:
		p.limit, p.reverse, p.desc = *last, true, !descending
	default:
		return p, false
	}
	if more {
		p.limit++
	}
	return p, true
}

// below is what is read under a conversation. Without messages it is zero.
type below struct {
	message, execution, tool set // 0: not read
	page                     page
}

// collectedField is a selected field.
type collectedField = graphql.CollectedField

// ahead sees what the operation selects below a field.
type ahead struct {
	op      *graphql.OperationContext
	aliases []string // of the messages connection; all with one page
	derived derived
}

// derived says of which rows something is selected that is read for all of them together: package batch is told of them.
type derived struct{ sessions, messages, executions bool }

func (a *ahead) fields(f collectedField, on []string) []collectedField {
	return selection.Fields(a.op, f, on)
}

// session sees the columns and messages of a conversation; false when something selected is not covered.
func (a *ahead) session(f collectedField) (cols set, b below, ok bool) {
	cols = idOnly
	for _, sub := range a.fields(f, onSession) {
		if sub.Name != "messages" {
			s, known := sessions.fields[sub.Name]
			if !known {
				return 0, b, false
			}
			cols |= s
			a.derived.sessions = a.derived.sessions || sub.Name == "eventCursor"
			continue
		}
		next, ok := a.messages(sub)
		if !ok || len(a.aliases) > 0 && next.page != b.page {
			return 0, b, false
		}
		b.message, b.execution, b.tool, b.page = b.message|next.message, b.execution|next.execution, b.tool|next.tool, next.page
		a.aliases = append(a.aliases, sub.Alias)
	}
	return cols, b, true
}

func (a *ahead) messages(f collectedField) (b below, ok bool) {
	b.message = idOnly
	more, ok := a.connection(f, "ChatMessage", func(node collectedField) bool { return a.message(node, &b) })
	if !ok {
		return b, false
	}
	if b.page, ok = a.nestedPage(f, more); !ok {
		return b, false
	}
	b.message |= messages.of(b.page.order)
	return b, true
}

// nestedPage reads the arguments of a messages connection, which have not been coerced yet; false for cursors and
// filters.
func (a *ahead) nestedPage(f collectedField, more bool) (page, bool) {
	args := f.ArgumentMap(a.op.Variables)
	for name, v := range args {
		if v != nil && name != "first" && name != "last" && name != "orderBy" {
			return page{}, false
		}
	}
	first, ok1 := intArg(args["first"])
	last, ok2 := intArg(args["last"])
	order, desc, ok3 := orderArg(args["orderBy"])
	if !ok1 || !ok2 || !ok3 {
		return page{}, false
	}
	return newPage(first, last, order, desc, more)
}

// connection visits the node selections of a root connection: more says that pageInfo is selected; false when
// totalCount is, or when there are no edges to read.
func (a *ahead) connection(f collectedField, typ string, node func(collectedField) bool) (more, ok bool) {
	edges := false
	for _, sub := range a.fields(f, []string{typ + "Connection"}) {
		switch sub.Name {
		case "edges":
			edges = true
			if !a.edges(sub, typ+"Edge", node) {
				return false, false
			}
		case "pageInfo":
			more = true
		case "__typename":
		default:
			return false, false
		}
	}
	return more, edges
}

// edges visits the node selections of a connection's edges.
func (a *ahead) edges(f collectedField, edge string, node func(collectedField) bool) bool {
	for _, sub := range a.fields(f, []string{edge}) {
		if sub.Name == "node" && !node(sub) {
			return false
		}
	}
	return true
}

func (a *ahead) message(f collectedField, b *below) bool {
	for _, sub := range a.fields(f, onMessage) {
		if sub.Name == "toolExecution" {
			if !a.execution(sub, b) {
				return false
			}
			continue
		}
		s, known := messages.fields[sub.Name]
		if !known {
			return false
		}
		b.message |= s
		a.derived.messages = a.derived.messages || sub.Name == "citations"
	}
	return true
}

func (a *ahead) execution(f collectedField, b *below) bool {
	b.execution |= idOnly
	for _, sub := range a.fields(f, onExecution) {
		if sub.Name == "tool" {
			s, ok := a.plain(sub, onTool, tools.fields)
			if !ok {
				return false
			}
			b.tool |= s
			continue
		}
		s, known := executions.fields[sub.Name]
		if !known {
			return false
		}
		b.execution |= s
		a.derived.executions = a.derived.executions || sub.Name == "approvalId"
	}
	return true
}

// plain is the columns of an object without further objects below it.
func (a *ahead) plain(f collectedField, on []string, fields map[string]set) (set, bool) {
	cols := idOnly
	for _, sub := range a.fields(f, on) {
		s, known := fields[sub.Name]
		if !known {
			return 0, false
		}
		cols |= s
	}
	return cols, true
}

func intArg(v any) (*int, bool) {
	if v == nil {
		return nil, true
	}
	n, err := graphql.UnmarshalInt(v)
	return &n, err == nil
}

// orderArg reads a nested connection's order, which has not been coerced yet.
func orderArg(v any) (column string, descending, ok bool) {
	if v == nil {
		return "", false, true
	}
	m, isMap := v.(map[string]any)
	if !isMap {
		return "", false, false
	}
	field, _ := m["field"].(string)
	direction, given := m["direction"]
	if given && direction != "ASC" && direction != "DESC" {
		return "", false, false
	}
	column, ok = messageOrders[field]
	return column, direction == "DESC", ok
}

// Columns by the names of the order enums.
var (
	messageOrders = map[string]string{"CREATED_AT": "created_at", "UPDATED_AT": "updated_at"}
	sessionOrders = map[string]string{"CREATED_AT": "created_at", "UPDATED_AT": "updated_at", "TITLE": "title", "LAST_MESSAGE_AT": "activity_at"}
	auditOrders   = map[string]string{"CREATED_AT": "created_at"}
)

// sessionOrder reads the order of a list of conversations.
func sessionOrder(o *ent.ChatSessionOrder) (column string, descending, ok bool) {
	if o == nil {
		return "", false, true
	}
	if o.Field == nil {
		return "", o.Direction == "DESC", o.Direction.Validate() == nil
	}
	column, ok = sessionOrders[o.Field.String()]
	return column, o.Direction == "DESC", ok && o.Direction.Validate() == nil
}

func auditOrder(o *ent.AuditLogOrder) (column string, descending, ok bool) {
	if o == nil {
		return "", false, true
	}
	if o.Field == nil {
		return "", o.Direction == "DESC", o.Direction.Validate() == nil
	}
	column, ok = auditOrders[o.Field.String()]
	return column, o.Direction == "DESC", ok && o.Direction.Validate() == nil
}
