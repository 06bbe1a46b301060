package document

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

const (
	// costCap stops the sums; every limit lies far below.
	costCap = 1 << 40
	// schemaWeight is what the whole introspection schema costs by itself: it is some megabytes of text.
	schemaWeight = 5_000
)

// costOf is the cost of a selection: a field weighs 1 or its @cost(weight), a connection's selection counts once for
// each element of the page, and @cost(multipliers) names arguments whose number or length multiplies likewise. Each
// fragment is computed once.
func costOf(set ast.SelectionSet, vars map[string]any, page int) int {
	c := coster{vars: vars, page: page, memo: map[string]int{}}
	return c.selection(set)
}

type coster struct {
	vars map[string]any
	page int
	memo map[string]int
}

func (c coster) selection(set ast.SelectionSet) int {
	sum := 0
	for _, sel := range set {
		switch sel := sel.(type) {
		case *ast.Field:
			sum += c.field(sel)
		case *ast.InlineFragment:
			sum += c.selection(sel.SelectionSet)
		case *ast.FragmentSpread:
			cost, known := c.memo[sel.Name]
			if !known {
				cost = c.selection(sel.Definition.SelectionSet)
				c.memo[sel.Name] = cost
			}
			sum += cost
		}
		sum = min(sum, costCap)
	}
	return sum
}

func (c coster) field(f *ast.Field) int {
	weight, multipliers := weigh(f)
	below := c.selection(f.SelectionSet)
	times := 1
	if isConnection(f) {
		times = c.pageSize(f)
	}
	for _, path := range multipliers {
		times = multiply(times, c.number(f, path))
	}
	if len(multipliers) > 0 {
		return min(multiply(weight+below, times), costCap)
	}
	return min(weight+multiply(below, times), costCap)
}

func multiply(a, b int) int {
	if a > 0 && b > costCap/a {
		return costCap
	}
	return a * b
}

func weigh(f *ast.Field) (weight int, multipliers []string) {
	weight = 1
	if f.Name == "__schema" {
		weight = schemaWeight
	}
	d := f.Definition.Directives.ForName("cost")
	if d == nil {
		return weight, nil
	}
	if a := d.Arguments.ForName("weight"); a != nil {
		if n, err := strconv.Atoi(a.Value.Raw); err == nil && n >= 0 {
			weight = n
		}
	}
	if a := d.Arguments.ForName("multipliers"); a != nil {
		for _, child := range a.Value.Children {
			multipliers = append(multipliers, child.Value.Raw)
		}
	}
	return weight, multipliers
}

func isConnection(f *ast.Field) bool {
	return strings.HasSuffix(f.Definition.Type.Name(), "Connection") && paged(f)
}

// costVaries says whether the field's cost depends on variables.
func costVaries(f *ast.Field) bool {
	if _, multipliers := weigh(f); len(multipliers) > 0 {
		return len(f.Arguments) > 0
	}
	if !isConnection(f) {
		return false
	}
	for _, name := range []string{"first", "last"} {
		if a := f.Arguments.ForName(name); a != nil && a.Value.Kind == ast.Variable {
			return true
		}
	}
	return false
}

func (c coster) pageSize(f *ast.Field) int {
	for _, name := range []string{"first", "last"} {
		if a := f.Arguments.ForName(name); a != nil {
			if n, has, err := size(name, a.Value, c.vars, costCap); err == nil && has {
				return int(n)
			}
		}
	}
	return c.page
}

// number is what the argument at path multiplies by: its value, its length, or 1 when it is absent.
func (c coster) number(f *ast.Field, path string) int {
	name, rest, _ := strings.Cut(path, ".")
	v := f.ArgumentMap(c.vars)[name]
	for rest != "" {
		m, ok := v.(map[string]any)
		if !ok {
			return 1
		}
		name, rest, _ = strings.Cut(rest, ".")
		v = m[name]
	}
	if v == nil {
		return 1
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice {
		return max(rv.Len(), 1)
	}
	if n, has, err := size(name, &ast.Value{Kind: ast.Variable, Raw: name}, map[string]any{name: v}, costCap); err == nil && has {
		return int(n)
	}
	return 1
}
