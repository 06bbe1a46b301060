package pgaway_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/pgaway"
)

func TestUnreachable(t *testing.T) {
	for name, c := range map[string]struct {
		err                            error
		unreachable, unsent, momentary bool
	}{
		"Nil":          {},
		"Other":        {err: errors.New("a fault")},
		"DiskFull":     {err: syscall.ENOSPC},
		"Refused":      {&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true, false, true},
		"Connect":      {&pgconn.ConnectError{}, true, true, true},
		"Stale":        {driver.ErrBadConn, true, true, true},
		"Torn":         {io.ErrUnexpectedEOF, true, false, true},
		"Stopped":      {&pgconn.PgError{Code: "57P01"}, true, false, true},
		"Starting":     {&pgconn.PgError{Code: "57P03"}, true, false, true},
		"Full":         {&pgconn.PgError{Code: "53300"}, true, false, true},
		"Standby":      {&pgconn.PgError{Code: "25006"}, true, false, true},
		"Deadlock":     {&pgconn.PgError{Code: "40P01"}, false, false, true},
		"FailedBefore": {&pgconn.PgError{Code: "25P02"}, false, false, true},
		"TooLong":      {&pgconn.PgError{Code: "57014"}, false, false, true},
		"Duplicate":    {err: &pgconn.PgError{Code: "23505"}},
		"Syntax":       {err: &pgconn.PgError{Code: "42601"}},
		"NoCode":       {err: &pgconn.PgError{}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.err
			if err != nil {
				err = fmt.Errorf("read: %w", err)
			}
			require.Equal(t, c.unreachable, pgaway.Unreachable(err))
			require.Equal(t, c.unsent, pgaway.Unsent(err))
			require.Equal(t, c.momentary, pgaway.Momentary(err))
		})
	}
}
