package message

import (
	"fmt"
	"testing"
	"time"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// BenchmarkAppend writes batches of several sizes to the logs of 20 pairs, the
// way the writers do. Beside the mean it reports the quickest batch, which is
// what the work costs when nothing else wants the machine.
func BenchmarkAppend(b *testing.B) {
	for _, engine := range []struct {
		name string
		open func(testing.TB) *store.DB
	}{{"sqlite", storetest.SQLite}, {"postgres", storetest.Postgres}} {
		b.Run(engine.name, func(b *testing.B) {
			db := engine.open(b)
			w := &writer{db: db, now: time.Now}
			if db.Dialect == store.SQLite {
				if err := w.prepare(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			number := int64(0)
			for _, size := range []int{1, 8, 20, 64, 256} {
				b.Run(fmt.Sprint("rows=", size), func(b *testing.B) {
					b.ReportAllocs()
					best := time.Hour
					for b.Loop() {
						drafts := make([]*draft, size)
						for i := range drafts {
							number++
							drafts[i] = &draft{Message: &Message{From: 1 + number%20, To: 100, MsgSeq: number, Random: number * 7919 % 2_000_000_000,
								ClientTime: 1, Body: []byte(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters or more"}}]`)}}
						}
						began := time.Now()
						if err := w.append(b.Context(), drafts); err != nil {
							b.Fatal(err)
						}
						best = min(best, time.Since(began))
					}
					b.ReportMetric(float64(best.Microseconds()), "best-µs")
				})
			}
		})
	}
}
