// Package migrate brings a database to the schema of this program: versioned SQL files, embedded, each applied in a
// transaction of its own under one advisory lock, so that any number of replicas may start at once. It must be given
// the owner's connection; the server's own role owns nothing.
package migrate

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	atlas "ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/postgres"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

//go:embed migrations/*.sql migrations/atlas.sum
var files embed.FS

// lockKey is the advisory lock of all replicas; any constant would do.
const lockKey = 0x63647361 // "cdsa"

// Dir is the embedded migrations.
func Dir() (atlas.Dir, error) {
	d := &atlas.MemDir{}
	return d, fs.WalkDir(files, "migrations", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := files.ReadFile(p)
		if err != nil {
			return err
		}
		return d.WriteFile(e.Name(), b)
	})
}

// Up applies what is pending and tells how many files that were.
func Up(ctx context.Context, ownerURL string) (applied int, err error) {
	dir, err := checked()
	if err != nil {
		return 0, err
	}
	err = locked(ctx, ownerURL, func(c *sql.Conn) error {
		for {
			err := next(ctx, c, dir)
			if errors.Is(err, atlas.ErrNoPendingFiles) {
				return nil
			}
			if err != nil {
				return err
			}
			applied++
		}
	})
	return applied, err
}

// next applies one file in a transaction.
func next(ctx context.Context, c *sql.Conn, dir atlas.Dir) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	drv, err := postgres.Open(tx)
	if err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	ex, err := atlas.NewExecutor(drv, dir, revisions{tx}, atlas.WithAllowDirty(true), atlas.WithOperatorVersion("cdsa"))
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if err := ex.ExecuteN(ctx, 1); err != nil {
		return err
	}
	return tx.Commit()
}

// Revision is one migration and when it was applied; zero when pending.
type Revision struct {
	Version, Description string
	At                   time.Time
}

// Status lists every migration in order.
func Status(ctx context.Context, ownerURL string) ([]Revision, error) {
	dir, err := checked()
	if err != nil {
		return nil, err
	}
	list, err := dir.Files()
	if err != nil {
		return nil, err
	}
	var out []Revision
	return out, locked(ctx, ownerURL, func(c *sql.Conn) error {
		done, err := revisions{c}.ReadRevisions(ctx)
		if err != nil {
			return err
		}
		at := map[string]time.Time{}
		for _, r := range done {
			at[r.Version] = r.ExecutedAt
		}
		for _, f := range list {
			out = append(out, Revision{f.Version(), f.Desc(), at[f.Version()]})
		}
		return nil
	})
}

// SQL is what Up would run on an empty database, without one.
func SQL() (string, error) {
	dir, err := checked()
	if err != nil {
		return "", err
	}
	list, err := dir.Files()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "-- %s\nBEGIN;\n%s\nCOMMIT;\n\n", f.Name(), strings.TrimSpace(string(f.Bytes())))
	}
	return b.String(), nil
}

func checked() (atlas.Dir, error) {
	dir, err := Dir()
	if err != nil {
		return nil, err
	}
	if err := atlas.Validate(dir); err != nil {
		return nil, fmt.Errorf("migrations do not match atlas.sum: %w", err)
	}
	return dir, nil
}

func locked(ctx context.Context, url string, fn func(*sql.Conn) error) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("the migration database URL is malformed") // the cause would show the password
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	c, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect as the schema's owner: %w", err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(lockKey)); err != nil {
		return fmt.Errorf("wait for the migration lock: %w", err)
	}
	defer func() {
		_, _ = c.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(lockKey))
	}() // closing the connection frees it too
	if _, err := c.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_revisions (version text PRIMARY KEY, description text NOT NULL, applied int NOT NULL, total int NOT NULL, executed_at timestamptz NOT NULL, hash text NOT NULL)`); err != nil {
		return fmt.Errorf("make the table of revisions: %w", err)
	}
	return fn(c)
}

type execQuerier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// revisions keeps atlas's record of what was applied, in the transaction that applies it.
type revisions struct{ q execQuerier }

// Ident names the table, as atlas asks.
func (revisions) Ident() *atlas.TableIdent {
	return &atlas.TableIdent{Name: "schema_revisions", Schema: "public"}
}

// ReadRevisions gives all, in order.
func (r revisions) ReadRevisions(ctx context.Context) (out []*atlas.Revision, err error) {
	rows, err := r.q.QueryContext(ctx, `SELECT version, description, applied, total, executed_at, hash FROM schema_revisions ORDER BY version`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		v := &atlas.Revision{Type: atlas.RevisionTypeExecute}
		if err := rows.Scan(&v.Version, &v.Description, &v.Applied, &v.Total, &v.ExecutedAt, &v.Hash); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// ReadRevision gives one, or atlas.ErrRevisionNotExist.
func (r revisions) ReadRevision(ctx context.Context, version string) (*atlas.Revision, error) {
	all, err := r.ReadRevisions(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if v.Version == version {
			return v, nil
		}
	}
	return nil, atlas.ErrRevisionNotExist
}

// WriteRevision adds or replaces one.
func (r revisions) WriteRevision(ctx context.Context, v *atlas.Revision) error {
	_, err := r.q.ExecContext(ctx, `INSERT INTO schema_revisions (version, description, applied, total, executed_at, hash) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (version) DO UPDATE SET applied = $3, total = $4, executed_at = $5, hash = $6`, v.Version, v.Description, v.Applied, v.Total, v.ExecutedAt, v.Hash)
	return err
}

// DeleteRevision removes one.
func (r revisions) DeleteRevision(ctx context.Context, version string) error {
	_, err := r.q.ExecContext(ctx, `DELETE FROM schema_revisions WHERE version = $1`, version)
	return err
}
