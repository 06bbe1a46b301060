package agent

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/llm"
)

// Results is what the model gets to see of each call's outcome, in the order of the calls: the content of the calls'
// TOOL messages, inside the envelope that marks it as data to the model. All of a step's calls must be done. window, in tokens, is
// that of the model: no result is shown longer than a part of it.
func Results(calls []Call, window int) []string {
	limit := min(max(window, 2<<10), 24<<10) // bytes: about a quarter of the window in prose
	passages := Passages(calls)
	out := make([]string, len(calls))
	for i, c := range calls {
		out[i] = encode(result(c, passages, limit))
	}
	return out
}

func result(c Call, passages []Passage, limit int) llm.ToolResult {
	r := llm.ToolResult{Tool: c.Name, Status: enum.ToolExecutionStatusRejected, Message: c.Refused}
	e := c.Execution
	if e == nil {
		if r.Message == "" {
			r.Message = noResult
		}
		return r
	}
	r.Status = e.Status
	switch e.Status {
	case enum.ToolExecutionStatusCompleted:
		completed(&r, c, passages, limit)
	case enum.ToolExecutionStatusFailed:
		if r.Message = e.Message; r.Message == "" { // the tool's own sentence says more than its code
			r.Message = failed(e.Error)
		}
	case enum.ToolExecutionStatusRejected, enum.ToolExecutionStatusCancelled:
		r.Message = join(refused(e.Reason), e.Message)
	case enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning:
		r.Message = "The call has not finished."
	}
	r.Message = head(r.Message, limit)
	return r
}

func completed(r *llm.ToolResult, c Call, passages []Passage, limit int) {
	if c.Name == SearchTool {
		found, ok := searchResult(c)
		if !ok {
			r.Status, r.Message = enum.ToolExecutionStatusFailed, "The result of the search could not be read."
			return
		}
		if len(found) == 0 {
			r.Message = "No passage was found."
		}
		for _, p := range found {
			limit -= len(p.Text)
			if limit < 0 && len(r.Passages) > 0 {
				r.Message, r.Truncated = "More passages were found than are shown.", true
				break
			}
			n := passages[slices.IndexFunc(passages, p.same)].N
			r.Passages = append(r.Passages, llm.Passage{N: n, Title: p.Title, Page: p.Page, Text: p.Text})
		}
		return
	}
	r.Result = c.Execution.Result
	if !json.Valid(r.Result) {
		r.Result, r.Message = nil, "The tool ran and gave no result."
		return
	}
	if len(r.Result) > limit {
		b, err := json.Marshal(head(string(r.Result), limit))
		if err != nil {
			b = []byte(`""`)
		}
		r.Result, r.Truncated, r.Message = b, true, "Only the beginning of the result is shown."
	}
}

func head(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}

func join(fixed, message string) string { return strings.TrimSpace(fixed + " " + message) }

func failed(code enum.ToolErrorCode) string {
	switch code {
	case enum.ToolErrorCodeTimeout:
		return "The tool did not finish in time."
	case enum.ToolErrorCodeInvalidResult:
		return "The tool gave a result that does not fit its definition."
	case enum.ToolErrorCodeWorkerLost:
		return "The server that ran the tool was lost; it is not known whether the tool took effect."
	case enum.ToolErrorCodeDependencyUnavailable:
		return "Something the tool depends on did not answer."
	case enum.ToolErrorCodeToolError:
	}
	return "The tool failed."
}

func refused(reason enum.ToolReasonCode) string {
	switch reason {
	case enum.ToolReasonCodeApproverRejected:
		return "An approver rejected the call."
	case enum.ToolReasonCodePolicyDenied:
		return "The policy does not allow the call."
	case enum.ToolReasonCodeByRequester:
		return "The user cancelled the call."
	case enum.ToolReasonCodeByAdmin:
		return "An administrator cancelled the call."
	case enum.ToolReasonCodeApprovalExpired:
		return "Nobody decided on the call in time."
	case enum.ToolReasonCodeGrantLapsed:
		return "The approval lapsed before the call could start."
	case enum.ToolReasonCodeAuthorizationLost:
		return "The user may no longer make this call."
	case enum.ToolReasonCodeToolChanged:
		return "The tool was changed or switched off before the call could start."
	case enum.ToolReasonCodeSessionDeleted:
		return "The conversation was deleted."
	case enum.ToolReasonCodeQueueTimeout:
		return "The call waited too long for its turn."
	}
	return "The call did not run."
}
