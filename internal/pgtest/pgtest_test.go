//go:build unix

package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pgvector/pgvector-go"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pglocal"
	"cdsa.dev/cdsa/internal/pgtest"
)

func TestNew(t *testing.T) {
	begun := time.Now()
	a := pgtest.New(t)
	first := time.Since(begun)
	begun = time.Now()
	b := pgtest.New(t)
	t.Logf("first %v, second %v", first, time.Since(begun))
	require.NotEqual(t, a.Name, b.Name)

	var user string
	require.NoError(t, a.Pool.QueryRow(t.Context(), "SELECT current_user").Scan(&user))
	require.Equal(t, pglocal.App, user)
	require.NoError(t, a.Owner.QueryRow(t.Context(), "SELECT current_user").Scan(&user))
	require.Equal(t, pglocal.Owner, user)

	_, err := a.Owner.Exec(t.Context(), "CREATE TABLE pgtest_only (v vector(3)); GRANT SELECT, INSERT ON pgtest_only TO cdsa_app")
	require.NoError(t, err)
	_, err = a.Pool.Exec(t.Context(), "INSERT INTO pgtest_only VALUES ($1)", pgvector.NewVector([]float32{1, 2, 3}))
	require.NoError(t, err)
	_, err = b.Owner.Exec(t.Context(), "SELECT FROM pgtest_only")
	require.ErrorContains(t, err, "does not exist", "databases are apart")
}

func TestNew_Parallel(t *testing.T) {
	var wg sync.WaitGroup
	names := make(chan string, 8)
	for range cap(names) {
		wg.Go(func() { names <- pgtest.NewBare(t).Name })
	}
	wg.Wait()
	close(names)
	seen := map[string]bool{}
	for n := range names {
		require.False(t, seen[n])
		seen[n] = true
	}
	require.Len(t, seen, 8)
}

func TestNewBare_HasNoTables(t *testing.T) {
	var n int
	db := pgtest.NewBare(t)
	require.NoError(t, db.Owner.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&n))
	require.Zero(t, n)
}

// TestNew_Dropped sees that a passed test leaves nothing.
func TestNew_Dropped(t *testing.T) {
	var name string
	t.Run("Inner", func(t *testing.T) { name = pgtest.New(t).Name })
	conn, err := pgx.Connect(t.Context(), pgtest.NewBare(t).SuperuserURL)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	var there bool
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&there))
	require.False(t, there)
}

// TestNew_KeptOnFailure runs a failing test in a process of its own, then
// opens what it left.
func TestNew_KeptOnFailure(t *testing.T) {
	if os.Getenv("PGTEST_FAIL") != "" {
		db := pgtest.New(t)
		_, err := db.Owner.Exec(t.Context(), "CREATE TABLE evidence AS SELECT 42 AS answer")
		require.NoError(t, err)
		t.Log("database " + db.Name)
		t.Fail()
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNew_KeptOnFailure$", "-test.v")
	cmd.Env = append(os.Environ(), "PGTEST_FAIL=1")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	kept := regexp.MustCompile(`go run ./internal/pgtest/open (\S+), then psql with database (\S+)`).FindStringSubmatch(string(out))
	require.NotNil(t, kept, string(out))
	require.Contains(t, string(out), "database "+kept[2])
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(kept[1])) })

	var c *pglocal.Cluster
	require.Eventually(t, func() bool { // its postgres lets go of the folder in a moment
		c, err = pglocal.Start(t.Context(), pglocal.Config{Dir: kept[1], Throwaway: true})
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	defer func() { require.NoError(t, c.Stop(context.Background())) }()
	conn, err := pgx.Connect(t.Context(), c.URL(pglocal.Owner, kept[2]))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	var answer int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT answer FROM evidence").Scan(&answer))
	require.Equal(t, 42, answer)
	names, err := os.ReadFile(kept[1] + "/kept")
	require.NoError(t, err)
	require.Equal(t, kept[2], strings.TrimSpace(string(names)))
}

func BenchmarkNew(b *testing.B) {
	pgtest.New(b)
	for b.Loop() {
		pgtest.New(b)
	}
}
