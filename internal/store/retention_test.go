package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

const day = 24 * time.Hour

// logTables are the real message tables as the keeper is told of them.
func logTables() []store.LogTable {
	return []store.LogTable{
		{Name: "c2c_messages", Column: "seq", Bound: func(t time.Time) int64 { return t.Unix() << 20 }, Heads: "c2c_pairs", Keys: []string{"lo", "hi"}, Order: "seq"},
		{Name: "group_messages", Column: "time", Bound: time.Time.Unix, Heads: "group_logs", Keys: []string{"log"}, Order: "seq"},
	}
}

// fill stores a message a day for some days back in three logs of each kind.
func fill(t *testing.T, db *store.DB, now time.Time, days int) {
	t.Helper()
	exec := func(query string, args ...any) {
		if _, err := db.Write.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	for log := int64(1); log <= 3; log++ {
		exec(`INSERT INTO c2c_pairs (lo, hi, last_seq) VALUES ($1, 9, 1)`, log)
		exec(`INSERT INTO group_logs (log, hub) VALUES ($1, $1)`, log)
		for d := days; d >= 0; d-- {
			at := now.Add(-time.Duration(d) * day)
			exec(`INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body) VALUES ($1, 9, $2, 9, 1, 1, 1, 0, '[]')`, log, at.Unix()<<20)
			exec(`INSERT INTO group_messages (log, seq, time, sender, random, client_seq, client_time, priority, flags, body)
				VALUES ($1, $2, $3, 9, 1, 1, 1, 2, 0, '[]')`, log, days-d+1, at.Unix())
		}
	}
}

func count(t *testing.T, db *store.DB, query string) (n int) {
	t.Helper()
	if err := db.Read.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Ensure that what is past the retention goes and what is within it stays, on
// both engines, however often and from however many nodes it is swept.
func TestRetention(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		clock := func() time.Time { return now }
		nodes := []*store.Retention{
			store.NewRetention(db, clock, slog.New(slog.DiscardHandler), logTables()...),
			store.NewRetention(db, clock, slog.New(slog.DiscardHandler), logTables()...),
		}
		fill(t, db, now, 4) // before any partition: into the default one
		prepared := make(chan error, 2)
		for _, r := range nodes {
			go func() { prepared <- r.Prepare(context.Background()) }()
		}
		for range nodes {
			if err := <-prepared; err != nil {
				t.Fatal(err)
			}
		}
		for step := range 12 {
			for _, r := range nodes {
				if _, err := r.Sweep(t.Context(), 7*day); err != nil {
					t.Fatal(err)
				}
			}
			for _, table := range []string{"c2c_messages", "group_messages"} {
				column := "time"
				if table == "c2c_messages" {
					column = "seq / 1048576"
				}
				low := now.Add(-7 * day).Unix()
				if n, want := count(t, db, fmt.Sprintf(`SELECT count(*) FROM %s WHERE %s >= %d`, table, column, low)), 3*max(0, min(5, 8-step)); n != want {
					t.Fatalf("day %d: %d messages of %s within the retention, want %d", step, n, table, want)
				}
				// A partition goes when all of it is past: one more day at most.
				if n := count(t, db, fmt.Sprintf(`SELECT count(*) FROM %s WHERE %s < %d`, table, column, low-86400)); n != 0 {
					t.Fatalf("day %d: %d messages of %s outlived their retention", step, n, table)
				}
			}
			now = now.Add(day)
		}
		if db.Dialect == store.Postgres {
			if n := count(t, db, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'group_messages'::regclass`); n > 7+1+3+2 {
				t.Fatalf("%d partitions", n)
			}
			if n := count(t, db, `SELECT count(*) FROM group_messages_default`); n != 0 {
				t.Fatalf("%d messages in the default partition", n)
			}
			// A new message finds its partition, with the indexes of the table.
			if _, err := db.Write.ExecContext(t.Context(), `INSERT INTO group_messages (log, seq, time, sender, random, client_seq, client_time, priority, flags, body)
				VALUES (1, 100, $1, 9, 1, 1, 1, 2, 0, '[]')`, now.Unix()); err != nil {
				t.Fatal(err)
			}
			if n := count(t, db, `SELECT count(*) FROM group_messages_default`); n != 0 {
				t.Fatal("a message of today landed in the default partition")
			}
			if n := count(t, db, fmt.Sprintf(`SELECT count(*) FROM pg_indexes WHERE tablename = 'group_messages_%s'`, now.UTC().Format("20060102"))); n != 3 {
				t.Fatalf("%d indexes on a partition, want 3", n)
			}
		}
	})
}

// Ensure that a retention shorter than a day makes no partition that it drops.
func TestShortRetention(t *testing.T) {
	db := storetest.Postgres(t)
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	r := store.NewRetention(db, func() time.Time { return noon }, slog.New(slog.DiscardHandler), logTables()...)
	if err := r.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{len(logTables()), 0, 0} { // yesterday's, and no more
		if n, err := r.Sweep(t.Context(), time.Hour); err != nil || n != want {
			t.Fatalf("%d partitions were dropped, want %d: %v", n, want, err)
		}
	}
}
