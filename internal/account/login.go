package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// LoginInput is what is typed into a login form. Login is an e-mail address or a username.
type LoginInput struct {
	Login, Password, TOTPCode, RecoveryCode string
}

// recordTimeout bounds writing down a failure after the caller may have left.
const recordTimeout = 5 * time.Second

// Login opens a session for whoever knows the password. Anyone may call it. UNAUTHENTICATED, the same for an unknown
// account, a wrong password and an account that may not sign in; MFA_REQUIRED when the password was right and the
// account has a second factor; BAD_USER_INPUT for a password that no account can have; RATE_LIMITED.
func (s *Service) Login(ctx context.Context, in LoginInput) (Signed, error) {
	ctx = anonymous(ctx)
	who, err := s.find(ctx, in.Login)
	if err != nil {
		return Signed{}, err
	}
	right, rehash, err := s.verify(ctx, in.Password, who.hash)
	if err != nil {
		return Signed{}, err
	}
	if why := s.refusal(who, right); why != "" {
		return Signed{}, s.loginFailed(ctx, who, why)
	}
	var fresh string
	if rehash {
		if fresh, err = s.cfg.Hasher.Hash(ctx, in.Password); err != nil {
			return Signed{}, err
		}
	}
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return Signed{}, err
	}
	o, why, err := s.enter(ctx, who, fresh)
	if err != nil {
		return Signed{}, err
	}
	if why != "" {
		return Signed{}, s.loginFailed(ctx, who, why)
	}
	s.touches.login(who.id, s.now())
	return s.signed(ctx, o)
}

// enter opens the session unless the account changed while its password was checked.
func (s *Service) enter(ctx context.Context, who person, fresh string) (o opened, why string, err error) {
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		now, err := lock(ctx, tx, who.id)
		if err != nil {
			return fmt.Errorf("lock an account: %w", err)
		}
		if why = s.refusal(now, now.hash == who.hash); why != "" {
			return nil // an empty unit of work
		}
		if _, err := tx.PG.Exec(ctx, `UPDATE users SET failed_login_count = 0, hashed_password = coalesce(nullif($2, ''), hashed_password)
			WHERE id = $1 AND (failed_login_count > 0 OR $2 <> '')`, who.id, fresh); err != nil {
			return fmt.Errorf("note a login: %w", err)
		}
		if o, err = s.openFirst(ctx, tx, who.id); err != nil {
			return err
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginSucceeded, Resource: "Session", ResourceID: o.session,
			SessionID: o.session, ActorID: who.id, ActorName: now.username,
		})
		return nil
	})
	return o, why, err
}

// find gives the account of a login; the zero person when there is none.
func (s *Service) find(ctx context.Context, login string) (person, error) {
	name, isEmail, ok := auth.NormalizeLogin(login)
	if !ok {
		name = "" // no account has it; the question is asked all the same
	}
	column := "username"
	if isEmail {
		column = "email"
	}
	p, err := scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE `+column+` = $1`, name))
	if errors.Is(err, pgx.ErrNoRows) {
		return person{}, nil
	}
	if err != nil {
		return person{}, fmt.Errorf("find an account: %w", err)
	}
	return p, nil
}

// verify takes the same time whether there is a hash or not.
func (s *Service) verify(ctx context.Context, password, hash string) (right, rehash bool, err error) {
	if hash == "" {
		err = s.cfg.Hasher.VerifyDummy(ctx, password)
	} else {
		right, rehash, err = s.cfg.Hasher.Verify(ctx, password, hash)
	}
	if e, ok := errs.As(err); ok && e.Code == errs.BadUserInput {
		return false, false, errs.Input("input.password", "%s", e.Message)
	}
	return right, rehash, err
}

// Why a login was refused, as the audit log has it.
const (
	whyUnknown  = "unknown_account"
	whyPassword = "password"
	whyInactive = "inactive"
	whyLocked   = "locked"
	whyMFA      = "second_factor"
)

func (s *Service) refusal(p person, passwordRight bool) string {
	switch {
	case p.id == uuid.Nil:
		return whyUnknown
	case !passwordRight:
		return whyPassword
	case !p.active:
		return whyInactive
	case p.lockedUntil != nil && s.now().Before(*p.lockedUntil):
		return whyLocked
	case p.secondFact:
		return whyMFA
	}
	return ""
}

// loginFailed writes a failure down and gives the answer. The statements are the same for an unknown account, and of
// that nothing is kept: what was typed may be a password.
func (s *Service) loginFailed(ctx context.Context, who person, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	answer := errs.New(errs.Unauthenticated, "The name or the password is wrong. Check both and try again.")
	counts := 1
	if why == whyMFA {
		answer = errs.New(errs.MFARequired, "This account needs a second factor, which this server cannot check yet. Ask an administrator.")
		counts = 0
	}
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	err := s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := tx.PG.Exec(ctx, `UPDATE users SET failed_login_count = failed_login_count + $2 WHERE id = $1`, who.id, counts); err != nil {
			return fmt.Errorf("count a failed login: %w", err)
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginFailed, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Failed: true, Error: string(answer.Code), Details: map[string]any{"reason": why},
		})
		return nil
	})
	if err != nil {
		return err
	}
	return answer
}
