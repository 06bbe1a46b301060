package document

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/errs"
)

// filtersOf are the field's arguments that filter rows.
func filtersOf(f *ast.Field) (args []*ast.Argument) {
	for _, a := range f.Arguments {
		if def := f.Definition.Arguments.ForName(a.Name); def != nil && strings.HasSuffix(def.Type.Name(), "WhereInput") {
			args = append(args, a)
		}
	}
	return args
}

// filters counts the conditions of an operation's filters, and the values they compare with. A database takes long to
// plan many and takes no more than 65,535 values, and ent fails on an empty one inside another.
type filters struct {
	limits             *Limits
	predicates, values int
}

func (c *filters) check(args []*ast.Argument, vars map[string]any) error {
	for _, a := range args {
		v, err := a.Value.Value(vars)
		if err != nil {
			return errs.Input(a.Name, "%s is not a filter.", a.Name)
		}
		if m, ok := v.(map[string]any); ok {
			if err := c.filter(a.Name, m, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *filters) filter(path string, m map[string]any, depth int) error {
	if depth > c.limits.MaxFilter {
		return errs.Input(path, "Filters may be %d deep. Write %s with fewer inside each other.", c.limits.MaxFilter, path)
	}
	empty := true
	for _, name := range slices.Sorted(maps.Keys(m)) {
		v := m[name]
		if v == nil || v == false && (strings.HasSuffix(name, "IsNil") || strings.HasSuffix(name, "NotNil")) { // as entgql reads it
			continue
		}
		empty = false
		if err := c.condition(path+"."+name, name, v, depth); err != nil {
			return err
		}
	}
	if empty && depth > 1 {
		return errs.Input(path, "%s is an empty filter. Give it a condition, or leave it out.", path)
	}
	return nil
}

func (c *filters) condition(path, name string, v any, depth int) error {
	if name != "not" && name != "and" && name != "or" {
		c.predicates++
		c.values++
		if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
			c.values += list.Len() - 1
		}
		switch {
		case c.predicates > c.limits.MaxPredicates:
			return errs.Input(path, "The filters of an operation may have %d conditions together. Ask with fewer.", c.limits.MaxPredicates)
		case c.values > c.limits.MaxValues:
			return errs.Input(path, "The filters of an operation may have %d values together. Ask for some at a time.", c.limits.MaxValues)
		}
		return nil
	}
	list := reflect.ValueOf(v)
	if list.Kind() != reflect.Slice {
		return c.inner(path, v, depth)
	}
	if list.Len() == 0 {
		return errs.Input(path, "%s is an empty list of filters. Give it one, or leave it out.", path)
	}
	for i := range list.Len() {
		if err := c.inner(path+"."+strconv.Itoa(i), list.Index(i).Interface(), depth); err != nil {
			return err
		}
	}
	return nil
}

func (c *filters) inner(path string, v any, depth int) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errs.Input(path, "%s is not a filter.", path)
	}
	return c.filter(path, m, depth+1)
}

// weightOf is how much work values of variables are, in bytes of a dense request: text is read far faster than numbers,
// lists and objects.
func weightOf(v any) int {
	const each, faster = 2, 32
	switch v := v.(type) {
	case string:
		return each + len(v)/faster
	case map[string]any:
		n := each
		for k, e := range v {
			n += each + len(k)/faster + weightOf(e)
		}
		return n
	case []any:
		n := each
		for _, e := range v {
			n += weightOf(e)
		}
		return n
	}
	return each
}
