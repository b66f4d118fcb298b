package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// In returns "($n,$n+1,…)" for count placeholders from $first on. Lists are
// bounded by the commands' limits, so the statement cache stays small.
func In(first, count int) string {
	var b strings.Builder
	b.WriteByte('(')
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	b.WriteByte(')')
	return b.String()
}

// Args turns a slice into arguments for In, after the leading ones.
func Args[T any](list []T, leading ...any) []any {
	args := make([]any, 0, len(leading)+len(list))
	args = append(args, leading...)
	for _, v := range list {
		args = append(args, v)
	}
	return args
}

// Among returns a condition that a column is in the list, "IN (…)" or
// "= ANY (…)", to stand behind its name, and its arguments, the first of which
// is $first. On Postgres the statement is the same for every length of the
// list, on SQLite for some lengths, see Padded. The list must not be empty.
func Among[T any](db *DB, first int, list []T) (condition string, args []any) {
	if db.Dialect == Postgres {
		return fmt.Sprintf("= ANY ($%d)", first), []any{list}
	}
	list = Padded(list)
	return "IN " + In(first, len(list)), Args(list)
}

// Padded returns list lengthened to a power of two by repeating its last
// element, so that statements made for lists have few different lengths.
func Padded[T any](list []T) []T {
	if len(list) == 0 {
		return list
	}
	size := 1
	for size < len(list) {
		size *= 2
	}
	out := append(make([]T, 0, size), list...)
	for len(out) < size {
		out = append(out, list[len(list)-1])
	}
	return out
}

// Querier is what queries need: *sql.DB or *sql.Tx.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Collect runs a query and scans every row with scan.
func Collect[T any](ctx context.Context, q Querier, scan func(rows *sql.Rows, v *T) error, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
