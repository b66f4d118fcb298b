package storetest_test

import (
	"testing"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Every test gets an empty, migrated database that another test cannot see.
func TestOpen(t *testing.T) {
	for range 2 {
		storetest.Open(t, func(t *testing.T, db *store.DB) {
			var n int
			if err := db.Read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM accounts`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n != 0 {
				t.Fatalf("%d accounts in a fresh database", n)
			}
			if _, err := db.Write.ExecContext(t.Context(), `INSERT INTO accounts (app, user_id, created_at) VALUES (1, 'a', 1)`); err != nil {
				t.Fatal(err)
			}
		})
	}
}
