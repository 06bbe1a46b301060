package account

import (
	"context"
	"fmt"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/uow"
)

// NoteSigningKey records that access tokens are signed with a key from now on. Of all replicas that say so one writes
// the audit row, SIGNING_KEY_ROTATED, once for a key; the first key there ever was is no rotation.
func (s *Service) NoteSigningKey(ctx context.Context, kid string) error {
	return s.cfg.Store.Do(asSystem(ctx), func(ctx context.Context, tx *uow.Tx) error {
		var first, fresh bool
		err := tx.PG.QueryRow(ctx, `WITH fresh AS (INSERT INTO signing_keys (kid) VALUES ($1) ON CONFLICT DO NOTHING RETURNING kid)
			SELECT NOT EXISTS (SELECT FROM signing_keys), EXISTS (SELECT FROM fresh)`, kid).Scan(&first, &fresh)
		if err != nil {
			return fmt.Errorf("note a signing key: %w", err)
		}
		if fresh && !first {
			tx.Audit(audit.Entry{Action: enum.AuditActionSigningKeyRotated, Resource: "SigningKey", Details: map[string]any{"kid": kid}})
		}
		return nil
	})
}
