// Package rule decides which rows a principal may see and change: the one place for it. The same scopes serve the
// ent policies of all entities and the hand-written SQL of hot reads.
package rule

import (
	"strconv"
	"strings"

	"entgo.io/ent/dialect/sql"

	"cdsa.dev/cdsa/internal/authz"
)

// Scope is a condition on the rows of one table. {column} stands for a column of the row, ? for an argument.
// The zero Scope matches nothing.
type Scope struct {
	expr string
	args []any
}

// Everything matches all rows, nothing matches none.
var (
	everything = Scope{expr: "TRUE"}
	nothing    = Scope{}
)

func where(expr string, args ...any) Scope { return Scope{expr, args} }

// or joins alternatives; one that matches everything wins.
func or(scopes ...Scope) Scope {
	var parts []string
	var args []any
	for _, s := range scopes {
		switch s.expr {
		case "":
			continue
		case everything.expr:
			return everything
		}
		parts = append(parts, s.expr)
		args = append(args, s.args...)
	}
	if len(parts) == 0 {
		return nothing
	}
	return Scope{strings.Join(parts, " OR "), args}
}

func when(ok bool, s Scope) Scope {
	if ok {
		return s
	}
	return nothing
}

// All says that every row matches.
func (s Scope) All() bool { return s.expr == everything.expr }

// None says that no row does.
func (s Scope) None() bool { return s.expr == "" }

// SQL renders the scope for the table alias, with arguments numbered from first.
func (s Scope) SQL(alias string, first int) (string, []any) {
	if s.None() {
		return "FALSE", nil
	}
	var b strings.Builder
	b.WriteByte('(')
	walk(s.expr, func(lit string) { b.WriteString(lit) }, func(col string) { b.WriteString(alias + "." + col) },
		func(i int) { b.WriteString("$" + strconv.Itoa(first+i)) })
	b.WriteByte(')')
	return b.String(), s.args
}

// selector narrows an ent query to the scope.
func (s Scope) selector() func(*sql.Selector) {
	return func(sel *sql.Selector) {
		if s.None() {
			sel.Where(sql.False())
			return
		}
		sel.Where(sql.P(func(b *sql.Builder) {
			b.WriteString("(")
			walk(s.expr, func(lit string) { b.WriteString(lit) }, func(col string) { b.WriteString(sel.C(col)) },
				func(i int) { b.Arg(s.args[i]) })
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

// Visible is the rows of an entity, by its Go name, that p may see. Unknown entities and a nil principal see nothing.
func Visible(entity string, p *authz.Principal) Scope {
	if p == nil {
		return nothing
	}
	r, ok := table[entity]
	if !ok {
		return nothing
	}
	return r.read(p)
}
