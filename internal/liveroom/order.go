package liveroom

import (
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

	mu        sync.Mutex
	opening   bool     // guarded by mu, as all below: the newest events are being read
	last      int64    // newest sequence; 0 is not known
	recent    ring     // what was handed out
	waiting   []*Event // came before their predecessor
	repairing bool
	unread    int64          // above it events may be missing that the ledger could not tell of; 0: none
	own       map[int64]bool // events numbered here while the ledger was away, by count
}

// patience is how long an event waits for its predecessor, which is mostly on
// its way from another node.
const patience = 200 * time.Millisecond

// While the ledger cannot be read, what waits does so for readAgain times
// readPause: a ledger that is back counts as away for a moment longer, and what
// was given up would come late and out of order.
const (
	readPause = 300 * time.Millisecond
	readAgain = 10
)

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
		f.last = e.Seq
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
	if f.opening || f.last > 0 && e.Prev > f.last {
		f.waiting = append(f.waiting, e)
		if !f.opening && !f.repairing {
			f.repairing = true
			time.AfterFunc(patience, f.fillGap)
		}
		return
	}
	f.acceptLocked(e)
	f.releaseLocked()
}

// acceptLocked hands e out unless that was done.
func (f *follower) acceptLocked(e *Event) {
	if f.own[e.count] && e.node == f.s.node { // watchers here had it already, under a number of this node
		delete(f.own, e.count)
		f.last = max(f.last, e.Seq)
		return
	}
	if e.Seq <= f.last && (f.recent.has(e.Seq) || e.Seq < seqAt(f.s.Now().Add(-f.bounds().age))) {
		return
	}
	f.last = max(f.last, e.Seq)
	f.recent.add(e, f.bounds(), f.s.Now())
	f.deliver(e)
}

// releaseLocked hands out what has waited for what came.
func (f *follower) releaseLocked() {
	if len(f.waiting) == 0 || f.opening {
		return
	}
	slices.SortFunc(f.waiting, func(a, b *Event) int { return bySeq(a, b.Seq) })
	n := 0
	for n < len(f.waiting) && (f.last == 0 || f.waiting[n].Prev <= f.last) {
		f.acceptLocked(f.waiting[n])
		n++
	}
	if f.waiting = slices.Delete(f.waiting, 0, n); len(f.waiting) == 0 {
		f.waiting = nil
	}
}

// fillGap reads what a waiting event still misses.
func (f *follower) fillGap() {
	f.mu.Lock()
	after := f.last
	missing := len(f.waiting) > 0
	f.repairing = missing
	f.mu.Unlock()
	if missing {
		f.repair(after)
	}
}

// repair reads the events above a sequence from the ledger and hands them
// out. What the ledger does not have any more is given up.
func (f *follower) repair(after int64) { f.tryRepair(after, readAgain) }

func (f *follower) tryRepair(after int64, tries int) {
	f.mu.Lock()
	f.repairing = true
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
			time.AfterFunc(readPause, func() { f.tryRepair(after, tries-1) })
			return
		}
		f.s.Log.Warn("missed events of a live room cannot be read", "room", f.id, "err", err)
	} else {
		f.unread = 0
	}
	f.repairing = false
	for _, e := range list {
		f.acceptLocked(e)
	}
	f.releaseLocked()
	if len(f.waiting) > 0 { // their predecessors are lost
		list, f.waiting = f.waiting, nil
		for _, e := range list {
			f.acceptLocked(e)
		}
	}
}

// lookAgain repairs when the ledger is ahead, or could not be read before, and
// nothing is on its way.
func (f *follower) lookAgain(last int64) {
	f.mu.Lock()
	behind := !f.opening && !f.repairing && (last > f.last || f.unread > 0)
	f.repairing = f.repairing || behind
	after := f.last
	f.mu.Unlock()
	if behind {
		f.repair(after)
	}
}

// number gives e a sequence of this node's own and hands it out: the ledger is
// away. The other nodes get it when the ledger is back.
func (f *follower) number(e *Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.Prev, e.Seq = f.last, nextSeq(f.last, f.s.Now(), f.s.slot)
	if f.own == nil {
		f.own = map[int64]bool{}
	}
	f.own[e.count] = true
	f.last = e.Seq
	f.recent.add(e, f.bounds(), f.s.Now())
	f.deliver(e)
}

// since returns the remembered events above a sequence.
func (f *follower) since(seq int64) []*Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.recent.after(seq))
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
