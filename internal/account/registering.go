package account

import (
	"context"
	"fmt"
	"time"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/uow"
)

// registerWindow is how long attempts to register are counted together. It ends before sweepThrottles forgets it.
const registerWindow = remembered

// registering counts an attempt to register, which costs a hash whatever comes of it, for the caller's network, on all
// replicas together. RATE_LIMITED for more than Settings.Registrations in a window, which is audited once in each.
func (s *Service) registering(ctx context.Context) error {
	now := s.now()
	var (
		attempts int
		until    time.Time
	)
	err := s.cfg.Store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		// blocked_until is the end of the window: within it the key's failures are attempts.
		err := tx.PG.QueryRow(ctx, `INSERT INTO login_throttles AS t (key, failures, last_at, blocked_until) VALUES ($1, 1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET last_at = greatest(t.last_at, excluded.last_at),
				failures = CASE WHEN t.blocked_until <= $2 THEN 1 ELSE least(t.failures + 1, 1000000) END,
				blocked_until = CASE WHEN t.blocked_until <= $2 THEN excluded.blocked_until ELSE t.blocked_until END
			RETURNING failures, blocked_until`,
			s.throttleHash("register", authz.NetworkOf(authz.RequestFrom(ctx).IP)), now, now.Add(registerWindow)).Scan(&attempts, &until)
		if err != nil {
			return fmt.Errorf("count an attempt to register: %w", err)
		}
		if attempts == s.cfg.Settings.Registrations+1 {
			tx.Audit(audit.Entry{
				Action: enum.AuditActionRateLimitExceeded, Resource: "User",
				Failed: true, Error: string(errs.RateLimited), Details: map[string]any{"of": "register", "counter": counterNames[byNetwork]},
			})
		}
		return nil
	})
	if err != nil || attempts <= s.cfg.Settings.Registrations {
		return err
	}
	e := errs.New(errs.RateLimited, "Too many accounts are being opened from your network. Wait for extensions.retryAfterMs, then try again.")
	e.RetryAfter = max(until.Sub(now), time.Millisecond)
	return e
}
