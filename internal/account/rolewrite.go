package account

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/errs"
)

// CreateRole is to come.
func (s *Service) CreateRole(context.Context, string, string, []string) (*ent.Role, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}

// UpdateRole is to come.
func (s *Service) UpdateRole(context.Context, uuid.UUID, *string, *string) (*ent.Role, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}

// DeleteRole is to come.
func (s *Service) DeleteRole(context.Context, uuid.UUID) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// SetRolePermissions is to come.
func (s *Service) SetRolePermissions(context.Context, uuid.UUID, []string) (*ent.Role, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
