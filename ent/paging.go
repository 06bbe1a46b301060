package ent

import (
	"errors"
	"reflect"
	"time"

	"entgo.io/contrib/entgql"
	"entgo.io/ent/dialect/sql"
)

// ErrForeignCursor says that a cursor is of a list in another order.
var ErrForeignCursor = errors.New("ent: the cursor is of a list in another order")

// between narrows a list to what lies after the one cursor and before the other, in the list's order: by column, then by
// id, both in the direction. NULL counts as greater than every value, as PostgreSQL orders it. zero is what an empty row
// has in the column: nil in a list by id, a nil pointer where the column may be NULL.
func between(after, before *Cursor, id, column string, zero any, direction OrderDirection) ([]func(*sql.Selector), error) {
	var out []func(*sql.Selector)
	for _, end := range []struct {
		cursor  *Cursor
		greater bool
	}{
		{after, direction == entgql.OrderDirectionAsc},
		{before, direction != entgql.OrderDirectionAsc},
	} {
		c := end.cursor
		if c == nil {
			continue
		}
		value, nullable := c.Value, zero != nil && reflect.TypeOf(zero).Kind() == reflect.Pointer
		if value == nil && !nullable { // an encoded cursor leaves out 0 and ""
			value = zero
		}
		if _, timed := value.(time.Time); timed && c.Value == nil || zero == nil && value != nil {
			return nil, ErrForeignCursor
		}
		one, row := sql.LT, sql.CompositeLT
		if end.greater {
			one, row = sql.GT, sql.CompositeGT
		}
		out = append(out, func(s *sql.Selector) {
			x, pk := s.C(column), s.C(id)
			switch {
			case zero == nil:
				s.Where(one(pk, c.ID))
			case value == nil && end.greater:
				s.Where(sql.And(sql.IsNull(x), one(pk, c.ID)))
			case value == nil:
				s.Where(sql.Or(sql.NotNull(x), one(pk, c.ID)))
			case nullable && end.greater:
				s.Where(sql.Or(sql.IsNull(x), row([]string{x, pk}, value, c.ID)))
			default: // NULL is not less: the comparison drops it
				s.Where(row([]string{x, pk}, value, c.ID))
			}
		})
	}
	return out, nil
}
