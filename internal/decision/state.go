package decision

import (
	"time"

	"cdsa.dev/cdsa/internal/enum"
)

// Facts are the columns of an approval request that its state follows from.
type Facts struct {
	IsApproved  *bool // nil while open
	Decisions   []Decision
	ExpiresAt   time.Time
	UseBy       *time.Time // of the grant
	ConsumedAt  *time.Time
	WithdrawnAt *time.Time
}

// State derives the state at a time. What happened stays what it was; only what is still open, or granted and unused,
// expires. A grant without a time to use it by is expired. StateSQL says the same.
func (f Facts) State(now time.Time) enum.ApprovalState {
	approvals := 0
	for _, d := range f.Decisions {
		if !d.Approved {
			return enum.ApprovalStateRejected
		}
		approvals++
	}
	switch {
	case f.IsApproved != nil && !*f.IsApproved:
		return enum.ApprovalStateRejected
	case f.ConsumedAt != nil:
		return enum.ApprovalStateConsumed
	case f.WithdrawnAt != nil:
		return enum.ApprovalStateWithdrawn
	case f.IsApproved != nil && (f.UseBy == nil || !now.Before(*f.UseBy)):
		return enum.ApprovalStateExpired
	case f.IsApproved != nil:
		return enum.ApprovalStateApproved
	case !now.Before(f.ExpiresAt):
		return enum.ApprovalStateExpired
	case approvals > 0:
		return enum.ApprovalStatePartiallyApproved
	default:
		return enum.ApprovalStatePending
	}
}

// StateSQL is State as a SQL expression over the columns, {now} being the time.
const StateSQL = `CASE
	WHEN decisions @> '[{"approved": false}]' OR NOT is_approved THEN 'REJECTED'
	WHEN consumed_at IS NOT NULL THEN 'CONSUMED'
	WHEN withdrawn_at IS NOT NULL THEN 'WITHDRAWN'
	WHEN is_approved AND (use_by IS NULL OR use_by <= {now}) THEN 'EXPIRED'
	WHEN is_approved THEN 'APPROVED'
	WHEN expires_at <= {now} THEN 'EXPIRED'
	WHEN decisions @> '[{"approved": true}]' THEN 'PARTIALLY_APPROVED'
	ELSE 'PENDING' END`

// OpenSQL is true of every request that decisions are still taken on, and lets an index find them.
const OpenSQL = `responded_at IS NULL AND withdrawn_at IS NULL AND expires_at > {now}`
