//go:build unix

package account_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// keeper makes a role that may hand out roles and holds little else.
func (r *rig) keeper(t *testing.T, perms ...string) {
	t.Helper()
	r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name) VALUES ($1, now(), now(), 'keeper')`, uid.New(uid.Role))
	r.sql(t, `INSERT INTO role_permissions SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = 'keeper' AND p.name = ANY($1)`,
		append(perms, "users:write", "roles:write"))
}

func (r *rig) roles(t *testing.T, user uuid.UUID) int {
	t.Helper()
	return r.Count(t, `SELECT count(*) FROM user_roles WHERE user_id = $1`, user)
}

func TestAssignRole(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	admin := testkit.As(r.admin)
	u, err := r.AssignRole(admin, alice.User.ID, "auditor")
	require.NoError(t, err)
	roles, err := u.QueryRoles().All(admin)
	require.NoError(t, err)
	require.Len(t, roles, 2)
	require.True(t, r.wasRevoked(alice.User.ID), "caches and sockets hear of it")
	require.Equal(t, 1, r.audited(t, "ROLE_ASSIGNED", `user_id = $1 AND resource_id = $2 AND details->>'role' = 'auditor'`, r.admin.UserID, alice.User.ID))
	p, err := r.LoadPrincipal(context.Background(), alice.Session.ID)
	require.NoError(t, err)
	require.True(t, p.Holds("audit:read"))

	_, err = r.AssignRole(admin, alice.User.ID, "auditor")
	require.NoError(t, err, "twice is once")
	require.Equal(t, 1, r.audited(t, "ROLE_ASSIGNED", `details->>'role' = 'auditor'`))

	_, err = r.UnassignRole(admin, alice.User.ID, "auditor")
	require.NoError(t, err)
	_, err = r.UnassignRole(admin, alice.User.ID, "auditor")
	require.NoError(t, err)
	require.Equal(t, 1, r.audited(t, "ROLE_UNASSIGNED", `resource_id = $1 AND details->>'role' = 'auditor'`, alice.User.ID))
	require.Equal(t, 1, r.roles(t, alice.User.ID))
}

func TestAssignRole_Refused(t *testing.T) {
	r := newRig(t)
	alice, idle := r.user(t, "alice", "analyst"), r.user(t, "idle")
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'idle'`)
	admin := testkit.As(r.admin)
	for name, change := range map[string]func(context.Context, uuid.UUID, string) (*ent.User, error){"assign": r.AssignRole, "unassign": r.UnassignRole} {
		t.Run(name, func(t *testing.T) {
			_, err := change(context.Background(), alice.User.ID, "auditor")
			requireCode(t, errs.Unauthenticated, err)
			_, err = change(testkit.As(alice.Principal), alice.User.ID, "auditor")
			requireCode(t, errs.Forbidden, err)
			_, err = change(admin, alice.Session.ID, "auditor")
			requireCode(t, errs.BadUserInput, err)
			_, err = change(admin, uid.New(uid.User), "auditor")
			requireCode(t, errs.NotFound, err)
			for _, role := range []string{"", "no such role", "admin' --", strings.Repeat("x", 1<<20)} {
				_, err = change(admin, alice.User.ID, role)
				require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "role")
			}
		})
	}
	_, err := r.AssignRole(admin, idle.User.ID, "analyst")
	require.Equal(t, "INACTIVE", failure(t, errs.FailedPrecondition, err).State)
	require.Equal(t, 2, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND NOT success`, alice.User.ID))
	require.Equal(t, 1, r.roles(t, alice.User.ID))
}

func TestAssignRole_NoOneGrantsWhatTheyDoNotHold(t *testing.T) {
	r := newRig(t)
	r.keeper(t, "approvals:read", "approvals:decide", "approvals:decide_elevated", "tools:read")
	keeper, alice := r.user(t, "keeper", "keeper"), r.user(t, "alice", "analyst")
	as := testkit.As(keeper.Principal)
	for _, user := range []uuid.UUID{alice.User.ID, keeper.User.ID} {
		for _, role := range []string{"admin", "auditor", "steward", "analyst"} {
			_, err := r.AssignRole(as, user, role)
			requireCode(t, errs.Forbidden, err)
		}
	}
	_, err := r.UnassignRole(as, r.admin.UserID, "admin")
	requireCode(t, errs.Forbidden, err)
	_, err = r.UnassignRole(as, alice.User.ID, "analyst")
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 10, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, keeper.User.ID))
	require.Zero(t, r.audited(t, "ROLE_ASSIGNED", `user_id = $1`, keeper.User.ID))
	_, err = r.AssignRole(as, alice.User.ID, "approver")
	requireCode(t, errs.Forbidden, err) // alice may do what the keeper may not
	bob := r.user(t, "bob")
	_, err = r.AssignRole(as, bob.User.ID, "approver")
	require.NoError(t, err, "what they hold they may give to who may do no more")
	_, err = r.UnassignRole(as, bob.User.ID, "approver")
	require.NoError(t, err)

	_, err = r.CreateUser(as, account.CreateUserInput{Email: "new@example.org", Username: "new", Password: password, Roles: []string{"approver", "admin"}})
	requireCode(t, errs.Forbidden, err)
	_, err = r.CreateUser(as, account.CreateUserInput{Email: "new@example.org", Username: "new", Password: password})
	requireCode(t, errs.Forbidden, err)
	require.Zero(t, r.Count(t, `SELECT count(*) FROM users WHERE username = 'new'`), "nothing is left of a refused account")
}

func TestAssignRole_Superuser(t *testing.T) {
	r := newRig(t)
	root, alice := r.user(t, "root"), r.user(t, "alice")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'root'`)
	p, err := r.LoadPrincipal(context.Background(), root.Session.ID)
	require.NoError(t, err)
	require.True(t, p.Superuser)
	require.Empty(t, p.Permissions())
	_, err = r.AssignRole(testkit.As(p), alice.User.ID, "approver")
	require.NoError(t, err)
	require.Equal(t, 1, r.audited(t, "SUPERUSER_BYPASS_USED", `user_id = $1 AND details->>'operation' = 'hand out a role'`, root.User.ID))
	require.Equal(t, 1, r.audited(t, "SUPERUSER_BYPASS_USED", `user_id = $1 AND details->>'entity' = 'Role' AND details->'permissions' = '["roles:write"]'`, root.User.ID))
}

func TestUnassignRole_LastAdmin(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	_, err := r.UnassignRole(admin, r.admin.UserID, "admin")
	require.Equal(t, "LAST_ADMIN", failure(t, errs.FailedPrecondition, err).State)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND resource_id = $1 AND details->>'operation' = 'unassignRole'`, r.admin.UserID))
	idle := r.user(t, "idle", "admin")
	r.sql(t, `UPDATE users SET is_active = FALSE WHERE username = 'idle'`)
	_, err = r.UnassignRole(admin, r.admin.UserID, "admin")
	requireCode(t, errs.FailedPrecondition, err)
	r.sql(t, `UPDATE users SET is_active = TRUE WHERE id = $1`, idle.User.ID)
	_, err = r.UnassignRole(admin, r.admin.UserID, "admin")
	require.NoError(t, err)
	require.Zero(t, r.roles(t, r.admin.UserID))
}

func TestUnassignRole_AdminsRemoveEachOther(t *testing.T) {
	r := newRig(t)
	admins := []*authz.Principal{r.admin, r.user(t, "second", "admin").Principal, r.user(t, "third", "admin").Principal}
	var wg sync.WaitGroup
	for i, p := range admins {
		for range 4 {
			wg.Go(func() {
				_, err := r.UnassignRole(testkit.As(p), admins[(i+1)%len(admins)].UserID, "admin")
				if err != nil && !errs.Is(err, errs.FailedPrecondition) && !errs.Is(err, errs.Forbidden) { // forbidden to who is none any more
					t.Errorf("unassign: %v", err)
				}
			})
		}
	}
	wg.Wait()
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM user_roles ur JOIN roles r ON r.id = ur.role_id WHERE r.name = 'admin'`))
	require.Equal(t, 2, r.audited(t, "ROLE_UNASSIGNED", `TRUE`))
}

func TestCreateUser(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	u, err := r.CreateUser(admin, account.CreateUserInput{Email: "Dora@example.org", Username: "Dora", Password: password, FullName: "Dora D."})
	require.NoError(t, err)
	require.Equal(t, "dora", u.Username)
	require.Equal(t, "analyst", u.QueryRoles().OnlyX(admin).Name, "the default")
	require.Equal(t, 1, r.audited(t, "USER_CREATED", `user_id = $1 AND resource_id = $2`, r.admin.UserID, u.ID))
	require.Equal(t, 1, r.audited(t, "ROLE_ASSIGNED", `user_id = $1 AND resource_id = $2`, r.admin.UserID, u.ID))
	require.Equal(t, "dora", r.login(t, "dora").User.Username)

	u, err = r.CreateUser(admin, account.CreateUserInput{Email: "e@example.org", Username: "eve", Password: password, Roles: []string{}})
	require.NoError(t, err)
	require.Zero(t, r.roles(t, u.ID), "none")
	u, err = r.CreateUser(admin, account.CreateUserInput{Email: "f@example.org", Username: "fay", Password: password, Roles: []string{"auditor", "approver", "auditor"}})
	require.NoError(t, err)
	require.Equal(t, 2, r.roles(t, u.ID))

	_, err = r.CreateUser(admin, account.CreateUserInput{Email: "g@example.org", Username: "DORA", Password: password})
	requireCode(t, errs.Conflict, err)
	for field, in := range map[string]account.CreateUserInput{
		"input.roles":    {Email: "g@example.org", Username: "gus", Password: password, Roles: []string{"no such role"}},
		"input.password": {Email: "g@example.org", Username: "gus", Password: "password123"},
	} {
		_, err = r.CreateUser(admin, in)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, field)
	}
	_, err = r.CreateUser(admin, account.CreateUserInput{Email: "g@example.org", Username: "gus", Password: password, Roles: make([]string, 51)})
	requireCode(t, errs.BadUserInput, err)
	alice := r.user(t, "alice", "analyst")
	_, err = r.CreateUser(testkit.As(alice.Principal), account.CreateUserInput{Email: "g@example.org", Username: "gus", Password: password, Roles: []string{}})
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'createUser'`, alice.User.ID))
	_, err = r.CreateUser(context.Background(), account.CreateUserInput{})
	requireCode(t, errs.Unauthenticated, err)
}

// TestCreateUser_Operator: whoever has the database at hand makes accounts of any role.
func TestCreateUser_Operator(t *testing.T) {
	r := newRig(t)
	perms := []string{"system:register"}
	for _, p := range authz.Permissions {
		perms = append(perms, p.Name())
	}
	u, err := r.CreateUser(testkit.As(authz.NewSystem("system:operator", perms...)), account.CreateUserInput{Email: "ops@example.org", Username: "ops", Password: password, Roles: []string{"admin"}})
	require.NoError(t, err)
	require.Equal(t, 1, r.roles(t, u.ID))
	require.Equal(t, 1, r.audited(t, "USER_CREATED", `actor_kind = 'SYSTEM' AND resource_id = $1`, u.ID))
	_, err = r.CreateUser(testkit.As(authz.NewSystem("system:other", "users:write")), account.CreateUserInput{Email: "o@example.org", Username: "other", Password: password, Roles: []string{"admin"}})
	requireCode(t, errs.Forbidden, err)
}

// TestLongPasswords_NotHashed: with a context that has ended nothing can be hashed, and nothing is asked of it.
func TestLongPasswords_NotHashed(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(testkit.As(r.admin))
	cancel()
	for _, long := range []string{strings.Repeat("x", 257), strings.Repeat("a Winded 0tter ", 1<<20)} {
		_, err := r.CreateUser(ctx, account.CreateUserInput{Email: "a@example.org", Username: "abc", Password: long})
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.password")
		_, err = r.Register(ctx, account.RegisterInput{Email: "a@example.org", Username: "abc", Password: long})
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.password")
	}
	_, err := r.CreateUser(ctx, account.CreateUserInput{Email: "a@example.org", Username: "abc", Password: password})
	require.ErrorIs(t, err, context.Canceled, "a good one would be")
}

// TestNames_NUL: text that the database cannot hold is bad input, not a fault.
func TestNames_NUL(t *testing.T) {
	r := newRig(t)
	alice := r.user(t, "alice", "analyst")
	ctx := testkit.As(r.admin)
	const nul = "a\x00b"
	_, err := r.AssignRole(ctx, alice.User.ID, nul)
	requireCode(t, errs.BadUserInput, err)
	_, err = r.UnassignRole(ctx, alice.User.ID, nul)
	requireCode(t, errs.BadUserInput, err)
	_, _, err = r.Invite(ctx, "eve@example.org", []string{nul}, nil)
	requireCode(t, errs.BadUserInput, err)
	_, err = r.CreateUser(ctx, account.CreateUserInput{Email: "eve@example.org", Username: "eve", Password: freshPassword, Roles: []string{nul}})
	requireCode(t, errs.BadUserInput, err)
	has, err := r.UserHasRole(ctx, alice.User, nul)
	require.NoError(t, err)
	require.False(t, has)
	has, err = r.UserHasPermission(ctx, alice.User, nul, nul)
	require.NoError(t, err)
	require.False(t, has)
}
