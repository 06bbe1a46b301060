// Package provider builds the registry of models from the configuration: the one place that knows every adapter.
// The offline assistant is always there; it is the default where no other model is configured.
package provider

import (
	"fmt"
	"time"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/offline"
	"cdsa.dev/cdsa/internal/llm/openai"
	"cdsa.dev/cdsa/internal/llm/quote"
)

// Context windows, in tokens, where the configuration names none. The offline assistant has no window of its own:
// its number only bounds how much history it is handed.
const (
	offlineWindow = 32_768
	openaiWindow  = 8_192 // what small local models are commonly served with
)

// Config is the part of the server's configuration that is about models.
type Config struct {
	Provider           string // "offline", "openai" or empty: openai if there is a key or a base URL, else offline
	BaseURL            string
	APIKey             string
	Model              string           // needed by openai; also its name towards users
	SensitivityCeiling enum.Sensitivity // of the configured model; empty: INTERNAL for openai, RESTRICTED for offline
	ContextWindow      int              // tokens; 0: a cautious default
	Timeout            time.Duration    // of a whole answer; 0: the adapter's
	IdleTimeout        time.Duration    // between chunks; 0: the adapter's
	AllowPlainHTTP     bool             // see openai.Config
	OfflineDelay       time.Duration    // between the offline assistant's words
	Quote              quote.Func       // picks its quotations; nil: quote.Lexical
}

// New builds the registry. It connects nothing. Errors never hold the key.
func New(c Config) (*llm.Registry, error) {
	kind := c.Provider
	if kind == "" {
		kind = offline.Provider
		if c.APIKey != "" || c.BaseURL != "" {
			kind = openai.Provider
		}
	}
	local := llm.Entry{
		Model: offline.New(offline.Config{Delay: c.OfflineDelay, Quote: c.Quote}),
		Info:  llm.Info{ContextWindow: offlineWindow, SensitivityCeiling: enum.SensitivityRestricted},
	}
	switch kind {
	case offline.Provider:
		local.Info.IsDefault = true
		local.Info.SensitivityCeiling = or(c.SensitivityCeiling, enum.SensitivityRestricted)
		local.Info.ContextWindow = or(c.ContextWindow, offlineWindow)
		return llm.NewRegistry(local)
	case openai.Provider:
		if c.Model == "" {
			return nil, fmt.Errorf("models: the provider %s needs the name of a model", kind)
		}
		m, err := openai.New(openai.Config{
			Name: c.Model, BaseURL: c.BaseURL, APIKey: c.APIKey, Timeout: c.Timeout, IdleTimeout: c.IdleTimeout, AllowPlainHTTP: c.AllowPlainHTTP,
		})
		if err != nil {
			return nil, err
		}
		return llm.NewRegistry(llm.Entry{Model: m, Info: llm.Info{
			ContextWindow:      or(c.ContextWindow, openaiWindow),
			SensitivityCeiling: or(c.SensitivityCeiling, enum.SensitivityInternal),
			IsDefault:          true,
		}}, local)
	}
	return nil, fmt.Errorf("models: there is no provider %q: use %s or %s", kind, offline.Provider, openai.Provider)
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
