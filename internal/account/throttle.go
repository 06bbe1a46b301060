package account

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

func (s *Service) admit(_ context.Context, _ string) error { return nil }

func (s *Service) failed(_ context.Context, _ *uow.Tx, _ string, _ person) error { return nil }

func (s *Service) passed(_ context.Context, _ *uow.Tx, _ string, _ uuid.UUID) error { return nil }

// UnlockUser is to come.
func (s *Service) UnlockUser(context.Context, uuid.UUID) (*ent.User, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
