package message_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// rowsVar is the variable that says how many rows the large case has; 10000000
// takes some minutes and 3 GB on Postgres.
const rowsVar = "IMSERVER_BENCH_ROWS"

// fill writes total messages: a tenth of them ann's and ben's, the others
// those of ann with 1,000 others, spread over six days, in one statement.
func fill(b *testing.B, db *store.DB, w *world, ann, ben int64, total int) {
	b.Helper()
	series := `(SELECT generate_series(0, $1 - 1) AS i)`
	if db.Dialect == store.SQLite {
		series = `(WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < $1 - 1) SELECT i FROM g)`
	}
	start := w.clock().Add(-6 * 24 * time.Hour).Unix()
	step := int64(6*24*3600) << 20 / int64(total)
	pairs := `CASE WHEN g.i % 10 = 0 THEN CAST($3 AS BIGINT) ELSE CAST($3 AS BIGINT) + 1 + (g.i / 10) % 1000 END`
	_, err := db.Write.ExecContext(w.ctx, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body)
		SELECT CAST($2 AS BIGINT), `+pairs+`, CAST($4 AS BIGINT) + g.i * CAST($5 AS BIGINT), CASE WHEN g.i % 2 = 0 THEN CAST($2 AS BIGINT) ELSE `+pairs+` END, g.i, g.i, 1, 0,
		'[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters"}}]' FROM `+series+` g`,
		total, ann, ben, start<<20, step)
	if err == nil {
		_, err = db.Write.ExecContext(w.ctx, `INSERT INTO c2c_pairs (lo, hi, last_seq) SELECT lo, hi, max(seq) FROM c2c_messages GROUP BY lo, hi`)
	}
	if err == nil {
		_, err = db.Write.ExecContext(w.ctx, `INSERT INTO c2c_members (uid, peer) SELECT lo, hi FROM c2c_pairs UNION ALL SELECT hi, lo FROM c2c_pairs`)
	}
	if err == nil {
		_, err = db.Write.ExecContext(w.ctx, `ANALYZE`)
	}
	if err != nil {
		b.Fatal(err)
	}
}

func engines(b *testing.B, fn func(b *testing.B, db func(b *testing.B) *store.DB)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, func(b *testing.B) *store.DB { return storetest.SQLite(b) }) })
	b.Run("postgres", func(b *testing.B) { fn(b, func(b *testing.B) *store.DB { return storetest.Postgres(b) }) })
}

// BenchmarkHistoryPage reads pages of 15 at random places of a conversation
// that has a tenth of all rows: 10,000, and as many as IMSERVER_BENCH_ROWS
// says. It reports the 99th percentile in microseconds.
func BenchmarkHistoryPage(b *testing.B) {
	sizes := []int{10_000}
	if n, err := strconv.Atoi(os.Getenv(rowsVar)); err == nil {
		sizes = append(sizes, n)
	}
	engines(b, func(b *testing.B, open func(*testing.B) *store.DB) {
		for _, rows := range sizes {
			b.Run(fmt.Sprint("rows=", rows), func(b *testing.B) {
				w := MustWorld(b, open(b), message.Options{})
				ann, ben := w.login(b, "ann", 1), w.login(b, "ben", 1)
				fill(b, w.service.DB, w, ann.UID, ben.UID, rows)
				now := w.clock().Unix()
				var times []time.Duration
				page := func() {
					at := now - rand.Int64N(6*24*3600)
					began := time.Now()
					ben.must(b, "openim.getroammsg", object{"Peer_Account": "ann", "MaxCnt": 15, "LastMsgTime": at, "MsgKey": ""})
					times = append(times, time.Since(began))
				}
				for range 200 { // what an idle server would have in its caches
					page()
				}
				times = times[:0]
				for b.Loop() {
					page()
				}
				slices.Sort(times)
				b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
			})
		}
	})
}

// BenchmarkLogin is the sync of a user with 1,000 conversations, three of them
// unread: getmsg, and the list in its ten pages.
func BenchmarkLogin(b *testing.B) {
	engines(b, func(b *testing.B, open func(*testing.B) *store.DB) {
		w := MustWorld(b, open(b), message.Options{})
		ann, ben := w.login(b, "ann", 1), w.login(b, "ben", 1)
		for i := range 1000 {
			w.login(b, fmt.Sprint("peer", i), 1)
		}
		fill(b, w.service.DB, w, ann.UID, ben.UID, 100_000)
		if _, err := w.service.DB.Write.ExecContext(w.ctx, `UPDATE c2c_members SET read_seq = $1 WHERE uid = $2 AND peer > $3`,
			w.clock().Unix()<<20, ann.UID, ben.UID+3); err != nil {
			b.Fatal(err)
		}
		if items, _ := ann.list(b); len(items) != 1000 || len(ann.unread(b)) != 3 {
			b.Fatal(len(items), ann.unread(b))
		}
		for b.Loop() {
			ann.unread(b)
			ann.list(b)
		}
	})
}
