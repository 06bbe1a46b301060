// Package builtin puts the built-in tools together. It holds nothing else.
package builtin

import (
	"fmt"
	"time"

	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/builtin/calculator"
	"cdsa.dev/cdsa/internal/tool/builtin/currenttime"
	"cdsa.dev/cdsa/internal/tool/builtin/httprequest"
	"cdsa.dev/cdsa/internal/tool/builtin/searchdocuments"
)

// Config is what the tools need of the server.
type Config struct {
	Now      func() time.Time // the clock
	Searcher searchdocuments.Searcher
	HTTP     httprequest.Config
}

// New makes the registry of all built-in tools; it fails on a malformed Config.
func New(cfg Config) (*tool.Registry, error) {
	if cfg.Now == nil || cfg.Searcher == nil {
		return nil, fmt.Errorf("builtin: a clock and a searcher are needed")
	}
	calc, err := calculator.New()
	if err != nil {
		return nil, err
	}
	clock, err := currenttime.New(cfg.Now)
	if err != nil {
		return nil, err
	}
	search, err := searchdocuments.New(cfg.Searcher)
	if err != nil {
		return nil, err
	}
	request, err := httprequest.New(cfg.HTTP)
	if err != nil {
		return nil, err
	}
	return tool.NewRegistry(search, calc, clock, request)
}
