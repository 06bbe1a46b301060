package seed

import (
	"context"
	"crypto/rand"
	"fmt"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/role"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// AdminUsername is the first administrator's login name.
const AdminUsername = "admin"

// admin is a first administrator about to be made; the zero one makes none.
type admin struct {
	email, hash string
	generated   string // the password, when it was made up
}

// prepareAdmin checks and hashes before the unit of work begins, when it looks as if an administrator is needed.
func prepareAdmin(ctx context.Context, client *ent.Client, in Input) (admin, error) {
	if in.AdminEmail == "" {
		return admin{}, nil
	}
	anyone, err := client.User.Query().Exist(ctx)
	if err != nil {
		return admin{}, fmt.Errorf("seed: %w", err)
	}
	if anyone {
		return admin{}, nil
	}
	var a admin
	if a.email, err = auth.NormalizeEmail("CDSA_ADMIN_EMAIL", in.AdminEmail); err != nil {
		return admin{}, err
	}
	password := in.AdminPassword
	if password == "" {
		a.generated = rand.Text() // 130 bits
		password = a.generated
	} else if err := auth.CheckPassword("CDSA_ADMIN_PASSWORD", password, a.email, AdminUsername); err != nil {
		return admin{}, err
	}
	if a.hash, err = in.HashPassword(ctx, password); err != nil {
		return admin{}, fmt.Errorf("seed: the first administrator's password: %w", err)
	}
	return a, nil
}

// insert makes the administrator unless there is a user by now.
func (a admin) insert(ctx context.Context, tx *uow.Tx) (made bool, err error) {
	if a.hash == "" {
		return false, nil
	}
	anyone, err := tx.User.Query().Exist(ctx)
	if err != nil || anyone {
		return false, err
	}
	adminRole, err := tx.Role.Query().Where(role.Name(authz.AdminRole)).OnlyID(ctx)
	if err != nil {
		return false, err
	}
	id := uid.New(uid.User)
	// The operator who set the address has verified it.
	err = tx.User.Create().SetID(id).SetEmail(a.email).SetUsername(AdminUsername).SetFullName("Administrator").SetHashedPassword(a.hash).
		SetIsVerified(true).AddRoleIDs(adminRole).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("first administrator: %w", err)
	}
	if err := tx.Subject(id); err != nil {
		return false, err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionUserCreated, Resource: "User", ResourceID: id})
	tx.Audit(audit.Entry{Action: enum.AuditActionRoleAssigned, Resource: "User", ResourceID: id, Details: map[string]any{"role": authz.AdminRole}})
	return true, nil
}
