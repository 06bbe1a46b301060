package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// Invitation is a right to register.
type Invitation struct {
	ID                   uuid.UUID
	Email                string
	Roles                []string
	CreatedAt, ExpiresAt time.Time
	InvitedBy            uuid.UUID
}

const (
	maxInvitations   = 100 // that stand at once: what a list shows
	maxInvitationAge = 30 * 24 * time.Hour
)

// standingInvitation is a condition on mailed_tokens; $1 is now.
const standingInvitation = `kind = 'INVITE' AND used_at IS NULL AND revoked_at IS NULL AND expires_at > $1`

// Invite makes an invitation for an address and gives its token, which is also mailed there and never shown again. One
// that stands for the address ends. Names of roles: nil is the default role, empty is none; a nil time is in seven
// days. It needs users:write and everything the roles allow. FORBIDDEN; BAD_USER_INPUT; CONFLICT when there is an
// account of the address already, or somebody invites it at the same instant; FAILED_PRECONDITION where registration
// is closed; RESOURCE_EXHAUSTED when too many stand; STEP_UP_REQUIRED and MFA_REQUIRED by setting, for other roles than
// the default one. Audited as USER_INVITED, without the address.
func (s *Service) Invite(ctx context.Context, email string, roles []string, expires *time.Time) (Invitation, string, error) {
	p, err := authz.Require(ctx, "users", "write")
	if err != nil {
		return Invitation{}, "", s.refused(ctx, "inviteUser", "Invitation", uuid.Nil, err)
	}
	if s.cfg.Registration != string(config.RegistrationOpen) && s.cfg.Registration != string(config.RegistrationInvite) {
		return Invitation{}, "", errs.InState(errs.FailedPrecondition, "CLOSED", "Registration is closed here, with an invitation too. Make the account yourself.")
	}
	m := mailed{kind: inviteToken, roles: roles, by: p.UserID}
	if m.email, err = auth.NormalizeEmail("input.email", email); err != nil {
		return Invitation{}, "", err
	}
	if roles == nil {
		m.roles = []string{authz.DefaultRole}
	}
	if len(roles) > maxRoles {
		return Invitation{}, "", errs.Input("input.roles", "These are more than %d roles.", maxRoles)
	}
	if expires != nil {
		m.expires = expires.UTC().Truncate(time.Microsecond)
		if now := s.now(); !m.expires.After(now) || m.expires.Sub(now) > maxInvitationAge {
			return Invitation{}, "", errs.Input("input.expiresAt", "An invitation ends in the future and within %d days.", maxInvitationAge/(24*time.Hour))
		}
	}
	var inv Invitation
	err = s.administer(ctx, deed{"inviteUser", "users", "write", "Invitation", uuid.Nil}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) (err error) {
		if handsOutMore(m.roles) {
			if err := s.sensitive(ctx, tx, "change_roles"); err != nil {
				return err
			}
		}
		inv, err = s.invite(ctx, tx, p, m)
		return err
	})
	if uow.IsDuplicate(err) {
		return Invitation{}, "", errs.Wrap(err, errs.Conflict, "Somebody else invites this address at the same time. Look at the invitations and try again.")
	}
	if err != nil {
		return Invitation{}, "", err
	}
	return inv, s.mailedToken(inviteToken, inv.ID), nil
}

func (s *Service) invite(ctx context.Context, tx *uow.Tx, p *authz.Principal, m mailed) (Invitation, error) {
	roles, err := rolesByName(ctx, tx, m.roles, "input.roles")
	if err != nil {
		return Invitation{}, err
	}
	m.roles = make([]string, len(roles))
	for i, r := range roles {
		if err := mayHandOut(tx, p, r); err != nil {
			return Invitation{}, err
		}
		m.roles[i] = r.name
	}
	slices.Sort(m.roles)
	if err := s.roomToInvite(ctx, tx, m.email); err != nil {
		return Invitation{}, err
	}
	id, created, ends, err := s.post(ctx, tx, m)
	if err != nil {
		return Invitation{}, err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionUserInvited, Resource: "Invitation", ResourceID: id, Details: map[string]any{"roles": m.roles}})
	return Invitation{ID: id, Email: m.email, Roles: m.roles, CreatedAt: created, ExpiresAt: ends, InvitedBy: m.by}, nil
}

// roomToInvite ends a former invitation of an address, and refuses one of an account and more than can be listed.
func (s *Service) roomToInvite(ctx context.Context, tx *uow.Tx, email string) error {
	rows, err := tx.PG.Query(ctx, `UPDATE mailed_tokens SET revoked_at = $1 WHERE kind = 'INVITE' AND used_at IS NULL AND revoked_at IS NULL AND email = $2 RETURNING id, expires_at > $1`, s.now(), email)
	if err != nil {
		return fmt.Errorf("replace an invitation: %w", err)
	}
	var (
		id    uuid.UUID
		stood bool
	)
	_, err = pgx.ForEachRow(rows, []any{&id, &stood}, func() error {
		if stood {
			tx.Audit(audit.Entry{Action: enum.AuditActionInvitationRevoked, Resource: "Invitation", ResourceID: id, Details: map[string]any{"replaced": true}})
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("replace an invitation: %w", err)
	}
	var (
		taken bool
		n     int
	)
	err = tx.PG.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users WHERE email = $2), (SELECT count(*) FROM mailed_tokens WHERE `+standingInvitation+`)`, s.now(), email).Scan(&taken, &n)
	if err != nil {
		return fmt.Errorf("count invitations: %w", err)
	}
	if taken {
		return errs.New(errs.Conflict, "There is an account of this e-mail address already.")
	}
	if n >= maxInvitations {
		return errs.New(errs.ResourceExhausted, "%d invitations stand already. Take some back or wait until they are used.", n)
	}
	return nil
}

// RevokeInvitation takes an invitation back; one that was taken back already stays so. It needs users:write.
// UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; FAILED_PRECONDITION when it was used. Audited as INVITATION_REVOKED.
func (s *Service) RevokeInvitation(ctx context.Context, id uuid.UUID) error {
	return s.administer(ctx, deed{"revokeInvitation", "users", "write", "Invitation", id}, func(ctx context.Context, tx *uow.Tx, _ *authz.Principal) error {
		var used, revoked bool
		err := tx.PG.QueryRow(ctx, `SELECT used_at IS NOT NULL, revoked_at IS NOT NULL FROM mailed_tokens WHERE id = $1 AND kind = 'INVITE' FOR UPDATE`, id).Scan(&used, &revoked)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return errs.Missing("invitation")
		case err != nil:
			return fmt.Errorf("read an invitation: %w", err)
		case used:
			return errs.InState(errs.FailedPrecondition, "USED", "This invitation was used. Deactivate the account instead.")
		case revoked:
			return nil
		}
		if _, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET revoked_at = $2 WHERE id = $1`, id, s.now()); err != nil {
			return fmt.Errorf("take an invitation back: %w", err)
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionInvitationRevoked, Resource: "Invitation", ResourceID: id})
		return nil
	})
}

// Invitations lists those that were neither used, revoked nor outlived, newest first. It needs users:write. FORBIDDEN.
func (s *Service) Invitations(ctx context.Context) ([]Invitation, error) {
	if _, err := authz.Require(ctx, "users", "write"); err != nil {
		return nil, s.refused(ctx, "invitations", "Invitation", uuid.Nil, err)
	}
	rows, err := s.cfg.Pool.Query(ctx, `SELECT id, email::text, roles, created_at, expires_at, invited_by FROM mailed_tokens WHERE `+standingInvitation+` ORDER BY created_at DESC, id LIMIT $2`, s.now(), maxInvitations)
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (v Invitation, err error) {
		err = row.Scan(&v.ID, &v.Email, &v.Roles, &v.CreatedAt, &v.ExpiresAt, &v.InvitedBy)
		v.CreatedAt, v.ExpiresAt = v.CreatedAt.UTC(), v.ExpiresAt.UTC()
		return v, err
	})
	if err != nil {
		return nil, fmt.Errorf("list invitations: %w", err)
	}
	return list, nil
}

func notInvited() error {
	return errs.New(errs.Forbidden, "This needs a valid invitation for this e-mail address. Ask an administrator for a new one.")
}

// invitation locks the one of a token and gives it with the roles it gives. Roles are locked first, then who made it,
// then the invitation, as whoever changes a role does. FORBIDDEN when there is none for the address that stands, or when
// who made it may not give its roles any more; CONFLICT when its roles change at this moment.
func (s *Service) invitation(ctx context.Context, tx *uow.Tx, token, email string) (uuid.UUID, []heldRole, error) {
	id, ok := s.parseMailed(inviteToken, token)
	if !ok {
		return id, nil, notInvited()
	}
	names, by, err := s.openFor(ctx, tx, id, email, "")
	if err != nil {
		return id, nil, err
	}
	roles, err := lockRoles(ctx, tx, `name = ANY($1) ORDER BY id FOR NO KEY UPDATE`, names)
	if err != nil {
		return id, nil, err
	}
	inviter, err := s.invitedBy(ctx, tx, by)
	if err != nil {
		return id, nil, err
	}
	now, _, err := s.openFor(ctx, tx, id, email, " FOR UPDATE")
	if err != nil {
		return id, nil, err
	}
	if !slices.Equal(now, names) {
		return id, nil, errs.New(errs.Conflict, "What this invitation gives is being changed at this moment. Try again.")
	}
	for _, r := range roles {
		if slices.ContainsFunc(r.permits, func(p string) bool { return !inviter.Can(p) }) {
			return id, nil, notInvited()
		}
		if slices.ContainsFunc(r.permits, func(p string) bool { return !inviter.Holds(p) }) {
			tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: "Role", ResourceID: r.id, Details: map[string]any{"operation": "register by invitation", "userId": by}})
		}
	}
	return id, roles, nil
}

// openFor reads the roles and the maker of an invitation that stands for an address. FORBIDDEN.
func (s *Service) openFor(ctx context.Context, tx *uow.Tx, id uuid.UUID, email, lock string) (roles []string, by uuid.UUID, err error) {
	err = tx.PG.QueryRow(ctx, `SELECT roles, invited_by FROM mailed_tokens WHERE `+standingInvitation+` AND id = $2 AND email = $3`+lock, s.now(), id, email).Scan(&roles, &by)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, by, notInvited()
	}
	if err != nil {
		return nil, by, fmt.Errorf("read an invitation: %w", err)
	}
	return roles, by, nil
}

// invitedBy gives what an inviter may do at this moment and until commit. FORBIDDEN when they may not invite any more, be it
// only until they have enrolled a second factor.
func (s *Service) invitedBy(ctx context.Context, tx *uow.Tx, id uuid.UUID) (*authz.Principal, error) {
	var (
		superuser, enrol bool
		permits          []string
	)
	err := tx.PG.QueryRow(ctx, `SELECT u.is_superuser FROM users u WHERE u.id = $1 AND u.is_active AND u.erased_at IS NULL FOR SHARE`, id).Scan(&superuser)
	if err == nil { // a statement of its own: it sees what the lock waited for
		err = tx.PG.QueryRow(ctx, `SELECT `+mustEnrol+`, `+permissionsOf+` FROM users u WHERE u.id = $1`, id, s.cfg.Settings.MFARoles).Scan(&enrol, &permits)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, notInvited()
	}
	if err != nil {
		return nil, fmt.Errorf("read an inviter: %w", err)
	}
	p := principal(id, "", uuid.Nil, superuser, time.Time{}, enrol, permits)
	if !p.Can("users:write") {
		return nil, notInvited()
	}
	return p, nil
}

// accept spends an invitation that is locked.
func (s *Service) accept(ctx context.Context, tx *uow.Tx, id, userID uuid.UUID) error {
	if _, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET used_at = $2, user_id = $3 WHERE id = $1`, id, s.now(), userID); err != nil {
		return fmt.Errorf("spend an invitation: %w", err)
	}
	return nil
}
