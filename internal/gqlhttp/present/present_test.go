package present

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"cdsa.dev/cdsa/internal/authz"
	"cdsa.dev/cdsa/internal/errs"
)

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		`strconv.Atoi: parsing "hunter2": invalid syntax`: "strconv.Atoi: parsing …: invalid syntax",
		`no user ada@example.com here`:                    "no user … here",
		`unclosed "hunter2 and on`:                        "unclosed …",
		"line\nbreak\x1b[31m":                             "line break [31m",
		`password=hunter2 Token=abc`:                      "… …",
		`dial tcp 127.0.0.1:5432: connection refused`:     "dial tcp 127.0.0.1:5432: connection refused",
	} {
		require.Equal(t, want, scrub(in))
	}
	require.LessOrEqual(t, len(scrub(string(bytes.Repeat([]byte("a"), 10_000)))), maxLogged+len("…"))
}

// TestPresenter_EveryCode: each code of the table reaches the client as it is, with what belongs to it.
func TestPresenter_EveryCode(t *testing.T) {
	ctx := authz.WithRequest(context.Background(), authz.Request{ID: "r"})
	var logs bytes.Buffer
	p := Presenter(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for _, row := range errs.Table {
		e := errs.Wrap(errors.New("cause"), row.Code, "A sentence.")
		e.RetryAfter, e.State, e.Retryable = 1500*time.Millisecond, "OPEN", true
		g := p(ctx, fmt.Errorf("outer: %w", e))
		require.Equal(t, "A sentence.", g.Message)
		require.Equal(t, string(row.Code), g.Extensions["code"])
		require.Equal(t, "r", g.Extensions["requestId"])
		require.Equal(t, int64(1500), g.Extensions["retryAfterMs"])
		require.Equal(t, "OPEN", g.Extensions["state"])
		_, hasRetryable := g.Extensions["retryable"]
		require.Equal(t, row.Code == errs.UpstreamUnavailable, hasRetryable)
	}
	require.Equal(t, len(errs.Table), bytes.Count(logs.Bytes(), []byte(`"cause":"cause"`)), "every hidden cause is logged once")
	require.Nil(t, p(ctx, nil))
}

// TestPresenter_DatabaseAway: a restart of the database is not a fault of the server's; a write that may have been done is
// not to be sent again.
func TestPresenter_DatabaseAway(t *testing.T) {
	var logs bytes.Buffer
	p := Presenter(slog.New(slog.NewJSONHandler(&logs, nil)))
	torn := fmt.Errorf("read: %w", io.ErrUnexpectedEOF)
	for _, c := range []struct {
		op        ast.Operation
		err       error
		retryable bool
	}{{ast.Query, torn, true}, {ast.Mutation, torn, false}, {ast.Mutation, driver.ErrBadConn, true}, {ast.Query, &pgconn.PgError{Code: "57P01"}, true}} {
		ctx := graphql.WithOperationContext(context.Background(), &graphql.OperationContext{Operation: &ast.OperationDefinition{Operation: c.op}})
		g := p(ctx, gqlerror.WrapPath(ast.Path{ast.PathName("a")}, c.err))
		require.Equal(t, "UPSTREAM_UNAVAILABLE", g.Extensions["code"])
		require.Equal(t, c.retryable, g.Extensions["retryable"], "%s: %v", c.op, c.err)
		require.Equal(t, awayMessage, g.Message)
	}
	require.NotContains(t, logs.String(), `"level":"ERROR"`)
	require.Equal(t, "INTERNAL_SERVER_ERROR", p(context.Background(), &pgconn.PgError{Code: "42601"}).Extensions["code"])
}

func TestWrap(t *testing.T) {
	require.Equal(t, "BAD_USER_INPUT", Wrap(errs.Input("a", "A.")).Extensions["code"])
	hidden := Wrap(errors.New("secret"))
	require.Equal(t, "INTERNAL_SERVER_ERROR", hidden.Extensions["code"])
	require.NotContains(t, hidden.Message, "secret")
	require.Same(t, hidden, Wrap(hidden))
}
