package liveroom

import (
	"encoding/binary"
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
			s.spread(f, e, s.Now())
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
	if !s.backlog.empty() {
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
		s.backlog.doubt(s.Now())
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

// spread hands an appended event, which was published at a time, to this node
// and the others.
func (s *Service) spread(f *follower, e *Event, at time.Time) {
	if f != nil {
		f.take(e)
	}
	s.backlog.tell(e, at)
	s.tellRoom(e.Room, noteEvent, e.encode(binary.AppendVarint(binary.AppendVarint(nil, e.Seq), e.Prev)))
}

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
	s.backlog.keep(later, s.Now())
}

// catchUp appends what other nodes may not have, as far as it is within the
// age that events are remembered for. What fails again waits again.
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
	failed := s.failed
	s.mu.Unlock()
	if time.Since(failed) < retryAfter {
		return false
	}
	for _, u := range s.backlog.take() {
		b := s.boundsOf(u.event.Room)
		if s.Now().Sub(u.at) > b.age {
			s.backlog.settle(u, true)
			continue
		}
		f := s.follower(u.event.Room)
		e := u.event.unnumbered()
		s.Ledger.Append(e, f.floor(), b, func(err error) {
			switch {
			case err != nil || e.repeat:
			case e.Seq > 0: // the ledger did not have it
				s.spread(f, e, u.at)
			default: // others find it there, unless it is lost now
				s.backlog.tell(e, u.at)
			}
			s.backlog.settle(u, err == nil)
			s.noteFailure(err)
		})
	}
	return true
}
