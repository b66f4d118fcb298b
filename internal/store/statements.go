package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// SQLite parses a statement each time it is run unless somebody keeps it: for
// the lists that an SDK asks for at start that was a third of the time. So
// every connection keeps what it has run, as pgx does for Postgres.

// maxStatements is how many statements a connection keeps; the server has some
// hundreds, lists of several lengths included.
const maxStatements = 512

// connector opens connections that keep their statements.
type connector struct {
	dsn   string
	base  driver.Driver
	trace func(statement string) // may be nil
}

// openKeeping is sql.Open("sqlite", dsn) with kept statements.
func openKeeping(dsn string, trace func(statement string)) (*sql.DB, error) {
	plain, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	c := &connector{dsn: dsn, base: plain.Driver(), trace: trace}
	return sql.OpenDB(c), plain.Close() // it has opened nothing yet
}

func (c *connector) Driver() driver.Driver { return c.base }

func (c *connector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.base.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	full, ok := conn.(fullConn)
	if !ok {
		return nil, errors.Join(errors.New("store: the SQLite driver has changed"), conn.Close())
	}
	k := &keepingConn{fullConn: full, trace: c.trace}
	k.kept, err = simplelru.NewLRU(maxStatements, func(_ string, s *statement) { s.forget() })
	return k, err
}

// fullConn is what database/sql makes use of in the driver's connection.
type fullConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	driver.ExecerContext
	driver.QueryerContext
}

// keepingConn is a connection with its statements; like every driver.Conn it
// is used by one goroutine at a time.
type keepingConn struct {
	fullConn
	trace func(statement string) // may be nil
	kept  *simplelru.LRU[string, *statement]
}

// statement is a prepared statement. While its rows are being read it cannot
// be run again.
type statement struct {
	driver.Stmt
	busy, forgotten bool
}

// forget closes the statement, or lets the end of its rows do it.
func (s *statement) forget() {
	s.forgotten = true
	if !s.busy {
		_ = s.Close() // nothing is left to do about it
	}
}

func (s *statement) release() {
	s.busy = false
	if s.forgotten {
		_ = s.Close()
	}
}

// statement returns a statement to run, nil when the kept one is busy.
func (k *keepingConn) statement(ctx context.Context, query string) (*statement, error) {
	if s, ok := k.kept.Get(query); ok {
		if s.busy {
			return nil, nil
		}
		return s, nil
	}
	prepared, err := k.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := &statement{Stmt: prepared}
	k.kept.Add(query, s)
	return s, nil
}

// ExecContext implements driver.ExecerContext.
func (k *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := k.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return k.fullConn.ExecContext(ctx, query, args)
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (k *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := k.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return k.fullConn.QueryContext(ctx, query, args)
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{rows, s}, nil
}

// Close implements driver.Conn.
func (k *keepingConn) Close() error {
	k.kept.Purge()
	return k.fullConn.Close()
}

// keptRows give their statement back.
type keptRows struct {
	driver.Rows
	s *statement
}

func (r *keptRows) Close() error {
	err := r.Rows.Close()
	r.s.release()
	return err
}
