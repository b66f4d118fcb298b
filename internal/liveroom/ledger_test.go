package liveroom_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
	"imserver/internal/fanout"
	"imserver/internal/liveroom"
)

// eachLedger runs a test on every kind of ledger, with two nodes' views of it.
func eachLedger(t *testing.T, fn func(t *testing.T, here, there liveroom.Ledger)) {
	t.Run("local", func(t *testing.T) {
		l := liveroom.NewLocal(time.Now)
		fn(t, l, l)
	})
	t.Run("redis", func(t *testing.T) {
		c, o := bustest.Client(t), liveroom.RedisOptions{Prefix: bustest.Prefix()}
		fn(t, liveroom.NewRedis(c, o), liveroom.NewRedis(c, o))
	})
}

// eventually retries what a busy machine may time out.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never: " + what)
}

func mustAppend(t *testing.T, l liveroom.Ledger, e *liveroom.Event, floor int64, b liveroom.Bounds) {
	t.Helper()
	eventually(t, "an event is appended", func() bool {
		ch := make(chan error, 1)
		l.Append(e, floor, b, func(err error) { ch <- err })
		return <-ch == nil
	})
}

// Ensure sequences are unique and rise over nodes, name their predecessor, and
// are remembered in their order within the bounds.
func TestAppend(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, there liveroom.Ledger) {
		b := liveroom.NewBounds(50, time.Minute, 5)
		var mu sync.Mutex
		var events []*liveroom.Event
		var wg sync.WaitGroup
		for n, l := range []liveroom.Ledger{here, there} {
			wg.Go(func() {
				for i := range 40 {
					e := liveroom.NewNamed(1, 3, uint64(n), int64(i), fmt.Sprintf(`"n":"%d.%d"}`, n, i))
					mustAppend(t, l, e, 0, b)
					mu.Lock()
					events = append(events, e)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		slices.SortFunc(events, func(a, b *liveroom.Event) int { return int(a.Seq - b.Seq) })
		for i, e := range events {
			if i > 0 && (e.Seq == events[i-1].Seq || e.Prev != events[i-1].Seq) {
				t.Fatalf("event %d: seq %d prev %d after %d", i, e.Seq, e.Prev, events[i-1].Seq)
			}
			if age := time.Since(liveroom.TimeOf(e.Seq)).Abs(); age > time.Minute {
				t.Fatalf("a sequence is %v away from the clock", age)
			}
		}
		var list []*liveroom.Event
		eventually(t, "the newest are read", func() (ok bool) {
			var err error
			list, err = there.Recent(t.Context(), 1, events[59].Seq)
			return err == nil
		})
		if len(list) != 20 || list[0].Seq != events[60].Seq || string(list[19].Body) != string(events[79].Body) {
			t.Fatalf("%d events after the 60th", len(list))
		}
		all, _ := there.Recent(t.Context(), 1, 0)
		if len(all) != 50 {
			t.Errorf("%d are remembered, not 50", len(all))
		}
		newest, _ := here.Newest(t.Context(), 1, 3)
		if len(newest) != 3 || newest[2].Seq != events[79].Seq {
			t.Errorf("newcomers get %d", len(newest))
		}
		if err := here.Recalled(t.Context(), 1, events[79].Seq); err != nil {
			t.Error(err)
		}
		if newest, _ := here.Newest(t.Context(), 1, 1); len(newest) != 1 || newest[0].Seq != events[78].Seq {
			t.Error("a recalled message is shown to newcomers")
		}
	})
}

// Ensure a sequence is above what the asking node has seen, also in a ledger
// that knows nothing.
func TestFloor(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, _ liveroom.Ledger) {
		floor := liveroom.SeqAt(time.Now().Add(time.Hour)) + 17
		e := liveroom.NewNamed(1, 3, 1, 1, `}`)
		mustAppend(t, here, e, floor, liveroom.NewBounds(10, time.Minute, 0))
		if e.Seq <= floor || e.Seq%1024 != 0 {
			t.Errorf("%d is not above %d, or in a node's slot", e.Seq, floor)
		}
	})
}

// Ensure an event whose answer was lost is not appended twice.
func TestAppendAgain(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, there liveroom.Ledger) {
		b := liveroom.NewBounds(10, time.Minute, 0)
		mustAppend(t, here, liveroom.NewNamed(1, 3, 1, 1, `}`), 0, b)
		again := liveroom.NewNamed(1, 3, 1, 1, `}`)
		mustAppend(t, there, again, 0, b)
		if list, _ := here.Recent(t.Context(), 1, 0); again.Seq != 0 || len(list) != 1 {
			t.Errorf("sequence %d, %d events", again.Seq, len(list))
		}
	})
}

// Ensure accounts are present until they leave or are silent, on whatever node
// they give a sign of life, and that exactly one caller learns who is gone.
func TestPresence(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, there liveroom.Ledger) {
		ctx, now := t.Context(), time.Now()
		enter := func(l liveroom.Ledger, uid int64, at time.Time) (fresh bool, count int) {
			eventually(t, "an account enters", func() (ok bool) {
				var err error
				fresh, count, err = l.Enter(ctx, liveroom.NewPresence(uid, at, at), liveroom.NewRecord(fanout.Device{UID: uid, Inst: 1}, 1, 0))
				return err == nil
			})
			return fresh, count
		}
		enter(here, 10, now.Add(-50*time.Second))
		enter(here, 11, now.Add(-50*time.Second))
		if fresh, count := enter(there, 12, now); !fresh || count != 3 {
			t.Error("12 enters:", fresh, count)
		}
		if fresh, count := enter(there, 10, now); fresh || count != 3 {
			t.Error("10 enters again:", fresh, count)
		}
		if left, count, err := here.Leave(ctx, 1, 10, now.Add(-time.Second)); left || count != 3 || err != nil {
			t.Error("10 leaves although a later sign came:", left, count, err)
		}
		c, err := here.Renew(ctx, 1, nil, now.Add(-40*time.Second))
		if err != nil || c.Count() != 2 || !slices.Equal(c.Gone(), []int64{11}) {
			t.Error("11 is silent:", c, err)
		}
		if c, _ := there.Renew(ctx, 1, nil, now.Add(-40*time.Second)); len(c.Gone()) != 0 {
			t.Error("gone twice:", c.Gone())
		}
		if left, count, err := there.Leave(ctx, 1, 12, now.Add(time.Hour)); !left || count != 1 || err != nil {
			t.Error("12 leaves:", left, count, err)
		}
		c, err = here.Renew(ctx, 1, []liveroom.Presence{liveroom.NewPresence(13, now, now)}, now.Add(-time.Minute))
		if err != nil || c.Count() != 2 {
			t.Error("a renewed account that was lost:", c, err)
		}
		if err := there.Mark(ctx, 1, 13, "[1000]"); err != nil {
			t.Error(err)
		}
		list, err := here.Watchers(ctx, 1, 0, 10)
		if err != nil || len(list) != 2 || list[1].UID() != 13 || list[1].Marks() != "[1000]" {
			t.Error("watchers:", list, err)
		}
		found, err := here.Present(ctx, 1, []int64{10, 11, 13})
		if err != nil || len(found) != 2 {
			t.Error("present:", found, err)
		}
	})
}

// Ensure a device's rooms are found by another node.
func TestSeats(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, there liveroom.Ledger) {
		if _, local := here.(*liveroom.Local); local {
			t.Skip("a single node knows its devices")
		}
		d := fanout.Device{UID: 5, Inst: 6}
		if err := here.Keep(t.Context(), []liveroom.Record{liveroom.NewRecord(d, 1, 42), liveroom.NewRecord(d, 2, 43)}); err != nil {
			t.Fatal(err)
		}
		if err := here.Drop(t.Context(), d, 2); err != nil {
			t.Fatal(err)
		}
		list, err := there.Seats(context.Background(), d)
		if err != nil || len(list) != 1 || list[0] != liveroom.NewRecord(d, 1, 42) {
			t.Error(list, err)
		}
	})
}

// Ensure without Redis every call ends within its bound, with ErrAway.
func TestAway(t *testing.T) {
	c, err := bus.Dial("redis://127.0.0.1:1/0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	l := liveroom.NewRedis(c, liveroom.RedisOptions{})
	for i := range 3 {
		ch := make(chan error, 1)
		l.Append(liveroom.NewNamed(1, 3, 1, int64(i), `}`), 0, liveroom.NewBounds(10, time.Minute, 0), func(err error) { ch <- err })
		select {
		case err := <-ch:
			if err == nil || !strings.Contains(err.Error(), "away") {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("an append hangs")
		}
	}
	if _, err := l.Recent(t.Context(), 1, 0); err == nil {
		t.Error("read without Redis")
	}
}

// Ensure what a sender repeats, through whatever node, is appended once, and
// that the repeat learns the first one's sequence.
func TestRepeat(t *testing.T) {
	eachLedger(t, func(t *testing.T, here, there liveroom.Ledger) {
		b := liveroom.NewBounds(10, time.Minute, 5)
		said := func(node uint64, count, random int64) *liveroom.Event {
			e := liveroom.NewNamed(1, 3, node, count, `}`)
			e.Sender, e.Random, e.ClientSeq = 7, random, 9
			return e
		}
		first, again, other := said(1, 1, 5), said(2, 1, 5), said(2, 2, 6)
		mustAppend(t, here, first, 0, b)
		mustAppend(t, there, again, 0, b)
		mustAppend(t, there, other, 0, b)
		if again.Seq != first.Seq || !again.RepeatForTest() || first.RepeatForTest() {
			t.Errorf("a repeat has sequence %d, the first %d", again.Seq, first.Seq)
		}
		if other.Seq <= first.Seq || other.Prev != first.Seq || other.RepeatForTest() {
			t.Errorf("the next has sequence %d and follows %d", other.Seq, other.Prev)
		}
		if list, _ := here.Recent(t.Context(), 1, 0); len(list) != 2 {
			t.Errorf("%d events of 2", len(list))
		}
	})
}
