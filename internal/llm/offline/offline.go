// Package offline is the assistant without a language model, the default where none is configured. It says so in its
// answers. It reads a few plain requests, searches the documents for everything else, and answers with the passages
// it found, quoted to the letter and cited, or with a tool's result.
//
// It refuses to make anything up: every sentence of an answer is a fixed phrase, a quotation or a tool's output.
// It is deterministic, keeps nothing between calls and is safe for concurrent use.
package offline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/llm/quote"
)

// Provider is the name of this adapter.
const Provider = "offline"

// Config of a Model. The zero value works.
type Config struct {
	Name  string        // empty: "offline"
	Delay time.Duration // before each chunk, so that demonstrations and tests see an answer grow; 0: none
	Quote quote.Func    // picks the sentence to quote; nil: quote.Lexical
}

// Model answers without a language model.
type Model struct {
	name  string
	delay time.Duration
	quote quote.Func
}

// New makes a Model.
func New(c Config) *Model {
	m := &Model{name: c.Name, delay: c.Delay, quote: c.Quote}
	if m.name == "" {
		m.name = Provider
	}
	if m.quote == nil {
		m.quote = quote.Lexical
	}
	return m
}

// Name is the configured name.
func (m *Model) Name() string { return m.name }

// Provider is "offline".
func (m *Model) Provider() string { return Provider }

// Stream answers the last user message of r, or asks for the next tool it needs to; see llm.Model. Tokens are words.
func (m *Model) Stream(ctx context.Context, r llm.Request) iter.Seq2[llm.Chunk, error] {
	return func(yield func(llm.Chunk, error) bool) {
		t := readTurn(r)
		f := llm.Finish{Reason: llm.FinishStop, InputTokens: inputWords(r)}
		var chunks []llm.Chunk
		if len(t.steps) > 0 {
			s := t.steps[0]
			c := llm.ToolCall{ID: callID(r, s), Name: s.tool, Arguments: s.args}
			chunks = append(chunks, llm.Chunk{ToolCall: &c})
			f.Reason, f.OutputTokens = llm.FinishToolCalls, 1
		} else {
			for w := range words(m.answer(t)) {
				if r.MaxTokens > 0 && f.OutputTokens == r.MaxTokens {
					f.Reason = llm.FinishLength
					break
				}
				chunks = append(chunks, llm.Chunk{Text: w})
				f.OutputTokens++
			}
		}
		chunks = append(chunks, llm.Chunk{Finish: &f})
		for _, c := range chunks {
			if !m.wait(ctx) {
				yield(llm.Chunk{}, llm.Cancelled(ctx, Provider))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (m *Model) wait(ctx context.Context) bool {
	if m.delay <= 0 || ctx.Err() != nil {
		return ctx.Err() == nil
	}
	t := time.NewTimer(m.delay)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// turn is what has happened since the user's last message.
type turn struct {
	text    string // of that message
	steps   []step // what it still asks for, in order
	notes   []string
	results []result
}

// result is a tool's answer within the turn.
type result struct {
	call llm.ToolCall
	llm.ToolResult
}

func readTurn(r llm.Request) turn {
	var t turn
	var done []llm.ToolCall
	at := -1
	for i, m := range r.Messages {
		if m.Role == enum.MessageRoleUser {
			at, t.text = i, m.Content
		}
	}
	for _, m := range r.Messages[at+1:] {
		done = append(done, m.ToolCalls...)
		if m.Role != enum.MessageRoleTool {
			continue
		}
		res := result{}
		if i := slices.IndexFunc(done, func(c llm.ToolCall) bool { return c.ID == m.ToolCallID }); i >= 0 {
			res.call = done[i]
		}
		var ok bool
		if res.ToolResult, ok = llm.DecodeToolResult(m.Content); !ok {
			res.ToolResult = llm.ToolResult{Tool: res.call.Name, Status: enum.ToolExecutionStatusCompleted, Message: m.Content}
		}
		t.results = append(t.results, res)
	}
	t.rest(r.Tools, done)
	return t
}

// rest plans the message and takes off the steps that were taken and those whose tool is not offered.
func (t *turn) rest(tools []llm.ToolSpec, done []llm.ToolCall) {
	steps, notes := plan(t.text, tools)
	t.notes = notes
	left := slices.Clone(done)
	for _, s := range steps {
		if i := slices.IndexFunc(left, s.same); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		if slices.ContainsFunc(tools, func(o llm.ToolSpec) bool { return o.Name == s.tool }) {
			t.steps = append(t.steps, s)
			continue
		}
		if n := fmt.Sprintf("I may not use the tool %s in this conversation, so I left it out.", s.tool); !slices.Contains(t.notes, n) {
			t.notes = append(t.notes, n)
		}
	}
}

// callID is the same for the same conversation, and differs wherever anything in it differs.
func callID(r llm.Request, s step) string {
	h := sha256.New()
	for _, m := range r.Messages {
		_, _ = fmt.Fprintf(h, "%s %d %s %s %d\n", m.Role, len(m.Content), m.Content, m.ToolCallID, len(m.ToolCalls)) // a hash takes every write
	}
	_, _ = fmt.Fprintf(h, "%s %v", s.tool, s.args)
	return "call_" + hex.EncodeToString(h.Sum(nil)[:12])
}

func inputWords(r llm.Request) int {
	n := len(strings.Fields(r.System))
	for _, m := range r.Messages {
		n += len(strings.Fields(m.Content))
	}
	return n
}

// words cuts a text into words, each with the white space after it.
func words(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for s != "" {
			end := strings.IndexFunc(s, unicode.IsSpace)
			if end < 0 {
				end = len(s)
			}
			for end < len(s) {
				r, n := utf8.DecodeRuneInString(s[end:])
				if !unicode.IsSpace(r) {
					break
				}
				end += n
			}
			if !yield(s[:end]) {
				return
			}
			s = s[end:]
		}
	}
}
