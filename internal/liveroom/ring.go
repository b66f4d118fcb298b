package liveroom

import (
	"slices"
	"time"
)

// bounds limit what is remembered of a room.
type bounds struct {
	events    int
	age       time.Duration
	newcomers int // messages for those who come, kept regardless of age
}

// ring holds the newest events of a room by rising sequence. It is not safe
// for concurrent use.
type ring struct {
	list []*Event
	// Names are known for longer, because the ledger may remember an event
	// longer: under a later number, when it was appended anew.
	known map[eventName]struct{}
	names []eventName // of known, oldest first
}

// namesPerEvent is how many names are known for each event that is remembered.
const namesPerEvent = 4

func bySeq(e *Event, seq int64) int {
	switch {
	case e.Seq < seq:
		return -1
	case e.Seq > seq:
		return 1
	}
	return 0
}

// has reports whether e has been added, under whatever sequence.
func (r *ring) has(e *Event) bool {
	_, found := r.known[e.name()]
	return found
}

// add remembers e and forgets what is over the bounds.
func (r *ring) add(e *Event, b bounds, now time.Time) {
	if n := len(r.list); n == 0 || r.list[n-1].Seq < e.Seq {
		r.list = append(r.list, e)
	} else if i, found := slices.BinarySearchFunc(r.list, e.Seq, bySeq); !found {
		r.list = slices.Insert(r.list, i, e)
	} else {
		return
	}
	if r.known == nil {
		r.known = map[eventName]struct{}{}
	}
	if _, found := r.known[e.name()]; !found {
		r.known[e.name()] = struct{}{}
		r.names = append(r.names, e.name())
	}
	r.trim(b, now)
}

// trim forgets what is over the bounds.
func (r *ring) trim(b bounds, now time.Time) {
	old := max(0, len(r.list)-b.events)
	for oldest := seqAt(now.Add(-b.age)); old < len(r.list) && r.list[old].Seq < oldest; {
		old++
	}
	if old == 0 {
		return
	}
	clear(r.list[:old])
	if r.list = r.list[old:]; len(r.list) == 0 {
		r.list, r.known, r.names = nil, nil, nil
	}
	for len(r.names) > namesPerEvent*b.events {
		delete(r.known, r.names[0])
		r.names = r.names[1:]
	}
}

// after returns the events above seq, oldest first. The caller must not change
// the slice.
func (r *ring) after(seq int64) []*Event {
	i, found := slices.BinarySearchFunc(r.list, seq, bySeq)
	if found {
		i++
	}
	return r.list[i:]
}

// find returns a remembered event.
func (r *ring) find(seq int64) *Event {
	if i, found := slices.BinarySearchFunc(r.list, seq, bySeq); found {
		return r.list[i]
	}
	return nil
}

// sent returns the message that is a repeat's first one.
func (r *ring) sent(sender, random, clientSeq int64) *Event {
	for i := len(r.list) - 1; i >= 0; i-- {
		if e := r.list[i]; e.Random == random && e.Sender == sender && e.ClientSeq == clientSeq && e.Kind == eventMessage {
			return e
		}
	}
	return nil
}
