package account

import (
	"context"

	"cdsa.dev/cdsa/internal/errs"
)

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
