package account

import (
	"context"
	"time"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/internal/errs"
)

// Invitation is a right to register.
type Invitation struct {
	ID                   uuid.UUID
	Email                string
	Roles                []string
	CreatedAt, ExpiresAt time.Time
	InvitedBy            uuid.UUID
}

// Invite is to come.
func (s *Service) Invite(context.Context, string, []string, *time.Time) (Invitation, string, error) {
	return Invitation{}, "", errs.New(errs.FailedPrecondition, "To come.")
}

// RevokeInvitation is to come.
func (s *Service) RevokeInvitation(context.Context, uuid.UUID) error {
	return errs.New(errs.FailedPrecondition, "To come.")
}

// Invitations is to come.
func (s *Service) Invitations(context.Context) ([]Invitation, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
