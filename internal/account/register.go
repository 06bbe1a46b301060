package account

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/config"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// RegisterInput is what a person says of themselves.
type RegisterInput struct {
	Email, Username, Password, FullName, Invitation string
}

// Register makes an account and signs it in. Anyone may call it where registration is open; by invitation whoever has
// an invitation for the address, which is then spent. It gives the roles of the invitation, or without one the default
// role. A link that confirms the address is mailed, to the invited as well: who invited them has seen their invitation,
// and could register with it in their place. FORBIDDEN where
// registration is closed and, in one sentence, for an invitation that is missing, made up, used, void or for another
// address, whether there is such an account or not: what is made up is refused at once, anything else in one time.
// BAD_USER_INPUT; CONFLICT when the e-mail address or the username is taken, without saying which; RATE_LIMITED when
// too many of the caller's network registered lately.
func (s *Service) Register(ctx context.Context, in RegisterInput) (Signed, error) {
	ctx = anonymous(ctx)
	invited := in.Invitation != ""
	switch s.cfg.Registration {
	case string(config.RegistrationOpen):
	case string(config.RegistrationInvite):
		invited = true
	default:
		return Signed{}, errs.New(errs.Forbidden, "Registration is not open here. Ask an administrator for an account.")
	}
	id, genuine := s.parseMailed(inviteToken, in.Invitation)
	if invited && !genuine { // made up: that takes no database and no hash to see
		if in.Invitation != "" {
			s.strays.add(ctx, "invite")
		}
		return Signed{}, notInvited()
	}
	n, err := s.newcomer(ctx, in.Email, in.Username, in.Password, in.FullName, s.registering)
	if err != nil {
		return Signed{}, err
	}
	o, err := uow.Value(ctx, s.cfg.Store, func(ctx context.Context, tx *uow.Tx) (opened, error) {
		return s.register(ctx, tx, n, invited, in.Invitation)
	})
	if genuine { // a stolen invitation is worth a record
		err = s.refused(ctx, "register", "Invitation", id, err)
	}
	if err != nil {
		return Signed{}, err
	}
	s.touches.login(n.id, s.now())
	return s.signed(ctx, o)
}

// register makes the account of a newcomer and opens its first session.
func (s *Service) register(ctx context.Context, tx *uow.Tx, n newcomer, invited bool, token string) (opened, error) {
	var (
		inv   uuid.UUID
		roles []heldRole
		err   error
	)
	if invited {
		inv, roles, err = s.invitation(ctx, tx, token, n.email)
	} else {
		roles, err = rolesByName(ctx, tx, []string{authz.DefaultRole}, "input")
	}
	if err != nil {
		return opened{}, err
	}
	if err := n.create(asSystem(ctx), tx, roles); err != nil {
		return opened{}, err
	}
	actor := audit.Entry{ActorID: n.id, ActorName: n.username}
	if invited {
		actor.Details = map[string]any{"invitation": inv}
		if err := s.accept(ctx, tx, inv, n.id); err != nil {
			return opened{}, err
		}
	}
	if err := s.mailNewcomer(ctx, tx, n.id, n.email); err != nil {
		return opened{}, err
	}
	n.audit(tx, roles, actor)
	o, err := s.openFirst(ctx, tx, n.id, nil)
	if err != nil {
		return opened{}, err
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionLoginSucceeded, Resource: "Session", ResourceID: o.session,
		SessionID: o.session, ActorID: n.id, ActorName: n.username,
	})
	return o, nil
}

// newcomer is an account about to be made: checked, normalised, its password hashed.
type newcomer struct {
	id                        uuid.UUID
	email, username, fullName string
	hash                      string
}

// newcomer makes one. admit, where there is one, is asked before the password is scored and hashed.
func (s *Service) newcomer(ctx context.Context, email, username, password, fullName string, admit func(context.Context) error) (newcomer, error) {
	n := newcomer{id: uid.New(uid.User)}
	var err error
	if n.email, err = auth.NormalizeEmail("input.email", email); err != nil {
		return n, err
	}
	if n.username, err = auth.NormalizeUsername("input.username", username); err != nil {
		return n, err
	}
	if n.fullName, err = auth.NormalizeFullName("input.fullName", fullName); err != nil {
		return n, err
	}
	if admit != nil {
		if err := auth.CheckPasswordForm("input.password", password, n.email, n.username, n.fullName); err != nil {
			return n, err
		}
		if err := admit(ctx); err != nil {
			return n, err
		}
	}
	n.hash, err = s.cfg.Hasher.Choose(ctx, "input.password", password, n.email, n.username, n.fullName)
	return n, err
}

// create inserts the account with its roles and the key of its audit rows. CONFLICT when a name is taken.
func (n newcomer) create(ctx context.Context, tx *uow.Tx, roles []heldRole) error {
	ids := make([]uuid.UUID, len(roles))
	for i, r := range roles {
		ids[i] = r.id
	}
	err := tx.User.Create().SetID(n.id).SetEmail(n.email).SetUsername(n.username).SetFullName(n.fullName).
		SetHashedPassword(n.hash).AddRoleIDs(ids...).Exec(ctx)
	if uow.IsDuplicate(err) {
		return errs.Wrap(err, errs.Conflict, "This e-mail address or username is already in use. Choose another or sign in.")
	}
	if err != nil {
		return fmt.Errorf("create an account: %w", err)
	}
	return tx.Subject(n.id)
}

// audit records the new account and its roles as done by actor.
func (n newcomer) audit(tx *uow.Tx, roles []heldRole, actor audit.Entry) {
	actor.Action, actor.Resource, actor.ResourceID = enum.AuditActionUserCreated, "User", n.id
	tx.Audit(actor)
	for _, r := range roles {
		actor.Action, actor.Details = enum.AuditActionRoleAssigned, map[string]any{"role": r.name}
		tx.Audit(actor)
	}
}

// CreateUserInput is an account made for somebody. Roles are names; nil is the default role, empty is none.
type CreateUserInput struct {
	Email, Username, Password, FullName string
	Roles                               []string
}

// CreateUser makes an account for somebody else. It needs users:write and everything the roles allow; other roles than
// the default one count as a change of roles. A link that confirms the address is mailed there. UNAUTHENTICATED;
// FORBIDDEN; BAD_USER_INPUT, for an unknown role too; CONFLICT when the e-mail address or the username is taken, in any
// case; STEP_UP_REQUIRED and MFA_REQUIRED by setting.
func (s *Service) CreateUser(ctx context.Context, in CreateUserInput) (*ent.User, error) {
	if _, err := authz.Require(ctx, "users", "write"); err != nil { // nobody else has a password hashed
		return nil, s.refused(ctx, "createUser", "User", uuid.Nil, err)
	}
	names := in.Roles
	if names == nil {
		names = []string{authz.DefaultRole}
	}
	if len(names) > maxRoles {
		return nil, errs.Input("input.roles", "These are more than %d roles.", maxRoles)
	}
	n, err := s.newcomer(ctx, in.Email, in.Username, in.Password, in.FullName, nil)
	if err != nil {
		return nil, err
	}
	err = s.administer(ctx, deed{"createUser", "users", "write", "User", uuid.Nil}, func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
		if !p.IsSystem() && handsOutMore(names) {
			if err := s.sensitive(ctx, tx, "change_roles"); err != nil {
				return err
			}
		}
		roles, err := rolesByName(ctx, tx, names, "input.roles")
		if err != nil {
			return err
		}
		for _, r := range roles {
			if err := mayHandOut(tx, p, r); err != nil {
				return err
			}
		}
		if err := n.create(ctx, tx, roles); err != nil {
			return err
		}
		n.audit(tx, roles, audit.Entry{})
		return s.mailVerification(ctx, tx, n.id, n.email)
	})
	if err != nil {
		return nil, err
	}
	return s.user(ctx, n.id)
}

// user reads an account as the caller, through the root client.
func (s *Service) user(ctx context.Context, id uuid.UUID) (*ent.User, error) {
	u, err := s.cfg.Client.User.Get(ctx, id)
	if ent.IsNotFound(err) {
		return nil, errs.Missing("user")
	}
	return u, err
}
