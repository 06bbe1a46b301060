//go:build unix

package apitest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSecondFactor_Codes: a client can branch on what it is told.
func TestSecondFactor_Codes(t *testing.T) {
	w := shared()
	x := w.newPerson(t, "factor", "admin")
	recovery := x.enrolTOTP(t)
	login := operations["Mutation.login"].query
	in := map[string]any{"login": x.email, "password": x.password}
	r := x.do(t, login, map[string]any{"in": in})
	require.Equal(t, "MFA_REQUIRED", r.outcome())
	require.Equal(t, "CODE_MISSING", r.Errors[0].Extensions.State)
	in["totpCode"] = "not one"
	acts := w.since(t)
	require.Equal(t, "UNAUTHENTICATED", x.do(t, login, map[string]any{"in": in}).outcome())
	require.Len(t, of(acts(), "MFA_CHALLENGE_FAILED", x.id), 1)
	delete(in, "totpCode")
	in["recoveryCode"] = recovery
	acts = w.since(t)
	require.Equal(t, "OK", x.do(t, login, map[string]any{"in": in}).outcome())
	require.Len(t, of(acts(), "RECOVERY_CODE_USED", x.id), 1)

	_, err := w.db.Owner.Exec(t.Context(), `UPDATE sessions SET mfa_at = now() - interval '1 day' WHERE user_id = $1`, x.id)
	require.NoError(t, err)
	assign := operations["Mutation.assignRole"]
	acts = w.since(t)
	require.Equal(t, "STEP_UP_REQUIRED", assign.run(t, w, x).outcome())
	require.Len(t, of(acts(), "PERMISSION_DENIED", x.id), 1)
	r = x.do(t, operations["Mutation.stepUp"].query, map[string]any{"c": "000000x"})
	require.Equal(t, "BAD_USER_INPUT", r.outcome())
	require.Contains(t, r.Errors[0].Extensions.Fields, "code")
	r = x.do(t, operations["Mutation.disableTotp"].query, map[string]any{"p": "not the password", "c": recovery})
	require.Equal(t, "BAD_USER_INPUT", r.outcome())
	require.Contains(t, r.Errors[0].Extensions.Fields, "password")
}

// TestSecondFactor_RoleDemands: the holder of a role that demands a second factor can do nothing but get one.
func TestSecondFactor_RoleDemands(t *testing.T) {
	s := startServer(t, "CDSA_MFA_ROLES=auditor")
	x := s.newPerson(t, "watcher", "auditor")
	logs := operations["Query.auditLogs"].query
	acts := s.since(t)
	r := x.do(t, logs, nil)
	require.Equal(t, "MFA_REQUIRED", r.outcome())
	require.Equal(t, "ENROLLMENT", r.Errors[0].Extensions.State)
	rows := of(acts(), "PERMISSION_DENIED", x.id)
	require.Len(t, rows, 1)
	require.Contains(t, rows[0].text, "MFA_REQUIRED")
	recovery := x.enrolTOTP(t)
	require.Equal(t, "OK", x.do(t, logs, nil).outcome(), "its rights are there at once")
	r = x.do(t, operations["Mutation.disableTotp"].query, map[string]any{"p": x.password, "c": recovery})
	require.Equal(t, "FAILED_PRECONDITION", r.outcome())
	require.Equal(t, "REQUIRED", r.Errors[0].Extensions.State)
	_, err := s.db.Owner.Exec(t.Context(), `UPDATE sessions SET mfa_at = NULL WHERE user_id = $1`, x.id)
	require.NoError(t, err)
	eventually(t, "a session that gave no second factor has none of them", func() bool { return x.do(t, logs, nil).outcome() == "STEP_UP_REQUIRED" })
	require.Equal(t, "OK", x.do(t, operations["Mutation.stepUp"].query, map[string]any{"c": recovery}).outcome())
	require.Equal(t, "OK", x.do(t, logs, nil).outcome(), "nor does it wait for them")
}
