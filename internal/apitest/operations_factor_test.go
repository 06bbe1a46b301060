//go:build unix

package apitest

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// beginTOTP has x begin to enrol and gives a code for it; nothing for strangers.
func (x *person) beginTOTP(tb testing.TB) string {
	tb.Helper()
	if x.token == "" {
		return "000000"
	}
	var d struct {
		EnrollTotp struct{ Secret, OtpauthURI, QRCode string }
	}
	x.ok(tb, `mutation($p: String!) { enrollTotp(password: $p) { secret otpauthUri qrCode } }`, map[string]any{"p": x.password}, &d)
	keepOut(d.EnrollTotp.Secret)
	code, err := totp.GenerateCode(d.EnrollTotp.Secret, time.Now())
	require.NoError(tb, err)
	return code
}

// enrolTOTP gives x a second factor and gives a recovery code of it.
func (x *person) enrolTOTP(tb testing.TB) string {
	tb.Helper()
	code := x.beginTOTP(tb)
	if x.token == "" {
		return code
	}
	var d struct{ ConfirmTotp struct{ Codes []string } }
	x.ok(tb, `mutation($c: String!) { confirmTotp(code: $c) { codes } }`, map[string]any{"c": code}, &d)
	require.Len(tb, d.ConfirmTotp.Codes, 10)
	keepOut(d.ConfirmTotp.Codes...)
	return d.ConfirmTotp.Codes[7]
}

// withoutTOTP takes x's second factor away, so that x signs in with the password alone again.
func withoutTOTP(tb testing.TB, x *person) {
	tb.Helper()
	_, err := x.server.db.Owner.Exec(context.Background(), `UPDATE users SET totp_secret = NULL, totp_enabled_at = NULL, totp_last_step = 0, recovery_codes = NULL WHERE username = $1`, x.username)
	require.NoError(tb, err)
}

func init() {
	maps.Copy(operations, map[string]operation{
		"Mutation.enrollTotp": {query: `mutation($p: String!) { enrollTotp(password: $p) { secret otpauthUri qrCode } }`, then: withoutTOTP, vars: func(_ testing.TB, _ *world, x *person) map[string]any {
			return map[string]any{"p": x.password}
		}},
		"Mutation.confirmTotp": {query: `mutation($c: String!) { confirmTotp(code: $c) { codes } }`, then: withoutTOTP, vars: func(tb testing.TB, _ *world, x *person) map[string]any {
			return map[string]any{"c": x.beginTOTP(tb)}
		}},
		"Mutation.disableTotp": {query: `mutation($p: String!, $c: String!) { disableTotp(password: $p, code: $c) }`, then: withoutTOTP, vars: func(tb testing.TB, _ *world, x *person) map[string]any {
			return map[string]any{"p": x.password, "c": x.enrolTOTP(tb)}
		}},
		"Mutation.stepUp": {query: `mutation($c: String!) { stepUp(code: $c) }`, then: withoutTOTP, vars: func(tb testing.TB, _ *world, x *person) map[string]any {
			return map[string]any{"c": x.enrolTOTP(tb)}
		}},
	})
}
