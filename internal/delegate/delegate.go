// Package delegate bounds work that goes on in the background by what its starter was allowed. An answer or a tool call
// runs with the rights its user has by then; when it was an API token that began it, with those of them that the token
// permits and no others, however the work is taken up again, and with none once that token was revoked, has expired or is
// gone. Nothing is written for people: their rights are all theirs.
package delegate

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/uow"
)

// Kind is what the work is of.
type Kind string

// The kinds, by their column.
const (
	Reply     Kind = "reply_id"
	Execution Kind = "execution_id"
)

// Note writes down, in the unit of work in which p begins it, what the work is limited to. It does nothing but for an API
// token or an assistant that answers one.
func Note(tx *uow.Tx, p *authz.Principal, kind Kind, id uuid.UUID) {
	if p != nil && p.APIToken {
		tx.Queue(`INSERT INTO delegations (`+string(kind)+`, session_id, scopes) VALUES ($1, $2, $3)`, id, p.SessionID, p.Permissions())
	}
}

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// noted reads what Note wrote down, and whether the API token stands at this moment.
const noted = `SELECT d.session_id, d.scopes, EXISTS (SELECT FROM sessions s JOIN users u ON u.id = s.user_id
	WHERE s.id = d.session_id AND s.user_id = $2 AND s.kind = 'API_TOKEN' AND s.is_active AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
	  AND u.is_active AND u.erased_at IS NULL AND (u.tokens_valid_after IS NULL OR s.created_at >= u.tokens_valid_after))
	FROM delegations d WHERE d.`

// Narrow gives the rights that a piece of work has now: p's, within what Note wrote down for it; nil, who may nothing,
// when the API token that began it does not stand any more. A nil p stays nil.
func Narrow(ctx context.Context, db querier, p *authz.Principal, kind Kind, id uuid.UUID) (*authz.Principal, error) {
	if p == nil {
		return nil, nil //nolint:nilnil // nobody stays nobody
	}
	var (
		session uuid.UUID
		scopes  []string
		stands  bool
	)
	err := db.QueryRow(ctx, noted+string(kind)+` = $1`, id, p.UserID).Scan(&session, &scopes, &stands)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what work is limited to: %w", err)
	}
	if !stands {
		return nil, nil //nolint:nilnil // documented: nobody
	}
	return p.Within(session, scopes), nil
}
