package liveroom

import (
	"slices"
	"sync"
	"time"

	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
)

// room is a live room on a node that has watchers of it.
type room struct {
	*follower
	gid   int64
	id    string // group ID
	app   *config.App
	topic fanout.Topic
	ready chan struct{} // closed when the newest events are read
	tips  tips
	past  history

	// mu comes after the follower's mu.
	roomMu   sync.Mutex
	seats    map[fanout.Device]*seat   // guarded by roomMu, as all below
	people   map[int64][]fanout.Device // of each account, those with a seat
	outbox   []outgoing
	resumes  []resume
	flushing bool
	flushed  time.Time
	place    int64 // newest sequence handed to connections
	held     map[*held]struct{}
	count    int // who is present on all nodes, when last asked
	counted  time.Time
	idle     time.Time           // since when nobody watches here
	quits    map[int64]time.Time // who has just quit
	ended    bool                // the group is destroyed
}

// outgoing is an event with what stands before its body for this room.
type outgoing struct {
	event *Event
	head  []byte
}

// terminal is what a room needs of a watcher's connection.
type terminal interface {
	fanout.Subscriber
	Join(fanout.Topic)
	Leave(fanout.Topic)
	// Reached returns up to which place in a room the client has confirmed
	// receiving, 0 if that is not known.
	Reached(room int64) int64
}

// seat is a device that watches the room through this node.
type seat struct {
	device fanout.Device
	joined time.Time
	alive  time.Time // last sign of life
	place  int64     // sequence up to which it has everything
	kept   int64     // place that the ledger knows
	conn   terminal  // nil of those who poll
}

// resume is a connection that has come back and lacks what happened since.
type resume struct {
	conn terminal
	from int64
}

func newRoom(s *Service, app *config.App, g *group.Info) *room {
	r := &room{gid: g.GID, id: g.ID, app: app, topic: fanout.Room(g.GID), ready: make(chan struct{}), idle: s.Now(),
		seats: map[fanout.Device]*seat{}, people: map[int64][]fanout.Device{}, held: map[*held]struct{}{}}
	r.follower = newFollower(s, g.GID, func() bounds { return boundsIn(app) }, func(e *Event) { r.post(outgoing{event: e}) })
	return r
}

// post hands an event to the watchers of this node. It only queues.
func (r *room) post(o outgoing) {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	r.outbox = append(r.outbox, o)
	if o.event.Count > 0 {
		r.count = o.event.Count
	}
	r.wakeLocked()
}

// wakeLocked starts the one goroutine that hands out.
func (r *room) wakeLocked() {
	if !r.flushing {
		r.flushing = true
		go r.flush()
	}
}

// Pauses between two frames of a room: what happens meanwhile shares the next
// one. The first event after a pause goes out at once. The more watchers, the
// more a frame costs, and the more it is worth to put several events into it.
const (
	pausePerWatcher = 20 * time.Microsecond
	maxPause        = 200 * time.Millisecond
)

// flush hands out what has gathered until there is nothing more.
func (r *room) flush() {
	for {
		r.roomMu.Lock()
		if len(r.outbox) == 0 && len(r.resumes) == 0 {
			r.flushing = false
			r.roomMu.Unlock()
			return
		}
		pause := min(time.Duration(len(r.seats))*pausePerWatcher, maxPause) - time.Since(r.flushed)
		r.roomMu.Unlock()
		if pause > 0 {
			time.Sleep(pause)
		}
		r.flushOnce()
	}
}

func (r *room) flushOnce() {
	// With both locks no event is between being remembered and being queued.
	r.mu.Lock()
	r.roomMu.Lock()
	batch, resumes := r.outbox, r.resumes
	r.outbox, r.resumes = nil, nil
	missed := make([][]*Event, len(resumes))
	for i, w := range resumes {
		missed[i] = slices.DeleteFunc(slices.Clone(r.recent.after(w.from)), func(e *Event) bool {
			return slices.ContainsFunc(batch, func(o outgoing) bool { return o.event == e })
		})
	}
	watchers := len(r.seats)
	r.roomMu.Unlock()
	r.mu.Unlock()

	for i, w := range resumes {
		list := make([]outgoing, len(missed[i]))
		for k, e := range missed[i] {
			list[k] = outgoing{event: e}
		}
		for _, e := range r.frames(list, w.from) {
			w.conn.Offer(e)
		}
		w.conn.Join(r.topic)
	}
	for _, e := range r.frames(batch, r.place) {
		r.s.Hub.PublishLocal(r.topic, e)
		r.place = e.Place
		r.s.metrics.items.Observe(float64(e.Items))
	}
	r.s.metrics.events.Add(float64(len(batch)))
	r.s.metrics.deliveries.Add(float64(len(batch) * watchers))
	last := slices.ContainsFunc(batch, func(o outgoing) bool { return o.event.Last })
	r.roomMu.Lock()
	r.flushed = time.Now()
	r.ended = r.ended || last
	var polls []*held
	if last || slices.ContainsFunc(batch, func(o outgoing) bool { return o.event.pollable() }) {
		polls = r.dueLocked()
	}
	r.roomMu.Unlock()
	r.answer(polls)
	if last {
		r.clear()
	}
}

// Bounds of one frame.
const (
	frameItems = 64
	frameBytes = 32 << 10
)

// frames packs events into as few frames as may be. place is where the room
// was before them.
func (r *room) frames(list []outgoing, place int64) (out []*fanout.Event) {
	for len(list) > 0 {
		item := make([]byte, 0, min(len(list)*768, frameBytes))
		n := 0
		for n < len(list) && n < frameItems && len(item) < frameBytes {
			if n > 0 {
				item = append(item, ',')
			}
			item = list[n].event.pushed(item, list[n].head)
			if list[n].event.Room == r.gid {
				place = max(place, list[n].event.Seq)
			}
			n++
		}
		list = list[n:]
		out = append(out, &fanout.Event{Item: item, Room: r.gid, Place: place, Items: n, Apart: true})
	}
	return out
}

// clear ends the room on this node: nobody watches any more. What it
// remembers stays a while for those who poll.
func (r *room) clear() {
	r.roomMu.Lock()
	var conns []terminal
	for d, seat := range r.seats {
		if seat.conn != nil {
			conns = append(conns, seat.conn)
			r.removeLocked(d)
		}
	}
	r.roomMu.Unlock()
	for _, c := range conns {
		c.Leave(r.topic)
	}
}

// sit makes a device a watcher of this node, or renews that it is one. It
// reports whether its account had no other device here.
func (r *room) sit(w *seat) {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	if old := r.seats[w.device]; old != nil {
		w.joined = old.joined
	} else {
		r.people[w.device.UID] = append(r.people[w.device.UID], w.device)
		r.s.metrics.watchers.Inc()
	}
	r.seats[w.device] = w
}

func (r *room) removeLocked(d fanout.Device) {
	if r.seats[d] == nil {
		return
	}
	delete(r.seats, d)
	if left := slices.DeleteFunc(r.people[d.UID], func(have fanout.Device) bool { return have == d }); len(left) > 0 {
		r.people[d.UID] = left
	} else {
		delete(r.people, d.UID)
	}
	r.s.metrics.watchers.Dec()
	if len(r.seats) == 0 {
		r.idle = r.s.Now()
	}
}

// forget gives a device up without a word: it is another node's.
func (r *room) forget(d fanout.Device) {
	r.roomMu.Lock()
	w := r.seats[d]
	r.removeLocked(d)
	r.roomMu.Unlock()
	if w != nil && w.conn != nil {
		w.conn.Leave(r.topic)
	}
}

// expel makes all devices of an account leave, on this node.
func (r *room) expel(uid int64) (was []fanout.Device) {
	r.roomMu.Lock()
	var conns []terminal
	was = slices.Clone(r.people[uid])
	for _, d := range was {
		if w := r.seats[d]; w.conn != nil {
			conns = append(conns, w.conn)
		}
		r.removeLocked(d)
	}
	r.roomMu.Unlock()
	for _, c := range conns {
		c.Leave(r.topic)
	}
	return was
}

// joined returns when an account that watches through this node came; a nil
// room has nobody.
func (r *room) joined(uid int64) (at time.Time, here bool) {
	if r == nil {
		return at, false
	}
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	for _, d := range r.people[uid] {
		if w := r.seats[d]; !here || w.joined.Before(at) {
			at, here = w.joined, true
		}
	}
	return at, here
}

// has reports whether an account watches through this node; a nil room has
// nobody.
func (r *room) has(uid int64) bool {
	if r == nil {
		return false
	}
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	return len(r.people[uid]) > 0
}
