package approval

import (
	"flag"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"cdsa.dev/cdsa/internal/decision"
	"cdsa.dev/cdsa/internal/enum"
)

// walk is one call and its request, driven only through the package's functions as a service would drive them, beside
// a plain record of what happened that the invariants are judged by.
type walk struct {
	s      Settings
	now    time.Time
	need   Requirement
	r      Request
	status enum.ToolExecutionStatus
	people []uuid.UUID // 0 is the requester
	rights map[uuid.UUID]Rights

	saidYes    map[uuid.UUID]bool
	goodYes    map[uuid.UUID]bool // with a second factor at most ten minutes old, or without having one where none is required
	saidNo     bool
	withdrawn  bool
	grantedAt  time.Time
	starts     int
	ended      enum.ToolExecutionStatus
	hash       string // of the arguments that would run
	hashBroken bool
}

func (w *walk) step(t *rapid.T, to enum.ToolExecutionStatus, reason enum.ToolReasonCode, code enum.ToolErrorCode) bool {
	err := Record(w.status, to, reason, code)
	if w.ended != "" && err == nil {
		t.Fatalf("a terminal call went from %s to %s", w.status, to)
	}
	if err != nil {
		return false
	}
	w.status = to
	if Terminal(to) {
		w.ended = to
	}
	return true
}

func (w *walk) decide(t *rapid.T) {
	by := rapid.SampledFrom(w.people).Draw(t, "approver")
	hash := rapid.SampledFrom([]string{"h", "h", "h", "other"}).Draw(t, "hash")
	if !w.rights[by].Decide || w.r.CheckDecision(by, hash, w.s.Version(), w.now) != nil {
		return
	}
	if by == w.people[0] || hash != "h" || w.saidYes[by] || w.saidNo || w.withdrawn || w.status != enum.ToolExecutionStatusAwaitingApproval {
		t.Fatalf("a decision was taken that must not be: by %v, state %s", by, w.status)
	}
	d := decision.Decision{ApproverID: by, Approved: rapid.IntRange(0, 9).Draw(t, "no") > 0, At: w.now}
	d.Enrolled = rapid.IntRange(0, 5).Draw(t, "enrolled") > 0
	if d.Enrolled && rapid.IntRange(0, 5).Draw(t, "mfa") > 0 {
		at := w.now.Add(-time.Duration(rapid.IntRange(0, 12).Draw(t, "mfaMinutes")) * time.Minute)
		d.MFAAt = &at
	}
	w.r.Decisions = append(w.r.Decisions, d)
	w.goodYes[by] = d.Approved && (d.MFAAt != nil && d.At.Sub(*d.MFAAt) <= 10*time.Minute || !d.Enrolled && !w.s.SecondFactor.Required)
	tally := w.r.Count(w.need.SecondFactor, func(id uuid.UUID) Rights { return w.rights[id] })
	switch {
	case !d.Approved:
		w.saidNo = true
		no := false
		w.r.IsApproved = &no
		w.step(t, enum.ToolExecutionStatusRejected, enum.ToolReasonCodeApproverRejected, "")
	case tally.Met:
		w.saidYes[by] = true
		yes, useBy := true, w.now.Add(w.need.GrantTTL)
		w.r.IsApproved, w.r.UseBy, w.grantedAt = &yes, &useBy, w.now
		w.mustBeQuorum(t)
		if !w.step(t, enum.ToolExecutionStatusPending, "", "") {
			t.Fatalf("a met quorum could not go on from %s", w.status)
		}
	default:
		w.saidYes[by] = true
	}
}

// mustBeQuorum counts once more, in its own way, at the moment of the grant.
func (w *walk) mustBeQuorum(t *rapid.T) {
	n, elevated := 0, false
	for _, id := range w.people[1:] {
		if w.saidYes[id] && w.rights[id].Decide && (w.need.Gate != GateElevated || w.goodYes[id]) {
			n++
			elevated = elevated || w.rights[id].DecideElevated
		}
	}
	want := map[Gate]int{GateApproval: 1, GateElevated: 2}[w.need.Gate]
	if w.saidNo || n < want || w.need.Gate == GateElevated && !elevated || !w.now.Before(t0.Add(w.need.RequestTTL)) {
		t.Fatalf("granted with %d of %d approvals (elevated %v, rejected %v)", n, want, elevated, w.saidNo)
	}
}

func (w *walk) start(t *rapid.T) {
	if w.status != enum.ToolExecutionStatusPending {
		if Transition(w.status, enum.ToolExecutionStatusRunning) == nil {
			t.Fatalf("%s may run", w.status)
		}
		return
	}
	if w.need.Gate != GateNone {
		if reason, ok := w.r.CheckGrant(w.hash, w.s.Version(), w.now); !ok {
			w.step(t, enum.ToolExecutionStatusCancelled, reason, "")
			return
		}
		at := w.now
		w.r.ConsumedAt = &at
	}
	w.step(t, enum.ToolExecutionStatusRunning, "", "")
	w.starts++
	w.mayHaveStarted(t)
}

// mayHaveStarted is the point of it all, judged from the record alone.
func (w *walk) mayHaveStarted(t *rapid.T) {
	if w.starts > 1 {
		t.Fatal("one grant, two runs")
	}
	if w.need.Gate == GateNone {
		return
	}
	if w.saidNo || w.withdrawn || w.hashBroken || len(w.saidYes) < w.need.RequiredApprovals || w.saidYes[w.people[0]] {
		t.Fatalf("ran without a clean quorum: %+v", w)
	}
	if age := w.now.Sub(w.grantedAt); w.grantedAt.IsZero() || age >= w.need.GrantTTL {
		t.Fatalf("ran on a grant %s old", age)
	}
}

func TestWalk(t *testing.T) {
	require.NoError(t, flag.Set("rapid.checks", "1500"))
	rapid.Check(t, func(t *rapid.T) {
		w := &walk{s: DefaultSettings(), now: t0, hash: "h", saidYes: map[uuid.UUID]bool{}, goodYes: map[uuid.UUID]bool{}, rights: map[uuid.UUID]Rights{}}
		w.s.SecondFactor.Required = rapid.Bool().Draw(t, "secondFactorRequired")
		for i := range 5 {
			id := uuid.UUID{15: byte(i + 1)}
			w.people = append(w.people, id)
			w.rights[id] = Rights{true, i%2 == 0}
		}
		w.need = w.s.Judge(Input{Risk: enum.RiskLevel(rapid.SampledFrom([]string{"LOW", "MEDIUM", "HIGH", "HIGH", "CRITICAL", "CRITICAL", "CRITICAL"}).Draw(t, "risk"))})
		w.r = Request{RequesterID: w.people[0], ArgsHash: "h", PolicyVersion: w.s.Version(), Elevated: w.need.Elevated(),
			RequiredApprovals: w.need.RequiredApprovals, ExpiresAt: t0.Add(w.need.RequestTTL)}
		first := enum.ToolExecutionStatusPending
		if w.need.Gate != GateNone {
			first = enum.ToolExecutionStatusAwaitingApproval
		}
		w.step(t, first, "", "")
		t.Repeat(map[string]func(*rapid.T){
			"decide": w.decide,
			"start":  w.start,
			"wait": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 400).Draw(t, "minutes")) * time.Minute / 4)
			},
			"lose": func(t *rapid.T) { w.rights[rapid.SampledFrom(w.people).Draw(t, "who")] = Rights{} },
			"withdraw": func(t *rapid.T) {
				if w.step(t, enum.ToolExecutionStatusCancelled, enum.ToolReasonCodeByRequester, "") && w.need.Gate != GateNone {
					at := w.now
					w.r.WithdrawnAt, w.withdrawn = &at, true
				}
			},
			"change": func(t *rapid.T) {
				if rapid.IntRange(0, 4).Draw(t, "rarely") == 0 {
					w.hash, w.hashBroken = "changed", true
				}
			},
			"finish": func(t *rapid.T) {
				if rapid.Bool().Draw(t, "ok") {
					w.step(t, enum.ToolExecutionStatusCompleted, "", "")
				} else {
					w.step(t, enum.ToolExecutionStatusFailed, "", enum.ToolErrorCodeTimeout)
				}
			},
			"": func(t *rapid.T) {
				state := w.r.State(w.now)
				if w.saidNo && state != enum.ApprovalStateRejected {
					t.Fatalf("rejected, yet %s", state)
				}
				if w.status == enum.ToolExecutionStatusAwaitingApproval && (state == enum.ApprovalStateApproved || state == enum.ApprovalStateConsumed) {
					t.Fatalf("%s but the call waits", state)
				}
				if state == enum.ApprovalStatePending && len(w.saidYes) > 0 {
					t.Fatal("pending after an approval")
				}
			},
		})
	})
}
