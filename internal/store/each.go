package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Row is what a row is read from: *sql.Rows or *sql.Row.
type Row interface {
	Scan(dest ...any) error
}

// numbered is a row whose first column is for the reader of the rows.
type numbered struct {
	rows  *sql.Rows
	place int
}

// Scan implements Row.
func (n *numbered) Scan(dest ...any) error {
	return n.rows.Scan(append([]any{&n.place}, dest...)...)
}

// Each runs a query that is about one account or another thing with a number.
// On Postgres callers who ask about different ones at the same time share a
// round trip and a plan, see [Gather]: what a single query costs there is
// mostly not the query. On SQLite, which has no round trips, each runs alone.
type Each[T any] struct {
	db     *DB
	keys   int
	query  string
	scan   func(row Row, v *T) error
	gather *Gather[*asked[T]] // nil on SQLite
}

// asked is a call of Of.
type asked[T any] struct {
	keys   []int64
	common []any
	rows   []T
}

// maxEach is how many calls one query answers.
const maxEach = 128

// NewEach makes an Each of a query whose first parameters, as many as keys, are
// the numbers; the others are the same for many callers, such as a limit. On
// Postgres the query becomes a subquery for each of a list: its parameters
// should have a type by their use, or a cast.
func NewEach[T any](db *DB, keys int, query string, scan func(row Row, v *T) error) *Each[T] {
	e := &Each[T]{db: db, keys: keys, query: query, scan: scan}
	if db.Dialect == Postgres {
		e.query = lateral(keys, query)
		e.gather = NewGather(maxEach, 4, e.run)
	}
	return e
}

var parameter = regexp.MustCompile(`\$[0-9]+\b`)

// lateral makes a query for lists of a query for one. OFFSET 0 keeps the
// planner from turning the two inside out.
func lateral(keys int, query string) string {
	inner := parameter.ReplaceAllStringFunc(query, func(p string) string {
		var n int
		if _, err := fmt.Sscanf(p, "$%d", &n); err != nil || n > keys {
			return p
		}
		return fmt.Sprintf("each.k%d", n)
	})
	var arrays, names []string
	for i := range keys {
		arrays, names = append(arrays, fmt.Sprintf("$%d::bigint[]", i+1)), append(names, fmt.Sprintf("k%d", i+1))
	}
	return `SELECT each.place, found.* FROM unnest(` + strings.Join(arrays, ", ") + `) WITH ORDINALITY AS each(` + strings.Join(names, ", ") +
		`, place) CROSS JOIN LATERAL (SELECT * FROM (` + inner + `) AS one OFFSET 0) AS found`
}

// Of returns what the query finds for keys, in the query's order, read after
// the call. The further parameters must be comparable.
func (e *Each[T]) Of(ctx context.Context, keys []int64, common ...any) ([]T, error) {
	if e.gather == nil {
		args := make([]any, 0, len(keys)+len(common))
		for _, k := range keys {
			args = append(args, k)
		}
		return Collect(ctx, e.db.Lists, func(rows *sql.Rows, v *T) error { return e.scan(rows, v) }, e.query, append(args, common...)...)
	}
	a := &asked[T]{keys: keys, common: common}
	if err := e.gather.Do(ctx, a); err != nil {
		return nil, err
	}
	return a.rows, nil
}

// run answers calls, with a query for each set of further parameters.
func (e *Each[T]) run(ctx context.Context, list []*asked[T]) error {
	for len(list) > 0 {
		var same, rest []*asked[T]
		for _, a := range list {
			if slices.Equal(a.common, list[0].common) {
				same = append(same, a)
			} else {
				rest = append(rest, a)
			}
		}
		if err := e.some(ctx, same); err != nil {
			return err
		}
		list = rest
	}
	return nil
}

func (e *Each[T]) some(ctx context.Context, list []*asked[T]) error {
	args := make([]any, 0, e.keys+len(list[0].common))
	for k := range e.keys {
		column := make([]int64, len(list))
		for i, a := range list {
			column[i] = a.keys[k]
		}
		args = append(args, column)
	}
	rows, err := e.db.Lists.QueryContext(ctx, e.query, append(args, list[0].common...)...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	row := numbered{rows: rows}
	for rows.Next() {
		var v T
		if err := e.scan(&row, &v); err != nil {
			return err
		}
		a := list[row.place-1]
		a.rows = append(a.rows, v)
	}
	return rows.Err()
}
