package liveroom_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
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

// today is a time after the epoch of sequences, which a test's own clock is
// not.
func today() time.Time { return time.Now().AddDate(30, 0, 0) }

// redis is a Redis that several nodes use and that can end: then calls fail,
// what is on the wires is lost, and so is its memory.
type redis struct {
	mu    sync.Mutex
	down  bool // guarded by mu, as all below
	local *liveroom.Local
	wires []*wire
}

func (r *redis) stop(forget bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = true
	if forget {
		r.local = liveroom.NewLocal(today)
	}
	for _, w := range r.wires {
		w.up, w.life = false, w.life+1
	}
}

// start makes calls work again; nodes hear each other again after a while of
// their own.
func (r *redis) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = false
	for _, w := range r.wires {
		life := w.life
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Millisecond, func() {
			r.mu.Lock()
			w.up = w.life == life
			up := w.up
			r.mu.Unlock()
			if !up {
				return
			}
			w.reset()
		})
	}
}

// view is the ledger as a node sees it: it counts as away for a second after
// it failed.
type view struct {
	*redis
	liveroom.Ledger // nil: only what is written below is called
	mu              sync.Mutex
	retry           time.Time
}

func (v *view) reach() (*liveroom.Local, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.redis.mu.Lock()
	defer v.redis.mu.Unlock()
	if time.Now().Before(v.retry) {
		return nil, liveroom.ErrAway
	}
	if v.down {
		v.retry = time.Now().Add(time.Second)
		return nil, liveroom.ErrAway
	}
	return v.local, nil
}

func (v *view) Append(e *liveroom.Event, floor int64, b liveroom.Bounds, done func(error)) {
	l, err := v.reach()
	if err != nil {
		done(err)
		return
	}
	l.Append(e, floor, b, done)
}

func (v *view) Restore(ctx context.Context, room int64, list []*liveroom.Event, b liveroom.Bounds) error {
	l, err := v.reach()
	if err != nil {
		return err
	}
	return l.Restore(ctx, room, list, b)
}

func (v *view) Recent(ctx context.Context, room, after int64) ([]*liveroom.Event, error) {
	l, err := v.reach()
	if err != nil {
		return nil, err
	}
	return l.Recent(ctx, room, after)
}

func (v *view) Renew(ctx context.Context, room int64, alive []liveroom.Presence, deadline time.Time) (liveroom.Census, error) {
	l, err := v.reach()
	if err != nil {
		return liveroom.Census{}, err
	}
	return l.Renew(ctx, room, alive, deadline)
}

func (v *view) Sweep(time.Time) {}

func (v *view) Keep(context.Context, []liveroom.Record) error { return nil }

// wire is a node's bus. Payloads take a while, each node's in their order.
type wire struct {
	bus.Local
	*redis
	up      bool // guarded by redis.mu, as life
	life    int
	handler bus.Handler
	reset   func()
	inbox   chan func()
}

func (w *wire) Listen(h bus.Handler, reset func()) { w.handler, w.reset = h, reset }

func (w *wire) Publish(topic string, payload []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.up {
		return
	}
	for _, other := range w.wires {
		if life := other.life; other != w && other.up {
			other.inbox <- func() {
				w.mu.Lock()
				reached := other.up && other.life == life
				w.mu.Unlock()
				if reached {
					other.handler(topic, payload)
				}
			}
		}
	}
}

func (w *wire) run() {
	for fn := range w.inbox {
		if rand.IntN(3) == 0 {
			time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		}
		fn()
	}
}

// audience is a watcher of a node.
type audience struct {
	t    *testing.T
	mu   sync.Mutex
	last int64            // guarded by mu, as all below
	seen map[string][]int // by speaker
}

func (*audience) Device() fanout.Device { return fanout.Device{UID: 1, Inst: 1} }

func (a *audience) Offer(f *fanout.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var items []struct {
		GroupMsgArray []struct {
			MsgSeq  int64
			Speaker string
			N       int
		}
	}
	if err := json.Unmarshal(append(append([]byte{'['}, f.Item...), ']'), &items); err != nil {
		a.t.Error(err)
		return
	}
	for _, item := range items {
		m := item.GroupMsgArray[0]
		if m.MsgSeq <= a.last {
			a.t.Errorf("%s %d has sequence %d after %d", m.Speaker, m.N, m.MsgSeq, a.last)
		}
		a.last = m.MsgSeq
		a.seen[m.Speaker] = append(a.seen[m.Speaker], m.N)
	}
}

// Ensure that every watcher has what was acknowledged, each once and each
// speaker's words in their order, while Redis ends and comes back, with its
// memory and without.
func TestRedisEnds(t *testing.T) {
	const nodes = 3
	apps := &config.App{SDKAppID: 1}
	apps.LiveRooms.RingEvents, apps.LiveRooms.RingAge, apps.LiveRooms.MemberTimeout = 1000, time.Minute, time.Minute
	db := storetest.SQLite(t)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for round := range 20 {
		r := &redis{local: liveroom.NewLocal(today)}
		var services []*liveroom.Service
		var watchers []*audience
		room := &group.Info{GID: 5, ID: "room", App: 1}
		for range nodes { // before the test's own clock runs: caches of directories never end
			w := &wire{redis: r, up: true}
			r.wires = append(r.wires, w)
			hub := fanout.NewHub(w, log)
			a := &audience{t: t, seen: map[string][]int{}}
			hub.Join(fanout.Room(room.GID), a)
			watchers = append(watchers, a)
			services = append(services, liveroom.New(liveroom.Options{Hub: hub, Groups: group.NewDirectory(db, hub), Ledger: &view{redis: r},
				Apps: func(uint32) *config.App { return apps }, Now: today, Log: log, Metrics: prometheus.NewRegistry()}))
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			for i, s := range services {
				r.wires[i].inbox = make(chan func(), 1000)
				s.OpenForTest(ctx, apps, room)
				go r.wires[i].run()
				go s.Run(ctx)
			}
			var wg sync.WaitGroup
			said := make([]int, nodes)
			for i, s := range services {
				wg.Go(func() {
					for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(time.Duration(5+rand.IntN(60)) * time.Millisecond) {
						e := &liveroom.Event{Room: room.GID, Kind: 3, Body: fmt.Appendf(nil, `"Speaker":"s%d","N":%d}`, i, said[i])}
						done := make(chan error, 1)
						s.PublishForTest(e, liveroom.NewBounds(1000, time.Minute, 0), func(err error) { done <- err })
						if err := <-done; err != nil {
							t.Error(err)
						}
						said[i]++
					}
				})
			}
			for range 3 {
				time.Sleep(time.Duration(500+rand.IntN(3000)) * time.Millisecond)
				r.stop(rand.IntN(3) > 0)
				time.Sleep(time.Duration(200+rand.IntN(2500)) * time.Millisecond)
				r.start()
			}
			wg.Wait()
			time.Sleep(10 * time.Second)
			cancel()
			synctest.Wait()
			for _, w := range r.wires {
				close(w.inbox)
			}
			for n, a := range watchers {
				a.mu.Lock()
				for i := range services {
					got := a.seen[fmt.Sprint("s", i)]
					for k := range max(len(got), said[i]) {
						if k >= len(got) || got[k] != k {
							t.Errorf("round %d: node %d of speaker %d: %d of %d, wrong from %d on: %v", round, n, i, len(got), said[i], k, got[max(0, min(k, len(got))-2):min(len(got), k+8)])
							break
						}
					}
				}
				a.mu.Unlock()
			}
		})
	}
}
