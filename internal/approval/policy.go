// Package approval decides whether a tool call needs people, holds the state machines of calls and of approval requests
// as tables, and takes the decisions of approvers.
//
// Policy, states and transitions are pure: no database, no clock of their own, and whatever is unknown or malformed
// counts as the worst case. Service and the step functions write: each step is compare-and-set on a locked row, with its
// audit row, events and jobs in one unit of work, by rights read from the database at that moment. Nothing here runs a
// tool. Everything may be called concurrently. Errors that a client may see are *errs.Error with the code each
// function names.
package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cdsa.dev/cdsa/internal/enum"
)

// rules names the code below in Settings.Version; raise it with any change that could change a Requirement.
const rules = "2"

// Gate is what stands between a permitted call and its run.
type Gate string

// The gates, rising.
const (
	GateNone     Gate = "NONE"     // the permission is enough
	GateApproval Gate = "APPROVAL" // other people decide
	GateElevated Gate = "ELEVATED" // more of them, one with a higher permission, each with a fresh second factor
)

// Settings are the numbers of the policy. They are part of its version, but for MFARoles: changing one voids what is open.
type Settings struct {
	ApprovalQuorum     int              `json:"approvalQuorum"`
	ElevatedQuorum     int              `json:"elevatedQuorum"`
	ApprovalRequestTTL time.Duration    `json:"approvalRequestTTL"` // how long a request lives
	ElevatedRequestTTL time.Duration    `json:"elevatedRequestTTL"`
	ApprovalGrantTTL   time.Duration    `json:"approvalGrantTTL"` // how soon after the last approval a run must start
	ElevatedGrantTTL   time.Duration    `json:"elevatedGrantTTL"`
	SecondFactor       SecondFactor     `json:"secondFactor"`
	RaiseMediumFrom    enum.Sensitivity `json:"raiseMediumFrom"` // from this sensitivity on, an open-world MEDIUM tool counts as HIGH
	MFARoles           []string         `json:"-"`               // whoever holds one of these roles has no rights until they have a second factor
}

// SecondFactor is what is asked of those who approve an elevated request.
type SecondFactor struct {
	Age      time.Duration `json:"age"`      // how old the second factor of an approver who has one may be
	Required bool          `json:"required"` // nobody approves without one
}

// DefaultSettings are those of the data model's table "Approval rules".
func DefaultSettings() Settings {
	return Settings{
		ApprovalQuorum: 1, ElevatedQuorum: 2,
		ApprovalRequestTTL: 24 * time.Hour, ElevatedRequestTTL: 4 * time.Hour,
		ApprovalGrantTTL: 15 * time.Minute, ElevatedGrantTTL: 5 * time.Minute,
		SecondFactor: SecondFactor{Age: 10 * time.Minute, Required: true}, RaiseMediumFrom: enum.SensitivityConfidential,
	}
}

// Validate refuses settings under which a gate would be none, or the elevated gate the lower one. All faults are
// reported together.
func (s Settings) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(s.ApprovalQuorum < 1, "approvals need at least one approver")
	fault(s.ElevatedQuorum < max(2, s.ApprovalQuorum), "elevated approvals need at least two approvers, and no fewer than ordinary ones")
	for name, d := range map[string]time.Duration{"approval request": s.ApprovalRequestTTL, "elevated request": s.ElevatedRequestTTL} {
		fault(d < time.Minute || d > 30*24*time.Hour, "the life of an %s must be within 1 minute and 30 days", name)
	}
	for name, d := range map[string]time.Duration{"approval grant": s.ApprovalGrantTTL, "elevated grant": s.ElevatedGrantTTL} {
		fault(d < time.Second || d > 24*time.Hour, "the life of an %s must be within 1 second and 24 hours", name)
	}
	fault(s.SecondFactor.Age <= 0 || s.SecondFactor.Age > time.Hour, "a second factor may be at most an hour old, and no younger than now")
	fault(!known(s.RaiseMediumFrom), "the sensitivity that raises a MEDIUM tool's risk is unknown")
	return errors.Join(faults...)
}

// Version names these settings and the rules that read them. It is stored with every request; a request of another
// version is void (approval rule 3).
func (s Settings) Version() string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("approval: settings of numbers and text cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return rules + "-" + hex.EncodeToString(sum[:6])
}

// Input is what a requirement is judged by. Nothing of it comes from the client.
type Input struct {
	Risk             enum.RiskLevel
	RequiresApproval bool             // the tool's own
	OpenWorld        bool             // the tool's hint; absent means true
	Session          enum.Sensitivity // highest the conversation has seen; "" for a call outside any
}

// Requirement is what a call needs before it may run.
type Requirement struct {
	Gate                  Gate
	EffectiveRisk         enum.RiskLevel
	RequiredApprovals     int           // distinct approvers; 0 with GateNone, as all that follows
	RequestTTL            time.Duration // a request expires this long after it was made
	GrantTTL              time.Duration // a grant lapses this long after its last approval
	SecondFactor          SecondFactor  // of each approver, with GateElevated
	RequiresJustification bool          // by the requester
	Reasons               []string      // whole sentences, for the approver's screen
}

// Elevated says whether one approver must hold approvals:decide_elevated.
func (r Requirement) Elevated() bool { return r.Gate == GateElevated }

// Judge gives the requirement of a call. An unknown risk is CRITICAL, an unknown sensitivity RESTRICTED.
func (s Settings) Judge(in Input) Requirement {
	r := Requirement{EffectiveRisk: in.Risk}
	raise := func(to enum.RiskLevel, why string) {
		r.EffectiveRisk = to
		r.Reasons = append(r.Reasons, why)
	}
	if !slices.Contains(in.Risk.Values(), string(in.Risk)) {
		raise(enum.RiskLevelCritical, "The tool's risk is unknown, which counts as the highest.")
	}
	if r.EffectiveRisk == enum.RiskLevelMedium && in.OpenWorld && s.reaches(in.Session) {
		raise(enum.RiskLevelHigh, "The tool reaches beyond this system and the conversation holds confidential data.")
	}
	if in.RequiresApproval && (r.EffectiveRisk == enum.RiskLevelLow || r.EffectiveRisk == enum.RiskLevelMedium) {
		raise(enum.RiskLevelHigh, "The tool is set to require approval.")
	}
	switch r.EffectiveRisk {
	case enum.RiskLevelLow, enum.RiskLevelMedium:
		r.Gate = GateNone
	case enum.RiskLevelHigh:
		r.Gate, r.RequiredApprovals = GateApproval, s.ApprovalQuorum
		r.RequestTTL, r.GrantTTL = s.ApprovalRequestTTL, s.ApprovalGrantTTL
	default:
		r.Gate, r.RequiredApprovals = GateElevated, s.ElevatedQuorum
		r.RequestTTL, r.GrantTTL = s.ElevatedRequestTTL, s.ElevatedGrantTTL
		r.SecondFactor, r.RequiresJustification = s.SecondFactor, true
	}
	if r.Gate != GateNone && len(r.Reasons) == 0 {
		r.Reasons = []string{fmt.Sprintf("The tool's risk is %s.", r.EffectiveRisk)}
	}
	return r
}

// reaches says whether a conversation is sensitive enough to raise a MEDIUM tool.
func (s Settings) reaches(v enum.Sensitivity) bool {
	if v == "" {
		return false
	}
	return !known(v) || slices.Index(v.Values(), string(v)) >= slices.Index(v.Values(), string(s.RaiseMediumFrom))
}

func known(v enum.Sensitivity) bool { return slices.Contains(v.Values(), string(v)) }
