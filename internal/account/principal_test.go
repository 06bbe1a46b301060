//go:build unix

package account_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

func TestLoadPrincipal_Stands(t *testing.T) {
	sql := func(statement string) func(*testing.T, *rig, account.Signed) {
		return func(t *testing.T, r *rig, s account.Signed) {
			t.Helper()
			n := r.Count(t, `WITH changed AS (`+statement+` RETURNING 1) SELECT count(*) FROM changed`, s.Session.ID)
			require.Equal(t, 1, n)
		}
	}
	r := newRig(t)
	const user = `(SELECT user_id FROM sessions WHERE id = $1)`
	for name, c := range map[string]struct {
		change func(t *testing.T, r *rig, s account.Signed)
		stands bool
	}{
		"Untouched":      {sql(`UPDATE sessions SET name = 'x' WHERE id = $1`), true},
		"Ended":          {sql(`UPDATE sessions SET is_active = FALSE WHERE id = $1`), false},
		"Revoked":        {sql(`UPDATE sessions SET revoked_at = now() WHERE id = $1`), false},
		"ReplacedLately": {sql(`UPDATE sessions SET is_active = FALSE, replaced_by = id WHERE id = $1`), true},
		"ReplacedEnded":  {sql(`UPDATE sessions SET is_active = FALSE, replaced_by = id, revoked_at = now() WHERE id = $1`), false},
		"Expired":        {sql(`UPDATE sessions SET expires_at = now() WHERE id = $1`), false},
		"APIToken":       {sql(`UPDATE sessions SET kind = 'API_TOKEN', scopes = '{chat:read}' WHERE id = $1`), true},
		"Gone":           {sql(`DELETE FROM sessions WHERE id = $1`), false},
		"Deactivated":    {sql(`UPDATE users SET is_active = FALSE WHERE id = ` + user), false},
		"Erased":         {sql(`UPDATE users SET erased_at = now() WHERE id = ` + user), false},
		"CutOffBefore":   {sql(`UPDATE users SET tokens_valid_after = now() - interval '1 hour' WHERE id = ` + user), true},
		"CutOffAfter":    {sql(`UPDATE users SET tokens_valid_after = now() + interval '1 second' WHERE id = ` + user), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := r.user(t, strings.ToLower(name), "analyst")
			c.change(t, r, s)
			require.Equal(t, c.stands, r.stands(t, s))
		})
	}
}

func TestLoadPrincipal_Permissions(t *testing.T) {
	r := newRig(t)
	r.sql(t, `INSERT INTO permissions (id, created_at, name, resource, action) VALUES (gen_random_uuid(), now(), 'system:audit', 'system', 'audit')`)
	r.sql(t, `INSERT INTO role_permissions SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = 'auditor' AND p.name = 'system:audit'`)
	s := r.user(t, "alice", "analyst", "auditor")
	want := union("analyst", "auditor")
	slices.Sort(want)
	p, err := r.LoadPrincipal(context.Background(), s.Session.ID)
	require.NoError(t, err)
	require.Equal(t, want, p.Permissions(), "sorted, once each, and none of the background's")
	require.False(t, p.Can("system:audit"))
	require.Equal(t, enum.ActorKindUser, p.Kind)
	require.True(t, p.ExpiresAt.Equal(s.Session.ExpiresAt))

	_, err = r.LoadPrincipal(context.Background(), uuid.Nil)
	requireCode(t, errs.Unauthenticated, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.LoadPrincipal(ctx, s.Session.ID)
	require.Error(t, err)
	require.False(t, errs.Is(err, errs.Unauthenticated), "a fault is no answer")
}

func TestLoadPrincipal_ThroughTheDoor(t *testing.T) {
	r := newRig(t)
	cache := auth.NewPrincipalCache(r.LoadPrincipal, auth.PrincipalCacheConfig{TTL: time.Hour})
	door := auth.NewAuthenticator(r.tokens, cache)
	s := r.user(t, "alice", "analyst")
	p, err := door.Authenticate(context.Background(), s.AccessToken)
	require.NoError(t, err)
	require.Equal(t, s.Principal, p, "what a login gives is what its token gives")
	require.NoError(t, r.Logout(testkit.As(p)))
	require.True(t, r.wasRevoked(s.Session.ID))
	cache.Forget(s.Session.ID)
	_, err = door.Authenticate(context.Background(), s.AccessToken)
	requireCode(t, errs.Unauthenticated, err)
}

func TestLoadUserPrincipal(t *testing.T) {
	r := newRig(t)
	s := r.user(t, "alice", "approver")
	p, err := r.LoadUserPrincipal(context.Background(), s.User.ID)
	require.NoError(t, err)
	require.ElementsMatch(t, union("approver"), p.Permissions())
	require.Equal(t, uuid.Nil, p.SessionID)
	require.Equal(t, "alice", p.Username)
	require.False(t, p.IsSystem() || p.Superuser)
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'alice'`)
	_, err = r.LoadUserPrincipal(context.Background(), s.User.ID)
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.LoadUserPrincipal(context.Background(), uid.New(uid.User))
	requireCode(t, errs.Unauthenticated, err)
}

func TestPermissionsOf(t *testing.T) {
	r := newRig(t)
	alice, auditor := r.user(t, "alice", "approver"), r.user(t, "audit", "auditor")
	idle := r.user(t, "idle", "analyst")
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'idle'`)
	approver := union("approver")
	slices.Sort(approver)
	gone, cancel := context.WithCancel(testkit.As(alice.Principal))
	cancel() // no query can be made
	for name, c := range map[string]struct {
		ctx    context.Context
		of     uuid.UUID
		want   []string
		decide bool
	}{
		"Own":         {gone, alice.User.ID, approver, true},
		"Readers":     {testkit.As(auditor.Principal), alice.User.ID, approver, true},
		"Admins":      {testkit.As(r.admin), alice.User.ID, approver, true},
		"Others":      {testkit.As(alice.Principal), auditor.User.ID, []string{}, false},
		"Anonymous":   {context.Background(), alice.User.ID, []string{}, false},
		"AnonymousNo": {context.Background(), uuid.Nil, []string{}, false},
		"System":      {testkit.As(authz.Indexer), uuid.Nil, []string{}, false},
		"Deactivated": {testkit.As(auditor.Principal), idle.User.ID, []string{}, false},
		"Unknown":     {testkit.As(auditor.Principal), uid.New(uid.User), []string{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := r.PermissionsOf(c.ctx, &ent.User{ID: c.of})
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			can, err := r.UserHasPermission(c.ctx, &ent.User{ID: c.of}, "approvals", "decide")
			require.NoError(t, err)
			require.Equal(t, c.decide, can)
			can, err = r.UserHasPermission(c.ctx, &ent.User{ID: c.of}, "system", "audit")
			require.NoError(t, err)
			require.False(t, can)
		})
	}
}

func TestUserHasRole(t *testing.T) {
	r := newRig(t)
	alice, bob := r.user(t, "alice", "approver"), r.user(t, "bob", "analyst")
	for name, c := range map[string]struct {
		p    *authz.Principal
		role string
		has  bool
	}{
		"Own": {alice.Principal, "approver", true}, "OwnNot": {alice.Principal, "admin", false}, "Reader": {r.admin, "approver", true},
		"Other": {bob.Principal, "approver", false}, "Anonymous": {nil, "approver", false}, "Long": {alice.Principal, string(make([]byte, 1<<20)), false},
	} {
		has, err := r.UserHasRole(testkit.As(c.p), alice.User, c.role)
		require.NoError(t, err, name)
		require.Equal(t, c.has, has, name)
	}
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'alice'`)
	can, err := r.UserHasPermission(testkit.As(r.admin), alice.User, "audit", "hold")
	require.NoError(t, err)
	require.True(t, can, "a superuser may do everything")
}
