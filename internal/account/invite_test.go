//go:build unix

package account_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

func newInviteRig(t *testing.T) *mailRig {
	t.Helper()
	r := newMailRig(t)
	r.config.Registration = "invite"
	r.remake(t)
	return r
}

func (r *mailRig) invite(t *testing.T, email string, roles ...string) string {
	t.Helper()
	_, tok, err := r.Invite(testkit.As(r.admin), email, roles, nil)
	require.NoError(t, err)
	return tok
}

// asInvited registers with an invitation; the username is the address's local part.
func (r *mailRig) asInvited(email, tok string) (account.Signed, error) {
	name, _, _ := strings.Cut(email, "@")
	return r.Register(laptop, account.RegisterInput{Email: email, Username: name, Password: freshPassword, Invitation: tok})
}

func TestInvite(t *testing.T) {
	r := newInviteRig(t)
	ctx := testkit.As(r.admin)
	inv, tok, err := r.Invite(ctx, " Eve@Example.org", []string{"steward", "auditor", "steward"}, nil)
	require.NoError(t, err)
	require.Equal(t, "eve@example.org", inv.Email)
	require.Equal(t, []string{"auditor", "steward"}, inv.Roles)
	require.Equal(t, 7*24*time.Hour, inv.ExpiresAt.Sub(inv.CreatedAt))
	require.Equal(t, r.admin.UserID, inv.InvitedBy)
	l := r.work(t)
	require.Len(t, l, 1)
	require.Equal(t, mail.Invite, l[0].Kind)
	require.Equal(t, "eve@example.org", l[0].To)
	require.Equal(t, tok, token(t, l[0]), "what is mailed is what was shown")
	require.Equal(t, 1, r.audited(t, "USER_INVITED", `user_id = $1 AND resource_id = $2 AND l::text NOT LIKE '%eve%'`, r.admin.UserID, inv.ID))
	list, err := r.Invitations(ctx)
	require.NoError(t, err)
	require.Equal(t, []account.Invitation{inv}, list)

	s, err := r.asInvited("eve@example.org", tok)
	require.NoError(t, err)
	require.True(t, r.stands(t, s))
	require.False(t, s.User.IsVerified, "whoever invited has seen the token: it proves nothing of the mailbox")
	require.ElementsMatch(t, union("steward", "auditor"), s.Principal.Permissions())
	require.Equal(t, 1, r.audited(t, "USER_CREATED", `user_id = $1 AND details->>'invitation' = $2`, s.User.ID, inv.ID.String()))
	require.Equal(t, 2, r.audited(t, "ROLE_ASSIGNED", `user_id = $1`, s.User.ID))
	l = r.work(t)
	require.Len(t, l, 1)
	require.Equal(t, "eve@example.org", l[0].To)
	require.NoError(t, r.VerifyEmail(laptop, token(t, l[0])))
	list, err = r.Invitations(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	require.Equal(t, "USED", failure(t, errs.FailedPrecondition, r.RevokeInvitation(ctx, inv.ID)).State)
	_, _, err = r.Invite(ctx, "eve@example.org", nil, nil)
	requireCode(t, errs.Conflict, err)

	r.invite(t, "frank@example.org")
	_, err = r.asInvited("frank@example.org", r.invite(t, "frank@example.org", "analyst"))
	require.NoError(t, err)
	s, err = r.asInvited("none@example.org", func() string {
		_, tok, err := r.Invite(ctx, "none@example.org", []string{}, nil)
		require.NoError(t, err)
		return tok
	}())
	require.NoError(t, err)
	require.Empty(t, s.Principal.Permissions())
}

func TestInvite_Refused(t *testing.T) {
	r := newInviteRig(t)
	steward := r.user(t, "steward", "steward")
	_, _, err := r.Invite(testkit.As(steward.Principal), "x@example.org", nil, nil)
	requireCode(t, errs.Forbidden, err)
	_, err = r.Invitations(testkit.As(steward.Principal))
	requireCode(t, errs.Forbidden, err)
	requireCode(t, errs.Forbidden, r.RevokeInvitation(testkit.As(steward.Principal), uuid.New()))
	require.Equal(t, 3, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, steward.User.ID))
	_, _, err = r.Invite(laptop, "x@example.org", nil, nil)
	requireCode(t, errs.Unauthenticated, err)

	r.keeper(t, union("analyst")...)
	_, err = r.AssignRole(testkit.As(r.admin), steward.User.ID, "keeper")
	require.NoError(t, err)
	limited, err := r.LoadPrincipal(t.Context(), steward.Session.ID)
	require.NoError(t, err)
	_, _, err = r.Invite(testkit.As(limited), "x@example.org", []string{"analyst"}, nil)
	require.NoError(t, err)
	_, _, err = r.Invite(testkit.As(limited), "y@example.org", []string{"analyst", "admin"}, nil)
	requireCode(t, errs.Forbidden, err)

	ctx, now := testkit.As(r.admin), time.Now()
	for field, call := range map[string]func() error{
		"input.email": func() error { _, _, err := r.Invite(ctx, "x@example.org\r\nBcc: y@example.org", nil, nil); return err },
		"input.roles": func() error { _, _, err := r.Invite(ctx, "z@example.org", []string{"king"}, nil); return err },
		"input.expiresAt": func() error {
			for _, at := range []time.Time{now.Add(-time.Second), now.Add(31 * 24 * time.Hour), {}, now.AddDate(9000, 0, 0)} {
				_, _, err := r.Invite(ctx, "z@example.org", nil, &at)
				requireCode(t, errs.BadUserInput, err)
			}
			at := now.Add(-time.Hour)
			_, _, err := r.Invite(ctx, "z@example.org", nil, &at)
			return err
		},
	} {
		require.Contains(t, failure(t, errs.BadUserInput, call()).Fields, field)
	}
	_, _, err = r.Invite(ctx, "z@example.org", make([]string, 51), nil)
	requireCode(t, errs.BadUserInput, err)
	at := now.Add(29 * 24 * time.Hour)
	inv, _, err := r.Invite(ctx, "z@example.org", nil, &at)
	require.NoError(t, err)
	require.True(t, at.Truncate(time.Microsecond).Equal(inv.ExpiresAt))
	requireCode(t, errs.NotFound, r.RevokeInvitation(ctx, uuid.New()))
	require.NoError(t, r.RequestPasswordReset(laptop, "steward@example.org"))
	requireCode(t, errs.NotFound, r.RevokeInvitation(ctx, r.ID(t, `SELECT id FROM mailed_tokens WHERE kind = 'RESET'`)))

	r.config.Registration = "closed"
	r.remake(t)
	_, _, err = r.Invite(ctx, "z@example.org", nil, nil)
	requireCode(t, errs.FailedPrecondition, err)
}

func TestInvite_Bounds(t *testing.T) {
	r := newInviteRig(t)
	ctx := testkit.As(r.admin)
	for i := range 100 {
		r.invite(t, fmt.Sprintf("n%d@example.org", i))
	}
	_, _, err := r.Invite(ctx, "one.more@example.org", nil, nil)
	requireCode(t, errs.ResourceExhausted, err)
	list, err := r.Invitations(ctx)
	require.NoError(t, err)
	require.Len(t, list, 100)
	require.Equal(t, "n99@example.org", list[0].Email)
	r.invite(t, "n7@example.org") // in place of the one there is
	require.Equal(t, 1, r.audited(t, "INVITATION_REVOKED", `details->>'replaced' = 'true'`))
	require.NoError(t, r.RevokeInvitation(ctx, list[0].ID))
	require.NoError(t, r.RevokeInvitation(ctx, list[0].ID))
	require.Equal(t, 1, r.audited(t, "INVITATION_REVOKED", `resource_id = $1`, list[0].ID))
	r.invite(t, "one.more@example.org")
	r.pass(8 * 24 * time.Hour)
	list, err = r.Invitations(ctx)
	require.NoError(t, err)
	require.Empty(t, list)
	r.invite(t, "n7@example.org")

	// At the same instant: one stands.
	var wg sync.WaitGroup
	results := make([]error, 6)
	for i := range results {
		wg.Go(func() { _, _, results[i] = r.Invite(ctx, "raced@example.org", nil, nil) })
	}
	wg.Wait()
	for _, err := range results {
		if err != nil {
			requireCode(t, errs.Conflict, err)
		}
	}
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE email = 'raced@example.org' AND used_at IS NULL AND revoked_at IS NULL`))
}

// TestRegister_ByInvitation: whatever is wrong, one answer, no account and nothing else that stays.
func TestRegister_ByInvitation(t *testing.T) {
	r := newInviteRig(t)
	ctx := testkit.As(r.admin)
	r.user(t, "taken", "analyst")
	good := r.invite(t, "good@example.org")
	replaced := r.invite(t, "replaced@example.org")
	r.invite(t, "replaced@example.org")
	inv, revoked, err := r.Invite(ctx, "revoked@example.org", nil, nil)
	require.NoError(t, err)
	require.NoError(t, r.RevokeInvitation(ctx, inv.ID))
	used := r.invite(t, "used@example.org")
	_, err = r.asInvited("used@example.org", used)
	require.NoError(t, err)
	r.sql(t, `UPDATE users SET username = 'other', email = 'other@example.org' WHERE username = 'used'`)
	id := r.ID(t, `SELECT id FROM mailed_tokens WHERE email = 'good@example.org'`)
	soon := time.Now().Add(time.Hour)
	_, expired, err := r.Invite(ctx, "expired@example.org", nil, &soon)
	require.NoError(t, err)
	r.pass(time.Hour)
	users, keys := r.Count(t, `SELECT count(*) FROM users`), r.Count(t, `SELECT count(*) FROM subject_keys`)
	var words string
	for name, c := range map[string]struct{ email, token string }{
		"none": {"good@example.org", ""}, "guess": {"good@example.org", "cdsa_in_guess"}, "other": {"else@example.org", good}, "taken": {"taken@example.org", good},
		"takenNone": {"taken@example.org", ""}, "takenGuess": {"taken@example.org", "cdsa_in_" + strings.Repeat("A", 64)},
		"replaced": {"replaced@example.org", replaced}, "revoked": {"revoked@example.org", revoked}, "used": {"used@example.org", used}, "expired": {"expired@example.org", expired},
		"kind": {"good@example.org", forge(t, r.config.IdentityKey, "cdsa_in_", "VERIFY", id)}, "key": {"good@example.org", forge(t, []byte("another key of thirty-two bytes!!"), "cdsa_in_", "INVITE", id)},
		"unknown": {"good@example.org", forge(t, r.config.IdentityKey, "cdsa_in_", "INVITE", uuid.New())},
	} {
		_, err := r.asInvited(c.email, c.token)
		e := failure(t, errs.Forbidden, err)
		if words == "" {
			words = e.Message
		}
		require.Equal(t, words, e.Message, name)
	}
	require.Equal(t, users, r.Count(t, `SELECT count(*) FROM users`))
	require.Equal(t, keys, r.Count(t, `SELECT count(*) FROM subject_keys`))
	require.Equal(t, 7, r.audited(t, "PERMISSION_DENIED", `details->>'operation' = 'register' AND user_id IS NULL`), "a genuine invitation that was not good")
	require.NoError(t, r.Sweep(context.Background()))
	require.Equal(t, 1, r.audited(t, "LOGIN_FAILED", `details = '{"reason": "unknown_token", "invite": 4}'`), "made-up ones together")

	// A taken username leaves the invitation good.
	_, err = r.Register(laptop, account.RegisterInput{Email: "good@example.org", Username: "taken", Password: freshPassword, Invitation: good})
	requireCode(t, errs.Conflict, err)
	require.Equal(t, keys, r.Count(t, `SELECT count(*) FROM subject_keys`))
	var wg sync.WaitGroup
	results := make([]error, 6)
	for i := range results {
		wg.Go(func() {
			_, results[i] = r.Register(laptop, account.RegisterInput{Email: "GOOD@example.org", Username: fmt.Sprintf("good%d", i), Password: freshPassword, Invitation: good})
		})
	}
	wg.Wait()
	passed := 0
	for _, err := range results {
		if err == nil {
			passed++
			continue
		}
		requireCode(t, errs.Forbidden, err)
	}
	require.Equal(t, 1, passed)
}

// TestRegister_InvitationTime: a made-up invitation is refused before the password is scored and hashed, whoever there is;
// for any other the password comes first, so that the time tells nothing of accounts and invitations.
func TestRegister_InvitationTime(t *testing.T) {
	r := newInviteRig(t)
	r.user(t, "taken", "analyst")
	other := r.invite(t, "other@example.org")
	used := r.invite(t, "used@example.org")
	_, err := r.asInvited("used@example.org", used)
	require.NoError(t, err)
	weak := func(email, tok string) error {
		name, _, _ := strings.Cut(email, "@")
		_, err := r.Register(laptop, account.RegisterInput{Email: email, Username: name, Password: "password1234", Invitation: tok})
		return err
	}
	before := r.Count(t, `SELECT count(*) FROM login_throttles`)
	for _, email := range []string{"taken@example.org", "nobody@example.org"} {
		for _, tok := range []string{"", "cdsa_in_guess", "cdsa_in_" + strings.Repeat("A", 64), forge(t, []byte("another key of thirty-two bytes!!"), "cdsa_in_", "INVITE", uuid.New())} {
			requireCode(t, errs.Forbidden, weak(email, tok))
		}
		for _, tok := range []string{other, used, forge(t, r.config.IdentityKey, "cdsa_in_", "INVITE", uuid.New())} {
			requireCode(t, errs.BadUserInput, weak(email, tok))
		}
	}
	require.Equal(t, before, r.Count(t, `SELECT count(*) FROM login_throttles`))
}

// TestRegister_InvitationVoid: an invitation gives no more than its maker could give now.
func TestRegister_InvitationVoid(t *testing.T) {
	r := newInviteRig(t)
	r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name, description) SELECT $1, now(), now(), 'tester', ''`, uid.New(uid.Role))
	boss := r.user(t, "boss", "admin")
	r.config.Settings.MFARoles = []string{"tester"}
	r.remake(t)
	invite := func(email string, roles ...string) string {
		_, tok, err := r.Invite(testkit.As(boss.Principal), email, roles, nil)
		require.NoError(t, err)
		return tok
	}
	r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name, description) SELECT $1, now(), now(), 'passing', ''`, uid.New(uid.Role))
	kept := invite("kept@example.org", "analyst", "passing")
	r.sql(t, `DELETE FROM roles WHERE name = 'passing'`)
	s, err := r.asInvited("kept@example.org", kept)
	require.NoError(t, err)
	require.ElementsMatch(t, union("analyst"), s.Principal.Permissions(), "a role that is gone is left out")

	for name, c := range map[string]struct{ spoil, mend string }{
		"inactive": {`UPDATE users SET is_active = FALSE WHERE username = 'boss'`, `UPDATE users SET is_active = TRUE WHERE username = 'boss'`},
		"erased":   {`UPDATE users SET erased_at = now() WHERE username = 'boss'`, `UPDATE users SET erased_at = NULL WHERE username = 'boss'`},
		"enrols": {`INSERT INTO user_roles SELECT u.id, r.id FROM users u, roles r WHERE u.username = 'boss' AND r.name = 'tester'`,
			`DELETE FROM user_roles WHERE role_id = (SELECT id FROM roles WHERE name = 'tester')`},
		"lowered": {`UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'steward') WHERE user_id = (SELECT id FROM users WHERE username = 'boss')`,
			`UPDATE user_roles SET role_id = (SELECT id FROM roles WHERE name = 'admin') WHERE user_id = (SELECT id FROM users WHERE username = 'boss')`},
		"raised": {`INSERT INTO role_permissions SELECT (SELECT id FROM roles WHERE name = 'approver'), id FROM permissions WHERE name = 'audit:hold';
			DELETE FROM role_permissions WHERE role_id = (SELECT id FROM roles WHERE name = 'admin') AND permission_id = (SELECT id FROM permissions WHERE name = 'audit:hold')`,
			`DELETE FROM role_permissions WHERE role_id = (SELECT id FROM roles WHERE name = 'approver') AND permission_id = (SELECT id FROM permissions WHERE name = 'audit:hold')`},
	} {
		email := name + "@example.org"
		tok := invite(email, "approver")
		for statement := range strings.SplitSeq(c.spoil, ";") {
			r.sql(t, statement)
		}
		_, err := r.asInvited(email, tok)
		requireCode(t, errs.Forbidden, err)
		r.sql(t, c.mend)
		_, err = r.asInvited(email, tok)
		require.NoError(t, err, name)
	}
	gone := invite("gone@example.org", "analyst")
	r.sql(t, `DELETE FROM mailed_tokens WHERE user_id = $1`, boss.User.ID)
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'boss'`)
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1`, boss.User.ID)
	_, err = r.asInvited("gone@example.org", gone)
	require.NoError(t, err, "a superuser holds everything")
}

// TestRegister_OpenWithInvitation: where anyone may come, an invitation gives its roles; a bad one is refused.
func TestRegister_OpenWithInvitation(t *testing.T) {
	r := newMailRig(t)
	s, err := r.asInvited("gina@example.org", r.invite(t, "gina@example.org", "auditor"))
	require.NoError(t, err)
	require.ElementsMatch(t, union("auditor"), s.Principal.Permissions())
	require.False(t, s.User.IsVerified)
	_, err = r.asInvited("hugo@example.org", "cdsa_in_guess")
	requireCode(t, errs.Forbidden, err)
	s, err = r.asInvited("hugo@example.org", "")
	require.NoError(t, err)
	require.False(t, s.User.IsVerified)
	tok := r.invite(t, "iris@example.org")
	r.config.Registration = "closed"
	r.remake(t)
	_, err = r.asInvited("iris@example.org", tok)
	requireCode(t, errs.Forbidden, err)
}

// TestRegister_InvitationLocks: a registration that waits for a role does not hold its invitation, which whoever changes
// the role goes on to write.
func TestRegister_InvitationLocks(t *testing.T) {
	r := newInviteRig(t)
	tok := r.invite(t, "eve@example.org", "auditor")
	ctx := context.Background()
	tx, err := r.DB.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, `SELECT FROM roles WHERE name = 'auditor' FOR UPDATE`)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { _, err := r.asInvited("eve@example.org", tok); done <- err }()
	r.waiting(t)
	_, err = tx.Exec(ctx, `UPDATE mailed_tokens SET roles = array_remove(roles, 'auditor') WHERE kind = 'INVITE'`)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(ctx))
	requireCode(t, errs.Conflict, <-done)
	s, err := r.asInvited("eve@example.org", tok)
	require.NoError(t, err)
	require.Empty(t, s.Principal.Permissions())
}

// TestInvite_BySuperuser: the right that an invitation's roles are given by is judged again when it is used, and recorded
// when it is a superuser's alone.
func TestInvite_BySuperuser(t *testing.T) {
	r := newInviteRig(t)
	tok := r.invite(t, "eve@example.org", "steward")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE id = $1`, r.admin.UserID)
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1`, r.admin.UserID)
	_, err := r.asInvited("eve@example.org", tok)
	require.NoError(t, err)
	require.Equal(t, 1, r.audited(t, "SUPERUSER_BYPASS_USED", `resource_type = 'Role' AND details->>'userId' = $1`, r.admin.UserID.String()))
}
