package approval

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTransition_EveryPair(t *testing.T) {
	const (
		awaiting, pending, running = enum.ToolExecutionStatusAwaitingApproval, enum.ToolExecutionStatusPending, enum.ToolExecutionStatusRunning
		completed, failed          = enum.ToolExecutionStatusCompleted, enum.ToolExecutionStatusFailed
		rejected, cancelled        = enum.ToolExecutionStatusRejected, enum.ToolExecutionStatusCancelled
		unknown                    = enum.ToolExecutionStatus("LOST")
	)
	allowed := map[[2]enum.ToolExecutionStatus]bool{
		{None, pending}: true, {None, awaiting}: true, {None, rejected}: true, {None, completed}: true,
		{awaiting, pending}: true, {awaiting, rejected}: true, {awaiting, cancelled}: true,
		{pending, running}: true, {pending, cancelled}: true,
		{running, completed}: true, {running, failed}: true, {running, cancelled}: true,
	}
	all := []enum.ToolExecutionStatus{None, awaiting, pending, running, completed, failed, rejected, cancelled, unknown}
	n := 0
	for _, from := range all {
		for _, to := range all {
			err := Transition(from, to)
			if allowed[[2]enum.ToolExecutionStatus{from, to}] {
				n++
				require.NoError(t, err, "%s -> %s", from, to)
				continue
			}
			e, ok := errs.As(err)
			require.True(t, ok, "%s -> %s", from, to)
			require.Equal(t, errs.IllegalTransition, e.Code)
			require.Equal(t, string(from), e.State)
		}
	}
	require.Equal(t, len(Steps), n)
	for _, s := range all {
		require.Equal(t, s == completed || s == failed || s == rejected || s == cancelled || s == unknown, Terminal(s), s)
	}
}

func TestRecord_EveryReason(t *testing.T) {
	for _, s := range Steps {
		for _, r := range append([]string{""}, enum.ToolReasonCode("").Values()...) {
			for _, c := range append([]string{""}, enum.ToolErrorCode("").Values()...) {
				reason, code := enum.ToolReasonCode(r), enum.ToolErrorCode(c)
				ends := s.To == enum.ToolExecutionStatusRejected || s.To == enum.ToolExecutionStatusCancelled
				fails := s.To == enum.ToolExecutionStatusFailed
				err := Record(s.From, s.To, reason, code)
				if ends != (r != "") || fails != (c != "") {
					require.Error(t, err, "%s -> %s %q %q", s.From, s.To, r, c)
					continue
				}
				listed := !ends
				for _, x := range s.Reasons {
					listed = listed || x == reason
				}
				require.Equal(t, listed, err == nil, "%s -> %s %q %q: %v", s.From, s.To, r, c, err)
			}
		}
	}
	require.True(t, errs.Is(Record("FAILED", "RUNNING", "", ""), errs.IllegalTransition))
	used := map[enum.ToolReasonCode]bool{}
	for _, s := range Steps {
		for _, r := range s.Reasons {
			used[r] = true
		}
	}
	require.Len(t, used, len(enum.ToolReasonCode("").Values()), "every reason has a step")
}

func TestRequest_State(t *testing.T) {
	yes, no := true, false
	past, future := t0.Add(-time.Second), t0.Add(time.Second)
	ok := decision.Decision{ApproverID: uuid.New(), Approved: true, At: past}
	nay := decision.Decision{ApproverID: uuid.New(), At: past}
	open := Request{ExpiresAt: future}
	for name, c := range map[string]struct {
		r    Request
		want enum.ApprovalState
	}{
		"Pending":              {open, enum.ApprovalStatePending},
		"Expired":              {Request{ExpiresAt: past}, enum.ApprovalStateExpired},
		"ExpiredToTheInstant":  {Request{ExpiresAt: t0}, enum.ApprovalStateExpired},
		"NeverExpires":         {Request{}, enum.ApprovalStateExpired},
		"Partial":              {Request{ExpiresAt: future, Decisions: []decision.Decision{ok}}, enum.ApprovalStatePartiallyApproved},
		"PartialExpired":       {Request{ExpiresAt: past, Decisions: []decision.Decision{ok}}, enum.ApprovalStateExpired},
		"Rejected":             {Request{ExpiresAt: past, IsApproved: &no, Decisions: []decision.Decision{ok, nay}}, enum.ApprovalStateRejected},
		"RejectedNotRolledUp":  {Request{ExpiresAt: future, Decisions: []decision.Decision{nay}}, enum.ApprovalStateRejected},
		"Withdrawn":            {Request{ExpiresAt: past, WithdrawnAt: &past}, enum.ApprovalStateWithdrawn},
		"WithdrawnAfterGrant":  {Request{IsApproved: &yes, UseBy: &future, WithdrawnAt: &past}, enum.ApprovalStateWithdrawn},
		"Approved":             {Request{ExpiresAt: past, IsApproved: &yes, UseBy: &future, Decisions: []decision.Decision{ok}}, enum.ApprovalStateApproved},
		"GrantLapsed":          {Request{ExpiresAt: future, IsApproved: &yes, UseBy: &past}, enum.ApprovalStateExpired},
		"GrantLapsedToInstant": {Request{ExpiresAt: future, IsApproved: &yes, UseBy: &t0}, enum.ApprovalStateExpired},
		"GrantWithoutUseBy":    {Request{ExpiresAt: future, IsApproved: &yes}, enum.ApprovalStateExpired},
		"Consumed":             {Request{ExpiresAt: past, IsApproved: &yes, UseBy: &past, ConsumedAt: &past}, enum.ApprovalStateConsumed},
		"RejectedAndConsumed":  {Request{IsApproved: &yes, ConsumedAt: &past, Decisions: []decision.Decision{nay}}, enum.ApprovalStateRejected},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, c.r.State(t0))
			require.Equal(t, c.want == enum.ApprovalStatePending || c.want == enum.ApprovalStatePartiallyApproved, c.r.Open(t0))
		})
	}
}

func TestRequest_CheckDecision(t *testing.T) {
	requester, approver, other := uuid.New(), uuid.New(), uuid.New()
	yes := true
	past, future := t0.Add(-time.Second), t0.Add(time.Second)
	base := Request{RequesterID: requester, ArgsHash: "h", PolicyVersion: "p", RequiredApprovals: 2, ExpiresAt: future}
	with := func(f func(*Request)) Request { r := base; f(&r); return r }
	for name, c := range map[string]struct {
		r            Request
		by           uuid.UUID
		hash, policy string
		code         errs.Code
		state        string
	}{
		"OK":        {base, approver, "h", "p", "", ""},
		"Second":    {with(func(r *Request) { r.Decisions = []decision.Decision{{ApproverID: other, Approved: true}} }), approver, "h", "p", "", ""},
		"Self":      {base, requester, "h", "p", errs.Forbidden, ""},
		"Nobody":    {base, uuid.Nil, "h", "p", errs.Forbidden, ""},
		"Twice":     {with(func(r *Request) { r.Decisions = []decision.Decision{{ApproverID: approver, Approved: true}} }), approver, "h", "p", errs.Conflict, ""},
		"OtherHash": {base, approver, "H", "p", errs.Conflict, ""},
		"NoHash":    {with(func(r *Request) { r.ArgsHash = "" }), approver, "", "p", errs.Conflict, ""},
		"Policy":    {base, approver, "h", "q", errs.FailedPrecondition, "PENDING"},
		"Expired":   {with(func(r *Request) { r.ExpiresAt = past }), approver, "h", "p", errs.Expired, "EXPIRED"},
		"Rejected":  {with(func(r *Request) { r.Decisions = []decision.Decision{{ApproverID: other}} }), approver, "h", "p", errs.IllegalTransition, "REJECTED"},
		"Withdrawn": {with(func(r *Request) { r.WithdrawnAt = &past }), approver, "h", "p", errs.IllegalTransition, "WITHDRAWN"},
		"Approved":  {with(func(r *Request) { r.IsApproved, r.UseBy = &yes, &future }), approver, "h", "p", errs.IllegalTransition, "APPROVED"},
		"Consumed":  {with(func(r *Request) { r.IsApproved, r.ConsumedAt = &yes, &past }), approver, "h", "p", errs.IllegalTransition, "CONSUMED"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.r.CheckDecision(c.by, c.hash, c.policy, t0)
			if c.code == "" {
				require.NoError(t, err)
				return
			}
			e, ok := errs.As(err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.code, e.Code)
			require.Equal(t, c.state, e.State)
		})
	}
}

func TestRequest_CheckGrant(t *testing.T) {
	yes := true
	past, future := t0.Add(-time.Second), t0.Add(time.Second)
	granted := Request{ArgsHash: "h", PolicyVersion: "p", IsApproved: &yes, UseBy: &future}
	check := func(r Request, hash, policy string, want enum.ToolReasonCode) {
		t.Helper()
		reason, ok := r.CheckGrant(hash, policy, t0)
		require.Equal(t, want, reason)
		require.Equal(t, want == "", ok)
	}
	check(granted, "h", "p", "")
	check(granted, "x", "p", enum.ToolReasonCodeToolChanged)
	check(granted, "h", "q", enum.ToolReasonCodeToolChanged)
	check(Request{IsApproved: &yes, UseBy: &future}, "", "", enum.ToolReasonCodeToolChanged)
	lapsed, used, open := granted, granted, granted
	lapsed.UseBy, used.ConsumedAt, open.IsApproved = &past, &past, nil
	check(lapsed, "h", "p", enum.ToolReasonCodeGrantLapsed)
	check(used, "h", "p", enum.ToolReasonCodeGrantLapsed)
	check(open, "h", "p", enum.ToolReasonCodeGrantLapsed)
}

// Whether a second factor is required of all, or only of those who have one.
var (
	production  = SecondFactor{Age: 10 * time.Minute, Required: true}
	development = SecondFactor{Age: 10 * time.Minute}
)

func TestRequest_Count(t *testing.T) {
	requester, ann, bob, eve := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	rights := func(id uuid.UUID) Rights {
		switch id {
		case ann, requester:
			return Rights{true, true}
		case bob:
			return Rights{true, false}
		}
		return Rights{}
	}
	mfa := func(ago time.Duration) *time.Time { at := t0.Add(-ago); return &at }
	yes := func(id uuid.UUID, m *time.Time) decision.Decision {
		return decision.Decision{ApproverID: id, Approved: true, At: t0, MFAAt: m, Enrolled: m != nil}
	}
	late := func(id uuid.UUID) decision.Decision { // has a second factor and did not give it
		return decision.Decision{ApproverID: id, Approved: true, At: t0, Enrolled: true}
	}
	fresh, stale, ahead, future := mfa(10*time.Minute), mfa(10*time.Minute+1), mfa(-time.Minute), mfa(-time.Minute-1)
	for name, c := range map[string]struct {
		elevated bool
		required int
		d        []decision.Decision
		want     Tally
	}{
		"None":              {false, 1, nil, Tally{}},
		"One":               {false, 1, []decision.Decision{yes(bob, nil)}, Tally{1, false, false, true}},
		"RequiredZeroIsOne": {false, 0, nil, Tally{}},
		"Requester":         {false, 1, []decision.Decision{yes(requester, fresh)}, Tally{}},
		"RightsLost":        {false, 1, []decision.Decision{yes(eve, fresh)}, Tally{}},
		"SamePersonTwice":   {false, 2, []decision.Decision{yes(bob, nil), yes(bob, nil)}, Tally{1, false, false, false}},
		"Rejection":         {false, 1, []decision.Decision{yes(bob, nil), {ApproverID: ann}}, Tally{1, false, true, false}},
		"RejectionStands":   {false, 1, []decision.Decision{yes(bob, nil), {ApproverID: eve}}, Tally{1, false, true, false}},
		"Elevated":          {true, 2, []decision.Decision{yes(ann, fresh), yes(bob, mfa(0))}, Tally{2, true, false, true}},
		"ElevatedOne":       {true, 1, []decision.Decision{yes(ann, fresh)}, Tally{1, true, false, false}},
		"ElevatedNoMFA":     {true, 2, []decision.Decision{yes(ann, fresh), yes(bob, nil)}, Tally{1, true, false, false}},
		"ElevatedNotGiven":  {true, 2, []decision.Decision{yes(ann, fresh), late(bob)}, Tally{1, true, false, false}},
		"ElevatedStale":     {true, 2, []decision.Decision{yes(ann, stale), yes(bob, fresh)}, Tally{1, false, false, false}},
		"ElevatedAhead":     {true, 2, []decision.Decision{yes(ann, fresh), yes(bob, ahead)}, Tally{2, true, false, true}}, // another replica's clock
		"ElevatedFuture":    {true, 2, []decision.Decision{yes(ann, fresh), yes(bob, future)}, Tally{1, true, false, false}},
		"ElevatedLowOnly":   {true, 2, []decision.Decision{yes(bob, fresh), yes(eve, fresh)}, Tally{1, false, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Request{RequesterID: requester, Elevated: c.elevated, RequiredApprovals: c.required, Decisions: c.d}
			require.Equal(t, c.want, r.Count(production, rights))
		})
	}
	t.Run("ElevatedWithoutHolder", func(t *testing.T) {
		r := Request{RequesterID: requester, Elevated: true, RequiredApprovals: 2, Decisions: []decision.Decision{yes(bob, fresh), yes(eve, fresh)}}
		all := func(uuid.UUID) Rights { return Rights{Decide: true} }
		require.Equal(t, Tally{2, false, false, false}, r.Count(production, all))
		require.False(t, r.Count(development, all).Met, "not without a holder of decide_elevated")
	})
	t.Run("NotRequired", func(t *testing.T) {
		for name, c := range map[string]struct {
			d   []decision.Decision
			met bool
		}{
			"NoneHasOne": {[]decision.Decision{yes(bob, nil), yes(ann, nil)}, true},
			"Mixed":      {[]decision.Decision{yes(bob, nil), yes(ann, fresh)}, true},
			"NotGiven":   {[]decision.Decision{yes(bob, nil), late(ann)}, false},
			"Stale":      {[]decision.Decision{yes(bob, nil), yes(ann, stale)}, false},
		} {
			r := Request{RequesterID: requester, Elevated: true, RequiredApprovals: 2, Decisions: c.d}
			require.Equal(t, c.met, r.Count(development, rights).Met, name)
			if !c.met {
				require.False(t, r.Count(production, rights).Met, name)
			}
		}
	})
}
