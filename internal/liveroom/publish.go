package liveroom

import (
	"encoding/binary"
	"slices"
	"time"
)

// publish gives e its place and hands it to the watchers on every node. done
// is called once when it has its sequence, or with ErrAway when there is
// nobody to have it, which never waits longer than ledgerTimeout. Without done
// an event is handed out when that is possible again.
func (s *Service) publish(e *Event, b bounds, done func(error)) {
	e.node, e.count = s.node, s.counter.Add(1)
	f := s.follower(e.Room)
	settled := func(err error) {
		switch {
		case e.repeat:
		case err == nil:
			s.spread(f, e)
		case f == nil && done != nil: // nobody has it, and it would get another sequence later
			done(err)
			return
		default:
			s.alone(f, e)
		}
		if done != nil {
			done(nil)
		}
	}
	if s.behind.Load() {
		s.catching.Lock() // what came before e is asked for before it
		defer s.catching.Unlock()
		if !s.catchUpLocked() {
			settled(ErrAway)
			return
		}
	}
	s.Ledger.Append(e, f.floor(), b, func(err error) {
		s.noteFailure(err)
		settled(err)
	})
}

// noteFailure notes that the ledger has failed just now.
func (s *Service) noteFailure(err error) {
	if err != nil {
		s.mu.Lock()
		s.failed = time.Now()
		s.mu.Unlock()
	}
}

// floor is what a new sequence has to be above: what was handed out here. A
// nil follower has handed out nothing.
func (f *follower) floor() int64 {
	if f == nil {
		return 0
	}
	return f.newest()
}

// spread hands an appended event to this node and the others.
func (s *Service) spread(f *follower, e *Event) {
	if f != nil {
		f.take(e)
	}
	s.tellRoom(e.Room, noteEvent, e.encode(binary.AppendVarint(binary.AppendVarint(nil, e.Seq), e.Prev)))
}

// unsent is an event that the other nodes do not have yet.
type unsent struct {
	event *Event
	at    time.Time
}

// maxUnsent bounds what is kept for other nodes while the ledger is away.
const maxUnsent = 10_000

// alone does without the ledger: the watchers of this node have the event at
// once, the others when the ledger is back, if that is soon enough.
func (s *Service) alone(f *follower, e *Event) {
	s.metrics.alone.Inc()
	later := e.unnumbered()
	if f != nil {
		f.number(e)
	} else {
		e.Seq = nextSeq(0, s.Now(), s.slot)
	}
	s.keep(unsent{later, s.Now()})
}

// keep puts an event to those that are for the other nodes, later.
func (s *Service) keep(u unsent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsent = append(s.unsent, u)
	if over := len(s.unsent) - maxUnsent; over > 0 {
		s.unsent = slices.Delete(s.unsent, 0, over)
	}
	s.behind.Store(true)
}

// catchUp appends what was kept while the ledger was away, as far as it is
// within the age that events are remembered for. What fails again waits again.
func (s *Service) catchUp() {
	s.catching.Lock()
	defer s.catching.Unlock()
	s.catchUpLocked()
}

// catchUpLocked is catchUp by a caller who holds catching: what is appended
// after it comes behind. It returns false when the ledger failed just now, so
// that nothing was tried.
func (s *Service) catchUpLocked() bool {
	s.mu.Lock()
	if time.Since(s.failed) < retryAfter {
		s.mu.Unlock()
		return false
	}
	list := s.unsent
	s.unsent = nil
	s.mu.Unlock()
	for _, u := range list {
		b := s.boundsOf(u.event.Room)
		if s.Now().Sub(u.at) > b.age {
			continue
		}
		f := s.follower(u.event.Room)
		s.Ledger.Append(u.event, f.floor(), b, func(err error) {
			switch {
			case err != nil:
				s.noteFailure(err)
				s.keep(u)
			case u.event.Seq > 0 && !u.event.repeat:
				s.spread(f, u.event)
			}
		})
	}
	s.mu.Lock()
	s.behind.Store(len(s.unsent) > 0)
	s.mu.Unlock()
	return true
}

// waits reports whether events of the room wait for the ledger.
func (s *Service) waits(room int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.unsent {
		if u.event.Room == room {
			return true
		}
	}
	return false
}
