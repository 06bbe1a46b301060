package execution

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/chatmessage"
	"cdsa.dev/cdsa/ent/chatsession"
	enttool "cdsa.dev/cdsa/ent/tool"
	"cdsa.dev/cdsa/ent/toolexecution"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/delegate"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/canonical"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Bounds of a request's texts: names and keys in bytes, the justification in Unicode code points.
const (
	maxKey           = 200
	maxJustification = 4_000
)

// Input is a call that is asked for.
type Input struct {
	Tool           string // its name
	Parameters     map[string]any
	SessionID      *uuid.UUID // the conversation, the caller's own
	IdempotencyKey *string
	Justification  *string    // for approvers; a CRITICAL call needs one
	ReplyID        *uuid.UUID // the answer it belongs to, with CallID and SessionID
	CallID         string     // the model's
	RetryOf        *uuid.UUID // the call of the same answer that this one repeats; see Repeatable
}

// Request asks for a call as the context's principal, who needs tools:execute and the tool's own permission. The call
// comes back PENDING and queued, AWAITING_APPROVAL with its request, COMPLETED from the cache, or REJECTED where policy
// denies it to the assistant. The same idempotency key, or answer and call id, gives the first call again.
//
// Wrong arguments make no row, nor do those with which the tool could only fail: BAD_USER_INPUT, RESOURCE_EXHAUSTED. Also UNAUTHENTICATED, FORBIDDEN, NOT_FOUND (tool,
// conversation), FAILED_PRECONDITION (tool inactive, answer ended), CONFLICT (key used for something else). Audited as
// TOOL_EXECUTION_REQUESTED and APPROVAL_REQUESTED; refusals as TOOL_EXECUTION_BLOCKED.
func (s *Service) Request(ctx context.Context, in Input) (*ent.ToolExecution, error) {
	p, err := authz.Require(ctx, "tools", "execute")
	if err == nil && p.IsSystem() {
		err = errs.New(errs.Forbidden, "Tools are called by people, or by the assistant for them.")
	}
	if err != nil {
		return nil, s.blocked(ctx, in, err)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	id, err := s.request(ctx, p, in)
	if uow.IsDuplicate(err) {
		id, err = s.request(ctx, p, in) // the same call was asked for at the same moment, and is there now
	}
	if err != nil {
		return nil, s.blocked(ctx, in, err)
	}
	return s.Client.ToolExecution.Get(ctx, id)
}

func (in Input) check() error {
	bad := map[string]string{}
	text := func(field, v string, atLeast, limit int) {
		if n := utf8.RuneCountInString(v); n < atLeast || n > limit || strings.ContainsRune(v, 0) || !utf8.ValidString(v) {
			bad["input."+field] = fmt.Sprintf("%d to %d characters, none of them NUL.", atLeast, limit)
		}
	}
	text("tool", in.Tool, 1, maxKey)
	if in.IdempotencyKey != nil {
		text("idempotencyKey", *in.IdempotencyKey, 1, maxKey)
	}
	if in.Justification != nil {
		text("justification", *in.Justification, 0, maxJustification)
	}
	if in.SessionID != nil && uid.Check(*in.SessionID, uid.ChatSession, "") != nil {
		bad["input.sessionId"] = "This is not the id of a ChatSession."
	}
	if in.ReplyID != nil {
		text("callId", in.CallID, 1, maxKey)
		if uid.Check(*in.ReplyID, uid.ChatMessage, "") != nil || in.SessionID == nil {
			bad["input.replyId"] = "An answer's call names its ChatMessage and its conversation."
		}
	}
	if len(bad) == 0 {
		return nil
	}
	e := errs.New(errs.BadUserInput, "Some of the input is wrong; see extensions.fields.")
	e.Fields = bad
	return e
}

// request gives the id of the new call, or of the one the same key made before.
func (s *Service) request(ctx context.Context, p *authz.Principal, in Input) (uuid.UUID, error) {
	if x, err := s.earlier(ctx, p, in); x != nil || err != nil {
		if err != nil {
			return uuid.Nil, err
		}
		return x.ID, nil
	}
	t, b, err := s.callable(ctx, in.Tool)
	if err != nil {
		return uuid.Nil, err
	}
	allowed := approval.MayCall(p, t.RequiredPermission)
	if !allowed && p.Kind != enum.ActorKindAgent {
		return uuid.Nil, errs.New(errs.Forbidden, "This tool needs the permission %s. Ask an administrator for a role that holds it.", *t.RequiredPermission)
	}
	schema, err := s.Schemas.Parameters(t.ID, t.Version, t.Schema)
	if err != nil {
		return uuid.Nil, errors.New("schema of tool " + t.Name + ": " + err.Error()) // the tool's fault, not the caller's
	}
	params, err := schema.Check(in.Parameters)
	if err != nil {
		return uuid.Nil, err
	}
	if err := b.Check(params); err != nil {
		return uuid.Nil, err
	}
	hash, err := canonical.ArgsHash(t.Name, t.Version, params, nil)
	if err != nil {
		return uuid.Nil, fmt.Errorf("hash the arguments of %s: %w", t.Name, err)
	}
	if err := s.checkRetry(ctx, p, in, t, hash); err != nil {
		return uuid.Nil, err
	}
	d := &draft{in: in, p: p, t: t, params: params, hash: hash, allowed: allowed}
	return uow.Value(ctx, s.Store, func(ctx context.Context, tx *uow.Tx) (uuid.UUID, error) { return s.create(ctx, tx, d) })
}

// Repeatable says whether a call was lost with its worker and may be asked for once more: of a tool that is as it was, of
// LOW risk, and that a second run of changes nothing. x has its tool loaded.
func (s *Service) Repeatable(x *ent.ToolExecution) bool {
	t := x.Edges.Tool
	if t == nil || x.Status != enum.ToolExecutionStatusFailed || x.ErrorCode == nil || *x.ErrorCode != enum.ToolErrorCodeWorkerLost || x.RetryOf != nil {
		return false
	}
	h := tool.ParseHints(t.Hints)
	return t.IsActive && t.Version == x.ToolVersion && x.EffectiveRisk == enum.RiskLevelLow && !x.RequiresApproval &&
		h.ReadOnly && h.Idempotent && !h.Destructive && !h.OpenWorld
}

// checkRetry refuses to repeat what is another's, of another answer, or not to be repeated.
func (s *Service) checkRetry(ctx context.Context, p *authz.Principal, in Input, t *ent.Tool, hash string) error {
	if in.RetryOf == nil {
		return nil
	}
	x, err := s.Client.ToolExecution.Query().Where(toolexecution.ID(*in.RetryOf), toolexecution.UserID(p.UserID), toolexecution.ToolID(t.ID)).WithTool().Only(machine(ctx))
	if err != nil && !ent.IsNotFound(err) {
		return err
	}
	if err != nil || in.ReplyID == nil || !sameID(x.ReplyID, in.ReplyID) || x.ArgsHash != hash || !s.Repeatable(x) {
		return errs.New(errs.Conflict, "This call cannot be repeated; ask for a new one.")
	}
	return nil
}

// callable finds an active tool that the caller sees and this server has.
func (s *Service) callable(ctx context.Context, name string) (*ent.Tool, tool.Builtin, error) {
	t, err := s.Client.Tool.Query().Where(enttool.Name(name)).Only(ctx)
	if ent.IsNotFound(err) {
		return nil, tool.Builtin{}, errs.Missing("tool")
	}
	if err != nil {
		return nil, tool.Builtin{}, err
	}
	if !t.IsActive {
		return nil, tool.Builtin{}, errs.InState(errs.FailedPrecondition, "INACTIVE", "This tool is switched off.")
	}
	b, ok := s.Tools.Lookup(t.Name)
	if !ok || t.Executor != enum.ToolExecutorBuiltin {
		return nil, tool.Builtin{}, errs.InState(errs.FailedPrecondition, "NO_EXECUTOR", "This server cannot run this tool.")
	}
	return t, b, nil
}

// earlier finds the call that the same key, or the same answer and call id, made before. CONFLICT when it was another.
func (s *Service) earlier(ctx context.Context, p *authz.Principal, in Input) (*ent.ToolExecution, error) {
	q := s.Client.ToolExecution.Query().Where(toolexecution.UserID(p.UserID))
	switch {
	case in.ReplyID != nil:
		q.Where(toolexecution.ReplyID(*in.ReplyID), toolexecution.CallID(in.CallID))
	case in.IdempotencyKey != nil:
		q.Where(toolexecution.IdempotencyKey(*in.IdempotencyKey))
	default:
		return nil, nil //nolint:nilnil // without a key nothing is repeated
	}
	x, err := q.Only(machine(ctx))
	if ent.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is the usual case
	}
	if err != nil {
		return nil, err
	}
	hash, err := canonical.ArgsHash(in.Tool, x.ToolVersion, in.Parameters, nil)
	if err != nil {
		return nil, errs.Input("parameters", "The parameters cannot be used: %s.", err)
	}
	if hash != x.ArgsHash || !sameID(x.SessionID, in.SessionID) && x.SessionID != nil {
		return nil, errs.New(errs.Conflict, "This key was used for another call; use a new one.")
	}
	return x, nil
}

func sameID(a, b *uuid.UUID) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// draft is a valid call that has no row yet.
type draft struct {
	in          Input
	p           *authz.Principal
	t           *ent.Tool
	params      map[string]any
	hash        string
	allowed     bool
	sensitivity enum.Sensitivity // of the conversation; "" outside any
	need        approval.Requirement
}

func (s *Service) create(ctx context.Context, tx *uow.Tx, d *draft) (uuid.UUID, error) {
	if err := d.enter(ctx, tx); err != nil {
		return uuid.Nil, err
	}
	d.need = s.judge(d.t, d.sensitivity)
	if d.allowed && d.need.RequiresJustification && (d.in.Justification == nil || strings.TrimSpace(*d.in.Justification) == "") {
		return uuid.Nil, errs.Input("input.justification", "This tool is of CRITICAL risk; say why it must be called.")
	}
	c := tx.ToolExecution.Create().SetToolID(d.t.ID).SetUserID(d.p.UserID).SetNillableSessionID(d.in.SessionID).SetParameters(d.params).
		SetToolVersion(d.t.Version).SetArgsHash(d.hash).SetEffectiveRisk(d.need.EffectiveRisk).SetNillableReplyID(d.in.ReplyID).
		SetNillableIdempotencyKey(d.in.IdempotencyKey).SetNillableRetryOf(d.in.RetryOf).SetRequiresApproval(d.allowed && d.need.Gate != approval.GateNone)
	if d.in.ReplyID != nil {
		c.SetCallID(d.in.CallID)
	}
	step := approval.Change{To: enum.ToolExecutionStatusPending}
	var hit *reusable
	var err error
	switch {
	case !d.allowed:
		step = approval.Change{To: enum.ToolExecutionStatusRejected, Reason: enum.ToolReasonCodePolicyDenied}
		c.SetReasonCode(step.Reason).SetCompletedAt(now())
	case d.need.Gate != approval.GateNone:
		step.To = enum.ToolExecutionStatusAwaitingApproval
	case d.t.CacheTTLSeconds > 0:
		key, kerr := s.cacheKey(d)
		if kerr != nil {
			return uuid.Nil, kerr
		}
		c.SetCacheKey(key)
		if hit, err = s.reuse(ctx, tx, d.t.ID, key); err != nil {
			return uuid.Nil, err
		}
		if hit != nil {
			step = approval.Change{To: enum.ToolExecutionStatusCompleted, Details: map[string]any{"cached": true}}
			c.SetCached(true).SetCacheEntryID(hit.entry).SetResult(hit.value).SetResultSensitivity(hit.sensitivity).SetCompletedAt(now())
		}
	}
	if err := approval.Record(approval.None, step.To, step.Reason, step.Code); err != nil {
		return uuid.Nil, err
	}
	x, err := c.SetStatus(step.To).Save(ctx)
	if err != nil {
		return uuid.Nil, err
	}
	delegate.Note(tx, d.p, delegate.Execution, x.ID)
	if d.allowed {
		approval.NoteCall(tx, d.p, d.t)
	}
	tx.Audit(requested(x, d))
	approval.Publish(tx, x, step)
	switch {
	case x.RequiresApproval:
		return x.ID, s.ask(ctx, tx, x, d)
	case hit != nil:
		tx.After(func() { s.countHit(hit.entry) })
		return x.ID, raise(ctx, tx, x, hit.sensitivity)
	}
	return x.ID, nil
}

// enter finds the conversation and, for an answer's call, holds the answer so that it cannot be cancelled unseen.
func (d *draft) enter(ctx context.Context, tx *uow.Tx) error {
	if d.in.SessionID == nil {
		return nil
	}
	// As the foreign key will; before the answer, because whoever stops an answer locks in this order.
	if _, err := tx.PG.Exec(ctx, `SELECT 1 FROM chat_sessions WHERE id = $1 FOR KEY SHARE`, *d.in.SessionID); err != nil {
		return err
	}
	c, err := tx.ChatSession.Query().Where(chatsession.ID(*d.in.SessionID)).Only(ctx)
	if ent.IsNotFound(err) {
		return errs.Missing("conversation")
	}
	if err != nil {
		return err
	}
	if c.UserID != d.p.UserID {
		return errs.New(errs.Forbidden, "This is another person's conversation.")
	}
	d.sensitivity = c.Sensitivity
	if d.in.ReplyID == nil {
		return nil
	}
	m, err := tx.ChatMessage.Query().Where(chatmessage.ID(*d.in.ReplyID), chatmessage.SessionID(c.ID), chatmessage.RoleEQ(enum.MessageRoleAssistant)).ForShare().Only(ctx)
	if ent.IsNotFound(err) {
		return errs.Missing("answer")
	}
	if err != nil {
		return err
	}
	if m.CancelRequested || m.Status != enum.MessageStatusPending && m.Status != enum.MessageStatusStreaming {
		return errs.InState(errs.FailedPrecondition, string(m.Status), "This answer has ended; its calls are not made any more.")
	}
	return nil
}

// judge gives what a call needs, by the tool as it is and the conversation as it is.
func (s *Service) judge(t *ent.Tool, sensitivity enum.Sensitivity) approval.Requirement {
	return s.Approval.Judge(approval.Input{Risk: t.RiskLevel, RequiresApproval: t.RequiresApproval,
		OpenWorld: tool.ParseHints(t.Hints).OpenWorld, Session: sensitivity})
}

// ask makes the approval request of a call.
func (s *Service) ask(ctx context.Context, tx *uow.Tx, x *ent.ToolExecution, d *draft) error {
	at := now()
	a, err := tx.ToolApproval.Create().SetExecutionID(x.ID).SetUserID(x.UserID).SetArgsHash(x.ArgsHash).SetPolicyVersion(s.Approval.Version()).
		SetRequiresElevatedApproval(d.need.Elevated()).SetRequiredApprovals(d.need.RequiredApprovals).SetRequestedAt(at).
		SetExpiresAt(at.Add(d.need.RequestTTL)).SetNillableJustification(d.in.Justification).
		SetRiskAssessment(map[string]any{"risk": d.need.EffectiveRisk, "gate": d.need.Gate, "reasons": d.need.Reasons, "sensitivity": d.sensitivity}).
		Save(ctx)
	if err != nil {
		return err
	}
	approval.Note(tx, x, a.ID, enum.AuditActionApprovalRequested, fact.Requested,
		map[string]any{"risk": x.EffectiveRisk, "required": a.RequiredApprovals, "elevated": a.RequiresElevatedApproval})
	return nil
}

func requested(x *ent.ToolExecution, d *draft) audit.Entry {
	e := audit.Entry{Action: enum.AuditActionToolExecutionRequested, Resource: "ToolExecution", ResourceID: x.ID, ExecutionID: x.ID,
		Sensitive: d.sensitivity != "" && d.sensitivity.AtLeast(enum.SensitivityConfidential),
		Details:   map[string]any{"tool": d.t.Name, "toolVersion": d.t.Version, "risk": x.EffectiveRisk, "status": x.Status}}
	if x.SessionID != nil {
		e.SessionID = *x.SessionID
	}
	return e
}

// blocked records a refusal, whose own transaction is gone, and returns it; a refusal that cannot be recorded is a
// fault. What the caller got wrong is no refusal.
func (s *Service) blocked(ctx context.Context, in Input, err error) error {
	e, ok := errs.As(err)
	if !ok {
		return err
	}
	switch e.Code {
	case errs.Forbidden, errs.NotFound, errs.FailedPrecondition:
	default:
		return err
	}
	entry := audit.Entry{Action: enum.AuditActionToolExecutionBlocked, Resource: "ToolExecution", Failed: true, Error: string(e.Code), Details: map[string]any{}}
	if _, known := s.Tools.Lookup(in.Tool); known { // another name is the caller's own words
		entry.Details["tool"] = in.Tool
	}
	if in.SessionID != nil {
		entry.SessionID = *in.SessionID
	}
	if rec := s.Store.Audit.Record(ctx, entry); rec != nil {
		return fmt.Errorf("record a refusal (%s): %w", e.Code, rec)
	}
	return err
}
