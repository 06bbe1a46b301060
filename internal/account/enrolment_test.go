//go:build unix

package account_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
)

func TestEnrollTOTP(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	e, err := r.EnrollTOTP(as(alice), password)
	require.NoError(t, err)
	require.Contains(t, e.URI, "otpauth://totp/CDSA:alice?")
	require.Contains(t, e.URI, "secret="+e.Secret)
	require.True(t, strings.HasPrefix(e.QRCode, "data:image/png;base64,"))
	require.Equal(t, 1, r.audited(t, "MFA_ENROLLMENT_STARTED", `user_id = $1`, alice.User.ID))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM audit_logs l, users u WHERE to_jsonb(l)::text LIKE '%' || $1 || '%'`, e.Secret))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM users WHERE totp_secret = convert_to($1, 'UTF8') OR length(totp_secret) < 48`, e.Secret), "sealed")
	r.login(t, "alice") // a begun enrolment asks for nothing yet
	requireCode(t, errs.FailedPrecondition, r.StepUp(as(alice), "000000"))

	again, err := r.EnrollTOTP(as(alice), password)
	require.NoError(t, err, "it may be begun anew")
	require.NotEqual(t, e.Secret, again.Secret)
	_, err = r.ConfirmTOTP(as(alice), r.code(t, enrolled{secret: e.Secret}))
	requireCode(t, errs.BadUserInput, err)
	codes, err := r.ConfirmTOTP(as(alice), r.code(t, enrolled{secret: again.Secret}))
	require.NoError(t, err)
	require.Len(t, codes, 10)
	require.Equal(t, 1, r.audited(t, "MFA_ENROLLED", `user_id = $1`, alice.User.ID))
	require.Equal(t, 1, r.audited(t, "MFA_CHALLENGE_FAILED", `user_id = $1 AND details->>'at' = 'confirmTotp'`, alice.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM sessions WHERE id = $1 AND mfa_at IS NOT NULL`, alice.Session.ID), "it counts as given now")
	for _, c := range append(codes, again.Secret) {
		require.Zero(t, r.Count(t, `SELECT count(*) FROM audit_logs l WHERE to_jsonb(l)::text LIKE '%' || $1 || '%'`, c))
		require.Zero(t, r.Count(t, `SELECT count(*) FROM users u WHERE to_jsonb(u)::text LIKE '%' || $1 || '%'`, strings.ReplaceAll(c, "-", "")))
	}
	require.False(t, r.wasRevoked(alice.User.ID), "open streams stay")

	for name, do := range map[string]func() error{
		"Enrol":   func() error { _, err := r.EnrollTOTP(as(alice), password); return err },
		"Confirm": func() error { _, err := r.ConfirmTOTP(as(alice), "000000"); return err },
	} {
		e := failure(t, errs.FailedPrecondition, do())
		require.Equal(t, "ENROLLED", e.State, name)
	}
}

func TestEnrollTOTP_Refused(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice")
	for _, pw := range []string{"not the password", "", "a\x00b", strings.Repeat("p", 10<<20)} {
		_, err := r.EnrollTOTP(as(alice), pw)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "password")
	}
	require.Equal(t, 1, r.audited(t, "LOGIN_FAILED", `user_id = $1 AND details->>'reason' = 'password' AND NOT success`, alice.User.ID), "what no account can have is no guess")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM users WHERE totp_secret IS NOT NULL`))
	_, err := r.EnrollTOTP(laptop, password)
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.ConfirmTOTP(as(alice), "000000")
	require.Equal(t, "NOT_ENROLLED", failure(t, errs.FailedPrecondition, err).State)
	requireCode(t, errs.FailedPrecondition, r.StepUp(as(alice), "000000"))
	requireCode(t, errs.FailedPrecondition, r.DisableTOTP(as(alice), password, "000000"))

	r.sql(t, `UPDATE users SET hashed_password = '' WHERE id = $1`, alice.User.ID)
	_, err = r.EnrollTOTP(as(alice), password)
	require.Contains(t, failure(t, errs.BadUserInput, err).Message, "no password")
	r.sql(t, `UPDATE sessions SET revoked_at = now(), is_active = FALSE WHERE id = $1`, alice.Session.ID)
	r.sql(t, `UPDATE users SET hashed_password = (SELECT hashed_password FROM users WHERE username = 'admin') WHERE id = $1`, alice.User.ID)
	_, err = r.EnrollTOTP(as(alice), password)
	requireCode(t, errs.Unauthenticated, err) // the principal is a second old
}

// An API token of the owner may do none of it, and a program is never asked for a password.
func TestSecondFactor_APIToken(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice", "admin"))
	bob := r.user(t, "bob")
	program := *alice.Principal
	program.APIToken = true
	ctx := authz.With(laptop, &program)
	for name, do := range map[string]func() error{
		"Enrol":   func() error { _, err := r.EnrollTOTP(ctx, password); return err },
		"Confirm": func() error { _, err := r.ConfirmTOTP(ctx, r.code(t, alice)); return err },
		"Disable": func() error { return r.DisableTOTP(ctx, password, r.code(t, alice)) },
		"StepUp":  func() error { return r.StepUp(ctx, r.code(t, alice)) },
		"Act":     func() error { _, err := r.AssignRole(ctx, bob.User.ID, "auditor"); return err },
		"Agent": func() error {
			_, err := r.AssignRole(authz.With(laptop, alice.Principal.AsAgent()), bob.User.ID, "auditor")
			return err
		},
	} {
		requireCode(t, errs.Forbidden, do())
		require.NotZero(t, r.audited(t, "PERMISSION_DENIED", `NOT success AND user_id = $1`, alice.User.ID), name)
	}
	require.Equal(t, 6, r.audited(t, "PERMISSION_DENIED", `NOT success AND user_id = $1`, alice.User.ID))
	require.NoError(t, r.StepUp(as(alice.Signed), r.code(t, alice)), "nothing used the code up")
}

func TestDisableTOTP(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice"))
	for name, in := range map[string][2]string{
		"Password": {"not the password", r.code(t, alice)}, "Code": {password, r.wrong(t, alice)}, "NoCode": {password, ""}, "Recovery": {password, "0AAA-AAAA-AAAA-AAAA"},
	} {
		e := failure(t, errs.BadUserInput, r.DisableTOTP(as(alice.Signed), in[0], in[1]))
		require.Contains(t, e.Fields, map[bool]string{true: "password", false: "code"}[name == "Password"], name)
	}
	require.Equal(t, 3, r.audited(t, "MFA_CHALLENGE_FAILED", `user_id = $1 AND details->>'at' = 'disableTotp'`, alice.User.ID))
	r.forgive(t)
	require.NoError(t, r.DisableTOTP(as(alice.Signed), password, alice.recovery[9]))
	require.Equal(t, 1, r.audited(t, "MFA_REMOVED", `user_id = $1`, alice.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users WHERE id = $1 AND totp_secret IS NULL AND totp_enabled_at IS NULL AND recovery_codes IS NULL AND totp_last_step = 0`, alice.User.ID))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND mfa_at IS NOT NULL`, alice.User.ID))
	r.login(t, "alice")
	require.NotEqual(t, alice.secret, r.enrol(t, alice.Signed).secret)
}

// Until they have a second factor, holders of a role that demands one may do nothing but get one.
func TestMFARoles(t *testing.T) {
	r := newRig(t)
	r.config.Settings.MFARoles = []string{"auditor", "no such role"}
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	unknown, err := r.UnknownMFARoles(context.Background())
	require.NoError(t, err)
	require.Equal(t, []string{"no such role"}, unknown)
	alice := r.user(t, "alice", "auditor", "analyst")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE id = $1`, alice.User.ID)
	load := func() *authz.Principal {
		t.Helper()
		p, err := r.LoadPrincipal(context.Background(), alice.Session.ID)
		require.NoError(t, err)
		return p
	}
	p := load()
	require.True(t, p.MustEnrol)
	require.False(t, p.Superuser)
	require.Empty(t, p.Permissions())
	_, err = authz.Require(authz.With(laptop, p), "audit", "read")
	require.Equal(t, "ENROLLMENT", failure(t, errs.MFARequired, err).State)
	behind, err := r.LoadUserPrincipal(context.Background(), alice.User.ID)
	require.NoError(t, err)
	require.Empty(t, behind.Permissions())
	require.False(t, behind.Superuser)
	can, err := r.UserHasPermission(testkit.As(r.admin), alice.User, "audit", "read")
	require.NoError(t, err)
	require.False(t, can)

	alice.Principal = p
	x := r.enrol(t, alice)
	require.True(t, r.wasRevoked(alice.User.ID), "the principal without rights is forgotten")
	p = load()
	require.False(t, p.MustEnrol)
	require.True(t, p.Superuser)
	require.True(t, p.Holds("audit:read"))
	e := failure(t, errs.FailedPrecondition, r.DisableTOTP(as(alice), password, r.code(t, x)))
	require.Equal(t, "REQUIRED", e.State)
	require.NoError(t, r.StepUp(as(alice), r.code(t, x)), "the refusal did not use the code up")
	r.sql(t, `UPDATE users SET is_superuser = FALSE WHERE id = $1`, alice.User.ID) // over whom no mere administrator has power
	_, err = r.UnassignRole(testkit.As(r.admin), alice.User.ID, "auditor")
	require.NoError(t, err)
	require.NoError(t, r.DisableTOTP(as(alice), password, x.recovery[0]))
	require.False(t, load().MustEnrol)
	bob := r.user(t, "bob", "analyst")
	p, err = r.LoadPrincipal(context.Background(), bob.Session.ID)
	require.NoError(t, err)
	require.False(t, p.MustEnrol)
}

// A session that was opened by the password alone does not live on into an account with a second factor: it may be a
// thief's. Programs go on.
func TestConfirmTOTP_EndsOtherSessions(t *testing.T) {
	r := newRig(t)
	alice, bob := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst")
	thief := r.login(t, "alice")
	stolen := r.refresh(t, laptop, thief.RefreshToken)
	_, program, err := r.CreateAPIToken(as(alice), account.CreateAPITokenInput{Name: "backup", Permissions: []string{"documents:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: password})
	require.NoError(t, err)
	early := r.refresh(t, laptop, alice.RefreshToken)
	r.enrol(t, alice)
	require.False(t, r.stands(t, thief) || r.stands(t, stolen))
	require.True(t, r.wasRevoked(stolen.Session.ID), "open sockets hear of it")
	r.refuseRefresh(t, laptop, stolen.RefreshToken)
	require.True(t, r.stands(t, alice), "the session that enrolled")
	require.True(t, r.stands(t, early), "and what it was refreshed into")
	_, err = r.LoadPrincipal(context.Background(), program.ID)
	require.NoError(t, err)
	require.True(t, r.stands(t, bob))
	require.Equal(t, 1, r.audited(t, "MFA_ENROLLED", `user_id = $1 AND details->>'ended' = '1'`, alice.User.ID))
}

// The rights of a role that demands a second factor are those of sessions that gave one, whatever the account has.
func TestMFARoles_Session(t *testing.T) {
	r := newRig(t)
	r.config.Settings.MFARoles = []string{"auditor"}
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	alice := r.user(t, "alice", "auditor")
	x := r.enrol(t, alice)
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE id = $1`, alice.User.ID)
	alice.Principal, err = r.LoadPrincipal(context.Background(), alice.Session.ID)
	require.NoError(t, err)
	require.True(t, alice.Principal.Holds("audit:read"))
	_, program, err := r.CreateAPIToken(as(alice), account.CreateAPITokenInput{Name: "export", Permissions: []string{"audit:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: password})
	require.NoError(t, err)

	without := func() *authz.Principal { // as a provider's sign-in leaves it, or one from before the role was given
		t.Helper()
		r.sql(t, `UPDATE sessions SET mfa_at = NULL WHERE id = $1`, alice.Session.ID)
		p, err := r.LoadPrincipal(context.Background(), alice.Session.ID)
		require.NoError(t, err)
		return p
	}
	p := without()
	require.True(t, p.MustStepUp)
	require.False(t, p.MustEnrol)
	require.False(t, p.Superuser)
	require.Empty(t, p.Permissions())
	require.False(t, p.SameRights(alice.Principal), "open sockets are judged anew")
	_, err = authz.Require(authz.With(laptop, p), "audit", "read")
	require.Contains(t, failure(t, errs.StepUpRequired, err).Message, "stepUp")
	_, _, err = r.CreateAPIToken(authz.With(laptop, p), account.CreateAPITokenInput{Name: "mine", Permissions: []string{"audit:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: password})
	requireCode(t, errs.StepUpRequired, err)
	all, err := r.Standing(context.Background(), []uuid.UUID{alice.Session.ID, program.ID})
	require.NoError(t, err)
	require.Empty(t, all[alice.Session.ID].Permissions())
	require.Equal(t, []string{"audit:read"}, all[program.ID].Permissions(), "a program goes on: a session with rights made it")

	r.mu.Lock()
	clear(r.revoked)
	r.mu.Unlock()
	require.NoError(t, r.StepUp(authz.With(laptop, p), r.code(t, x)))
	require.True(t, r.wasRevoked(alice.User.ID), "the principal without rights is forgotten")
	p, err = r.LoadPrincipal(context.Background(), alice.Session.ID)
	require.NoError(t, err)
	require.False(t, p.MustStepUp)
	require.True(t, p.Superuser)
	require.True(t, p.Holds("audit:read"))

	bob := r.enrol(t, r.user(t, "bob", "analyst"))
	r.sql(t, `UPDATE sessions SET mfa_at = NULL WHERE id = $1`, bob.Session.ID)
	p, err = r.LoadPrincipal(context.Background(), bob.Session.ID)
	require.NoError(t, err)
	require.False(t, p.MustStepUp, "no role of his demands it")
	require.NotEmpty(t, p.Permissions())
}

// Whoever waits for a turn at the account does not wait for recovery codes to be hashed.
func TestConfirmTOTP_TurnEnds(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice")
	e, err := r.EnrollTOTP(as(alice), password)
	require.NoError(t, err)
	r.config.Hasher, err = auth.NewHasher(auth.HasherConfig{Iterations: 64, MemoryKiB: 16 * 1024, Concurrent: 1})
	require.NoError(t, err)
	judged := &statements{}
	conf := r.DB.Pool.Config()
	conf.ConnConfig.Tracer = judged
	r.config.Pool, err = pgxpool.NewWithConfig(context.Background(), conf)
	require.NoError(t, err)
	t.Cleanup(r.config.Pool.Close)
	slow, err := account.New(r.config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(as(alice))
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = slow.ConfirmTOTP(ctx, r.code(t, enrolled{secret: e.Secret})) })
	defer wg.Wait()
	defer cancel()
	require.Eventually(t, func() bool {
		judged.mu.Lock()
		defer judged.mu.Unlock()
		return slices.ContainsFunc(judged.list, func(s string) bool { return strings.Contains(s, "totp_secret") })
	}, 10*time.Second, time.Millisecond, "it has its turn")
	limited, stop := context.WithTimeout(as(alice), 2*time.Second)
	defer stop()
	requireCode(t, errs.FailedPrecondition, slow.StepUp(limited, "000000"))
}
