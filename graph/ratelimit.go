package graph

import (
	"context"

	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/errs"
)

func (r *Resolver) rateLimit(context.Context) (*model.RateLimit, error) {
	return nil, errs.New(errs.FailedPrecondition, "To come.")
}
