package document

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/errs"
)

// site is a paged field whose arguments cannot all be judged when the document is prepared.
type site struct {
	field string // Type.field
	first *ast.Value
	last  *ast.Value
	from  string     // variable that first was written with; "" when it was a literal
	cuts  [2]*cursor // after, before
}

type cursor struct {
	name  string
	value *ast.Value
}

// completePages gives every paged field a bounded page: literals are judged here, absent sizes set to the default, and
// a first that comes from a variable is re-pointed to a variable of the field's own, which resolve fills for each
// operation. So one document serves any variables, and a null for first here changes nothing where the same variable
// is used for something else.
func completePages(doc *ast.QueryDocument, limits *Limits) (map[*ast.Field]*site, error) {
	p := &pager{limits: limits, sites: map[*ast.Field]*site{}}
	for _, op := range doc.Operations {
		p.selection(op.SelectionSet)
	}
	for _, f := range doc.Fragments {
		p.selection(f.SelectionSet)
	}
	return p.sites, p.err
}

type pager struct {
	limits *Limits
	sites  map[*ast.Field]*site
	err    error
}

func (p *pager) selection(set ast.SelectionSet) {
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			if p.err == nil && paged(sel) {
				p.err = p.complete(sel)
			}
			p.selection(sel.SelectionSet)
		case *ast.InlineFragment:
			p.selection(sel.SelectionSet)
		}
	}
}

// paged says whether the field takes Relay's page arguments. EventCursor's after is none of them.
func paged(f *ast.Field) bool {
	first := f.Definition.Arguments.ForName("first")
	return first != nil && first.Type.NamedType == "Int"
}

func (p *pager) complete(f *ast.Field) error {
	dropNull(f, "first")
	dropNull(f, "last")
	s := &site{field: f.ObjectDefinition.Name + "." + f.Name}
	if a := f.Arguments.ForName("last"); a != nil {
		s.last = a.Value
	}
	switch a := f.Arguments.ForName("first"); {
	case a != nil && a.Value.Kind == ast.Variable:
		s.from = a.Value.Raw
		own := *a.Value
		own.Raw = "first of " + strconv.Itoa(len(p.sites)) // no client can declare a name with a space
		s.first, a.Value = &own, &own
	case a != nil:
		s.first = a.Value
	case s.last == nil:
		s.first = p.injectFirst(f, ast.IntValue, strconv.Itoa(p.limits.PageDefault))
	case s.last.Kind == ast.Variable: // it may turn out null
		s.first = p.injectFirst(f, ast.Variable, "first of "+strconv.Itoa(len(p.sites)))
	}
	for i, name := range []string{"after", "before"} {
		if a := f.Arguments.ForName(name); a != nil && a.Value.Kind != ast.NullValue {
			s.cuts[i] = &cursor{name, a.Value}
		}
	}
	if isVariable(s.first) || isVariable(s.last) || s.cuts[0] != nil || s.cuts[1] != nil {
		p.sites[f] = s
		return nil
	}
	return s.resolve(p.limits, nil)
}

func isVariable(v *ast.Value) bool { return v != nil && v.Kind == ast.Variable }

func dropNull(f *ast.Field, name string) {
	for i, a := range f.Arguments {
		if a.Name == name && a.Value.Kind == ast.NullValue {
			f.Arguments = append(f.Arguments[:i:i], f.Arguments[i+1:]...)
			return
		}
	}
}

func (p *pager) injectFirst(f *ast.Field, kind ast.ValueKind, raw string) *ast.Value {
	def := f.Definition.Arguments.ForName("first")
	v := &ast.Value{Raw: raw, Kind: kind, Position: f.Position, ExpectedType: def.Type}
	f.Arguments = append(f.Arguments[:len(f.Arguments):len(f.Arguments)], &ast.Argument{Name: "first", Value: v, Position: f.Position})
	return v
}

// resolve judges the page with the operation's variables and sets the field's own variable in them: absent where last
// is given, else the size asked for or the default.
func (s *site) resolve(limits *Limits, vars map[string]any) error {
	last, hasLast, err := size("last", s.last, vars, limits.PageMax)
	if err != nil {
		return err
	}
	asked := s.first
	if isVariable(s.first) {
		asked = nil
		if s.from != "" {
			asked = &ast.Value{Kind: ast.Variable, Raw: s.from}
		}
	}
	first, hasFirst, err := size("first", asked, vars, limits.PageMax)
	switch {
	case err != nil:
		return err
	case hasFirst && hasLast:
		return errs.Input("first", "Ask for first (%d) or last (%d), not both.", first, last)
	case isVariable(s.first) && hasFirst:
		vars[s.first.Raw] = first
	case isVariable(s.first) && !hasLast:
		vars[s.first.Raw] = int64(limits.PageDefault)
	}
	for _, c := range s.cuts {
		if c != nil {
			if err := c.check(s.field, limits, vars); err != nil {
				return err
			}
		}
	}
	return nil
}

// size reads first or last; absent and null are the same.
func size(name string, v *ast.Value, vars map[string]any, most int) (n int64, has bool, err error) {
	if v == nil {
		return 0, false, nil
	}
	var raw any = v.Raw
	if v.Kind == ast.Variable {
		raw = vars[v.Raw]
	}
	switch raw := raw.(type) {
	case nil:
		return 0, false, nil
	case int64:
		n = raw
	case string:
		n, err = strconv.ParseInt(raw, 10, 64)
	case json.Number:
		n, err = raw.Int64()
	default:
		n, err = strconv.ParseInt(fmt.Sprint(raw), 10, 64)
	}
	if err != nil || n < 1 || n > int64(most) {
		return 0, false, errs.Input(name, "%s must be between 1 and %d.", name, most)
	}
	return n, true, nil
}

func (c *cursor) check(field string, limits *Limits, vars map[string]any) error {
	var raw any = c.value.Raw
	if c.value.Kind == ast.Variable {
		raw = vars[c.value.Raw]
	}
	if raw == nil {
		return nil
	}
	s, ok := raw.(string)
	if !ok || (c.value.Kind != ast.Variable && c.value.Kind != ast.StringValue && c.value.Kind != ast.BlockValue) {
		return badCursor(c.name)
	}
	err := limits.ValidCursor(field, s)
	if err == nil {
		return nil
	}
	if _, ok := errs.As(err); ok {
		return err
	}
	bad := errs.Wrap(err, errs.BadUserInput, "%s", badCursor(c.name).Message)
	bad.Fields = map[string]string{c.name: bad.Message}
	return bad
}

func badCursor(name string) *errs.Error {
	return errs.Input(name, "%s is not a cursor of this connection. Use one from its pageInfo or edges.", name)
}
