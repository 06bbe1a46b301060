package document

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"

	"cdsa.dev/cdsa/internal/errs"
)

// coercer refuses what gqlparser lets through: text for a number, a number for text, an Int beyond 32 bits, an enum
// value in the wrong case. Nulls and missing or unknown fields are gqlparser's.
type coercer struct{ schema *ast.Schema }

func (c coercer) check(defs ast.VariableDefinitionList, vars map[string]any) error {
	for _, def := range defs {
		if v, ok := vars[def.Variable]; ok && v != nil {
			if err := c.value(def.Variable, def.Type, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c coercer) value(path string, typ *ast.Type, v any) error {
	if v == nil {
		return nil
	}
	if typ.Elem != nil {
		return c.list(path, typ.Elem, v)
	}
	def := c.schema.Types[typ.NamedType]
	var ok bool
	switch def.Kind {
	case ast.Enum:
		s, isText := v.(string)
		ok = isText && def.EnumValues.ForName(s) != nil
	case ast.InputObject:
		return c.object(path, def, v)
	default:
		ok = scalar(typ.NamedType, v)
	}
	if !ok {
		return errs.Input(path, "The variable %s is not a valid value of its type.", path)
	}
	return nil
}

func (c coercer) list(path string, elem *ast.Type, v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice { // one value stands for a list of it
		return c.value(path, elem, v)
	}
	for i := range rv.Len() {
		if err := c.value(path+"."+strconv.Itoa(i), elem, rv.Index(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

func (c coercer) object(path string, def *ast.Definition, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return errs.Input(path, "The variable %s must be an object.", path)
	}
	for _, f := range def.Fields {
		if err := c.value(path+"."+f.Name, f.Type, m[f.Name]); err != nil {
			return err
		}
	}
	return nil
}

// scalar knows the five built-in scalars; any other judges itself.
func scalar(name string, v any) bool {
	switch name {
	case "Int":
		n, ok := whole(v)
		return ok && n >= math.MinInt32 && n <= math.MaxInt32
	case "Float":
		switch v := v.(type) {
		case json.Number:
			_, err := v.Float64()
			return err == nil
		case int, int64, float64:
			return true
		}
		return false
	case "String":
		_, ok := v.(string)
		return ok
	case "Boolean":
		_, ok := v.(bool)
		return ok
	case "ID":
		if _, ok := v.(string); ok {
			return true
		}
		_, ok := whole(v)
		return ok
	}
	return true
}

func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) < 1<<53
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}
