package read

import (
	"context"
	"reflect"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/batch"
)

// AuditLogs is Query.auditLogs: the page of audit rows the caller may see. It covers the filters by equal action, user,
// conversation, resource, success and by time. UNAUTHENTICATED without a caller; the permission is the schema's to
// check. Recorded as any reading of the log, by package rule.
func (r *Reader) AuditLogs(ctx context.Context, after *ent.Cursor, first *int, before *ent.Cursor, last *int, order *ent.AuditLogOrder, where *ent.AuditLogWhereInput) (*ent.AuditLogConnection, error) {
	if _, err := authz.Signed(ctx); err != nil {
		return nil, err
	}
	if op, field, ok := operation(ctx); ok {
		a := &ahead{op: op}
		s, args, ok, err := a.auditLogs(ctx, field, after, first, before, last, order, where)
		if err != nil {
			return nil, err
		}
		if ok {
			rows, err := r.auditRows(ctx, s, args)
			if err != nil {
				return nil, err
			}
			return ent.NewAuditLogConnection(rows, after, first, before, last, order)
		}
	}
	return r.client.AuditLog.Query().Paginate(ctx, after, first, before, last, ent.WithAuditLogOrder(order), ent.WithAuditLogFilter(where.Filter))
}

func (a *ahead) auditLogs(ctx context.Context, f collectedField, after *ent.Cursor, first *int, before *ent.Cursor, last *int, order *ent.AuditLogOrder, where *ent.AuditLogWhereInput) (s shape, args []any, ok bool, err error) {
	s.of, s.cols = auditTable, idOnly
	more, ok := a.connection(f, "AuditLog", func(node collectedField) bool {
		cols, ok := a.plain(node, onAuditRow, auditRows.fields)
		s.cols |= cols
		return ok
	})
	column, desc, known := auditOrder(order)
	if !ok || !known {
		return s, nil, false, nil
	}
	if s.page, ok = newPage(first, last, column, desc, more); !ok {
		return s, nil, false, nil
	}
	s.cols |= auditRows.of(column)
	var c condition
	c.and(c.scope(ctx, "AuditLog", "s"))
	if !c.auditFilter(where) || !c.cursors(s.page, orderKind(column), after, before) {
		return s, nil, false, nil
	}
	s.where = c.text.String()
	return s, c.args, true, c.err
}

// auditFilter adds the filter; false when it has more than is covered.
func (c *condition) auditFilter(where *ent.AuditLogWhereInput) bool {
	if where == nil {
		return true
	}
	w := *where
	if w.Action != nil {
		c.and("s.action = " + c.arg(string(*w.Action)))
	}
	if w.UserID != nil {
		c.and("s.user_id = " + c.arg(*w.UserID))
	}
	if w.SessionID != nil {
		c.and("s.session_id = " + c.arg(*w.SessionID))
	}
	if w.ResourceType != nil {
		c.and("s.resource_type = " + c.arg(*w.ResourceType))
	}
	if w.ResourceID != nil {
		c.and("s.resource_id = " + c.arg(*w.ResourceID))
	}
	if w.Success != nil {
		c.and("s.success = " + c.arg(*w.Success))
	}
	if w.CreatedAtGTE != nil {
		c.and("s.created_at >= " + c.arg(*w.CreatedAtGTE))
	}
	if w.CreatedAtLT != nil {
		c.and("s.created_at < " + c.arg(*w.CreatedAtLT))
	}
	w.Action, w.UserID, w.SessionID, w.ResourceType, w.ResourceID, w.Success, w.CreatedAtGTE, w.CreatedAtLT = nil, nil, nil, nil, nil, nil, nil, nil
	return reflect.ValueOf(w).IsZero()
}

func (r *Reader) auditRows(ctx context.Context, s shape, args []any) ([]*ent.AuditLog, error) {
	st := r.shapes.statement(s)
	made := newSlab[ent.AuditLog](s.page.limit)
	rows := make([]*ent.AuditLog, 0, s.page.limit)
	err := r.each(ctx, st.sql, args, st.formats, s.page.limit, func(v [][]byte) error {
		x := made.next()
		r.client.Adopt(x)
		rows = append(rows, x)
		return fill(x, st.audit, v)
	})
	if err == nil && s.cols&personal != 0 {
		batch.Note(ctx, rows)
	}
	return rows, err
}

// personal is the columns that open under a key of their subject.
var personal = auditRows.of("username", "ip_address", "user_agent")
