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
}

func bySeq(e *Event, seq int64) int {
	switch {
	case e.Seq < seq:
		return -1
	case e.Seq > seq:
		return 1
	}
	return 0
}

// has reports whether the event with that sequence is remembered.
func (r *ring) has(seq int64) bool {
	_, found := slices.BinarySearchFunc(r.list, seq, bySeq)
	return found
}

// add remembers e and forgets what is over the bounds.
func (r *ring) add(e *Event, b bounds, now time.Time) {
	if n := len(r.list); n == 0 || r.list[n-1].Seq < e.Seq {
		r.list = append(r.list, e)
	} else if i, found := slices.BinarySearchFunc(r.list, e.Seq, bySeq); !found {
		r.list = slices.Insert(r.list, i, e)
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
		r.list = nil
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
