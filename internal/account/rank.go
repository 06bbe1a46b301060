package account

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// rightsLock is the advisory lock under which administration is done: an arbitrary number, "cdsarank" in ASCII.
// Administrators act one after the other, so that what each of them may do is what the one before has left: no two
// take each other's rights at once.
const rightsLock = 0x6364736172616e6b

// deed is an act of administration, as it is recorded when it is refused.
type deed struct {
	doing            string // the mutation
	resource, action string // the permission it needs
	of               string // kind of the object
	id               uuid.UUID
}

// administer does an act in a unit of work, as the caller with the rights that the rows give them at that moment; these
// are in the context, too. Locks are taken in this order: this one, roles by id, the user. UNAUTHENTICATED; FORBIDDEN,
// which is audited.
func (s *Service) administer(ctx context.Context, d deed, act func(ctx context.Context, tx *uow.Tx, p *authz.Principal) error) error {
	_, err := authz.Require(ctx, d.resource, d.action)
	if err == nil {
		err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
			if _, err := tx.PG.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(rightsLock)); err != nil {
				return fmt.Errorf("wait for another administrator: %w", err)
			}
			p, err := s.actor(ctx, tx)
			if err != nil {
				return err
			}
			ctx = authz.With(ctx, p)
			if _, err := authz.Require(ctx, d.resource, d.action); err != nil {
				return err
			}
			return act(ctx, tx, p)
		})
	}
	return s.refused(ctx, d.doing, d.of, d.id, err)
}

// actor is the caller with what both the principal and the rows give: the principal may be a second old, and that of
// an API token has less than its owner. UNAUTHENTICATED when the user or the login session does not stand any more.
func (s *Service) actor(ctx context.Context, tx *uow.Tx) (*authz.Principal, error) {
	p, err := authz.Signed(ctx)
	if err != nil || p.IsSystem() {
		return p, err
	}
	now, err := readProfile(ctx, tx.PG, p.UserID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	if err != nil || !now.active || now.erased {
		return nil, ended()
	}
	if err := s.standing(ctx, tx, p); err != nil {
		return nil, err
	}
	return p.Limited(now.superuser, now.permits...), nil
}

func ended() error { return errs.New(errs.Unauthenticated, "Your session has ended. Sign in again.") }

// standing refuses a login session or API token that was revoked or ran out since the principal was read.
func (s *Service) standing(ctx context.Context, tx *uow.Tx, p *authz.Principal) error {
	if p.SessionID == uuid.Nil {
		return nil
	}
	var stands bool
	err := tx.PG.QueryRow(ctx, `SELECT EXISTS (SELECT FROM sessions WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > $3)`,
		p.SessionID, p.UserID, s.now()).Scan(&stands)
	if err != nil {
		return fmt.Errorf("read a login session: %w", err)
	}
	if !stands {
		return ended()
	}
	return nil
}

// profile is what a user's rows say of them, and what they may do once active.
type profile struct {
	id                                  uuid.UUID
	email, username, fullName           string
	password, active, erased, superuser bool // password: there is one
	roles, permits                      []string
}

func (u profile) admin() bool { return slices.Contains(u.roles, authz.AdminRole) }

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// readProfile gives a user's profile; pgx.ErrNoRows when there is none.
func readProfile(ctx context.Context, db querier, userID uuid.UUID) (profile, error) {
	u := profile{id: userID}
	err := db.QueryRow(ctx, `SELECT u.email::text, u.username::text, u.full_name, u.hashed_password <> '', u.is_active, u.erased_at IS NOT NULL, u.is_superuser,
		ARRAY(SELECT r.name FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = u.id ORDER BY r.name), `+permissionsOf+` FROM users u WHERE u.id = $1`, userID).
		Scan(&u.email, &u.username, &u.fullName, &u.password, &u.active, &u.erased, &u.superuser, &u.roles, &u.permits)
	if err != nil {
		return u, fmt.Errorf("read a user: %w", err)
	}
	return u, nil
}

// lockProfile locks a user, then reads: what was read stays until commit. NOT_FOUND.
func lockProfile(ctx context.Context, tx *uow.Tx, userID uuid.UUID) (profile, error) {
	_, err := lock(ctx, tx, userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return profile{}, errs.Missing("user")
	}
	if err != nil {
		return profile{}, fmt.Errorf("lock an account: %w", err)
	}
	return readProfile(ctx, tx.PG, userID)
}

// outranks lets no one have power over a user who may do what they may not do themselves: whoever can change the
// e-mail address of an administrator can become one. Over a superuser only a superuser has it. A superuser passes; that
// is recorded. FORBIDDEN, without a word on what the user may do.
func outranks(tx *uow.Tx, p *authz.Principal, u profile, doing string) error {
	if own(p, u.id) {
		return nil
	}
	bypass := u.superuser
	for _, name := range u.permits {
		if !p.Can(name) {
			return beyond()
		}
		bypass = bypass || !p.Holds(name)
	}
	if u.superuser && !p.Superuser {
		return beyond()
	}
	if bypass {
		tx.Audit(audit.Entry{Action: enum.AuditActionSuperuserBypassUsed, Resource: "User", ResourceID: u.id, Details: map[string]any{"operation": doing}})
	}
	return nil
}

func beyond() error {
	return errs.New(errs.Forbidden, "This user may do more than you may. Ask someone who may do as much.")
}
