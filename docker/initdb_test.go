//go:build unix

package docker

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pglocal"
)

// rights is what the server relies on: who owns what, and who may do what.
const rights = `SELECT (SELECT string_agg(rolname || rolsuper || rolcanlogin || rolcreatedb || rolcreaterole || rolbypassrls, ',' ORDER BY rolname)
	FROM pg_roles WHERE rolname IN ('cdsa_owner', 'cdsa_app'))
	|| (SELECT ' db:' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'cdsa')
	|| (SELECT ' schema:' || pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public')
	|| ' connect:' || has_database_privilege('cdsa_app', 'cdsa', 'CONNECT')
	|| ' temp:' || has_database_privilege('cdsa_app', 'cdsa', 'TEMP')
	|| ' create:' || has_schema_privilege('cdsa_app', 'public', 'CREATE')
	|| ' usage:' || has_schema_privilege('cdsa_app', 'public', 'USAGE')
	|| (SELECT ' ' || string_agg(extname, ',' ORDER BY extname) FROM pg_extension)`

// TestInitdb runs the compose database's script against a real server and
// compares the rights with those of the embedded cluster.
func TestInitdb(t *testing.T) {
	bin, err := pglocal.FindBin()
	require.NoError(t, err)
	c, err := pglocal.Start(t.Context(), pglocal.Config{Dir: t.TempDir(), BinDir: bin, Throwaway: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop(context.Background())) })
	embedded := ask(t, c.URL(pglocal.Superuser, pglocal.Database))

	// Back to what the image's own start leaves: a superuser and an empty database.
	run(t, c.URL(pglocal.Superuser, "template1"), "ALTER SCHEMA public OWNER TO pg_database_owner",
		"REVOKE ALL ON SCHEMA public FROM cdsa_app", "GRANT USAGE ON SCHEMA public TO PUBLIC",
		"DROP EXTENSION vector, pg_trgm, citext")
	run(t, c.URL(pglocal.Superuser, "postgres"), "DROP DATABASE cdsa", "DROP ROLE cdsa_owner, cdsa_app", "CREATE DATABASE cdsa")

	dir := t.TempDir()
	makeSecrets(t, dir)
	at, err := url.Parse(c.URL(pglocal.Superuser, pglocal.Database))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "bash", "initdb.sh")
	cmd.Env = append(os.Environ(), "CDSA_SECRETS="+filepath.Join(dir, "secrets"), "POSTGRES_USER="+pglocal.Superuser,
		"POSTGRES_DB="+pglocal.Database, "PGHOST="+at.Query().Get("host"), "PGPORT=5432", "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, embedded, ask(t, c.URL(pglocal.Superuser, pglocal.Database)))
	require.Equal(t, "true", answer(t, c.URL(pglocal.Superuser, pglocal.Database),
		"SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%')::text FROM pg_authid WHERE rolname IN ('cdsa_owner', 'cdsa_app')"))
}

func ask(t *testing.T, url string) string {
	t.Helper()
	return answer(t, url, rights)
}

func answer(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var s string
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&s))
	return s
}

func run(t *testing.T, url string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	for _, sql := range statements {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err, sql)
	}
}
