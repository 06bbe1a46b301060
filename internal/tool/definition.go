package tool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool/canonical"
)

// MaxTimeout bounds how long any tool may run.
const MaxTimeout = 10 * time.Minute

// Hints say what a tool does to the world. The zero value is the best case and never what an absent hint means: use
// ParseHints for what is stored.
type Hints struct {
	ReadOnly    bool // changes nothing
	Destructive bool // may delete or overwrite
	Idempotent  bool // a second run with the same arguments changes nothing more; a lost worker's run may be repeated
	OpenWorld   bool // reaches beyond this system, so that data can leave it
}

// ParseHints reads stored hints. What is absent or not a boolean is the worst case.
func ParseHints(m map[string]any) Hints {
	is := func(name string, worst bool) bool {
		if b, ok := m[name].(bool); ok {
			return b
		}
		return worst
	}
	return Hints{is("readOnly", false), is("destructive", true), is("idempotent", false), is("openWorld", true)}
}

// Map is what is stored.
func (h Hints) Map() map[string]any {
	return map[string]any{"readOnly": h.ReadOnly, "destructive": h.Destructive, "idempotent": h.Idempotent, "openWorld": h.OpenWorld}
}

// Definition is what a built-in says of itself; the seeding of the tools table writes it down.
type Definition struct {
	Name            string // snake_case
	DisplayName     string
	Description     string // for the model
	Category        enum.ToolCategory
	RiskLevel       enum.RiskLevel
	Schema          map[string]any // JSON Schema 2020-12 of the parameters
	OutputSchema    map[string]any // and of the result
	Hints           Hints
	TimeoutSeconds  int
	CacheTTLSeconds int  // 0: results are never reused
	Pure            bool // the result holds no data of anyone, so that users may share a cached one
	MaxConcurrent   int  // runs at once in a process
}

// Builtin is a tool that is part of the server.
type Builtin struct {
	Definition
	Executor
}

var toolName = regexp.MustCompile(`^[a-z][a-z0-9_]{1,62}$`)

// check refuses a definition that cannot be meant.
func (d Definition) check() error {
	switch {
	case !toolName.MatchString(d.Name):
		return fmt.Errorf("tool %q: the name is not snake_case", d.Name)
	case d.DisplayName == "" || d.Description == "":
		return fmt.Errorf("tool %s: no display name or description", d.Name)
	case !slices.Contains(d.Category.Values(), string(d.Category)) || !slices.Contains(d.RiskLevel.Values(), string(d.RiskLevel)):
		return fmt.Errorf("tool %s: unknown category or risk level", d.Name)
	case d.timeout() <= 0 || d.timeout() > MaxTimeout:
		return fmt.Errorf("tool %s: the timeout is not within 1 s and %s", d.Name, MaxTimeout)
	case d.MaxConcurrent < 1 || d.CacheTTLSeconds < 0:
		return fmt.Errorf("tool %s: MaxConcurrent or CacheTTLSeconds is out of range", d.Name)
	case d.Pure && d.Hints.OpenWorld:
		return fmt.Errorf("tool %s: a pure tool cannot reach the open world", d.Name)
	}
	return nil
}

func (d Definition) timeout() time.Duration { return time.Duration(d.TimeoutSeconds) * time.Second }

// Check says whether the executor could carry out a call with these parameters, which satisfy the schema:
// BAD_USER_INPUT with a sentence for each bad field.
func (b Builtin) Check(params map[string]any) error {
	c, ok := b.Executor.(Checker)
	if !ok {
		return nil
	}
	bad, err := c.Check(params)
	if err != nil || len(bad) == 0 {
		return err
	}
	return input(bad)
}

// Typed makes a built-in of a Go function: parameters are decoded into In, the result is Out as JSON. It fails when the
// definition is unsound or its schema and In do not name the same parameters.
func Typed[In, Out any](d Definition, run func(ctx context.Context, c Call, in In) (Out, enum.Sensitivity, error)) (Builtin, error) {
	if err := typed[In, Out](d); err != nil {
		return Builtin{}, err
	}
	return Builtin{d, execute(run)}, nil
}

// TypedChecked is Typed for a Checker; check gets the decoded parameters.
func TypedChecked[In, Out any](d Definition, check func(In) map[string]string, run func(ctx context.Context, c Call, in In) (Out, enum.Sensitivity, error)) (Builtin, error) {
	if err := typed[In, Out](d); err != nil {
		return Builtin{}, err
	}
	return Builtin{d, checked[In]{execute(run), check}}, nil
}

func typed[In, Out any](d Definition) error {
	if err := d.check(); err != nil {
		return err
	}
	if err := sameNames(d.Schema, reflect.TypeFor[In]()); err != nil {
		return fmt.Errorf("tool %s: parameters: %w", d.Name, err)
	}
	if err := sameNames(d.OutputSchema, reflect.TypeFor[Out]()); err != nil {
		return fmt.Errorf("tool %s: result: %w", d.Name, err)
	}
	return nil
}

func execute[In, Out any](run func(ctx context.Context, c Call, in In) (Out, enum.Sensitivity, error)) ExecutorFunc {
	return func(ctx context.Context, c Call) (Result, error) {
		in, err := decode[In](c.Parameters)
		if err != nil {
			return Result{}, err
		}
		out, sensitivity, err := run(ctx, c, in)
		if err != nil {
			return Result{}, err
		}
		return Result{out, sensitivity}, nil
	}
}

type checked[In any] struct {
	ExecutorFunc
	check func(In) map[string]string
}

// Check decodes the parameters and has them checked.
func (c checked[In]) Check(params map[string]any) (map[string]string, error) {
	in, err := decode[In](params)
	if err != nil {
		return nil, err
	}
	return c.check(in), nil
}

func decode[In any](params map[string]any) (in In, err error) {
	b, err := canonical.Marshal(params)
	if err != nil {
		return in, fmt.Errorf("encoding parameters: %w", err)
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return in, fmt.Errorf("decoding parameters: %w", err)
	}
	return in, nil
}

// sameNames compares a schema's properties with the JSON names of a struct, so that neither changes alone.
func sameNames(schema map[string]any, t reflect.Type) error {
	if t.Kind() != reflect.Struct {
		return errors.New("the Go type is not a struct")
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok {
		return errors.New("the schema has no properties")
	}
	seen := 0
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if _, ok := properties[name]; !ok {
			return fmt.Errorf("field %s (%q) is not in the schema", f.Name, name)
		}
		seen++
	}
	if seen != len(properties) {
		return fmt.Errorf("the schema names %d properties, the Go type %d", len(properties), seen)
	}
	return nil
}
