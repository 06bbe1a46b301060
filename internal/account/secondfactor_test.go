//go:build unix

package account_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
)

// step is the time of one TOTP code.
const step = 30 * time.Second

// enrolled is a person with a second factor.
type enrolled struct {
	account.Signed
	secret   string
	recovery []string
}

// enrol gives whoever is signed in a second factor, and moves the clock on, so that the next code is a new one.
func (r *rig) enrol(t *testing.T, s account.Signed) enrolled {
	t.Helper()
	e, err := r.EnrollTOTP(as(s), password)
	require.NoError(t, err)
	x := enrolled{Signed: s, secret: e.Secret}
	x.recovery, err = r.ConfirmTOTP(as(s), r.code(t, x))
	require.NoError(t, err)
	r.pass(step)
	return x
}

// code is what x's authenticator shows now.
func (r *rig) code(t *testing.T, x enrolled) string {
	t.Helper()
	c, err := totp.GenerateCode(x.secret, r.config.Now())
	require.NoError(t, err)
	return c
}

// wrong is a code that x's authenticator does not show.
func (r *rig) wrong(t *testing.T, x enrolled) string {
	t.Helper()
	good := map[string]bool{}
	for _, off := range []time.Duration{-step, 0, step} {
		c, err := totp.GenerateCode(x.secret, r.config.Now().Add(off))
		require.NoError(t, err)
		good[c] = true
	}
	for _, c := range []string{"000000", "111111", "222222", "333333"} {
		if !good[c] {
			return c
		}
	}
	panic("three codes cannot be four")
}

func as(s account.Signed) context.Context { return authz.With(laptop, s.Principal) }

func TestLogin_WithSecondFactor(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice"))
	login := func(code, recovery string) (account.Signed, error) {
		return r.Login(laptop, account.LoginInput{Login: "alice", Password: password, TOTPCode: code, RecoveryCode: recovery})
	}
	_, err := login("", "")
	require.Equal(t, "CODE_MISSING", failure(t, errs.MFARequired, err).State)
	for _, c := range []string{r.wrong(t, alice), "12345", "1234567", "abcdef", "１２３４５６", " ", "\x00", strings.Repeat("0", 10<<20), alice.recovery[0]} {
		_, err := login(c, "")
		requireCode(t, errs.Unauthenticated, err)
		_, err = login(c, alice.recovery[1])
		requireCode(t, errs.Unauthenticated, err) // of two the TOTP code counts
		r.forgive(t)
	}
	s, err := login(r.code(t, alice), "nonsense")
	require.NoError(t, err)
	require.NotNil(t, s.Session.MfaAt)
	_, err = login(r.code(t, alice), "")
	requireCode(t, errs.Unauthenticated, err) // used
	next, err := r.Refresh(laptop, s.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, *s.Session.MfaAt, *next.Session.MfaAt)

	for _, c := range []string{"x", "000000", strings.Repeat("9", 10<<20), "9AAA-AAAA-AAAA-AAAA", r.code(t, alice)} {
		_, err := login("", c)
		requireCode(t, errs.Unauthenticated, err)
		r.forgive(t)
	}
	s, err = login("", " "+strings.ToLower(strings.ReplaceAll(alice.recovery[3], "-", " ")))
	require.NoError(t, err)
	require.NotNil(t, s.Session.MfaAt)
	_, err = login("", alice.recovery[3])
	requireCode(t, errs.Unauthenticated, err)
	require.Equal(t, 1, r.audited(t, "RECOVERY_CODE_USED", `user_id = $1 AND resource_id = $1 AND details->>'left' = '9'`, alice.User.ID))
	require.Equal(t, 25, r.audited(t, "MFA_CHALLENGE_FAILED", `user_id = $1 AND NOT success AND details->>'at' = 'login'`, alice.User.ID))
	require.Equal(t, 25, r.audited(t, "LOGIN_FAILED", `user_id = $1 AND details->>'reason' = 'second_factor'`, alice.User.ID))
}

// forgive lifts pauses after failed sign-ins.
func (r *rig) forgive(t *testing.T) {
	t.Helper()
	r.sql(t, `DELETE FROM login_throttles`)
}

// A step that was taken is taken no more, nor an older one: here, at login, and at whatever asks for a code.
func TestSecondFactor_Replay(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice"))
	older := r.code(t, alice)
	r.pass(step)
	require.NoError(t, r.StepUp(as(alice.Signed), r.code(t, alice)))
	for name, c := range map[string]string{"Same": r.code(t, alice), "Older": older} {
		require.Contains(t, failure(t, errs.BadUserInput, r.StepUp(as(alice.Signed), c)).Fields, "code", name)
		_, err := r.Login(laptop, account.LoginInput{Login: "alice", Password: password, TOTPCode: c})
		requireCode(t, errs.Unauthenticated, err)
		requireCode(t, errs.BadUserInput, r.DisableTOTP(as(alice.Signed), password, c))
		r.forgive(t)
	}
	r.pass(step)
	require.NoError(t, r.StepUp(as(alice.Signed), r.code(t, alice)))
}

// atOnce runs do n times at the same time and counts the successes.
func atOnce(n int, do func() error) int {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		good int
	)
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			if do() == nil {
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	close(start)
	wg.Wait()
	return good
}

func TestSecondFactor_OneCodeAtOnce(t *testing.T) {
	r := newRig(t)
	r.config.Settings.LockoutFailures = 1000
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	other, err := account.New(r.config) // another replica
	require.NoError(t, err)
	replicas := make(chan *account.Service, 16)
	for range 8 {
		replicas <- r.Service
		replicas <- other
	}
	alice := r.enrol(t, r.user(t, "alice"))
	code := r.code(t, alice)
	login := func(in account.LoginInput) func() error {
		return func() error {
			_, err := (<-replicas).Login(laptop, in)
			return err
		}
	}
	refill := func() {
		for range 8 {
			replicas <- r.Service
			replicas <- other
		}
	}
	require.Equal(t, 1, atOnce(16, login(account.LoginInput{Login: "alice", Password: password, TOTPCode: code})))
	refill()
	require.Equal(t, 1, atOnce(16, login(account.LoginInput{Login: "alice", Password: password, RecoveryCode: alice.recovery[5]})))
	refill()
	r.pass(step)
	code = r.code(t, alice)
	require.Equal(t, 1, atOnce(16, func() error { return (<-replicas).StepUp(as(alice.Signed), code) }))
	refill()
	require.Equal(t, 1, atOnce(16, func() error { return (<-replicas).StepUp(as(alice.Signed), alice.recovery[6]) }))
	require.Equal(t, 8, r.Count(t, `SELECT jsonb_array_length(recovery_codes) FROM users WHERE id = $1`, alice.User.ID))
	require.Equal(t, 2, r.audited(t, "RECOVERY_CODE_USED", `user_id = $1`, alice.User.ID))

	bob := r.user(t, "bob")
	e, err := r.EnrollTOTP(as(bob), password)
	require.NoError(t, err)
	refill()
	code = r.code(t, enrolled{secret: e.Secret})
	require.Equal(t, 1, atOnce(16, func() error { _, err := (<-replicas).ConfirmTOTP(as(bob), code); return err }))
	require.Equal(t, 1, r.audited(t, "MFA_ENROLLED", `user_id = $1`, bob.User.ID))
}

func TestStepUp(t *testing.T) {
	r := newRig(t)
	alice := r.enrol(t, r.user(t, "alice", "admin"))
	bob := r.user(t, "bob")
	assign := func(role string) error { _, err := r.AssignRole(as(alice.Signed), bob.User.ID, role); return err }
	require.NoError(t, assign("auditor"), "confirming was giving it")
	r.pass(10*time.Minute + time.Second)
	requireCode(t, errs.StepUpRequired, assign("analyst"))
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND error_message = 'STEP_UP_REQUIRED'`, alice.User.ID))

	next, err := r.Refresh(laptop, alice.RefreshToken)
	require.NoError(t, err)
	elsewhere, err := r.Login(from("198.51.100.9", "Phone"), account.LoginInput{Login: "alice", Password: password, RecoveryCode: alice.recovery[0]})
	require.NoError(t, err)
	r.pass(11 * time.Minute)
	requireCode(t, errs.BadUserInput, r.StepUp(as(alice.Signed), r.wrong(t, alice)))
	requireCode(t, errs.BadUserInput, r.StepUp(as(alice.Signed), ""))
	requireCode(t, errs.StepUpRequired, assign("analyst"))
	require.NoError(t, r.StepUp(as(alice.Signed), r.code(t, alice)))
	require.NoError(t, assign("analyst"))
	require.Equal(t, 1, r.audited(t, "STEP_UP_COMPLETED", `user_id = $1 AND session_id = $2`, alice.User.ID, alice.Session.ID))
	require.False(t, r.wasRevoked(alice.User.ID), "open streams stay")
	require.False(t, r.wasRevoked(alice.Session.ID))
	_, err = r.AssignRole(as(next), bob.User.ID, "approver")
	require.NoError(t, err, "the session it was refreshed into")
	_, err = r.UnassignRole(as(elsewhere), bob.User.ID, "approver")
	requireCode(t, errs.StepUpRequired, err) // another sign-in
	require.NoError(t, r.StepUp(as(elsewhere), alice.recovery[1]), "a recovery code is as good")
	_, err = r.UnassignRole(as(elsewhere), bob.User.ID, "approver")
	require.NoError(t, err)

	r.sql(t, `UPDATE sessions SET revoked_at = now(), is_active = FALSE WHERE family_id = $1`, elsewhere.Session.FamilyID)
	_, err = r.AssignRole(as(elsewhere), bob.User.ID, "approver")
	requireCode(t, errs.Unauthenticated, err)
	requireCode(t, errs.Unauthenticated, r.StepUp(as(elsewhere), alice.recovery[2]))
	r.sql(t, `UPDATE sessions SET mfa_at = now() + interval '1 hour' WHERE id = $1`, next.Session.ID)
	_, err = r.AssignRole(as(next), bob.User.ID, "approver")
	requireCode(t, errs.StepUpRequired, err) // a time to come is no time
}

// Wrong codes count like wrong passwords, one at a time: six digits cannot be guessed.
func TestStepUp_Guessing(t *testing.T) {
	r := newRig(t)
	r.config.Settings.LockoutFailures = 5
	r.config.Settings.LockoutBase, r.config.Settings.LockoutMax = time.Minute, time.Hour
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	alice := r.enrol(t, r.user(t, "alice"))
	bad := r.wrong(t, alice)
	require.Zero(t, atOnce(40, func() error { return r.StepUp(as(alice.Signed), bad) }))
	require.Equal(t, 5, r.audited(t, "MFA_CHALLENGE_FAILED", `user_id = $1 AND details->>'at' = 'stepUp'`, alice.User.ID), "the others were not judged")
	for name, do := range map[string]func() error{
		"StepUp":  func() error { return r.StepUp(as(alice.Signed), r.code(t, alice)) },
		"Disable": func() error { return r.DisableTOTP(as(alice.Signed), password, r.code(t, alice)) },
		"Confirm": func() error { _, err := r.ConfirmTOTP(as(alice.Signed), r.code(t, alice)); return err },
		"Enrol":   func() error { _, err := r.EnrollTOTP(as(alice.Signed), password); return err },
	} {
		require.NotZero(t, failure(t, errs.RateLimited, do()).RetryAfter, name)
	}
	r.pass(2 * time.Minute)
	require.NoError(t, r.StepUp(as(alice.Signed), r.code(t, alice)), "a pause ends")
}

func TestSensitive_Required(t *testing.T) {
	r := newRig(t)
	bob := r.user(t, "bob")
	_, err := r.AssignRole(testkit.As(r.admin), bob.User.ID, "auditor")
	require.NoError(t, err, "nothing is asked of those who have none")
	r.config.Settings.MFARequired = []string{"change_roles"}
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	_, err = r.UnassignRole(testkit.As(r.admin), bob.User.ID, "auditor")
	require.Equal(t, "ENROLLMENT", failure(t, errs.MFARequired, err).State)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND error_message = 'MFA_REQUIRED'`, r.admin.UserID))
	program := *r.admin
	program.APIToken = true
	_, err = r.UnassignRole(authz.With(laptop, &program), bob.User.ID, "auditor")
	requireCode(t, errs.Forbidden, err)
	r.enrol(t, account.Signed{Principal: r.admin})
	_, err = r.UnassignRole(testkit.As(r.admin), bob.User.ID, "auditor")
	require.NoError(t, err)
}

// A secret opens for its own user only, and under its own key only.
func TestSecondFactor_Sealed(t *testing.T) {
	r := newRig(t)
	alice, bob := r.enrol(t, r.user(t, "alice")), r.user(t, "bob")
	r.sql(t, `UPDATE users SET (totp_secret, totp_enabled_at) = (SELECT totp_secret, totp_enabled_at FROM users WHERE username = 'alice') WHERE username = 'bob'`)
	isFault := func(err error) {
		t.Helper()
		require.Error(t, err)
		_, shown := errs.As(err)
		require.False(t, shown, "%v", err)
		require.NotContains(t, err.Error(), alice.secret)
	}
	isFault(r.StepUp(as(bob), r.code(t, alice)))
	r.config.IdentityKey = []byte("another key of thirty-two bytes!")
	var err error
	r.Service, err = account.New(r.config)
	require.NoError(t, err)
	isFault(r.StepUp(as(alice.Signed), r.code(t, alice)))
}
