package liveroom_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/bus"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/liveroom"
	"imserver/internal/store/storetest"
)

// mustService makes a service that has a ledger and a bus of one node, and an
// empty store.
func mustService(t *testing.T, l liveroom.Ledger) *liveroom.Service {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	hub := fanout.NewHub(bus.Local{}, log)
	return liveroom.New(liveroom.Options{Hub: hub, Groups: group.NewDirectory(storetest.SQLite(t), hub), Ledger: l, Apps: func(uint32) *config.App { return nil },
		Now: time.Now, Log: log, Metrics: prometheus.NewRegistry()})
}

// Ensure that whatever the order in which events come, with some lost and some
// twice, each is handed out once and in order.
func TestOrder(t *testing.T) {
	ledger := liveroom.NewLocal(time.Now)
	s := mustService(t, ledger)
	synctest.Test(t, func(t *testing.T) {
		b := liveroom.NewBounds(1000, time.Minute, 0)
		for round := range 20 {
			room := int64(round + 1)
			var mu sync.Mutex
			var got []int64
			f := liveroom.FollowForTest(s, room, b, func(e *liveroom.Event) {
				mu.Lock()
				got = append(got, e.Seq)
				mu.Unlock()
			})
			var all []*liveroom.Event
			for i := range 60 {
				e := liveroom.NewNamed(room, 3, 99, int64(i), `}`)
				ledger.Append(e, 0, b, func(error) {})
				all = append(all, e)
				time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
			}
			f.TakeForTest(all[0]) // the place is known
			coming := slices.Clone(all[1:])
			rand.Shuffle(len(coming), func(i, j int) {
				if d := i - j; d > -8 && d < 8 {
					coming[i], coming[j] = coming[j], coming[i]
				}
			})
			for i, e := range coming {
				switch {
				case rand.IntN(10) == 0 && i < len(coming)-1: // lost on the way
				case rand.IntN(10) == 0:
					f.TakeForTest(e)
					f.TakeForTest(e)
				default:
					f.TakeForTest(e)
				}
				if rand.IntN(15) == 0 {
					time.Sleep(300 * time.Millisecond)
				}
			}
			f.TakeForTest(all[len(all)-1])
			time.Sleep(time.Second)
			mu.Lock()
			want := make([]int64, len(all))
			for i, e := range all {
				want[i] = e.Seq
			}
			if !slices.Equal(got, want) {
				t.Fatalf("round %d: %d events of %d, or not in order", round, len(got), len(want))
			}
			mu.Unlock()
		}
	})
}

// at returns another node's event at a place.
func at(count, seq, prev int64) *liveroom.Event {
	e := liveroom.NewNamed(1, 3, 99, count, `}`)
	e.Seq, e.Prev = seq, prev
	return e
}

// Ensure an event that the ledger no longer has does not hold up its successors.
func TestGivenUp(t *testing.T) {
	s := mustService(t, liveroom.NewLocal(time.Now))
	synctest.Test(t, func(t *testing.T) {
		var got []int64
		f := liveroom.FollowForTest(s, 1, liveroom.NewBounds(10, time.Minute, 0), func(e *liveroom.Event) { got = append(got, e.Seq) })
		first := liveroom.SeqAt(time.Now())
		f.TakeForTest(at(1, first, 0))
		f.TakeForTest(at(2, first+4096, first+2048))
		if f.NewestForTest() != first {
			t.Fatal("an event overtook its predecessor")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got) != 2 {
			t.Fatal("the successor of a lost event never came")
		}
	})
}

// Ensure what a node numbers by itself is unique beside what others number,
// above what it has seen, and not handed out again under the ledger's number.
func TestOwnNumbers(t *testing.T) {
	s := mustService(t, liveroom.NewLocal(time.Now))
	var got []*liveroom.Event
	f := liveroom.FollowForTest(s, 1, liveroom.NewBounds(100, time.Minute, 0), func(e *liveroom.Event) { got = append(got, e) })
	last := int64(0)
	for i := range 20 {
		e := liveroom.NewNamed(1, 3, s.NodeForTest(), int64(i+1), `}`)
		f.NumberForTest(e)
		if e.Seq <= last || e.Seq%1024 == 0 {
			t.Fatalf("%d after %d", e.Seq, last)
		}
		last = e.Seq
	}
	again := liveroom.NewNamed(1, 3, s.NodeForTest(), 7, `}`)
	again.Seq, again.Prev = liveroom.NextSeq(last, time.Now(), 0), last
	for range 2 { // by itself, and when a gap is read
		f.TakeForTest(again)
	}
	if len(got) != 20 {
		t.Fatal("an event was handed out twice")
	}
	f.TakeForTest(at(1, again.Seq+1024, again.Seq))
	if len(got) != 21 {
		t.Fatal("the place in the ledger is not known")
	}
}

// Ensure that a node which has numbered by itself sees that it lacks an event
// of another node, although that one's number is below its own.
func TestGapBelowOwnNumbers(t *testing.T) {
	ledger := liveroom.NewLocal(time.Now)
	s := mustService(t, ledger)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var counts, seqs []int64
		b := liveroom.NewBounds(100, time.Minute, 0)
		f := liveroom.FollowForTest(s, 1, b, func(e *liveroom.Event) {
			mu.Lock()
			defer mu.Unlock()
			counts, seqs = append(counts, e.CountForTest()), append(seqs, e.Seq)
		})
		theirs := make([]*liveroom.Event, 4)
		for i := range theirs {
			theirs[i] = liveroom.NewNamed(1, 3, 99, int64(i), `}`)
			ledger.Append(theirs[i], 0, b, func(error) {})
		}
		f.TakeForTest(theirs[0])
		time.Sleep(time.Second)
		f.NumberForTest(liveroom.NewNamed(1, 3, s.NodeForTest(), 100, `}`))
		f.TakeForTest(theirs[3]) // the two between were lost on the way
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if want := []int64{0, 100, 1, 2, 3}; !slices.Equal(counts, want) {
			t.Errorf("watchers have %v, not %v", counts, want)
		}
		if !slices.IsSorted(seqs) {
			t.Errorf("the places of watchers go back: %v", seqs)
		}
	})
}

// hiccup is a ledger that cannot be read for the next few times.
type hiccup struct {
	liveroom.Ledger
	left atomic.Int32
}

func (h *hiccup) Recent(ctx context.Context, room, after int64) ([]*liveroom.Event, error) {
	if h.left.Add(-1) >= 0 {
		return nil, liveroom.ErrAway
	}
	return h.Ledger.Recent(ctx, room, after)
}

// Ensure that a gap is not given up because the ledger counts as away for a
// moment: what waits behind it keeps its order. When the ledger stays away,
// what waits is handed out, and what was missing once it can be read.
func TestGapWhileAway(t *testing.T) {
	for _, c := range []struct {
		away    int32
		inOrder bool
	}{{3, true}, {50, false}} {
		ledger := &hiccup{Ledger: liveroom.NewLocal(time.Now)}
		s := mustService(t, ledger)
		synctest.Test(t, func(t *testing.T) {
			b := liveroom.NewBounds(1000, time.Minute, 0)
			var mu sync.Mutex
			var got, want []int64
			f := liveroom.FollowForTest(s, 1, b, func(e *liveroom.Event) {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, e.CountForTest())
			})
			var all []*liveroom.Event
			for i := range 5 {
				e := liveroom.NewNamed(1, 3, 99, int64(i), `}`)
				ledger.Append(e, 0, b, func(error) {})
				all, want = append(all, e), append(want, int64(i))
			}
			f.TakeForTest(all[0])
			ledger.left.Store(c.away)
			f.TakeForTest(all[4]) // the others were lost on the way
			time.Sleep(15 * time.Second)
			ledger.left.Store(0)
			f.LookAgainForTest(all[4].Seq)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if slices.Equal(got, want) != c.inOrder {
				t.Errorf("away %d times: %v, of %v", c.away, got, want)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("away %d times: %v are there, of %v", c.away, got, want)
			}
		})
	}
}
