package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/embed/testkit"
	"cdsa.dev/cdsa/internal/errs"
)

func TestConformance(t *testing.T) {
	var calls, most atomic.Int64
	srv := endpoint(t, func(w http.ResponseWriter, r *http.Request, in request) {
		calls.Add(1)
		most.Store(max(most.Load(), int64(len(in.Input))))
		reply(w, in, 64)
	})
	e, err := New(Config{BaseURL: srv, APIKey: "k-123", Model: "small", Dimensions: 64, Shorten: true})
	require.NoError(t, err)
	testkit.Conform(t, e)
	require.LessOrEqual(t, most.Load(), int64(batchTexts))
	require.Greater(t, calls.Load(), int64(2))
}

type request struct {
	Model      string   `json:"model"`
	Input      []string `json:"input"`
	Dimensions int      `json:"dimensions"`
	Format     string   `json:"encoding_format"`
}

// endpoint serves POST /v1/embeddings and gives the base URL.
func endpoint(t *testing.T, do func(http.ResponseWriter, *http.Request, request)) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in request
		if r.Method != http.MethodPost || r.URL.Path != "/v1/embeddings" || json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		do(w, r, in)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/v1"
}

// reply answers with vectors that depend on each text alone, in reverse order.
func reply(w http.ResponseWriter, in request, dim int) {
	type item struct {
		Object    string    `json:"object"`
		Index     int       `json:"index"`
		Embedding []float64 `json:"embedding"`
	}
	var data []item
	for i := len(in.Input) - 1; i >= 0; i-- {
		h := fnv.New64a()
		_, _ = h.Write([]byte(in.Input[i]))
		r := rand.New(rand.NewPCG(h.Sum64(), 1))
		v := make([]float64, dim)
		for j := range v {
			v[j] = r.NormFloat64()
		}
		data = append(data, item{"embedding", i, v})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "model": in.Model, "data": data, "usage": map[string]int{"prompt_tokens": 1, "total_tokens": 1}})
}

func TestProtocol(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "from-environment")
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/none")
	var got request
	var auth string
	base := endpoint(t, func(w http.ResponseWriter, r *http.Request, in request) {
		got, auth = in, r.Header.Get("Authorization")
		reply(w, in, 8)
	})
	e, err := New(Config{BaseURL: base, Model: "m", Dimensions: 8})
	require.NoError(t, err)
	_, err = e.Embed(context.Background(), []string{"one", "two"})
	require.NoError(t, err)
	require.Equal(t, request{"m", []string{"one", "two"}, 0, "float"}, got)
	require.Empty(t, auth, "the environment's key was sent")

	e, err = New(Config{BaseURL: base + "/", APIKey: "k", Model: "m", Dimensions: 8, Shorten: true})
	require.NoError(t, err)
	_, err = e.Embed(context.Background(), []string{"one"})
	require.NoError(t, err)
	require.Equal(t, 8, got.Dimensions)
	require.Equal(t, "Bearer k", auth)
}

func TestFaults(t *testing.T) {
	status := func(code int) func(http.ResponseWriter, request) {
		return func(w http.ResponseWriter, in request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Should-Retry", "false")
			w.WriteHeader(code)
			_, _ = fmt.Fprintf(w, `{"error":{"message":"canary %s","type":"t"}}`, in.Input[0])
		}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		do        func(http.ResponseWriter, request)
		retryable bool
	}{
		"Unauthorized": {status(401), false},
		"BadRequest":   {status(400), false},
		"TooMany":      {status(429), true},
		"Down":         {status(503), true},
		"TooFew":       {func(w http.ResponseWriter, in request) { reply(w, request{Input: in.Input[1:]}, 8) }, false},
		"WrongSize":    {func(w http.ResponseWriter, in request) { reply(w, in, 9) }, false},
		"NotJSON":      {func(w http.ResponseWriter, _ request) { _, _ = w.Write([]byte("<html>canary secret text")) }, false},
		"Zero": {func(w http.ResponseWriter, _ request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"data":[{"index":0,"embedding":[0,0,0,0,0,0,0,0]},{"index":1,"embedding":[1,0,0,0,0,0,0,0]}]}`))
		}, false},
		"Repeated": {func(w http.ResponseWriter, _ request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"data":[{"index":0,"embedding":[1,0,0,0,0,0,0,0]},{"index":0,"embedding":[1,0,0,0,0,0,0,0]}]}`))
		}, false},
		"Redirect": {func(w http.ResponseWriter, _ request) {
			w.Header().Set("Location", elsewhere.URL)
			w.Header().Set("X-Should-Retry", "false")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			base := endpoint(t, func(w http.ResponseWriter, _ *http.Request, in request) { c.do(w, in) })
			e, err := New(Config{BaseURL: base, APIKey: "canary-key", Model: "m", Dimensions: 8})
			require.NoError(t, err)
			_, err = e.Embed(context.Background(), []string{"canary secret text", "b"})
			shown, ok := errs.As(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, errs.UpstreamUnavailable, shown.Code)
			require.Equal(t, c.retryable, shown.Retryable)
			for ; err != nil; err = errors.Unwrap(err) {
				require.NotContains(t, err.Error(), "canary")
			}
		})
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	base := endpoint(t, func(_ http.ResponseWriter, r *http.Request, _ request) {
		cancel()
		<-r.Context().Done()
	})
	e, err := New(Config{BaseURL: base, Model: "m", Dimensions: 8})
	require.NoError(t, err)
	_, err = e.Embed(ctx, []string{"x"})
	require.ErrorIs(t, err, context.Canceled)
}

func TestNew_Refuses(t *testing.T) {
	good := Config{BaseURL: "http://127.0.0.1:1/v1", Model: "m", Dimensions: 8}
	for name, change := range map[string]func(*Config){
		"NoAddress": func(c *Config) { c.BaseURL = "" },
		"Scheme":    func(c *Config) { c.BaseURL = "file:///etc/passwd" },
		"User":      func(c *Config) { c.BaseURL = "http://a:b@127.0.0.1/v1" },
		"NoModel":   func(c *Config) { c.Model = "" },
		"None":      func(c *Config) { c.Dimensions = 0 },
		"TooMany":   func(c *Config) { c.Dimensions = embed.Size + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			_, err := New(c)
			require.True(t, errs.Is(err, errs.BadUserInput))
		})
	}
}
