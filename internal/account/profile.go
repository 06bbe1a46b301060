package account

import (
	"context"
	"fmt"

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

// UpdateUserInput changes what is not nil. Password is the caller's own.
type UpdateUserInput struct{ Email, Username, FullName, Password *string }

// normal puts what is to change in its stored form. BAD_USER_INPUT.
func (in UpdateUserInput) normal() (UpdateUserInput, error) {
	for _, f := range []struct {
		name      string
		value     **string
		normalize func(field, s string) (string, error)
	}{
		{"input.email", &in.Email, auth.NormalizeEmail}, {"input.username", &in.Username, auth.NormalizeUsername}, {"input.fullName", &in.FullName, auth.NormalizeFullName},
	} {
		if *f.value == nil {
			continue
		}
		s, err := f.normalize(f.name, **f.value)
		if err != nil {
			return in, err
		}
		*f.value = &s
	}
	return in, nil
}

func differs(to *string, from string) bool { return to != nil && *to != from }

// UpdateUser changes a profile: one's own, at a login session and not with an API token, or with users:write another's.
// One's own e-mail address needs one's password; another's profile needs everything that they may do. A new
// address is unverified, a link to confirm it is mailed to it, a notice to the former one, and links mailed before are
// void. Nothing happens when
// nothing differs. UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; BAD_USER_INPUT, for a wrong password too; CONFLICT when the
// address or the username is taken; FAILED_PRECONDITION for an erased user, and for one's own address without a password
// (an account of an OpenID Connect provider). Audited as USER_UPDATED with the names of the fields.
func (s *Service) UpdateUser(ctx context.Context, id uuid.UUID, in UpdateUserInput) (*ent.User, error) {
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if err := uid.Check(id, uid.User, "id"); err != nil {
		return nil, err
	}
	if in, err = in.normal(); err != nil {
		return nil, err
	}
	if own(p, id) {
		err = s.refused(ctx, "updateUser", "User", id, s.updateOwn(ctx, p, in))
	} else {
		err = s.updateOther(ctx, id, in)
	}
	if err != nil {
		return nil, err
	}
	return s.user(ctx, id)
}

func (s *Service) updateOwn(ctx context.Context, p *authz.Principal, in UpdateUserInput) error {
	if p.APIToken {
		return errs.New(errs.Forbidden, "A token for programs cannot change its owner's profile. Sign in to do that.")
	}
	if _, err := current(ctx); err != nil {
		return err
	}
	confirmed, err := s.confirmed(ctx, p.UserID, in)
	if err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, err := lockProfile(ctx, tx, p.UserID)
		if err != nil {
			return err
		}
		if !u.active || u.erased {
			return ended()
		}
		if err := s.standing(ctx, tx, p); err != nil { // a reset of the password meanwhile ended it
			return err
		}
		if differs(in.Email, u.email) && !confirmed {
			return errs.New(errs.Conflict, "Your e-mail address was changed by someone else at this moment. Look at it again.")
		}
		return s.update(ctx, tx, u, in, true)
	})
}

// confirmed asks for the password when one's own e-mail address is to change, before there is a transaction.
func (s *Service) confirmed(ctx context.Context, userID uuid.UUID, in UpdateUserInput) (bool, error) {
	if in.Email == nil {
		return false, nil
	}
	u, err := readProfile(ctx, s.cfg.Pool, userID)
	if err != nil || !differs(in.Email, u.email) {
		return false, err
	}
	if !u.password {
		return false, errs.InState(errs.FailedPrecondition, "NO_PASSWORD", "Your account has no password to confirm this with. Ask an administrator to change your e-mail address.")
	}
	if in.Password == nil || *in.Password == "" {
		return false, errs.Input("input.password", "Give your password to change your e-mail address.")
	}
	if err := s.reauthenticate(ctx, "input.password", *in.Password); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Service) updateOther(ctx context.Context, id uuid.UUID, in UpdateUserInput) error {
	return s.administer(ctx, deed{"updateUser", "users", "write", "User", id}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		u, err := lockProfile(ctx, tx, id)
		if err != nil {
			return err
		}
		if !p.Holds("users:write") { // no directive records it: anyone may call the field
			tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: "User", ResourceID: id, Details: map[string]any{"permission": "users:write", "operation": "updateUser"}})
		}
		if err := outranks(tx, p, u, "updateUser"); err != nil {
			return err
		}
		if u.erased {
			return erased()
		}
		return s.update(ctx, tx, u, in, false)
	})
}

// update writes what differs.
func (s *Service) update(ctx context.Context, tx *uow.Tx, u profile, in UpdateUserInput, own bool) error {
	change, fields := tx.User.UpdateOneID(u.id), []string{}
	if differs(in.Email, u.email) {
		change.SetEmail(*in.Email).SetIsVerified(false)
		fields = append(fields, "email")
	}
	if differs(in.Username, u.username) {
		change.SetUsername(*in.Username)
		fields = append(fields, "username")
	}
	if differs(in.FullName, u.fullName) {
		change.SetFullName(*in.FullName)
		fields = append(fields, "fullName")
	}
	if len(fields) == 0 {
		return nil
	}
	if fields[0] == "email" { // a reset at an address that is not verified yet must not lose the second factor
		if _, err := tx.PG.Exec(ctx, `INSERT INTO formerly_verified (user_id) SELECT id FROM users WHERE id = $1 AND is_verified ON CONFLICT DO NOTHING`, u.id); err != nil {
			return fmt.Errorf("note that an address was verified: %w", err)
		}
	}
	err := change.Exec(asSystem(ctx)) // whose row it is was decided above
	if uow.IsDuplicate(err) {
		return errs.Wrap(err, errs.Conflict, "This e-mail address or username is already in use. Choose another.")
	}
	if err != nil {
		return fmt.Errorf("change a user: %w", err)
	}
	if fields[0] == "email" {
		if err := s.mailChange(ctx, tx, u.id, u.email, *in.Email); err != nil {
			return err
		}
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionUserUpdated, Resource: "User", ResourceID: u.id, Details: map[string]any{"fields": fields, "own": own}})
	return nil
}

func erased() error {
	return errs.InState(errs.FailedPrecondition, "ERASED", "This user was erased and cannot come back. Make a new account.")
}

// SetUserActive deactivates a user, which ends their login sessions and API tokens, closes what they have open and voids
// links mailed to them, or reactivates one, who has to sign in anew. Nothing happens when it is so already. It needs
// users:write and everything that the user may do. UNAUTHENTICATED; FORBIDDEN; NOT_FOUND; BAD_USER_INPUT;
// FAILED_PRECONDITION for oneself, the last active administrator and an erased user. Audited as USER_DEACTIVATED or
// USER_REACTIVATED.
func (s *Service) SetUserActive(ctx context.Context, id uuid.UUID, active bool) (*ent.User, error) {
	if err := uid.Check(id, uid.User, "id"); err != nil {
		return nil, err
	}
	err := s.administer(ctx, deed{"setUserActive", "users", "write", "User", id}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		if own(p, id) && !active {
			return errs.InState(errs.FailedPrecondition, "SELF", "You cannot deactivate yourself. Ask another administrator.")
		}
		admins, err := rolesByName(ctx, tx, []string{authz.AdminRole}, "id") // its lock keeps the last of them
		if err != nil {
			return err
		}
		u, err := lockProfile(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := outranks(tx, p, u, "setUserActive"); err != nil {
			return err
		}
		switch {
		case u.erased:
			return erased()
		case u.active == active:
			return nil
		case active:
			return s.reactivate(ctx, tx, u)
		}
		if u.admin() {
			if err := anotherAdmin(ctx, tx, admins[0].id, id); err != nil {
				return err
			}
		}
		return s.deactivate(ctx, tx, u)
	})
	if err != nil {
		return nil, err
	}
	return s.user(ctx, id)
}

func (s *Service) deactivate(ctx context.Context, tx *uow.Tx, u profile) error {
	if err := tx.User.UpdateOneID(u.id).SetIsActive(false).SetTokensValidAfter(s.now()).Exec(ctx); err != nil {
		return fmt.Errorf("deactivate a user: %w", err)
	}
	count, err := s.end(ctx, tx, "deactivated", `user_id = $1`, u.id)
	if err != nil {
		return err
	}
	if err := s.voidMailed(ctx, tx, u.id, resetToken, verifyToken); err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionUserDeactivated, Resource: "User", ResourceID: u.id, Details: map[string]any{"ended": count}})
	return s.revoked(ctx, tx, u.id)
}

func (s *Service) reactivate(ctx context.Context, tx *uow.Tx, u profile) error {
	if err := tx.User.UpdateOneID(u.id).SetIsActive(true).Exec(ctx); err != nil {
		return fmt.Errorf("reactivate a user: %w", err)
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionUserReactivated, Resource: "User", ResourceID: u.id})
	return s.revoked(ctx, tx, u.id)
}
