//go:build unix

package account_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/account"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/uid"
)

// permits is what a role allows.
func (r *rig) permits(t *testing.T, role uuid.UUID) []string {
	t.Helper()
	rows, err := r.DB.Pool.Query(context.Background(), `SELECT p.name FROM role_permissions rp JOIN permissions p ON p.id = rp.permission_id WHERE rp.role_id = $1 ORDER BY p.name`, role)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return names
}

func (r *rig) roleID(t *testing.T, name string) uuid.UUID {
	t.Helper()
	return r.ID(t, `SELECT id FROM roles WHERE name = $1`, name)
}

func TestCreateRole(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	role, err := r.CreateRole(admin, "Night Watch", " Looks  on. ", []string{"tools:read", "audit:read", "tools:read"})
	require.NoError(t, err)
	require.Equal(t, "night watch", role.Name)
	require.Equal(t, "Looks on.", role.Description)
	require.False(t, role.IsSystem)
	require.Equal(t, []string{"audit:read", "tools:read"}, r.permits(t, role.ID))
	require.Equal(t, 1, r.audited(t, "ROLE_CREATED", `user_id = $1 AND resource_id = $2 AND details = '{"role": "night watch", "permissions": ["audit:read", "tools:read"]}'`, r.admin.UserID, role.ID))
	alice := r.user(t, "alice")
	_, err = r.AssignRole(admin, alice.User.ID, "night watch")
	require.NoError(t, err)

	empty, err := r.CreateRole(admin, "x", "", nil)
	require.NoError(t, err)
	require.Empty(t, r.permits(t, empty.ID))
	require.Equal(t, 1, r.audited(t, "ROLE_CREATED", `details = '{"role": "x", "permissions": []}'`))
	for _, name := range []string{"NIGHT WATCH", "night watch", "Admin", "analyst"} {
		_, err = r.CreateRole(admin, name, "", nil)
		requireCode(t, errs.Conflict, err)
	}
	long := strings.Repeat("x", 65)
	for field, names := range map[string][]string{
		"input.name": {"", " ", " x", "x ", "a  b", "-x", "x.", "\u0430dmin", "adm\u200bin", "\uff41dmin", "\u212aeeper", "admin\n", "admin\x00", "a\tb", "system:x", "a/b", "<b>", "'; --", long, strings.Repeat("x", 10<<20), "\xff"},
	} {
		for _, name := range names {
			_, err = r.CreateRole(admin, name, "", nil)
			require.Contains(t, failure(t, errs.BadUserInput, err).Fields, field, "%.20q", name)
		}
	}
	for _, d := range []string{"a\nb", "a\x00", "\u202eevil", strings.Repeat("x", 501), strings.Repeat("x", 10<<20), "\xff"} {
		_, err = r.CreateRole(admin, "bad", d, nil)
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.description", "%.20q", d)
	}
	for _, p := range []string{"", "no:such", "system:register", "TOOLS:READ", "tools:read ", "*", strings.Repeat("x", 1<<20)} {
		_, err = r.CreateRole(admin, "bad", "", []string{"tools:read", p})
		e := failure(t, errs.BadUserInput, err)
		require.Contains(t, e.Fields, "input.permissions")
		require.Less(t, len(e.Message), 200)
	}
	_, err = r.CreateRole(testkit.As(alice.Principal), "mine", "", nil)
	requireCode(t, errs.Forbidden, err)
	require.Equal(t, 1, r.audited(t, "PERMISSION_DENIED", `user_id = $1 AND details->>'operation' = 'createRole'`, alice.User.ID))
	_, err = r.CreateRole(context.Background(), "mine", "", nil)
	requireCode(t, errs.Unauthenticated, err)
}

func TestCreateRole_Most(t *testing.T) {
	r := newRig(t)
	there := r.Count(t, `SELECT count(*) FROM roles`)
	for i := range 198 - there {
		r.sql(t, `INSERT INTO roles (id, created_at, updated_at, name) VALUES ($1, now(), now(), $2)`, uid.New(uid.Role), fmt.Sprintf("role %d", i))
	}
	var wg sync.WaitGroup
	results := make([]error, 6)
	for i := range results {
		wg.Go(func() { results[i] = second(r.CreateRole(testkit.As(r.admin), fmt.Sprintf("late %d", i), "", nil)) })
	}
	wg.Wait()
	made := 0
	for _, err := range results {
		if err == nil {
			made++
			continue
		}
		requireCode(t, errs.ResourceExhausted, err)
	}
	require.Equal(t, 2, made, "at once as well")
	require.Equal(t, 200, r.Count(t, `SELECT count(*) FROM roles`))
}

// invite puts an open invitation with roles in the database.
func (r *rig) invite(t *testing.T, roles ...string) uuid.UUID {
	t.Helper()
	id := uid.New(uid.Session)
	r.sql(t, `INSERT INTO mailed_tokens (id, kind, invited_by, email, roles, created_at, expires_at) VALUES ($1, 'INVITE', $2, 'x@example.org', $3, now(), now() + interval '1 day')`, id, r.admin.UserID, roles)
	return id
}

func TestUpdateRole(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	role, err := r.CreateRole(admin, "watch", "", []string{"tools:read"})
	require.NoError(t, err)
	inv := r.invite(t, "analyst", "watch")
	got, err := r.UpdateRole(admin, role.ID, ptr("Night.Watch"), ptr("At night."))
	require.NoError(t, err)
	require.Equal(t, "night.watch", got.Name)
	require.Equal(t, "At night.", got.Description)
	require.Equal(t, 1, r.audited(t, "ROLE_UPDATED", `user_id = $1 AND resource_id = $2 AND details = '{"fields": ["name", "description"]}'`, r.admin.UserID, role.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE id = $1 AND roles = '{analyst,night.watch}'`, inv), "invitations follow")
	for _, c := range [][2]*string{{nil, nil}, {ptr("NIGHT.WATCH"), nil}, {nil, ptr(" At  night. ")}} {
		_, err = r.UpdateRole(admin, role.ID, c[0], c[1])
		require.NoError(t, err)
	}
	require.Equal(t, 1, r.audited(t, "ROLE_UPDATED", `TRUE`), "nothing differed")
	got, err = r.UpdateRole(admin, role.ID, nil, ptr(""))
	require.NoError(t, err)
	require.Empty(t, got.Description)
	require.Equal(t, []string{"tools:read"}, r.permits(t, role.ID))

	_, err = r.UpdateRole(admin, role.ID, ptr("ADMIN"), nil)
	requireCode(t, errs.Conflict, err)
	_, err = r.UpdateRole(admin, role.ID, ptr("\u0430dmin"), nil)
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.name")
	_, err = r.UpdateRole(admin, role.ID, nil, ptr("a\r\nb"))
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "input.description")
	_, err = r.UpdateRole(admin, uid.New(uid.Role), nil, ptr("x"))
	requireCode(t, errs.NotFound, err)
	_, err = r.UpdateRole(admin, r.admin.UserID, nil, ptr("x"))
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "id")
	_, err = r.UpdateRole(context.Background(), role.ID, nil, ptr("x"))
	requireCode(t, errs.Unauthenticated, err)

	strict := r.config
	strict.Settings = account.Settings{MFARoles: []string{"night.watch"}}
	s, err := account.New(strict)
	require.NoError(t, err)
	_, err = s.UpdateRole(admin, role.ID, ptr("day"), nil)
	require.Equal(t, "CONFIGURED", failure(t, errs.FailedPrecondition, err).State, "another name would be out of the setting's reach")
	_, err = s.UpdateRole(admin, role.ID, nil, ptr("x"))
	require.NoError(t, err)

	strict.Settings.MFARoles = []string{"dusk"}
	s, err = account.New(strict)
	require.NoError(t, err)
	require.False(t, r.wasRevoked(role.ID))
	_, err = s.UpdateRole(admin, role.ID, ptr("dusk"), nil)
	require.NoError(t, err)
	require.True(t, r.wasRevoked(role.ID), "its holders must enrol now: what they have open ends")
}

// TestSeededRoles keep their names and are there for good.
func TestSeededRoles(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	for _, seeded := range authz.Roles {
		id := r.roleID(t, seeded.Name)
		_, err := r.UpdateRole(admin, id, ptr("renamed"), nil)
		require.Equal(t, "SYSTEM", failure(t, errs.FailedPrecondition, err).State)
		_, err = r.UpdateRole(admin, id, nil, ptr("Another."))
		require.Equal(t, "SYSTEM", failure(t, errs.FailedPrecondition, err).State)
		require.Equal(t, "SYSTEM", failure(t, errs.FailedPrecondition, r.DeleteRole(admin, id)).State)
	}
	id := r.roleID(t, authz.AdminRole)
	all := r.permits(t, id)
	for _, names := range [][]string{nil, {}, {"roles:write"}, all[1:], all[:len(all)-1]} {
		_, err := r.SetRolePermissions(admin, id, names)
		require.Equal(t, "SYSTEM", failure(t, errs.FailedPrecondition, err).State)
	}
	_, err := r.SetRolePermissions(admin, id, all)
	require.NoError(t, err)
	require.Equal(t, all, r.permits(t, id))
	_, err = r.SetRolePermissions(admin, r.roleID(t, "approver"), []string{"tools:read"})
	require.NoError(t, err, "the others' permissions are the operator's to set")
}

func TestDeleteRole(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	role, err := r.CreateRole(admin, "watch", "", []string{"audit:read"})
	require.NoError(t, err)
	alice := r.user(t, "alice", "analyst", "watch")
	inv := r.invite(t, "watch", "analyst")
	require.NoError(t, r.DeleteRole(admin, role.ID))
	require.Equal(t, 1, r.roles(t, alice.User.ID))
	p, err := r.LoadPrincipal(context.Background(), alice.Session.ID)
	require.NoError(t, err)
	require.False(t, p.Holds("audit:read"))
	require.True(t, r.wasRevoked(role.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM revocations WHERE subject = $1`, role.ID))
	require.Equal(t, 1, r.audited(t, "ROLE_DELETED", `user_id = $1 AND resource_id = $2 AND details = '{"role": "watch", "permissions": ["audit:read"], "holders": 1}'`, r.admin.UserID, role.ID))
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM mailed_tokens WHERE id = $1 AND roles = '{analyst}'`, inv), "a new role of that name is another")
	requireCode(t, errs.NotFound, r.DeleteRole(admin, role.ID))
	requireCode(t, errs.BadUserInput, r.DeleteRole(admin, alice.User.ID))
	requireCode(t, errs.Unauthenticated, r.DeleteRole(context.Background(), role.ID))
	requireCode(t, errs.Forbidden, r.DeleteRole(testkit.As(alice.Principal), r.roleID(t, "analyst")))
}

func TestSetRolePermissions(t *testing.T) {
	r := newRig(t)
	admin := testkit.As(r.admin)
	role, err := r.CreateRole(admin, "watch", "", []string{"audit:read", "tools:read"})
	require.NoError(t, err)
	alice := r.user(t, "alice", "watch")
	got, err := r.SetRolePermissions(admin, role.ID, []string{"tools:read", "models:read", "users:read", "models:read"})
	require.NoError(t, err)
	require.Equal(t, role.ID, got.ID)
	require.Equal(t, []string{"models:read", "tools:read", "users:read"}, r.permits(t, role.ID))
	require.Equal(t, 1, r.audited(t, "PERMISSION_GRANTED", `user_id = $1 AND resource_id = $2 AND details = '{"role": "watch", "permissions": ["models:read", "users:read"]}'`, r.admin.UserID, role.ID))
	require.Equal(t, 1, r.audited(t, "PERMISSION_REVOKED", `resource_id = $1 AND details = '{"role": "watch", "permissions": ["audit:read"]}'`, role.ID))
	require.True(t, r.wasRevoked(role.ID))
	p, err := r.LoadPrincipal(context.Background(), alice.Session.ID)
	require.NoError(t, err)
	require.Equal(t, []string{"models:read", "tools:read", "users:read"}, p.Permissions())
	_, err = r.SetRolePermissions(admin, role.ID, []string{"users:read", "models:read", "tools:read"})
	require.NoError(t, err)
	require.Equal(t, 1, r.Count(t, `SELECT count(*) FROM revocations WHERE subject = $1`, role.ID), "nothing differed")
	_, err = r.SetRolePermissions(admin, role.ID, nil)
	require.NoError(t, err)
	require.Empty(t, r.permits(t, role.ID))
	require.Equal(t, 1, r.audited(t, "PERMISSION_GRANTED", `TRUE`))
	require.Equal(t, 2, r.audited(t, "PERMISSION_REVOKED", `TRUE`))

	for _, name := range []string{"", "no:such", "system:tools", "*"} {
		_, err = r.SetRolePermissions(admin, role.ID, []string{name})
		require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "permissions")
	}
	_, err = r.SetRolePermissions(admin, uid.New(uid.Role), nil)
	requireCode(t, errs.NotFound, err)
	_, err = r.SetRolePermissions(admin, alice.User.ID, nil)
	require.Contains(t, failure(t, errs.BadUserInput, err).Fields, "roleId")
	_, err = r.SetRolePermissions(context.Background(), role.ID, nil)
	requireCode(t, errs.Unauthenticated, err)
	_, err = r.SetRolePermissions(testkit.As(alice.Principal), role.ID, nil)
	requireCode(t, errs.Forbidden, err)
}

// TestRoles_NoOneGrantsWhatTheyDoNotHold tries every way around.
func TestRoles_NoOneGrantsWhatTheyDoNotHold(t *testing.T) {
	r := newRig(t)
	r.keeper(t, "tools:read")
	keeper := r.user(t, "keeper", "keeper")
	as, admin := testkit.As(keeper.Principal), testkit.As(r.admin)
	own := r.roleID(t, "keeper")
	mine := []string{"roles:write", "tools:read", "users:write"}
	mixed, err := r.CreateRole(admin, "mixed", "", []string{"audit:read", "tools:read"})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		err error
	}{
		"Create":     {second(r.CreateRole(as, "wide", "", []string{"tools:read", "audit:read"}))},
		"AddToOwn":   {second(r.SetRolePermissions(as, own, append([]string{"audit:read"}, mine...)))},
		"Add":        {second(r.SetRolePermissions(as, mixed.ID, []string{"audit:read", "tools:read", "audit:export"}))},
		"Take":       {second(r.SetRolePermissions(as, mixed.ID, []string{"tools:read"}))},
		"TakeAll":    {second(r.SetRolePermissions(as, mixed.ID, nil))},
		"Rename":     {second(r.UpdateRole(as, mixed.ID, ptr("mine"), nil))},
		"Describe":   {second(r.UpdateRole(as, mixed.ID, nil, ptr("x")))},
		"Delete":     {r.DeleteRole(as, mixed.ID)},
		"Admin":      {second(r.SetRolePermissions(as, r.roleID(t, "admin"), nil))},
		"AssignSelf": {second(r.AssignRole(as, keeper.User.ID, "mixed"))},
	} {
		requireCode(t, errs.Forbidden, c.err)
		require.NotZero(t, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, keeper.User.ID), name)
	}
	require.Equal(t, 10, r.audited(t, "PERMISSION_DENIED", `user_id = $1`, keeper.User.ID))
	require.Equal(t, mine, r.permits(t, own))
	require.Equal(t, []string{"audit:read", "tools:read"}, r.permits(t, mixed.ID))

	narrow, err := r.CreateRole(as, "narrow", "", []string{"tools:read"})
	require.NoError(t, err, "without roles:read: what they made they are shown")
	_, err = r.SetRolePermissions(as, mixed.ID, []string{"audit:read"})
	require.NoError(t, err, "what they hold they may take, whatever else the role allows")
	require.NoError(t, r.DeleteRole(as, narrow.ID))

	r.user(t, "root")
	r.sql(t, `UPDATE users SET is_superuser = TRUE WHERE username = 'root'`)
	root := r.login(t, "root")
	wide, err := r.CreateRole(testkit.As(root.Principal), "wide", "", []string{"audit:read"})
	require.NoError(t, err)
	require.Equal(t, 1, r.audited(t, "SUPERUSER_BYPASS_USED", `user_id = $1 AND resource_id = $2`, root.User.ID, wide.ID))
}

// TestAssignRole_WhilePermissionsChange: the role is judged by what it allows once the change before it is done.
func TestAssignRole_WhilePermissionsChange(t *testing.T) {
	r := newRig(t)
	r.keeper(t, "approvals:read", "approvals:decide", "approvals:decide_elevated", "tools:read")
	keeper, bob := r.user(t, "keeper", "keeper"), r.user(t, "bob")
	ctx := context.Background()
	tx, err := r.DB.Pool.Begin(ctx)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(ctx) }()
	_, err = tx.Exec(ctx, `SELECT FROM roles WHERE name = 'approver' FOR UPDATE`)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `INSERT INTO role_permissions SELECT r.id, p.id FROM roles r, permissions p WHERE r.name = 'approver' AND p.name = 'audit:read'`)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- second(r.AssignRole(testkit.As(keeper.Principal), bob.User.ID, "approver")) }()
	r.waiting(t)
	require.NoError(t, tx.Commit(ctx))
	requireCode(t, errs.Forbidden, <-done)
	require.Zero(t, r.roles(t, bob.User.ID))
}

// TestRights_Storm: many administrators change everything at once. Nothing deadlocks, nothing is a fault, an
// administrator stays, and nobody was given what the giver did not hold.
func TestRights_Storm(t *testing.T) {
	r := newRig(t)
	people := []account.Signed{r.user(t, "one", "admin"), r.user(t, "two", "admin"), r.user(t, "three", "analyst"), r.user(t, "four", "auditor")}
	watch, err := r.CreateRole(testkit.As(r.admin), "watch", "", []string{"audit:read"})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i, by := range people {
		as := testkit.As(by.Principal)
		wg.Go(func() {
			for j := range 12 {
				to := people[(i+j)%len(people)].User.ID
				for _, err := range []error{
					second(r.SetUserActive(as, to, j%2 == 0)), second(r.AssignRole(as, to, "watch")), second(r.UnassignRole(as, to, "admin")),
					second(r.SetRolePermissions(as, watch.ID, [][]string{{"audit:read"}, {"tools:read", "users:read"}}[j%2])),
					second(r.UpdateUser(as, to, account.UpdateUserInput{Username: ptr(fmt.Sprintf("u%d.%d", i, j))})),
					second(r.CreateRole(as, fmt.Sprintf("role %d %d", i, j), "", []string{"tools:read"})),
				} {
					if err == nil {
						continue
					}
					if _, ok := errs.As(err); !ok {
						t.Errorf("a fault: %v", err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 5 {
			if _, err := r.Login(laptop, account.LoginInput{Login: "admin", Password: password}); err != nil {
				t.Errorf("a fault: %v", err)
			}
		}
	})
	wg.Wait()
	require.NotZero(t, r.Count(t, `SELECT count(*) FROM users u JOIN user_roles ur ON ur.user_id = u.id JOIN roles r ON r.id = ur.role_id WHERE r.name = 'admin' AND u.is_active`))
}
