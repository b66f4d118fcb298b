package grouplog

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"imserver/internal/store/storetest"
)

// Ensure that repeats are looked for by their numbers, whatever statistics say:
// by the log alone each message would walk all of it.
func TestRepeatsAreFoundByTheirNumbers(t *testing.T) {
	text := storetest.Plan(t, storetest.Postgres(t), pgAppend, strings.Repeat("NULL, ", 16)+"NULL")
	search := regexp.MustCompile(`on group_messages.*\n *Index Cond: \(\(log = \w+\.log\) AND \(client_seq = \w+\.client_seq\) AND \(random = \w+\.random\)\)`)
	if !search.MatchString(text) || strings.Contains(text, "pkey on group_messages") || strings.Contains(text, "Seq Scan on group_messages") {
		t.Errorf("the plan is\n%s", text)
	}
}

// Ensure that messages of a log that is ahead of the clock are stored in their
// order, that a repeat among them is found, that one who may not speak is
// refused, and that others of the same batch are none of that.
func TestBatchAheadOfTheClock(t *testing.T) {
	db := storetest.Postgres(t)
	now := time.Unix(1_900_000_000, 0)
	w := &writer{db: db, now: func() time.Time { return now }}
	message := func(log, n int64) *draft {
		return &draft{hub: log, Message: &Message{Log: log, Sender: 1, ClientSeq: n, Random: n, Body: []byte("[]")}}
	}
	put := func(drafts ...*draft) {
		t.Helper()
		if err := w.append(t.Context(), drafts); err != nil {
			t.Fatal(err)
		}
	}
	put(message(1, 1), message(2, 1))
	first := message(1, 2)
	now = now.Add(2 * time.Hour)
	put(first)
	now = now.Add(-2 * time.Hour)
	again, second, mention, stranger, other, known := message(1, 2), message(1, 3), message(1, 4), message(1, 5), message(2, 2), message(2, 1)
	mention.mentions, stranger.member = []int64{7}, true
	put(again, second, other, mention, stranger, known)
	if !again.repeated || again.Seq != first.Seq || again.Time != first.Time {
		t.Errorf("the repeat is at %d, repeated %t, the first copy at %d", again.Seq, again.repeated, first.Seq)
	}
	if second.Seq != 3 || mention.Seq != 4 || second.Time != first.Time || second.repeated || mention.repeated {
		t.Errorf("what follows is at %d and %d, the time %d; want 3, 4, %d", second.Seq, mention.Seq, second.Time, first.Time)
	}
	if !stranger.refused || again.refused || second.refused || other.refused {
		t.Error("the wrong ones are refused")
	}
	if other.Seq != 2 || other.repeated || other.Time != now.Unix() || !known.repeated || known.Seq != 1 {
		t.Errorf("the other log's message is at %d, the time %d, its repeat at %d", other.Seq, other.Time, known.Seq)
	}
	stored, mentions := 0, 0
	if err := db.Read.QueryRow(`SELECT (SELECT count(*) FROM group_messages), (SELECT count(*) FROM group_at WHERE log = 1 AND seq = 4 AND uid = 7)`).Scan(&stored, &mentions); err != nil ||
		stored != 6 || mentions != 1 {
		t.Errorf("%d messages and %d mentions are stored, want 6 and 1: %v", stored, mentions, err)
	}
}
