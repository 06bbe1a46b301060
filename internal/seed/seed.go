// Package seed writes what a server cannot be without: permissions, roles, built-in tools, the local embedding model
// and a first administrator. It runs at every start, of every replica at once if need be, and changes nothing that is
// already right.
//
// It never takes back what an operator changed: of a role that exists it leaves alone what the role holds (only the
// administrators get a permission that is new to the database), of a tool that exists whether it is active, whether
// it needs approval and who may call it, and a risk that was raised. It makes no administrator where there is any
// user, and tells a password that it made up exactly once, to its caller.
package seed

import (
	"context"
	"fmt"

	"cdsa.dev/cdsa/ent"
	"cdsa.dev/cdsa/ent/embeddingmodel"
	"cdsa.dev/cdsa/internal/audit"
	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/embed"
	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
	"cdsa.dev/cdsa/internal/uow"
)

// Input is what a start brings along.
type Input struct {
	Tools         []tool.Builtin
	AdminEmail    string // empty: no administrator is made
	AdminPassword string // empty: one is made up
	HashPassword  func(ctx context.Context, password string) (string, error)
}

// Result tells of a first administrator made by this run; zero when there was one, or another replica was first.
type Result struct {
	AdminEmail        string
	GeneratedPassword string // to be shown once; empty when the password was given
}

// lockKey is the advisory lock under which one replica seeds at a time: an arbitrary number, "cdsaseed" in ASCII.
const lockKey = 0x6364736173656564

// Run seeds the database as authz.Seeder, in one unit of work. All errors are faults but those of AdminEmail and
// AdminPassword, which are BAD_USER_INPUT.
func Run(ctx context.Context, store *uow.Store, client *ent.Client, in Input) (Result, error) {
	ctx = authz.With(ctx, authz.Seeder)
	first, err := prepareAdmin(ctx, client, in)
	if err != nil {
		return Result{}, err
	}
	local, err := embed.NewLocal()
	if err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	var res Result
	err = store.Do(ctx, func(ctx context.Context, tx *uow.Tx) error {
		if _, err := tx.PG.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lockKey)); err != nil {
			return fmt.Errorf("wait for another replica: %w", err)
		}
		if err := rights(ctx, tx); err != nil {
			return err
		}
		for _, b := range in.Tools {
			if err := builtin(ctx, tx, b.Definition); err != nil {
				return fmt.Errorf("tool %s: %w", b.Name, err)
			}
		}
		if err := model(ctx, tx, local); err != nil {
			return err
		}
		made, err := first.insert(ctx, tx)
		if made {
			res = Result{AdminEmail: first.email, GeneratedPassword: first.generated}
		}
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("seed: %w", err)
	}
	return res, nil
}

// model adds the local embedding model, as the default when there is none.
func model(ctx context.Context, tx *uow.Tx, local *embed.Local) error {
	there, err := tx.EmbeddingModel.Query().Where(embeddingmodel.Name(local.Model())).Exist(ctx)
	if err != nil || there {
		return err
	}
	hasDefault, err := tx.EmbeddingModel.Query().Where(embeddingmodel.IsDefault(true)).Exist(ctx)
	if err != nil {
		return err
	}
	m, err := tx.EmbeddingModel.Create().SetName(local.Model()).SetDisplayName("Built-in model").SetProvider(enum.EmbeddingProviderLocal).
		SetModelID(local.Model()).SetDimension(local.Dimensions()).SetIsDefault(!hasDefault).Save(ctx)
	if err != nil {
		return fmt.Errorf("local embedding model: %w", err)
	}
	tx.Audit(audit.Entry{
		Action: enum.AuditActionEmbeddingModelChanged, Resource: "EmbeddingModel", ResourceID: m.ID,
		Details: map[string]any{"model": m.ModelID, "default": m.IsDefault},
	})
	return nil
}
