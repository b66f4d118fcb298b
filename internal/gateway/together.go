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

// run calls fn and then writes what was added meanwhile, by whomever.
func (t *together) run(fn func()) {
	t.mu.Lock()
	t.open.Add(1)
	t.mu.Unlock()
	fn()
	t.mu.Lock()
	t.open.Add(-1)
	conns := t.conns
	t.conns = nil
	t.mu.Unlock()
	for i, c := range conns {
		if i < mostTogether {
			c.writeNow()
		} else {
			go c.write()
		}
	}
}
