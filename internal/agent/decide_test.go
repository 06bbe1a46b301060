package agent

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

// TestConversations plays the files of testdata: each line of "conversation" changes the state as a runner would, a
// line with an arrow is what Decide must say then, and "request", if there, is the last request's messages.
//
//	tools calculator,search_documents    what the user may call
//	limits steps=3 calls=4               window=800 sensitivity=CONFIDENTIAL ceiling=INTERNAL
//	user Text                            the user's message
//	model text Words.                    of a finished step; a step may have text and calls
//	model call name {"a":1}
//	model end stop                       the step's finish reason
//	exec 1 COMPLETED {"x":1}             the first call's execution; FAILED TIMEOUT words, REJECTED APPROVER_REJECTED words
//	fail context_length                  the model call failed
//	cancel
//	-> …
func TestConversations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			require.NoError(t, err)
			p := &player{t: t}
			p.state.Model = llm.Info{Name: "m", ContextWindow: 4000, SensitivityCeiling: enum.SensitivityRestricted}
			p.state.Sensitivity = enum.SensitivityPublic
			for _, f := range a.Files {
				switch f.Name {
				case "conversation":
					for n, line := range strings.Split(strings.TrimSpace(string(f.Data)), "\n") {
						p.line(n+1, line)
					}
				case "request":
					require.Equal(t, strings.TrimSpace(string(f.Data)), p.request())
				default:
					require.Fail(t, "unknown part", f.Name)
				}
			}
		})
	}
}

type player struct {
	t       *testing.T
	state   State
	pending []llm.ToolCall
	text    string
	last    llm.Request
}

func (p *player) line(n int, line string) {
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	where := fmt.Sprintf("line %d: %s", n, line)
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "->":
		a := Decide(p.state)
		require.Equal(p.t, rest, p.action(a), where)
		require.Equal(p.t, a, Decide(p.state), "a second look at the same state")
		p.refuse(a)
	case "tools":
		p.state.Tools = nil
		for name := range strings.SplitSeq(rest, ",") {
			p.state.Tools = append(p.state.Tools, llm.ToolSpec{Name: name, Schema: map[string]any{"type": "object"}})
		}
	case "limits":
		p.limits(rest)
	case "user":
		p.state.History = append(p.state.History, Message{ID: uuid.New(), Role: enum.MessageRoleUser, Content: rest})
	case "model":
		p.model(rest)
	case "exec":
		p.exec(rest)
	case "fail":
		p.state.Failure = &llm.Error{Kind: llm.Kind(rest)}
		p.state.Shrunk++
	case "cancel":
		p.state.Cancelled = true
	default:
		require.Fail(p.t, where)
	}
}

func (p *player) limits(rest string) {
	for f := range strings.FieldsSeq(rest) {
		name, value, _ := strings.Cut(f, "=")
		n, _ := strconv.Atoi(value) // not all are numbers
		switch name {
		case "steps":
			p.state.Limits.MaxSteps = n
		case "calls":
			p.state.Limits.MaxCalls = n
		case "window":
			p.state.Window = n
		case "sensitivity":
			p.state.Sensitivity = enum.Sensitivity(value)
		case "ceiling":
			p.state.Model.SensitivityCeiling = enum.Sensitivity(value)
		default:
			require.Fail(p.t, f)
		}
	}
}

func (p *player) model(rest string) {
	what, rest, _ := strings.Cut(rest, " ")
	switch what {
	case "text":
		p.text += rest
	case "call":
		name, args, _ := strings.Cut(rest, " ")
		c := llm.ToolCall{ID: "c", Name: name}
		if json.Unmarshal([]byte(args), &c.Arguments) != nil {
			c.Invalid = "Not a JSON object."
		}
		p.pending = append(p.pending, c)
	case "end":
		p.state.Steps++
		p.state.Content += p.text
		p.state.Calls = append(p.state.Calls, NewCalls(p.state.Calls, p.state.Steps, UTF16Len(p.state.Content), p.pending)...)
		p.state.LastFinish = llm.FinishReason(rest)
		p.state.Failure, p.state.Shrunk = nil, 0
		p.text, p.pending = "", nil
	default:
		require.Fail(p.t, what)
	}
}

func (p *player) exec(rest string) {
	f := strings.SplitN(rest, " ", 3)
	n, err := strconv.Atoi(f[0])
	require.NoError(p.t, err)
	e := &Execution{ID: uuid.NewSHA1(uuid.Nil, []byte(f[0])), Status: enum.ToolExecutionStatus(f[1])}
	if len(f) == 3 && e.Status == enum.ToolExecutionStatusCompleted {
		e.Result = json.RawMessage(f[2])
	} else if len(f) == 3 {
		reason, words, _ := strings.Cut(f[2], " ")
		e.Error, e.Reason, e.Message = enum.ToolErrorCode(reason), enum.ToolReasonCode(reason), words
	}
	p.state.Calls[n-1].Execution = e
}

func (p *player) action(a Action) string {
	switch a := a.(type) {
	case CallModel:
		p.last = a.Request
		require.LessOrEqual(p.t, a.Fitted.Tokens, a.Fitted.Budget)
		require.Len(p.t, a.Fitted.Decisions, len(p.state.History))
		names := []string{}
		for _, s := range a.Request.Tools {
			names = append(names, s.Name)
		}
		if len(names) == 0 {
			names = []string{"none"}
		}
		return fmt.Sprintf("call model step=%d tools=%s", a.Step, strings.Join(names, ","))
	case StartTools:
		var out []string
		for _, c := range a.Start {
			out = append(out, "start "+c.ID+" "+c.Name)
		}
		for _, c := range a.Refuse {
			out = append(out, "refuse "+c.ID+" "+c.Name+": "+c.Refused)
		}
		return strings.Join(out, "; ")
	case Wait:
		return fmt.Sprintf("wait %d approval=%t", len(a.Executions), a.Approval)
	case Finish:
		return "finish " + a.Reason
	case Fail:
		return fmt.Sprintf("fail %s: %s", a.Err.Code, a.Err.Message)
	}
	require.Fail(p.t, "unknown action")
	return ""
}

// refuse stores refusals, as a runner does.
func (p *player) refuse(a Action) {
	st, ok := a.(StartTools)
	if !ok {
		return
	}
	for _, r := range st.Refuse {
		for i := range p.state.Calls {
			if p.state.Calls[i].ID == r.ID {
				p.state.Calls[i].Refused = r.Refused
			}
		}
	}
}

func (p *player) request() string {
	var b strings.Builder
	for _, m := range p.last.Messages {
		content := m.Content
		if r, ok := llm.DecodeToolResult(content); ok {
			j, err := json.Marshal(r)
			require.NoError(p.t, err)
			content = string(j)
		}
		b.WriteString(strings.Join(strings.Fields(string(m.Role)+" "+m.ToolCallID), " ") + strings.TrimRight(" "+content, " ") + "\n")
		for _, c := range m.ToolCalls {
			args, err := json.Marshal(c.Arguments)
			require.NoError(p.t, err)
			fmt.Fprintf(&b, "  %s %s %s\n", c.ID, c.Name, args)
		}
	}
	return strings.TrimSpace(b.String())
}
