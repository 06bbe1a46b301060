package turn

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatmessage"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/ent/contextwindow"
	"cdsa.dev/cdsa/ent/tool"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/agent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/delegate"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/llm"
)

// historyLimit bounds the messages read for a turn; older ones could not fit any window offered.
const historyLimit = 400

// progress is what of a turn lies in the reply's metadata.
type progress struct {
	Steps int              `json:"steps"`
	Last  llm.FinishReason `json:"lastFinish,omitempty"`
}

func (r *Runner) query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return r.Pool.Query(ctx, sql, args...)
}

// load reads what the turn works with. An *errs.Error says that the user may no longer have it answered.
func (r *Runner) load(ctx context.Context, reply *ent.ChatMessage) (*turn, error) {
	t := &turn{Runner: r, reply: reply, in: reply.InputTokens, out: reply.OutputTokens, canceled: reply.CancelRequested}
	var err error
	if t.session, err = r.Client.ChatSession.Query().Where(chatsession.ID(reply.SessionID)).Only(ctx); err != nil {
		return nil, fmt.Errorf("conversation of answer %s: %w", reply.ID, err)
	}
	if t.user, err = r.judge(ctx, reply); err != nil {
		return nil, err
	}
	if t.calls, err = fromMaps(reply.ToolCalls); err != nil {
		return nil, fmt.Errorf("tool calls of answer %s: %w", reply.ID, err)
	}
	var p progress
	if err := remap(reply.Metadata, &p); err != nil {
		return nil, fmt.Errorf("progress of answer %s: %w", reply.ID, err)
	}
	t.steps, t.last = p.Steps, p.Last
	if err := t.loadQuestion(ctx); err != nil {
		return nil, err
	}
	return t, t.refresh(ctx, t.Client)
}

// judge gives whom the answer is written for, with the rights they have at this moment. An *errs.Error says that they may
// not have it answered any more, or that the API token that asked does not stand.
func (r *Runner) judge(ctx context.Context, reply *ent.ChatMessage) (*authz.Principal, error) {
	if reply.UserID == nil {
		return nil, errs.New(errs.Unauthenticated, "Nobody is there to have this answered for.")
	}
	user, err := r.LoadUser(ctx, *reply.UserID)
	if err != nil {
		return nil, err
	}
	if user, err = delegate.Narrow(ctx, r.Pool, user, delegate.Reply, reply.ID); err != nil {
		return nil, err
	}
	if user == nil {
		return nil, errs.New(errs.Unauthenticated, "The API token that asked for this answer was revoked or has expired.")
	}
	if _, err := authz.Require(authz.With(ctx, user), "chat", "write"); err != nil {
		return nil, err
	}
	return user.AsAgent(), nil
}

func (t *turn) loadQuestion(ctx context.Context) error {
	ms, err := t.Client.ChatMessage.Query().
		Where(chatmessage.SessionID(t.session.ID), chatmessage.CreatedAtLT(t.reply.CreatedAt), chatmessage.StatusNotIn(enum.MessageStatusPending, enum.MessageStatusStreaming)).
		Order(ent.Desc(chatmessage.FieldCreatedAt), ent.Desc(chatmessage.FieldID)).Limit(historyLimit).All(ctx)
	if err != nil {
		return fmt.Errorf("history of answer %s: %w", t.reply.ID, err)
	}
	slices.Reverse(ms)
	for _, m := range ms {
		h := agent.Message{ID: m.ID, Role: m.Role, Content: m.Content, Pinned: m.IsPinned}
		if h.Calls, err = fromMaps(m.ToolCalls); err != nil {
			return fmt.Errorf("tool calls of message %s: %w", m.ID, err)
		}
		h.CallID, _ = m.Metadata["callId"].(string)
		t.history = append(t.history, h)
		if t.reply.ParentID != nil && m.ID == *t.reply.ParentID {
			t.documentIDs = stringsOf(m.Metadata["documentIds"])
		}
	}
	w, err := t.Client.ContextWindow.Query().Where(contextwindow.SessionID(t.session.ID)).Only(ctx)
	if err != nil && !ent.IsNotFound(err) {
		return fmt.Errorf("window of conversation %s: %w", t.session.ID, err)
	}
	if w != nil {
		t.strategy = w.Strategy
	}
	return t.loadTools(ctx)
}

// loadTools offers the model what the user may call, and nothing else.
func (t *turn) loadTools(ctx context.Context) error {
	if !t.user.Can("tools:execute") || !t.user.Can("tools:read") {
		return nil
	}
	ts, err := t.Client.Tool.Query().Where(tool.IsActive(true)).Order(ent.Asc(tool.FieldName)).All(authz.With(ctx, t.user))
	if err != nil {
		return fmt.Errorf("tools: %w", err)
	}
	for _, x := range ts {
		if x.RequiredPermission == nil || t.user.Can(*x.RequiredPermission) {
			t.tools = append(t.tools, llm.ToolSpec{Name: x.Name, Description: x.Description, Schema: x.Schema})
		}
	}
	return nil
}

// refresh reads, through c, where the calls stand and how confidential the conversation has become.
func (t *turn) refresh(ctx context.Context, c *ent.Client) error {
	xs, err := c.ToolExecution.Query().Where(toolexecution.ReplyID(t.reply.ID)).WithApproval().WithTool().All(ctx)
	if err != nil {
		return fmt.Errorf("tool calls of answer %s: %w", t.reply.ID, err)
	}
	byCall := map[string]*agent.Execution{}
	for _, x := range xs {
		if x.CallID == nil {
			continue
		}
		if byCall[*x.CallID], err = executionOf(x); err != nil {
			return err
		}
		byCall[*x.CallID].Again = t.Executions.Repeatable(x)
	}
	for i := range t.calls {
		for _, id := range []string{t.calls[i].ID, again(t.calls[i].ID)} {
			if e := byCall[id]; e != nil {
				t.calls[i].Execution = e
			}
		}
	}
	s, err := c.ChatSession.Query().Where(chatsession.ID(t.session.ID)).Only(ctx)
	if err != nil {
		return err
	}
	t.session = s
	return nil
}

// again is the id under which a lost call is made once more: one for each call, whoever makes it.
func again(callID string) string { return callID + " again" }

func executionOf(x *ent.ToolExecution) (*agent.Execution, error) {
	e := &agent.Execution{ID: x.ID, Status: x.Status}
	if x.Status == enum.ToolExecutionStatusCompleted {
		b, err := json.Marshal(x.Result)
		if err != nil {
			return nil, fmt.Errorf("result of tool call %s: %w", x.ID, err)
		}
		e.Result = b
	}
	if x.ErrorCode != nil {
		e.Error = *x.ErrorCode
	}
	if x.ReasonCode != nil {
		e.Reason = *x.ReasonCode
	}
	if x.Error != nil {
		e.Message = *x.Error
	}
	if a := x.Edges.Approval; a != nil && a.RejectionReason != nil {
		e.Message = *a.RejectionReason
	}
	return e, nil
}

func remap(from map[string]any, to any) error {
	if len(from) == 0 {
		return nil
	}
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

func stringsOf(v any) []string {
	l, _ := v.([]any)
	var out []string
	for _, e := range l {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// toolMessages are the calls already reported by TOOL messages.
func (t *turn) toolMessages(ctx context.Context, c *ent.Client) (map[string]uuid.UUID, error) {
	ms, err := c.ChatMessage.Query().Where(chatmessage.ParentID(t.reply.ID), chatmessage.RoleEQ(enum.MessageRoleTool)).All(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]uuid.UUID{}
	for _, m := range ms {
		if id, ok := m.Metadata["callId"].(string); ok {
			out[id] = m.ID
		}
	}
	return out, nil
}
