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
		join := fanout.NewJoin(topic, []fanout.Position{{Log: 1, Seq: places[1]}, {Log: 2, Seq: places[2]}})
		to, at := join.Joining()
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
	to, places := fanout.NewJoin(fanout.Group(7), nil).Joining()
	if to != fanout.Group(7) || len(places) != 0 {
		t.Errorf("%s %v", to, places)
	}
	if to, places = (&fanout.Event{}).Joining(); to != "" || !slices.Equal(places, nil) {
		t.Errorf("nothing: %q %v", to, places)
	}
}
