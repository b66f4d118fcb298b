package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// IsConflict reports errors after which the same transaction may succeed.
func IsConflict(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" // serialization failure, deadlock
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_BUSY
}

// IsLost reports that the connection to the database ended, or could not be
// had: what was under way on it may be done or not, and asking again may help.
func IsLost(err error) bool {
	if err == nil {
		return false
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return isFarewell(pg.Code)
	}
	return errors.As(err, new(lostError)) || errors.Is(err, ErrAway) || errors.Is(err, driver.ErrBadConn) || isClosed(err)
}

// IsExhausted reports that the database lacks room, memory or connections: the
// same request may be done when somebody has seen to it.
func IsExhausted(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return strings.HasPrefix(pg.Code, "53")
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && lite.Code()&0xff == sqlite3.SQLITE_FULL
}

// isFarewell reports whether Postgres has said with an error that it ends the
// connection, takes none yet, or is a standby after a failover.
func isFarewell(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05", "25006": // ended by an administrator, or for a crash; starting; idle too long; read only
		return true
	}
	return strings.HasPrefix(code, "08")
}

// isClosed reports that pgx did not send a statement because it knows that the
// connection has ended.
func isClosed(err error) bool {
	return pgconn.SafeToRetry(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
