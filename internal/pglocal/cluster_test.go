//go:build unix

package pglocal_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pglocal"
)

// TestMain makes this binary the program that is killed: with CHILD set it
// starts the cluster of that folder, says so and waits.
func TestMain(m *testing.M) {
	dir := os.Getenv("PGLOCAL_TEST_CHILD")
	if dir == "" {
		os.Exit(run(m))
	}
	c, err := pglocal.Start(context.Background(), pglocal.Config{Dir: dir, CopyFrom: os.Getenv("PGLOCAL_TEST_SEED")})
	if err != nil {
		fmt.Fprintln(os.Stdout, "failed:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, c.URL(pglocal.Owner, pglocal.Database))
	select {}
}

// seed is a stopped cluster that most tests start as a copy of: initdb is slow.
var seed string

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pglocal-seed-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c, err := pglocal.Start(context.Background(), pglocal.Config{Dir: dir, Throwaway: true})
	if err != nil {
		panic(err)
	}
	if err := c.Stop(context.Background()); err != nil {
		panic(err)
	}
	seed = dir
	return m.Run()
}

func start(t *testing.T, cfg pglocal.Config) *pglocal.Cluster {
	t.Helper()
	c, err := pglocal.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, c) })
	return c
}

func stop(t *testing.T, c *pglocal.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, c.Stop(ctx))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) }) // the server may be gone already
	return conn
}

func text(t *testing.T, conn *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	var s string
	require.NoError(t, conn.QueryRow(t.Context(), sql, args...).Scan(&s))
	return s
}

func TestStart(t *testing.T) {
	dir := t.TempDir()
	c := start(t, pglocal.Config{Dir: dir})
	owner := connect(t, c.URL(pglocal.Owner, pglocal.Database))
	app := connect(t, c.URL(pglocal.App, pglocal.Database))

	t.Run("Settings", func(t *testing.T) {
		for name, want := range map[string]string{
			"server_encoding": "UTF8", "listen_addresses": "", "fsync": "on", "synchronous_commit": "on",
			"full_page_writes": "on", "wal_level": "minimal", "data_checksums": "on", "jit": "off",
			"log_min_error_statement": "panic", "log_error_verbosity": "terse", "TimeZone": "GMT",
		} {
			require.Equal(t, want, text(t, owner, "SELECT current_setting($1)", name), name)
		}
	})
	t.Run("Extensions", func(t *testing.T) {
		_, err := owner.Exec(t.Context(), "CREATE EXTENSION IF NOT EXISTS vector")
		require.NoError(t, err, "a migration's own line passes")
		require.Equal(t, "5", text(t, app, "SELECT ('[0,0]'::vector <-> '[3,4]'::vector)::text"))
		require.Equal(t, "t", text(t, app, "SELECT ('a'::citext = 'A'::citext AND similarity('abc', 'abc') = 1)::text")[:1])
	})
	t.Run("Roles", func(t *testing.T) {
		require.Equal(t, "cdsa_app,cdsa_owner", text(t, owner, `SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles
			WHERE rolname LIKE 'cdsa%' AND rolcanlogin AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)`))
		require.Equal(t, "cdsa_owner cdsa_owner", text(t, owner, `SELECT pg_get_userbyid(datdba) || ' ' || pg_get_userbyid(nspowner)
			FROM pg_database, pg_namespace WHERE datname = 'cdsa' AND nspname = 'public'`))
	})
	t.Run("AppOwnsNothing", func(t *testing.T) {
		_, err := owner.Exec(t.Context(), "CREATE TABLE secret (id int); INSERT INTO secret VALUES (1)")
		require.NoError(t, err)
		for _, sql := range []string{
			"SELECT * FROM secret", "DELETE FROM secret", "CREATE TABLE mine (id int)", "CREATE TEMP TABLE mine (id int)",
			"CREATE SCHEMA mine", "CREATE EXTENSION hstore", "SET ROLE cdsa_owner", "COPY (SELECT 1) TO PROGRAM 'true'",
		} {
			_, err := app.Exec(t.Context(), sql)
			require.ErrorContains(t, err, "42501", sql) // insufficient_privilege
		}
	})
	t.Run("OwnerIsNoSuperuser", func(t *testing.T) {
		_, err := owner.Exec(t.Context(), "COPY (SELECT 1) TO PROGRAM 'true'")
		require.ErrorContains(t, err, "42501")
	})
	t.Run("OnlyTheAccountReachesIt", func(t *testing.T) {
		for _, name := range []string{"data", "socket"} {
			info, err := os.Stat(filepath.Join(dir, name))
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), name)
		}
	})
	t.Run("NoDataInLog", func(t *testing.T) {
		_, err := owner.Exec(t.Context(), "CREATE TABLE person (email text PRIMARY KEY); INSERT INTO person VALUES ('canary@example.org')")
		require.NoError(t, err)
		_, err = owner.Exec(t.Context(), "INSERT INTO person VALUES ('canary@example.org')")
		require.ErrorContains(t, err, "duplicate key")
		log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
		require.NoError(t, err)
		require.NotContains(t, string(log), "canary")
	})
	t.Run("SecondIsRefused", func(t *testing.T) {
		_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
		require.ErrorIs(t, err, pglocal.ErrInUse)
	})
}

func TestStart_Warm(t *testing.T) {
	dir := t.TempDir()
	c := start(t, pglocal.Config{Dir: dir, CopyFrom: seed})
	conn := connect(t, c.URL(pglocal.Owner, pglocal.Database))
	_, err := conn.Exec(t.Context(), "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
	require.NoError(t, err)
	stop(t, c)
	<-c.Done()
	stop(t, c) // again: no effect

	begun := time.Now()
	c = start(t, pglocal.Config{Dir: dir})
	took := time.Since(begun)
	t.Logf("warm start %v", took)
	require.Less(t, took, 5*time.Second, "not bootstrapped again")
	require.Equal(t, "7", text(t, connect(t, c.URL(pglocal.Owner, pglocal.Database)), "SELECT id::text FROM kept"))
}

func TestStart_AnyPath(t *testing.T) {
	for name, dir := range map[string]string{
		"Long":  filepath.Join(strings.Repeat("long-", 20), strings.Repeat("longer-", 20)),
		"Signs": "a b, c+d%20&e=f?g#h'i\"j\\k$l;ü",
	} {
		t.Run(name, func(t *testing.T) { startIn(t, filepath.Join(t.TempDir(), dir)) })
	}
}

func startIn(t *testing.T, dir string) {
	t.Helper()
	c := start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed})
	url := c.URL(pglocal.App, pglocal.Database)
	require.Equal(t, "cdsa_app", text(t, connect(t, url), "SELECT current_user::text"))

	if psql, err := exec.LookPath("psql"); err == nil { // another process can use the address, too
		out, err := exec.CommandContext(t.Context(), psql, url, "-Atc", "SELECT current_database()").CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "cdsa\n", string(out))
	}
}

func TestStart_Copy(t *testing.T) {
	from := t.TempDir()
	c := start(t, pglocal.Config{Dir: from, Throwaway: true, CopyFrom: seed})
	conn := connect(t, c.URL(pglocal.Owner, pglocal.Database))
	_, err := conn.Exec(t.Context(), "CREATE TABLE copied (id int); INSERT INTO copied VALUES (3)")
	require.NoError(t, err)
	stop(t, c)

	c = start(t, pglocal.Config{Dir: t.TempDir(), Throwaway: true, CopyFrom: from})
	require.Equal(t, "3", text(t, connect(t, c.URL(pglocal.Owner, pglocal.Database)), "SELECT id::text FROM copied"))
}

func TestStart_UnfinishedIsCleared(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700))
	c := start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed})
	require.Equal(t, "1", text(t, connect(t, c.URL(pglocal.App, pglocal.Database)), "SELECT '1'"))
	require.NoDirExists(t, filepath.Join(dir, "data.new"))
}

func TestStart_HalfBootstrapped(t *testing.T) {
	dir := t.TempDir()
	c := start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed})
	conn := connect(t, c.URL(pglocal.Superuser, "postgres"))
	_, err := conn.Exec(t.Context(), "DROP DATABASE cdsa")
	require.NoError(t, err)
	stop(t, c)
	c = start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed})
	require.Equal(t, "cdsa", text(t, connect(t, c.URL(pglocal.App, pglocal.Database)), "SELECT current_database()::text"))
}

func TestStart_SaysWhy(t *testing.T) {
	dir := t.TempDir()
	c := start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed})
	stop(t, c)
	conf := filepath.Join(dir, "data", "postgresql.conf")
	require.NoError(t, os.WriteFile(conf, []byte("no_such_setting = 1\n"), 0o600))
	require.NoError(t, os.Chmod(conf, 0o644)) // postgres may be another account
	_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
	require.ErrorContains(t, err, "no_such_setting")
}

// killed starts a program on the cluster of dir and returns it with its URL.
func killed(t *testing.T, dir string) (*exec.Cmd, string) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "PGLOCAL_TEST_CHILD="+dir, "PGLOCAL_TEST_SEED="+seed)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "postgres://")
	return cmd, strings.TrimSpace(line)
}

// TestStart_AfterKill kills the program, then the program and postgres: what
// was committed is there at the next start, which needs no help.
func TestStart_AfterKill(t *testing.T) {
	for _, both := range []bool{false, true} {
		name := map[bool]string{false: "Program", true: "ProgramAndPostgres"}[both]
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd, url := killed(t, dir)
			conn := connect(t, url)
			_, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id")
			require.NoError(t, err)
			if both {
				killPostgres(t, dir)
			}
			require.NoError(t, cmd.Process.Kill())
			require.Error(t, cmd.Wait())

			begun := time.Now()
			c := start(t, pglocal.Config{Dir: dir})
			t.Logf("recovered in %v", time.Since(begun))
			require.Less(t, time.Since(begun), 15*time.Second)
			require.Equal(t, "1000", text(t, connect(t, c.URL(pglocal.Owner, pglocal.Database)), "SELECT count(*)::text FROM kept"))
		})
	}
}

func TestStop_WithOpenTransaction(t *testing.T) {
	c := start(t, pglocal.Config{Dir: t.TempDir(), Throwaway: true, CopyFrom: seed})
	conn := connect(t, c.URL(pglocal.App, pglocal.Database))
	_, err := conn.Exec(t.Context(), "BEGIN")
	require.NoError(t, err)
	stop(t, c)
	require.Error(t, conn.Ping(t.Context()))
}

func TestStart_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	_, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, CopyFrom: seed})
	require.ErrorIs(t, err, context.Canceled)
	start(t, pglocal.Config{Dir: dir, Throwaway: true, CopyFrom: seed}) // and leaves the folder usable
}
