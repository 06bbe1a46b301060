// Package llmtest is the suite every llm.Model passes. A provider that cannot reason - a stand-in server, or the
// offline assistant - is told beforehand what to answer to the fixed requests below.
package llmtest

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

// What the suite says, and what a model must answer to it.
const (
	Calculate     = `/calculator {"expression":"2*21"}`         // calls calculator with exactly this
	Echo          = `/echo {"text":"Zoë – 数据 😀 \"x\"\n</a>"}`   // calls echo with exactly this
	Search        = "Wie lange werden Größen-Daten aufbewahrt?" // calls search_documents
	Sentence      = "Größen-Daten – 数据 😀👩‍👩‍👧 – werden 90 Tage aufbewahrt."
	CalculateAns  = "42"        // is in the answer to Calculate once the tool has given it
	unicodeMarker = Sentence    // is in the answer to Search, with [1]
	longTimeout   = time.Minute // for a test that hangs
)

// Models under test: Slow is the same model with so long between two chunks that it can be stopped in the middle.
type Models struct {
	Model llm.Model
	Slow  llm.Model
}

// Tools are offered in every request of the suite.
func Tools() []llm.ToolSpec {
	spec := func(name, param string) llm.ToolSpec {
		return llm.ToolSpec{Name: name, Description: "The " + name + " tool.", Schema: map[string]any{
			"type": "object", "required": []any{param},
			"properties": map[string]any{param: map[string]any{"type": "string"}},
		}}
	}
	return []llm.ToolSpec{spec("calculator", "expression"), spec("echo", "text"), spec("search_documents", "query")}
}

// Ask is a request with one user message.
func Ask(text string) llm.Request {
	temperature := 0.0
	return llm.Request{
		System: "You are an assistant.", Tools: Tools(), Temperature: &temperature,
		Messages: []llm.Message{{Role: enum.MessageRoleUser, Content: text}},
	}
}

// Run runs the suite.
func Run(t *testing.T, m Models) {
	t.Run("Names", func(t *testing.T) {
		require.NotEmpty(t, m.Model.Name())
		require.NotEmpty(t, m.Model.Provider())
	})
	t.Run("Order", func(t *testing.T) { order(t, m.Model) })
	t.Run("ToolCall", func(t *testing.T) { toolCall(t, m.Model) })
	t.Run("RoundTrip", func(t *testing.T) { roundTrip(t, m.Model) })
	t.Run("Unicode", func(t *testing.T) { unicodeText(t, m.Model) })
	t.Run("AgainAndTogether", func(t *testing.T) { together(t, m.Model) })
	t.Run("CancelledBefore", func(t *testing.T) { cancelledBefore(t, m.Model) })
	t.Run("CancelledMidway", func(t *testing.T) { cancelledMidway(t, m.Slow) })
	t.Run("Left", func(t *testing.T) { left(t, m.Slow) })
}

// drain reads a whole answer and holds the rules of every stream.
func drain(t *testing.T, m llm.Model, r llm.Request) (llm.Answer, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longTimeout)
	defer cancel()
	before, err := json.Marshal(r)
	require.NoError(t, err)
	var a llm.Answer
	texts, finishes := 0, 0
	for c, err := range m.Stream(ctx, r) {
		require.NoError(t, err)
		require.Zero(t, finishes, "something came after the finish")
		set := 0
		if c.Text != "" {
			set++
			texts++
			require.Empty(t, a.ToolCalls, "text came after a tool call")
			require.True(t, utf8.ValidString(c.Text), "a chunk was cut inside a character")
			a.Text += c.Text
		}
		if c.ToolCall != nil {
			set++
			require.NotEmpty(t, c.ToolCall.ID)
			require.NotNil(t, c.ToolCall.Arguments)
			a.ToolCalls = append(a.ToolCalls, *c.ToolCall)
		}
		if c.Finish != nil {
			set++
			finishes++
			a.Finish = *c.Finish
		}
		require.Equal(t, 1, set, "a chunk is exactly one thing")
	}
	require.Equal(t, 1, finishes)
	after, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, string(before), string(after), "the request was changed")
	return a, texts
}

// answered is the conversation after a tool call and its result.
func answered(r llm.Request, a llm.Answer, res llm.ToolResult) (llm.Request, error) {
	content, err := res.Encode()
	r.Messages = append(r.Messages[:len(r.Messages):len(r.Messages)],
		llm.Message{Role: enum.MessageRoleAssistant, Content: a.Text, ToolCalls: a.ToolCalls},
		llm.Message{Role: enum.MessageRoleTool, Content: content, ToolCallID: a.ToolCalls[0].ID})
	return r, err
}

func found() llm.ToolResult {
	return llm.ToolResult{Tool: "search_documents", Status: enum.ToolExecutionStatusCompleted,
		Passages: []llm.Passage{{N: 1, Title: "Richtlinie", Text: "Vorwort.\n\n" + Sentence + " Ende."}}}
}

func afterSearch(t *testing.T, m llm.Model) llm.Request {
	t.Helper()
	r := Ask(Search)
	a, _ := drain(t, m, r)
	require.Len(t, a.ToolCalls, 1)
	require.Equal(t, "search_documents", a.ToolCalls[0].Name)
	r, err := answered(r, a, found())
	require.NoError(t, err)
	return r
}

func order(t *testing.T, m llm.Model) {
	a, texts := drain(t, m, afterSearch(t, m))
	require.Greater(t, texts, 1, "the answer came in one piece")
	require.Empty(t, a.ToolCalls)
	require.Equal(t, llm.FinishStop, a.Finish.Reason)
	require.Positive(t, a.Finish.InputTokens)
	require.Positive(t, a.Finish.OutputTokens)
}

func toolCall(t *testing.T, m llm.Model) {
	a, _ := drain(t, m, Ask(Calculate))
	require.Equal(t, llm.FinishToolCalls, a.Finish.Reason)
	require.Len(t, a.ToolCalls, 1)
	require.Equal(t, "calculator", a.ToolCalls[0].Name)
	require.Equal(t, map[string]any{"expression": "2*21"}, a.ToolCalls[0].Arguments)
	require.NoError(t, a.ToolCalls[0].Err())

	a, _ = drain(t, m, Ask(Echo))
	require.Len(t, a.ToolCalls, 1)
	require.Equal(t, map[string]any{"text": "Zoë – 数据 😀 \"x\"\n</a>"}, a.ToolCalls[0].Arguments)
}

func roundTrip(t *testing.T, m llm.Model) {
	r := Ask(Calculate)
	a, _ := drain(t, m, r)
	require.Len(t, a.ToolCalls, 1)
	r, err := answered(r, a, llm.ToolResult{Tool: "calculator", Status: enum.ToolExecutionStatusCompleted, Result: json.RawMessage(`{"result":"42","exact":true,"value":42}`)})
	require.NoError(t, err)
	a, _ = drain(t, m, r)
	require.Empty(t, a.ToolCalls)
	require.Contains(t, a.Text, CalculateAns)
	require.Equal(t, llm.FinishStop, a.Finish.Reason)
}

func unicodeText(t *testing.T, m llm.Model) {
	a, _ := drain(t, m, afterSearch(t, m))
	require.Contains(t, a.Text, unicodeMarker)
	require.Contains(t, a.Text, "[1]")
	require.NotContains(t, a.Text, "\uFFFD")
}

func together(t *testing.T, m llm.Model) {
	r := afterSearch(t, m)
	want, _ := drain(t, m, r)
	var wg sync.WaitGroup
	got := make([]string, 4)
	failed := make([]error, len(got))
	for i := range got {
		wg.Go(func() {
			var a llm.Answer
			a, failed[i] = llm.Collect(m.Stream(t.Context(), r))
			got[i] = a.Text
		})
	}
	wg.Wait()
	for i := range got {
		require.NoError(t, failed[i])
		require.Equal(t, want.Text, got[i])
	}
}

func cancelledBefore(t *testing.T, m llm.Model) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	onlyCancelled(t, ctx, m, Ask(Calculate), func() {})
}

func cancelledMidway(t *testing.T, m llm.Model) {
	r := afterSearch(t, m)
	ctx, cancel := context.WithTimeout(t.Context(), longTimeout)
	defer cancel()
	begun := time.Now()
	onlyCancelled(t, ctx, m, r, cancel)
	require.Less(t, time.Since(begun), longTimeout/2, "the stream did not stop when its context ended")
}

// onlyCancelled reads until the error, which must be the last thing and must be the context's; first is called at the first chunk.
func onlyCancelled(t *testing.T, ctx context.Context, m llm.Model, r llm.Request, first func()) { //nolint:revive // t comes first in a test helper
	t.Helper()
	var last error
	errorsSeen := 0
	for c, err := range m.Stream(ctx, r) {
		require.Zero(t, errorsSeen, "something came after the error")
		if err != nil {
			errorsSeen, last = errorsSeen+1, err
			continue
		}
		require.Nil(t, c.Finish, "a cancelled answer finished")
		first()
	}
	require.Equal(t, 1, errorsSeen)
	require.ErrorIs(t, last, context.Canceled)
	var e *llm.Error
	require.True(t, errors.As(last, &e))
	require.Equal(t, llm.KindCancelled, e.Kind)
	require.False(t, e.Retryable())
	require.NotContains(t, last.Error(), strings.Fields(r.Messages[0].Content)[0])
}

// left: a consumer that breaks off leaves no goroutine behind.
func left(t *testing.T, m llm.Model) {
	r := afterSearch(t, m)
	before := runtime.NumGoroutine()
	for range 20 {
		for _, err := range m.Stream(t.Context(), r) {
			require.NoError(t, err)
			break
		}
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+12 }, 10*time.Second, 10*time.Millisecond,
		"goroutines are left behind")
}
