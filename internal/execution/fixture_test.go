//go:build unix

package execution_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/internal/approval"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/execution"
	"cdsa.dev/cdsa/internal/testkit"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uid"
	"cdsa.dev/cdsa/internal/uow"
)

// house is the two services over a database with tools, and an executor the test controls.
type house struct {
	*testkit.Kit
	tb        testing.TB
	exec      *execution.Service
	approvals *approval.Service
	perms     map[string]uuid.UUID
	tools     map[string]*ent.Tool

	calls atomic.Int64 // of the executor
	mu    sync.Mutex
	do    tool.ExecutorFunc
}

// The tools of a house: their risk is in their name.
var definitions = []struct {
	name       string
	risk       enum.RiskLevel
	openWorld  bool
	ttl        int
	pure       bool
	permission string
}{
	{name: "low", risk: enum.RiskLevelLow},
	{name: "medium", risk: enum.RiskLevelMedium, openWorld: true},
	{name: "high", risk: enum.RiskLevelHigh, openWorld: true},
	{name: "critical", risk: enum.RiskLevelCritical},
	{name: "pure", risk: enum.RiskLevelLow, ttl: 60, pure: true},
	{name: "mine", risk: enum.RiskLevelMedium, ttl: 60},
	{name: "special", risk: enum.RiskLevelLow, permission: "metrics:read"},
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	h := &house{Kit: testkit.New(tb), tb: tb, perms: map[string]uuid.UUID{}, tools: map[string]*ent.Tool{}}
	h.answer(func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{Value: map[string]any{"ok": true}, Sensitivity: enum.SensitivityInternal}, nil
	})
	var builtins []tool.Builtin
	schema := map[string]any{"type": "object", "required": []any{"n"}, "properties": map[string]any{"n": map[string]any{"type": "number"}}}
	h.write(authz.Seeder, func(ctx context.Context, tx *uow.Tx) error {
		for _, p := range authz.Permissions {
			row, err := tx.Permission.Create().SetName(p.Name()).SetResource(p.Resource).SetAction(p.Action).Save(ctx)
			if err != nil {
				return err
			}
			h.perms[p.Name()] = row.ID
		}
		for _, d := range definitions {
			def := tool.Definition{Name: d.name + "_tool", DisplayName: d.name, Description: "A tool of a test.", Category: enum.ToolCategoryDataAnalysis, RiskLevel: d.risk,
				Schema: schema, Hints: tool.Hints{OpenWorld: d.openWorld}, TimeoutSeconds: 60, CacheTTLSeconds: d.ttl, Pure: d.pure, MaxConcurrent: 8}
			builtins = append(builtins, tool.Builtin{Definition: def, Executor: picky{h.run}})
			c := tx.Tool.Create().SetName(def.Name).SetDisplayName(def.DisplayName).SetCategory(def.Category).SetSchema(schema).SetRiskLevel(d.risk).
				SetExecutor(enum.ToolExecutorBuiltin).SetHints(def.Hints.Map()).SetCacheTTLSeconds(d.ttl).SetTimeoutSeconds(60)
			if d.permission != "" {
				c.SetRequiredPermission(d.permission)
			}
			row, err := c.Save(ctx)
			if err != nil {
				return err
			}
			h.tools[d.name] = row
		}
		return nil
	})
	reg, err := tool.NewRegistry(builtins...)
	require.NoError(tb, err)
	policy := approval.DefaultSettings()
	policy.SecondFactor.Required = false // as in development; the test of the second factor sets it
	log := slog.New(slog.DiscardHandler)
	h.approvals = &approval.Service{Store: h.Store, Client: h.Client, Policy: policy}
	h.exec = h.replica(reg, log)
	return h
}

// replica is another process' service over the same database.
func (h *house) replica(reg *tool.Registry, log *slog.Logger) *execution.Service {
	return &execution.Service{Store: h.Store, Client: h.Client, Tools: reg, Runner: tool.NewRunner(reg, log),
		Schemas: tool.NewSchemaCache(16), Approval: h.approvals.Policy, Log: log}
}

func (h *house) run(ctx context.Context, c tool.Call) (tool.Result, error) {
	h.calls.Add(1)
	h.mu.Lock()
	do := h.do
	h.mu.Unlock()
	return do(ctx, c)
}

// picky refuses 13 before a call is made.
type picky struct{ tool.ExecutorFunc }

func (picky) Check(params map[string]any) (map[string]string, error) {
	if params["n"] == 13.0 {
		return map[string]string{"parameters.n": "Thirteen brings bad luck."}, nil
	}
	return nil, nil //nolint:nilnil // nothing is wrong
}

// answer sets what the executor does.
func (h *house) answer(do tool.ExecutorFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.do = do
}

func (h *house) write(p *authz.Principal, do func(ctx context.Context, tx *uow.Tx) error) {
	h.tb.Helper()
	require.NoError(h.tb, h.Store.Do(testkit.As(p), do))
}

// person makes a user who has the seeded roles, in the database and as a principal.
func (h *house) person(name string, roles ...string) *authz.Principal {
	h.tb.Helper()
	p := h.User(h.tb, name, roles...)
	var ids []uuid.UUID
	for _, perm := range p.Permissions() {
		ids = append(ids, h.perms[perm])
	}
	h.write(authz.Seeder, func(ctx context.Context, tx *uow.Tx) error {
		return tx.Role.Create().SetName("role of " + name).AddUserIDs(p.UserID).AddPermissionIDs(ids...).Exec(ctx)
	})
	return p
}

// superuser makes a user who may everything without a role.
func (h *house) superuser(name string) *authz.Principal {
	h.tb.Helper()
	p := h.User(h.tb, name)
	h.sql(`UPDATE users SET is_superuser = true WHERE id = $1`, p.UserID)
	return authz.NewUser(p.UserID, name, p.SessionID, true, time.Now().Add(time.Hour))
}

// strip takes a person's roles away, in the database alone: tokens and caches do not know yet.
func (h *house) strip(p *authz.Principal) {
	h.tb.Helper()
	h.sql(`DELETE FROM user_roles WHERE user_id = $1`, p.UserID)
}

// sql changes the database behind the services' backs.
func (h *house) sql(query string, args ...any) {
	h.tb.Helper()
	tag, err := h.DB.Pool.Exec(context.Background(), query, args...)
	require.NoError(h.tb, err)
	require.NotZero(h.tb, tag.RowsAffected(), "changed nothing: %s", query)
}

// session makes a conversation of p.
func (h *house) session(p *authz.Principal, level enum.Sensitivity) uuid.UUID {
	h.tb.Helper()
	id := uid.New(uid.ChatSession)
	h.write(p, func(ctx context.Context, tx *uow.Tx) error {
		return tx.ChatSession.Create().SetID(id).SetUserID(p.UserID).SetModel("offline").SetSensitivity(level).Exec(ctx)
	})
	return id
}

// reply makes an answer under way in a conversation of p.
func (h *house) reply(p *authz.Principal, session uuid.UUID) uuid.UUID {
	h.tb.Helper()
	id := uid.New(uid.ChatMessage)
	h.write(p, func(ctx context.Context, tx *uow.Tx) error {
		return tx.ChatMessage.Create().SetID(id).SetSessionID(session).SetUserID(p.UserID).SetRole(enum.MessageRoleAssistant).
			SetStatus(enum.MessageStatusStreaming).Exec(ctx)
	})
	return id
}

func input(name string) execution.Input {
	in := execution.Input{Tool: name + "_tool", Parameters: map[string]any{"n": 1}}
	if name == "critical" {
		why := "The plant must be restarted."
		in.Justification = &why
	}
	return in
}

// request asks for a call and must get it.
func (h *house) request(p *authz.Principal, in execution.Input) *ent.ToolExecution {
	h.tb.Helper()
	x, err := h.exec.Request(testkit.As(p), in)
	require.NoError(h.tb, err)
	return x
}

// asked requests a call that needs approval and gives its request too.
func (h *house) asked(p *authz.Principal, in execution.Input) (*ent.ToolExecution, *ent.ToolApproval) {
	h.tb.Helper()
	x := h.request(p, in)
	require.Equal(h.tb, enum.ToolExecutionStatusAwaitingApproval, x.Status)
	a, err := x.QueryApproval().Only(testkit.As(p))
	require.NoError(h.tb, err)
	return x, a
}

// row reads a call as it is.
func (h *house) row(id uuid.UUID) *ent.ToolExecution {
	h.tb.Helper()
	x, err := h.Client.ToolExecution.Get(testkit.As(authz.ToolRunner), id)
	require.NoError(h.tb, err)
	return x
}

// approvalOf reads a call's request as it is.
func (h *house) approvalOf(id uuid.UUID) *ent.ToolApproval {
	h.tb.Helper()
	a, err := h.row(id).QueryApproval().Only(testkit.As(authz.ToolRunner))
	require.NoError(h.tb, err)
	return a
}

// work runs every call that has a job, as a queue would, and removes the jobs.
func (h *house) work() {
	h.tb.Helper()
	for {
		var id uuid.UUID
		err := h.DB.Pool.QueryRow(context.Background(), `DELETE FROM river_job WHERE id = (SELECT id FROM river_job WHERE kind = 'run_tool' ORDER BY id LIMIT 1)
			RETURNING (args->>'execution')::uuid`).Scan(&id)
		if err != nil {
			require.ErrorContains(h.tb, err, "no rows")
			return
		}
		require.NoError(h.tb, h.exec.Run(context.Background(), id))
	}
}

func (h *house) jobs(kind string) int {
	h.tb.Helper()
	return h.Count(h.tb, `SELECT count(*) FROM river_job WHERE kind = $1`, kind)
}

// actions are the audited actions on one call, its request included, in order.
func (h *house) actions(id uuid.UUID) []string {
	h.tb.Helper()
	rows, err := h.DB.Pool.Query(context.Background(), `SELECT action FROM audit_logs WHERE tool_execution_id = $1 ORDER BY created_at, id`, id)
	require.NoError(h.tb, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var a string
		require.NoError(h.tb, rows.Scan(&a))
		out = append(out, a)
	}
	require.NoError(h.tb, rows.Err())
	return out
}

// payloads are the events on a subject, as text, in order.
func (h *house) payloads(subject string) []string {
	h.tb.Helper()
	rows, err := h.DB.Pool.Query(context.Background(), `SELECT convert_from(payload, 'UTF8') FROM outbox WHERE subject = $1 ORDER BY id`, subject)
	require.NoError(h.tb, err)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var p string
		require.NoError(h.tb, rows.Scan(&p))
		out = append(out, p)
	}
	require.NoError(h.tb, rows.Err())
	return out
}

func (h *house) mustBe(id uuid.UUID, status enum.ToolExecutionStatus, reason enum.ToolReasonCode, code enum.ToolErrorCode) {
	h.tb.Helper()
	x := h.row(id)
	got := fmt.Sprint(x.Status, " ", deref(x.ReasonCode), " ", deref(x.ErrorCode))
	require.Equal(h.tb, fmt.Sprint(status, " ", reason, " ", code), got)
	require.Equal(h.tb, approval.Terminal(status), x.CompletedAt != nil, "completed_at of a %s call", status)
	require.Equal(h.tb, status == enum.ToolExecutionStatusRunning, x.LeaseExpiresAt != nil, "lease of a %s call", status)
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func requireCode(tb testing.TB, want errs.Code, err error) {
	tb.Helper()
	e, ok := errs.As(err)
	require.True(tb, ok, "want %s, got %v", want, err)
	require.Equal(tb, want, e.Code, e.Message)
}
