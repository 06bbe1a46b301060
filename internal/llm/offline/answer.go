package offline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/quote"
)

const (
	opening = "This is the offline assistant: no language model is configured, so I can only quote what I find and run tools."
	usage   = "Ask me about your documents, or name a tool: \"calculate 2*21\", \"what time is it in Europe/Berlin\", " +
		"\"fetch https://example.com\", or a slash, its name and its arguments: /calculator {\"expression\": \"2*21\"}."

	maxQuotes     = 4
	enough        = 0.6  // of a question's words, for a passage to be offered as an answer
	maxShownBytes = 1500 // of a tool's output in the answer; the whole is with the tool call
)

// answer writes what came out of the turn.
func (m *Model) answer(t turn) string {
	parts := []string{opening}
	for _, r := range t.results {
		if r.Tool == toolSearch && r.Status == enum.ToolExecutionStatusCompleted {
			parts = append(parts, m.passages(t.text, r))
		} else {
			parts = append(parts, outcome(r))
		}
	}
	parts = append(parts, t.notes...)
	if len(parts) == 1 {
		parts = append(parts, usage)
	}
	return strings.Join(parts, "\n\n")
}

// hit is a passage with its best sentence.
type hit struct {
	llm.Passage
	quote string
	score float64
}

func (m *Model) passages(text string, r result) string {
	query, _ := r.call.Arguments["query"].(string)
	if query == "" {
		query = text
	}
	var hits []hit
	words := quote.Words(query)
	covered := 0.0
	for _, p := range r.Passages {
		if q := m.pick(query, p.Text); q != "" {
			hits = append(hits, hit{p, q, quote.Score(words, q)})
			covered = max(covered, share(words, p.Text))
		}
	}
	if len(hits) == 0 {
		return "I searched the documents you may read and found no passage about this."
	}
	sort.SliceStable(hits, func(i, j int) bool { return hits[i].score > hits[j].score })
	lead := "The documents you may read say:"
	switch {
	case hits[0].score == 0:
		lead = "No passage has the words of your question; the nearest I found:"
		hits = hits[:min(2, len(hits))]
	case covered < enough:
		lead = "No passage has most words of your question, so this may not answer it; the nearest I found:"
		hits = hits[:min(2, len(hits))]
	default:
		hits = slices.DeleteFunc(hits, func(h hit) bool { return h.score < hits[0].score*0.4 })
	}
	var b strings.Builder
	b.WriteString(lead)
	seen := map[string]bool{}
	for _, h := range hits {
		if seen[h.quote] || len(seen) == maxQuotes { // neighbouring chunks overlap
			continue
		}
		seen[h.quote] = true
		fmt.Fprintf(&b, "\n- “%s” [%d]%s", h.quote, h.N, source(h.Passage))
	}
	return b.String()
}

// share is how much of the question's words a passage has, by weight.
func share(words map[string]float64, passage string) float64 {
	have := quote.Words(passage)
	found, all := 0.0, 0.0
	for w, weight := range words {
		all += weight
		if _, ok := have[w]; ok {
			found += weight
		}
	}
	return found / max(all, 1)
}

// pick gives the sentence to quote, never anything that is not in the passage.
func (m *Model) pick(query, passage string) string {
	start, end := m.quote(query, passage)
	if start < 0 || end > len(passage) || start >= end || !utf8.ValidString(passage[start:end]) {
		start, end = quote.Lexical(query, passage)
	}
	return strings.TrimSpace(passage[start:end])
}

func source(p llm.Passage) string {
	switch {
	case p.Title == "":
		return ""
	case p.Page == nil:
		return " (" + p.Title + ")"
	}
	return fmt.Sprintf(" (%s, page %d)", p.Title, *p.Page)
}

// outcome states what became of a tool call.
func outcome(r result) string {
	name := r.Tool
	if name == "" {
		name = "unknown tool"
	}
	why := ""
	if r.Message != "" {
		why = " " + r.Message
	}
	switch r.Status {
	case enum.ToolExecutionStatusCompleted:
		return stated(name, r) + why
	case enum.ToolExecutionStatusRejected:
		return fmt.Sprintf("The call of %s did not run.%s", name, why)
	case enum.ToolExecutionStatusCancelled:
		return fmt.Sprintf("The call of %s was cancelled, so there is no result.%s", name, why)
	case enum.ToolExecutionStatusFailed:
		return fmt.Sprintf("The call of %s failed.%s", name, why)
	case enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning:
	}
	return fmt.Sprintf("The call of %s has no result yet.%s", name, why)
}

func stated(name string, r result) string {
	if len(r.Result) == 0 {
		return name + ":"
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(r.Result))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return name + ":\n" + short(string(r.Result))
	}
	m, _ := v.(map[string]any)
	switch name {
	case toolCalculator:
		if s := first(m, "result", "value"); s != "" {
			sign := "="
			if m["exact"] == false {
				sign = "≈"
			}
			return fmt.Sprintf("%v %s %s", r.call.Arguments["expression"], sign, s)
		}
	case toolTime:
		if s := first(m, "time", "iso", "local", "now", "rfc3339"); s != "" {
			return fmt.Sprintf("The time in %v is %s.", r.call.Arguments["timezone"], s)
		}
	case toolHTTP:
		if s := first(m, "status"); s != "" && m["encoding"] == "base64" {
			return fmt.Sprintf("%v %v answered with status %s and %s bytes that are no text.", r.call.Arguments["method"], r.call.Arguments["url"], s, first(m, "bytes"))
		} else if s != "" {
			return fmt.Sprintf("%v %v answered with status %s:\n%s", r.call.Arguments["method"], r.call.Arguments["url"], s, short(first(m, "body")))
		}
	}
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%s: %s", name, short(s))
	}
	return fmt.Sprintf("%s: %s", name, short(string(r.Result)))
}

func first(m map[string]any, keys ...string) string {
	for _, k := range keys {
		switch v := m[k].(type) {
		case string:
			return v
		case json.Number:
			return v.String()
		}
	}
	return ""
}

func short(s string) string {
	if len(s) <= maxShownBytes {
		return s
	}
	e := maxShownBytes
	for e > 0 && !utf8.RuneStart(s[e]) {
		e--
	}
	return s[:e] + " … (shortened; the whole result is with the tool call)"
}
