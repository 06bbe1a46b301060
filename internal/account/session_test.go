//go:build unix

package account_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

func TestLogout(t *testing.T) {
	r := newRig(t)
	first, other := r.user(t, "alice", "analyst"), r.login(t, "alice")
	second := r.refresh(t, laptop, first.RefreshToken)
	require.NoError(t, r.Logout(testkit.As(second.Principal)))
	require.False(t, r.stands(t, first), "what it was refreshed from ends too")
	require.False(t, r.stands(t, second))
	require.True(t, r.stands(t, other))
	require.True(t, r.wasRevoked(first.Session.ID))
	require.True(t, r.wasRevoked(second.Session.ID))
	require.False(t, r.wasRevoked(other.Session.ID))
	require.Equal(t, 1, r.audited(t, "LOGOUT", `user_id = $1 AND session_id = $2`, first.User.ID, second.Session.ID))

	requireCode(t, errs.Unauthenticated, r.Logout(context.Background()))
	requireCode(t, errs.FailedPrecondition, r.Logout(testkit.As(authz.Indexer)))
}

func TestRevokeSession(t *testing.T) {
	r := newRig(t)
	alice, bob, auditor := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst"), r.user(t, "audit", "auditor")
	own := r.login(t, "alice")

	_, err := r.RevokeSession(testkit.As(bob.Principal), alice.Session.ID)
	requireCode(t, errs.NotFound, err)
	_, err = r.RevokeSession(testkit.As(bob.Principal), uid.New(uid.Session))
	requireCode(t, errs.NotFound, err)
	_, err = r.RevokeSession(testkit.As(bob.Principal), alice.User.ID)
	requireCode(t, errs.BadUserInput, err)
	_, err = r.RevokeSession(context.Background(), alice.Session.ID)
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.RevokeSession(testkit.As(auditor.Principal), alice.Session.ID)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND resource_id = $2 AND NOT success`, auditor.User.ID, alice.Session.ID))
	require.Equal(t, 2, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND error_message = 'NOT_FOUND' AND NOT success`, bob.User.ID), "a probe, whether there is one or not")
	require.True(t, r.stands(t, alice))

	row, err := r.RevokeSession(testkit.As(alice.Principal), own.Session.ID)
	require.NoError(t, err)
	require.False(t, row.IsActive)
	require.NotNil(t, row.RevokedAt)
	require.False(t, r.stands(t, own))
	require.True(t, r.stands(t, alice))
	again, err := r.RevokeSession(testkit.As(alice.Principal), own.Session.ID)
	require.NoError(t, err)
	require.Equal(t, row.RevokedAt, again.RevokedAt)
	require.Equal(t, 1, r.audited(t, "SESSION_REVOKED", `user_id = $1 AND resource_id = $2`, alice.User.ID, own.Session.ID))

	// A session that was replaced in the meantime: what replaced it ends.
	next := r.refresh(t, laptop, alice.RefreshToken)
	_, err = r.RevokeSession(testkit.As(r.admin), alice.Session.ID)
	require.NoError(t, err)
	require.False(t, r.stands(t, next))
	require.True(t, r.wasRevoked(next.Session.ID))
	require.Equal(t, 1, r.audited(t, "SESSION_REVOKED", `user_id = $1 AND details->>'own' = 'false'`, r.admin.UserID))
}

// Who may look after users has no power over the sessions, the API tokens and the profile of those who may do more.
func TestRevokeSession_Outranked(t *testing.T) {
	r := newRig(t)
	r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name, description) VALUES ($1, now(), now(), 'helpdesk', '')`, uid.New(uid.Role))
	r.sql(t, `INSERT INTO role_permissions (role_id, permission_id) SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = 'helpdesk' AND p.name IN ('users:read', 'users:write')`)
	desk, nobody := r.user(t, "desk", "helpdesk"), r.user(t, "nobody")
	boss := r.login(t, "admin")
	_, program, err := r.CreateAPIToken(as(boss), account.CreateAPITokenInput{Name: "x", Permissions: []string{"documents:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: password})
	require.NoError(t, err)
	name := "Somebody Else"
	for of, do := range map[string]func() error{
		"Session": func() error { _, err := r.RevokeSession(as(desk), boss.Session.ID); return err },
		"Token":   func() error { _, err := r.RevokeSession(as(desk), program.ID); return err },
		"Name": func() error {
			_, err := r.UpdateUser(as(desk), boss.User.ID, account.UpdateUserInput{FullName: &name})
			return err
		},
	} {
		requireCode(t, errs.Forbidden, do())
		require.NotZero(t, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND NOT success`, desk.User.ID), of)
	}
	require.Equal(t, 3, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND NOT success`, desk.User.ID))
	require.True(t, r.stands(t, boss))
	_, err = r.LoadPrincipal(context.Background(), program.ID)
	require.NoError(t, err)

	_, err = r.RevokeSession(as(desk), nobody.Session.ID)
	require.NoError(t, err)
	require.False(t, r.stands(t, nobody))
	_, err = r.UpdateUser(as(desk), nobody.User.ID, account.UpdateUserInput{FullName: &name})
	require.NoError(t, err)
	// The principal is a second old: the role was taken meanwhile.
	other := r.login(t, "nobody")
	r.sql(t, `DELETE FROM user_roles WHERE user_id = $1`, desk.User.ID)
	_, err = r.RevokeSession(as(desk), other.Session.ID)
	requireCode(t, errs.Forbidden, err)
	require.True(t, r.stands(t, other))
}

func TestRevokeOthers(t *testing.T) {
	r := newRig(t)
	me, bob := r.user(t, "alice", "analyst"), r.user(t, "bob", "analyst")
	a, b := r.login(t, "alice"), r.login(t, "alice")
	b2 := r.refresh(t, laptop, b.RefreshToken)
	n, err := r.RevokeOthers(testkit.As(me.Principal))
	require.NoError(t, err)
	require.Equal(t, 2, n, "sessions in use, not rows")
	for _, s := range []uuid.UUID{a.Session.ID, b.Session.ID, b2.Session.ID} {
		require.True(t, r.wasRevoked(s))
	}
	require.False(t, r.stands(t, a) || r.stands(t, b) || r.stands(t, b2))
	require.True(t, r.stands(t, me))
	require.True(t, r.stands(t, bob))
	n, err = r.RevokeOthers(testkit.As(me.Principal))
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, 2, r.audited(t, "SESSION_REVOKED", `user_id = $1`, me.User.ID))
	_, err = r.RevokeOthers(context.Background())
	requireCode(t, errs.Unauthenticated, err)
}

func TestSweep(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	used := func() (at time.Time) {
		return *r.Client.Session.GetX(testkit.As(s.Principal), s.Session.ID).LastActivity
	}
	opened := used()
	require.NoError(t, r.Sweep(context.Background()))
	require.Equal(t, opened, used(), "noted less than a minute ago")
	require.NotNil(t, r.Client.User.GetX(testkit.As(s.Principal), s.User.ID).LastLogin)

	r.pass(90 * time.Second)
	require.True(t, r.stands(t, s))
	require.Equal(t, opened, used(), "never inside the request")
	require.NoError(t, r.Sweep(context.Background()))
	seen := used()
	require.WithinDuration(t, opened.Add(90*time.Second), seen, 30*time.Second)
	r.pass(30 * time.Second)
	require.True(t, r.stands(t, s))
	require.NoError(t, r.Sweep(context.Background()))
	require.Equal(t, seen, used(), "at most once a minute")
	require.Zero(t, r.audited(t, "USER_UPDATED", `TRUE`))
}

func TestSweep_LeavesLockedRows(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "analyst")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tx, err := r.DB.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(context.Background())) }()
	_, err = tx.Exec(ctx, `SELECT FROM users WHERE id = $1 FOR UPDATE`, s.User.ID)
	require.NoError(t, err)
	require.NoError(t, r.Sweep(ctx), "waits for no one")
}

// TestSessions_ClockBehind: what another replica, whose clock is ahead, cut off does not cut off what is opened after it.
func TestSessions_ClockBehind(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	r.pass(3 * time.Second)
	changed, err := r.ChangePassword(as(alice), password, "another battery staple horse")
	require.NoError(t, err)
	r.pass(-3 * time.Second)
	require.False(t, r.stands(t, alice))
	s, err := r.Login(laptop, account.LoginInput{Login: "alice", Password: "another battery staple horse"})
	require.NoError(t, err)
	require.True(t, r.stands(t, s))
	s, err = r.Refresh(laptop, s.RefreshToken)
	require.NoError(t, err)
	require.True(t, r.stands(t, s))
	s, err = r.Refresh(laptop, changed.RefreshToken)
	require.NoError(t, err)
	require.True(t, r.stands(t, s))
	token, row, err := r.CreateAPIToken(as(s), account.CreateAPITokenInput{
		Name: "backup", Permissions: []string{"documents:read"}, ExpiresAt: r.config.Now().Add(time.Hour), Password: "another battery staple horse",
	})
	require.NoError(t, err)
	require.NotEmpty(t, token)
	_, err = r.LoadPrincipal(context.Background(), row.ID)
	require.NoError(t, err)
}
