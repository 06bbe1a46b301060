package approval

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"cdsa.dev/cdsa/internal/authz"
)

// people reads who is active and what their roles give, now: rights are never taken from what a token or a cache said
// when something is decided or begun.
const people = `SELECT u.id, u.username::text, u.is_superuser,
	COALESCE(array_agg(DISTINCT p.resource || ':' || p.action) FILTER (WHERE p.id IS NOT NULL), '{}')
FROM users u
LEFT JOIN user_roles ur ON ur.user_id = u.id
LEFT JOIN role_permissions rp ON rp.role_id = ur.role_id
LEFT JOIN permissions p ON p.id = rp.permission_id
WHERE u.id = ANY($1) AND u.is_active AND u.erased_at IS NULL
GROUP BY u.id`

// Load reads the principals of users from the database in the caller's transaction, without login sessions. Who is
// deactivated, erased or unknown is not in the map.
func Load(ctx context.Context, tx pgx.Tx, ids ...uuid.UUID) (map[uuid.UUID]*authz.Principal, error) {
	rows, err := tx.Query(ctx, people, ids)
	if err != nil {
		return nil, fmt.Errorf("read rights: %w", err)
	}
	defer rows.Close()
	out := map[uuid.UUID]*authz.Principal{}
	for rows.Next() {
		var id uuid.UUID
		var name string
		var superuser bool
		var perms []string
		if err := rows.Scan(&id, &name, &superuser, &perms); err != nil {
			return nil, fmt.Errorf("read rights: %w", err)
		}
		out[id] = authz.NewUser(id, name, uuid.Nil, superuser, time.Time{}, perms...)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rights: %w", err)
	}
	return out, nil
}

// rightsOf gives what the loaded principals may decide; the unknown nothing.
func rightsOf(loaded map[uuid.UUID]*authz.Principal) func(uuid.UUID) Rights {
	return func(id uuid.UUID) Rights {
		p := loaded[id]
		return Rights{Decide: p.Can("approvals:decide"), DecideElevated: p.Can("approvals:decide_elevated")}
	}
}

// MayCall says whether p may call a tool that needs the permission besides tools:execute.
func MayCall(p *authz.Principal, required *string) bool {
	return p.Can("tools:execute") && (required == nil || *required == "" || p.Can(*required))
}

// secondFactorAt is when the login session last gave a second factor; nil for never or no session.
func secondFactorAt(ctx context.Context, tx pgx.Tx, p *authz.Principal) (*time.Time, error) {
	var at *time.Time
	err := tx.QueryRow(ctx, `SELECT mfa_at FROM sessions WHERE id = $1 AND user_id = $2 AND is_active`, p.SessionID, p.UserID).Scan(&at)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the second factor: %w", err)
	}
	return at, nil
}
