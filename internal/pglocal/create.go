//go:build unix

package pglocal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// hba admits who can open the socket, and no network at all.
const hba = "# TYPE DATABASE USER METHOD; the socket's folder is the guard\nlocal all all trust\n"

// extensions every database has. vector must be there, the others where the
// server ships them.
var extensions = []string{"vector", "pg_trgm", "citext"}

// create makes data/ in one step: a folder under another name is filled and
// then renamed, so a crash in between leaves nothing that looks whole.
func (c *Cluster) create(ctx context.Context) error {
	fresh := c.path("data.new")
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("clear an unfinished database: %w", err)
	}
	if err := private(fresh, c.cred); err != nil {
		return fmt.Errorf("make the database folder: %w", err)
	}
	fill := c.initdb
	if c.cfg.CopyFrom != "" {
		fill = func(_ context.Context, fresh string) error {
			return copyTree(filepath.Join(c.cfg.CopyFrom, "data"), fresh, c.cred)
		}
	}
	if err := fill(ctx, fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, c.path("data")); err != nil {
		return fmt.Errorf("put the new database in place: %w", err)
	}
	return nil
}

func (c *Cluster) initdb(ctx context.Context, fresh string) (err error) {
	at, err := openPlaces(fresh, c.path("socket"), c.cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.close()) }()
	args := []string{"-D", at.data, "-U", Superuser, "-A", "trust", "-E", "UTF8", "--locale=" + locale()}
	if c.cfg.Throwaway {
		args = append(args, "--no-sync", "--wal-segsize=1")
	} else {
		args = append(args, "--data-checksums")
	}
	cmd := c.command(ctx, "initdb", args...)
	cmd.ExtraFiles = at.files
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	path := filepath.Join(fresh, "pg_hba.conf")
	if err := os.WriteFile(path, []byte(hba), 0o600); err != nil {
		return fmt.Errorf("write pg_hba.conf: %w", err)
	}
	return chown(path, c.cred)
}

// locale: without one a bare machine gives SQL_ASCII. Lists that people read
// are ordered by an ICU collation in the query.
func locale() string {
	if runtime.GOOS == "linux" {
		return "C.UTF-8"
	}
	return "C"
}

// bootstrap makes roles, extensions and the database. Every step may be
// repeated; the last one, the database's privileges, marks the whole as done.
func (c *Cluster) bootstrap(ctx context.Context) error {
	conn, err := c.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	var done, made bool
	err = conn.QueryRow(ctx, `SELECT count(*) > 0, coalesce(bool_or(datacl IS NOT NULL), false)
		FROM pg_database WHERE datname = $1`, Database).Scan(&made, &done)
	if err != nil || done {
		return wrap("look for the database", err)
	}
	for _, role := range []string{Owner, App} {
		err := execute(ctx, conn, "CREATE ROLE "+role+" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS")
		if err != nil && !hasCode(err, "42710") { // duplicate_object: made before a crash
			return err
		}
	}
	if err := c.prepareTemplate(ctx); err != nil {
		return err
	}
	if !made {
		if err := execute(ctx, conn, "CREATE DATABASE "+Database+" OWNER "+Owner); err != nil {
			return err
		}
	}
	return Grant(ctx, conn, Database)
}

// Grant lets only the owner and the server's role connect to a database. For
// the superuser; databases cloned from another do not inherit it.
func Grant(ctx context.Context, conn *pgx.Conn, database string) error {
	name := pgx.Identifier{database}.Sanitize()
	return execute(ctx, conn, `REVOKE ALL ON DATABASE `+name+` FROM PUBLIC; GRANT CONNECT ON DATABASE `+name+` TO `+App)
}

// prepareTemplate gives template1, and so every later database, the
// extensions and a schema that only the owner can create in.
func (c *Cluster) prepareTemplate(ctx context.Context) error {
	conn, err := c.connect(ctx, "template1")
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	for _, name := range extensions {
		var available bool
		err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = $1)", name).Scan(&available)
		if err != nil {
			return wrap("look for the extension "+name, err)
		}
		if !available && name != "vector" {
			continue
		}
		if err := execute(ctx, conn, "CREATE EXTENSION IF NOT EXISTS "+name); err != nil {
			return err
		}
	}
	return execute(ctx, conn, `ALTER SCHEMA public OWNER TO `+Owner+`;
		REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO `+App)
}

func (c *Cluster) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.URL(Superuser, database))
	return conn, wrap("connect to the new database", err)
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	// Nothing was left undone on it, so a failed goodbye loses nothing.
	_ = conn.Close(context.WithoutCancel(ctx))
}

func execute(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.Exec(ctx, sql)
	return wrap("prepare the database", err)
}

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
