package ent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/enum"
)

// ago and ahead are far enough from now that no slow machine can cross them.
func ago() time.Time   { return time.Now().Add(-time.Hour) }
func ahead() time.Time { return time.Now().Add(time.Hour) }

func TestSession_IsExpired(t *testing.T) {
	require.True(t, (&ent.Session{ExpiresAt: ago()}).IsExpired())
	require.True(t, (&ent.Session{}).IsExpired(), "no time is in the past")
	require.False(t, (&ent.Session{ExpiresAt: ahead()}).IsExpired())
}

func TestContextWindow_Usage(t *testing.T) {
	for _, c := range []struct {
		total, limit int
		percent      float64
		near         bool
	}{
		{0, 8192, 0, false}, {0, 0, 0, false}, {100, 0, 0, false}, {100, -1, 0, false},
		{50, 100, 50, false}, {80, 100, 80, false}, {81, 100, 81, true}, {100, 100, 100, true}, {150, 100, 150, true},
	} {
		w := &ent.ContextWindow{TotalTokens: c.total, MaxTokens: c.limit}
		require.InDelta(t, c.percent, w.UsagePercentage(), 1e-9, "%+v", c)
		require.Equal(t, c.near, w.IsNearLimit(), "%+v", c)
	}
}

func TestToolExecution_State(t *testing.T) {
	want := map[enum.ToolExecutionStatus]string{
		enum.ToolExecutionStatusAwaitingApproval: "pending", enum.ToolExecutionStatusPending: "pending", enum.ToolExecutionStatusRunning: "running",
		enum.ToolExecutionStatusCompleted: "complete", enum.ToolExecutionStatusFailed: "complete", enum.ToolExecutionStatusRejected: "complete", enum.ToolExecutionStatusCancelled: "complete",
	}
	require.Len(t, enum.ToolExecutionStatus("").Values(), len(want), "a status without a row")
	for status, state := range want {
		x := &ent.ToolExecution{Status: status}
		require.Equal(t, state == "pending", x.IsPending(), "%s", status)
		require.Equal(t, state == "running", x.IsRunning(), "%s", status)
		require.Equal(t, state == "complete", x.IsComplete(), "%s", status)
	}
}

func TestToolApproval_StateAt(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	before, after := new(now.Add(-time.Second)), now.Add(time.Second)
	yes, no := new(true), new(false)
	one := []decision.Decision{{Approved: true}}
	for name, c := range map[string]struct {
		a    ent.ToolApproval
		want enum.ApprovalState
	}{
		"open":                        {ent.ToolApproval{ExpiresAt: after}, enum.ApprovalStatePending},
		"one of two":                  {ent.ToolApproval{ExpiresAt: after, Decisions: one}, enum.ApprovalStatePartiallyApproved},
		"one of two, late":            {ent.ToolApproval{ExpiresAt: *before, Decisions: one}, enum.ApprovalStateExpired},
		"lapsed":                      {ent.ToolApproval{ExpiresAt: *before}, enum.ApprovalStateExpired},
		"lapses at the instant":       {ent.ToolApproval{ExpiresAt: now}, enum.ApprovalStateExpired},
		"approved":                    {ent.ToolApproval{ExpiresAt: after, IsApproved: yes, UseBy: &after}, enum.ApprovalStateApproved},
		"approved outlives request":   {ent.ToolApproval{ExpiresAt: *before, IsApproved: yes, UseBy: &after}, enum.ApprovalStateApproved},
		"approved without a limit":    {ent.ToolApproval{ExpiresAt: *before, IsApproved: yes}, enum.ApprovalStateExpired},
		"grant lapsed":                {ent.ToolApproval{ExpiresAt: after, IsApproved: yes, UseBy: before}, enum.ApprovalStateExpired},
		"grant lapses at the instant": {ent.ToolApproval{ExpiresAt: after, IsApproved: yes, UseBy: &now}, enum.ApprovalStateExpired},
		"consumed":                    {ent.ToolApproval{ExpiresAt: after, IsApproved: yes, ConsumedAt: before, UseBy: &after}, enum.ApprovalStateConsumed},
		"consumed, then past use":     {ent.ToolApproval{ExpiresAt: *before, IsApproved: yes, ConsumedAt: before, UseBy: before}, enum.ApprovalStateConsumed},
		"rejected":                    {ent.ToolApproval{ExpiresAt: after, IsApproved: no}, enum.ApprovalStateRejected},
		"rejected, late":              {ent.ToolApproval{ExpiresAt: *before, IsApproved: no, Decisions: one}, enum.ApprovalStateRejected},
		"rejected, never consumed":    {ent.ToolApproval{ExpiresAt: after, IsApproved: no, ConsumedAt: before}, enum.ApprovalStateRejected},
		"withdrawn":                   {ent.ToolApproval{ExpiresAt: after, WithdrawnAt: before}, enum.ApprovalStateWithdrawn},
		"withdrawn, though approved":  {ent.ToolApproval{ExpiresAt: after, WithdrawnAt: before, IsApproved: yes, UseBy: &after}, enum.ApprovalStateWithdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.a.StateAt(now)
			require.Equal(t, c.want, got)
		})
	}
}

func TestToolApproval_Now(t *testing.T) {
	open, partly := &ent.ToolApproval{ExpiresAt: ahead()}, &ent.ToolApproval{ExpiresAt: ahead(), Decisions: []decision.Decision{{Approved: true}}}
	lapsed, approved := &ent.ToolApproval{ExpiresAt: ago()}, &ent.ToolApproval{ExpiresAt: ahead(), IsApproved: new(true), UseBy: new(ahead())}
	for _, c := range []struct {
		a                *ent.ToolApproval
		pending, expired bool
	}{{open, true, false}, {partly, true, false}, {lapsed, false, true}, {approved, false, false}} {
		require.Equal(t, c.pending, c.a.IsPending())
		require.Equal(t, c.expired, c.a.IsExpired())
		require.Equal(t, c.a.StateAt(time.Now()), c.a.State())
	}
}

func TestToolCache_IsExpired(t *testing.T) {
	require.True(t, (&ent.ToolCache{ExpiresAt: ago()}).IsExpired())
	require.False(t, (&ent.ToolCache{ExpiresAt: ahead()}).IsExpired())
}

func TestAuditLog_Retention(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		age      time.Duration
		keep     int
		days     int
		retained bool
	}{
		{0, 365, 0, true}, {day - time.Hour, 1, 0, true}, {day + time.Hour, 1, 1, false}, {day + time.Hour, 2, 1, true},
		{365*day + time.Hour, 365, 365, false}, {364*day + time.Hour, 365, 364, true}, {time.Hour, 0, 0, false},
	} {
		l := &ent.AuditLog{CreatedAt: time.Now().Add(-c.age), RetentionDays: c.keep}
		require.Equal(t, c.days, l.AgeDays(), "%+v", c)
		require.Equal(t, c.retained, l.ShouldBeRetained(), "%+v", c)
	}
}

func TestSecret_Times(t *testing.T) {
	require.False(t, (&ent.Secret{}).IsExpired(), "no end")
	require.True(t, (&ent.Secret{ExpiresAt: new(ago())}).IsExpired())
	require.False(t, (&ent.Secret{ExpiresAt: new(ahead())}).IsExpired())
	for _, c := range []struct {
		enabled bool
		next    *time.Time
		want    bool
	}{{false, nil, false}, {true, nil, false}, {false, new(ago()), false}, {true, new(ahead()), false}, {true, new(ago()), true}} {
		require.Equal(t, c.want, (&ent.Secret{RotationEnabled: c.enabled, NextRotation: c.next}).NeedsRotation(), "%+v", c)
	}
}
