package ent

import (
	"strings"
	"time"

	"entgo.io/ent/dialect/sql"

	"cdsa.dev/cdsa/ent/predicate"
	"cdsa.dev/cdsa/internal/decision"
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

// StateAt is State at a given time; decision.Facts has the rule.
func (a *ToolApproval) StateAt(now time.Time) enum.ApprovalState {
	return decision.Facts{IsApproved: a.IsApproved, Decisions: a.Decisions, ExpiresAt: a.ExpiresAt, UseBy: a.UseBy, ConsumedAt: a.ConsumedAt,
		WithdrawnAt: a.WithdrawnAt}.State(now)
}

// ToolApprovalInState is true of the requests that are in one of the states at a given time, as StateAt says.
func ToolApprovalInState(now time.Time, states ...enum.ApprovalState) predicate.ToolApproval {
	return func(s *sql.Selector) {
		names := make([]any, len(states))
		open := true
		for i, v := range states {
			names[i] = string(v)
			open = open && (v == enum.ApprovalStatePending || v == enum.ApprovalStatePartiallyApproved)
		}
		if len(names) == 0 {
			s.Where(sql.False())
			return
		}
		s.Where(sql.P(func(b *sql.Builder) {
			timed(b, "("+decision.StateSQL+") IN (", now)
			b.Args(names...).WriteString(")")
			if open {
				timed(b, " AND "+decision.OpenSQL, now)
			}
		}))
	}
}

// timed writes SQL with the time where it says {now}.
func timed(b *sql.Builder, text string, now time.Time) {
	for i, part := range strings.Split(text, "{now}") {
		if i > 0 {
			b.Arg(now)
		}
		b.WriteString(part)
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
