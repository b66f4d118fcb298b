package message_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// BenchmarkAppend sends messages: of 200 senders at once, each waiting for its
// answer, and of one alone. What stands beside them is measured in the same
// run: rows of the same kind, one a commit, by as many sessions as bring most.
// The goals are twice as many messages as rows, and for one alone a time near
// that of one commit (docs/performance.md).
func BenchmarkAppend(b *testing.B) {
	b.Run("postgres", func(b *testing.B) {
		url := storetest.PostgresURL(b)
		db, err := store.Open(b.Context(), store.Options{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = db.Close() })
		if _, err := db.Migrate(b.Context()); err != nil {
			b.Fatal(err)
		}
		pool, err := pgxpool.New(b.Context(), url+"&pool_max_conns=20")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(pool.Close)
		appending(b, db, []int{20, 5}, func(ctx context.Context, i int64) error {
			_, err := pool.Exec(ctx, bareRow, i)
			return err
		})
	})
	b.Run("sqlite", func(b *testing.B) {
		db := storetest.SQLite(b)
		appending(b, db, []int{1}, func(ctx context.Context, i int64) error {
			_, err := db.Write.ExecContext(ctx, bareRow, i)
			return err
		})
	})
}

const bareRow = `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body) VALUES (1, 2, $1, 1, $1, $1, 1, 0,
	'[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters"}}]')`

func appending(b *testing.B, db *store.DB, sessions []int, bare func(context.Context, int64) error) {
	w := MustWorld(b, db, message.Options{})
	if db.Dialect == store.Postgres {
		partitions(b, db, w)
	}
	var numbers atomic.Int64
	numbers.Store(w.clock().Unix() << 20)
	insert := func() { must(b, bare(b.Context(), numbers.Add(1))) }
	for _, senders := range []int{200, 1} {
		pairs := make([][2]*device, senders)
		for i := range pairs {
			pairs[i] = [2]*device{w.offline(b, fmt.Sprint("from", senders, i)), w.offline(b, fmt.Sprint("to", senders, i))}
		}
		b.Run(fmt.Sprint("senders=", senders), func(b *testing.B) {
			most, one := 0.0, 0.0
			measure := func() {
				for _, n := range sessions {
					most = max(most, rate(n, time.Second, func(int) { insert() }))
				}
				one = median(200, insert)
			}
			measure()
			send := func(i int) { sendText(b, pairs[i][0], pairs[i][1].name, numbers.Add(1)&0xffffffff) }
			if senders == 1 {
				lone := median(max(200, b.N), func() { send(0) })
				measure()
				b.ReportMetric(lone*1e6, "µs/message")
				b.ReportMetric(one*1e6, "µs/bare-commit")
				b.ReportMetric(lone/one, "ratio")
				return
			}
			got := rate(senders, 4*time.Second, send)
			measure() // again: what else the machine does changes
			b.ReportMetric(got, "messages/s")
			b.ReportMetric(most, "bare-commits/s")
			b.ReportMetric(got/most, "ratio")
		})
	}
}

// offline is login without a connection: nobody decodes what is pushed.
func (w *world) offline(b *testing.B, user string) *device {
	a, _, err := w.accounts.Ensure(w.ctx, w.app.SDKAppID, user)
	must(b, err)
	return &device{Device: fanout.Device{UID: a.UID, Inst: 1}, world: w, name: user, table: w.table}
}

// sendText sends a message with the least that a client does itself.
func sendText(b *testing.B, from *device, to string, n int64) {
	call := &command.Call{Name: "openim.sendmsg", Kind: command.Users, App: from.world.app, UserID: from.name, UID: from.UID, Inst: from.Inst}
	body := fmt.Appendf(nil, `{"To_Account":%q,"MsgSeq":%d,"MsgRandom":%d,"MsgClientTime":1,"OfflinePushInfo":{"PushFlag":0,"Title":"","Desc":""},"MsgBody":
		[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters"}}]}`, to, n, n)
	v, err := from.table.Run(b.Context(), call, body)
	_, err = command.Await(b.Context(), v, err)
	must(b, err)
}

// rate is how often n at once can do fn, a second.
func rate(n int, d time.Duration, fn func(i int)) float64 {
	var count atomic.Int64
	var wg sync.WaitGroup
	runtime.GC()
	began := time.Now()
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Since(began) < d {
				fn(i)
				count.Add(1)
			}
		}()
	}
	wg.Wait()
	return float64(count.Load()) / time.Since(began).Seconds()
}

// median is how long fn takes, seconds.
func median(n int, fn func()) float64 {
	times := make([]float64, n)
	for i := range times {
		began := time.Now()
		fn()
		times[i] = time.Since(began).Seconds()
	}
	slices.Sort(times)
	return times[n/2]
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Error(err)
	}
}
