package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/text/unicode/norm"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// reauthenticate asks for the caller's own password again. BAD_USER_INPUT on field; FORBIDDEN for an API token;
// RATE_LIMITED. A failure counts like one of a sign-in; a success does not make the account's failures forgotten, since
// the password is only half of what signs in.
func (s *Service) reauthenticate(ctx context.Context, field, password string) error {
	p, err := s.inPerson(ctx, "reauthenticate")
	if err != nil {
		return err
	}
	who, err := scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE id = $1`, p.UserID))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read an account: %w", err)
	}
	if !who.active {
		return ended()
	}
	if err := s.admitted(ctx, ofAccount, who); err != nil {
		return err
	}
	if who.hash == "" {
		return errs.Input(field, "This account has no password yet. Set one with requestPasswordReset, then try again.")
	}
	right, _, err := s.verify(ctx, password, who.hash)
	if e, ok := errs.As(err); ok && e.Code == errs.BadUserInput {
		return errs.Input(field, "%s", e.Message)
	}
	if err != nil {
		return err
	}
	done, err := s.turn(ctx, ofAccount, who) // a pause may have begun while the password was hashed
	if err != nil {
		return err
	}
	defer done()
	if right {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if err := s.failed(ctx, tx, ofAccount, who); err != nil {
			return err
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionLoginFailed, Resource: "User", ResourceID: p.UserID, SessionID: p.SessionID,
			Failed: true, Error: string(errs.BadUserInput), Details: map[string]any{"reason": whyPassword, "at": field},
		})
		return nil
	})
	if err != nil {
		return err
	}
	return errs.Input(field, "The password is wrong. Check it and try again.")
}

// ChangePassword sets the caller's password, ends every session and API token of theirs, the present one included, and
// opens a session in its place that keeps the second factor given in it. Links to reset the password end as well.
// UNAUTHENTICATED; FORBIDDEN with an API token; FAILED_PRECONDITION for an account that has no password yet;
// BAD_USER_INPUT for a wrong present password and for a new one that is weak or the same; CONFLICT when the password
// was changed meanwhile. Audited as PASSWORD_CHANGED.
func (s *Service) ChangePassword(ctx context.Context, present, fresh string) (Signed, error) {
	p, err := s.inPerson(ctx, "changePassword")
	if err != nil {
		return Signed{}, err
	}
	var hash, email, username, fullName string
	err = s.cfg.Pool.QueryRow(ctx, `SELECT hashed_password, email::text, username::text, full_name FROM users WHERE id = $1 AND is_active AND erased_at IS NULL`, p.UserID).
		Scan(&hash, &email, &username, &fullName)
	if errors.Is(err, pgx.ErrNoRows) {
		return Signed{}, ended()
	}
	if err != nil {
		return Signed{}, fmt.Errorf("read an account: %w", err)
	}
	if hash == "" {
		return Signed{}, errs.InState(errs.FailedPrecondition, "NO_PASSWORD", "This account has no password to change. Ask for a link to reset it, which sets one.")
	}
	if err := s.reauthenticate(ctx, "input.currentPassword", present); err != nil {
		return Signed{}, err
	}
	if norm.NFC.String(present) == norm.NFC.String(fresh) {
		return Signed{}, errs.Input("input.newPassword", "This is the password you have. Choose another.")
	}
	next, err := s.cfg.Hasher.Choose(ctx, "input.newPassword", fresh, email, username, fullName)
	if err != nil {
		return Signed{}, err
	}
	o, err := uow.Value(ctx, s.cfg.Store, func(ctx context.Context, tx *uow.Tx) (opened, error) {
		return s.changePassword(ctx, tx, p, hash, next)
	})
	if err != nil {
		return Signed{}, err
	}
	return s.signed(ctx, o)
}

// changePassword does so unless the account or the session changed while passwords were hashed.
func (s *Service) changePassword(ctx context.Context, tx *uow.Tx, p *authz.Principal, was, next string) (opened, error) {
	u, err := lock(ctx, tx, p.UserID)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return opened{}, fmt.Errorf("lock an account: %w", err)
	}
	if err != nil || !u.active {
		return opened{}, ended()
	}
	if u.hash != was {
		return opened{}, errs.New(errs.Conflict, "The password was changed at the same time. Sign in with the new one and try again.")
	}
	var mfaAt *time.Time
	err = tx.PG.QueryRow(ctx, `SELECT mfa_at FROM sessions WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL`, p.SessionID, p.UserID).Scan(&mfaAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return opened{}, ended()
	}
	if err != nil {
		return opened{}, fmt.Errorf("read a login session: %w", err)
	}
	count, err := s.setPassword(ctx, tx, u.id, next, "password changed")
	if err != nil {
		return opened{}, err
	}
	o, err := s.openFirst(ctx, tx, u.id, mfaAt)
	if err != nil {
		return opened{}, err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionPasswordChanged, Resource: "User", ResourceID: u.id, Details: map[string]any{"ended": count, "session": o.session}})
	return o, nil
}

// setPassword writes the hash, cuts off whatever was issued before, ends every session and API token, and takes back
// the links that could set another. Sessions opened after it stand. Callers hold the lock on the user.
func (s *Service) setPassword(ctx context.Context, tx *uow.Tx, userID uuid.UUID, hash, reason string) (ended int, err error) {
	_, err = tx.PG.Exec(ctx, `UPDATE users SET hashed_password = $2, password_changed_at = $3, tokens_valid_after = $3, failed_login_count = 0, locked_until = NULL, updated_at = $3 WHERE id = $1`,
		userID, hash, s.now())
	if err != nil {
		return 0, fmt.Errorf("set a password: %w", err)
	}
	if err := s.voidMailed(ctx, tx, userID, resetToken); err != nil {
		return 0, err
	}
	if ended, err = s.end(ctx, tx, reason, `user_id = $1`, userID); err != nil {
		return 0, err
	}
	return ended, s.revoked(ctx, tx, userID)
}

// RequestPasswordReset has a link mailed that sets a new password, to the address of an account that may sign in.
// Anyone may call it, and gets the same answer by the same statements whether there is such an account, whether it had
// too many mails already, and where mails are off. Audited as PASSWORD_RESET_REQUESTED, without what was typed.
func (s *Service) RequestPasswordReset(ctx context.Context, email string) error {
	ctx = anonymous(ctx)
	name, err := auth.NormalizeEmail("email", email)
	if err != nil {
		name = "" // no account has it; the question is asked all the same
	}
	who, err := scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE email = $1`, name))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("find an account: %w", err)
	}
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		network, full, err := s.network(ctx, tx)
		if err != nil {
			return err
		}
		to, err := s.resettable(ctx, tx, who.id, network)
		if err != nil {
			return err
		}
		if !full { // that depends on the caller alone; beyond an account's own bound there is a row that is nobody's
			if _, _, _, err := s.post(ctx, tx, mailed{kind: resetToken, user: to.id, email: to.email, fromNetwork: network}); err != nil {
				return err
			}
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionPasswordResetRequested, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Details: map[string]any{"mailed": !full && to.id != uuid.Nil},
		})
		return nil
	})
}

// resettable locks an account and gives it when a link may be mailed to it for a request from a network, else the zero one.
func (s *Service) resettable(ctx context.Context, tx *uow.Tx, id uuid.UUID, network []byte) (addressee, error) {
	u, err := lock(ctx, tx, id)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return addressee{}, fmt.Errorf("lock an account: %w", err)
	}
	may, err := s.resets(ctx, tx, id, network)
	if err != nil {
		return addressee{}, err
	}
	var a addressee
	err = tx.PG.QueryRow(ctx, `SELECT id, email::text FROM users WHERE id = $1`, id).Scan(&a.id, &a.email)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return addressee{}, fmt.Errorf("read an account: %w", err)
	}
	if !u.active || !may {
		return addressee{}, nil
	}
	return a, nil
}

// ResetPassword sets a new password with the token of a mailed link, once, and ends every session and API token of the
// account. The address counts as verified: whoever has the token reads its mail. The second factor stays, unless no
// address of the account was ever verified: then it may be that of somebody who registered another's address. Anyone may
// call it. EXPIRED, the same for a token that is unknown, made up, used or expired and for an account that may not
// sign in; BAD_USER_INPUT for a weak password, which leaves the token good. Audited as PASSWORD_RESET_COMPLETED, and as MFA_REMOVED
// where that happens.
func (s *Service) ResetPassword(ctx context.Context, token, fresh string) error {
	ctx = anonymous(ctx)
	return s.withLink(ctx, resetToken, token, func(id uuid.UUID) error { return s.resetPassword(ctx, id, fresh) })
}

func (s *Service) resetPassword(ctx context.Context, id uuid.UUID, fresh string) error {
	who, err := s.addressee(ctx, s.cfg.Pool, resetToken, id)
	if err != nil {
		return err
	}
	hash, err := s.cfg.Hasher.Choose(ctx, "input.newPassword", fresh, who.email, who.username, who.fullName)
	if err != nil {
		return err
	}
	return s.redeemMailed(ctx, resetToken, id, who, func(ctx context.Context, tx *uow.Tx) error {
		if err := s.dropUnproven(ctx, tx, who); err != nil {
			return err
		}
		ended, err := s.setPassword(ctx, tx, who.id, hash, "password reset")
		if err != nil {
			return err
		}
		tx.Audit(audit.Entry{
			Action: enum.AuditActionPasswordResetCompleted, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Details: map[string]any{"ended": ended},
		})
		if err := s.passed(ctx, tx, person{id: who.id, username: who.username, email: who.email}); err != nil { // what was guessed at is no more
			return err
		}
		return s.setVerified(ctx, tx, who.id)
	})
}

// dropUnproven removes a second factor from an account none of whose addresses was ever verified, unless a role demands
// the factor: whoever gave that role knew whose account it is. Callers hold the lock on the user.
func (s *Service) dropUnproven(ctx context.Context, tx *uow.Tx, who addressee) error {
	if held, err := s.holdsMFARole(ctx, tx, who.id); err != nil || held {
		return err
	}
	var begun, factor bool
	err := tx.PG.QueryRow(ctx, `SELECT totp_secret IS NOT NULL, totp_enabled_at IS NOT NULL FROM users u WHERE id = $1 AND NOT is_verified AND NOT is_superuser
		AND NOT EXISTS (SELECT FROM formerly_verified f WHERE f.user_id = u.id)`, who.id).Scan(&begun, &factor)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read whether an address was ever verified: %w", err)
	}
	if !begun && !factor {
		return nil
	}
	if err := dropFactor(ctx, tx, who.id); err != nil {
		return err
	}
	if factor {
		tx.Audit(audit.Entry{
			Action: enum.AuditActionMfaRemoved, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username,
			Details: map[string]any{"reason": "unverified"},
		})
	}
	return nil
}

// redeemMailed spends a token under the lock on its account, looks again whether it stands, and does the rest.
func (s *Service) redeemMailed(ctx context.Context, k mailedKind, id uuid.UUID, who addressee, rest func(context.Context, *uow.Tx) error) error {
	if err := s.prepareAudit(ctx, who.id); err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := lock(ctx, tx, who.id); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("lock an account: %w", err)
		}
		now, err := s.addressee(ctx, tx.PG, k, id)
		if err != nil {
			return err
		}
		if now.id != who.id {
			return badMailed()
		}
		if err := s.useMailed(ctx, tx, id); err != nil {
			return err
		}
		return rest(ctx, tx)
	})
}

func (s *Service) setVerified(ctx context.Context, tx *uow.Tx, userID uuid.UUID) error {
	if _, err := tx.PG.Exec(ctx, `UPDATE users SET is_verified = TRUE, updated_at = $2 WHERE id = $1 AND NOT is_verified`, userID, s.now()); err != nil {
		return fmt.Errorf("note a verified address: %w", err)
	}
	return s.voidMailed(ctx, tx, userID, verifyToken)
}

// mailChange has links that went to a former address end, a notice mailed there, and a link that confirms the new one
// mailed to it. Callers hold the lock on the user.
func (s *Service) mailChange(ctx context.Context, tx *uow.Tx, userID uuid.UUID, former, email string) error {
	if err := s.voidMailed(ctx, tx, userID, resetToken, verifyToken); err != nil {
		return err
	}
	n, err := s.asked(ctx, tx, changeNotice, userID)
	if err != nil {
		return err
	}
	if n < maxNotices { // whoever changes it more often was told of the first changes
		if _, _, _, err := s.post(ctx, tx, mailed{kind: changeNotice, user: userID, email: former}); err != nil {
			return err
		}
	}
	return s.mailVerification(ctx, tx, userID, email)
}

// mailVerification has a link mailed that confirms an account's new address, once the unit of work is committed. Beyond
// the bound on an account's mails none is mailed: the user can ask again later. Callers hold the lock on the user, or
// have just made them.
func (s *Service) mailVerification(ctx context.Context, tx *uow.Tx, userID uuid.UUID, email string) error {
	n, err := s.asked(ctx, tx, verifyToken, userID)
	if err != nil || n >= maxVerifies {
		return err
	}
	_, _, _, err = s.post(ctx, tx, mailed{kind: verifyToken, user: userID, email: email})
	return err
}

// mailNewcomer is mailVerification for an account that somebody just made for themselves, bounded by where they did.
func (s *Service) mailNewcomer(ctx context.Context, tx *uow.Tx, userID uuid.UUID, email string) error {
	network, full, err := s.network(ctx, tx)
	if err != nil || full {
		return err
	}
	_, _, _, err = s.post(ctx, tx, mailed{kind: verifyToken, user: userID, email: email, fromNetwork: network})
	return err
}

// RequestEmailVerification has the link that confirms the caller's address mailed again. UNAUTHENTICATED; FORBIDDEN
// with an API token; FAILED_PRECONDITION when the address is confirmed already; RATE_LIMITED. Audited as
// EMAIL_VERIFICATION_REQUESTED.
func (s *Service) RequestEmailVerification(ctx context.Context) error {
	p, err := s.inPerson(ctx, "requestEmailVerification")
	if err != nil {
		return err
	}
	return s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		u, err := lock(ctx, tx, p.UserID)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("lock an account: %w", err)
		}
		if err != nil || !u.active {
			return ended()
		}
		var (
			email    string
			verified bool
		)
		if err := tx.PG.QueryRow(ctx, `SELECT email::text, is_verified FROM users WHERE id = $1`, u.id).Scan(&email, &verified); err != nil {
			return fmt.Errorf("read an account: %w", err)
		}
		if verified {
			return errs.InState(errs.FailedPrecondition, "VERIFIED", "Your e-mail address is confirmed already.")
		}
		n, err := s.asked(ctx, tx, verifyToken, u.id)
		if err != nil {
			return err
		}
		if n >= maxVerifies {
			e := errs.New(errs.RateLimited, "You asked for this mail %d times within the hour. Look into your spam folder, or try again later.", n)
			e.RetryAfter = mailWindow
			return e
		}
		if _, _, _, err := s.post(ctx, tx, mailed{kind: verifyToken, user: u.id, email: email}); err != nil {
			return err
		}
		tx.Audit(audit.Entry{Action: enum.AuditActionEmailVerificationRequested, Resource: "User", ResourceID: u.id})
		return nil
	})
}

// VerifyEmail notes that an address is its account's, with the token that was mailed there, once. Anyone may call it: a
// link is often opened where nobody is signed in. It does not show that whoever opens it made the account, so linking to
// a provider drops what was there before.
// EXPIRED, the same for a token that is unknown, made up, used or expired, and when the account has another address
// now or may not sign in. Audited as EMAIL_VERIFIED.
func (s *Service) VerifyEmail(ctx context.Context, token string) error {
	ctx = anonymous(ctx)
	return s.withLink(ctx, verifyToken, token, func(id uuid.UUID) error {
		who, err := s.addressee(ctx, s.cfg.Pool, verifyToken, id)
		if err != nil {
			return err
		}
		return s.redeemMailed(ctx, verifyToken, id, who, func(ctx context.Context, tx *uow.Tx) error {
			tx.Audit(audit.Entry{Action: enum.AuditActionEmailVerified, Resource: "User", ResourceID: who.id, ActorID: who.id, ActorName: who.username})
			return s.setVerified(ctx, tx, who.id)
		})
	})
}
