package gateway

import (
	"sync"
	"sync/atomic"
)

// together writes what a commit brings about, an answer and an event for each
// of its messages, to one connection after the other in the goroutine that
// tells of the commit. A goroutine for each of these connections costs the
// server a fifth more for a message, and so does a second one that takes half
// of them: what is cheap is one loop over code and data that are at hand. It
// never waits for a connection, see [Conn.writeNow].
type together struct {
	open atomic.Int32 // calls of run whose functions run; changes under mu

	mu    sync.Mutex
	conns []*Conn // guarded by mu: each is marked as writing
}

// add leaves c's queue to those who gather. It reports false when nobody does.
func (t *together) add(c *Conn) bool {
	if t.open.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open.Load() == 0 {
		return false
	}
	t.conns = append(t.conns, c)
	return true
}

// mostTogether is how many connections a call of run writes to: a small commit
// has fewer, unless its users have many devices.
const mostTogether = 128

// run calls fn and then writes what was added meanwhile, by whomever, to the
// connections that have answers. Those that have events alone are left for
// rest, which is nil if there are none: whoever waits for an answer sends again
// when it has come, and takes part in the next commit, while nothing depends on
// a push a fraction of a millisecond sooner.
func (t *together) run(fn func()) (rest func()) {
	t.mu.Lock()
	t.open.Add(1)
	t.mu.Unlock()
	fn()
	t.mu.Lock()
	t.open.Add(-1)
	conns := t.conns
	t.conns = nil
	t.mu.Unlock()
	var left []*Conn
	for i, c := range conns {
		switch {
		case i >= mostTogether:
			go c.write()
		case c.putOff():
			left = append(left, c)
		default:
			c.writeNow()
		}
	}
	if left == nil {
		return nil
	}
	return func() {
		for _, c := range left {
			if c.takeUp() {
				c.writeNow()
			}
		}
	}
}

// putOff marks a connection to which only events are to be written. Its queue
// is written by who takes it up: the caller later, or who has an answer for it.
func (c *Conn) putOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.out {
		if c.out[i].event == nil {
			return false
		}
	}
	c.off = true
	return true
}

// takeUp reports whether the connection is still put off; it is not any more.
func (c *Conn) takeUp() (off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	off, c.off = c.off, false
	return off
}
