package account

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// maxRolesInAll is how many roles there may be.
const maxRolesInAll = 200

// permissionNames are the names sorted and each once. BAD_USER_INPUT on field for one that no permission has.
func permissionNames(field string, names []string) ([]string, error) {
	for _, n := range names {
		if !authz.Known(n) {
			return nil, errs.Input(field, "There is no permission of that name. The query permissions lists them.")
		}
	}
	sorted := append([]string{}, names...) // never null in the audit row
	slices.Sort(sorted)
	return slices.Compact(sorted), nil
}

// changeOfRoles is the frame of every change of roles themselves: roles:write and what change_roles asks for.
func (s *Service) changeOfRoles(ctx context.Context, doing string, id uuid.UUID, act func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error) error {
	return s.administer(ctx, deed{doing, "roles", "write", "Role", id}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		if err := s.sensitive(ctx, tx, "change_roles"); err != nil {
			return err
		}
		return act(ctx, tx, p)
	})
}

// CreateRole makes a role of permissions. It needs roles:write and all of the permissions. UNAUTHENTICATED; FORBIDDEN;
// BAD_USER_INPUT; CONFLICT when there is a role of that name, without regard to case; RESOURCE_EXHAUSTED when there are
// 200; STEP_UP_REQUIRED and MFA_REQUIRED by setting. Audited as ROLE_CREATED.
func (s *Service) CreateRole(ctx context.Context, name, description string, permissions []string) (*ent.Role, error) {
	name, err := auth.NormalizeRoleName("input.name", name)
	if err != nil {
		return nil, err
	}
	if description, err = auth.NormalizeDescription("input.description", description); err != nil {
		return nil, err
	}
	if permissions, err = permissionNames("input.permissions", permissions); err != nil {
		return nil, err
	}
	id := uid.New(uid.Role)
	err = s.changeOfRoles(ctx, "createRole", id, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		if err := mayHandOut(tx, p, heldRole{id: id, name: name, permits: permissions}); err != nil {
			return err
		}
		var count int
		if err := tx.PG.QueryRow(ctx, `SELECT count(*) FROM roles`).Scan(&count); err != nil {
			return fmt.Errorf("count roles: %w", err)
		}
		if count >= maxRolesInAll {
			return errs.New(errs.ResourceExhausted, "There are %d roles already. Delete one that nobody needs.", count)
		}
		err := tx.Role.Create().SetID(id).SetName(name).SetDescription(description).Exec(ctx)
		if err != nil {
			return roleError("create a role", err)
		}
		if err := grant(ctx, tx, id, permissions); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionRoleCreated, Resource: "Role", ResourceID: id, Details: map[string]any{"role": name, "permissions": permissions}})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s.role(ctx, id)
}

// UpdateRole renames or describes a role that is not seeded; nil is unchanged. Open invitations follow the name. It needs
// roles:write and everything the role allows. UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; BAD_USER_INPUT; CONFLICT for a
// taken name; FAILED_PRECONDITION for a seeded role, and for another name when the server's settings use the old one, or a
// provider's the new one: a claim is never led to another role than the operator named by it;
// STEP_UP_REQUIRED and MFA_REQUIRED by setting. Audited as ROLE_UPDATED with the names of the fields.
func (s *Service) UpdateRole(ctx context.Context, id uuid.UUID, name, description *string) (*ent.Role, error) {
	if err := uid.Check(id, uid.Role, "id"); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		value     *(*string)
		field     string
		normalize func(field, s string) (string, error)
	}{{&name, "input.name", auth.NormalizeRoleName}, {&description, "input.description", auth.NormalizeDescription}} {
		if *f.value == nil {
			continue
		}
		n, err := f.normalize(f.field, **f.value)
		if err != nil {
			return nil, err
		}
		*f.value = &n
	}
	err := s.changeOfRoles(ctx, "updateRole", id, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		r, err := ownRole(ctx, tx, p, id)
		if err != nil {
			return err
		}
		return s.updateRole(ctx, tx, r, name, description)
	})
	if err != nil {
		return nil, err
	}
	return s.role(ctx, id)
}

func (s *Service) updateRole(ctx context.Context, tx *uow.Tx, r heldRole, name, description *string) error {
	change, fields := tx.Role.UpdateOneID(r.id), []string{}
	if differs(name, r.name) {
		// Under another name nobody would ask its holders for a second factor, and no claim would give or take it.
		if slices.Contains(s.cfg.Settings.MFARoles, r.name) || s.cfg.OIDC.Manages(r.name) {
			return errs.InState(errs.FailedPrecondition, "CONFIGURED", "The server's settings name this role, so it keeps its name.")
		}
		if s.cfg.OIDC.Manages(*name) {
			return errs.InState(errs.FailedPrecondition, "CONFIGURED", "The server's settings name a role of that name for sign-in providers, which would give and take this one. Choose another name.")
		}
		change.SetName(*name)
		fields = append(fields, "name")
	}
	if differs(description, r.description) {
		change.SetDescription(*description)
		fields = append(fields, "description")
	}
	if len(fields) == 0 {
		return nil
	}
	if err := change.Exec(ctx); err != nil {
		return roleError("change a role", err)
	}
	if fields[0] == "name" {
		if _, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET roles = array_replace(roles, $1, $2) WHERE `+openInvitation, r.name, *name); err != nil {
			return fmt.Errorf("rename a role in invitations: %w", err)
		}
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionRoleUpdated, Resource: "Role", ResourceID: r.id, Details: map[string]any{"fields": fields}})
	if differs(name, r.name) && slices.Contains(s.cfg.Settings.MFARoles, *name) {
		return s.revoked(ctx, tx, r.id) // its holders have no rights any more until they have a second factor
	}
	return nil
}

// openInvitation is the condition for those that name the role $1.
const openInvitation = `kind = 'INVITE' AND used_at IS NULL AND revoked_at IS NULL AND $1 = ANY(roles)`

// DeleteRole deletes a role that is not seeded: whoever holds it and open invitations lose it. It needs roles:write and
// everything the role allows. UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; BAD_USER_INPUT; FAILED_PRECONDITION for a seeded
// role and one that a provider's settings name; STEP_UP_REQUIRED and MFA_REQUIRED by setting. Audited as ROLE_DELETED.
func (s *Service) DeleteRole(ctx context.Context, id uuid.UUID) error {
	if err := uid.Check(id, uid.Role, "id"); err != nil {
		return err
	}
	return s.changeOfRoles(ctx, "deleteRole", id, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		r, err := ownRole(ctx, tx, p, id)
		if err != nil {
			return err
		}
		if s.cfg.OIDC.Manages(r.name) { // claims would give the next role of this name
			return errs.InState(errs.FailedPrecondition, "CONFIGURED", "The server's settings name this role for sign-in providers. Have it taken out of CDSA_OIDC_PROVIDERS first.")
		}
		var holders int
		if err := tx.PG.QueryRow(ctx, `SELECT count(*) FROM user_roles WHERE role_id = $1`, id).Scan(&holders); err != nil {
			return fmt.Errorf("count who holds a role: %w", err)
		}
		// A new role of this name may allow more: an invitation must not give that one.
		if _, err := tx.PG.Exec(ctx, `UPDATE mailed_tokens SET roles = array_remove(roles, $1) WHERE `+openInvitation, r.name); err != nil {
			return fmt.Errorf("take a role from invitations: %w", err)
		}
		if err := tx.Role.DeleteOneID(id).Exec(ctx); err != nil {
			return fmt.Errorf("delete a role: %w", err)
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionRoleDeleted, Resource: "Role", ResourceID: id,
			Details: map[string]any{"role": r.name, "permissions": r.permits, "holders": holders},
		})
		return s.revoked(ctx, tx, id)
	})
}

// SetRolePermissions sets what a role allows; seeded roles can be changed, but the administrators' always allows
// everything. Only the difference counts: it needs roles:write and every permission that is added or taken.
// UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; BAD_USER_INPUT; FAILED_PRECONDITION for less than everything for
// administrators; STEP_UP_REQUIRED and MFA_REQUIRED by setting. Audited as PERMISSION_GRANTED and PERMISSION_REVOKED,
// with the names.
func (s *Service) SetRolePermissions(ctx context.Context, id uuid.UUID, permissions []string) (*ent.Role, error) {
	if err := uid.Check(id, uid.Role, "roleId"); err != nil {
		return nil, err
	}
	permissions, err := permissionNames("permissions", permissions)
	if err != nil {
		return nil, err
	}
	err = s.changeOfRoles(ctx, "setRolePermissions", id, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		r, err := lockRole(ctx, tx, id)
		if err != nil {
			return err
		}
		without := func(all, some []string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(n string) bool { return slices.Contains(some, n) })
		}
		added, taken := without(permissions, r.permits), without(r.permits, permissions)
		if err := mayHandOut(tx, p, heldRole{id: id, name: r.name, permits: slices.Concat(added, taken)}); err != nil {
			return err
		}
		if r.name == authz.AdminRole && len(taken) > 0 {
			return errs.InState(errs.FailedPrecondition, "SYSTEM", "The role %s always allows everything, so that someone can mend what went wrong.", r.name)
		}
		return s.setPermissions(ctx, tx, r, added, taken)
	})
	if err != nil {
		return nil, err
	}
	return s.role(ctx, id)
}

func (s *Service) setPermissions(ctx context.Context, tx *uow.Tx, r heldRole, added, taken []string) error {
	if len(added)+len(taken) == 0 {
		return nil
	}
	if err := grant(ctx, tx, r.id, added); err != nil {
		return err
	}
	tag, err := tx.PG.Exec(ctx, `DELETE FROM role_permissions rp USING permissions p WHERE p.id = rp.permission_id AND rp.role_id = $1 AND p.name = ANY($2)`, r.id, taken)
	if err != nil {
		return fmt.Errorf("take permissions from a role: %w", err)
	}
	if n := tag.RowsAffected(); n != int64(len(taken)) {
		return fmt.Errorf("%d of %d permissions were taken from a role", n, len(taken))
	}
	for _, c := range []struct {
		action enum.AuditAction
		names  []string
	}{{enum.AuditActionPermissionGranted, added}, {enum.AuditActionPermissionRevoked, taken}} {
		if len(c.names) > 0 {
			tx.Audit(audit.Entry{Action: c.action, Resource: "Role", ResourceID: r.id, Details: map[string]any{"role": r.name, "permissions": c.names}})
		}
	}
	return s.revoked(ctx, tx, r.id)
}

// grant adds permissions that the role does not have. A name without a row is a fault: the seed writes them all.
func grant(ctx context.Context, tx *uow.Tx, role uuid.UUID, permissions []string) error {
	tag, err := tx.PG.Exec(ctx, `INSERT INTO role_permissions (role_id, permission_id) SELECT $1, id FROM permissions WHERE name = ANY($2)`, role, permissions)
	if err != nil {
		return fmt.Errorf("add permissions to a role: %w", err)
	}
	if n := tag.RowsAffected(); n != int64(len(permissions)) {
		return fmt.Errorf("%d of %d permissions were added to a role", n, len(permissions))
	}
	return nil
}

// ownRole locks a role that may be renamed and deleted, by someone who holds all that it allows.
func ownRole(ctx context.Context, tx *uow.Tx, p *authz.Principal, id uuid.UUID) (heldRole, error) {
	r, err := lockRole(ctx, tx, id)
	if err != nil {
		return r, err
	}
	if err := mayHandOut(tx, p, r); err != nil {
		return r, err
	}
	if r.system {
		return r, errs.InState(errs.FailedPrecondition, "SYSTEM", "The role %s belongs to the system. You can set what it allows, nothing else.", r.name)
	}
	return r, nil
}

func roleError(doing string, err error) error {
	if uow.IsDuplicate(err) {
		return errs.Wrap(err, errs.Conflict, "There is a role of that name. Choose another.")
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// role reads a role for whoever has just written it, who need not hold roles:read.
func (s *Service) role(ctx context.Context, id uuid.UUID) (*ent.Role, error) {
	r, err := s.cfg.Client.Role.Get(asSystem(ctx), id)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("role")
	}
	return r, err
}
