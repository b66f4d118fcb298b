package message_test

import (
	"fmt"
	"log/slog"
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
// those of ann with 1,000 others, spread over six days. On Postgres they lie in
// the partitions of their days, as on a server, and indexes are made last.
func fill(b *testing.B, db *store.DB, w *world, ann, ben int64, total int) {
	b.Helper()
	start := w.clock().Add(-6 * 24 * time.Hour).Unix()
	step := int64(6*24*3600) << 20 / int64(total)
	var statements []string // a server never makes statistics on SQLite
	series := `(WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < $1 - 1) SELECT i FROM g)`
	if db.Dialect == store.Postgres {
		series = `(SELECT generate_series(0, $1 - 1) AS i)`
		partitions(b, db, w)
		if _, err := db.Write.ExecContext(w.ctx, `ALTER TABLE c2c_messages DROP CONSTRAINT c2c_messages_pkey; DROP INDEX c2c_messages_numbers`); err != nil {
			b.Fatal(err)
		}
		statements = []string{`ALTER TABLE c2c_messages ADD PRIMARY KEY (lo, hi, seq) INCLUDE (sender, flags)`,
			`CREATE INDEX c2c_messages_numbers ON c2c_messages (lo, hi, msg_seq, random)`, `VACUUM (ANALYZE) c2c_messages`}
	}
	pairs := `CASE WHEN g.i % 10 = 0 THEN CAST($3 AS BIGINT) ELSE CAST($3 AS BIGINT) + 1 + (g.i / 10) % 1000 END`
	_, err := db.Write.ExecContext(w.ctx, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body)
		SELECT CAST($2 AS BIGINT), `+pairs+`, CAST($4 AS BIGINT) + g.i * CAST($5 AS BIGINT), CASE WHEN g.i % 2 = 0 THEN CAST($2 AS BIGINT) ELSE `+pairs+` END, g.i, g.i, 1, 0,
		'[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters"}}]' FROM `+series+` g`,
		total, ann, ben, start<<20, step)
	for _, s := range append(statements, `INSERT INTO c2c_pairs (lo, hi, last_seq) SELECT lo, hi, max(seq) FROM c2c_messages GROUP BY lo, hi`,
		`INSERT INTO c2c_members (uid, peer) SELECT lo, hi FROM c2c_pairs UNION ALL SELECT hi, lo FROM c2c_pairs`) {
		if err == nil {
			_, err = db.Write.ExecContext(w.ctx, s)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

// partitions makes the partitions that a server which ran all week has.
func partitions(b *testing.B, db *store.DB, w *world) {
	b.Helper()
	for day := -7; day <= 0; day += 3 {
		at := func() time.Time { return w.clock().AddDate(0, 0, day) }
		keeper := store.NewRetention(db, at, slog.New(slog.DiscardHandler), store.LogTable{Name: "c2c_messages", Column: "seq",
			Bound: func(t time.Time) int64 { return t.Unix() << 20 }})
		if err := keeper.Prepare(w.ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func engines(b *testing.B, fn func(b *testing.B, db func(b *testing.B) *store.DB)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, func(b *testing.B) *store.DB { return storetest.SQLite(b) }) })
	b.Run("postgres", func(b *testing.B) { fn(b, func(b *testing.B) *store.DB { return storetest.Postgres(b) }) })
}

// BenchmarkHistoryPage reads pages of 15 at random places of a conversation
// that has a tenth of all rows: 10,000, and as many as IMSERVER_BENCH_ROWS
// says. The two take turns, so that what else the machine does weighs on both
// alike. It reports percentiles in microseconds, and the large one's 99th as a
// multiple of the small one's.
func BenchmarkHistoryPage(b *testing.B) {
	rows := 100_000
	if n, err := strconv.Atoi(os.Getenv(rowsVar)); err == nil {
		rows = n
	}
	engines(b, func(b *testing.B, open func(*testing.B) *store.DB) {
		small, large := newReader(b, open(b), 10_000), newReader(b, open(b), rows)
		for range 2000 { // what a server that runs would have in its caches
			small.page(b)
			large.page(b)
		}
		small.times, large.times = nil, nil
		for b.Loop() {
			small.page(b)
			large.page(b)
		}
		for _, r := range []*reader{small, large} {
			b.ReportMetric(r.percentile(50), fmt.Sprintf("p50-µs/%d-rows", r.rows))
			b.ReportMetric(r.percentile(99), fmt.Sprintf("p99-µs/%d-rows", r.rows))
		}
		b.ReportMetric(large.percentile(99)/small.percentile(99), "p99-ratio")
	})
}

// reader asks for pages of a conversation.
type reader struct {
	world *world
	ben   *device
	rows  int
	times []time.Duration
}

func newReader(b *testing.B, db *store.DB, rows int) *reader {
	w := MustWorld(b, db, message.Options{})
	ann := w.login(b, "ann", 1)
	r := &reader{world: w, ben: w.login(b, "ben", 1), rows: rows}
	fill(b, db, w, ann.UID, r.ben.UID, rows)
	return r
}

func (r *reader) page(b *testing.B) {
	at := r.world.clock().Unix() - rand.Int64N(6*24*3600)
	began := time.Now()
	r.ben.must(b, "openim.getroammsg", object{"Peer_Account": "ann", "MaxCnt": 15, "LastMsgTime": at, "MsgKey": ""})
	r.times = append(r.times, time.Since(began))
}

func (r *reader) percentile(p int) float64 {
	slices.Sort(r.times)
	return float64(r.times[len(r.times)*p/100].Microseconds())
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
