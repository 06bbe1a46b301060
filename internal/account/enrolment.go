package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// Enrollment is what an authenticator needs, shown once.
type Enrollment struct{ Secret, URI, QRCode string }

// EnrollTOTP begins to enrol a second factor for the caller, who gives their password; ConfirmTOTP completes it. An
// enrolment that was begun before is replaced. UNAUTHENTICATED; FORBIDDEN for an API token; BAD_USER_INPUT for a wrong
// password; RATE_LIMITED; FAILED_PRECONDITION while there is a second factor. Audited as MFA_ENROLLMENT_STARTED.
func (s *Service) EnrollTOTP(ctx context.Context, password string) (Enrollment, error) {
	p, err := s.inPerson(ctx, "enrollTotp")
	if err != nil {
		return Enrollment{}, err
	}
	if err := s.reauthenticate(ctx, "password", password); err != nil {
		return Enrollment{}, err
	}
	key, err := auth.NewTOTPKey(p.Username)
	if err != nil {
		return Enrollment{}, err
	}
	sealed, err := s.sealTOTP(p.UserID, key.Secret)
	if err != nil {
		return Enrollment{}, err
	}
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, _, err := lockOwn(ctx, tx, p)
		if err != nil {
			return err
		}
		if u.secondFact {
			return enrolledAlready()
		}
		if _, err := tx.PG.Exec(ctx, `UPDATE users SET totp_secret = $2, totp_last_step = 0, recovery_codes = NULL WHERE id = $1`, u.id, sealed); err != nil {
			return fmt.Errorf("begin an enrolment: %w", err)
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionMfaEnrollmentStarted, Resource: "User", ResourceID: u.id})
		return nil
	})
	if err != nil {
		return Enrollment{}, err
	}
	return Enrollment{Secret: key.Text, URI: key.URI, QRCode: key.QRCode}, nil
}

// ConfirmTOTP completes the caller's enrolment with a first code and gives the recovery codes, which are shown once. It
// counts as a fresh second factor of this login session, and ends the caller's other ones, which gave none; API tokens
// stay. UNAUTHENTICATED; FORBIDDEN for an API token; BAD_USER_INPUT for
// a wrong code; RATE_LIMITED; FAILED_PRECONDITION when no enrolment was begun or it is complete; CONFLICT when another
// was begun meanwhile. Audited as MFA_ENROLLED or MFA_CHALLENGE_FAILED.
func (s *Service) ConfirmTOTP(ctx context.Context, code string) ([]string, error) {
	p, err := s.inPerson(ctx, "confirmTotp")
	if err != nil {
		return nil, err
	}
	pr, err := s.proveFirst(ctx, p, code)
	if err != nil {
		return nil, err
	}
	codes, stored, err := s.cfg.Hasher.NewRecoveryCodes(ctx)
	if err != nil {
		return nil, err
	}
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error { return s.enrol(ctx, tx, p, pr, stored) })
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// proveFirst judges the first code of a begun enrolment. The turn ends with it: nobody waits while recovery codes are
// hashed.
func (s *Service) proveFirst(ctx context.Context, p *authz.Principal, code string) (proof, error) {
	done, err := s.mayGuess(ctx, p)
	if err != nil {
		return proof{}, err
	}
	defer done()
	f, err := s.loadFactor(ctx, p.UserID)
	switch {
	case err != nil:
		return proof{}, err
	case f.enabled:
		return proof{}, enrolledAlready()
	case f.sealed == nil:
		return proof{}, errs.InState(errs.FailedPrecondition, "NOT_ENROLLED", "No enrolment was begun. Call enrollTotp first.")
	}
	pr, err := s.verifyTOTP(p.UserID, f, code)
	if err == nil && !pr.given() {
		err = s.challengeFailed(ctx, p, "confirmTotp")
	}
	return pr, err
}

// enrol turns a begun enrolment into a second factor, once. Sessions that were opened by the password alone end: one of
// them may be a thief's, who must not have what the owner's second factor opens.
func (s *Service) enrol(ctx context.Context, tx *uow.Tx, p *authz.Principal, pr proof, stored []string) error {
	u, family, err := lockOwn(ctx, tx, p)
	if err != nil {
		return err
	}
	if u.secondFact {
		return enrolledAlready()
	}
	tag, err := tx.PG.Exec(ctx, `UPDATE users SET totp_enabled_at = $2, totp_last_step = $3, recovery_codes = to_jsonb($4::text[])
		WHERE id = $1 AND totp_enabled_at IS NULL AND totp_secret = $5 AND totp_last_step < $3`, u.id, s.now(), pr.step, stored, pr.sealed)
	if err != nil {
		return fmt.Errorf("complete an enrolment: %w", err)
	}
	if tag.RowsAffected() != 1 {
		return errs.New(errs.Conflict, "Another enrolment was begun meanwhile. Confirm it with a code of its own secret.")
	}
	if err := s.freshen(ctx, tx, family); err != nil {
		return err
	}
	ended, err := s.end(ctx, tx, "second factor enrolled", `user_id = $1 AND family_id <> $2 AND kind = 'INTERACTIVE'`, u.id, family)
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionMfaEnrolled, Resource: "User", ResourceID: u.id, SessionID: p.SessionID, Details: map[string]any{"ended": ended}})
	held, err := s.holdsMFARole(ctx, tx, u.id)
	if err != nil || !held {
		return err
	}
	return s.revoked(ctx, tx, u.id) // the rights of the role are theirs from now on
}

// DisableTOTP removes the caller's second factor. They give their password and a code, which may be a recovery code.
// UNAUTHENTICATED; FORBIDDEN for an API token; BAD_USER_INPUT for a wrong password or code; RATE_LIMITED;
// FAILED_PRECONDITION without a second factor, and for holders of a role that demands one. Audited as MFA_REMOVED or
// MFA_CHALLENGE_FAILED.
func (s *Service) DisableTOTP(ctx context.Context, password, code string) error {
	p, err := s.inPerson(ctx, "disableTotp")
	if err != nil {
		return err
	}
	if err := s.reauthenticate(ctx, "password", password); err != nil {
		return err
	}
	return s.withCode(ctx, p, code, "disableTotp", func(ctx context.Context, tx *uow.Tx, u person, _ uuid.UUID) error {
		held, err := s.holdsMFARole(ctx, tx, u.id)
		if err != nil {
			return err
		}
		if held { // rolled back, so the code can be used for something else
			return errs.InState(errs.FailedPrecondition, "REQUIRED", "A role of yours demands a second factor, so it stays.")
		}
		if err := dropFactor(ctx, tx, u.id); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionMfaRemoved, Resource: "User", ResourceID: u.id, SessionID: p.SessionID})
		return nil
	})
}

// dropFactor removes a user's second factor, or what was begun of one, and forgets when it was given.
func dropFactor(ctx context.Context, tx *uow.Tx, userID uuid.UUID) error {
	if _, err := tx.PG.Exec(ctx, `UPDATE users SET totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = 0, recovery_codes = NULL WHERE id = $1`, userID); err != nil {
		return fmt.Errorf("remove a second factor: %w", err)
	}
	if _, err := tx.PG.Exec(ctx, `UPDATE sessions SET mfa_at = NULL WHERE user_id = $1 AND mfa_at IS NOT NULL`, userID); err != nil {
		return fmt.Errorf("forget when a second factor was given: %w", err)
	}
	return nil
}

// StepUp takes a fresh code of the caller's second factor, or a recovery code, for this login session and all it is
// refreshed into; it gives the session the rights of roles that demand one. UNAUTHENTICATED; FORBIDDEN for an API token; BAD_USER_INPUT for a wrong code; RATE_LIMITED;
// FAILED_PRECONDITION without a second factor. Audited as STEP_UP_COMPLETED or MFA_CHALLENGE_FAILED.
func (s *Service) StepUp(ctx context.Context, code string) error {
	p, err := s.inPerson(ctx, "stepUp")
	if err != nil {
		return err
	}
	return s.withCode(ctx, p, code, "stepUp", func(ctx context.Context, tx *uow.Tx, u person, family uuid.UUID) error {
		if err := s.freshen(ctx, tx, family); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionStepUpCompleted, Resource: "Session", ResourceID: p.SessionID, SessionID: p.SessionID})
		held, err := s.holdsMFARole(ctx, tx, u.id)
		if err != nil || !held {
			return err
		}
		return s.revoked(ctx, tx, u.id) // the rights of the role may be this session's from now on
	})
}

type coded func(ctx context.Context, tx *uow.Tx, u person, family uuid.UUID) error

// withCode does what needs a good code of the caller's second factor, and uses the code up with it.
func (s *Service) withCode(ctx context.Context, p *authz.Principal, code, at string, do coded) error {
	done, err := s.mayGuess(ctx, p)
	if err != nil {
		return err
	}
	defer done()
	f, err := s.loadFactor(ctx, p.UserID)
	if err != nil {
		return err
	}
	if !f.enabled {
		return notEnrolled()
	}
	pr, why, err := s.proveEither(ctx, p.UserID, code)
	if err != nil {
		return err
	}
	if why == "" {
		err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
			u, family, err := lockOwn(ctx, tx, p)
			if err != nil {
				return err
			}
			if !u.secondFact {
				return notEnrolled()
			}
			if why, err = s.redeem(ctx, tx, u.id, pr); err != nil || why != "" {
				return err
			}
			if err := do(ctx, tx, u, family); err != nil {
				return err
			}
			return s.passed(ctx, tx, u)
		})
		if err != nil {
			return err
		}
	}
	if why != "" {
		return s.challengeFailed(ctx, p, at)
	}
	return nil
}

func enrolledAlready() error {
	return errs.InState(errs.FailedPrecondition, "ENROLLED", "You have a second factor. Remove it with disableTotp before you enrol another.")
}

func notEnrolled() error {
	return errs.InState(errs.FailedPrecondition, "NOT_ENROLLED", "You have no second factor. Enrol one with enrollTotp and confirmTotp.")
}

// inPerson gives a caller who signed in with a login session: a program never handles a second factor or a password.
// UNAUTHENTICATED; FORBIDDEN, which is audited.
func (s *Service) inPerson(ctx context.Context, doing string) (*authz.Principal, error) {
	p, err := authz.Signed(ctx)
	if err != nil {
		return nil, err
	}
	if p.APIToken || p.Kind != enum.ActorKindUser || p.SessionID == uuid.Nil {
		return nil, s.refused(ctx, doing, "User", p.UserID, errs.New(errs.Forbidden, "No API token can do this. Sign in and do it yourself."))
	}
	return p, nil
}

// lockOwn locks the caller's account and gives it with the family of their login session. UNAUTHENTICATED when either
// was ended since the principal was made.
func lockOwn(ctx context.Context, tx *uow.Tx, p *authz.Principal) (u person, family uuid.UUID, err error) {
	if u, err = lock(ctx, tx, p.UserID); err == nil {
		err = tx.PG.QueryRow(ctx, `SELECT family_id FROM sessions WHERE id = $1 AND user_id = $2 AND kind = 'INTERACTIVE' AND revoked_at IS NULL`, p.SessionID, p.UserID).Scan(&family)
	}
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !u.active {
		return person{}, uuid.Nil, ended()
	}
	if err != nil {
		return person{}, uuid.Nil, fmt.Errorf("lock a login session: %w", err)
	}
	return u, family, nil
}

// freshen notes that a second factor was given now, for a login session and all it was refreshed from or into. Open
// streams stay: who decides on freshness reads the rows.
func (s *Service) freshen(ctx context.Context, tx *uow.Tx, family uuid.UUID) error {
	if _, err := tx.PG.Exec(ctx, `UPDATE sessions SET mfa_at = $2 WHERE family_id = $1 AND revoked_at IS NULL`, family, s.now()); err != nil {
		return fmt.Errorf("note a second factor: %w", err)
	}
	return nil
}

// holdsMFARole says whether a user has a role that demands a second factor. Call it under the lock on the user.
func (s *Service) holdsMFARole(ctx context.Context, tx *uow.Tx, userID uuid.UUID) (held bool, err error) {
	err = tx.PG.QueryRow(ctx, `SELECT EXISTS (SELECT FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE ur.user_id = $1 AND r.name = ANY($2))`,
		userID, s.cfg.Settings.MFARoles).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("read a user's roles: %w", err)
	}
	return held, nil
}

// UnknownMFARoles gives those names of Settings.MFARoles that no role has now: of their holders nothing is demanded.
func (s *Service) UnknownMFARoles(ctx context.Context) ([]string, error) {
	rows, err := s.cfg.Pool.Query(ctx, `SELECT n FROM unnest($1::text[]) n WHERE NOT EXISTS (SELECT FROM roles WHERE name = n) ORDER BY n`, s.cfg.Settings.MFARoles)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	return names, nil
}
