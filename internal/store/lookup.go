package store

import (
	"context"
	"database/sql"
	"fmt"
)

// Lookup reads what a table has of an account. Callers who ask for different
// accounts at the same time share a query, see [Gather]: after a restart
// everybody asks for the same few lists in the same second.
type Lookup[T any] struct {
	gather *Gather[*wanted[T]]
}

type wanted[T any] struct {
	uid  int64
	rows []T
}

// maxLookup is how many accounts one query reads.
const maxLookup = 128

// NewLookup makes a Lookup. query has one %s in the place of the condition on
// the accounts, as in "… WHERE uid %s"; scan tells whose a row is.
func NewLookup[T any](db *DB, query string, scan func(rows *sql.Rows, uid *int64, v *T) error) *Lookup[T] {
	type row struct {
		uid int64
		v   T
	}
	return &Lookup[T]{NewGather(maxLookup, 4, func(ctx context.Context, list []*wanted[T]) error {
		asked := make(map[int64][]*wanted[T], len(list))
		uids := make([]int64, 0, len(list))
		for _, w := range list {
			if asked[w.uid] == nil {
				uids = append(uids, w.uid)
			}
			asked[w.uid] = append(asked[w.uid], w)
		}
		condition, args := Among(db, 1, uids)
		found, err := Collect(ctx, db.Lists, func(rows *sql.Rows, r *row) error { return scan(rows, &r.uid, &r.v) },
			fmt.Sprintf(query, condition), args...)
		if err != nil {
			return err
		}
		for _, r := range found {
			for _, w := range asked[r.uid] {
				w.rows = append(w.rows, r.v)
			}
		}
		return nil
	})}
}

// Of returns the rows of an account, read after the call, in the query's order.
func (l *Lookup[T]) Of(ctx context.Context, uid int64) ([]T, error) {
	w := &wanted[T]{uid: uid}
	if err := l.gather.Do(ctx, w); err != nil {
		return nil, err
	}
	return w.rows, nil
}
