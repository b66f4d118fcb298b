package liveroom

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"imserver/internal/config"
	"imserver/internal/fanout"
)

// tick is how often a node looks after its rooms.
const tick = 3 * time.Second

// Run looks after the rooms until ctx ends: who is still there, what was
// missed, what can be forgotten.
func (s *Service) Run(ctx context.Context) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.Look(ctx, n)
		}
	}
}

// Look is the n-th round of Run.
func (s *Service) Look(ctx context.Context, n int) {
	for _, r := range s.all() {
		r.look(ctx, n)
	}
	s.catchUp()
	s.lookAtCasts(ctx)
	if n%20 == 0 {
		s.Ledger.Sweep(s.Now())
	}
	if n%3 == 0 {
		if err := s.Save(); err != nil {
			s.Log.Error("the watchers of live rooms are not saved", "err", err)
		}
	}
}

// reset is called when the bus was away: events of other nodes may be missed,
// and the ledger may have lost its memory.
func (s *Service) reset() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s.backlog.doubt(s.Now())
	s.catchUp()
	for _, r := range s.all() {
		r.doubt()
		r.repair()
		r.look(ctx, 0)
	}
	for _, f := range s.allCasts() {
		f.doubt()
	}
	s.lookAtCasts(ctx)
}

// look renews what the ledger knows of this node's watchers, in every round
// those who changed and now and then all, and lets go of those who are gone.
func (r *room) look(ctx context.Context, n int) {
	now := r.s.Now()
	timeout := r.app.LiveRooms.MemberTimeout
	every := max(int(timeout/(4*tick)), 1)
	alive, records, gone := r.inspect(now, timeout, n%every == 0)
	c, err := r.s.Ledger.Renew(ctx, r.gid, alive, now.Add(-timeout))
	if err == nil && c.count < r.accounts() && len(alive) == 0 { // the ledger has lost some
		alive, records, _ = r.inspect(now, timeout, true)
		c, err = r.s.Ledger.Renew(ctx, r.gid, alive, now.Add(-timeout))
	}
	if err == nil {
		r.counts(c.count)
		if !r.s.backlog.waits(r.gid) { // else it is not known what the ledger lacks
			err = r.restore(ctx, c.last)
			r.lookAgain(c.last)
		}
	} else {
		r.guess()
	}
	if len(records) > 0 && err == nil {
		err = r.s.Ledger.Keep(ctx, records)
	}
	if err != nil && !errors.Is(err, ErrAway) {
		r.s.Log.Error("a live room's watchers are not renewed", "room", r.gid, "err", err)
	}
	r.part(ctx, gone, c.gone)
	r.follower.trim(now)
	r.s.closeIdle(r, now)
}

// restore tells a ledger that has lost its memory what this node remembers.
// last is the newest sequence that the ledger knows.
func (r *room) restore(ctx context.Context, last int64) error {
	list, lost := r.numbered()
	if len(list) == 0 || last > 0 && !lost {
		return nil
	}
	err := r.s.Ledger.Restore(ctx, r.gid, list, boundsIn(r.app))
	if err == nil {
		r.restored()
	}
	return err
}

// inspect finds which accounts are alive and which devices are gone; the
// latter are removed.
func (r *room) inspect(now time.Time, timeout time.Duration, all bool) (alive []presence, records []record, gone []presence) {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	for d, w := range r.seats {
		if w.conn != nil {
			if w.conn.Device() == d {
				w.alive = now
			}
			w.place = max(w.place, w.conn.Reached(r.gid))
		}
		if now.Sub(w.alive) > timeout {
			r.removeLocked(d)
			if len(r.people[d.UID]) == 0 {
				gone = append(gone, presence{uid: d.UID, alive: w.alive})
			}
			continue
		}
		if all {
			alive = append(alive, presence{uid: d.UID, joined: w.joined, alive: w.alive})
		}
		if all || w.place != w.kept {
			w.kept = w.place
			records = append(records, r.record(w))
		}
	}
	return alive, records, gone
}

// part tells of those who are gone: from this node, and from nodes that died.
func (r *room) part(ctx context.Context, here []presence, elsewhere []int64) {
	if len(here)+len(elsewhere) == 0 {
		return
	}
	g, err := r.s.Groups.ByGID(ctx, r.gid)
	if err != nil {
		return // destroyed meanwhile
	}
	for _, p := range here {
		left, count, err := r.s.Ledger.Leave(ctx, r.gid, p.uid, p.alive)
		if err != nil {
			left = true // nobody else can tell
			r.guess()
		} else {
			r.counts(count)
		}
		if left {
			r.s.announce(g, tipQuit, p.uid)
		}
	}
	for _, uid := range elsewhere {
		r.expel(uid)
		r.s.announce(g, tipQuit, uid)
	}
}

// closeIdle forgets a room that nobody has watched here for a while.
func (s *Service) closeIdle(r *room, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	if len(r.seats) > 0 || len(r.held) > 0 || now.Sub(r.idle) < r.app.LiveRooms.RingAge {
		return
	}
	delete(s.rooms, r.gid)
	s.metrics.rooms.Dec()
	s.Hub.Leave(r.topic, ear{})
}

// counts notes how many are present on all nodes.
func (r *room) counts(n int) {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	r.count, r.counted = n, r.s.Now()
}

// guess counts without the ledger: at least those of this node.
func (r *room) guess() {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	r.count = max(r.count, len(r.people))
}

// fresh is for how long a count is believed when somebody asks for it.
const fresh = time.Second

// stale reports whether the ledger should be asked again, to one caller at a
// time.
func (r *room) stale() bool {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	now := r.s.Now()
	old := now.Sub(r.counted) > fresh
	if old {
		r.counted = now
	}
	return old
}

func (r *room) accounts() int {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	return len(r.people)
}

// census reads how many are present.
func (r *room) census(ctx context.Context) {
	if c, err := r.s.Ledger.Renew(ctx, r.gid, nil, r.s.Now().Add(-r.app.LiveRooms.MemberTimeout)); err == nil {
		r.counts(c.count)
		r.part(ctx, nil, c.gone)
	}
}

// known returns how many are present as this node knows it, without asking.
func (s *Service) known(gid int64) int {
	r := s.room(gid)
	if r == nil {
		return 0
	}
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	return r.count
}

// Count implements [group.Rooms].
func (s *Service) Count(ctx context.Context, gid int64) (int, error) {
	if r := s.room(gid); r != nil {
		if r.stale() {
			r.census(ctx)
		}
		return s.known(gid), nil
	}
	g, err := s.Groups.ByGID(ctx, gid)
	if err != nil {
		return 0, err
	}
	timeout := time.Minute
	if app := s.Apps(g.App); app != nil {
		timeout = app.LiveRooms.MemberTimeout
	}
	c, err := s.Ledger.Renew(ctx, gid, nil, s.Now().Add(-timeout))
	if err != nil {
		return 0, nil // without the ledger this node knows of nobody
	}
	for _, uid := range c.gone {
		s.announce(g, tipQuit, uid)
	}
	return c.count, nil
}

// Resume gives a device that has logged in again on another socket, here or on
// another node, its rooms back and what it missed (protocol 03 §13.2). It is
// called after the login is answered.
func (s *Service) Resume(ctx context.Context, app *config.App, d fanout.Device, conn any) {
	c, ok := conn.(terminal)
	if !ok {
		return
	}
	for _, r := range s.all() {
		r.comeBack(d, c)
	}
	list, err := s.Ledger.Seats(ctx, d)
	if err != nil {
		s.Log.Debug("a login does not learn its live rooms from the ledger", "uid", d.UID, "err", err)
		return
	}
	for _, rec := range list {
		if rec.poll {
			continue // the next poll tells
		}
		s.takeOver(ctx, app, rec, c)
	}
}

// takeOver makes a device that watched through another node, or through this
// one in an earlier life, watch here.
func (s *Service) takeOver(ctx context.Context, app *config.App, rec record, c terminal) {
	if r := s.room(rec.room); r != nil && r.seated(rec.device) {
		return
	}
	g, err := s.Groups.ByGID(ctx, rec.room)
	if err != nil || g.App != app.SDKAppID || s.mayCome(ctx, app, g, rec.device.UID) != nil {
		return
	}
	if now := s.Now(); timeOf(rec.place).Before(now.Add(-app.LiveRooms.RingAge)) {
		rec.place = max(rec.place, seqAt(now.Add(-app.LiveRooms.RingAge)))
	}
	r := s.open(ctx, app, g)
	w := &seat{device: rec.device, place: rec.place, conn: c}
	r.back(c, rec.place)
	isNew := s.enter(ctx, r, w)
	r.roomMu.Lock()
	w.joined = time.UnixMilli(rec.joined)
	r.roomMu.Unlock()
	s.tellRoom(r.gid, noteMoved, binary.AppendVarint(binary.AppendVarint(nil, rec.device.UID), int64(rec.device.Inst)))
	if isNew { // it was away for longer than the others were told
		s.announce(g, tipJoined, rec.device.UID)
	}
	s.metrics.resumed.Inc()
}

func (r *room) seated(d fanout.Device) bool {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	return r.seats[d] != nil
}

// comeBack continues a device's seat on another connection.
func (r *room) comeBack(d fanout.Device, c terminal) {
	r.roomMu.Lock()
	w := r.seats[d]
	if w == nil || w.conn == nil || w.conn == c {
		r.roomMu.Unlock()
		return
	}
	from := max(w.place, w.conn.Reached(r.gid))
	next := *w
	next.conn, next.place, next.alive = c, from, r.s.Now()
	r.seats[d] = &next
	r.roomMu.Unlock()
	r.back(c, from)
	r.s.metrics.resumed.Inc()
}

// back queues what a connection missed; from then on it hears the room.
func (r *room) back(c terminal, from int64) {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	r.resumes = append(r.resumes, resume{c, from})
	r.wakeLocked()
}
