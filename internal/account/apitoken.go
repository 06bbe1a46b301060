package account

import (
	"context"
	"time"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/errs"
)

// CreateAPITokenInput is what a token for programs is to be.
type CreateAPITokenInput struct {
	Name        string
	Permissions []string
	ExpiresAt   time.Time
	Password    string
}

// CreateAPIToken is to come.
func (s *Service) CreateAPIToken(context.Context, CreateAPITokenInput) (string, *ent.Session, error) {
	return "", nil, errs.New(errs.FailedPrecondition, "To come.")
}
