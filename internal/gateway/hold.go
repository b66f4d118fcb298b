package gateway

import (
	"time"

	"imserver/internal/fanout"
)

// hold is what waits on a connection whose device has come back. Its SDK reads
// the list of conversations and compares each group's newest sequence there
// with the newest message it has: what lies between it fetches (protocol 03
// §14.3). A push that overtook the list would be the newest message it has,
// and hide all that is missing before it. So the events of logs wait for the
// list, which is read after them and therefore holds them: then they need not
// be sent at all.
type hold struct {
	events []outgoing
	bytes  int
}

// holdTime is how long they wait for a client that asks for no list.
const holdTime = 3 * time.Second

// Hold implements session.Terminal.
func (c *Conn) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.back != nil {
		return
	}
	h := &hold{}
	c.back = h
	time.AfterFunc(holdTime, func() {
		c.mu.Lock()
		if c.back != h {
			c.mu.Unlock()
			return
		}
		c.resumeLocked(0)
	})
}

// holdLocked keeps e back if it has to wait.
func (c *Conn) holdLocked(o outgoing) bool {
	if c.back == nil || o.event == nil || !waits(o.event) {
		return false
	}
	c.back.events = append(c.back.events, o)
	c.back.bytes += o.size()
	return true
}

// waits tells the events of logs from those that no list makes up for.
func waits(e *fanout.Event) bool { return e.Seq > 0 }

// heldBack returns how many events wait for the list.
func (c *Conn) heldBack() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.back == nil {
		return 0
	}
	return len(c.back.events)
}

// resume ends the waiting: the first n events are in the list that was just
// queued, the others follow it.
func (c *Conn) resume(n int) {
	c.mu.Lock()
	c.resumeLocked(n)
}

// resumeLocked is resume by a caller who holds mu; it releases it.
func (c *Conn) resumeLocked(n int) {
	h := c.back
	c.back = nil
	if h == nil || c.closed || len(h.events) == n {
		c.mu.Unlock()
		return
	}
	for _, o := range h.events[n:] {
		c.out = append(c.out, o)
		c.outBytes += o.size()
	}
	start := !c.writing
	c.writing = true
	c.mu.Unlock()
	if start {
		go c.write()
	}
}
