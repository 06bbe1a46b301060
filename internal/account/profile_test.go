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
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/mail"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

func ptr(s string) *string { return &s }

// mailed puts an open link of each kind for the user in the database.
func (r *rig) mailed(t *testing.T, user uuid.UUID) {
	t.Helper()
	for _, kind := range []string{"RESET", "VERIFY"} {
		r.sql(t, `INSERT INTO mailed_tokens (id, kind, user_id, created_at, expires_at) VALUES ($1, $2, $3, now(), now() + interval '1 hour')`, uid.New(uid.Session), kind, user)
	}
}

// waiting returns once someone waits for a lock.
func (r *rig) waiting(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		return r.Count(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 1
	}, 10*time.Second, 5*time.Millisecond)
}

func TestUpdateUser_Own(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	r.sql(t, `UPDATE users SET is_verified = TRUE WHERE username = 'alice'`)
	as := testkit.As(alice.Principal)
	u, err := r.UpdateUser(as, alice.User.ID, account.UpdateUserInput{FullName: ptr("  Alice   A. "), Username: ptr("Alice.A")})
	require.NoError(t, err)
	require.Equal(t, "Alice A.", u.FullName)
	require.Equal(t, "alice.a", u.Username)
	require.True(t, u.IsVerified, "a name says nothing of the address")
	require.Equal(t, 1, r.audited(t, "USER_UPDATED", `user_id = $1 AND resource_id = $1 AND details = '{"fields": ["username", "fullName"], "own": true}'`, alice.User.ID))

	_, err = r.UpdateUser(as, alice.User.ID, account.UpdateUserInput{FullName: ptr("Alice A."), Username: ptr("ALICE.A"), Email: ptr("ALICE@example.org")})
	require.NoError(t, err, "nothing differs, so no password is needed")
	require.Equal(t, 1, r.audited(t, "USER_UPDATED", `TRUE`), "and nothing is recorded")

	r.mailed(t, alice.User.ID)
	u, err = r.UpdateUser(as, alice.User.ID, account.UpdateUserInput{Email: ptr("New@Example.org"), FullName: ptr(""), Password: ptr(password)})
	require.NoError(t, err)
	require.Equal(t, "new@example.org", u.Email)
	require.Empty(t, u.FullName)
	require.False(t, u.IsVerified)
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE user_id = $1 AND kind = 'RESET' AND revoked_at IS NULL`, alice.User.ID), "links to the old address are void")
	require.Equal(t, 1, r.audited(t, "USER_UPDATED", `details = '{"fields": ["email", "fullName"], "own": true}'`))
	require.Zero(t, r.audited(t, "USER_UPDATED", `to_jsonb(l)::text ILIKE '%new@%' OR to_jsonb(l)::text ILIKE '%alice%'`), "names of fields, no values")
}

func TestUpdateUser_OwnRefused(t *testing.T) {
	r := newRig(t)
	alice, fed, gone, out := r.user(t, "alice", "analyst"), r.user(t, "fed"), r.user(t, "gone"), r.user(t, "out")
	r.sql(t, `UPDATE users SET hashed_password = '', oidc_issuer = 'https://id.example', oidc_subject = '1' WHERE username = 'fed'`)
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'gone'`)
	require.NoError(t, r.Logout(testkit.As(out.Principal)))
	token := *alice.Principal
	token.APIToken = true
	email, full, pw := ptr("new@example.org"), ptr("New"), ptr(password)
	for name, c := range map[string]struct {
		p     *authz.Principal
		in    account.UpdateUserInput
		code  errs.Code
		field string
		state string
	}{
		"NoPassword":       {alice.Principal, account.UpdateUserInput{Email: email}, errs.BadUserInput, "input.password", ""},
		"EmptyPassword":    {alice.Principal, account.UpdateUserInput{Email: email, Password: ptr("")}, errs.BadUserInput, "input.password", ""},
		"TokenEmail":       {&token, account.UpdateUserInput{Email: email, Password: pw}, errs.Forbidden, "", ""},
		"TokenName":        {&token, account.UpdateUserInput{FullName: full}, errs.Forbidden, "", ""},
		"Federated":        {fed.Principal, account.UpdateUserInput{Email: email, Password: pw}, errs.FailedPrecondition, "", "NO_PASSWORD"},
		"Deactivated":      {gone.Principal, account.UpdateUserInput{FullName: full}, errs.Unauthenticated, "", ""},
		"DeactivatedEmail": {gone.Principal, account.UpdateUserInput{Email: email, Password: pw}, errs.Unauthenticated, "", ""},
		"SignedOut":        {out.Principal, account.UpdateUserInput{FullName: full}, errs.Unauthenticated, "", ""},
		"NoSession":        {authz.NewUser(alice.User.ID, "alice", uuid.Nil, false, alice.ExpiresAt), account.UpdateUserInput{FullName: full}, errs.FailedPrecondition, "", ""},
		"TakenEmail":       {alice.Principal, account.UpdateUserInput{Email: ptr("FED@example.org"), Password: pw}, errs.Conflict, "", ""},
		"TakenUsername":    {alice.Principal, account.UpdateUserInput{Username: ptr("ADMIN")}, errs.Conflict, "", ""},
		"BadEmail":         {alice.Principal, account.UpdateUserInput{Email: ptr("a@b\r\nBcc: c@d"), Password: pw}, errs.BadUserInput, "input.email", ""},
		"EmptyEmail":       {alice.Principal, account.UpdateUserInput{Email: ptr(""), Password: pw}, errs.BadUserInput, "input.email", ""},
		"BadUsername":      {alice.Principal, account.UpdateUserInput{Username: ptr("\u0430dmin")}, errs.BadUserInput, "input.username", ""},
		"BadFullName":      {alice.Principal, account.UpdateUserInput{FullName: ptr("A\nSubject: x")}, errs.BadUserInput, "input.fullName", ""},
		"Other":            {alice.Principal, account.UpdateUserInput{FullName: full}, errs.Forbidden, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := c.p.UserID
			if name == "Other" {
				id = fed.User.ID
			}
			_, err := r.UpdateUser(testkit.As(c.p), id, c.in)
			e := failure(t, c.code, err)
			require.Equal(t, c.state, e.State)
			if c.field != "" {
				require.Contains(t, e.Fields, c.field)
			}
		})
	}
	taken := func(in account.UpdateUserInput) string {
		_, err := r.UpdateUser(testkit.As(alice.Principal), alice.User.ID, in)
		return failure(t, errs.Conflict, err).Message
	}
	require.Equal(t, taken(account.UpdateUserInput{Email: ptr("fed@example.org"), Password: pw}), taken(account.UpdateUserInput{Username: ptr("admin")}), "not told which is taken")
	_, err := r.UpdateUser(testkit.As(alice.Principal), uid.New(uid.User), account.UpdateUserInput{FullName: full})
	requireCode(t, errs.Forbidden, err) // as for one that exists
	_, err = r.UpdateUser(context.Background(), alice.User.ID, account.UpdateUserInput{FullName: full})
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.UpdateUser(testkit.As(alice.Principal), alice.Session.ID, account.UpdateUserInput{FullName: full})
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "id")
	require.Equal(t, 4, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'updateUser'`, alice.User.ID))
	require.Zero(t, r.audited(t, "USER_UPDATED", `TRUE`))
}

// TestUpdateUser_OwnMeanwhile: what happens to the account while its password is checked.
func TestUpdateUser_OwnMeanwhile(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	ctx := context.Background()
	for _, c := range []struct {
		name, meanwhile string
		in              account.UpdateUserInput
		code            errs.Code
	}{
		{"AnotherAddress", `UPDATE users SET email = 'moved@example.org' WHERE id = $1`, account.UpdateUserInput{Email: ptr("alice@example.org")}, errs.Conflict}, // was no change and would be one
		{"SessionEnded", `UPDATE sessions SET is_active = FALSE, revoked_at = now() WHERE user_id = $1`, account.UpdateUserInput{Email: ptr("new@example.org"), Password: ptr(password)}, errs.Unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			tx, err := r.DB.Pool.Begin(ctx)
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(ctx) }()
			_, err = tx.Exec(ctx, `SELECT FROM users WHERE id = $1 FOR UPDATE`, alice.User.ID)
			require.NoError(t, err)
			_, err = tx.Exec(ctx, c.meanwhile, alice.User.ID)
			require.NoError(t, err)
			done := make(chan error, 1)
			go func() { done <- second(r.UpdateUser(testkit.As(alice.Principal), alice.User.ID, c.in)) }()
			r.waiting(t)
			require.NoError(t, tx.Commit(ctx))
			requireCode(t, c.code, <-done)
		})
	}
	require.Zero(t, r.audited(t, "USER_UPDATED", `TRUE`))
}

func TestUpdateUser_Another(t *testing.T) {
	r := newRig(t)
	fed := r.user(t, "fed", "analyst")
	r.sql(t, `UPDATE users SET hashed_password = '', oidc_issuer = 'https://id.example', oidc_subject = '1', is_verified = TRUE WHERE username = 'fed'`)
	r.mailed(t, fed.User.ID)
	u, err := r.UpdateUser(testkit.As(r.admin), fed.User.ID, account.UpdateUserInput{Email: ptr("fed@example.net"), Username: ptr("fed2")})
	require.NoError(t, err, "no password: it is not the caller's address")
	require.Equal(t, "fed@example.net", u.Email)
	require.False(t, u.IsVerified)
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE user_id = $1 AND kind = 'RESET' AND revoked_at IS NULL`, fed.User.ID))
	require.Equal(t, 1, r.audited(t, "USER_UPDATED", `user_id = $1 AND resource_id = $2 AND details->>'own' = 'false'`, r.admin.UserID, fed.User.ID))
	_, err = r.UpdateUser(testkit.As(r.admin), uid.New(uid.User), account.UpdateUserInput{FullName: ptr("x")})
	requireCode(t, errs.NotFound, err)
	_, err = r.UpdateUser(testkit.As(r.admin), fed.User.ID, account.UpdateUserInput{Email: ptr("Admin@localhost")})
	requireCode(t, errs.Conflict, err)
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'fed2'`)
	_, err = r.UpdateUser(testkit.As(r.admin), fed.User.ID, account.UpdateUserInput{FullName: ptr("Fed")})
	require.NoError(t, err, "a deactivated user can be corrected")
	r.sql(t, `UPDATE users SET erased_at = now() WHERE username = 'fed2'`)
	_, err = r.UpdateUser(testkit.As(r.admin), fed.User.ID, account.UpdateUserInput{FullName: ptr("Back")})
	require.Equal(t, "ERASED", failure(t, errs.FailedPrecondition, err).State)
}

// TestRank: who may do what to whom. A helper may change users, and what else is given.
func TestRank(t *testing.T) {
	r := newRig(t)
	r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name) VALUES ($1, now(), now(), 'helper')`, uid.New(uid.Role))
	r.sql(t, `INSERT INTO role_permissions SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = 'helper' AND p.name IN ('users:write', 'roles:write')`)
	ids := map[string]uuid.UUID{}
	for name, roles := range map[string][]string{
		"helper": {"helper"}, "strong": {"helper", "approver"}, "second": {"admin"}, "root": {},
		"none": {}, "peer": {"helper"}, "decider": {"approver"}, "boss": {"admin"}, "super": {}, "idle": {"approver"},
	} {
		ids[name] = r.user(t, name, roles...).User.ID
	}
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username IN ('root', 'super')`)
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'idle'`)
	people := map[string]*authz.Principal{}
	for _, name := range []string{"helper", "strong", "second", "root"} {
		people[name] = r.login(t, name).Principal
	}
	for _, c := range []struct {
		by, to string
		ok     bool
		bypass bool
	}{
		{"helper", "none", true, false}, {"helper", "peer", true, false}, {"helper", "decider", false, false}, {"helper", "boss", false, false},
		{"helper", "super", false, false}, {"helper", "idle", false, false},
		{"strong", "decider", true, false}, {"strong", "idle", true, false}, {"strong", "boss", false, false}, {"strong", "super", false, false},
		{"second", "boss", true, false}, {"second", "decider", true, false}, {"second", "super", false, false},
		{"root", "none", true, false}, {"root", "boss", true, true}, {"root", "super", true, true}, {"root", "idle", true, true},
	} {
		t.Run(c.by+" "+c.to, func(t *testing.T) {
			id := ids[c.to]
			as := testkit.As(people[c.by])
			for name, do := range map[string]func() error{
				"email": func() error {
					_, err := r.UpdateUser(as, id, account.UpdateUserInput{Email: ptr(uuid.NewString() + "@example.net")})
					return err
				},
				"username": func() error {
					_, err := r.UpdateUser(as, id, account.UpdateUserInput{Username: ptr("u" + uuid.NewString())})
					return err
				},
				"fullName": func() error {
					_, err := r.UpdateUser(as, id, account.UpdateUserInput{FullName: ptr("N " + uuid.NewString()[:8])})
					return err
				},
				"active": func() error {
					active := c.to == "idle"
					_, err := r.SetUserActive(as, id, active)
					r.sql(t, `UPDATE users SET is_active = $2 WHERE id = $1`, id, !active)
					return err
				},
				"role": func() error { _, err := r.UnassignRole(as, id, "helper"); return err },
			} {
				before := r.audited(t, "SUPERUSER_BYPASS_USED", `resource_type = 'User' AND resource_id = $1 AND details->>'permission' IS NULL`, id)
				err := do()
				r.sql(t, `UPDATE users SET username = $2::text, email = $2::text || '@example.org' WHERE id = $1`, id, c.to)
				if !c.ok {
					requireCode(t, errs.Forbidden, err)
					require.NotContains(t, err.Error(), "admin")
					continue
				}
				require.NoError(t, err, name)
				after := r.audited(t, "SUPERUSER_BYPASS_USED", `resource_type = 'User' AND resource_id = $1 AND details->>'permission' IS NULL`, id)
				require.Equal(t, c.bypass, after > before, name)
			}
		})
	}
	require.NotZero(t, r.audited(t, "SUPERUSER_BYPASS_USED", `user_id = $1 AND details->>'permission' = 'users:write'`, people["root"].UserID))
}

func TestSetUserActive(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	again := r.login(t, "alice")
	r.sql(t, `INSERT INTO sessions (id, created_at, user_id, kind, family_id, token, is_active, expires_at, last_activity) SELECT $1, created_at, user_id, 'API_TOKEN', $1, 'a token', TRUE, expires_at, last_activity FROM sessions WHERE id = $2`,
		uid.New(uid.Session), alice.Session.ID)
	r.mailed(t, alice.User.ID)
	r.sql(t, `INSERT INTO mailed_tokens (id, kind, invited_by, email, created_at, expires_at) VALUES ($1, 'INVITE', $2, 'x@example.org', now(), now() + interval '1 day')`, uid.New(uid.Session), alice.User.ID)
	admin := testkit.As(r.admin)
	u, err := r.SetUserActive(admin, alice.User.ID, false)
	require.NoError(t, err)
	require.False(t, u.IsActive)
	require.NotNil(t, u.TokensValidAfter)
	require.False(t, r.stands(t, alice))
	require.False(t, r.stands(t, again))
	require.True(t, r.wasRevoked(alice.User.ID))
	require.True(t, r.wasRevoked(again.Session.ID))
	require.Zero(t, r.Count(t, `SELECT count(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL`, alice.User.ID), "API tokens as well")
	require.Zero(t, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE user_id = $1 AND revoked_at IS NULL`, alice.User.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE invited_by = $1 AND revoked_at IS NULL`, alice.User.ID))
	require.Equal(t, 1, r.audited(t, "USER_DEACTIVATED", `user_id = $1 AND resource_id = $2 AND details->>'ended' = '3'`, r.admin.UserID, alice.User.ID))
	_, err = r.Login(laptop, account.LoginInput{Login: "alice", Password: password})
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.SetUserActive(admin, alice.User.ID, false)
	require.NoError(t, err)
	require.Equal(t, 1, r.audited(t, "USER_DEACTIVATED", `TRUE`), "twice is once")

	for range 2 {
		u, err = r.SetUserActive(admin, alice.User.ID, true)
		require.NoError(t, err)
		require.True(t, u.IsActive)
	}
	require.Equal(t, 1, r.audited(t, "USER_REACTIVATED", `user_id = $1 AND resource_id = $2`, r.admin.UserID, alice.User.ID))
	require.False(t, r.stands(t, alice), "what ended stays ended")
	require.True(t, r.stands(t, r.login(t, "alice")))
	require.Equal(t, 1, r.roles(t, alice.User.ID), "roles stay")
}

func TestSetUserActive_Refused(t *testing.T) {
	r := newRig(t)
	alice, erased := r.user(t, "alice", "analyst"), r.user(t, "erased")
	r.sql(t, `UPDATE users SET is_active = FALSE, erased_at = now() WHERE username = 'erased'`)
	admin := testkit.As(r.admin)
	_, err := r.SetUserActive(admin, r.admin.UserID, false)
	require.Equal(t, "SELF", failure(t, errs.FailedPrecondition, err).State)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'setUserActive' AND error_message = 'FAILED_PRECONDITION'`, r.admin.UserID))
	_, err = r.SetUserActive(admin, r.admin.UserID, true)
	require.NoError(t, err, "it is so already")
	for _, active := range []bool{true, false} {
		_, err = r.SetUserActive(admin, erased.User.ID, active)
		require.Equal(t, "ERASED", failure(t, errs.FailedPrecondition, err).State)
		_, err = r.SetUserActive(admin, uid.New(uid.User), active)
		requireCode(t, errs.NotFound, err)
		_, err = r.SetUserActive(admin, alice.Session.ID, active)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "id")
		_, err = r.SetUserActive(context.Background(), alice.User.ID, active)
		requireCode(t, errs.Unauthenticated, err)
		_, err = r.SetUserActive(testkit.As(alice.Principal), alice.User.ID, active)
		requireCode(t, errs.Forbidden, err)
	}
	require.Equal(t, 2, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'setUserActive'`, alice.User.ID))

	r.user(t, "root")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'root'`)
	root := r.login(t, "root")
	_, err = r.SetUserActive(testkit.As(root.Principal), r.admin.UserID, false)
	require.Equal(t, "LAST_ADMIN", failure(t, errs.FailedPrecondition, err).State, "not even by a superuser")
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND resource_id = $2 AND details->>'operation' = 'setUserActive'`, root.User.ID, r.admin.UserID))
	require.Zero(t, r.audited(t, "PERMISSION_DENIED", `resource_id = $1`, erased.User.ID), "what is of no consequence is no denial")
	r.user(t, "second", "admin")
	_, err = r.SetUserActive(testkit.As(root.Principal), r.admin.UserID, false)
	require.NoError(t, err)
}

// TestAdminsEndEachOther: two administrators take each other's rights at the same instant. One succeeds.
func TestAdminsEndEachOther(t *testing.T) {
	r := newRig(t)
	r.user(t, "second", "admin")
	admins := r.Count(t, `SELECT count(*) FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE r.name = 'admin'`)
	require.Equal(t, 2, admins)
	deactivate := func(ctx context.Context, id uuid.UUID) error { _, err := r.SetUserActive(ctx, id, false); return err }
	unassign := func(ctx context.Context, id uuid.UUID) error { _, err := r.UnassignRole(ctx, id, "admin"); return err }
	for name, do := range map[string][2]func(context.Context, uuid.UUID) error{
		"Deactivate": {deactivate, deactivate}, "Unassign": {unassign, unassign}, "Mixed": {deactivate, unassign},
	} {
		t.Run(name, func(t *testing.T) {
			for range 8 {
				r.sql(t, `UPDATE users SET is_active = TRUE`)
				r.sql(t, `INSERT INTO user_roles SELECT u.id, r.id FROM users u, roles r WHERE r.name = 'admin' ON CONFLICT DO NOTHING`)
				pair := []*authz.Principal{r.login(t, "admin").Principal, r.login(t, "second").Principal}
				start, results := make(chan struct{}), make([]error, 2)
				var wg sync.WaitGroup
				for i := range pair {
					wg.Go(func() {
						<-start
						results[i] = do[i](testkit.As(pair[i]), pair[1-i].UserID)
					})
				}
				close(start)
				wg.Wait()
				won := 0
				for _, err := range results {
					if err == nil {
						won++
						continue
					}
					require.True(t, errs.Is(err, errs.Forbidden) || errs.Is(err, errs.Unauthenticated), "%v", err)
				}
				require.Equal(t, 1, won)
				require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM users u JOIN user_roles ur ON ur.user_id = u.id JOIN roles r ON r.id = ur.role_id WHERE r.name = 'admin' AND u.is_active`))
			}
		})
	}
}

// TestRightsOfTheMoment: what the cached principal says counts for nothing when the rows say less.
func TestRightsOfTheMoment(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	for name, c := range map[string]struct {
		change string
		code   errs.Code
	}{
		"RoleTaken":    {`DELETE FROM user_roles ur USING users u WHERE u.id = ur.user_id AND u.username = $1`, errs.Forbidden},
		"Deactivated":  {`UPDATE users SET is_active = FALSE WHERE username = $1`, errs.Unauthenticated},
		"Erased":       {`UPDATE users SET erased_at = now() WHERE username = $1`, errs.Unauthenticated},
		"SessionEnded": {`UPDATE sessions s SET is_active = FALSE, revoked_at = now() FROM users u WHERE u.id = s.user_id AND u.username = $1`, errs.Unauthenticated},
		"Expired":      {`UPDATE sessions s SET expires_at = now() - interval '1 second' FROM users u WHERE u.id = s.user_id AND u.username = $1`, errs.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			username := "x" + strings.ToLower(name)
			p := r.user(t, username, "admin").Principal
			r.sql(t, c.change, username)
			as, role := testkit.As(p), r.ID(t, `SELECT id FROM roles WHERE name = 'approver'`)
			inv := r.invite(t, "analyst")
			for doing, err := range map[string]error{
				"assignRole":         second(r.AssignRole(as, alice.User.ID, "approver")),
				"unassignRole":       second(r.UnassignRole(as, alice.User.ID, "analyst")),
				"createUser":         second(r.CreateUser(as, account.CreateUserInput{Email: "n@example.org", Username: "nnn", Password: password})),
				"updateUser":         second(r.UpdateUser(as, alice.User.ID, account.UpdateUserInput{FullName: ptr("x")})),
				"setUserActive":      second(r.SetUserActive(as, alice.User.ID, false)),
				"unlockUser":         second(r.UnlockUser(as, alice.User.ID)),
				"inviteUser":         third(r.Invite(as, "i@example.org", nil, nil)),
				"revokeInvitation":   r.RevokeInvitation(as, inv),
				"createRole":         second(r.CreateRole(as, "a role", "", nil)),
				"updateRole":         second(r.UpdateRole(as, role, nil, ptr("x"))),
				"deleteRole":         r.DeleteRole(as, role),
				"setRolePermissions": second(r.SetRolePermissions(as, role, nil)),
			} {
				require.True(t, errs.Is(err, c.code), "%s: %v", doing, err)
			}
			r.sql(t, `DELETE FROM mailed_tokens`)
		})
	}
	t.Run("NoSuperuserAnyMore", func(t *testing.T) {
		r.user(t, "former")
		r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'former'`)
		p := r.login(t, "former").Principal
		require.True(t, p.Superuser)
		r.sql(t, `UPDATE users SET is_superuser = FALSE WHERE username = 'former'`)
		requireCode(t, errs.Forbidden, second(r.SetUserActive(testkit.As(p), alice.User.ID, false)))
		requireCode(t, errs.Forbidden, second(r.CreateRole(testkit.As(p), "a role", "", nil)))
	})
	t.Run("NeverMore", func(t *testing.T) { // an API token has less than its owner
		x := r.user(t, "limited", "admin").Principal
		few := authz.NewUser(x.UserID, x.Username, x.SessionID, false, x.ExpiresAt, "roles:write", "tools:read")
		few.APIToken = true
		requireCode(t, errs.Forbidden, second(r.CreateRole(testkit.As(few), "wide", "", []string{"tools:read", "audit:read"})))
		requireCode(t, errs.Forbidden, second(r.SetUserActive(testkit.As(few), alice.User.ID, false)))
		require.NoError(t, second(r.CreateRole(testkit.As(few), "narrow", "", []string{"tools:read"})))
	})
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }

// TestUpdateUser_Notice: the former address is told, whoever changed it and however fast it changes again.
func TestUpdateUser_Notice(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	as := testkit.As(alice.Principal)
	_, err := r.UpdateUser(as, alice.User.ID, account.UpdateUserInput{Email: ptr("one@example.org"), Password: ptr(password)})
	require.NoError(t, err)
	_, err = r.UpdateUser(testkit.As(r.admin), alice.User.ID, account.UpdateUserInput{Email: ptr("two@example.org")})
	require.NoError(t, err)
	_, err = r.SetUserActive(testkit.As(r.admin), alice.User.ID, false)
	require.NoError(t, err)
	to := map[string]string{}
	for _, m := range r.work(t) {
		require.Equal(t, mail.Notice, m.Kind, "links that were sent before are void")
		require.Empty(t, m.Name)
		require.NotContains(t, m.Text, "cdsa_", "no token")
		require.NotContains(t, m.Text, "#")
		require.NotContains(t, m.Text, "EXTRA")
		require.NotRegexp(t, `one@|two@|alice`, m.Text)
		require.Contains(t, m.Text, "https://cdsa.example.org/\n")
		to[m.To] = m.Subject
	}
	require.Equal(t, map[string]string{"alice@example.org": "Your e-mail address was changed", "one@example.org": "Your e-mail address was changed"}, to)
}

func TestUpdateUser_NoticesAreBounded(t *testing.T) {
	r := newMailRig(t)
	alice := r.user(t, "alice", "analyst")
	for i := range 8 {
		_, err := r.UpdateUser(testkit.As(r.admin), alice.User.ID, account.UpdateUserInput{Email: ptr(fmt.Sprintf("a%d@example.org", i))})
		require.NoError(t, err)
	}
	require.Equal(t, 5, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE kind = 'NOTICE'`))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE kind = 'NOTICE' AND email = 'alice@example.org'`))
}
