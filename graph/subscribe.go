package graph

import (
	"context"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatsession"
	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/dispatch"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/event"
	"cdsa.dev/cdsa/internal/event/eventcursor"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/realtime"
	"cdsa.dev/cdsa/internal/rule"
	"cdsa.dev/cdsa/internal/uid"
)

// now is as exact as Time.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// expired is a position that every replay finds to be gone: what a cursor of a former stream is worth.
const expired = 0

// options are what all four subscriptions share: where to begin, how to replay, what id an event has.
func (r *Resolver) options(ctx context.Context, after *eventcursor.Cursor, topics ...string) (realtime.Options, error) {
	o := realtime.Options{Topics: topics, Replay: r.Dispatch.Replay(topics...), ID: func(e realtime.Event) string { return string(r.Cursors.Seal(e.Seq)) }}
	if last := realtime.LastEventID(ctx); last != "" { // a reconnecting client repeats its first request: this is newer
		c := eventcursor.Cursor(last)
		after = &c
	}
	if after == nil || *after == "" {
		return o, nil
	}
	seq, state, err := r.Cursors.Open(*after)
	if err != nil {
		return o, err
	}
	if state == event.CursorExpired {
		o.Replay = realtime.Expired
		seq = expired
	}
	o.After = &seq
	return o, nil
}

func (r *Resolver) chatEvents(ctx context.Context, sessionID uuid.UUID, after *eventcursor.Cursor) (<-chan model.ChatEvent, error) {
	if err := uid.Check(sessionID, uid.ChatSession, "sessionId"); err != nil {
		return nil, err
	}
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	// Metadata of a conversation has more readers than its content: the owner alone hears it.
	mine, err := r.Client.ChatSession.Query().Where(chatsession.ID(sessionID), chatsession.UserID(p.UserID)).Exist(ctx)
	if err != nil {
		return nil, err
	}
	if !mine {
		return nil, errs.Missing("conversation")
	}
	o, err := r.options(ctx, after, fact.ChatSubject(sessionID))
	if err != nil {
		return nil, err
	}
	// A conversation's calls and approvals are shown to who may see calls and approvals.
	calls, err := rule.Judged(ctx, "ToolExecution")
	if err != nil {
		return nil, err
	}
	requests, err := rule.Judged(ctx, "ToolApproval")
	if err != nil {
		return nil, err
	}
	o.Accept = func(e realtime.Event) bool {
		c, ok := e.Value.(dispatch.Chat)
		return ok && (c.Execution == nil || rule.MaySeeExecution(calls, c.Execution.UserID, c.Execution.RequiresApproval))
	}
	show := func(e realtime.Event) (model.ChatEvent, bool) {
		if c, ok := e.Value.(dispatch.Chat); ok && c.Approval != nil && !rule.MaySeeApproval(requests, c.Approval.UserID) {
			c.Approval = nil
			e.Value = c
		}
		return r.chatEvent(e)
	}
	return realtime.Subscribe(ctx, o, show, func(reason string, seq uint64) (model.ChatEvent, bool) {
		return &model.ChatGap{Cursor: r.Cursors.Seal(seq), At: now(), Reason: model.GapReason(reason)}, true
	})
}

func (r *Resolver) chatEvent(e realtime.Event) (model.ChatEvent, bool) {
	c, ok := e.Value.(dispatch.Chat)
	if !ok {
		return nil, false
	}
	cursor := r.Cursors.Seal(e.Seq)
	switch {
	case c.Delta != nil:
		return &model.ChatTokenDelta{Cursor: cursor, At: c.At, MessageID: c.Delta.Message, Attempt: c.Delta.Attempt, Offset: c.Delta.Offset, Text: c.Delta.Text}, true
	case c.Message != nil:
		return &model.ChatMessageEvent{Cursor: cursor, At: c.At, Kind: model.ChatMessageEventKind(c.Kind), Message: c.Message}, true
	case c.Execution != nil:
		return &model.ChatToolEvent{Cursor: cursor, At: c.At, Execution: c.Execution, Approval: c.Approval}, true
	}
	return nil, false
}

func (r *Resolver) approvalEvents(ctx context.Context, after *eventcursor.Cursor) (<-chan *model.ApprovalEvent, error) {
	p, err := rule.Judged(ctx, "ToolApproval")
	if err != nil {
		return nil, err
	}
	o, err := r.options(ctx, after, fact.Approvals)
	if err != nil {
		return nil, err
	}
	o.Accept = func(e realtime.Event) bool {
		v, ok := e.Value.(dispatch.Approval)
		return ok && rule.MaySeeApproval(p, v.Fact.Requester)
	}
	return realtime.Subscribe(ctx, o, func(e realtime.Event) (*model.ApprovalEvent, bool) {
		v, ok := e.Value.(dispatch.Approval)
		if !ok {
			return nil, false
		}
		return &model.ApprovalEvent{Cursor: r.Cursors.Seal(e.Seq), At: v.At, Kind: ptr(model.ApprovalEventKind(v.Fact.Kind)), Approval: v.Approval}, true
	}, func(reason string, seq uint64) (*model.ApprovalEvent, bool) {
		return &model.ApprovalEvent{Cursor: r.Cursors.Seal(seq), At: now(), Gap: ptr(model.GapReason(reason))}, true
	})
}

func (r *Resolver) toolExecutionEvents(ctx context.Context, after *eventcursor.Cursor) (<-chan *model.ToolExecutionEvent, error) {
	p, err := rule.Judged(ctx, "ToolExecution")
	if err != nil {
		return nil, err
	}
	o, err := r.options(ctx, after, fact.Tools)
	if err != nil {
		return nil, err
	}
	o.Accept = func(e realtime.Event) bool {
		v, ok := e.Value.(dispatch.Tool)
		return ok && rule.MaySeeExecution(p, v.Fact.Requester, v.Fact.NeedsApproval)
	}
	return realtime.Subscribe(ctx, o, func(e realtime.Event) (*model.ToolExecutionEvent, bool) {
		v, ok := e.Value.(dispatch.Tool)
		if !ok {
			return nil, false
		}
		return &model.ToolExecutionEvent{Cursor: r.Cursors.Seal(e.Seq), At: v.At, Status: &v.Fact.Status, Execution: v.Execution}, true
	}, func(reason string, seq uint64) (*model.ToolExecutionEvent, bool) {
		return &model.ToolExecutionEvent{Cursor: r.Cursors.Seal(seq), At: now(), Gap: ptr(model.GapReason(reason))}, true
	})
}

func (r *Resolver) documentEvents(ctx context.Context, documentID *uuid.UUID, after *eventcursor.Cursor) (<-chan *model.DocumentEvent, error) {
	p, err := rule.Judged(ctx, "Document")
	if err != nil {
		return nil, err
	}
	if documentID != nil {
		if err := uid.Check(*documentID, uid.Document, "documentId"); err != nil {
			return nil, err
		}
		if _, err := r.Client.Document.Query().Where(documentIs(*documentID)).OnlyID(ctx); err != nil {
			if ent.IsNotFound(err) {
				return nil, errs.Missing("document")
			}
			return nil, err
		}
	}
	o, err := r.options(ctx, after, fact.Documents)
	if err != nil {
		return nil, err
	}
	o.Accept = func(e realtime.Event) bool {
		v, ok := e.Value.(dispatch.Document)
		if !ok || documentID != nil && v.Fact.Document != *documentID {
			return false
		}
		if gone := v.Fact.Deleted; gone != nil {
			return rule.MaySeeDocument(p, gone.Owner, gone.Public, gone.Permission)
		}
		d := v.Document
		return rule.MaySeeDocument(p, d.UploadedBy, d.IsPublic, d.RequiredPermission)
	}
	return realtime.Subscribe(ctx, o, func(e realtime.Event) (*model.DocumentEvent, bool) {
		v, ok := e.Value.(dispatch.Document)
		if !ok {
			return nil, false
		}
		out := &model.DocumentEvent{Cursor: r.Cursors.Seal(e.Seq), At: v.At, DocumentID: &v.Fact.Document, Deleted: ptr(v.Fact.Deleted != nil)}
		if v.Fact.Deleted == nil {
			out.Status, out.Progress, out.Document = &v.Fact.Status, &v.Fact.Progress, v.Document
		}
		return out, true
	}, func(reason string, seq uint64) (*model.DocumentEvent, bool) {
		return &model.DocumentEvent{Cursor: r.Cursors.Seal(seq), At: now(), Gap: ptr(model.GapReason(reason))}, true
	})
}
