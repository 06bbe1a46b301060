package approval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/delegate"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uow"
)

// people reads who is active and what their roles give, now: rights are never taken from what a token or a cache said
// when something is decided or begun.
const people = `SELECT u.id, u.username::text, u.is_superuser,
	u.totp_enabled_at IS NULL AND EXISTS (SELECT FROM user_roles h JOIN roles r ON r.id = h.role_id WHERE h.user_id = u.id AND r.name = ANY($2)),
	COALESCE(array_agg(DISTINCT p.resource || ':' || p.action) FILTER (WHERE p.id IS NOT NULL), '{}')
FROM users u
LEFT JOIN user_roles ur ON ur.user_id = u.id
LEFT JOIN role_permissions rp ON rp.role_id = ur.role_id
LEFT JOIN permissions p ON p.id = rp.permission_id
WHERE u.id = ANY($1) AND u.is_active AND u.erased_at IS NULL
GROUP BY u.id`

// Load reads the principals of users from the database in the caller's transaction, without login sessions. Who is
// deactivated, erased or unknown is not in the map; who must enrol a second factor first has no rights.
func (s Settings) Load(ctx context.Context, tx pgx.Tx, ids ...uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
	rows, err := tx.Query(ctx, people, ids, s.MFARoles)
	if err != nil {
		return nil, fmt.Errorf("read rights: %w", err)
	}
	defer rows.Close()
	out := map[uuid.UUID]*authz.Principal{}
	for rows.Next() {
		var id uuid.UUID
		var name string
		var superuser, enrol bool
		var perms []string
		if err := rows.Scan(&id, &name, &superuser, &enrol, &perms); err != nil {
			return nil, fmt.Errorf("read rights: %w", err)
		}
		if enrol {
			superuser, perms = false, nil
		}
		out[id] = authz.NewUser(id, name, uuid.Nil, superuser, time.Time{}, perms...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rights: %w", err)
	}
	return out, nil
}

// Requester is who asked for a call with the rights they have at this moment, which an API token that asked for it narrows;
// nil when they, or the token, may not use the system any more.
func (s Settings) Requester(ctx context.Context, tx pgx.Tx, x *ent.ToolExecution) (*authz.Principal, error) {
	loaded, err := s.Load(ctx, tx, x.UserID)
	if err != nil {
		return nil, err
	}
	return delegate.Narrow(ctx, tx, loaded[x.UserID], delegate.Execution, x.ID)
}

// AnswerEnded is why the answer that a call was made for has no use for it any more, "" while it has or when there is
// none: BY_REQUESTER when its user stopped it, AUTHORIZATION_LOST when it failed, which lets nothing go on in its name,
// SESSION_DELETED when it is gone. Whoever ends an answer ends its open calls too; this is for what was left over.
func AnswerEnded(ctx context.Context, tx pgx.Tx, x *ent.ToolExecution) (enum.ToolReasonCode, error) {
	switch {
	case x.ReplyID == nil:
		return "", nil
	case x.SessionID == nil:
		return enum.ToolReasonCodeSessionDeleted, nil
	}
	var status enum.MessageStatus
	var stop bool
	err := tx.QueryRow(ctx, `SELECT status, cancel_requested FROM chat_messages WHERE id = $1`, *x.ReplyID).Scan(&status, &stop)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return enum.ToolReasonCodeSessionDeleted, nil
	case err != nil:
		return "", fmt.Errorf("read the answer of call %s: %w", x.ID, err)
	case stop || status == enum.MessageStatusCancelled:
		return enum.ToolReasonCodeByRequester, nil
	case status != enum.MessageStatusPending && status != enum.MessageStatusStreaming:
		return enum.ToolReasonCodeAuthorizationLost, nil
	}
	return "", nil
}

// rightsOf gives what the loaded principals may decide; the unknown nothing.
func rightsOf(loaded map[uuid.UUID]*authz.Principal) func(uuid.UUID) Rights {
	return func(id uuid.UUID) Rights {
		p := loaded[id]
		return Rights{Decide: p.Can("approvals:decide"), DecideElevated: p.Can("approvals:decide_elevated")}
	}
}

// MayCall says whether p may call a tool that needs the permission besides tools:execute. Where it lets a call go on,
// NoteCall belongs to the unit of work that does.
func MayCall(p *authz.Principal, required *string) bool {
	return p.Can("tools:execute") && (required == nil || *required == "" || p.Can(*required))
}

// NoteCall records that p, whose right to call the tool lets this unit of work go on, has it as a superuser alone.
func NoteCall(tx *uow.Tx, p *authz.Principal, t *ent.Tool) {
	needed := []string{"tools:execute"}
	if t.RequiredPermission != nil {
		needed = append(needed, *t.RequiredPermission)
	}
	noteBypass(tx, p, "Tool", t.ID, needed...)
}

// noteDecisions records whose approvals make up the quorum of a request as superusers' alone.
func (m *matter) noteDecisions(tx *uow.Tx) {
	elevated := false // by somebody's role
	for _, d := range m.a.Decisions {
		p := m.people[d.ApproverID]
		elevated = elevated || p.Can("approvals:decide") && p.Holds("approvals:decide_elevated")
	}
	needed := []string{"approvals:decide"}
	if m.a.RequiresElevatedApproval && !elevated {
		needed = append(needed, "approvals:decide_elevated")
	}
	for _, d := range m.a.Decisions {
		noteBypass(tx, m.people[d.ApproverID], "ToolApproval", m.a.ID, needed...)
	}
}

// noteBypass records which of the permissions p has without holding them. p need not be who acts: a right is judged when
// something is decided or begun, for everyone whose right it takes.
func noteBypass(tx *uow.Tx, p *authz.Principal, entity string, id uuid.UUID, permissions ...string) {
	var passed []string
	for _, perm := range permissions {
		if perm != "" && p.Can(perm) && !p.Holds(perm) && !slices.Contains(passed, perm) {
			passed = append(passed, perm)
		}
	}
	if len(passed) > 0 {
		tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: entity, ResourceID: id,
			Details: map[string]any{"entity": entity, "permissions": passed, "userId": p.UserID}})
	}
}

// secondFactorOf says whether p has a second factor and when the login session last gave it; nil for never, and for a
// principal without a login session. A session that a refresh replaced counts: its access token is still good.
func secondFactorOf(ctx context.Context, tx pgx.Tx, p *authz.Principal) (enrolled bool, at *time.Time, err error) {
	err = tx.QueryRow(ctx, `SELECT u.totp_enabled_at IS NOT NULL, s.mfa_at FROM users u
		LEFT JOIN sessions s ON s.id = $1 AND s.user_id = u.id AND s.kind = 'INTERACTIVE' AND s.revoked_at IS NULL WHERE u.id = $2`, p.SessionID, p.UserID).Scan(&enrolled, &at)
	if err != nil {
		return false, nil, fmt.Errorf("read the second factor: %w", err)
	}
	return enrolled, at, nil
}
