package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

func id(n int) uuid.UUID { return uuid.UUID{15: byte(n)} }

// talk is a conversation of turns of about 25 tokens: user, reply with a call, its result of size words.
func talk(turns, size int) []Message {
	var out []Message
	for i := range turns {
		call := fmt.Sprintf("c%d", i)
		r := llm.ToolResult{Tool: "echo", Status: enum.ToolExecutionStatusCompleted, Message: strings.Repeat("word ", size),
			Passages: []llm.Passage{{N: 7, Text: "old"}}}
		out = append(out,
			Message{ID: id(10*i + 1), Role: enum.MessageRoleUser, Content: fmt.Sprintf("question %d", i)},
			Message{ID: id(10*i + 2), Role: enum.MessageRoleAssistant, Content: fmt.Sprintf("asking answer %d", i),
				Calls: []Call{{ToolCall: llm.ToolCall{ID: call, Name: "echo"}, Step: 1, Offset: 6}}},
			Message{ID: id(10*i + 3), Role: enum.MessageRoleTool, CallID: call, Content: llm.Unwrap(encode(r))})
	}
	return append(out, Message{ID: id(10*turns + 1), Role: enum.MessageRoleUser, Content: "present question"})
}

func verdicts(f Fitted) string {
	var out []string
	for _, d := range f.Decisions {
		out = append(out, fmt.Sprintf("%d:%s", d.MessageID[15], d.Verdict[:2]))
	}
	return strings.Join(out, " ")
}

func TestFit(t *testing.T) {
	full := Fit(Conversation{Budget: 1 << 20, History: talk(3, 100)})
	require.Equal(t, "1:KE 2:KE 3:KE 11:KE 12:KE 13:KE 21:KE 22:KE 23:KE 31:KE", verdicts(full))
	require.Len(t, full.Messages, 3*4+1)
	require.Equal(t, "asking", full.Messages[1].Content)
	require.Equal(t, " answer 0", full.Messages[3].Content)
	require.True(t, strings.HasPrefix(full.Messages[2].Content, "<untrusted_data>\n"), "a stored result reaches the model as data")
	require.NotContains(t, full.Messages[2].Content, `"n":7`, "passages of earlier turns cannot be cited")

	for _, tc := range []struct {
		name     string
		strategy enum.ContextStrategy
		pinned   int // index
		share    float64
		want     string
	}{
		{"Slides", enum.ContextStrategySlidingWindow, -1, 0.8, "1:DR 2:DR 3:DR 11:KE 12:KE 13:KE 21:KE 22:KE 23:KE 31:KE"},
		{"SlidesFar", enum.ContextStrategySlidingWindow, -1, 0.1, "1:DR 2:DR 3:DR 11:DR 12:DR 13:DR 21:DR 22:DR 23:DR 31:KE"},
		{"KeepsPinned", enum.ContextStrategySlidingWindow, 0, 0.8, "1:KE 2:DR 3:DR 11:KE 12:KE 13:KE 21:KE 22:KE 23:KE 31:KE"},
		{"KeepsThePairOfAPinnedResult", enum.ContextStrategySlidingWindow, 2, 0.8, "1:DR 2:KE 3:KE 11:DR 12:DR 13:DR 21:KE 22:KE 23:KE 31:KE"},
		{"Prunes", enum.ContextStrategyPruneToolOutput, -1, 0.9, "1:KE 2:KE 3:PR 11:KE 12:KE 13:KE 21:KE 22:KE 23:KE 31:KE"},
		{"PrunesAndSlides", enum.ContextStrategyPruneToolOutput, -1, 0.38, "1:DR 2:DR 3:DR 11:KE 12:KE 13:PR 21:KE 22:KE 23:PR 31:KE"},
		{"HybridPrunesAndSlides", enum.ContextStrategyHybrid, -1, 0.38, "1:DR 2:DR 3:DR 11:KE 12:KE 13:PR 21:KE 22:KE 23:PR 31:KE"},
		{"SummarizeSlides", enum.ContextStrategySummarize, -1, 0.8, "1:DR 2:DR 3:DR 11:KE 12:KE 13:KE 21:KE 22:KE 23:KE 31:KE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			history := talk(3, 100)
			if tc.pinned >= 0 {
				history[tc.pinned].Pinned = true
			}
			f := Fit(Conversation{Strategy: tc.strategy, Budget: int(tc.share * float64(full.Tokens)), History: history})
			require.Equal(t, tc.want, verdicts(f))
			require.False(t, f.Overflow)
			require.LessOrEqual(t, f.Tokens, f.Budget)
			for _, d := range f.Decisions {
				if d.Verdict == Dropped && (tc.strategy == enum.ContextStrategySummarize || tc.strategy == enum.ContextStrategyHybrid) {
					require.Contains(t, d.Why, "cannot summarise yet")
				}
			}
		})
	}
}

func TestFitPresentTurn(t *testing.T) {
	big := encode(llm.ToolResult{Tool: "echo", Message: strings.Repeat("word ", 300)})
	current := []llm.Message{
		{Role: enum.MessageRoleAssistant, ToolCalls: []llm.ToolCall{{ID: "a", Name: "echo"}}}, {Role: enum.MessageRoleTool, ToolCallID: "a", Content: big},
		{Role: enum.MessageRoleAssistant, ToolCalls: []llm.ToolCall{{ID: "b", Name: "echo"}}}, {Role: enum.MessageRoleTool, ToolCallID: "b", Content: big},
	}
	f := Fit(Conversation{Budget: 500, History: talk(1, 10), Current: current})
	require.False(t, f.Overflow)
	require.Len(t, f.Messages, 5)
	require.Contains(t, f.Messages[2].Content, "removed to save space")
	require.Equal(t, big, f.Messages[4].Content)
	require.Equal(t, big, current[1].Content, "the caller's messages were changed")

	f = Fit(Conversation{Budget: 100, History: talk(1, 10), Current: current})
	require.True(t, f.Overflow)
	require.Nil(t, f.Messages)
}

func TestFitOddHistories(t *testing.T) {
	f := Fit(Conversation{Budget: 1000, History: []Message{
		{ID: id(1), Role: enum.MessageRoleSystem, Content: "note"},
		{ID: id(2), Role: enum.MessageRoleTool, CallID: "nobody", Content: "x"},
		{ID: id(3), Role: enum.MessageRoleUser, Content: "q"},
		{ID: id(4), Role: enum.MessageRoleAssistant, Calls: []Call{{ToolCall: llm.ToolCall{ID: "late", Name: "echo"}, Step: 1}, {ToolCall: llm.ToolCall{ID: "lost", Name: "echo"}, Step: 1}}},
		{ID: id(5), Role: enum.MessageRoleUser, Content: "meanwhile"},
		{ID: id(6), Role: enum.MessageRoleTool, CallID: "late", Content: "plain text"},
		{ID: id(7), Role: enum.MessageRoleAssistant},
	}})
	require.Equal(t, "1:KE 2:DR 3:KE 4:KE 6:KE 5:KE 7:DR", verdicts(f))
	require.Len(t, f.Messages, 6)
	require.Contains(t, f.Messages[3].Content, "plain text")
	require.Equal(t, noResult, f.Messages[4].Content)
}

// Whatever the conversation: it fits or says that it does not, pairs stay whole, every message has its decision, and
// what must stay stays.
func TestFitProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := talk(rapid.IntRange(0, 6).Draw(t, "turns"), rapid.IntRange(0, 60).Draw(t, "size"))
		for i := range history {
			history[i].Pinned = rapid.IntRange(0, 9).Draw(t, "pin") == 0
		}
		f := Fit(Conversation{
			Strategy: enum.ContextStrategy(rapid.SampledFrom(enum.ContextStrategyHybrid.Values()).Draw(t, "strategy")),
			Budget:   rapid.IntRange(0, 1200).Draw(t, "budget"), History: history, System: "Be brief.",
		})
		if len(f.Decisions) != len(history) {
			t.Fatal("decisions and messages do not match")
		}
		if f.Overflow {
			return
		}
		if f.Tokens > f.Budget {
			t.Fatal("does not fit")
		}
		if last := f.Messages[len(f.Messages)-1]; last.Content != "present question" {
			t.Fatal("the user's message is gone")
		}
		open := map[string]bool{}
		for _, m := range f.Messages {
			for _, c := range m.ToolCalls {
				open[c.ID] = true
			}
			if m.Role == enum.MessageRoleTool {
				if !open[m.ToolCallID] {
					t.Fatal("a result without its call")
				}
				delete(open, m.ToolCallID)
			}
		}
		if len(open) > 0 {
			t.Fatal("a call without its result")
		}
		for i, d := range f.Decisions {
			if history[i].Pinned && d.Verdict == Dropped {
				t.Fatal("a pinned message was dropped")
			}
		}
	})
}
