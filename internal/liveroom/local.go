package liveroom

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"imserver/internal/fanout"
)

// Local is the ledger of a single node.
type Local struct {
	now func() time.Time

	mu    sync.Mutex
	rooms map[int64]*localRoom // guarded by mu
	// seats are the devices of before the last start, until seatsEnd.
	seats    map[fanout.Device][]record // guarded by mu
	seatsEnd time.Time
}

type localRoom struct {
	last    int64
	recent  ring
	newest  []*Event
	present map[int64]*localWatcher
	used    time.Time
	bounds  bounds
}

type localWatcher struct {
	watcher
	alive time.Time
}

// NewLocal makes an empty ledger.
func NewLocal(now func() time.Time) *Local {
	return &Local{now: now, rooms: map[int64]*localRoom{}}
}

var _ Ledger = (*Local)(nil)

func (l *Local) roomLocked(id int64) *localRoom {
	r := l.rooms[id]
	if r == nil {
		r = &localRoom{present: map[int64]*localWatcher{}}
		l.rooms[id] = r
	}
	r.used = l.now()
	return r
}

// Append implements [Ledger].
func (l *Local) Append(e *Event, floor int64, b bounds, done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock() // done too: events of a room are told in their order
	r, now := l.roomLocked(e.Room), l.now()
	if r.recent.has(e) {
		done(nil)
		return
	}
	if e.message() {
		if first := r.recent.sent(e.Sender, e.Random, e.ClientSeq); first != nil {
			e.Seq, e.repeat = first.Seq, true
			done(nil)
			return
		}
	}
	e.Prev = r.last
	e.Seq = nextSeq(max(r.last, floor), now, 0)
	r.last, r.bounds = e.Seq, b
	r.recent.add(e, b, now)
	if e.Kind == eventMessage && b.newcomers > 0 {
		r.newest = append(r.newest, e)
		if over := len(r.newest) - b.newcomers; over > 0 {
			r.newest = slices.Delete(r.newest, 0, over)
		}
	}
	done(nil)
}

// Restore does nothing: this ledger loses nothing that the node has.
func (l *Local) Restore(context.Context, int64, []*Event, bounds) error { return nil }

// Recent implements [Ledger].
func (l *Local) Recent(_ context.Context, room, after int64) ([]*Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[room]; r != nil {
		r.recent.trim(r.bounds, l.now())
		return slices.Clone(r.recent.after(after)), nil
	}
	return nil, nil
}

// Newest implements [Ledger].
func (l *Local) Newest(_ context.Context, room int64, n int) ([]*Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[room]; r != nil {
		return slices.Clone(r.newest[max(0, len(r.newest)-n):]), nil
	}
	return nil, nil
}

// Recalled implements [Ledger].
func (l *Local) Recalled(_ context.Context, room, seq int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[room]; r != nil {
		r.newest = slices.DeleteFunc(r.newest, func(e *Event) bool { return e.Seq == seq })
	}
	return nil
}

// Enter implements [Ledger].
func (l *Local) Enter(_ context.Context, p presence, seat record) (bool, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.roomLocked(seat.room)
	w := r.present[p.uid]
	fresh := w == nil
	if fresh {
		w = &localWatcher{watcher: watcher{uid: p.uid, joined: p.joined.UnixMilli()}}
		r.present[p.uid] = w
	}
	w.alive = p.alive
	return fresh, len(r.present), nil
}

// Leave implements [Ledger].
func (l *Local) Leave(_ context.Context, room, uid int64, alive time.Time) (bool, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.roomLocked(room)
	w := r.present[uid]
	left := w != nil && !w.alive.After(alive)
	if left {
		delete(r.present, uid)
	}
	return left, len(r.present), nil
}

// Renew implements [Ledger].
func (l *Local) Renew(_ context.Context, room int64, alive []presence, deadline time.Time) (c census, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.roomLocked(room)
	for _, p := range alive {
		w := r.present[p.uid]
		if w == nil {
			w = &localWatcher{watcher: watcher{uid: p.uid, joined: p.joined.UnixMilli()}}
			r.present[p.uid] = w
		}
		if p.alive.After(w.alive) {
			w.alive = p.alive
		}
	}
	for uid, w := range r.present {
		if w.alive.Before(deadline) {
			delete(r.present, uid)
			c.gone = append(c.gone, uid)
		}
	}
	c.count, c.last = len(r.present), r.last
	return c, nil
}

// Present implements [Ledger].
func (l *Local) Present(_ context.Context, room int64, uids []int64) (map[int64]watcher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[int64]watcher{}
	if r := l.rooms[room]; r != nil {
		for _, uid := range uids {
			if w := r.present[uid]; w != nil {
				found[uid] = w.watcher
			}
		}
	}
	return found, nil
}

// Watchers implements [Ledger].
func (l *Local) Watchers(_ context.Context, room, from int64, limit int) ([]watcher, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[room]
	if r == nil {
		return nil, nil
	}
	var list []watcher
	for _, w := range r.present {
		if w.joined >= from && w.uid > 0 {
			list = append(list, w.watcher)
		}
	}
	slices.SortFunc(list, func(a, b watcher) int {
		return cmp.Or(cmp.Compare(a.joined, b.joined), cmp.Compare(a.uid, b.uid))
	})
	return list[:min(len(list), limit)], nil
}

// Mark implements [Ledger].
func (l *Local) Mark(_ context.Context, room, uid int64, marks string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[room]; r != nil && r.present[uid] != nil {
		r.present[uid].marks = marks
	}
	return nil
}

// Keep does nothing: the node itself knows its devices.
func (l *Local) Keep(context.Context, []record) error { return nil }

// Drop implements [Ledger].
func (l *Local) Drop(_ context.Context, d fanout.Device, room int64) error {
	l.dropSeat(d, room)
	return nil
}

// Seats implements [Ledger]: what was loaded at the start.
func (l *Local) Seats(_ context.Context, d fanout.Device) ([]record, error) {
	return l.takeSeats(d), nil
}

// Forget implements [Ledger].
func (l *Local) Forget(_ context.Context, room int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[room]; r != nil {
		r.newest, r.present = nil, map[int64]*localWatcher{}
	}
	return nil
}

// idle is after how long without use a room's newest messages are forgotten.
const idle = time.Hour

// Sweep implements [Ledger].
func (l *Local) Sweep(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seats != nil && now.After(l.seatsEnd) {
		l.seats = nil
	}
	for id, r := range l.rooms {
		r.recent.trim(r.bounds, now)
		if len(r.present) == 0 && now.Sub(r.used) > idle {
			delete(l.rooms, id)
		}
	}
}
