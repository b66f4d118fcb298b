package fanout_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"imserver/internal/bus"
	"imserver/internal/fanout"
)

// wireBus joins hubs in one process as a bus joins nodes.
type wireBus struct {
	mu    *sync.Mutex
	peers *[]*wireBus
	subs  map[string]bool
	recv  bus.Handler
}

func (b *wireBus) Publish(topic string, payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range *b.peers {
		if p != b && p.subs[topic] {
			p.recv(topic, payload)
		}
	}
}
func (b *wireBus) Subscribe(t string)             { b.mu.Lock(); b.subs[t] = true; b.mu.Unlock() }
func (b *wireBus) Unsubscribe(t string)           { b.mu.Lock(); delete(b.subs, t); b.mu.Unlock() }
func (b *wireBus) Listen(h bus.Handler, _ func()) { b.recv = h }
func (b *wireBus) Ping(context.Context) error     { return nil }
func (b *wireBus) Settle(context.Context) error   { return nil }
func (b *wireBus) Close() error                   { return nil }
func (b *wireBus) Up() bool                       { return true }

func MustHubs(t *testing.T, n int) []*fanout.Hub {
	t.Helper()
	var mu sync.Mutex
	var peers []*wireBus
	var hubs []*fanout.Hub
	for range n {
		b := &wireBus{mu: &mu, peers: &peers, subs: map[string]bool{}}
		peers = append(peers, b)
		hubs = append(hubs, fanout.NewHub(b, slog.New(slog.DiscardHandler)))
	}
	return hubs
}

type device struct {
	id  fanout.Device
	got []string
}

func (d *device) Device() fanout.Device { return d.id }
func (d *device) Offer(e *fanout.Event) { d.got = append(d.got, string(e.Item)) }

// Ensure an event reaches its topic's devices on every node once, and nobody
// it does not concern.
func TestPublish(t *testing.T) {
	hubs := MustHubs(t, 2)
	a1 := &device{id: fanout.Device{UID: 1, Inst: 1}}
	a2 := &device{id: fanout.Device{UID: 1, Inst: 2}}
	b := &device{id: fanout.Device{UID: 2, Inst: 1}}
	g := fanout.Group(7)
	hubs[0].Join(g, a1)
	hubs[1].Join(g, a2)
	hubs[1].Join(g, b)

	hubs[0].Publish(g, &fanout.Event{Item: []byte("all")})
	hubs[0].Publish(g, &fanout.Event{Item: []byte("not a1"), Except: a1.id})
	hubs[1].Publish(g, &fanout.Event{Item: []byte("only user 1"), Only: []int64{1}})
	hubs[1].Publish(g, &fanout.Event{Item: []byte("only a1"), Target: a1.id})
	hubs[0].Publish(fanout.Group(8), &fanout.Event{Item: []byte("other group")})
	hubs[1].Leave(g, b)
	hubs[0].Publish(g, &fanout.Event{Item: []byte("after b left")})

	for _, tt := range []struct {
		d    *device
		want []string
	}{
		{a1, []string{"all", "only user 1", "only a1", "after b left"}},
		{a2, []string{"all", "not a1", "only user 1", "after b left"}},
		{b, []string{"all", "not a1"}},
	} {
		if len(tt.d.got) != len(tt.want) {
			t.Errorf("%v got %q, want %q", tt.d.id, tt.d.got, tt.want)
			continue
		}
		for i := range tt.want {
			if tt.d.got[i] != tt.want[i] {
				t.Errorf("%v got %q, want %q", tt.d.id, tt.d.got, tt.want)
			}
		}
	}
	hubs[1].Leave(g, a2)
	if n := hubs[1].Subscribers(g); n != 0 {
		t.Errorf("%d subscribers left", n)
	}
}

func BenchmarkPublishLocal(b *testing.B) {
	hub := fanout.NewHub(bus.Local{}, slog.New(slog.DiscardHandler))
	for i := range 1000 {
		hub.Join(fanout.Group(1), &counter{fanout.Device{UID: int64(i + 1), Inst: 1}, 0})
	}
	e := &fanout.Event{Item: []byte(`{"Event":3}`)}
	b.ReportAllocs()
	for b.Loop() {
		hub.Publish(fanout.Group(1), e)
	}
}

type counter struct {
	id fanout.Device
	n  int
}

func (c *counter) Device() fanout.Device { return c.id }
func (c *counter) Offer(*fanout.Event)   { c.n++ }

// Ensure that an event says when it goes to a crowd, but not when it names the
// few that it is for.
func TestCrowd(t *testing.T) {
	hub := MustHubs(t, 1)[0]
	few, many := fanout.Group(1), fanout.Group(2)
	for i := range 200 {
		d := &device{id: fanout.Device{UID: int64(i + 1), Inst: 1}}
		hub.Join(many, d)
		if i < 5 {
			hub.Join(few, d)
		}
	}
	for _, c := range []struct {
		topic fanout.Topic
		event *fanout.Event
		want  bool
	}{
		{few, &fanout.Event{}, false}, {many, &fanout.Event{}, true}, {many, &fanout.Event{Only: []int64{1, 2}}, false},
	} {
		if hub.Publish(c.topic, c.event); c.event.Crowd() != c.want {
			t.Errorf("an event on %s, for %d: a crowd's is %v", c.topic, c.event.Only, c.event.Crowd())
		}
	}
}
