package agent

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/offline"
)

// A document with characters of one to four bytes, and joined ones.
const documentText = "Vorspann 😀 – 数据. Größen-Daten werden\n  90 Tage aufbewahrt, siehe [1]. He said \"stop\" now. " +
	"Backups 👩‍👩‍👧 liegen 7 Jahre. Nothing else matters here."

var documentID = uuid.MustParse("0198f7a0-0000-7000-8000-000000000011")

// passage cuts the document by code points.
func passage(n, start, end int) Passage {
	r := []rune(documentText)
	if end < 0 {
		end = len(r)
	}
	return Passage{N: n, DocumentID: documentID, Start: start, End: end, Text: string(r[start:end])}
}

func TestCitations(t *testing.T) {
	whole := []Passage{passage(1, 0, -1), passage(2, 11, -1)}
	for _, tc := range []struct {
		name, answer string
		want         []string // n: quote
	}{
		{"QuoteBefore", `Es heißt „Backups 👩‍👩‍👧 liegen 7 Jahre.“ [1]`, []string{"Backups 👩‍👩‍👧 liegen 7 Jahre."}},
		{"QuoteAfter", `See [1]: "Nothing else matters here."`, []string{"Nothing else matters here."}},
		{"OtherWhiteSpace", `"Größen-Daten werden 90 Tage aufbewahrt" [2]`, []string{"Größen-Daten werden\n  90 Tage aufbewahrt"}},
		{"AddedFullStop", `“90 Tage aufbewahrt.” [1]`, []string{"90 Tage aufbewahrt"}},
		{"QuotesInside", `"He said "stop" now." [1]`, []string{`He said "stop" now.`}},
		{"TwoQuotes", `"90 Tage" [1] und "7 Jahre" [1]`, []string{"90 Tage", "7 Jahre"}},
		{"SecondMarker", `"7 Jahre", [1][2]`, []string{"7 Jahre"}}, // the same place of the document once
		{"List", `"7 Jahre" [1, 2]`, []string{"7 Jahre"}},
		{"NotVerbatim", `"Backups are kept for seven years" [1]. `, []string{"Backups 👩‍👩‍👧 liegen 7 Jahre."}},
		{"NoQuote", `Größen-Daten: 90 Tage [1].`, []string{"Größen-Daten werden\n  90 Tage aufbewahrt, siehe [1]."}},
		{"Unknown", `x [3] [0] [99999] [a]`, nil},
		{"InCode", "`a[1]` and\n```\nb[1]\n```", nil},
		{"CopiedReference", `„90 Tage aufbewahrt, siehe [1].“ [2]`, []string{"90 Tage aufbewahrt, siehe [1]."}},
		{"FullWidth", `"7 Jahre"【1†source】`, []string{"7 Jahre"}},
		{"None", "no citation", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, c := range Citations(tc.answer, whole, nil) {
				holds(t, c.Start, c.End, c.Quote)
				require.Equal(t, documentID, c.DocumentID)
				got = append(got, c.Quote)
			}
			require.Equal(t, tc.want, got)
		})
	}
}

// holds: the offsets point at the quote in the document, in code points.
func holds(t *testing.T, start, end int, quote string) {
	t.Helper()
	r := []rune(documentText)
	require.True(t, 0 <= start && start < end && end <= len(r))
	require.Equal(t, string(r[start:end]), quote)
}

func TestCitationsAreBounded(t *testing.T) {
	begun := time.Now()
	answer := strings.Repeat("[1]", 100_000) + strings.Repeat(`"`, 100_000) + strings.Repeat(`"a" [1] `, 20_000)
	require.NotEmpty(t, Citations(answer, []Passage{passage(1, 0, -1)}, nil))
	require.Less(t, time.Since(begun), 5*time.Second)
}

func FuzzCitations(f *testing.F) {
	f.Add(`"7 Jahre" [1]`, 3)
	f.Add("\xff“\xfe” [1][2], 【1】", 12)
	f.Fuzz(func(t *testing.T, answer string, cut int) {
		n := utf8.RuneCountInString(documentText)
		cut = min(max(cut, 1), n-1)
		for _, c := range Citations(answer, []Passage{passage(1, 0, cut), passage(2, cut, n)}, nil) {
			holds(t, c.Start, c.End, c.Quote)
		}
	})
}

func search(t *testing.T, id string, passages ...Passage) Call {
	t.Helper()
	b, err := json.Marshal(map[string]any{"passages": passages})
	require.NoError(t, err)
	return Call{ToolCall: llm.ToolCall{ID: id, Name: SearchTool}, Step: 1, Execution: &Execution{Status: enum.ToolExecutionStatusCompleted, Result: b}}
}

func TestPassagesAreNumberedOverTheTurn(t *testing.T) {
	a, b, c := passage(0, 0, 10), passage(0, 10, 20), passage(0, 20, 30)
	broken := passage(0, 0, 10)
	broken.End = 11
	failed := search(t, "x", c)
	failed.Execution.Status = enum.ToolExecutionStatusFailed
	unreadable := search(t, "y")
	unreadable.Execution.Result = json.RawMessage(`{"hits":[]}`)
	calls := []Call{search(t, "1", a, b, broken), failed, unreadable, search(t, "2", b, c), {ToolCall: llm.ToolCall{ID: "z", Name: "echo"}, Refused: "No."}, search(t, "3")}
	got := Passages(calls)
	require.Len(t, got, 3)
	for i, p := range got {
		require.Equal(t, i+1, p.N)
	}
	var seen []string
	for _, s := range Results(calls, 4000) {
		r, ok := llm.DecodeToolResult(s)
		require.True(t, ok)
		line := string(r.Status) + " " + r.Message
		for _, p := range r.Passages {
			line += fmt.Sprint(p.N)
		}
		seen = append(seen, line)
	}
	require.Equal(t, []string{"COMPLETED 12", "FAILED The tool failed.", "FAILED The result of the search could not be read.", "COMPLETED 23",
		"REJECTED No.", "COMPLETED No passage was found."}, seen)
}

func TestResultsAreBounded(t *testing.T) {
	long := passage(0, 0, 10)
	long.Text = strings.Repeat("ü", 3000)
	long.End = 3000
	next := long
	next.Start, next.End = 3000, 6000
	raw := Call{ToolCall: llm.ToolCall{Name: "http_request"}, Execution: &Execution{Status: enum.ToolExecutionStatusCompleted,
		Result: json.RawMessage(`{"body":"` + strings.Repeat("ü", 50_000) + `"}`)}}
	got := Results([]Call{search(t, "1", long, next), raw}, 8000)
	r, ok := llm.DecodeToolResult(got[0])
	require.True(t, ok)
	require.Len(t, r.Passages, 1)
	require.True(t, r.Truncated)
	r, ok = llm.DecodeToolResult(got[1])
	require.True(t, ok)
	require.True(t, r.Truncated)
	require.Less(t, len(got[1]), 9000)
	require.True(t, utf8.ValidString(got[1]))
}

// The offline assistant's answers, from the model's mouth to the citation's offsets.
func TestOfflineAnswerIsCited(t *testing.T) {
	calls := []Call{search(t, "s1", passage(0, 0, 60), passage(0, 60, -1))}
	calls[0].Arguments = map[string]any{"query": "Wie lange werden Größen-Daten aufbewahrt?", "limit": 6.0}
	s := State{Model: llm.Info{ContextWindow: 8000, SensitivityCeiling: enum.SensitivityRestricted}, Sensitivity: enum.SensitivityInternal,
		Tools: []llm.ToolSpec{{Name: SearchTool}}, Calls: calls, Steps: 1,
		History: []Message{{Role: enum.MessageRoleUser, Content: "Wie lange werden Größen-Daten aufbewahrt?"}}}
	call, ok := Decide(s).(CallModel)
	require.True(t, ok)
	a, err := llm.Collect(offline.New(offline.Config{}).Stream(t.Context(), call.Request))
	require.NoError(t, err)
	require.Empty(t, a.ToolCalls)
	cs := Citations(a.Text, Passages(calls), nil)
	require.Len(t, cs, 1, a.Text)
	holds(t, cs[0].Start, cs[0].End, cs[0].Quote)
	require.Contains(t, a.Text, cs[0].Quote)
	require.Contains(t, cs[0].Quote, "Größen-Daten werden")
}
