package account

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// Bounds of a request about roles.
const (
	maxRoles    = 50  // given to one person at once
	maxRoleName = 200 // bytes
)

// heldRole is a role with what it allows.
type heldRole struct {
	id                uuid.UUID
	name, description string
	system            bool
	permits           []string
}

// rolesByName reads and locks roles, in the order of their ids, so that what they allow stays until commit.
// BAD_USER_INPUT on field for a name that no role has.
func rolesByName(ctx context.Context, tx *uow.Tx, names []string, field string) ([]heldRole, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if slices.ContainsFunc(names, noRoleName) {
		return nil, unknownRole(field)
	}
	roles, err := lockRoles(ctx, tx, `name = ANY($1) ORDER BY id FOR NO KEY UPDATE`, names)
	if err == nil && len(roles) != len(names) {
		err = unknownRole(field)
	}
	return roles, err
}

// lockRole reads and locks one role so that nobody is given it meanwhile. NOT_FOUND.
func lockRole(ctx context.Context, tx *uow.Tx, id uuid.UUID) (heldRole, error) {
	roles, err := lockRoles(ctx, tx, `id = $1 FOR UPDATE`, id)
	if err != nil {
		return heldRole{}, err
	}
	if len(roles) == 0 {
		return heldRole{}, errs.Missing("role")
	}
	return roles[0], nil
}

// lockRoles locks, then reads: a statement that waited for the lock would still see what the role allowed when it began.
func lockRoles(ctx context.Context, tx *uow.Tx, which string, arg any) ([]heldRole, error) {
	rows, err := tx.PG.Query(ctx, `SELECT id FROM roles WHERE `+which, arg)
	if err != nil {
		return nil, fmt.Errorf("lock roles: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return nil, fmt.Errorf("lock roles: %w", err)
	}
	rows, err = tx.PG.Query(ctx, `SELECT r.id, r.name, r.description, r.is_system, ARRAY(SELECT p.name FROM role_permissions rp
		JOIN permissions p ON p.id = rp.permission_id WHERE rp.role_id = r.id ORDER BY p.name) FROM roles r WHERE r.id = ANY($1) ORDER BY r.id`, ids)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	roles, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r heldRole, err error) {
		err = row.Scan(&r.id, &r.name, &r.description, &r.system, &r.permits)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	return roles, nil
}

// noRoleName says of what no role can be called, that the database need not be asked: it takes no NUL.
func noRoleName(name string) bool { return len(name) > maxRoleName || strings.ContainsRune(name, 0) }

func unknownRole(field string) error {
	return errs.Input(field, "There is no role of that name. The query roles lists them.")
}

// mayHandOut lets no one give or take a role that allows what they may not do themselves. A superuser may; that is
// recorded.
func mayHandOut(tx *uow.Tx, p *authz.Principal, r heldRole) error {
	bypass := false
	for _, name := range r.permits {
		if !p.Can(name) {
			return errs.New(errs.Forbidden, "The role %s allows %s, which you do not hold. Ask someone who does.", r.name, name)
		}
		bypass = bypass || !p.Holds(name)
	}
	if bypass {
		tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: "Role", ResourceID: r.id, Details: map[string]any{"operation": "hand out a role"}})
	}
	return nil
}

// handsOutMore says whether a new account is to get other roles than the default one, which is a change of roles.
func handsOutMore(names []string) bool {
	return slices.ContainsFunc(names, func(r string) bool { return r != authz.DefaultRole })
}

// AssignRole gives a user a role, by its name; nothing happens when they have it. It needs roles:write, everything the
// role allows and everything the user may do already, and of callers with a second factor a fresh one. FORBIDDEN;
// STEP_UP_REQUIRED; MFA_REQUIRED; NOT_FOUND; BAD_USER_INPUT for an unknown role; FAILED_PRECONDITION for a user who is
// deactivated.
func (s *Service) AssignRole(ctx context.Context, userID uuid.UUID, role string) (*ent.User, error) {
	return s.changeRole(ctx, "assignRole", userID, role, func(ctx context.Context, tx *uow.Tx, u profile, r heldRole, has bool) error {
		if has {
			return nil
		}
		if !u.active || u.erased {
			return errs.InState(errs.FailedPrecondition, "INACTIVE", "This user is deactivated. Reactivate them before giving them a role.")
		}
		if err := tx.Role.UpdateOneID(r.id).AddUserIDs(u.id).Exec(ctx); err != nil {
			return fmt.Errorf("assign a role: %w", err)
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionRoleAssigned, Resource: "User", ResourceID: u.id, Details: map[string]any{"role": r.name}})
		return s.revoked(ctx, tx, u.id)
	})
}

// UnassignRole takes a role from a user, by its name; nothing happens when they do not have it. It needs roles:write,
// everything the role allows and everything the user may do, and of callers with a second factor a fresh one. FORBIDDEN;
// STEP_UP_REQUIRED; MFA_REQUIRED; NOT_FOUND; BAD_USER_INPUT for an unknown role; FAILED_PRECONDITION for the last active
// administrator.
func (s *Service) UnassignRole(ctx context.Context, userID uuid.UUID, role string) (*ent.User, error) {
	return s.changeRole(ctx, "unassignRole", userID, role, func(ctx context.Context, tx *uow.Tx, u profile, r heldRole, has bool) error {
		if !has {
			return nil
		}
		if r.name == authz.AdminRole {
			if err := anotherAdmin(ctx, tx, r.id, u.id); err != nil {
				return err
			}
		}
		if err := tx.Role.UpdateOneID(r.id).RemoveUserIDs(u.id).Exec(ctx); err != nil {
			return fmt.Errorf("unassign a role: %w", err)
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionRoleUnassigned, Resource: "User", ResourceID: u.id, Details: map[string]any{"role": r.name}})
		return s.revoked(ctx, tx, u.id)
	})
}

type roleChange func(ctx context.Context, tx *uow.Tx, u profile, r heldRole, has bool) error

// changeRole locks the role, then the user, always in this order, and makes the change.
func (s *Service) changeRole(ctx context.Context, doing string, userID uuid.UUID, role string, change roleChange) (*ent.User, error) {
	if err := uid.Check(userID, uid.User, "userId"); err != nil {
		return nil, err
	}
	err := s.administer(ctx, deed{doing, "roles", "write", "User", userID}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		if err := s.sensitive(ctx, tx, "change_roles"); err != nil {
			return err
		}
		roles, err := rolesByName(ctx, tx, []string{role}, "role")
		if err != nil {
			return err
		}
		if err := mayHandOut(tx, p, roles[0]); err != nil {
			return err
		}
		u, err := lockProfile(ctx, tx, userID)
		if err != nil {
			return err
		}
		if err := outranks(tx, p, u, doing); err != nil {
			return err
		}
		return change(ctx, tx, u, roles[0], slices.Contains(u.roles, roles[0].name))
	})
	if err != nil {
		return nil, err
	}
	return s.user(ctx, userID)
}

// anotherAdmin refuses when no active administrator besides userID is left. The lock on the role makes it hold until
// commit.
func anotherAdmin(ctx context.Context, tx *uow.Tx, adminRole, userID uuid.UUID) error {
	var another bool
	err := tx.PG.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_roles ur JOIN users u ON u.id = ur.user_id
		WHERE ur.role_id = $1 AND u.id <> $2 AND u.is_active AND u.erased_at IS NULL)`, adminRole, userID).Scan(&another)
	if err != nil {
		return fmt.Errorf("look for another administrator: %w", err)
	}
	if !another {
		return errs.InState(errs.FailedPrecondition, "LAST_ADMIN", "This is the last active administrator. Make someone else one first.")
	}
	return nil
}
