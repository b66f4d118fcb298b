package liveroom

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// backlog is what the other nodes may not have of this node's events, in the
// order in which they were published: those that it numbered by itself, and
// the last ones before the ledger or the bus failed. A Redis that restarts may
// have numbered an event, passed it to nobody, and forgotten it.
type backlog struct {
	mu   sync.Mutex
	list []*unsent // guarded by mu, as all below; by count
	free int       // of them, those that nobody is appending
	told []unsent  // handed to the bus lately, in a circle
	next int       // where the next goes
}

// unsent is an event that other nodes may not have.
type unsent struct {
	event *Event    // unnumbered: it may get another sequence
	at    time.Time // when it was published
	busy  bool      // it is being appended
}

const (
	// maxUnsent bounds what is kept for other nodes while the ledger is away.
	maxUnsent = 10_000
	// Of what was handed to the bus, this many and this old are doubted when
	// something fails.
	maxTold  = 1024
	doubtFor = 10 * time.Second
)

// tell notes that e, which was published at a time, was appended and handed to
// the bus.
func (b *backlog) tell(e *Event, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.told) < maxTold {
		b.told = append(b.told, unsent{event: e, at: at})
		return
	}
	b.told[b.next] = unsent{event: e, at: at}
	b.next = (b.next + 1) % maxTold
}

// doubt keeps what was handed to the bus lately: it may have reached nobody.
func (b *backlog) doubt(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.told {
		if now.Sub(u.at) < doubtFor {
			b.keepLocked(u.event.unnumbered(), u.at)
		}
	}
	b.told, b.next = nil, 0
}

// keep puts an event, unnumbered, to those that are for the other nodes, later.
func (b *backlog) keep(e *Event, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keepLocked(e, at)
}

func (b *backlog) keepLocked(e *Event, at time.Time) {
	i, found := b.findLocked(e.count)
	if found {
		return
	}
	b.list = slices.Insert(b.list, i, &unsent{event: e, at: at})
	b.free++
	if len(b.list) > maxUnsent {
		b.removeLocked(0)
	}
}

func (b *backlog) findLocked(count int64) (int, bool) {
	return slices.BinarySearchFunc(b.list, count, func(u *unsent, n int64) int { return cmp.Compare(u.event.count, n) })
}

func (b *backlog) removeLocked(i int) {
	if !b.list[i].busy {
		b.free--
	}
	if i == 0 { // what is appended first is done first: nothing has to move
		b.list[0], b.list = nil, b.list[1:]
	} else {
		b.list = slices.Delete(b.list, i, i+1)
	}
	if len(b.list) == 0 {
		b.list = nil
	}
}

// take returns what has to be appended now, for as long as settle is not
// called for it.
func (b *backlog) take() (list []*unsent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free == 0 {
		return nil
	}
	for _, u := range b.list {
		if !u.busy {
			u.busy = true
			list = append(list, u)
		}
	}
	b.free = 0
	return list
}

// settle ends the appending of u: it is done with, or it waits again.
func (b *backlog) settle(u *unsent, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, found := b.findLocked(u.event.count)
	switch {
	case !found || b.list[i] != u: // there were too many
	case done:
		b.removeLocked(i)
	default:
		u.busy = false
		b.free++
	}
}

// empty reports whether the other nodes have everything.
func (b *backlog) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.list) == 0
}

// waits reports whether events of a room wait for the ledger.
func (b *backlog) waits(room int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.list, func(u *unsent) bool { return u.event.Room == room })
}
