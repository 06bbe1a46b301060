package agent

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/llm"
)

// maxShrinks is how often a step that was too long for the model is tried again with half of the window.
const maxShrinks = 2

// Decide says what comes next. Pure.
func Decide(s State) Action {
	s.Limits = s.Limits.orDefault()
	if s.Cancelled {
		return Finish{FinishCancelled}
	}
	if f := s.Failure; f != nil && (f.Kind != llm.KindContextLength || s.Shrunk > maxShrinks) {
		return Fail{f.Public()}
	}
	if start, refuse := s.undecided(); len(start)+len(refuse) > 0 {
		return StartTools{start, refuse}
	}
	if w := s.open(); len(w.Executions) > 0 {
		return w
	}
	if s.Steps > 0 && !slices.ContainsFunc(s.Calls, func(c Call) bool { return c.Step == s.Steps }) {
		return s.finish()
	}
	if s.Steps >= s.Limits.MaxSteps {
		if s.Content == "" {
			return Fail{errs.New(errs.ResourceExhausted, "The assistant used all %d steps of this turn without an answer. Ask for less at a time.", s.Limits.MaxSteps)}
		}
		return Finish{FinishStepLimit}
	}
	return s.callModel()
}

// undecided sorts the calls that are neither started nor refused, or were lost and are to be started again.
func (s State) undecided() (start, refuse []Call) {
	for i, c := range s.Calls {
		if c.Execution != nil && !c.Execution.Again || c.Refused != "" {
			continue
		}
		if c.Refused = s.refusal(i); c.Refused != "" {
			refuse = append(refuse, c)
		} else {
			start = append(start, c)
		}
	}
	return start, refuse
}

// refusal is the sentence that tells the model why the i-th call does not run; empty if it may.
func (s State) refusal(i int) string {
	c := s.Calls[i]
	switch {
	case c.Invalid != "":
		return c.Invalid
	case !slices.ContainsFunc(s.Tools, func(t llm.ToolSpec) bool { return t.Name == c.Name }):
		return "There is no such tool, or this user may not call it. Use another tool, or answer without one."
	case c.Step >= s.Limits.MaxSteps:
		return "No tool can be called in the last step of a turn."
	case i >= s.Limits.MaxCalls:
		return fmt.Sprintf("This turn has used its %d tool calls. Answer from what you have.", s.Limits.MaxCalls)
	case s.repeats(i) >= s.Limits.MaxRepeats:
		return "You have called this tool with these arguments before in this turn; the result would be the same. Use what you have, or answer."
	}
	return ""
}

// repeats counts the earlier calls of the same tool with the same arguments.
func (s State) repeats(i int) int {
	n := 0
	for _, o := range s.Calls[:i] {
		if o.Invalid == "" && o.Name == s.Calls[i].Name && sameArguments(o.Arguments, s.Calls[i].Arguments) {
			n++
		}
	}
	return n
}

func sameArguments(a, b map[string]any) bool {
	x, errA := json.Marshal(a) // with sorted keys
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

func (s State) open() Wait {
	var w Wait
	for _, c := range s.Calls {
		if c.Execution == nil || c.Execution.done() {
			continue
		}
		w.Executions = append(w.Executions, c.Execution.ID)
		w.Approval = w.Approval || c.Execution.Status == enum.ToolExecutionStatusAwaitingApproval
	}
	return w
}

func (s State) finish() Action {
	if s.Content != "" {
		return Finish{string(s.LastFinish)}
	}
	if s.LastFinish == llm.FinishContentFilter {
		return Fail{errs.New(errs.UpstreamUnavailable, "The model's provider withheld the answer by its content rules. Put the question differently.")}
	}
	e := errs.New(errs.UpstreamUnavailable, "The model gave an empty answer. Try again.")
	e.Retryable = true
	return Fail{e}
}

// callModel builds the request of the next step. What the session has seen by now must be within the model's ceiling.
func (s State) callModel() Action {
	if err := s.Model.Admits(s.Sensitivity); err != nil {
		e, ok := errs.As(err)
		if !ok {
			e = errs.Wrap(err, errs.Internal, "The model may not see this conversation.")
		}
		return Fail{e}
	}
	tools, system := s.Tools, Instructions(s.System)
	if s.lastWord() {
		tools = nil
		system += "\n\nYou can call no more tools in this turn. Answer now from what you have, and say what is missing."
	}
	window := s.window()
	fitted := Fit(Conversation{
		Strategy: s.Strategy, Budget: window - reserve(window), System: system, Tools: tools,
		History: s.History, Current: s.current(window),
	})
	if fitted.Overflow {
		return Fail{errs.New(errs.ResourceExhausted,
			"Your message and what belongs to it do not fit into the model's context window of %d tokens. Shorten it, unpin messages, or choose a model with a larger window.", s.Model.ContextWindow)}
	}
	return CallModel{
		Step: s.Steps + 1, Fitted: fitted,
		Request: llm.Request{System: system, Messages: fitted.Messages, Tools: tools, Temperature: s.Temperature},
	}
}

// lastWord: the step that must answer, because no tool call can follow it or the model goes round in circles.
func (s State) lastWord() bool {
	if s.Steps == s.Limits.MaxSteps-1 || len(s.Calls) >= s.Limits.MaxCalls {
		return true
	}
	for i, c := range s.Calls {
		if c.Step == s.Steps && c.Invalid == "" && s.repeats(i) > s.Limits.MaxRepeats {
			return true
		}
	}
	return false
}

// window is in tokens.
func (s State) window() int {
	w := s.Model.ContextWindow
	if s.Window > 0 {
		w = min(w, s.Window)
	}
	return w >> s.Shrunk
}

// reserve is what the answer gets of a window, in tokens.
func reserve(window int) int { return min(window/4, 2048) }

// current is the reply so far, as the model sees it: its steps and what became of their calls.
func (s State) current(window int) []llm.Message {
	results := Results(s.Calls, window)
	return steps(s.Content, s.Calls, func(i int) string { return results[i] })
}

// NewCalls makes a step's calls ready to be stored in the reply: ids are unique in it, and arguments that Postgres
// cannot hold are marked. offset is the length of the reply's text so far in UTF-16 code units.
func NewCalls(existing []Call, step, offset int, calls []llm.ToolCall) []Call {
	taken := map[string]bool{}
	for _, c := range existing {
		taken[c.ID] = true
	}
	out := make([]Call, 0, len(calls))
	for _, c := range calls {
		id := CleanText(c.ID)
		if len(id) > 64 {
			id = uuid.NewSHA1(uuid.Nil, []byte(id)).String()
		}
		for n, base := 2, id; taken[id] || id == ""; n++ {
			id = fmt.Sprintf("%s-%d", base, n)
		}
		taken[id] = true
		c.ID = id
		if !toolName.MatchString(c.Name) { // providers refuse a conversation that holds such a name
			c.Name = "unknown_tool"
		}
		if c.Arguments == nil {
			c.Arguments = map[string]any{}
		}
		if holdsNUL(c.Arguments) {
			c.Arguments, c.Invalid = map[string]any{}, "The arguments held a NUL character, which nothing here can store. Call the tool again without it."
		}
		out = append(out, Call{ToolCall: c, Step: step, Offset: offset})
	}
	return out
}

var toolName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

func holdsNUL(v any) bool {
	switch v := v.(type) {
	case string:
		return slices.Contains([]byte(v), 0)
	case []any:
		return slices.ContainsFunc(v, holdsNUL)
	case map[string]any:
		for k, e := range v {
			if holdsNUL(k) || holdsNUL(e) {
				return true
			}
		}
	}
	return false
}
