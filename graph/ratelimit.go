package graph

import (
	"context"
	"errors"

	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/gqlhttp/document"
)

// rateLimit tells what extensions.cost of the same answer does.
func (r *Resolver) rateLimit(ctx context.Context) (*model.RateLimit, error) {
	b, ok := document.BudgetOf(ctx)
	if !ok {
		return nil, errors.New("the server has no request budgets")
	}
	return &model.RateLimit{Limit: b.Limit, Cost: b.Cost, Remaining: b.Remaining, ResetAt: b.ResetAt}, nil
}
