package gateway

import (
	"time"
)

// hold is what waits on a connection whose device has come back. Its SDK reads
// the list of conversations, compares each group's newest sequence there with
// the newest message it has, and fetches what lies between, window by window
// (protocol 03 §14.3). A push that overtook the list, or came between the
// windows, would be the newest message it has, and hide all that is missing
// before it. So the events of logs wait. Those that came before the list was
// read are in it, and need not be sent at all; the others follow when the
// client has been quiet for a moment.
type hold struct {
	events []outgoing
	bytes  int
	listed int       // events that are in a list and no longer here
	busy   int       // commands under way that fetch what was missed
	until  time.Time // at the latest
	timer  *time.Timer
}

const (
	// listTime is how long events wait for a client that asks for no list.
	listTime = 5 * time.Second
	// quietTime is how long after the list, or the last window, a client may
	// still ask for the next one.
	quietTime = time.Second
	// holdTime bounds it all.
	holdTime = 15 * time.Second
)

// Hold implements session.Terminal.
func (c *Conn) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.back != nil {
		return
	}
	h := &hold{until: time.Now().Add(holdTime)}
	h.timer = time.AfterFunc(listTime, func() { c.release(h) })
	c.back = h
}

// release lets what waits go when the client has caught up.
func (c *Conn) release(h *hold) {
	c.mu.Lock()
	if c.back != h {
		c.mu.Unlock()
		return
	}
	if h.busy > 0 && time.Now().Before(h.until) {
		h.timer.Reset(quietTime)
		c.mu.Unlock()
		return
	}
	c.back = nil
	if c.closed || len(h.events) == 0 {
		c.mu.Unlock()
		return
	}
	c.out = append(c.out, h.events...)
	c.outBytes += h.bytes
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		go c.write()
	}
}

// holdLocked keeps o back if it has to wait: the events of logs do, which alone
// have a sequence.
func (c *Conn) holdLocked(o outgoing) bool {
	if c.back == nil || o.event == nil || o.event.Seq == 0 {
		return false
	}
	c.back.events = append(c.back.events, o)
	c.back.bytes += o.size()
	return true
}

// heldBack returns how many events have waited for the list.
func (c *Conn) heldBack() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return 0
	}
	return c.back.listed + len(c.back.events)
}

// listed notes that a list was queued that was read after the first n events.
func (c *Conn) listed(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.back
	if h == nil {
		return
	}
	for ; h.listed < n; h.listed++ {
		h.bytes -= h.events[0].size()
		h.events = h.events[1:]
	}
	h.timer.Reset(quietTime)
}

// catching notes that a command which fetches what was missed begins, +1, or
// has been answered, -1.
func (c *Conn) catching(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.back
	if h == nil || h.busy+n < 0 { // it began before the device was back
		return
	}
	h.busy += n
	if n < 0 && time.Now().Before(h.until) {
		h.timer.Reset(quietTime)
	}
}
