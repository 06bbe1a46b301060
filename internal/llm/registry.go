package llm

import (
	"errors"
	"fmt"
	"slices"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

// Info is what is known of a model apart from how to call it.
type Info struct {
	Name               string
	Provider           string
	ContextWindow      int              // tokens, input and answer together
	SensitivityCeiling enum.Sensitivity // the most confidential conversation it may see
	IsDefault          bool
}

// Entry is a model of a Registry.
type Entry struct {
	Model
	Info Info
}

// Registry is the fixed set of models a server offers. It does not change after New, so it needs no lock.
type Registry struct {
	entries []Entry
}

// NewRegistry checks the entries: at least one, names unique, exactly one default, windows positive, ceilings known.
// An Entry's Info takes name and provider from its Model.
func NewRegistry(entries ...Entry) (*Registry, error) {
	r := &Registry{}
	defaults := 0
	var problems []error
	for _, e := range entries {
		e.Info.Name, e.Info.Provider = e.Name(), e.Provider()
		switch {
		case e.Info.Name == "":
			problems = append(problems, errors.New("a model has no name"))
		case slices.ContainsFunc(r.entries, func(o Entry) bool { return o.Info.Name == e.Info.Name }):
			problems = append(problems, fmt.Errorf("two models are named %q", e.Info.Name))
		}
		if e.Info.ContextWindow <= 0 {
			problems = append(problems, fmt.Errorf("model %q has no context window", e.Info.Name))
		}
		if !known(e.Info.SensitivityCeiling) {
			problems = append(problems, fmt.Errorf("model %q has no sensitivity ceiling", e.Info.Name))
		}
		if e.Info.IsDefault {
			defaults++
		}
		r.entries = append(r.entries, e)
	}
	if defaults != 1 {
		problems = append(problems, fmt.Errorf("%d models are marked as the default, not one", defaults))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	return r, nil
}

func known(s enum.Sensitivity) bool { return slices.Contains(s.Values(), string(s)) }

// List is every model, in the order of the configuration.
func (r *Registry) List() []Info {
	out := make([]Info, len(r.entries))
	for i, e := range r.entries {
		out[i] = e.Info
	}
	return out
}

// Default is the model of sessions that name none.
func (r *Registry) Default() Entry {
	return r.entries[slices.IndexFunc(r.entries, func(e Entry) bool { return e.Info.IsDefault })]
}

// Lookup finds a model by name; the empty name is the default. Errors: BAD_USER_INPUT.
func (r *Registry) Lookup(name string) (Entry, error) {
	if name == "" {
		return r.Default(), nil
	}
	for _, e := range r.entries {
		if e.Info.Name == name {
			return e, nil
		}
	}
	return Entry{}, errs.Input("model", "There is no model of that name here. serverInfo.chatModels lists the models.")
}

// Admits is nil when the model may see a conversation of this sensitivity. Unknown values are refused.
// Errors: FAILED_PRECONDITION with the sensitivity as its state.
func (i Info) Admits(s enum.Sensitivity) error {
	if known(s) && known(i.SensitivityCeiling) && i.SensitivityCeiling.AtLeast(s) {
		return nil
	}
	name := string(s)
	if !known(s) {
		name = "unclassified"
	}
	return errs.InState(errs.FailedPrecondition, string(s),
		"This conversation holds %s data, and the model %s may see at most %s. Start a session with a model that may see it.",
		name, i.Name, i.SensitivityCeiling)
}
