//go:build unix

package app

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgaway"
	"cdsa.dev/cdsa/internal/pgtest"
)

// TestBounded: one connection goes back and forth between operations and work that may take long.
func TestBounded(t *testing.T) {
	pc, err := pgxpool.ParseConfig(pgtest.New(t).URL)
	require.NoError(t, err)
	pc.MaxConns, pc.PrepareConn = 1, bounded(100*time.Millisecond)
	pool, err := pgxpool.NewWithConfig(t.Context(), pc)
	require.NoError(t, err)
	defer pool.Close()
	for range 2 {
		_, err = pool.Exec(t.Context(), `SELECT pg_sleep(30)`)
		require.True(t, pgaway.TooLong(err), "%v", err)
		_, err = pool.Exec(unhurried(t.Context()), `SELECT pg_sleep(0.3)`)
		require.NoError(t, err)
	}
}
