package store

import (
	"sync"
	"time"
)

// Recent remembers the keys of what was done lately: each for at least a given
// time, unless as many newer ones as it is made for have come, and never more
// than twice as many. It holds no pointers when its keys have none, so that the
// collector passes it by: the group-commit writers ask it about every message.
type Recent[K comparable] struct {
	count int
	ttl   time.Duration

	mu       sync.Mutex
	new, old map[K]struct{} // guarded by mu
	since    time.Time      // guarded by mu: when new was begun
}

// NewRecent makes a memory of at least count keys, each for at least ttl.
func NewRecent[K comparable](count int, ttl time.Duration) *Recent[K] {
	return &Recent[K]{count: count, ttl: ttl, new: map[K]struct{}{}, since: time.Now()}
}

// Add remembers key, and reports whether it was known.
func (r *Recent[K]) Add(key K) (known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.new) >= r.count || time.Since(r.since) >= r.ttl {
		r.old, r.new, r.since = r.new, map[K]struct{}{}, time.Now()
	}
	before := len(r.new)
	r.new[key] = struct{}{}
	if len(r.new) == before {
		return true
	}
	_, known = r.old[key]
	return known
}
