package store

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
)

// tracer is Options.OnStatement as pgx wants it.
type tracer func(statement string)

// TraceQueryStart implements pgx.QueryTracer.
func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	t(q.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (t tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (t tracer) TraceBatchQuery(_ context.Context, _ *pgx.Conn, q pgx.TraceBatchQueryData) { t(q.SQL) }

// TraceBatchEnd implements pgx.BatchTracer.
func (t tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// tracedStmt is a statement of SQLite that somebody prepared.
type tracedStmt struct {
	driver.Stmt
	query string
	trace func(statement string)
}

// ExecContext implements driver.StmtExecContext.
func (s *tracedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	s.trace(s.query)
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// QueryContext implements driver.StmtQueryContext.
func (s *tracedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	s.trace(s.query)
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// PrepareContext implements driver.ConnPrepareContext.
func (k *keepingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := k.fullConn.PrepareContext(ctx, query)
	if err != nil || k.trace == nil {
		return s, err
	}
	return &tracedStmt{s, query, k.trace}, nil
}
