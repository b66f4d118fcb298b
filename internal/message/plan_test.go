package message

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// searchOne is a search in one partition by all that tells a message.
var searchOne = regexp.MustCompile(`_random_idx on c2c_messages.*\n *Index Cond: \(\(lo = \S+\) AND \(hi = \S+\) AND \(msg_seq = \S+\) AND \(random = \S+\)\)\n`)

// Ensure that Postgres finds repeats by their numbers in a table that has no
// statistics yet, as every day's partition at its begin: by the primary key
// each message would walk the pair's whole day. The plan is kept, so it is the
// one of full tables too. And that it looks into two days only, not into those
// to come.
func TestRepeatsAreFoundByTheirNumbers(t *testing.T) {
	db := storetest.Postgres(t)
	noon := time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
	keeper := store.NewRetention(db, func() time.Time { return noon }, slog.New(slog.DiscardHandler), store.LogTable{Name: "c2c_messages", Column: "seq",
		Bound: func(t time.Time) int64 { return from(t.Unix()) }})
	if err := keeper.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, end := from(noon.Unix()-repeatWindow), from(noon.Unix()+ahead)
	for name, s := range map[string]struct{ statement, rest string }{"batch": {pgAppend, fmt.Sprint(after, ", ", end)}, "alone": {pgAlone, fmt.Sprint(after, ", NULL, ", end)}} {
		text := storetest.Plan(t, db, s.statement, strings.Repeat("NULL, ", 10)+s.rest)
		if len(searchOne.FindAllString(text, -1)) != 2 || strings.Contains(text, "pkey on c2c_messages") || strings.Contains(text, "Seq Scan") {
			t.Errorf("the plan of %s is\n%s", name, text)
		}
	}
}

// Ensure that a read report finds the newest message by the pair's key and not
// by walking a table, whatever statistics say.
func TestReportsReadOneRow(t *testing.T) {
	if text := storetest.Plan(t, storetest.Postgres(t), readingQuery(1), "1, 2, 3, 2, 3, 4"); strings.Contains(text, "Seq Scan") || strings.Contains(text, "Sort") {
		t.Errorf("the plan is\n%s", text)
	}
}

// Ensure that a batch takes no places in a pair that another node makes between
// its two statements.
func TestPlacesOfOthers(t *testing.T) {
	db := storetest.Postgres(t)
	tx, err := db.Append.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	a := arraysOf([]*draft{{Message: &Message{From: 1, To: 2, MsgSeq: 1, Random: 1, Body: []byte("[]")}}})
	if tag, err := tx.Exec(t.Context(), pgPlace, a.pairLo, a.pairHi, a.count, 1<<20); err != nil || tag.RowsAffected() != 0 {
		t.Fatalf("%d places in a pair that is not there, %v", tag.RowsAffected(), err)
	}
	if _, err := db.Write.Exec(`INSERT INTO c2c_pairs (lo, hi, last_seq) VALUES (1, 2, 1 << 20)`); err != nil {
		t.Fatal(err)
	}
	tag, err := tx.Exec(t.Context(), pgAppend, a.lo, a.hi, a.back, a.sender, a.msgSeq, a.random, a.client, a.flags, a.body, a.cloud, 0, int64(1)<<62)
	if err != nil || tag.RowsAffected() != 0 {
		t.Fatalf("%d messages at another node's place, %v", tag.RowsAffected(), err)
	}
}

// Ensure that a batch stores a pair that is ahead of the clock in order, knows
// its repeats, and leaves other pairs at the clock's second.
func TestBatchAheadOfTheClock(t *testing.T) {
	db := storetest.Postgres(t)
	now := time.Unix(1_900_000_000, 0)
	w := &writer{db: db, now: func() time.Time { return now }}
	message := func(to, n int64) *draft {
		return &draft{Message: &Message{From: 1, To: to, MsgSeq: n, Random: n, Body: []byte("[]")}}
	}
	put := func(drafts ...*draft) {
		t.Helper()
		if err := w.append(t.Context(), drafts); err != nil {
			t.Fatal(err)
		}
	}
	first := message(2, 1)
	put(message(3, 1))
	now = now.Add(2 * time.Hour)
	put(first)
	now = now.Add(-2 * time.Hour)
	again, second, third, other := message(2, 1), message(2, 2), message(2, 3), message(3, 2)
	put(again, second, other, third)
	if !again.repeated || again.Seq != first.Seq {
		t.Errorf("the repeat is at %d, repeated %t, the first copy at %d", again.Seq, again.repeated, first.Seq)
	}
	if second.repeated || third.repeated || second.Seq <= first.Seq || third.Seq <= second.Seq || third.Time() != first.Time() {
		t.Errorf("%d and %d follow %d", second.Seq, third.Seq, first.Seq)
	}
	if other.repeated || other.Time() != now.Unix() {
		t.Errorf("the other pair's message has the time %d, the clock %d", other.Time(), now.Unix())
	}
	rows := 0
	if err := db.Read.QueryRow(`SELECT count(*) FROM c2c_messages`).Scan(&rows); err != nil || rows != 5 {
		t.Errorf("%d messages are stored, want 5: %v", rows, err)
	}
}
