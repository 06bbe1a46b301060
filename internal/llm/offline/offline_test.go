package offline

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/llmtest"
)

func TestConformance(t *testing.T) {
	llmtest.Run(t, llmtest.Models{Model: New(Config{}), Slow: New(Config{Delay: time.Millisecond})})
}

// conversation plays the tools of a turn until the model answers.
func conversation(t *testing.T, message string, offered []llm.ToolSpec, results map[string]llm.ToolResult) (calls []string, answer string) {
	t.Helper()
	m := New(Config{})
	r := llm.Request{Tools: offered, Messages: []llm.Message{{Role: enum.MessageRoleUser, Content: message}}}
	for range 10 {
		a, err := llm.Collect(m.Stream(t.Context(), r))
		require.NoError(t, err)
		if len(a.ToolCalls) == 0 {
			return calls, a.Text
		}
		require.Len(t, a.ToolCalls, 1)
		call := a.ToolCalls[0]
		calls = append(calls, call.Name)
		res := results[call.Name]
		res.Tool = call.Name
		content, err := res.Encode()
		require.NoError(t, err)
		// As after a round trip through the database.
		b, err := json.Marshal(a.ToolCalls)
		require.NoError(t, err)
		var stored []llm.ToolCall
		require.NoError(t, json.Unmarshal(b, &stored))
		r.Messages = append(r.Messages, llm.Message{Role: enum.MessageRoleAssistant, ToolCalls: stored},
			llm.Message{Role: enum.MessageRoleTool, ToolCallID: call.ID, Content: content})
	}
	require.Fail(t, "the conversation does not end")
	return nil, ""
}

var retention = llm.ToolResult{Status: enum.ToolExecutionStatusCompleted, Passages: []llm.Passage{
	{N: 1, Title: "Handbook", Text: "Offices open at nine. The canteen closes at two."},
	{N: 2, Title: "Policy", Page: new(3), Text: "Scope and aims.\n\nThe retention period for\npersonal records is seven years, e.g. for contracts. Backups differ."},
}}

func TestAnswer(t *testing.T) {
	completed := func(result string) llm.ToolResult {
		return llm.ToolResult{Status: enum.ToolExecutionStatusCompleted, Result: json.RawMessage(result)}
	}
	for _, tc := range []struct {
		name, message string
		results       map[string]llm.ToolResult
		calls         []string
		has, lacks    []string
	}{
		{
			name: "SearchQuotesVerbatim", message: "What is the retention period for personal records?",
			results: map[string]llm.ToolResult{"search_documents": retention}, calls: []string{"search_documents"},
			has:   []string{opening, "“The retention period for\npersonal records is seven years, e.g. for contracts.” [2] (Policy, page 3)"},
			lacks: []string{"canteen", "[1]"},
		},
		{
			name: "NothingFound", message: "Who is the king?",
			results: map[string]llm.ToolResult{"search_documents": {Status: enum.ToolExecutionStatusCompleted}}, calls: []string{"search_documents"},
			has: []string{opening, "found no passage"},
		},
		{
			name: "WeakPassages", message: "Who keeps the key of the archive?",
			results: map[string]llm.ToolResult{"search_documents": {Status: enum.ToolExecutionStatusCompleted, Passages: []llm.Passage{
				{N: 1, Title: "Manual", Text: "# Pump\n\nKeep the filter clean."}, {N: 2, Title: "Letters", Text: "Keep letters."}, {N: 3, Title: "Leave", Text: "Keep calm."},
			}}}, calls: []string{"search_documents"},
			has: []string{"may not answer it"}, lacks: []string{"documents you may read say", "[1]"},
		},
		{
			name: "NoHeadings", message: "Where does the lamp hang?",
			results: map[string]llm.ToolResult{"search_documents": {Status: enum.ToolExecutionStatusCompleted, Passages: []llm.Passage{
				{N: 1, Title: "Handbook", Text: "# Staff handbook\n\n15. The office opens at nine."},
			}}}, calls: []string{"search_documents"},
			has: []string{"No passage has the words", "“15. The office opens at nine.” [1]"}, lacks: []string{"# Staff handbook"},
		},
		{
			name: "SearchThenTool", message: `What is the retention period? Then /http_request {"method":"GET","url":"https://example.org/x"}`,
			results: map[string]llm.ToolResult{"search_documents": retention, "http_request": completed(`{"status":200,"body":"all good"}`)},
			calls:   []string{"search_documents", "http_request"},
			has:     []string{"[2]", "GET https://example.org/x answered with status 200:\nall good"},
		},
		{
			name: "Rejected", message: "What is the retention period? Then fetch https://example.org/x",
			results: map[string]llm.ToolResult{"search_documents": retention,
				"http_request": {Status: enum.ToolExecutionStatusRejected, Message: "An approver rejected it: not this host."}},
			calls: []string{"search_documents", "http_request"},
			has:   []string{"[2]", "The call of http_request did not run. An approver rejected it: not this host."},
		},
		{
			name: "Failed", message: "calculate 1/0",
			results: map[string]llm.ToolResult{"calculator": {Status: enum.ToolExecutionStatusFailed, Message: "Division by zero."}},
			calls:   []string{"calculator"}, has: []string{"The call of calculator failed. Division by zero."},
		},
		{
			name: "Calculated", message: "calculate 2*21", results: map[string]llm.ToolResult{"calculator": completed(`{"result":"42","exact":true,"value":42}`)},
			calls: []string{"calculator"}, has: []string{"2*21 = 42"},
		},
		{
			name: "Rounded", message: "calculate sqrt(2)", results: map[string]llm.ToolResult{"calculator": completed(`{"result":"1.414","exact":false,"value":1.414}`)},
			calls: []string{"calculator"}, has: []string{"sqrt(2) ≈ 1.414"},
		},
		{
			name: "Cancelled", message: "/echo x", results: map[string]llm.ToolResult{"echo": {Status: enum.ToolExecutionStatusCancelled}},
			calls: []string{"echo"}, has: []string{"The call of echo was cancelled"},
		},
		{
			name: "SameToolTwice", message: `/echo {"text":"a"} /echo {"text":"a"} /echo {"text":"b"}`,
			results: map[string]llm.ToolResult{"echo": completed(`"hey"`)}, calls: []string{"echo", "echo", "echo"}, has: []string{"echo: hey"},
		},
		{name: "UnknownTool", message: `/nosuch {"a":1}`, has: []string{"I may not use the tool nosuch"}},
		{name: "Greeting", message: "Hello!", has: []string{opening, usage}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls, answer := conversation(t, tc.message, tools(), tc.results)
			require.Equal(t, tc.calls, calls)
			for _, s := range tc.has {
				require.Contains(t, answer, s)
			}
			for _, s := range tc.lacks {
				require.NotContains(t, answer, s)
			}
		})
	}
}

func TestToolsTakenAway(t *testing.T) {
	_, answer := conversation(t, "What is the retention period?", nil, nil)
	require.Contains(t, answer, "I may not use the tool search_documents")
}

func TestQuoterIsNeverTrusted(t *testing.T) {
	for _, q := range []func(string, string) (int, int){
		func(string, string) (int, int) { return -1, 5 },
		func(_, p string) (int, int) { return 0, len(p) + 1 },
		func(string, string) (int, int) { return 7, 7 },
		func(string, string) (int, int) { return 1, 2 }, // inside a character
	} {
		m := New(Config{Quote: q})
		require.Equal(t, "Ärger über Äpfel.", m.pick("Äpfel", "Ärger über Äpfel."))
	}
}

func TestMaxTokens(t *testing.T) {
	a, err := llm.Collect(New(Config{}).Stream(t.Context(), llm.Request{MaxTokens: 3, Messages: []llm.Message{{Role: enum.MessageRoleUser, Content: "hi"}}}))
	require.NoError(t, err)
	require.Equal(t, llm.FinishLength, a.Finish.Reason)
	require.Len(t, strings.Fields(a.Text), 3)
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		chunks := 0
		for _, err := range New(Config{Delay: time.Second}).Stream(context.Background(), llm.Request{MaxTokens: 3}) {
			require.NoError(t, err)
			chunks++
		}
		require.Equal(t, time.Duration(chunks)*time.Second, time.Since(begun))
	})
}
