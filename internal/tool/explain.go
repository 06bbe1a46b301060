package tool

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"cdsa.dev/cdsa/internal/errs"
)

const (
	maxFields = 20 // sentences in one error
	maxName   = 64 // runes of a caller's own name in a sentence
)

// explainParameters turns a validation error into BAD_USER_INPUT.
func explainParameters(err error) error {
	fields := explain(err, "parameters")
	if len(fields) == 0 {
		return errs.Wrap(err, errs.BadUserInput, "The parameters do not fit the tool's schema.")
	}
	return input(fields)
}

func input(fields map[string]string) *errs.Error {
	paths := make([]string, 0, len(fields))
	for p := range fields {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	e := errs.New(errs.BadUserInput, "%s", fields[paths[0]])
	if n := len(paths); n > 1 {
		e.Message += fmt.Sprintf(" In all %d fields are wrong.", n)
	}
	e.Fields = fields
	return e
}

// explainCompile turns a compiler's error into BAD_USER_INPUT on field.
func explainCompile(err error, field string) error {
	var bad *jsonschema.InvalidRegexError
	if errors.As(err, &bad) {
		return errs.Input(field, "A pattern of the schema cannot be used: it is %s.", bad.Err)
	}
	var invalid *jsonschema.SchemaValidationError
	if errors.As(err, &invalid) {
		if fields := explain(invalid.Err, field); len(fields) > 0 {
			return input(fields)
		}
	}
	return &errs.Error{Code: errs.BadUserInput, Message: "This is not a valid JSON Schema 2020-12.",
		Fields: map[string]string{field: "This is not a valid JSON Schema 2020-12."}}
}

func explain(err error, root string) map[string]string {
	fields := map[string]string{}
	var v *jsonschema.ValidationError
	if errors.As(err, &v) {
		collect(fields, v, root)
	}
	return fields
}

// collect gathers a sentence for each place that is wrong. A choice between forms is one sentence, not one a form.
func collect(fields map[string]string, v *jsonschema.ValidationError, root string) {
	path := root
	for _, tok := range v.InstanceLocation {
		path += "." + clip(tok)
	}
	say := func(path, format string, args ...any) {
		if _, taken := fields[path]; !taken && len(fields) < maxFields {
			fields[path] = path + " " + fmt.Sprintf(format, args...)
		}
	}
	switch k := v.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			say(path+"."+clip(name), "is required.")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			say(path+"."+clip(name), "is not known; leave it out.")
		}
	case *kind.FalseSchema:
		say(path, "is not known; leave it out.")
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			say(path+"."+clip(name), "is required together with %s.", clip(k.Prop))
		}
	case *kind.PropertyNames:
		say(path+"."+clip(k.Property), "is not an allowed name.")
	case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		say(path, "has none of the forms that are allowed, or one that is not.")
	default:
		if s := demand(v.ErrorKind); s != "" {
			say(path, "%s", s)
		} else if len(v.Causes) == 0 {
			say(path, "does not fit the schema.")
		}
		for _, c := range v.Causes {
			collect(fields, c, root)
		}
	}
}

// demand is what a keyword asks for, "" for those that only hold others. It says what the schema wants, never what
// came.
func demand(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + types(k.Want) + "."
	case *kind.Enum:
		return "must be one of: " + constants(k.Want) + "."
	case *kind.Const:
		return "must be " + constants([]any{k.Want}) + "."
	case *kind.Format:
		return "must be a valid " + k.Want + "."
	case *kind.Pattern:
		return "must match the pattern " + k.Want
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d characters.", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d characters.", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d items.", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d items.", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d members.", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d members.", k.Want)
	case *kind.UniqueItems:
		return "must not have the same item twice."
	case *kind.MinContains, *kind.MaxContains:
		return "has too few or too many items of a kind the schema counts."
	case *kind.Minimum:
		return "must be at least " + rat(k.Want) + "."
	case *kind.Maximum:
		return "must be at most " + rat(k.Want) + "."
	case *kind.ExclusiveMinimum:
		return "must be more than " + rat(k.Want) + "."
	case *kind.ExclusiveMaximum:
		return "must be less than " + rat(k.Want) + "."
	case *kind.MultipleOf:
		return "must be a multiple of " + rat(k.Want) + "."
	}
	return ""
}

func types(want []string) string {
	named := map[string]string{"string": "a string", "number": "a number", "integer": "a whole number", "boolean": "true or false",
		"object": "an object", "array": "a list", "null": "null"}
	out := make([]string, len(want))
	for i, w := range want {
		out[i] = named[w]
	}
	return strings.Join(out, " or ")
}

func constants(want []any) string {
	var out []string
	for _, w := range want {
		switch w := w.(type) {
		case string:
			out = append(out, strconv.Quote(clip(w)))
		case nil:
			out = append(out, "null")
		case []any, map[string]any:
			out = append(out, "a fixed value of the schema")
		default:
			out = append(out, fmt.Sprint(w))
		}
		if len(out) == maxFields {
			out = append(out, "…")
			break
		}
	}
	return strings.Join(out, ", ")
}

func rat(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// clip makes a name from outside fit for a sentence.
func clip(s string) string {
	r := []rune(strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s))
	if len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return string(r)
}
