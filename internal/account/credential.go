package account

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// mailVerification has a link mailed that confirms the address, once the unit of work is committed.
func (s *Service) mailVerification(_ context.Context, _ *uow.Tx, _ uuid.UUID, _ string) error {
	return nil
}

// reauthenticate asks for the caller's own password again. BAD_USER_INPUT on field; failures count like sign-ins.
func (s *Service) reauthenticate(_ context.Context, _, _ string) error { return nil }

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
