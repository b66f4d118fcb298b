package gateway

import (
	"context"

	"imserver/internal/command"
)

// maxReread is how often a snapshot is read again because events came meanwhile.
const maxReread = 10

// serveSnapshot runs a command whose answer the SDK puts in the place of what
// it has. An event that was queued while the list was read would be undone by
// it, so the answer is only queued when none was; otherwise the list is read
// again. Under a flood that never pauses the last reading goes out as it is.
// Events that wait follow the answer, and undo nothing.
func (c *Conn) serveSnapshot(ctx context.Context, call *command.Call, r request) {
	for try := 0; ; try++ {
		seen, held := c.eventCount(), c.heldBack()
		answer, err := c.run(ctx, call, r)
		if err != nil || try == maxReread {
			if err == nil {
				c.fetched(r.access, held)
			}
			c.finish(r, call, answer, err)
			return
		}
		message, code := c.encode(r, answer, nil)
		if c.enqueueIf(seen, outgoing{message: message}) {
			c.fetched(r.access, held)
			c.account(r, code)
			c.end(r)
			return
		}
	}
}

// eventCount returns how many events were queued for the connection so far.
func (c *Conn) eventCount() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events
}

// enqueueIf is enqueue unless events were queued since the count was seen.
func (c *Conn) enqueueIf(seen uint64, o outgoing) bool {
	c.mu.Lock()
	if c.events != seen && !c.closed {
		c.mu.Unlock()
		return false
	}
	c.enqueueLocked(o)
	return true
}
