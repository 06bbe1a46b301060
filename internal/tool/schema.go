package tool

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/tool/canonical"
)

// Limits of a schema.
const (
	maxSchema       = 64 << 10 // bytes of canonical JSON
	maxPattern      = 512      // bytes of a regular expression
	maxPatternInsts = 4_000    // instructions of its compiled program, which bounds the time of a match
)

const dialect = "https://json-schema.org/draft/2020-12/schema"

// Schema is a compiled JSON Schema 2020-12. It is immutable.
type Schema struct{ s *jsonschema.Schema }

// Compile makes the schema of a tool's parameters, whose root is an object; a parameter it does not name is refused
// unless it says additionalProperties or unevaluatedProperties itself. `format` is asserted. Nothing is ever fetched.
// Refused with BAD_USER_INPUT on "schema": what is not 2020-12, references to anywhere but the document itself,
// recursion, and what is too large or would be too slow to apply.
func Compile(schema map[string]any) (*Schema, error) {
	if schema["type"] != "object" {
		return nil, errs.Input("schema.type", `The schema of a tool's parameters must have "type": "object".`)
	}
	return compile(schema, "schema", true)
}

// CompileOutput makes the schema of a tool's result, which may be any JSON; errors as for Compile, on "outputSchema".
// An absent schema lets any result pass.
func CompileOutput(schema map[string]any) (*Schema, error) {
	if schema == nil {
		schema = map[string]any{}
	}
	return compile(schema, "outputSchema", false)
}

func compile(schema map[string]any, field string, closed bool) (*Schema, error) {
	norm, err := canonical.Normalize(schema)
	if err != nil {
		return nil, errs.Input(field, "The schema cannot be used: %s.", err)
	}
	if b, err := canonical.Marshal(norm); err != nil || len(b) > maxSchema {
		return nil, errs.Input(field, "The schema is larger than %d KiB.", maxSchema>>10)
	}
	doc, ok := norm.(map[string]any)
	if !ok {
		return nil, errs.Input(field, "The schema must be an object.")
	}
	if d, ok := doc["$schema"]; ok && d != dialect {
		return nil, errs.Input(field+".$schema", "Only JSON Schema 2020-12 is understood; leave $schema out or set it to %s.", dialect)
	}
	doc = maps.Clone(doc)
	delete(doc, "$id") // names nothing here; references are within the document
	delete(doc, "$schema")
	_, additional := doc["additionalProperties"]
	_, unevaluated := doc["unevaluatedProperties"]
	if closed && !additional && !unevaluated {
		doc["unevaluatedProperties"] = false
	}
	if err := survey(doc, field); err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(boundedRegexp)
	const url = "mem:///schema.json"
	if err := c.AddResource(url, doc); err != nil {
		return nil, errs.Wrap(err, errs.BadUserInput, "The schema cannot be read.")
	}
	s, err := c.Compile(url)
	if err != nil {
		return nil, explainCompile(err, field)
	}
	return &Schema{s}, nil
}

// Validate says whether params satisfy the schema: BAD_USER_INPUT with a sentence for each bad field
// ("parameters.expression"), RESOURCE_EXHAUSTED when they are too large. Values are never quoted.
func (s *Schema) Validate(params map[string]any) error {
	_, err := s.Check(params)
	return err
}

// Check validates params as Validate does and returns them in the form whose hash is taken: what an approver sees,
// what is stored and what the executor gets.
func (s *Schema) Check(params map[string]any) (map[string]any, error) {
	if params == nil {
		params = map[string]any{}
	}
	b, err := canonical.Marshal(params)
	if err != nil {
		return nil, errs.Input("parameters", "The parameters cannot be used: %s.", err)
	}
	if len(b) > MaxParameters {
		return nil, errs.New(errs.ResourceExhausted, "The parameters are larger than %d KiB; send less.", MaxParameters>>10)
	}
	v, err := canonical.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading back canonical parameters: %w", err)
	}
	norm, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("canonical parameters are a %T", v)
	}
	if err := storable(norm); err != nil {
		return nil, errs.Input("parameters", "The parameters cannot be used: %s.", err)
	}
	if err := s.s.Validate(norm); err != nil {
		return nil, explainParameters(err)
	}
	return norm, nil
}

// match says whether a result satisfies the schema.
func (s *Schema) match(v any) error { return s.s.Validate(v) }

// storable refuses what jsonb cannot hold or what would make validation slow.
func storable(v any) error {
	n := 0
	var walk func(any) error
	text := func(s string) error {
		if strings.IndexByte(s, 0) >= 0 {
			return errors.New("a string holds the character U+0000")
		}
		return nil
	}
	walk = func(v any) error {
		if n++; n > MaxValues {
			return fmt.Errorf("there are more than %d values", MaxValues)
		}
		switch v := v.(type) {
		case string:
			return text(v)
		case []any:
			for _, e := range v {
				if err := walk(e); err != nil {
					return err
				}
			}
		case map[string]any:
			for k, e := range v {
				if err := errors.Join(text(k), walk(e)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return walk(v)
}

type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema may refer to itself alone")
}

type pattern struct{ *regexp.Regexp }

// boundedRegexp is Go's linear-time engine with a limit on the program.
func boundedRegexp(s string) (jsonschema.Regexp, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("longer than %d characters", maxPattern)
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, errors.New("not a regular expression this server understands (RE2)")
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil || len(prog.Inst) > maxPatternInsts {
		return nil, errors.New("too large once its repetitions are written out")
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, err
	}
	return pattern{re}, nil
}
