// Package rule decides which rows a principal may see and change: the one place for it. The same scopes serve the
// ent policies of all entities, the hand-written SQL of hot reads, and the explanation of why someone may see a row.
package rule

import (
	"strconv"
	"strings"

	"entgo.io/ent/dialect/sql"

	"cdsa.dev/cdsa/internal/authz"
)

// Scope is a condition on the rows of one table: alternatives, each of which opens rows. The zero Scope matches nothing.
type Scope struct{ parts []part }

// part is one alternative. {column} stands for a column of the row, ? for an argument.
type part struct {
	expr string
	args []any
	why  string // what holds of a matching row, in words that follow "this user", or after an "and"; may be ""
	perm string // the permission that opens it, where one does besides the entity's own
	need string // the entity's own permission, where it is needed
}

const everyRow = "TRUE"

func where(why, expr string, args ...any) Scope {
	return Scope{[]part{{expr: expr, args: args, why: why}}}
}

// every matches all rows.
func every(why string) Scope { return where(why, everyRow) }

// or joins alternatives.
func or(scopes ...Scope) Scope {
	n := 0
	for _, s := range scopes {
		n += len(s.parts)
	}
	parts := make([]part, 0, n)
	for _, s := range scopes {
		parts = append(parts, s.parts...)
	}
	return Scope{parts}
}

func when(ok bool, s Scope) Scope {
	if ok {
		return s
	}
	return Scope{}
}

// holding opens a scope to who has the permission.
func holding(p *authz.Principal, permission string, s Scope) Scope {
	if !p.Can(permission) {
		return Scope{}
	}
	for i := range s.parts {
		s.parts[i].perm = permission
	}
	return s
}

// needing notes that the scope took a permission to come by.
func (s Scope) needing(permission string) Scope {
	for i := range s.parts {
		s.parts[i].need = permission
	}
	return s
}

// All says that every row matches.
func (s Scope) All() bool {
	for i := range s.parts {
		if s.parts[i].expr == everyRow {
			return true
		}
	}
	return false
}

// None says that no row does.
func (s Scope) None() bool { return len(s.parts) == 0 }

// SQL renders the scope for the table alias, with arguments numbered from first.
func (s Scope) SQL(alias string, first int) (string, []any) {
	switch {
	case s.None():
		return "FALSE", nil
	case s.All():
		return "(TRUE)", nil
	}
	var b strings.Builder
	size, n := 2, 0
	for i := range s.parts {
		size += len(s.parts[i].expr) + 16
		n += len(s.parts[i].args)
	}
	b.Grow(size)
	args := make([]any, 0, n)
	b.WriteByte('(')
	for i := range s.parts {
		if i > 0 {
			b.WriteString(" OR ")
		}
		s.parts[i].write(&b, alias, first+len(args))
		args = append(args, s.parts[i].args...)
	}
	b.WriteByte(')')
	return b.String(), args
}

func (x *part) write(b *strings.Builder, alias string, first int) {
	walk(x.expr, func(lit string) { b.WriteString(lit) }, func(col string) { b.WriteString(alias); b.WriteByte('.'); b.WriteString(col) },
		func(i int) { b.WriteByte('$'); b.WriteString(strconv.Itoa(first + i)) })
}

// Selector narrows an ent query to the scope.
func (s Scope) Selector() func(*sql.Selector) {
	return func(sel *sql.Selector) {
		switch {
		case s.All():
			return
		case s.None():
			sel.Where(sql.False())
			return
		}
		sel.Where(sql.P(func(b *sql.Builder) {
			b.WriteString("(")
			for i, x := range s.parts {
				if i > 0 {
					b.WriteString(" OR ")
				}
				walk(x.expr, func(lit string) { b.WriteString(lit) }, func(col string) { b.WriteString(sel.C(col)) }, func(n int) { b.Arg(x.args[n]) })
			}
			b.WriteString(")")
		}))
	}
}

func walk(expr string, lit, col func(string), arg func(int)) {
	n := 0
	for expr != "" {
		i := strings.IndexAny(expr, "{?")
		if i < 0 {
			lit(expr)
			return
		}
		lit(expr[:i])
		if expr[i] == '?' {
			arg(n)
			n++
			expr = expr[i+1:]
			continue
		}
		j := strings.IndexByte(expr, '}')
		col(expr[i+1 : j])
		expr = expr[j+1:]
	}
}

// same says whether two scopes of one person, who differ in superuserhood alone, have the same rows.
func (s Scope) same(o Scope) bool {
	if s.All() || o.All() {
		return s.All() && o.All()
	}
	if len(s.parts) != len(o.parts) {
		return false
	}
	for i := range s.parts {
		if s.parts[i].expr != o.parts[i].expr {
			return false
		}
	}
	return true
}
