package seed

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent/role"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uow"
)

// rights adds the permissions and the roles that are missing. A permission that is new to a database with
// administrators is theirs at once, or no one could hand it out.
func rights(ctx context.Context, tx *uow.Tx) error {
	ids, added, err := permissions(ctx, tx)
	if err != nil {
		return err
	}
	existing, err := tx.Role.Query().All(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, r := range existing {
		there[r.Name] = true
	}
	for _, r := range authz.Roles {
		if there[r.Name] {
			continue
		}
		if err := newRole(ctx, tx, r, ids); err != nil {
			return fmt.Errorf("role %s: %w", r.Name, err)
		}
	}
	if !there[authz.AdminRole] || len(added) == 0 {
		return nil
	}
	return grantAdmins(ctx, tx, ids, added)
}

// permissions inserts what is missing and gives the ids of all by name, and the names of those it added.
func permissions(ctx context.Context, tx *uow.Tx) (ids map[string]uuid.UUID, added []string, err error) {
	rows, err := tx.Permission.Query().All(ctx)
	if err != nil {
		return nil, nil, err
	}
	ids = map[string]uuid.UUID{}
	for _, p := range rows {
		ids[p.Name] = p.ID
	}
	for _, p := range authz.Permissions {
		if _, ok := ids[p.Name()]; ok {
			continue
		}
		row, err := tx.Permission.Create().SetName(p.Name()).SetResource(p.Resource).SetAction(p.Action).SetDescription(p.Description).Save(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("permission %s: %w", p.Name(), err)
		}
		ids[p.Name()] = row.ID
		added = append(added, p.Name())
	}
	if len(added) > 0 {
		tx.Audit(audit.Entry{Action: enum.AuditActionSystemConfigChanged, Resource: "Permission", Details: map[string]any{"added": added}})
	}
	return ids, added, nil
}

func newRole(ctx context.Context, tx *uow.Tx, r authz.Role, ids map[string]uuid.UUID) error {
	holds := make([]uuid.UUID, len(r.Holds))
	for i, name := range r.Holds {
		id, ok := ids[name]
		if !ok {
			return fmt.Errorf("there is no permission %s", name)
		}
		holds[i] = id
	}
	row, err := tx.Role.Create().SetName(r.Name).SetDescription(r.Description).SetIsSystem(true).AddPermissionIDs(holds...).Save(ctx)
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionRoleCreated, Resource: "Role", ResourceID: row.ID, Details: map[string]any{"role": r.Name, "permissions": r.Holds}})
	return nil
}

func grantAdmins(ctx context.Context, tx *uow.Tx, ids map[string]uuid.UUID, added []string) error {
	admin, err := tx.Role.Query().Where(role.Name(authz.AdminRole)).OnlyID(ctx)
	if err != nil {
		return err
	}
	grant := make([]uuid.UUID, len(added))
	for i, name := range added {
		grant[i] = ids[name]
	}
	if err := tx.Role.UpdateOneID(admin).AddPermissionIDs(grant...).Exec(ctx); err != nil {
		return fmt.Errorf("grant new permissions: %w", err)
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionPermissionGranted, Resource: "Role", ResourceID: admin, Details: map[string]any{"role": authz.AdminRole, "permissions": added}})
	return nil
}
