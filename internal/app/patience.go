package app

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

type unhurriedKey struct{}

// unhurried is for work that nobody waits for: its statements may take as long as they need.
func unhurried(ctx context.Context) context.Context {
	return context.WithValue(ctx, unhurriedKey{}, true)
}

// timeoutKey is what a connection's own data has its present timeout under.
const timeoutKey = "cdsa statement_timeout"

// bounded has the database end every statement after a time, but those of unhurried work. A connection is told when it
// goes from one to the other, which few do.
func bounded(timeout time.Duration) func(context.Context, *pgx.Conn) (bool, error) {
	return func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		want := timeout
		if ctx.Value(unhurriedKey{}) != nil {
			want = 0
		}
		data := conn.PgConn().CustomData()
		if have, ok := data[timeoutKey].(time.Duration); ok && have == want {
			return true, nil
		}
		if _, err := conn.Exec(ctx, "SET statement_timeout = "+strconv.FormatInt(want.Milliseconds(), 10)); err != nil {
			return false, fmt.Errorf("set the time of statements: %w", err)
		}
		data[timeoutKey] = want
		return true, nil
	}
}
