package fanout_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imserver/internal/fanout"
)

// Ensure that who becomes a member while connected is offered every message
// after that, once and in order, however late its node learns of it, whether
// or not others are there, and with the bus not delivering yet.
func TestEnter(t *testing.T) {
	topic := fanout.Group(1)
	rapid.Check(t, func(t *rapid.T) {
		here := &wire{}
		hub := fanout.NewHub(here, slog.New(slog.DiscardHandler))
		rec := &record{newest: map[int64]int64{1: rapid.Int64Range(0, 3).Draw(t, "before")}}
		order := fanout.NewOrder(hub, rec, time.Millisecond, slog.New(slog.DiscardHandler))
		old := &listener{uid: 1}
		oldPlaces := map[int64]int64{1: rec.newest[1]}
		others := rapid.Bool().Draw(t, "others")
		if others {
			hub.Join(topic, old)
			if rapid.Bool().Draw(t, "settled") {
				order.Settle(context.Background())
			} else {
				oldPlaces = nil // what it is offered begins anywhere
			}
		}
		say := func(arrives bool) {
			log := rapid.SampledFrom([]int64{1, 2}).Draw(t, "log")
			rec.mu.Lock()
			rec.newest[log]++
			seq := rec.newest[log]
			rec.mu.Unlock()
			if arrives {
				hub.PublishLocal(topic, message(log, seq))
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "earlier") {
			say(others)
		}
		places := map[int64]int64{1: rec.newest[1], 2: rec.newest[2]} // the newcomer is a member from here on
		for range rapid.IntRange(0, 4).Draw(t, "in between") {
			say(others && rapid.Bool().Draw(t, "arrives"))
		}
		join := fanout.NewJoin(topic, 1, []fanout.Position{{Log: 1, Seq: places[1]}, {Log: 2, Seq: places[2]}})
		to, _, at := join.Joining()
		if to != topic {
			t.Fatalf("an event to join %s says %s", topic, to)
		}
		l := &listener{uid: 2}
		hub.Enter(topic, l, at, func() bool { return true })
		for range rapid.IntRange(0, 4).Draw(t, "later") {
			say(rapid.Bool().Draw(t, "arrives"))
		}
		here.reset() // nothing follows that would show that the last ones were lost
		for _, log := range []int64{1, 2} {
			l.gets(t, log, places[log]+1, rec.newest[log])
			if others && oldPlaces != nil {
				old.gets(t, log, oldPlaces[log]+1, rec.newest[log])
			}
		}
	})
}

// Ensure that a newcomer who has left meanwhile is not kept in the topic.
func TestEnterAndLeave(t *testing.T) {
	topic := fanout.Group(1)
	hub := fanout.NewHub(&wire{}, slog.New(slog.DiscardHandler))
	rec := &record{newest: map[int64]int64{1: 2}}
	order := fanout.NewOrder(hub, rec, time.Millisecond, slog.New(slog.DiscardHandler))
	hub.Join(topic, &listener{uid: 1})
	order.Settle(context.Background())
	rec.mu.Lock()
	rec.newest[1] = 3
	rec.mu.Unlock()
	hub.PublishLocal(topic, message(1, 3))
	asked := make(chan struct{})
	hub.Enter(topic, &listener{uid: 2}, []fanout.Position{{Log: 1, Seq: 2}}, func() bool { close(asked); return false })
	<-asked
	for deadline := time.Now().Add(5 * time.Second); hub.Subscribers(topic) != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is still there")
		}
	}
}

// Ensure that a join without places names its topic alone.
func TestJoinWithoutPlaces(t *testing.T) {
	to, turn, places := fanout.NewJoin(fanout.Group(7), 5, nil).Joining()
	if to != fanout.Group(7) || turn != 5 || len(places) != 0 {
		t.Errorf("%s %d %v", to, turn, places)
	}
	if to, turn, places = (&fanout.Event{}).Joining(); to != "" || turn != 0 || !slices.Equal(places, nil) {
		t.Errorf("nothing: %q %d %v", to, turn, places)
	}
}

// Ensure that of two words on a topic the later one holds, in whatever order
// they come, and that topics and users of a connection are told apart.
func TestLatest(t *testing.T) {
	var l fanout.Latest
	a, b := fanout.Group(1), fanout.Group(2)
	in := map[fanout.Topic]bool{}
	say := func(to fanout.Topic, turn int64, member bool) { l.Do(to, turn, func() { in[to] = member }) }
	say(a, 6, false)
	say(a, 5, true)
	say(b, 5, true)
	if in[a] || !in[b] {
		t.Errorf("it is in %v", in)
	}
	say(a, 7, true)
	say(a, 7, false) // the same again, by another way
	if !in[a] {
		t.Error("a later turn did not count")
	}
	l.Reset()
	say(a, 1, false)
	if in[a] {
		t.Error("after Reset an earlier turn did not count")
	}
}
