package turn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/ent/contextwindow"
	"cdsa.dev/cdsa/internal/agent"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/llm"
	"cdsa.dev/cdsa/internal/uow"
)

// announce makes STARTED precede the deltas of its attempt, and repeats what earlier steps had written: to a client the
// text starts anew.
func (t *turn) announce(ctx context.Context) error {
	if _, err := t.Relay.Flush(ctx, fact.ChatSubject(t.session.ID)); err != nil {
		t.Log.WarnContext(ctx, "an attempt was announced late", "reply", t.reply.ID, "error", err) // deltas are hints; the stored answer is the fact
	}
	if t.reply.Content == "" {
		return nil
	}
	d := t.deltas(0)
	d.add(ctx, t.reply.Content)
	d.settle(ctx)
	return nil
}

// step carries out one decision. done says that this worker has no more to do with the answer.
func (t *turn) step(ctx context.Context) (done bool, err error) {
	if cause := context.Cause(ctx); cause != nil {
		ctx = authz.With(context.WithoutCancel(ctx), authz.Agent)
		if lost, ok := errs.As(cause); ok {
			return true, t.fail(ctx, lost)
		}
		if !errors.Is(cause, errStopped) {
			return true, cause
		}
		t.canceled = true
	}
	done, err = t.carryOut(ctx, agent.Decide(t.state()))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		if _, lost := errs.As(cause); lost || errors.Is(cause, errStopped) {
			return false, nil // it came meanwhile: the next step honours it
		}
	}
	return done, err
}

func (t *turn) carryOut(ctx context.Context, action agent.Action) (done bool, err error) {
	switch a := action.(type) {
	case agent.CallModel:
		return false, t.callModel(ctx, a)
	case agent.StartTools:
		return false, t.start(ctx, a)
	case agent.Wait:
		return t.park(ctx)
	case agent.Finish:
		return true, t.finish(ctx, a.Reason)
	case agent.Fail:
		return true, t.fail(ctx, a.Err)
	default:
		return true, fmt.Errorf("turn: unknown action %T", a)
	}
}

func (t *turn) state() agent.State {
	entry, err := t.Models.Lookup(t.session.Model)
	if err != nil {
		entry = t.Models.Default()
	}
	temperature := t.session.Temperature
	return agent.State{
		Model: entry.Info, Sensitivity: t.session.Sensitivity, System: t.session.SystemPrompt, Temperature: &temperature, Tools: t.tools,
		History: t.history, Strategy: t.strategy, Window: t.session.ContextWindowSize,
		Content: t.reply.Content, Calls: t.calls, Steps: t.steps, LastFinish: t.last, Failure: t.failure, Shrunk: t.shrunk, Cancelled: t.canceled, Limits: t.Limits,
	}
}

// callModel streams one step and stores it. A failure is left to the next decision.
func (t *turn) callModel(ctx context.Context, a agent.CallModel) error {
	if err := t.report(ctx); err != nil {
		return err
	}
	entry, err := t.Models.Lookup(t.session.Model)
	if err != nil {
		entry = t.Models.Default()
	}
	t.fitted, t.failure = a.Fitted, nil
	t.partial.Reset()
	base := agent.UTF16Len(t.reply.Content)
	d := t.deltas(base)
	var calls []llm.ToolCall
	var finish llm.Finish
	for c, err := range entry.Stream(ctx, a.Request) {
		if err != nil {
			d.settle(context.WithoutCancel(ctx))
			return t.failed(ctx, err)
		}
		switch {
		case c.Text != "":
			text := agent.CleanText(c.Text)
			t.partial.WriteString(text)
			d.add(ctx, text)
		case c.ToolCall != nil:
			calls = append(calls, *c.ToolCall)
		case c.Finish != nil:
			finish = *c.Finish
		}
	}
	d.settle(ctx)
	t.calls = append(t.calls, agent.NewCalls(t.calls, a.Step, base+agent.UTF16Len(t.partial.String()), calls)...)
	t.steps, t.last = a.Step, finish.Reason
	t.in, t.out = t.in+finish.InputTokens, t.out+finish.OutputTokens
	return t.store(ctx, t.reply.Content+t.partial.String())
}

// failed notes why a model call ended early. The end of ctx is not the model's fault.
func (t *turn) failed(ctx context.Context, err error) error {
	if context.Cause(ctx) != nil {
		return nil // the next step sees the cause
	}
	e, ok := llm.AsError(err)
	if !ok {
		return err
	}
	t.Log.WarnContext(ctx, "a model call failed", "reply", t.reply.ID, "error", e)
	t.failure = e
	if e.Kind == llm.KindContextLength {
		t.shrunk++
	}
	return nil
}

// save is the columns every write of a turn sets.
func (t *turn) save(ctx context.Context, tx *uow.Tx, content string) (*ent.ChatMessageUpdateOne, error) {
	// The conversation first, then the answer: the order of everyone who locks both.
	if _, err := tx.PG.Exec(ctx, `SELECT 1 FROM chat_sessions WHERE id = $1 FOR NO KEY UPDATE`, t.reply.SessionID); err != nil {
		return nil, err
	}
	var stop bool
	err := tx.PG.QueryRow(ctx, `SELECT cancel_requested FROM chat_messages WHERE id = $1 AND attempt = $2 AND status = 'STREAMING' AND lease_expires_at IS NOT NULL FOR UPDATE`, t.reply.ID, t.reply.Attempt).Scan(&stop)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errLost
	}
	if err != nil {
		return nil, err
	}
	t.canceled = t.canceled || stop
	calls, err := toMaps(t.calls)
	if err != nil {
		return nil, err
	}
	return tx.ChatMessage.UpdateOneID(t.reply.ID).SetContent(content).SetToolCalls(calls).SetTokens(agent.EstimateTokens(content)).
		SetInputTokens(t.in).SetOutputTokens(t.out).SetMetadata(map[string]any{"steps": t.steps, "lastFinish": string(t.last)}), nil
}

// store commits the steps so far.
func (t *turn) store(ctx context.Context, content string) error {
	err := t.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, err := t.save(ctx, tx, content)
		if err != nil {
			return err
		}
		return u.Exec(ctx)
	})
	if err != nil {
		return err
	}
	t.reply.Content = content
	t.partial.Reset()
	return nil
}

// start requests the executions of a step's calls and runs those that need no person. What cannot be requested is told
// to the model.
func (t *turn) start(ctx context.Context, a agent.StartTools) error {
	user := authz.With(ctx, t.user)
	var g errgroup.Group
	g.SetLimit(4)
	for _, c := range a.Refuse {
		t.setRefused(c.ID, c.Refused)
	}
	for _, c := range a.Start {
		in := execution.Input{Tool: c.Name, Parameters: t.arguments(c), SessionID: &t.session.ID, ReplyID: &t.reply.ID, CallID: c.ID}
		if c.Execution != nil { // it was lost with its worker
			in.CallID, in.RetryOf = again(c.ID), &c.Execution.ID
		}
		x, err := t.Executions.Request(user, in)
		if e, ok := errs.As(err); ok && e.Code != errs.Internal {
			t.setRefused(c.ID, sentence(e))
			continue
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		if x.Status == enum.ToolExecutionStatusPending {
			g.Go(func() error { return t.Executions.Run(ctx, x.ID) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := t.store(ctx, t.reply.Content); err != nil {
		return err
	}
	return t.refresh(ctx, t.Client)
}

// arguments limits a search to the documents the message was sent with.
func (t *turn) arguments(c agent.Call) map[string]any {
	if c.Name != agent.SearchTool || len(t.documentIDs) == 0 {
		return c.Arguments
	}
	out := map[string]any{}
	for k, v := range c.Arguments {
		out[k] = v
	}
	ids := make([]any, len(t.documentIDs))
	for i, id := range t.documentIDs {
		ids[i] = id
	}
	out["documentIds"] = ids
	return out
}

func sentence(e *errs.Error) string {
	s := e.Message
	for field, why := range e.Fields {
		if why != s {
			s += " " + field + ": " + why
		}
	}
	return s
}

func (t *turn) setRefused(callID, why string) {
	for i := range t.calls {
		if t.calls[i].ID == callID {
			t.calls[i].Refused = why
		}
	}
}

// report writes the TOOL messages of calls that have ended. It is called before the model hears of them.
func (t *turn) report(ctx context.Context) error {
	if len(t.calls) == 0 {
		return nil
	}
	results := agent.Results(t.calls, t.session.ContextWindowSize)
	return t.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := t.save(ctx, tx, t.reply.Content); err != nil { // holds the row: one worker reports
			return err
		}
		have, err := t.toolMessages(ctx, tx.Client)
		if err != nil {
			return err
		}
		for i, c := range t.calls {
			if _, ok := have[c.ID]; ok {
				continue
			}
			content := llm.Unwrap(results[i])
			m := tx.ChatMessage.Create().SetSessionID(t.session.ID).SetUserID(t.session.UserID).SetRole(enum.MessageRoleTool).SetStatus(enum.MessageStatusCompleted).
				SetParentID(t.reply.ID).SetContent(content).SetMetadata(map[string]any{"callId": c.ID, "tool": c.Name}).SetTokens(agent.EstimateTokens(content))
			if c.Execution != nil {
				m.SetToolExecutionID(c.Execution.ID)
			}
			row, err := m.Save(ctx)
			if err != nil {
				return err
			}
			tx.Event(fact.ChatSubject(t.session.ID), fact.Chat{Kind: fact.Created, Message: row.ID})
		}
		return nil
	})
}

// park gives the answer up until one of its calls has ended. The row is freed before the calls are looked at: a call
// that ends meanwhile is either seen here or wakes a worker that finds the row free.
func (t *turn) park(ctx context.Context) (parked bool, err error) {
	err = t.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, err := t.save(ctx, tx, t.reply.Content)
		if err != nil {
			return err
		}
		if err := u.ClearLeaseExpiresAt().Exec(ctx); err != nil {
			return err
		}
		if err := t.refresh(ctx, tx.Client); err != nil { // not by a second connection: all may be held by turns that park
			return err
		}
		if _, still := agent.Decide(t.state()).(agent.Wait); !still {
			return errAwake
		}
		parked = true
		return nil
	})
	if errors.Is(err, errAwake) {
		return false, nil
	}
	return parked, err
}

var errAwake = errors.New("a call ended meanwhile")

// finish ends the answer as COMPLETED or CANCELLED with its citations.
func (t *turn) finish(ctx context.Context, reason string) error {
	status, kind, calls := enum.MessageStatusCompleted, fact.Completed, none
	if reason == agent.FinishCancelled {
		status, kind, calls = enum.MessageStatusCancelled, fact.Cancelled, t.Executions.StopReply
	} else if err := t.report(ctx); err != nil {
		return err
	}
	content := t.reply.Content + t.partial.String()
	return t.end(ctx, content, kind, calls, func(u *ent.ChatMessageUpdateOne) {
		u.SetStatus(status).SetFinishReason(reason).SetCitations(agent.Citations(content, agent.Passages(t.calls), nil))
	})
}

// fail ends the answer as FAILED, with the calls of it that have not ended; its text so far stays.
func (t *turn) fail(ctx context.Context, e *errs.Error) error {
	return t.end(ctx, t.reply.Content+t.partial.String(), fact.Failed, t.Executions.ForfeitReply, func(u *ent.ChatMessageUpdateOne) {
		u.SetStatus(enum.MessageStatusFailed).SetErrorCode(string(e.Code)).SetMetadata(map[string]any{"steps": t.steps, "error": e.Message})
	})
}

// none is what becomes of the calls of an answer that waited for all of them.
func none(context.Context, *uow.Tx, uuid.UUID) error { return nil }

// end writes the answer's last state, and what becomes of its open calls with it: no moment between the two could let a
// call of an ended answer be approved or run.
func (t *turn) end(ctx context.Context, content string, kind fact.MessageKind, calls func(context.Context, *uow.Tx, uuid.UUID) error, set func(*ent.ChatMessageUpdateOne)) error {
	err := t.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, err := t.save(ctx, tx, content)
		if err != nil {
			return err
		}
		set(u)
		if err := u.ClearLeaseExpiresAt().Exec(ctx); err != nil {
			return err
		}
		if err := calls(ctx, tx, t.reply.ID); err != nil {
			return fmt.Errorf("end the calls of answer %s: %w", t.reply.ID, err)
		}
		if err := t.saveWindow(ctx, tx); err != nil {
			return err
		}
		if err := tx.ChatSession.Update().Where(chatsession.ID(t.reply.SessionID)).SetLastMessageAt(time.Now().UTC()).Exec(ctx); err != nil {
			return err
		}
		tx.Event(fact.ChatSubject(t.reply.SessionID), fact.Chat{Kind: kind, Message: t.reply.ID})
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := t.Relay.Flush(ctx, fact.ChatSubject(t.reply.SessionID)); err != nil {
		t.Log.WarnContext(ctx, "the end of an answer is announced late", "reply", t.reply.ID, "error", err) // the relay has it
	}
	return nil
}

// saveWindow records what of the conversation the model was given last.
func (t *turn) saveWindow(ctx context.Context, tx *uow.Tx) error {
	if len(t.fitted.Messages) == 0 {
		return nil
	}
	ids, decisions := []string{}, []map[string]any{}
	for _, d := range t.fitted.Decisions {
		if d.Verdict != agent.Dropped {
			ids = append(ids, d.MessageID.String())
		}
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		decisions = append(decisions, m)
	}
	return tx.ContextWindow.Update().Where(contextwindow.SessionID(t.session.ID)).SetTotalTokens(t.fitted.Tokens).SetMaxTokens(t.session.ContextWindowSize).
		SetIncludedMessageIds(ids).SetDecisions(decisions).Exec(ctx)
}

// deltas publishes the pieces of one step's text.
type deltas struct {
	t       *turn
	subject string
	offset  int
	pending []event.Future
	lost    bool
}

// maxPending bounds the pieces that the bus has not acknowledged.
const maxPending = 512

func (t *turn) deltas(offset int) *deltas {
	return &deltas{t: t, subject: fact.ChatSubject(t.session.ID), offset: offset}
}

// add publishes a piece at once. When the bus is away the pieces are lost: the stored answer replaces them.
func (d *deltas) add(ctx context.Context, text string) {
	if text == "" {
		return
	}
	for _, piece := range pieces(text) {
		b, err := json.Marshal(fact.Chat{Delta: &fact.Delta{Message: d.t.reply.ID, Attempt: d.t.reply.Attempt, Offset: d.offset, Text: piece}})
		d.offset += agent.UTF16Len(piece)
		if err != nil || d.lost {
			continue
		}
		f, err := d.t.Bus.PublishAsync(d.subject, "", b)
		if err != nil {
			d.lost = true
			d.t.Log.WarnContext(ctx, "the deltas of an answer are lost", "reply", d.t.reply.ID, "error", err)
			continue
		}
		if d.pending = append(d.pending, f); len(d.pending) >= maxPending {
			d.settle(ctx)
		}
	}
}

// settle waits until the bus has acknowledged every piece, so that they precede what is committed next.
func (d *deltas) settle(ctx context.Context) {
	for _, f := range d.pending {
		if _, err := f.Wait(ctx); err != nil && !d.lost {
			d.lost = true
			d.t.Log.WarnContext(ctx, "deltas of an answer are lost", "reply", d.t.reply.ID, "error", err)
		}
	}
	d.pending = d.pending[:0]
}

// pieceRunes keeps a repeated prefix within the bus's payload limit.
const pieceRunes = 8000

func pieces(s string) []string {
	var out []string
	for s != "" {
		n, i := 0, len(s)
		for j := range s {
			if n == pieceRunes {
				i = j
				break
			}
			n++
		}
		out = append(out, s[:i])
		s = s[i:]
	}
	return out
}
