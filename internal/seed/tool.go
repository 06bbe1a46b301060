package seed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"

	"cdsa.dev/cdsa/ent"
	enttool "cdsa.dev/cdsa/ent/tool"
	"cdsa.dev/cdsa/ent/toolcache"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uow"
)

// definitionKey is where a built-in's row keeps the digest of the definition it was written from, which tells a
// changed definition from what an operator changed.
const definitionKey = "definition"

// builtin adds a built-in tool, or brings its row up to a definition that changed. A tool of an operator's own that
// has the name is left alone: the built-in cannot be called then.
func builtin(ctx context.Context, tx *uow.Tx, d tool.Definition) error {
	digest, err := digestOf(d)
	if err != nil {
		return err
	}
	row, err := tx.Tool.Query().Where(enttool.Name(d.Name)).ForUpdate().Only(ctx)
	switch {
	case ent.IsNotFound(err):
		return addTool(ctx, tx, d, digest)
	case err != nil:
		return err
	case !row.IsSystem:
		slog.WarnContext(ctx, "a tool has the name of a built-in one, which cannot be called", "tool", d.Name)
		return nil
	case row.ExecutorConfig[definitionKey] == digest:
		return nil
	}
	return updateTool(ctx, tx, row, d, digest)
}

func addTool(ctx context.Context, tx *uow.Tx, d tool.Definition, digest string) error {
	row, err := tx.Tool.Create().SetName(d.Name).SetDisplayName(d.DisplayName).SetDescription(d.Description).SetCategory(d.Category).
		SetSchema(d.Schema).SetOutputSchema(d.OutputSchema).SetRiskLevel(d.RiskLevel).SetIsSystem(true).SetMaxConcurrentExecutions(d.MaxConcurrent).
		SetTimeoutSeconds(d.TimeoutSeconds).SetExecutor(enum.ToolExecutorBuiltin).SetExecutorConfig(map[string]any{definitionKey: digest}).
		SetHints(d.Hints.Map()).SetCacheTTLSeconds(d.CacheTTLSeconds).Save(ctx)
	if err != nil {
		return err
	}
	tx.Audit(audit.Entry{Action: enum.AuditActionToolCreated, Resource: "Tool", ResourceID: row.ID, Details: map[string]any{"tool": d.Name, "version": row.Version}})
	return nil
}

func updateTool(ctx context.Context, tx *uow.Tx, row *ent.Tool, d tool.Definition, digest string) error {
	risk := d.RiskLevel
	if row.RiskLevel.AtLeast(risk) {
		risk = row.RiskLevel // lowering a risk takes people (data model), not a new release
	}
	_, err := row.Update().SetDisplayName(d.DisplayName).SetDescription(d.Description).SetCategory(d.Category).SetSchema(d.Schema).
		SetOutputSchema(d.OutputSchema).SetRiskLevel(risk).SetMaxConcurrentExecutions(d.MaxConcurrent).SetTimeoutSeconds(d.TimeoutSeconds).
		SetExecutor(enum.ToolExecutorBuiltin).SetExecutorConfig(map[string]any{definitionKey: digest}).SetHints(d.Hints.Map()).
		SetCacheTTLSeconds(d.CacheTTLSeconds).SetVersion(row.Version + 1).Save(ctx)
	if err != nil {
		return err
	}
	// Results of the old definition are not the new one's.
	if _, err := tx.ToolCache.Delete().Where(toolcache.ToolID(row.ID)).Exec(ctx); err != nil {
		return fmt.Errorf("drop cached results: %w", err)
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionToolUpdated, Resource: "Tool", ResourceID: row.ID,
		Details: map[string]any{"tool": d.Name}, Changes: map[string]any{"version": []int{row.Version, row.Version + 1}},
	})
	return nil
}

func digestOf(d tool.Definition) (string, error) {
	b, err := json.Marshal(d) // maps in the order of their keys
	if err != nil {
		return "", fmt.Errorf("encode the definition: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
