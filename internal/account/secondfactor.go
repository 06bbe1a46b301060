package account

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// proof is a second factor that was found right, before it is redeemed.
type proof struct {
	step     int64  // of a TOTP code; 0: none
	recovery string // hash of the recovery code; empty: none
}

func (p proof) given() bool { return p.step != 0 || p.recovery != "" }

func (s *Service) prove(_ context.Context, _ uuid.UUID, _, _ string) (proof, string, error) {
	return proof{}, whyMFA, nil
}

func (s *Service) redeem(_ context.Context, _ *uow.Tx, _ uuid.UUID, _ proof) (string, error) {
	return whyMFA, nil
}

// sensitive refuses an act that needs a fresh second factor (a name of CDSA_MFA_REQUIRED_FOR): STEP_UP_REQUIRED when the
// caller has one and gave it too long ago, MFA_REQUIRED when the act is for people with a second factor only. By the
// rows of the transaction, never by what the principal remembers.
func (s *Service) sensitive(_ context.Context, _ *uow.Tx, _ string) error { return nil }

// Enrollment is what an authenticator needs.
type Enrollment struct{ Secret, URI, QRCode string }

// EnrollTOTP is to come.
func (s *Service) EnrollTOTP(context.Context, string) (Enrollment, error) {
	return Enrollment{}, errs.New(errs.FailedPrecondition, "To come.")
}

// ConfirmTOTP is to come.
func (s *Service) ConfirmTOTP(context.Context, string) ([]string, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}

// DisableTOTP is to come.
func (s *Service) DisableTOTP(context.Context, string, string) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// StepUp is to come.
func (s *Service) StepUp(context.Context, string) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}
