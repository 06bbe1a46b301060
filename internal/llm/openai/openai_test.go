package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

const (
	key    = "sk-canary-key"
	prompt = "canary prompt"
)

func ask() llm.Request {
	return llm.Request{Messages: []llm.Message{{Role: enum.MessageRoleUser, Content: prompt}}}
}

// upstream serves the n-th request (from 0) with the handler and counts the requests.
func upstream(t *testing.T, c Config, serve func(n int, w http.ResponseWriter, r *http.Request)) (*Model, *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(int(n.Add(1))-1, w, r)
	}))
	t.Cleanup(s.Close)
	c.Name, c.BaseURL, c.APIKey = "m", s.URL+"/v1", key
	if c.RetryDelay == 0 {
		c.RetryDelay = time.Millisecond
	}
	m, err := New(c)
	require.NoError(t, err)
	return m, &n
}

func send(w http.ResponseWriter, data ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, d := range data {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", d) // the client may be gone
	}
	w.(http.Flusher).Flush()
}

const (
	hello = `{"choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"}}]}`
	stop  = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
	used  = `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
	done  = `[DONE]`
)

func TestRequest(t *testing.T) {
	var body map[string]any
	var auth string
	m, _ := upstream(t, Config{Model: "real-id"}, func(_ int, w http.ResponseWriter, r *http.Request) {
		auth = r.Header.Get("Authorization")
		_ = json.NewDecoder(r.Body).Decode(&body) // the assertions below see it
		send(w, hello, stop, used, done)
	})
	temperature := 0.5
	r := llm.Request{System: "Be brief.", Temperature: &temperature, MaxTokens: 9, Messages: []llm.Message{
		{Role: enum.MessageRoleUser, Content: "hi"},
		{Role: enum.MessageRoleAssistant, ToolCalls: []llm.ToolCall{{ID: "c1", Name: "echo", Arguments: map[string]any{"text": "ü"}}}},
		{Role: enum.MessageRoleTool, ToolCallID: "c1", Content: "ü"},
		{Role: enum.MessageRoleAssistant, Content: "ü it was"},
	}, Tools: []llm.ToolSpec{{Name: "echo", Description: "Echoes.", Schema: map[string]any{"type": "object"}}}}
	a, err := llm.Collect(m.Stream(t.Context(), r))
	require.NoError(t, err)
	require.Equal(t, llm.Answer{Text: "Hello", Finish: llm.Finish{Reason: llm.FinishStop, InputTokens: 7, OutputTokens: 3}}, a)
	require.Equal(t, "Bearer "+key, auth)
	got, err := json.Marshal(body)
	require.NoError(t, err)
	require.JSONEq(t, `{"model":"real-id","stream":true,"stream_options":{"include_usage":true},"temperature":0.5,"max_tokens":9,
		"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"},
			{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"echo","arguments":"{\"text\":\"ü\"}"}}]},
			{"role":"tool","tool_call_id":"c1","content":"ü"},{"role":"assistant","content":"ü it was"}],
		"tools":[{"type":"function","function":{"name":"echo","description":"Echoes.","parameters":{"type":"object"}}}]}`, string(got))
}

func TestEnvironmentIsNotRead(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "sk-from-the-environment")
	t.Setenv("OPENAI_ORG_ID", "org")
	var header http.Header
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header = r.Header.Clone()
		send(w, hello, stop, done)
	}))
	defer s.Close()
	m, err := New(Config{Name: "m", BaseURL: s.URL})
	require.NoError(t, err)
	_, err = llm.Collect(m.Stream(t.Context(), ask()))
	require.NoError(t, err)
	require.Empty(t, header.Get("Authorization"))
	require.Empty(t, header.Get("OpenAI-Organization"))
}

func TestCancelStopsTheUpstreamRequest(t *testing.T) {
	gone := make(chan struct{})
	serve := func(_ int, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // read whole, so that the server watches the connection
		send(w, hello)
		<-r.Context().Done()
		close(gone)
	}
	for name, leave := range map[string]func(cancel func()) (goOn bool){
		"Cancelled": func(cancel func()) bool { cancel(); return true },
		"Left":      func(func()) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			gone = make(chan struct{})
			m, _ := upstream(t, Config{}, serve)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for c, err := range m.Stream(ctx, ask()) {
				if err != nil {
					require.ErrorIs(t, err, context.Canceled)
					break
				}
				require.Equal(t, "Hello", c.Text)
				if !leave(cancel) {
					break
				}
			}
			select {
			case <-gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the server never saw the client leave")
			}
		})
	}
}

func TestFailures(t *testing.T) {
	status := func(code int, body string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body) // the client may be gone
		}
	}
	stream := func(data ...string) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) { send(w, data...) }
	}
	leak := `{"error":{"message":"You sent ` + prompt + ` with ` + key + `","type":"invalid_request_error","code":"%s"}}`
	for _, tc := range []struct {
		name     string
		serve    func(int, http.ResponseWriter, *http.Request)
		kind     llm.Kind
		requests int64
		partial  bool
	}{
		{"Auth", status(401, fmt.Sprintf(leak, "invalid_api_key")), llm.KindAuth, 1, false},
		{"BadRequest", status(400, fmt.Sprintf(leak, "sk-canary-key")), llm.KindRefused, 1, false},
		{"NoSuchModel", status(404, fmt.Sprintf(leak, "model_not_found")), llm.KindRefused, 1, false},
		{"TooLong", status(400, fmt.Sprintf(leak, "context_length_exceeded")), llm.KindContextLength, 1, false},
		{"TooLongInWords", status(400, `{"error":{"message":"This model's maximum context length is 4096 tokens"}}`), llm.KindContextLength, 1, false},
		{"Quota", status(429, fmt.Sprintf(leak, "insufficient_quota")), llm.KindRefused, 1, false},
		{"Busy", status(429, fmt.Sprintf(leak, "rate_limit_exceeded")), llm.KindRateLimited, 3, false},
		{"Down", status(503, "<html>"+prompt), llm.KindUnavailable, 3, false},
		{"Redirect", func(_ int, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, llm.KindRefused, 1, false},
		{"NotJSON", stream("{" + prompt), llm.KindProtocol, 3, false},
		{"EmptyStream", stream(), llm.KindUnavailable, 3, false},
		{"BrokeOff", stream(hello), llm.KindUnavailable, 1, true},
		{"ErrorInStream", stream(hello, `{"error":{"message":"`+prompt+`","code":503}}`), llm.KindUnavailable, 1, true},
		{"ErrorFirst", stream(`{"error":{"message":"` + prompt + `","code":"rate_limit_exceeded"}}`), llm.KindRateLimited, 3, false},
		{"Endless", stream(strings.Repeat(`{"choices":[{"index":0,"delta":{"content":"`+strings.Repeat("x", 40_000)+"\"}}]}\n\ndata: ", 40) + stop), llm.KindProtocol, 1, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, n := upstream(t, Config{}, tc.serve)
			_, err := llm.Collect(m.Stream(t.Context(), ask()))
			e, ok := llm.AsError(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, tc.kind, e.Kind)
			require.Equal(t, tc.partial, e.Partial)
			require.Equal(t, tc.requests, n.Load())
			for _, s := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), e.Public().Error(), fmt.Sprint(m)} {
				require.NotContains(t, s, key)
				require.NotContains(t, s, prompt)
			}
		})
	}
}

func TestRetryBeforeTheFirstToken(t *testing.T) {
	m, n := upstream(t, Config{}, func(n int, w http.ResponseWriter, _ *http.Request) {
		if n < 2 {
			w.Header().Set("Retry-After-Ms", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		send(w, hello, stop, done)
	})
	a, err := llm.Collect(m.Stream(t.Context(), ask()))
	require.NoError(t, err)
	require.Equal(t, "Hello", a.Text)
	require.Equal(t, int64(3), n.Load())
}

func TestLongRetryAfterIsLeftToTheCaller(t *testing.T) {
	m, n := upstream(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := llm.Collect(m.Stream(t.Context(), ask()))
	e, ok := llm.AsError(err)
	require.True(t, ok)
	require.Equal(t, 10*time.Minute, e.RetryAfter)
	require.Equal(t, int64(1), n.Load())
}

func TestIdleTimeout(t *testing.T) {
	for name, first := range map[string][]string{"BeforeTheFirstChunk": nil, "BetweenChunks": {hello}} {
		t.Run(name, func(t *testing.T) {
			m, _ := upstream(t, Config{IdleTimeout: 50 * time.Millisecond, MaxRetries: -1}, func(_ int, w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // read whole, so that the server watches the connection
				if len(first) > 0 {
					send(w, first...)
				}
				<-r.Context().Done()
			})
			_, err := llm.Collect(m.Stream(t.Context(), ask()))
			e, ok := llm.AsError(err)
			require.True(t, ok)
			require.Contains(t, []llm.Kind{llm.KindTimeout}, e.Kind)
			require.Equal(t, len(first) > 0, e.Partial)
		})
	}
}

func TestToolCallFragments(t *testing.T) {
	call := func(index int, id, name, args string) string {
		b, err := json.Marshal(map[string]any{"choices": []any{map[string]any{"index": 0, "delta": map[string]any{
			"tool_calls": []any{map[string]any{"index": index, "id": id, "function": map[string]any{"name": name, "arguments": args}}}}}}})
		require.NoError(t, err)
		return string(b)
	}
	for _, tc := range []struct {
		name   string
		chunks []string
		want   []llm.ToolCall
	}{
		{"Interleaved", []string{call(0, "a", "f", `{"x"`), call(1, "b", "g", ``), call(0, "", "", `:1}`), call(1, "", "", `{}`)},
			[]llm.ToolCall{{ID: "a", Name: "f", Arguments: map[string]any{"x": 1.0}}, {ID: "b", Name: "g", Arguments: map[string]any{}}}},
		{"OneIndexForAll", []string{call(0, "a", "f", `{}`), call(0, "b", "g", `{}`)},
			[]llm.ToolCall{{ID: "a", Name: "f", Arguments: map[string]any{}}, {ID: "b", Name: "g", Arguments: map[string]any{}}}},
		{"NoArguments", []string{call(0, "a", "f", "")}, []llm.ToolCall{{ID: "a", Name: "f", Arguments: map[string]any{}}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, _ := upstream(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) { send(w, append(tc.chunks, stop, done)...) })
			a, err := llm.Collect(m.Stream(t.Context(), ask()))
			require.NoError(t, err)
			require.Equal(t, tc.want, a.ToolCalls)
			require.Equal(t, llm.FinishToolCalls, a.Finish.Reason)
		})
	}
	for _, args := range []string{`[1]`, `null`, `{"a":1} {"b":2}`, `"x"`, `{"a":`} {
		m, _ := upstream(t, Config{}, func(_ int, w http.ResponseWriter, _ *http.Request) { send(w, call(0, "", "f", args), stop, done) })
		a, err := llm.Collect(m.Stream(t.Context(), ask()))
		require.NoError(t, err)
		require.Len(t, a.ToolCalls, 1)
		require.NotEmpty(t, a.ToolCalls[0].ID)
		require.NotEmpty(t, a.ToolCalls[0].Invalid, args)
	}
}

func TestUnescaper(t *testing.T) {
	for _, tc := range []struct {
		raw  []string
		want string
	}{
		{[]string{`"a\ud83d"`, `"\ude00b"`}, "a😀b"},
		{[]string{`"\uD83D"`, `""`, `"\uDE00\uD83D"`, `"\uDE00"`}, "😀😀"},
		{[]string{`"x\\ud83d"`, `"y"`}, `x\ud83dy`},
		{[]string{`"a\ud83d"`}, "a\uFFFD"},
		{[]string{`"a\ud83d"`, `"b"`}, "a\uFFFDb"},
		{[]string{`"plain"`, `"ü"`}, "plainü"},
	} {
		var u unescaper
		got := ""
		for _, raw := range tc.raw {
			var decoded string
			require.NoError(t, json.Unmarshal([]byte(raw), &decoded))
			got += u.next(decoded, raw)
		}
		require.Equal(t, tc.want, got+u.flush())
	}
}

func TestNew(t *testing.T) {
	for _, tc := range []struct {
		c  Config
		ok bool
	}{
		{Config{Name: "m"}, true},
		{Config{}, false},
		{Config{Name: "m", BaseURL: "https://example.org/v1", APIKey: key}, true},
		{Config{Name: "m", BaseURL: "http://127.0.0.1:1/v1", APIKey: key}, true},
		{Config{Name: "m", BaseURL: "http://[::1]:1/v1", APIKey: key}, true},
		{Config{Name: "m", BaseURL: "http://example.org/v1", APIKey: key}, false},
		{Config{Name: "m", BaseURL: "http://example.org/v1", APIKey: key, AllowPlainHTTP: true}, true},
		{Config{Name: "m", BaseURL: "http://example.org/v1"}, true},
		{Config{Name: "m", BaseURL: "https://user:" + key + "@example.org"}, false},
		{Config{Name: "m", BaseURL: "https://example.org/v1?key=" + key}, false},
		{Config{Name: "m", BaseURL: "file:///etc"}, false},
		{Config{Name: "m", BaseURL: ":"}, false},
	} {
		_, err := New(tc.c)
		if tc.ok {
			require.NoError(t, err)
			continue
		}
		require.Error(t, err)
		require.NotContains(t, err.Error(), key)
	}
}
