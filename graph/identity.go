package graph

import (
	"context"

	"github.com/google/uuid"

	"cdsa.dev/cdsa/graph/model"
	"cdsa.dev/cdsa/internal/account"
)

// invitations shows invitations with who made them, in one query.
func (r *Resolver) invitations(ctx context.Context, list ...account.Invitation) ([]*model.Invitation, error) {
	out := make([]*model.Invitation, len(list))
	if len(list) == 0 {
		return out, nil
	}
	ids := make([]uuid.UUID, len(list))
	for i, v := range list {
		ids[i] = v.InvitedBy
	}
	byID, err := r.usersByID(ctx, ids, "invitedBy")
	if err != nil {
		return nil, err
	}
	for i, v := range list {
		out[i] = &model.Invitation{ID: v.ID, Email: v.Email, Roles: v.Roles, CreatedAt: v.CreatedAt, ExpiresAt: v.ExpiresAt, InvitedBy: byID[v.InvitedBy]}
	}
	return out, nil
}
