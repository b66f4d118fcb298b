package group

import (
	"context"
	"sync"
)

// turns lets the changes of one group on this node happen one after the other,
// what is told of them included: so it is told in the order in which they were
// made. The lock on the group's row orders the transactions anyway, also those
// of other nodes; here they wait without taking a connection. What two nodes
// change within moments may be told in either order.
type turns struct {
	mu    sync.Mutex
	taken map[turnKey]*turn // guarded by mu
}

type turnKey struct {
	app uint32
	id  string
}

// turn is the lock of one group while anybody has it or waits for it.
type turn struct {
	free  chan struct{} // holds a token while nobody has the turn
	wants int           // guarded by turns.mu
}

// take waits for the group's turn; end gives it to the next one.
func (t *turns) take(ctx context.Context, app uint32, id string) (end func(), err error) {
	key := turnKey{app, id}
	t.mu.Lock()
	mine := t.taken[key]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		if t.taken == nil {
			t.taken = map[turnKey]*turn{}
		}
		t.taken[key] = mine
	}
	mine.wants++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wants--; mine.wants == 0 {
			delete(t.taken, key)
		}
	}
	select {
	case <-mine.free:
		return func() { mine.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
