package tool

import (
	"fmt"
	"slices"
	"strings"
)

// Registry holds the built-in tools of a server. It is immutable.
type Registry struct {
	entries map[string]entry
	names   []string // sorted
}

type entry struct {
	Builtin
	in, out *Schema
	slots   chan struct{} // capacity MaxConcurrent
}

// NewRegistry compiles the schemas and refuses an unsound definition or the same name twice.
func NewRegistry(builtins ...Builtin) (*Registry, error) {
	r := &Registry{entries: map[string]entry{}}
	for _, b := range builtins {
		if err := b.check(); err != nil {
			return nil, err
		}
		if _, dup := r.entries[b.Name]; dup || b.Executor == nil {
			return nil, fmt.Errorf("tool %s: registered twice, or without an executor", b.Name)
		}
		in, err := Compile(b.Schema)
		if err != nil {
			return nil, fmt.Errorf("tool %s: %w", b.Name, err)
		}
		out, err := CompileOutput(b.OutputSchema)
		if err != nil {
			return nil, fmt.Errorf("tool %s: %w", b.Name, err)
		}
		r.entries[b.Name] = entry{b, in, out, make(chan struct{}, b.MaxConcurrent)}
		r.names = append(r.names, b.Name)
	}
	slices.SortFunc(r.names, strings.Compare)
	return r, nil
}

// Lookup finds a built-in by its name.
func (r *Registry) Lookup(name string) (Builtin, bool) {
	e, ok := r.entries[name]
	return e.Builtin, ok
}

// Parameters gives the compiled schema of a built-in's parameters.
func (r *Registry) Parameters(name string) (*Schema, bool) {
	e, ok := r.entries[name]
	return e.in, ok
}

// All lists the built-ins by name.
func (r *Registry) All() []Builtin {
	out := make([]Builtin, len(r.names))
	for i, n := range r.names {
		out[i] = r.entries[n].Builtin
	}
	return out
}
