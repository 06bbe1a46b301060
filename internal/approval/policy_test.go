package approval

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/enum"
)

func TestSettings_Judge(t *testing.T) {
	s := DefaultSettings()
	require.NoError(t, s.Validate())
	none := func(r enum.RiskLevel) Requirement { return Requirement{Gate: GateNone, EffectiveRisk: r} }
	high := Requirement{Gate: GateApproval, EffectiveRisk: enum.RiskLevelHigh, RequiredApprovals: 1, RequestTTL: 24 * time.Hour, GrantTTL: 15 * time.Minute}
	critical := Requirement{Gate: GateElevated, EffectiveRisk: enum.RiskLevelCritical, RequiredApprovals: 2, RequestTTL: 4 * time.Hour,
		GrantTTL: 5 * time.Minute, SecondFactor: SecondFactor{Age: 10 * time.Minute, Required: true}, RequiresJustification: true}
	for name, c := range map[string]struct {
		in   Input
		want Requirement
	}{
		"Low":                      {Input{Risk: enum.RiskLevelLow}, none(enum.RiskLevelLow)},
		"LowOpenConfidential":      {Input{Risk: enum.RiskLevelLow, OpenWorld: true, Session: enum.SensitivityRestricted}, none(enum.RiskLevelLow)},
		"LowRequiresApproval":      {Input{Risk: enum.RiskLevelLow, RequiresApproval: true}, high},
		"Medium":                   {Input{Risk: enum.RiskLevelMedium}, none(enum.RiskLevelMedium)},
		"MediumNoSession":          {Input{Risk: enum.RiskLevelMedium, OpenWorld: true}, none(enum.RiskLevelMedium)},
		"MediumOpenInternal":       {Input{Risk: enum.RiskLevelMedium, OpenWorld: true, Session: enum.SensitivityInternal}, none(enum.RiskLevelMedium)},
		"MediumOpenConfidential":   {Input{Risk: enum.RiskLevelMedium, OpenWorld: true, Session: enum.SensitivityConfidential}, high},
		"MediumOpenRestricted":     {Input{Risk: enum.RiskLevelMedium, OpenWorld: true, Session: enum.SensitivityRestricted}, high},
		"MediumOpenUnknown":        {Input{Risk: enum.RiskLevelMedium, OpenWorld: true, Session: "SECRET"}, high},
		"MediumClosedConfidential": {Input{Risk: enum.RiskLevelMedium, Session: enum.SensitivityRestricted}, none(enum.RiskLevelMedium)},
		"MediumRequiresApproval":   {Input{Risk: enum.RiskLevelMedium, RequiresApproval: true}, high},
		"High":                     {Input{Risk: enum.RiskLevelHigh}, high},
		"HighRequiresApproval":     {Input{Risk: enum.RiskLevelHigh, RequiresApproval: true, OpenWorld: true, Session: enum.SensitivityRestricted}, high},
		"Critical":                 {Input{Risk: enum.RiskLevelCritical}, critical},
		"CriticalRequiresApproval": {Input{Risk: enum.RiskLevelCritical, RequiresApproval: true}, critical},
		"UnknownRisk":              {Input{Risk: "NEW"}, critical},
		"NoRisk":                   {Input{}, critical},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.Judge(c.in)
			require.Equal(t, c.want.Gate != GateNone, len(got.Reasons) > 0)
			require.Equal(t, got.Gate == GateElevated, got.Elevated())
			got.Reasons = nil
			require.Equal(t, c.want, got)
		})
	}
}

// TestSettings_JudgeIsMonotone: no input that is worse in any respect ever lowers the gate.
func TestSettings_JudgeIsMonotone(t *testing.T) {
	s := DefaultSettings()
	order := map[Gate]int{GateNone: 0, GateApproval: 1, GateElevated: 2}
	sens := append([]string{""}, enum.Sensitivity("").Values()...)
	risks := enum.RiskLevel("").Values()
	at := func(r, v, a, o int) int {
		return order[s.Judge(Input{enum.RiskLevel(risks[r]), a == 1, o == 1, enum.Sensitivity(sens[v])}).Gate]
	}
	for r := range risks {
		for v := range sens {
			for a := range 2 {
				for o := range 2 {
					here := at(r, v, a, o)
					require.GreaterOrEqual(t, at(min(r+1, 3), v, a, o), here)
					require.GreaterOrEqual(t, at(r, min(v+1, 4), a, o), here)
					require.GreaterOrEqual(t, at(r, v, 1, o), here)
					require.GreaterOrEqual(t, at(r, v, a, 1), here)
				}
			}
		}
	}
}

func TestSettings_Version(t *testing.T) {
	base := DefaultSettings().Version()
	require.Equal(t, base, DefaultSettings().Version())
	require.Regexp(t, `^2-[0-9a-f]{12}$`, base)
	seen := map[string]bool{base: true}
	for _, change := range []func(*Settings){
		func(s *Settings) { s.ApprovalQuorum = 2 }, func(s *Settings) { s.ElevatedQuorum = 3 }, func(s *Settings) { s.ApprovalRequestTTL++ },
		func(s *Settings) { s.ElevatedRequestTTL++ }, func(s *Settings) { s.ApprovalGrantTTL++ }, func(s *Settings) { s.ElevatedGrantTTL++ },
		func(s *Settings) { s.SecondFactor.Age = time.Minute }, func(s *Settings) { s.SecondFactor.Required = false }, func(s *Settings) { s.RaiseMediumFrom = enum.SensitivityInternal },
	} {
		s := DefaultSettings()
		change(&s)
		require.False(t, seen[s.Version()])
		seen[s.Version()] = true
	}
	s := DefaultSettings()
	s.MFARoles = []string{"approver"}
	require.Equal(t, base, s.Version(), "what people may do is no part of what a request needs")
}

func TestSettings_Validate(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"NoApprover":       func(s *Settings) { s.ApprovalQuorum = 0 },
		"ElevatedAlone":    func(s *Settings) { s.ElevatedQuorum = 1 },
		"ElevatedLower":    func(s *Settings) { s.ApprovalQuorum = 3 },
		"NoRequestTTL":     func(s *Settings) { s.ApprovalRequestTTL = 0 },
		"EndlessRequest":   func(s *Settings) { s.ElevatedRequestTTL = 365 * 24 * time.Hour },
		"NoGrantTTL":       func(s *Settings) { s.ElevatedGrantTTL = 0 },
		"LongGrant":        func(s *Settings) { s.ApprovalGrantTTL = 48 * time.Hour },
		"SecondFactorOld":  func(s *Settings) { s.SecondFactor.Age = 2 * time.Hour },
		"SecondFactorNone": func(s *Settings) { s.SecondFactor.Age = 0 },
		"SecondFactorNeg":  func(s *Settings) { s.SecondFactor.Age = -1 },
		"UnknownThreshold": func(s *Settings) { s.RaiseMediumFrom = "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			change(&s)
			require.Error(t, s.Validate())
		})
	}
	require.ErrorContains(t, Settings{}.Validate(), "\n", "all at once")
}
