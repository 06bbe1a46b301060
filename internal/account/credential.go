package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// mailVerification has a link mailed that confirms the address, once the unit of work is committed.
func (s *Service) mailVerification(_ context.Context, _ *uow.Tx, _ uuid.UUID, _ string) error {
	return nil
}

// reauthenticate asks for the caller's own password again. BAD_USER_INPUT on field; FORBIDDEN for an API token;
// RATE_LIMITED. A failure counts like one of a sign-in; a success does not make the account's failures forgotten, since
// the password is only half of what signs in.
func (s *Service) reauthenticate(ctx context.Context, field, password string) error {
	p, err := s.inPerson(ctx, "reauthenticate")
	if err != nil {
		return err
	}
	if err := s.admit(ctx, p.Username); err != nil {
		return err
	}
	who, err := scanPerson(s.cfg.Pool.QueryRow(ctx, personColumns+` WHERE id = $1`, p.UserID))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read an account: %w", err)
	}
	if !who.active {
		return errs.New(errs.Unauthenticated, "Your session has ended. Sign in again.")
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
	if right {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout) // leaving early does not hide the attempt
	defer cancel()
	err = s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if err := s.failed(ctx, tx, p.Username, who); err != nil {
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

// ChangePassword is to come.
func (s *Service) ChangePassword(context.Context, string, string) (Signed, error) {
	return Signed{}, errs.New(errs.FailedPrecondition, "To come.")
}

// RequestPasswordReset is to come.
func (s *Service) RequestPasswordReset(context.Context, string) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// ResetPassword is to come.
func (s *Service) ResetPassword(context.Context, string, string) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// VerifyEmail is to come.
func (s *Service) VerifyEmail(context.Context, string) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// RequestEmailVerification is to come.
func (s *Service) RequestEmailVerification(context.Context) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}
