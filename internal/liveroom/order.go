package liveroom

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// follower hands a room's events to this node in their order, each once.
// Every event names its predecessor: one whose predecessor has not come waits
// a moment, then the node reads what it missed from the ledger.
type follower struct {
	s      *Service
	id     int64
	bounds func() bounds
	// deliver gets each event in its order; mu is held.
	deliver func(e *Event)

	mu      sync.Mutex
	opening bool     // guarded by mu, as all below: the newest events are being read
	last    int64    // newest sequence that was handed out; 0: none
	linked  int64    // newest sequence of the ledger to which nothing is missing; 0 is not known
	recent  ring     // what was handed out
	waiting []*Event // came before their predecessor, or while the ledger is read
	missing bool     // those are looked after soon
	missed  int64    // the predecessor that the ledger did not have either, last time
	reading bool     // the ledger is being read
	unread  int64    // above it events may be missing that the ledger could not tell of; 0: none
	lost    bool     // the ledger has lost its memory
}

// patience is how long an event waits for its predecessor, which is mostly on
// its way from another node.
const patience = 200 * time.Millisecond

// While the ledger cannot be read, what waits does so for readAgain times
// readPause: what was given up would come late and out of order. Little waits,
// because while the ledger is away nothing else gets its number there.
const (
	readPause = 300 * time.Millisecond
	readAgain = 33
)

// adoption is how long an event of before a loss of memory waits to be
// appended anew by its node, in its order, before it is handed out anyway.
const adoption = 5 * time.Second

func newFollower(s *Service, id int64, b func() bounds, deliver func(*Event)) *follower {
	return &follower{s: s, id: id, bounds: b, deliver: deliver, opening: true}
}

// open reads the newest events once the node hears of new ones. When the
// ledger is away the first event that comes tells the place.
func (f *follower) open(ctx context.Context) {
	list, err := f.s.Ledger.Recent(ctx, f.id, 0)
	if err != nil {
		f.s.Log.Warn("a live room starts without its newest events", "room", f.id, "err", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.s.Now()
	for _, e := range list { // handed out before: only to be remembered
		f.recent.add(e, f.bounds(), now)
		f.last, f.linked = e.Seq, e.Seq
	}
	f.opening = false
	f.releaseLocked()
}

// newest returns the sequence up to which events were handed out.
func (f *follower) newest() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// take receives an event from the ledger or another node.
func (f *follower) take(e *Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, e)
	f.releaseLocked()
}

// releaseLocked hands out what waits no longer: what follows the last one.
func (f *follower) releaseLocked() {
	if f.opening || f.reading {
		return
	}
	slices.SortFunc(f.waiting, func(a, b *Event) int { return bySeq(a, b.Seq) })
	var orphans []*Event
	f.waiting = slices.DeleteFunc(f.waiting, func(e *Event) bool {
		switch {
		case e.Prev == f.linked || f.linked == 0:
			f.linked = e.Seq
			f.acceptLocked(e)
		case f.recent.has(e) && e.Prev < f.linked:
		case e.Prev == 0: // the ledger counts anew
			f.lost, f.linked = true, e.Seq
			f.acceptLocked(e)
		case e.Prev > f.linked:
			return false
		case e.node == f.s.node:
			f.acceptLocked(e)
		default: // it was overtaken by what the ledger counts anew
			orphans = append(orphans, e)
		}
		return true
	})
	if len(orphans) > 0 {
		time.AfterFunc(adoption, func() { f.adopt(orphans) })
	}
	if len(f.waiting) == 0 {
		f.missed = 0
	} else if !f.missing {
		f.missing = true
		time.AfterFunc(patience, f.fillGap)
	}
}

// adopt hands out what has not come again.
func (f *follower) adopt(list []*Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range list {
		f.acceptLocked(e)
	}
}

// acceptLocked hands e out unless that was done. What comes after events that
// were to follow it gets a number of this node: watchers are at a place above
// its own.
func (f *follower) acceptLocked(e *Event) {
	if f.recent.has(e) {
		return
	}
	if e.Seq <= f.last {
		if e.Seq < seqAt(f.s.Now().Add(-f.bounds().age)) { // what was handed out then is not known
			return
		}
		e = e.unnumbered()
		f.numberLocked(e)
	}
	f.handLocked(e)
}

// numberLocked gives e a sequence of this node's own.
func (f *follower) numberLocked(e *Event) {
	e.Prev, e.Seq = f.last, nextSeq(f.last, f.s.Now(), f.s.slot)
}

func (f *follower) handLocked(e *Event) {
	f.last = e.Seq
	f.recent.add(e, f.bounds(), f.s.Now())
	f.deliver(e)
}

// fillGap reads what a waiting event still misses.
func (f *follower) fillGap() {
	f.mu.Lock()
	f.missing = false
	gap := len(f.waiting) > 0
	f.mu.Unlock()
	if gap {
		f.repair()
	}
}

// repair reads what may be missing from the ledger and hands it out. What the
// ledger does not have any more is given up.
func (f *follower) repair() {
	f.mu.Lock()
	busy := f.reading
	f.reading = true
	f.mu.Unlock()
	if !busy {
		f.read(readAgain)
	}
}

func (f *follower) read(tries int) {
	f.mu.Lock()
	after := f.linked
	if f.unread > 0 {
		after = min(after, f.unread)
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), ledgerTimeout)
	defer cancel()
	list, err := f.s.Ledger.Recent(ctx, f.id, after)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s.metrics.repairs.Inc()
	if err != nil {
		f.unread = after
		if tries > 0 {
			time.AfterFunc(readPause, func() { f.read(tries - 1) })
			return
		}
		f.s.Log.Warn("missed events of a live room cannot be read", "room", f.id, "err", err)
	} else if f.unread >= after { // no doubt came meanwhile
		f.unread = 0
	}
	f.reading = false
	for _, e := range list {
		f.linked = e.Seq // it may go back, when the ledger counts anew
		f.acceptLocked(e)
	}
	f.releaseLocked()
	if len(f.waiting) == 0 {
		return
	}
	if first := f.waiting[0].Prev; err != nil || first == f.missed { // their predecessors are lost
		f.linked, f.missed = first, 0
		f.releaseLocked()
	} else { // it may have been appended after the ledger was read
		f.missed = first
	}
}

// overlap is how far numbers may go back when the ledger has lost its memory:
// what is appended in a burst is numbered ahead of the clock.
const overlap = 10 * time.Second

// doubt notes that anything may have been missed, and that the ledger may have
// lost its memory: numbers after that may be below the last ones before.
func (f *follower) doubt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.linked > 0 {
		f.unread = max(1, min(f.linked, cmp.Or(f.unread, f.linked))-seqSpan(overlap))
	}
}

// lookAgain repairs when the ledger is ahead, or could not be read before, and
// nothing is on its way.
func (f *follower) lookAgain(last int64) {
	f.mu.Lock()
	behind := !f.opening && !f.missing && (last > f.linked || f.unread > 0)
	f.mu.Unlock()
	if behind {
		f.repair()
	}
}

// number gives e a sequence of this node's own and hands it out: the ledger is
// away. The other nodes get it when the ledger is back. What was said here
// before e and waits for what others said does so no longer.
func (f *follower) number(e *Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.waiting { // where it stays, for the place in the ledger
		if w.node == f.s.node && !f.recent.has(w) {
			w = w.unnumbered()
			f.numberLocked(w)
			f.handLocked(w)
		}
	}
	f.numberLocked(e)
	f.handLocked(e)
}

// since returns the remembered events above a sequence.
func (f *follower) since(seq int64) []*Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.recent.after(seq))
}

// numbered returns the remembered events that have their sequences from the
// ledger, and whether the ledger has lost its memory.
func (f *follower) numbered() (list []*Event, lost bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.recent.list {
		if e.Seq%slotStep == 0 {
			list = append(list, e)
		}
	}
	return list, f.lost
}

// restored notes that the ledger remembers again.
func (f *follower) restored() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = false
}

// find returns a remembered event by its sequence.
func (f *follower) find(seq int64) *Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.recent.find(seq)
}

// sent returns the remembered message that these numbers of its sender name.
func (f *follower) sent(sender, random, clientSeq int64) *Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.recent.sent(sender, random, clientSeq)
}

// trim forgets what is past its age.
func (f *follower) trim(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent.trim(f.bounds(), now)
}
