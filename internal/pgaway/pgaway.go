// Package pgaway tells errors of the way to the database from errors of what was asked of it.
package pgaway

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
)

const queryCanceled = "57014"

// TooLong says whether the database ended a statement because it took longer than it may.
func TooLong(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == queryCanceled
}

// Unreachable says whether err is that the database cannot be reached, refuses to serve or stopped serving: it starts,
// stops, restarts, fails over or is full. What was asked may succeed in a moment.
func Unreachable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if pg.Code == queryCanceled {
			return false
		}
		switch pg.Code[:min(2, len(pg.Code))] {
		case "08", "53", "57": // connection, resources, operator's intervention
			return true
		}
		return pg.Code == "25006" // read-only: a standby, for as long as a failover takes
	}
	var network *net.OpError // net.Error is also what a full disk gives
	return Unsent(err) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// Unsent says of an Unreachable error that nothing had reached the database, so that nothing can have been done.
func Unsent(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect) || pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// Momentary says whether err is Unreachable or a transaction that the database gave up for a reason that passes.
func Momentary(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:min(2, len(pg.Code))] {
		case "25", "40", "55", "58": // read-only, rolled back, busy, system
			return true
		}
	}
	return Unreachable(err) || TooLong(err) || pgconn.Timeout(err) || errors.Is(err, io.EOF)
}
