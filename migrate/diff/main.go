// Command diff compares the ent schema with the migrations in a throw-away cluster.
//
//	go run ./migrate/diff new NAME   writes the next migration
//	go run ./migrate/diff check      fails when there is a difference
//	go run ./migrate/diff hash       signs hand-written files into atlas.sum
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	atlas "ariga.io/atlas/sql/migrate"
	as "ariga.io/atlas/sql/schema"
	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql/schema"
	"github.com/jackc/pgx/v5/stdlib"

	entmigrate "cdsa.dev/cdsa/ent/migrate"
	"cdsa.dev/cdsa/internal/pglocal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "diff:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	const dir = "migrate/migrations"
	switch {
	case len(args) == 1 && args[0] == "hash":
		d, err := atlas.NewLocalDir(dir)
		if err != nil {
			return err
		}
		sum, err := d.Checksum()
		if err != nil {
			return err
		}
		return atlas.WriteSumFile(d, sum)
	case len(args) == 1 && args[0] == "check":
		return check(ctx, dir)
	case len(args) == 2 && args[0] == "new" && regexp.MustCompile(`^[a-z0-9_]+$`).MatchString(args[1]):
		return diff(ctx, dir, args[1])
	}
	return fmt.Errorf("usage: diff new NAME (a-z, 0-9, _) | check | hash")
}

// check diffs into a copy, so that nothing is written beside the migrations.
func check(ctx context.Context, dir string) error {
	tmp, err := os.MkdirTemp("", "cdsa-diff-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, os.DirFS(dir)); err != nil {
		return err
	}
	if err := diff(ctx, tmp, "drift"); err != nil {
		return err
	}
	extra, err := filepath.Glob(tmp + "/*_drift.sql")
	if err != nil {
		return err
	}
	if len(extra) == 0 {
		return nil
	}
	b, err := os.ReadFile(extra[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("the ent schema and the migrations differ; run make migration NAME=…\n%s", b)
}

func diff(ctx context.Context, dir, name string) (err error) {
	tmp, err := os.MkdirTemp("", "cdsa-dev-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o711); err != nil { //nolint:gosec // the database's account must pass through
		return err
	}
	cluster, err := pglocal.Start(ctx, pglocal.Config{Dir: tmp + "/pg", Throwaway: true})
	if err != nil {
		return err
	}
	defer func() { err = joinStop(err, cluster.Stop(context.WithoutCancel(ctx))) }()
	if !slices.Contains(sql.Drivers(), "postgres") {
		sql.Register("postgres", stdlib.GetDefaultDriver())
	}
	d, err := atlas.NewLocalDir(dir)
	if err != nil {
		return err
	}
	return entmigrate.NamedDiff(ctx, cluster.URL(pglocal.Superuser, pglocal.Database), name,
		schema.WithDir(d), schema.WithMigrationMode(schema.ModeReplay), schema.WithDialect(dialect.Postgres),
		schema.WithDropColumn(true), schema.WithDropIndex(true), schema.WithForeignKeys(true),
		schema.WithFormatter(atlas.DefaultFormatter), schema.WithDiffHook(keepByHand))
}

func joinStop(err, stop error) error {
	if err != nil {
		return err
	}
	return stop
}

// generated are the columns, by table, that are written by hand in the migrations; ent cannot say them.
var generated = map[string]struct{ column, expr string }{
	"document_chunks": {"search_vector", `CASE language WHEN 'en' THEN to_tsvector('english'::regconfig, search_text(content)) WHEN 'de' THEN to_tsvector('german'::regconfig, search_text(content)) WHEN 'fr' THEN to_tsvector('french'::regconfig, search_text(content)) WHEN 'es' THEN to_tsvector('spanish'::regconfig, search_text(content)) ELSE to_tsvector('simple'::regconfig, search_text(content)) END`},
	"chat_sessions":   {"activity_at", `COALESCE(last_message_at, created_at)`},
}

// keepByHand teaches the comparison what ent's schema cannot express: the generated columns.
func keepByHand(next schema.Differ) schema.Differ {
	return schema.DiffFunc(func(current, desired *as.Schema) ([]as.Change, error) {
		for _, t := range desired.Tables {
			hand, ok := generated[t.Name]
			if !ok {
				continue
			}
			c, ok := t.Column(hand.column)
			if !ok {
				continue
			}
			expr := hand.expr
			if cur, ok := current.Table(t.Name); ok { // Postgres rewrites the expression: compare with what it made of it
				if cc, ok := cur.Column(hand.column); ok {
					for _, a := range cc.Attrs {
						if g, ok := a.(*as.GeneratedExpr); ok && sameWords(g.Expr, hand.expr) {
							expr = g.Expr
						}
					}
				}
			}
			c.SetGeneratedExpr(&as.GeneratedExpr{Expr: expr, Type: "STORED"})
		}
		changes, err := next.Diff(current, desired)
		return keepIndexes(changes), err
	})
}

// byHand are indexes that ent's schema cannot express: those of join tables, and partial ones.
var byHand = map[string]bool{
	"user_roles_role_id": true, "role_permissions_permission_id": true, "sessions_in_use": true, "sessions_ended": true,
}

func keepIndexes(changes []as.Change) []as.Change {
	var out []as.Change
	for _, c := range changes {
		if m, ok := c.(*as.ModifyTable); ok {
			m.Changes = slices.DeleteFunc(m.Changes, func(c as.Change) bool {
				d, ok := c.(*as.DropIndex)
				return ok && byHand[d.I.Name]
			})
			if len(m.Changes) == 0 {
				continue
			}
		}
		out = append(out, c)
	}
	return out
}

var noise = regexp.MustCompile(`::\w+|[\s()"]`)

func sameWords(a, b string) bool {
	return strings.EqualFold(noise.ReplaceAllString(a, ""), noise.ReplaceAllString(b, ""))
}
