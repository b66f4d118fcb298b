package message

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"

	"imserver/internal/store"
)

// reading is a read report on its way into c2c_members.
type reading struct {
	uid, peer int64
	upTo      int64 // a place of the pair's log; what stands beyond it is unread

	seq   int64 // the newest message up to there; set when moved
	moved bool  // it is news
}

// maxReadings is how many reports one statement records.
const maxReadings = 64

// record takes down a report. There are about as many as messages, and SQLite
// has one writer and a sync for every commit: there those of the same moment
// share one. Postgres' sessions share a sync by themselves.
func (s *Service) record(ctx context.Context, r *reading) error {
	if s.readings == nil {
		return s.recordAll(ctx, []*reading{r})
	}
	return s.readings.Do(ctx, r)
}

// recordAll takes down reports with one statement. Of several of one reader
// and peer the furthest counts, and the others are no news.
func (s *Service) recordAll(ctx context.Context, list []*reading) error {
	furthest := make(map[[2]int64]*reading, len(list))
	for _, r := range list {
		if key := [2]int64{r.uid, r.peer}; furthest[key] == nil || r.upTo > furthest[key].upTo {
			furthest[key] = r
		}
	}
	asked := make([]*reading, 0, len(furthest))
	for _, r := range furthest {
		asked = append(asked, r)
	}
	args := []any{s.Now().Unix()}
	for _, r := range store.Padded(asked) {
		lo, hi := pair(r.uid, r.peer)
		args = append(args, r.uid, r.peer, lo, hi, r.upTo)
	}
	type row struct{ uid, peer, seq int64 }
	moved, err := store.Collect(ctx, s.DB.Write, func(rows *sql.Rows, v *row) error { return rows.Scan(&v.uid, &v.peer, &v.seq) },
		readingQuery((len(args)-1)/5), args...)
	if err != nil {
		return err
	}
	for _, m := range moved {
		r := furthest[[2]int64{m.uid, m.peer}]
		r.seq, r.moved = m.seq, true
	}
	return nil
}

// readingQuery is the statement for so many reports. A position is the newest
// message's place and not the pair's: see lastOfPair.
func readingQuery(count int) string {
	rows := make([]string, count)
	for i := range rows {
		n := 2 + 5*i
		rows[i] = fmt.Sprintf("(CAST($%d AS BIGINT), CAST($%d AS BIGINT), CAST($%d AS BIGINT), CAST($%d AS BIGINT), CAST($%d AS BIGINT))", n, n+1, n+2, n+3, n+4)
	}
	return `WITH asked (reader, writer, lo, hi, up_to) AS (VALUES ` + strings.Join(rows, ", ") + `)
		UPDATE c2c_members SET read_seq = news.newest, read_at = $1
		FROM (SELECT a.reader, a.writer, (SELECT m.seq FROM c2c_messages m WHERE m.lo = a.lo AND m.hi = a.hi AND m.seq <= a.up_to
			ORDER BY m.seq DESC LIMIT 1) AS newest FROM asked a) AS news
		WHERE uid = news.reader AND peer = news.writer AND read_seq < news.newest
		RETURNING uid, peer, read_seq`
}

// tellings keeps what is told of one reader and peer from going back. Reports
// of one moment are recorded in one order and may get to run again in
// another: one that finds a further one told has nothing to tell.
type tellings struct {
	mu sync.Mutex
	on map[[2]int64]*telling // by reader and peer, while a report is on its way
}

type telling struct {
	reports int // guarded by tellings.mu
	mu      sync.Mutex
	told    int64
}

// enter opens a report's telling, which leave must close.
func (t *tellings) enter(r *reading) *telling {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := [2]int64{r.uid, r.peer}
	one := t.on[key]
	if one == nil {
		one = &telling{}
		t.on[key] = one
	}
	one.reports++
	return one
}

func (t *tellings) leave(r *reading, one *telling) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.reports--; one.reports == 0 {
		delete(t.on, [2]int64{r.uid, r.peer})
	}
}

// tell calls push, which must not block, unless something further was told.
func (t *telling) tell(seq int64, push func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq > t.told {
		t.told = seq
		push()
	}
}
