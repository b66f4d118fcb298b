package fanout_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imserver/internal/bus"
	"imserver/internal/fanout"
)

// wire is a bus whose publications the test carries by hand.
type wire struct {
	bus.Local
	handler bus.Handler
	reset   func()
	sent    [][]byte
}

func (w *wire) Listen(h bus.Handler, reset func()) { w.handler, w.reset = h, reset }
func (w *wire) Publish(_ string, payload []byte)   { w.sent = append(w.sent, payload) }

// record is the log of one group: sequences 1 to newest exist.
type record struct {
	mu     sync.Mutex
	newest map[int64]int64 // by log
	failed int             // the next reads fail
}

func (r *record) Heads(_ context.Context, topics []fanout.Topic) (list []fanout.Position, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for log, seq := range r.newest {
		list = append(list, fanout.Position{Topic: topics[0], Log: log, Seq: seq})
	}
	return list, nil
}

func (r *record) Fill(_ context.Context, _ fanout.Topic, log, first, last int64) (list []*fanout.Event, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed > 0 {
		r.failed--
		return nil, fmt.Errorf("the record is away")
	}
	for seq := first; seq <= min(last, r.newest[log]); seq++ {
		list = append(list, message(log, seq))
	}
	return list, nil
}

func message(log, seq int64) *fanout.Event {
	return &fanout.Event{Log: log, Seq: seq, Item: fmt.Appendf(nil, `{"log":%d,"seq":%d}`, log, seq)}
}

// listener keeps what it is offered.
type listener struct {
	mu   sync.Mutex
	uid  int64
	seqs map[int64][]int64
}

func (l *listener) Device() fanout.Device { return fanout.Device{UID: l.uid, Inst: 1} }
func (l *listener) Offer(e *fanout.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seqs == nil {
		l.seqs = map[int64][]int64{}
	}
	l.seqs[e.Log] = append(l.seqs[e.Log], e.Seq)
}

// gets waits until the listener has log's sequences first to last, and fails
// unless it has each once and in order.
func (l *listener) gets(t interface{ Fatalf(string, ...any) }, log, first, last int64) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		l.mu.Lock()
		got := append([]int64(nil), l.seqs[log]...)
		l.mu.Unlock()
		for i, seq := range got {
			if seq != first+int64(i) {
				t.Fatalf("log %d: got %v, want %d to %d", log, got, first, last)
			}
		}
		if int64(len(got)) == last-first+1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("log %d: got %v, want %d to %d", log, got, first, last)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Ensure that whatever the order, the duplicates and the losses on the way,
// every subscriber is offered each sequence exactly once and in order.
func TestOrder(t *testing.T) {
	topic := fanout.Group(1)
	rapid.Check(t, func(t *rapid.T) {
		here := &wire{}
		hub := fanout.NewHub(here, slog.New(slog.DiscardHandler))
		rec := &record{newest: map[int64]int64{1: rapid.Int64Range(0, 3).Draw(t, "before")}}
		order := fanout.NewOrder(hub, rec, time.Millisecond, slog.New(slog.DiscardHandler))
		before := rec.newest[1]
		a, b := &listener{uid: 1}, &listener{uid: 2}
		hub.Join(topic, a)
		order.Settle(context.Background())
		hub.Join(topic, b)
		rec.failed = rapid.IntRange(0, 2).Draw(t, "failed reads")
		logs := []int64{1, 2} // 2 begins now
		start := map[int64]int64{1: before, 2: 0}
		type flight struct{ log, seq int64 }
		var flying []flight
		for range rapid.IntRange(1, 25).Draw(t, "messages") {
			log := rapid.SampledFrom(logs).Draw(t, "log")
			rec.mu.Lock()
			rec.newest[log]++
			seq := rec.newest[log]
			rec.mu.Unlock()
			for range rapid.SampledFrom([]int{0, 1, 1, 1, 2}).Draw(t, "copies") {
				flying = append(flying, flight{log, seq})
			}
		}
		other := &wire{}
		sender := fanout.NewHub(other, slog.New(slog.DiscardHandler))
		for _, f := range rapid.Permutation(flying).Draw(t, "arrival") {
			if rapid.Bool().Draw(t, "own") {
				hub.PublishLocal(topic, message(f.log, f.seq)) // an event of this node
				continue
			}
			sender.Publish(topic, message(f.log, f.seq))
			here.handler(string(topic), other.sent[len(other.sent)-1])
		}
		here.reset() // the last ones may be lost: the bus was away
		for _, log := range logs {
			for _, l := range []*listener{a, b} {
				l.gets(t, log, start[log]+1, rec.newest[log])
			}
		}
	})
}

// Ensure that events that come before the place is known are offered all the
// same, in order: their subscriber may have asked for its state before them.
func TestOrderBeforePlace(t *testing.T) {
	here := &wire{}
	hub := fanout.NewHub(here, slog.New(slog.DiscardHandler))
	order := fanout.NewOrder(hub, &record{newest: map[int64]int64{1: 9}}, time.Hour, slog.New(slog.DiscardHandler))
	l := &listener{uid: 1}
	hub.Join(fanout.Group(1), l)
	for _, seq := range []int64{9, 7, 8} {
		hub.PublishLocal(fanout.Group(1), message(1, seq))
	}
	order.Settle(context.Background())
	hub.PublishLocal(fanout.Group(1), message(1, 10))
	l.gets(t, 1, 7, 10)
}

// Ensure that a gap too large to fill makes clients fetch their state anew,
// and that lists of an event cross the bus.
func TestOrderBounds(t *testing.T) {
	here := &wire{}
	hub := fanout.NewHub(here, slog.New(slog.DiscardHandler))
	rec := &record{newest: map[int64]int64{}}
	order := fanout.NewOrder(hub, rec, time.Millisecond, slog.New(slog.DiscardHandler))
	l, out := &listener{uid: 1}, &listener{uid: 2}
	hub.Join(fanout.Group(1), l)
	hub.Join(fanout.Group(1), out)
	order.Settle(context.Background())
	rec.mu.Lock()
	rec.newest[1] = 100_000
	rec.mu.Unlock()
	e := message(1, 100_000)
	e.Only = []int64{1, 7}
	hub.PublishLocal(fanout.Group(1), e)
	deadline := time.Now().Add(5 * time.Second)
	for {
		l.mu.Lock()
		n := len(l.seqs[0]) // a Resync stands outside the logs
		l.mu.Unlock()
		if n == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no resync")
		}
		time.Sleep(time.Millisecond)
	}
	next := message(1, 100_001)
	next.Not = []int64{2}
	sender := &wire{}
	fanout.NewHub(sender, slog.New(slog.DiscardHandler)).Publish(fanout.Group(1), next)
	here.handler(string(fanout.Group(1)), sender.sent[0])
	l.gets(t, 1, 100_001, 100_001)
	if out.seqs[1] != nil {
		t.Fatal("an account left out got the event")
	}
}

// Ensure that what is personal about an event reaches the accounts meant, on
// this node and on others.
func TestAlternative(t *testing.T) {
	here, there := &wire{}, &wire{}
	hub, sender := fanout.NewHub(here, slog.New(slog.DiscardHandler)), fanout.NewHub(there, slog.New(slog.DiscardHandler))
	var got [2]string
	for i := range got {
		hub.Join(fanout.Group(1), &taker{uid: int64(i), item: &got[i]})
	}
	e := &fanout.Event{Item: []byte("all"), AltItem: []byte("mine"), AltTo: []int64{1}}
	sender.Publish(fanout.Group(1), e)
	here.handler(string(fanout.Group(1)), there.sent[0])
	if got != [2]string{"all", "mine"} {
		t.Fatal("from another node:", got)
	}
	got = [2]string{}
	hub.Publish(fanout.Group(1), e)
	if got != [2]string{"all", "mine"} {
		t.Fatal("on this node:", got)
	}
}

type taker struct {
	uid  int64
	item *string
}

func (k *taker) Device() fanout.Device { return fanout.Device{UID: k.uid} }
func (k *taker) Offer(e *fanout.Event) { *k.item = string(e.Item) }
