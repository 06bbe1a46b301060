package account

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/errs"
)

// UpdateUserInput changes what is not nil.
type UpdateUserInput struct{ Email, Username, FullName, Password *string }

// UpdateUser is to come.
func (s *Service) UpdateUser(context.Context, uuid.UUID, UpdateUserInput) (*ent.User, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}

// SetUserActive is to come.
func (s *Service) SetUserActive(context.Context, uuid.UUID, bool) (*ent.User, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
