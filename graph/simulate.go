package graph

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/errs"
)

func (r *Resolver) simulateAccess(context.Context, uuid.UUID, uuid.UUID) (*model.AccessDecision, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
