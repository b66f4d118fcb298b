package gateway

import (
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
)

// hold is what waits on a connection whose device has come back. Its SDK reads
// the list of conversations, fetches what it missed of each by comparing with
// the newest message it has, and at last asks for the unread counts, which it
// puts in the place of its own (protocol 02 §6, §7; 03 §14.3). A push in between
// would be the newest message it has, and hide all that is missing before it;
// or it would be counted and then not, or twice. So events wait that are about
// messages and conversations. Those that an answer tells of as well, and that
// must not be told twice, are let go; the others follow, in their order, when
// the client has been quiet for a moment.
type hold struct {
	events []waiting
	bytes  int
	seen   int  // events that have waited so far
	busy   int  // commands under way that fetch what was missed
	listed bool // the list of conversations was answered
	synced bool // the unread counts were
	again  bool // it was made to ask again
	until  time.Time
	timer  *time.Timer
}

// waiting is an event that waits, with its number among them.
type waiting struct {
	outgoing
	number int
}

const (
	// askTime is how long events wait for a client that does not go on asking.
	askTime = 5 * time.Second
	// quietTime is how long they wait when it has asked for everything: it may
	// still come back for a further window, and it needs a moment for the counts.
	quietTime = time.Second
	// holdTime bounds it all.
	holdTime = 15 * time.Second
	// againTime is how long after a refusal a client is made to ask again: longer
	// than it refuses by itself what it was told to leave out.
	againTime = 2 * overloadDelay
)

// fetches are the commands by which a device that came back learns what it missed.
const fetches = command.Overview | command.CatchUp | command.Sync

// Hold implements session.Terminal.
func (c *Conn) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
	case c.back != nil: // it is made to ask for everything again
		c.back.listed, c.back.synced = false, false
		c.back.rest()
	default:
		h := &hold{until: time.Now().Add(holdTime)}
		h.timer = time.AfterFunc(askTime, func() { c.release(h) })
		c.back = h
	}
}

// rest sets how long the events wait from now on if nothing happens.
func (h *hold) rest() {
	d := askTime
	if h.synced { // SDKs ask for that last
		d = quietTime
	}
	h.timer.Reset(min(d, time.Until(h.until)))
}

// askAgain makes a device whose catching up was refused begin anew, once: SDKs
// do not ask a second time by themselves, and would miss what they have not
// fetched until their next reconnect.
func (c *Conn) askAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil || c.back.again {
		return
	}
	c.back.again = true
	time.AfterFunc(againTime, c.resync)
}

// release lets what waits go when the client has caught up.
func (c *Conn) release(h *hold) {
	c.mu.Lock()
	if c.back != h {
		c.mu.Unlock()
		return
	}
	if h.busy > 0 && time.Now().Before(h.until) {
		h.rest()
		c.mu.Unlock()
		return
	}
	c.back = nil
	if c.closed || len(h.events) == 0 {
		c.mu.Unlock()
		return
	}
	for _, w := range h.events {
		c.out = append(c.out, w.outgoing)
		if !w.event.Apart {
			c.events++
		}
	}
	c.outBytes += h.bytes
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		go c.write()
	}
}

// holdLocked keeps o back if it has to wait: the events of logs do, which alone
// have a sequence, and those whose turn comes later.
func (c *Conn) holdLocked(o outgoing) bool {
	if c.back == nil || o.event == nil || o.event.Seq == 0 && o.event.When == fanout.AtOnce {
		return false
	}
	c.back.events = append(c.back.events, waiting{o, c.back.seen})
	c.back.seen++
	c.back.bytes += o.size()
	return true
}

// heldBack returns how many events have waited so far.
func (c *Conn) heldBack() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return 0
	}
	return c.back.seen
}

// fetched notes that a command was answered from what was read after the first
// n events had come: those of logs are in the list of conversations, and what a
// sync tells of is not told twice.
func (c *Conn) fetched(access command.Access, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.back
	if h == nil {
		return
	}
	if access&command.Overview != 0 && !h.listed { // by a further page only its own conversations are known
		h.listed = true
		h.drop(func(w waiting) bool { return w.number < n && w.event.Seq > 0 })
	}
	if access&command.Sync != 0 {
		h.synced = true
		h.drop(func(w waiting) bool { return w.number < n && w.event.When == fanout.InSync })
	}
	h.rest()
}

// drop lets go of the events that known reports.
func (h *hold) drop(known func(waiting) bool) {
	kept := h.events[:0]
	for _, w := range h.events {
		if known(w) {
			h.bytes -= w.size()
			continue
		}
		kept = append(kept, w)
	}
	clear(h.events[len(kept):])
	h.events = kept
}

// catchingLocked notes that a command which fetches what was missed begins,
// +1, or has been answered, -1.
func (c *Conn) catchingLocked(n int) {
	h := c.back
	if h == nil || h.busy+n < 0 { // it began before the device was back
		return
	}
	h.busy += n
	if n < 0 {
		h.rest()
	}
}

// catchingUp reports whether the device has come back and does not have its
// unread counts yet.
func (c *Conn) catchingUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.back != nil && !c.back.synced
}
