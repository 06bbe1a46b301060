// Package openai embeds by an endpoint of the OpenAI protocol: OpenAI's own, or any compatible server's. It sends
// texts and key to the configured address only: it follows no redirect and reads nothing from the environment. Its errors carry neither texts
// nor replies. Safe for concurrent use.
package openai

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/errs"
)

// Bounds of one request; the protocol allows 2,048 texts and 300,000 tokens, a token being a byte at worst.
const (
	batchTexts = 128
	batchBytes = 256 << 10
	replyBytes = 32 << 20
)

// Config says where and what a remote model is.
type Config struct {
	BaseURL    string // of any compatible endpoint, up to and with the version: "https://api.example.com/v1"
	APIKey     string // may be empty for a local endpoint
	Model      string
	Dimensions int           // 1..1536, what the model answers
	Shorten    bool          // ask for Dimensions, of models that can give fewer than their own
	Timeout    time.Duration // of one request; 0: 30 s
}

// Embedder is an embed.Embedder.
type Embedder struct {
	svc openai.EmbeddingService
	cfg Config
}

// New checks the configuration; it calls nothing. BAD_USER_INPUT names the bad field.
func New(cfg Config) (*Embedder, error) {
	u, err := url.Parse(cfg.BaseURL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil:
		return nil, errs.Input("baseUrl", "The address of the embedding service must be a full http or https address without a user name.")
	case cfg.Model == "":
		return nil, errs.Input("modelName", "Name the embedding model.")
	case cfg.Dimensions < 1 || cfg.Dimensions > embed.Size:
		return nil, errs.Input("dimensions", "An embedding model must give between 1 and %d dimensions.", embed.Size)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	opts := []option.RequestOption{
		option.WithBaseURL(cfg.BaseURL),
		option.WithRequestTimeout(cfg.Timeout),
		option.WithMaxRetries(2),
		option.WithHTTPClient(&http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
			Transport:     limited{http.DefaultTransport},
		}),
	}
	if cfg.APIKey != "" {
		opts = append(opts, option.WithAPIKey(cfg.APIKey))
	}
	return &Embedder{openai.NewEmbeddingService(opts...), cfg}, nil
}

var errRedirect = errors.New("the embedding service answered with a redirect")

// limited cuts replies at replyBytes, so that no endpoint can fill the memory.
type limited struct{ http.RoundTripper }

// RoundTrip is of http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(res.Body, replyBytes), res.Body}
	}
	return res, err
}

// Model names the model.
func (o *Embedder) Model() string { return o.cfg.Model }

// Dimensions is what the model answers.
func (o *Embedder) Dimensions() int { return o.cfg.Dimensions }

// Embed sends the texts in batches. UPSTREAM_UNAVAILABLE when the endpoint fails, says no, or answers nonsense;
// the context's error when that ended.
func (o *Embedder) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	out := make([][]float32, len(texts))
	var batch []int // places of texts
	size := 0
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := o.send(ctx, texts, batch, out)
		batch, size = batch[:0], 0
		return err
	}
	for i, s := range texts {
		if embed.IsBlank(s) { // refused by the protocol
			out[i] = embed.Blank()
			continue
		}
		if len(batch) == batchTexts || size+len(s) > batchBytes {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		batch, size = append(batch, i), size+len(s)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return out, ctx.Err()
}

func (o *Embedder) send(ctx context.Context, texts []string, places []int, out [][]float32) error {
	in := make([]string, len(places))
	for i, p := range places {
		in[i] = texts[p]
	}
	params := openai.EmbeddingNewParams{
		Model:          o.cfg.Model,
		Input:          openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: in},
		EncodingFormat: openai.EmbeddingNewParamsEncodingFormatFloat,
	}
	if o.cfg.Shorten {
		params.Dimensions = openai.Int(int64(o.cfg.Dimensions))
	}
	res, err := o.svc.New(ctx, params)
	if err != nil {
		return upstream(ctx, err)
	}
	if len(res.Data) != len(in) {
		return nonsense("%d vectors for %d texts", len(res.Data), len(in))
	}
	for _, d := range res.Data {
		if d.Index < 0 || int(d.Index) >= len(places) || out[places[d.Index]] != nil {
			return nonsense("index %d is out of range or repeated", d.Index)
		}
		if len(d.Embedding) != o.cfg.Dimensions {
			return nonsense("%d dimensions instead of %d", len(d.Embedding), o.cfg.Dimensions)
		}
		v := make([]float32, embed.Size)
		for i, x := range d.Embedding {
			v[i] = float32(x)
		}
		if !embed.Normalise(v) {
			return nonsense("a vector that is zero or not finite")
		}
		out[places[d.Index]] = v
	}
	return nil
}

func nonsense(format string, args ...any) error {
	return errs.Wrap(fmt.Errorf("embedding reply: "+format, args...), errs.UpstreamUnavailable,
		"The embedding service gave an answer that cannot be used. Ask an operator to check the embedding model's configuration.")
}

// upstream tells what went wrong without the reply's text, which may repeat what was sent.
func upstream(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var api *openai.Error
	if errors.As(err, &api) {
		cause := fmt.Errorf("embedding service: HTTP status %d", api.StatusCode)
		if api.StatusCode == http.StatusTooManyRequests || api.StatusCode >= 500 {
			return unavailable(cause)
		}
		return errs.Wrap(cause, errs.UpstreamUnavailable,
			"The embedding service refused the request. Ask an operator to check its key and the model's name.")
	}
	var u *url.Error
	if errors.As(err, &u) {
		if errors.Is(u.Err, errRedirect) {
			return nonsense("a redirect")
		}
		return unavailable(fmt.Errorf("embedding service: %w", u.Err))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return unavailable(fmt.Errorf("embedding service: %w", context.DeadlineExceeded))
	}
	return nonsense("not of the protocol (%T)", err)
}

func unavailable(cause error) error {
	e := errs.Wrap(cause, errs.UpstreamUnavailable, "The embedding service does not answer at the moment. Try again in a minute.")
	e.Retryable = true
	return e
}
