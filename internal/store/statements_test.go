package store_test

import (
	"testing"

	"imserver/internal/store/storetest"
)

// Ensure that a kept statement can be run while its own rows are being read,
// after the table has changed, and after an error.
func TestKeptStatements(t *testing.T) {
	db := storetest.SQLite(t).Write
	ctx := t.Context()
	must := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, query, args...); err != nil {
			t.Fatal(err)
		}
	}
	must(`CREATE TABLE kept (n INTEGER PRIMARY KEY)`)
	for i := range 3 {
		must(`INSERT INTO kept (n) VALUES ($1)`, i)
	}
	if _, err := db.ExecContext(ctx, `INSERT INTO kept (n) VALUES ($1)`, 1); err == nil {
		t.Fatal("a duplicate was taken")
	}
	must(`INSERT INTO kept (n) VALUES ($1)`, 3)

	const all = `SELECT * FROM kept ORDER BY 1`
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := tx.QueryContext(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	pairs := 0
	for outer.Next() {
		inner, err := tx.QueryContext(ctx, all)
		if err != nil {
			t.Fatal(err)
		}
		for inner.Next() {
			pairs++
		}
		if err := inner.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := outer.Close(); err != nil || pairs != 16 {
		t.Fatalf("%d pairs, %v", pairs, err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}

	must(`ALTER TABLE kept ADD COLUMN word TEXT NOT NULL DEFAULT 'w'`)
	rows, err := db.QueryContext(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var n int
	var word string
	if !rows.Next() || rows.Scan(&n, &word) != nil || word != "w" {
		t.Fatalf("%d %q %v", n, word, rows.Err())
	}
}
