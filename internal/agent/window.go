package agent

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

// Conversation is what Fit has to fit.
type Conversation struct {
	Strategy enum.ContextStrategy
	Budget   int // tokens for everything here; the answer's share is already off
	System   string
	Tools    []llm.ToolSpec
	History  []Message     // oldest first; ends with the user's message of the present turn
	Current  []llm.Message // the reply so far
}

// Verdict is what became of a message.
type Verdict string

// The values of Verdict.
const (
	Kept       Verdict = "KEPT"
	Summarized Verdict = "SUMMARIZED" // not produced yet
	Pruned     Verdict = "PRUNED"     // its call is still there, its content is not
	Dropped    Verdict = "DROPPED"
)

// Decision says what became of a stored message, and why. Its JSON is an entry of the context window's decisions.
type Decision struct {
	MessageID uuid.UUID `json:"messageId"`
	Verdict   Verdict   `json:"decision"`
	Why       string    `json:"why"`
	Tokens    int       `json:"tokens"` // what it takes in the window now
}

// Fitted is a conversation that fits its budget, or Overflow.
type Fitted struct {
	Messages  []llm.Message
	Decisions []Decision // one for each message of the history, in its order
	Tokens    int        // estimated, of everything that is sent
	Budget    int
	Overflow  bool // what must be kept is alone too much; Messages is nil
}

// messageOverhead is what a message costs besides its text, in tokens: role and separators.
const messageOverhead = 4

// Fit keeps the instructions, SYSTEM and pinned messages, the present turn, and as many of the newest earlier turns as
// fit. A reply and the results of its calls stay together; turns are dropped whole, oldest first, but for their
// pinned messages. PRUNE_TOOL_OUTPUT and HYBRID first clear results of earlier turns, oldest first; SUMMARIZE, and the
// summaries of HYBRID, are not there yet: they slide, and the decisions say so. When the present turn alone is too
// much, its own older results are cleared. Pure.
func Fit(c Conversation) Fitted {
	f := fitting{Conversation: c, items: items(c.History)}
	f.last = -1
	if n := len(f.items); n > 0 {
		f.last = f.items[n-1].turn
	}
	f.current = append([]llm.Message(nil), c.Current...)
	f.fixed = EstimateTokens(c.System) + messageOverhead + toolTokens(c.Tools)

	if c.Strategy == enum.ContextStrategyPruneToolOutput || c.Strategy == enum.ContextStrategyHybrid {
		f.prune(func(it item) bool { return it.turn < f.last && !it.pinned })
	}
	f.slide()
	if f.total() > c.Budget {
		f.pruneCurrent()
	}
	return f.result()
}

type fitting struct {
	Conversation
	items   []item
	dropped map[int]string // item index: why
	current []llm.Message
	last    int // number of the present turn
	fixed   int // tokens of instructions and tools
}

func tokens(ms []llm.Message) int {
	n := 0
	for _, m := range ms {
		n += messageOverhead + EstimateTokens(m.Content)
		for _, c := range m.ToolCalls {
			n += messageOverhead + EstimateTokens(c.Name) + jsonTokens(c.Arguments)
		}
	}
	return n
}

func toolTokens(tools []llm.ToolSpec) int {
	n := 0
	for _, t := range tools {
		n += messageOverhead + EstimateTokens(t.Name) + EstimateTokens(t.Description) + jsonTokens(t.Schema)
	}
	return n
}

func jsonTokens(v map[string]any) int {
	b, err := json.Marshal(v)
	if err != nil { // not JSON: it will not be sent either
		return 0
	}
	return EstimateTokens(string(b))
}

func (f *fitting) total() int {
	n := f.fixed + tokens(f.current)
	for i, it := range f.items {
		if _, gone := f.dropped[i]; !gone {
			n += tokens(it.messages())
		}
	}
	return n
}

// prune clears tool results, oldest first, until everything fits.
func (f *fitting) prune(may func(item) bool) {
	over := f.total() - f.Budget
	for i := range f.items {
		if !may(f.items[i]) {
			continue
		}
		it := &f.items[i]
		for k := range it.answers {
			if over <= 0 {
				return
			}
			a := &it.answers[k]
			short := cleared(it.head.Calls[k].Name)
			if saved := EstimateTokens(a.content) - EstimateTokens(short); saved > 0 {
				a.content, a.pruned = short, true
				over -= saved
			}
		}
	}
}

// pruneCurrent clears results of the present reply, oldest first, sparing those of its last step.
func (f *fitting) pruneCurrent() {
	over := f.total() - f.Budget
	lastStep := len(f.current)
	for lastStep > 0 && f.current[lastStep-1].Role == enum.MessageRoleTool {
		lastStep--
	}
	for i := range f.current[:lastStep] {
		if over <= 0 {
			return
		}
		m := &f.current[i]
		if m.Role != enum.MessageRoleTool {
			continue
		}
		r, _ := llm.DecodeToolResult(m.Content) // of no form: an unnamed tool
		short := cleared(r.Tool)
		if saved := EstimateTokens(m.Content) - EstimateTokens(short); saved > 0 {
			m.Content = short
			over -= saved
		}
	}
}

func cleared(tool string) string {
	return encode(llm.ToolResult{Tool: tool, Status: enum.ToolExecutionStatusCompleted,
		Message: "The result was removed to save space. Call the tool again if you need it."})
}

// slide drops the oldest turns until the rest fits, and what no model can be sent.
func (f *fitting) slide() {
	f.dropped = map[int]string{}
	for i, it := range f.items {
		if len(it.messages()) > 0 {
			continue
		}
		f.dropped[i] = "empty"
		if it.head.Role == enum.MessageRoleTool {
			f.dropped[i] = "its call is not in this conversation"
		}
	}
	over := f.total() - f.Budget
	for turn := -1; turn < f.last && over > 0; turn++ {
		for i, it := range f.items {
			if it.turn != turn || it.pinned {
				continue
			}
			if _, gone := f.dropped[i]; !gone {
				f.dropped[i] = "older than what fits" + f.substitute()
				over -= tokens(it.messages())
			}
		}
	}
}

func (f *fitting) substitute() string {
	switch f.Strategy {
	case enum.ContextStrategySummarize, enum.ContextStrategyHybrid:
		return fmt.Sprintf("; %s cannot summarise yet", f.Strategy)
	case enum.ContextStrategySlidingWindow, enum.ContextStrategyPruneToolOutput:
	}
	return ""
}

func (f *fitting) result() Fitted {
	out := Fitted{Budget: f.Budget, Tokens: f.total()}
	for i, it := range f.items {
		why, gone := f.dropped[i]
		ms := it.messages()
		if !gone {
			out.Messages = append(out.Messages, ms...)
		}
		out.Decisions = append(out.Decisions, f.decide(it, gone, why, tokens(ms))...)
	}
	out.Messages = append(out.Messages, f.current...)
	if out.Tokens > f.Budget {
		out.Overflow, out.Messages = true, nil
	}
	return out
}

func (f *fitting) decide(it item, gone bool, why string, total int) []Decision {
	if gone {
		ds := []Decision{{MessageID: it.head.ID, Verdict: Dropped, Why: why}}
		for _, m := range it.tools {
			ds = append(ds, Decision{MessageID: m.ID, Verdict: Dropped, Why: why})
		}
		return ds
	}
	switch {
	case it.head.Role == enum.MessageRoleSystem:
		why = "system"
	case it.pinned:
		why = "pinned"
	case it.turn == f.last:
		why = "the present turn"
	default:
		why = "fits"
	}
	ds := []Decision{{MessageID: it.head.ID, Verdict: Kept, Why: why, Tokens: total}}
	for _, m := range it.tools {
		d := Decision{MessageID: m.ID, Verdict: Kept, Why: why}
		for _, a := range it.answers {
			if a.message != m.ID {
				continue
			}
			d.Tokens = EstimateTokens(a.content)
			if a.pruned {
				d.Verdict, d.Why = Pruned, "tool output cleared to make room"
			}
		}
		ds[0].Tokens -= d.Tokens
		ds = append(ds, d)
	}
	return ds
}
