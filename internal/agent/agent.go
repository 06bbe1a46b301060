// Package agent decides what happens next in a turn of a chat: from the stored conversation, the reply so far and the
// state of its tool calls it says whether to call the model, start tools, wait, finish or fail. It also fits a
// conversation into a model's window and finds the citations of an answer.
//
// Everything here is pure: no clock, no I/O, no randomness, so the same rows give the same step in whichever process
// takes the turn up. It refuses to act; effects belong to a runner. Nothing waits in memory: an open approval is Wait,
// and the turn is decided afresh when something has changed. Safe for concurrent use.
package agent

import (
	"encoding/json"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/llm"
)

// State is all that Decide looks at.
type State struct {
	Model       llm.Info
	Sensitivity enum.Sensitivity // the highest the session has seen
	System      string           // the session's own instructions
	Temperature *float64
	Tools       []llm.ToolSpec       // what this user may call now
	History     []Message            // the branch of the conversation before the reply, oldest first; ends with the user's message
	Strategy    enum.ContextStrategy // empty: SLIDING_WINDOW
	Window      int                  // the session's context_window_size in tokens; 0 or beyond the model's: the model's

	Content    string           // the reply's text of all finished steps
	Calls      []Call           // the reply's tool calls, in order
	Steps      int              // model calls that have finished
	LastFinish llm.FinishReason // of the last of them
	Failure    *llm.Error       // why the call of the present step failed, if it did
	Shrunk     int              // how often the present step was found too long for the model
	Cancelled  bool             // the user asked to stop

	Limits Limits
}

// Limits bound a turn. A zero field takes its default.
type Limits struct {
	MaxSteps   int // calls of the model; 8
	MaxCalls   int // calls of tools; 16
	MaxRepeats int // calls of one tool with the same arguments; 2: the third is refused
}

func (l Limits) orDefault() Limits {
	if l.MaxSteps <= 0 {
		l.MaxSteps = 8
	}
	if l.MaxCalls <= 0 {
		l.MaxCalls = 16
	}
	if l.MaxRepeats <= 0 {
		l.MaxRepeats = 2
	}
	return l
}

// Call is a tool call of a reply. Its JSON is what the reply's tool_calls column holds.
type Call struct {
	llm.ToolCall
	Step      int        `json:"step"`              // the model call it came from, from 1
	Offset    int        `json:"offset"`            // UTF-16 code units of the reply's text before it
	Refused   string     `json:"refused,omitempty"` // why it never became an execution: a sentence for the model
	Execution *Execution `json:"-"`                 // nil: none yet, or refused
}

// Execution is where a tool call stands.
type Execution struct {
	ID      uuid.UUID
	Status  enum.ToolExecutionStatus
	Result  json.RawMessage     // with COMPLETED
	Error   enum.ToolErrorCode  // with FAILED
	Reason  enum.ToolReasonCode // with REJECTED and CANCELLED
	Message string              // the tool's error, or the approver's words: data, not trusted
	Again   bool                // lost with its worker, and to be asked for once more
}

func (e Execution) done() bool {
	switch e.Status {
	case enum.ToolExecutionStatusCompleted, enum.ToolExecutionStatusFailed, enum.ToolExecutionStatusRejected, enum.ToolExecutionStatusCancelled:
		return true
	case enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning:
	}
	return false
}

// Action is one of CallModel, StartTools, Wait, Finish and Fail.
type Action interface{ action() }

// CallModel streams the next step of the reply.
type CallModel struct {
	Request llm.Request
	Step    int    // from 1
	Fitted  Fitted // what of the conversation the request holds, for the context window's row
}

// StartTools asks for the executions of the calls in Start and stores the refusals of those in Refuse.
type StartTools struct {
	Start  []Call
	Refuse []Call // with Refused set
}

// Wait leaves the turn until one of the executions changes.
type Wait struct {
	Executions []uuid.UUID
	Approval   bool // a person is waited for
}

// Finish completes the reply, or cancels it where Reason is FinishCancelled. Open executions of a cancelled reply are
// the runner's to cancel.
type Finish struct{ Reason string }

// Finish reasons besides those of llm.
const (
	FinishCancelled = "cancelled"
	FinishStepLimit = "step_limit"
)

// Fail ends the reply as FAILED; its text so far stays.
type Fail struct{ Err *errs.Error }

func (CallModel) action()  {}
func (StartTools) action() {}
func (Wait) action()       {}
func (Finish) action()     {}
func (Fail) action()       {}
