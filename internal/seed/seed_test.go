//go:build unix

package seed_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/embeddingmodel"
	"cdsa.dev/cdsa/ent/permission"
	"cdsa.dev/cdsa/ent/role"
	enttool "cdsa.dev/cdsa/ent/tool"
	"cdsa.dev/cdsa/ent/user"
	"cdsa.dev/cdsa/internal/auth"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/seed"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/tool/builtin/calculator"
	"cdsa.dev/cdsa/internal/tool/builtin/currenttime"
	"cdsa.dev/cdsa/internal/uow"
)

func input(t *testing.T) seed.Input {
	t.Helper()
	h, err := auth.NewHasher(auth.HasherConfig{MemoryKiB: 7 * 1024, Iterations: 5})
	require.NoError(t, err)
	calc, err := calculator.New()
	require.NoError(t, err)
	clock, err := currenttime.New(time.Now)
	require.NoError(t, err)
	return seed.Input{Tools: []tool.Builtin{calc, clock}, AdminEmail: "Admin@Localhost", HashPassword: h.Hash}
}

var seeder = testkit.As(authz.Seeder)

func run(t *testing.T, k *testkit.Kit, in seed.Input) seed.Result {
	t.Helper()
	res, err := seed.Run(context.Background(), k.Store, k.Client, in)
	require.NoError(t, err)
	return res
}

func change(t *testing.T, k *testkit.Kit, fn func(ctx context.Context, tx *uow.Tx) error) {
	t.Helper()
	require.NoError(t, k.Store.Do(seeder, fn))
}

func holds(t *testing.T, k *testkit.Kit, name string) []string {
	t.Helper()
	names, err := k.Client.Role.Query().Where(role.Name(name)).QueryPermissions().Order(ent.Asc(permission.FieldName)).Select(permission.FieldName).Strings(seeder)
	require.NoError(t, err)
	return names
}

func TestRun_EmptyDatabase(t *testing.T) {
	k, in := testkit.New(t), input(t)
	res := run(t, k, in)
	require.Equal(t, "admin@localhost", res.AdminEmail)
	require.Len(t, res.GeneratedPassword, 26)

	require.Equal(t, len(authz.Permissions), k.Client.Permission.Query().CountX(seeder))
	for _, r := range authz.Roles {
		require.ElementsMatch(t, r.Holds, holds(t, k, r.Name), r.Name)
	}
	require.Equal(t, len(authz.Roles), k.Client.Role.Query().Where(role.IsSystem(true)).CountX(seeder))
	calc := k.Client.Tool.Query().Where(enttool.Name("calculator")).OnlyX(seeder)
	require.True(t, calc.IsSystem && calc.IsActive)
	require.Equal(t, 1, calc.Version)
	require.Equal(t, in.Tools[0].Hints, tool.ParseHints(calc.Hints))
	_, err := tool.Compile(calc.Schema)
	require.NoError(t, err, "the schema survives the database")
	m := k.Client.EmbeddingModel.Query().Where(embeddingmodel.IsDefault(true)).OnlyX(seeder)
	require.Equal(t, embed.LocalModel, m.ModelID)
	require.LessOrEqual(t, m.Dimension, embed.Size)

	admin := k.Client.User.Query().Where(user.Username(seed.AdminUsername)).WithRoles().OnlyX(seeder)
	require.Len(t, admin.Edges.Roles, 1)
	require.Equal(t, authz.AdminRole, admin.Edges.Roles[0].Name)
	require.False(t, admin.IsSuperuser)
	h, err := auth.NewHasher(auth.HasherConfig{})
	require.NoError(t, err)
	ok, _, err := h.Verify(context.Background(), res.GeneratedPassword, admin.HashedPassword)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []string{
		"SYSTEM_CONFIG_CHANGED", "ROLE_CREATED", "ROLE_CREATED", "ROLE_CREATED", "ROLE_CREATED", "ROLE_CREATED",
		"TOOL_CREATED", "TOOL_CREATED", "EMBEDDING_MODEL_CHANGED", "USER_CREATED", "ROLE_ASSIGNED",
	}, k.Actions(t))
	require.Zero(t, k.Count(t, `SELECT count(*) FROM audit_logs WHERE actor_kind <> 'SYSTEM' OR details::text LIKE '%' || $1 || '%' OR details::text ILIKE '%admin@%'`, res.GeneratedPassword))

	require.Zero(t, run(t, k, in), "a second start tells nothing")
	require.Len(t, k.Actions(t), 11, "and does nothing")
}

func TestRun_ManyReplicas(t *testing.T) {
	k, in := testkit.New(t), input(t)
	results := make([]seed.Result, 8)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			results[i], err = seed.Run(context.Background(), k.Store, k.Client, in)
			if err != nil {
				t.Errorf("replica %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	told := 0
	for _, r := range results {
		if r != (seed.Result{}) {
			told++
		}
	}
	require.Equal(t, 1, told, "one replica tells the password")
	require.Len(t, k.Actions(t), 11)
}

func TestRun_OperatorsChangesSurvive(t *testing.T) {
	k, in := testkit.New(t), input(t)
	run(t, k, in)
	change(t, k, func(ctx context.Context, tx *uow.Tx) error {
		read := tx.Permission.Query().Where(permission.Name("audit:read")).OnlyIDX(ctx)
		execute := tx.Permission.Query().Where(permission.Name("tools:execute")).OnlyIDX(ctx)
		tx.Role.Update().Where(role.Name("analyst")).AddPermissionIDs(read).RemovePermissionIDs(execute).ExecX(ctx)
		tx.Role.Update().Where(role.Name("admin")).RemovePermissionIDs(read).ExecX(ctx)
		tx.Role.Delete().Where(role.Name("steward")).ExecX(ctx)
		return tx.Permission.DeleteOneID(tx.Permission.Query().Where(permission.Name("models:manage")).OnlyIDX(ctx)).Exec(ctx)
	})
	run(t, k, in)
	analyst, admin := holds(t, k, "analyst"), holds(t, k, "admin")
	require.Contains(t, analyst, "audit:read")
	require.NotContains(t, analyst, "tools:execute")
	require.NotContains(t, admin, "audit:read", "what was taken away stays away")
	require.Contains(t, admin, "models:manage", "what is new to the database is the administrators'")
	require.ElementsMatch(t, testkit.Permissions(t, "steward"), holds(t, k, "steward"), "a missing role comes whole")
	require.Equal(t, []string{"SYSTEM_CONFIG_CHANGED", "ROLE_CREATED", "PERMISSION_GRANTED"}, k.Actions(t)[11:])
}

func TestRun_ChangedTool(t *testing.T) {
	k, in := testkit.New(t), input(t)
	run(t, k, in)
	calc := k.Client.Tool.Query().Where(enttool.Name("calculator")).OnlyX(seeder)
	change(t, k, func(ctx context.Context, tx *uow.Tx) error {
		_, err := tx.PG.Exec(ctx, `INSERT INTO tool_caches (id, created_at, updated_at, cache_key, expires_at, tool_id) VALUES (gen_random_uuid(), now(), now(), 'k', now() + interval '1 hour', $1)`, calc.ID)
		if err != nil {
			return err
		}
		return tx.Tool.UpdateOneID(calc.ID).SetIsActive(false).SetRequiresApproval(true).SetRequiredPermission("metrics:read").SetRiskLevel(enum.RiskLevelHigh).Exec(ctx)
	})
	run(t, k, in)
	same := k.Client.Tool.GetX(seeder, calc.ID)
	require.Equal(t, 1, same.Version, "an operator's change is no new definition")
	require.Equal(t, enum.RiskLevelHigh, same.RiskLevel)

	in.Tools[0].Description += " It is exact."
	run(t, k, in)
	changed := k.Client.Tool.GetX(seeder, calc.ID)
	require.Equal(t, 2, changed.Version)
	require.Equal(t, in.Tools[0].Description, changed.Description)
	require.Equal(t, enum.RiskLevelHigh, changed.RiskLevel, "a release does not lower a risk")
	require.False(t, changed.IsActive)
	require.True(t, changed.RequiresApproval)
	require.Equal(t, "metrics:read", *changed.RequiredPermission)
	require.Zero(t, k.Count(t, `SELECT count(*) FROM tool_caches`))
	require.Equal(t, "TOOL_UPDATED", k.Actions(t)[11])
	run(t, k, in)
	require.Len(t, k.Actions(t), 12)
}

func TestRun_ForeignToolOfTheName(t *testing.T) {
	k, in := testkit.New(t), input(t)
	change(t, k, func(ctx context.Context, tx *uow.Tx) error {
		return tx.Tool.Create().SetName("calculator").SetDisplayName("Ours").SetCategory(enum.ToolCategoryApiCalls).SetSchema(map[string]any{}).
			SetRiskLevel(enum.RiskLevelHigh).SetExecutor(enum.ToolExecutorHttp).Exec(ctx)
	})
	run(t, k, in)
	require.Equal(t, "Ours", k.Client.Tool.Query().Where(enttool.Name("calculator")).OnlyX(seeder).DisplayName)
}

func TestRun_DefaultModelStays(t *testing.T) {
	k, in := testkit.New(t), input(t)
	change(t, k, func(ctx context.Context, tx *uow.Tx) error {
		return tx.EmbeddingModel.Create().SetName("theirs").SetDisplayName("Theirs").SetProvider(enum.EmbeddingProviderOpenai).SetModelID("m").SetDimension(512).SetIsDefault(true).Exec(ctx)
	})
	run(t, k, in)
	require.Equal(t, "theirs", k.Client.EmbeddingModel.Query().Where(embeddingmodel.IsDefault(true)).OnlyX(seeder).Name)
	require.Equal(t, 2, k.Client.EmbeddingModel.Query().CountX(seeder))
}

func TestRun_FirstAdmin(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(in *seed.Input)
		code errs.Code
		made bool
	}{
		"Given":        {func(in *seed.Input) { in.AdminPassword = "correct horse battery staple" }, "", true},
		"WeakPassword": {func(in *seed.Input) { in.AdminPassword = "password123" }, errs.BadUserInput, false},
		"NoAddress":    {func(in *seed.Input) { in.AdminEmail = "" }, "", false},
		"BadAddress":   {func(in *seed.Input) { in.AdminEmail = "nobody" }, errs.BadUserInput, false},
	} {
		t.Run(name, func(t *testing.T) {
			k, in := testkit.New(t), input(t)
			c.edit(&in)
			res, err := seed.Run(context.Background(), k.Store, k.Client, in)
			if c.code != "" {
				require.True(t, errs.Is(err, c.code), "%v", err)
			} else {
				require.NoError(t, err)
			}
			require.Empty(t, res.GeneratedPassword)
			require.Equal(t, c.made, res.AdminEmail != "")
			require.Equal(t, c.made, k.Client.User.Query().ExistX(seeder))
		})
	}
	t.Run("SomeoneIsThere", func(t *testing.T) {
		k, in := testkit.New(t), input(t)
		k.User(t, "alice")
		require.Zero(t, run(t, k, in))
		require.Equal(t, 1, k.Client.User.Query().CountX(seeder))
	})
}
