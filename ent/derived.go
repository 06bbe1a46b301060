package ent

import (
	"time"

	"cdsa.dev/cdsa/internal/enum"
)

// The derived properties of the entities. They are computed from the row alone and follow the clock of this process.

// nearLimitPercent is where a context window counts as nearly full; the source document says 80 %.
const nearLimitPercent = 80

// IsExpired says whether the session's time is over.
func (s *Session) IsExpired() bool { return !time.Now().Before(s.ExpiresAt) }

// UsagePercentage is how much of the window is used, 0..100 and above when it overflows; 0 for an empty window.
func (w *ContextWindow) UsagePercentage() float64 {
	if w.MaxTokens <= 0 {
		return 0
	}
	return float64(w.TotalTokens) * 100 / float64(w.MaxTokens)
}

// IsNearLimit says whether more than 80 % of the window is used.
func (w *ContextWindow) IsNearLimit() bool { return w.UsagePercentage() > nearLimitPercent }

// IsPending says whether the call has not begun: it waits for a person or for a worker.
func (x *ToolExecution) IsPending() bool {
	return x.Status == enum.ToolExecutionStatusAwaitingApproval || x.Status == enum.ToolExecutionStatusPending
}

// IsRunning says whether a worker runs the call.
func (x *ToolExecution) IsRunning() bool { return x.Status == enum.ToolExecutionStatusRunning }

// IsComplete says whether the call has ended, however it ended.
func (x *ToolExecution) IsComplete() bool { return !x.IsPending() && !x.IsRunning() }

// State is where the request stands now; expiry is judged by the clock, not by a sweeper.
func (a *ToolApproval) State() enum.ApprovalState { return a.StateAt(time.Now()) }

// StateAt is State at a given time.
func (a *ToolApproval) StateAt(now time.Time) enum.ApprovalState {
	switch {
	case a.WithdrawnAt != nil:
		return enum.ApprovalStateWithdrawn
	case a.IsApproved != nil && !*a.IsApproved:
		return enum.ApprovalStateRejected
	case a.ConsumedAt != nil:
		return enum.ApprovalStateConsumed
	case a.IsApproved != nil:
		if a.UseBy != nil && !now.Before(*a.UseBy) {
			return enum.ApprovalStateExpired
		}
		return enum.ApprovalStateApproved
	case !now.Before(a.ExpiresAt):
		return enum.ApprovalStateExpired
	case len(a.Decisions) > 0:
		return enum.ApprovalStatePartiallyApproved
	default:
		return enum.ApprovalStatePending
	}
}

// IsPending says whether decisions are still wanted.
func (a *ToolApproval) IsPending() bool {
	s := a.State()
	return s == enum.ApprovalStatePending || s == enum.ApprovalStatePartiallyApproved
}

// IsExpired says whether the request or its grant lapsed.
func (a *ToolApproval) IsExpired() bool { return a.State() == enum.ApprovalStateExpired }

// IsExpired says whether the result may no longer be reused.
func (c *ToolCache) IsExpired() bool { return !time.Now().Before(c.ExpiresAt) }

// AgeDays is the row's age in whole days.
func (l *AuditLog) AgeDays() int { return int(time.Since(l.CreatedAt) / (24 * time.Hour)) }

// ShouldBeRetained says whether the row's retention has not run out.
func (l *AuditLog) ShouldBeRetained() bool { return l.AgeDays() < l.RetentionDays }

// IsExpired says whether the secret's time is over.
func (s *Secret) IsExpired() bool { return s.ExpiresAt != nil && !time.Now().Before(*s.ExpiresAt) }

// NeedsRotation says whether the secret rotates by itself and its time has come.
func (s *Secret) NeedsRotation() bool {
	return s.RotationEnabled && s.NextRotation != nil && !time.Now().Before(*s.NextRotation)
}
