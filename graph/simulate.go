package graph

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/graph/model"
)

func (r *Resolver) simulateAccess(ctx context.Context, userID, nodeID uuid.UUID) (*model.AccessDecision, error) {
	d, err := r.Access.Simulate(ctx, userID, nodeID)
	if err != nil {
		return nil, err
	}
	return &model.AccessDecision{Allowed: d.Allowed, Reasons: d.Reasons}, nil
}
