package account

import (
	"cmp"
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

// Login opens a session for whoever knows the password and, where the account has a second factor, gives a code of it.
// Anyone may call it. UNAUTHENTICATED, the same for an unknown account, a wrong password and an account that may not
// sign in; MFA_REQUIRED when the password was right and a code is missing; BAD_USER_INPUT for a password that no account
// can have; RATE_LIMITED, for accounts that do not exist as well.
func (s *Service) Login(ctx context.Context, in LoginInput) (Signed, error) {
	ctx = anonymous(ctx)
	who, err := s.find(ctx, in.Login)
	if err != nil {
		return Signed{}, err
	}
	if err := s.admitted(ctx, in.Login, who); err != nil { // before anything is hashed
		return Signed{}, err
	}
	dummy, err := s.dummyFor(ctx, in.Login) // for names that have no need of it too: it may take a while
	if err != nil {
		return Signed{}, err
	}
	right, rehash, err := s.verify(ctx, in.Password, cmp.Or(who.hash, dummy))
	if err != nil {
		return Signed{}, err
	}
	done, err := s.turn(ctx, in.Login, who) // a pause may have begun while the password was hashed
	if err != nil {
		return Signed{}, err
	}
	defer done()
	why := s.refusal(who, right)
	var pr proof
	if why == "" && who.secondFact {
		pr, why, err = s.prove(ctx, who.id, in.TOTPCode, in.RecoveryCode)
		if err != nil {
			return Signed{}, err
		}
	}
	if why != "" {
		return Signed{}, s.loginFailed(ctx, in.Login, who, why)
	}
	var fresh string
	if rehash {
		if fresh, err = s.cfg.Hasher.Hash(ctx, in.Password); err != nil {
			return Signed{}, err
		}
	}
	o, why, err := s.enter(ctx, entry{who: who, login: in.Login, fresh: fresh, proof: pr})
	if err != nil {
		return Signed{}, err
	}
	if why != "" {
		return Signed{}, s.loginFailed(ctx, in.Login, who, why)
	}
	s.touches.login(who.id, s.now())
	return s.signed(ctx, o)
}

// entry is a sign-in whose credentials were found right.
type entry struct {
	who     person
	login   string // what was typed; empty: the sign-in was judged elsewhere
	fresh   string // a new hash of the password; empty: the old one stays
	proof   proof
	details map[string]any // of the audit row
	// first, where there is one, begins the unit of work and gives the account as it then is.
	first func(context.Context, *uow.Tx) (person, error)
	made  bool // first makes the account
}

// enter opens the session unless the account changed while its credentials were checked.
func (s *Service) enter(ctx context.Context, e entry) (o opened, why string, err error) {
	if !e.made {
		if err := s.prepareAudit(ctx, e.who.id); err != nil {
			return opened{}, "", err
		}
	}
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if e.first != nil {
			var err error
			if e.who, err = e.first(ctx, tx); err != nil {
				return err
			}
		}
		now, err := lock(ctx, tx, e.who.id)
		if err != nil {
			return fmt.Errorf("lock an account: %w", err)
		}
		if why = s.refusal(now, now.hash == e.who.hash); why != "" {
			return nil // an empty unit of work
		}
		if now.secondFact && e.login != "" {
			if why, err = s.redeem(ctx, tx, now.id, e.proof); err != nil || why != "" {
				return err
			}
		}
		if e.login != "" { // a sign-in that was judged elsewhere says nothing about guesses at the password
			if err := s.passed(ctx, tx, now); err != nil {
				return err
			}
		}
		if _, err := tx.PG.Exec(ctx, `UPDATE users SET failed_login_count = 0, locked_until = NULL, hashed_password = coalesce(nullif($2, ''), hashed_password)
			WHERE id = $1 AND (failed_login_count > 0 OR $2 <> '')`, e.who.id, e.fresh); err != nil {
			return fmt.Errorf("note a login: %w", err)
		}
		var mfaAt *time.Time
		if e.proof.given() {
			at := s.now()
			mfaAt = &at
		}
		if o, err = s.openFirst(ctx, tx, e.who.id, mfaAt); err != nil {
			return err
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginSucceeded, Resource: "Session", ResourceID: o.session,
			SessionID: o.session, ActorID: e.who.id, ActorName: now.username, Details: e.details,
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

func (s *Service) verify(ctx context.Context, password, hash string) (right, rehash bool, err error) {
	right, rehash, err = s.cfg.Hasher.Verify(ctx, password, hash)
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
	whyMFA      = "second_factor_missing"
	whyCode     = "second_factor"
)

func (s *Service) refusal(p person, passwordRight bool) string {
	switch {
	case p.id == uuid.Nil:
		return whyUnknown
	case !passwordRight:
		return whyPassword
	case !p.active:
		return whyInactive
	}
	return ""
}

// loginFailed writes a failure down and gives the answer. The statements are the same for an unknown account, and of
// that nothing is kept: what was typed may be a password.
func (s *Service) loginFailed(ctx context.Context, login string, who person, why string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	answer := errs.New(errs.Unauthenticated, "The name or the password is wrong. Check both and try again.")
	switch why {
	case whyMFA:
		answer = errs.InState(errs.MFARequired, "CODE_MISSING", "This account has a second factor. Sign in again with totpCode or recoveryCode.")
	case whyCode:
		answer = errs.New(errs.Unauthenticated, "The code is wrong or was used already. Wait for the next one and try again.")
	}
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	err := s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if why != whyMFA { // the first half of a sign-in in two steps is no failure
			if err := s.failed(ctx, tx, login, who); err != nil {
				return err
			}
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginFailed, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Failed: true, Error: string(answer.Code), Details: map[string]any{"reason": why},
		})
		if why == whyCode {
			tx.Audit(audit.Entry{
				Action: enum.AuditActionMfaChallengeFailed, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
				Failed: true, Error: string(answer.Code), Details: map[string]any{"at": "login"},
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer
}
