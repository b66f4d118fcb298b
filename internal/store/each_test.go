package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure everybody gets the rows of its own numbers in the query's order,
// whoever asks at the same time and whatever the further parameters.
func TestEach(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		if _, err := db.Write.ExecContext(ctx, `CREATE TABLE each_test (a BIGINT, b BIGINT, c BIGINT)`); err != nil {
			t.Fatal(err)
		}
		for a := range 40 {
			for c := range a % 5 {
				if _, err := db.Write.ExecContext(ctx, `INSERT INTO each_test (a, b, c) VALUES ($1, $2, $3)`, a, a*10, c); err != nil {
					t.Fatal(err)
				}
			}
		}
		e := store.NewEach(db, 2, `SELECT c FROM each_test WHERE a = $1 AND b = $2 AND c >= $3 ORDER BY c DESC LIMIT $4`,
			func(row store.Row, c *int) error { return row.Scan(c) })
		var all sync.WaitGroup
		for a := range 41 {
			for _, low := range []int{0, 2} {
				all.Go(func() {
					var want []int
					for c := a%5 - 1; c >= low && a < 40; c-- {
						want = append(want, c)
					}
					want = want[:min(len(want), 3)]
					got, err := e.Of(ctx, []int64{int64(a), int64(a * 10)}, low, 3)
					if err != nil || !slices.Equal(got, want) {
						t.Errorf("%d from %d: %v, %v; want %v", a, low, got, err, want)
					}
				})
			}
		}
		all.Wait()
		if got, err := e.Of(ctx, []int64{3, 31}, 0, 3); err != nil || len(got) != 0 {
			t.Errorf("the second number counts too: %v, %v", got, err)
		}
	})
}
