package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"time"

	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/fact"
	"cdsa.dev/cdsa/internal/ratelimit"
)

// tellEvery is how often replicas tell each other what was spent.
const tellEvery = time.Second / 2

// newLimiter makes the request budgets, which all replicas share by signals.
func (a *App) newLimiter(identityKey []byte) (*ratelimit.Limiter, error) {
	secret, err := hkdf.Key(sha256.New, identityKey, nil, "cdsa request budgets", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("key of the request budgets: %w", err)
	}
	return ratelimit.New(ratelimit.Config{
		Points: a.cfg.Limits.RatePoints, Refill: a.cfg.Limits.RateRefill, Secret: secret,
		Tell: func(message []byte) { a.signal(fact.Spent, message) },
		Record: func(ctx context.Context, n ratelimit.Note) error {
			return a.audit.Record(ctx, audit.Entry{
				Action: enum.AuditActionRateLimitExceeded, Failed: true, Error: string(errs.RateLimited), Details: map[string]any{"of": "requests", "refused": n.Refused},
			})
		},
	})
}
