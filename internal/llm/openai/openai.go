// Package openai speaks to any server with OpenAI's chat completions protocol - OpenAI itself, Ollama, vLLM and
// others - through the official SDK, as an llm.Model.
//
// It reads no environment variable, follows no redirect, sends the key over plain HTTP only to the machine itself
// unless told otherwise, and retries only while nothing of the answer has been passed on. What a server may make it
// hold is bounded. A Model is safe for concurrent use. Errors are *llm.Error.
package openai

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"cdsa.dev/cdsa/internal/llm"
)

// Provider is the name of this adapter.
const Provider = "openai"

// Config says how to reach a model. Zero durations and counts take the defaults named.
type Config struct {
	Name    string // what the server calls the model
	Model   string // the provider's id of it; empty: Name
	BaseURL string // up to and including /v1; empty: OpenAI
	APIKey  string // empty: none is sent, as for a local Ollama

	Timeout     time.Duration // for one attempt's whole answer; 5 minutes
	IdleTimeout time.Duration // for the first chunk and between chunks; 60 seconds
	MaxRetries  int           // further attempts before the first token; negative: none; 0: 2
	RetryDelay  time.Duration // before the first retry, doubling; 250 ms

	AllowPlainHTTP bool              // send the key over http to another machine
	Transport      http.RoundTripper // nil: one of its own
}

// Model is a model behind the protocol.
type Model struct {
	cfg         Config
	completions sdk.ChatCompletionService
	legacyMax   bool // max_tokens, which compatible servers know, instead of OpenAI's own max_completion_tokens
}

// New checks the configuration and connects nothing. Its errors name no key and no URL.
func New(c Config) (*Model, error) {
	if c.Name == "" {
		return nil, errors.New("openai: the model has no name")
	}
	if c.Model == "" {
		c.Model = c.Name
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Minute
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = time.Minute
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = 2
	}
	if c.RetryDelay <= 0 {
		c.RetryDelay = 250 * time.Millisecond
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	opts := []option.RequestOption{
		option.WithEnvironmentProduction(),
		option.WithMaxRetries(0), // the SDK cannot know whether a token has been passed on
		option.WithMiddleware(refuseRedirects),
		option.WithHTTPClient(&http.Client{
			Transport:     c.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	}
	if c.BaseURL != "" {
		if err := checkURL(c); err != nil {
			return nil, err
		}
		opts = append(opts, option.WithBaseURL(c.BaseURL))
	}
	if c.APIKey != "" {
		opts = append(opts, option.WithAPIKey(c.APIKey))
	}
	legacyMax := c.BaseURL != "" && !strings.HasPrefix(c.BaseURL, "https://api.openai.com/")
	return &Model{cfg: c, completions: sdk.NewChatCompletionService(opts...), legacyMax: legacyMax}, nil
}

// refuseRedirects: a redirect would carry a conversation to a place nobody configured.
func refuseRedirects(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	resp, err := next(r)
	if err == nil && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close() // nothing in it is wanted
		return nil, errRedirect
	}
	return resp, err
}

var errRedirect = errors.New("the provider answered with a redirect")

func checkURL(c Config) error {
	u, err := url.Parse(c.BaseURL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return errors.New("openai: the base URL is not an http or https URL")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("openai: the base URL must not carry a user, a query or a fragment; the key is a setting of its own")
	case u.Scheme == "http" && c.APIKey != "" && !c.AllowPlainHTTP && !loopback(u.Hostname()):
		return errors.New("openai: the key would cross the network in the clear: use https, or allow plain HTTP on purpose")
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.IsLoopback())
}

// Name is the configured name.
func (m *Model) Name() string { return m.cfg.Name }

// Provider is "openai".
func (m *Model) Provider() string { return Provider }

// Stream asks for one answer; see llm.Model.
func (m *Model) Stream(ctx context.Context, r llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		params, err := m.params(r)
		if err != nil {
			yield(llm.Chunk{}, err)
			return
		}
		for try := 0; ; try++ {
			if ctx.Err() != nil {
				yield(llm.Chunk{}, llm.Cancelled(ctx, Provider))
				return
			}
			a := attempt{model: m, yield: yield}
			failure := a.run(ctx, params)
			if failure == nil || a.stopped {
				return
			}
			failure.Partial = a.yielded
			if a.yielded || !failure.Retryable() || try >= m.cfg.MaxRetries || !m.pause(ctx, try, failure.RetryAfter) {
				if ctx.Err() != nil {
					failure = llm.Cancelled(ctx, Provider)
					failure.Partial = a.yielded
				}
				yield(llm.Chunk{}, failure)
				return
			}
		}
	}
}

// maxPause is the longest a person should wait in silence for a retry; a provider that asks for more gets none.
const maxPause = 10 * time.Second

// pause waits before the next try; false when there must be none.
func (m *Model) pause(ctx context.Context, try int, asked time.Duration) bool {
	wait := m.cfg.RetryDelay << min(try, 10)
	wait += rand.N(wait/2 + 1)
	wait = max(min(wait, maxPause), asked)
	if wait > maxPause {
		return false
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// params turns a request into the protocol's.
func (m *Model) params(r llm.Request) (sdk.ChatCompletionNewParams, error) {
	p := sdk.ChatCompletionNewParams{
		Model:         m.cfg.Model,
		StreamOptions: sdk.ChatCompletionStreamOptionsParam{IncludeUsage: sdk.Bool(true)},
	}
	if r.Model != "" {
		p.Model = r.Model
	}
	if r.Temperature != nil {
		p.Temperature = sdk.Float(*r.Temperature)
	}
	if r.MaxTokens > 0 {
		if m.legacyMax {
			p.MaxTokens = sdk.Int(int64(r.MaxTokens))
		} else {
			p.MaxCompletionTokens = sdk.Int(int64(r.MaxTokens))
		}
	}
	if r.System != "" {
		p.Messages = append(p.Messages, sdk.SystemMessage(r.System))
	}
	for _, msg := range r.Messages {
		mp, err := message(msg)
		if err != nil {
			return p, err
		}
		p.Messages = append(p.Messages, mp)
	}
	for _, t := range r.Tools {
		schema := t.Schema
		if schema == nil {
			schema = map[string]any{"type": "object", "properties": map[string]any{}}
		}
		p.Tools = append(p.Tools, sdk.ChatCompletionFunctionTool(sdk.FunctionDefinitionParam{
			Name: t.Name, Description: sdk.String(strings.TrimSpace(t.Description)), Parameters: schema,
		}))
	}
	return p, nil
}

func fail(kind llm.Kind) *llm.Error { return &llm.Error{Kind: kind, Provider: Provider} }

// String keeps the key out of a careless %v.
func (m *Model) String() string { return fmt.Sprintf("%s model %q", Provider, m.cfg.Name) }

// String keeps the key out of a careless %v.
func (c Config) String() string { return fmt.Sprintf("%s model %q", Provider, c.Name) }
