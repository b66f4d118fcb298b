package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"time"

	"imserver/internal/fanout"
	"imserver/internal/wire"
)

// stream is what a connection has of live rooms: events that wait, of which
// the oldest are skipped when there are too many, and how far the client has
// got. The client itself says that: a ping between the events comes back as a
// pong when all before it have arrived (RFC 6455 §5.5.3), through whatever
// stands between. So nothing has to be sent twice after a reconnect, and
// nothing is lost.
type stream struct {
	waiting []*fanout.Event
	bytes   int
	places  []place
	asked   uint64 // number of the ping that is under way; 0: none
	pings   uint64
	unasked int // items written since the last ping
}

// place is how far the connection is in one room.
type place struct {
	room                      int64
	written, asked, confirmed int64
}

const (
	// askEvery is after how many items the client is asked how far it got:
	// with what comes until the answer, fewer than the 200 by which SDKs
	// recognise what they have (protocol 03 §13.3).
	askEvery = 50
	// streamSlice bounds what one write holds of live rooms, in bytes: a slow
	// watcher skips what it has not been given yet.
	streamSlice = 16 << 10
)

// enqueueStream adds a live room's event to what waits; the oldest are skipped
// when there is too much of it.
func (c *Conn) enqueueStream(e *fanout.Event) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	if c.stream == nil {
		c.stream = &stream{}
	}
	skipped := c.stream.add(e, c.server.opts.MaxStream)
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if skipped > 0 {
		c.server.metrics.skipped.Add(float64(skipped))
	}
	if start {
		c.server.fan.add(c)
	}
}

// add queues e and returns how many items were skipped for it.
func (s *stream) add(e *fanout.Event, limit int) (skipped int) {
	s.bytes += len(e.Item)
	for s.bytes > limit && len(s.waiting) > 0 {
		old := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.bytes -= len(old.Item)
		skipped += old.Items
	}
	s.waiting = append(s.waiting, e)
	return skipped
}

// drop forgets what waits. How far the client got stays.
func (s *stream) drop() {
	if s != nil {
		s.waiting, s.bytes = nil, 0
	}
}

// waitingLocked reports whether there is anything to write.
func (c *Conn) waitingLocked() bool {
	return len(c.out) > 0 || c.stream != nil && len(c.stream.waiting) > 0
}

// take appends the frames of the next events, and a ping now and then.
func (s *stream) take(dst []byte, mode wire.Mode) []byte {
	if s == nil {
		return dst
	}
	for len(s.waiting) > 0 && len(dst) < streamSlice {
		e := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.bytes -= len(e.Item)
		s.at(e.Room).written = e.Place
		s.unasked += e.Items
		dst = append(dst, e.Frame().Bytes(mode)...)
	}
	if len(s.waiting) == 0 {
		s.waiting = nil // lets go of the array
	}
	if s.unasked >= askEvery && s.asked == 0 {
		dst = append(dst, s.ask()...)
	}
	return dst
}

func (s *stream) at(room int64) *place {
	for i := range s.places {
		if s.places[i].room == room {
			return &s.places[i]
		}
	}
	s.places = append(s.places, place{room: room})
	return &s.places[len(s.places)-1]
}

// ask makes the ping that confirms what is written so far.
func (s *stream) ask() []byte {
	s.pings++
	s.asked, s.unasked = s.pings, 0
	for i := range s.places {
		s.places[i].asked = s.places[i].written
	}
	return controlFrame(opPing, binary.BigEndian.AppendUint64(nil, s.asked))
}

// confirmed takes a pong.
func (c *Conn) confirmed(payload []byte) {
	if len(payload) != 8 {
		return
	}
	c.mu.Lock()
	s := c.stream
	if s == nil || s.asked == 0 || binary.BigEndian.Uint64(payload) != s.asked {
		c.mu.Unlock()
		return
	}
	s.asked = 0
	for i := range s.places {
		s.places[i].confirmed = s.places[i].asked
	}
	var again []byte
	if s.unasked >= askEvery {
		again = s.ask()
	}
	c.mu.Unlock()
	if again != nil {
		c.enqueue(outgoing{message: again})
	}
}

// askReached is the watch's question when the last events of a stream are not
// confirmed yet.
func (c *Conn) askReached() {
	c.mu.Lock()
	s := c.stream
	if s == nil || s.unasked == 0 || s.asked != 0 || len(s.waiting) > 0 || c.closed {
		c.mu.Unlock()
		return
	}
	c.enqueueLocked(outgoing{message: s.ask()})
}

// Reached returns up to which place of a live room the client has confirmed
// receiving; 0 is not known. It also answers after the connection has ended.
func (c *Conn) Reached(room int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream == nil {
		return 0
	}
	for i := range c.stream.places {
		if c.stream.places[i].room == room {
			return c.stream.places[i].confirmed
		}
	}
	return 0
}

// patient reports whether a write that timed out is to be continued. After a
// timeout a TLS connection cannot be.
func (c *Conn) patient(err error) bool {
	var netErr net.Error
	if !errors.As(err, &netErr) || !errors.Is(err, os.ErrDeadlineExceeded) || c.in.raw == nil {
		return false
	}
	c.mu.Lock()
	watches := c.stream != nil && !c.closed && !c.closing
	c.mu.Unlock()
	return watches && time.Since(time.Unix(0, c.heard.Load())) < c.server.opts.DeadAfter
}
