package ratelimit

import (
	"context"
	"sync"
)

const (
	localShards = 64
	// idleSeconds after which a group's state is forgotten.
	idleSeconds = 5
)

// Local limits within one process.
type Local struct {
	clock  Clock
	held   *heldBack
	shards [localShards]localShard
}

type localShard struct {
	mu      sync.Mutex
	windows map[int64]*window // guarded by mu, as swept
	swept   int64             // the second of the last sweep
}

// NewLocal makes the limiter of a single node; clock is [System] outside of
// tests.
func NewLocal(clock Clock) *Local {
	l := &Local{clock: clock}
	l.held = newHeldBack(clock, func(d decision, own counts, limit int, answer func(settlement)) {
		answer(l.settle(d, own, limit))
	})
	for i := range l.shards {
		l.shards[i].windows = map[int64]*window{}
	}
	return l
}

// Admit implements [Limiter]. A message that is not held back is decided
// before Admit returns.
func (l *Local) Admit(_ context.Context, key int64, p Priority, limit int, done func(bool)) {
	if limit <= 0 {
		done(true)
		return
	}
	p = min(p, Lowest)
	v := l.arrive(key, p, limit)
	if v.action == hold {
		l.held.add(key, p, limit, v, done)
		return
	}
	done(v.action == pass)
}

func (l *Local) arrive(key int64, p Priority, limit int) verdict {
	now := l.clock.Now().UnixMilli()
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window(key, now).arrive(now, p, limit)
}

func (l *Local) settle(d decision, own counts, limit int) settlement {
	now := l.clock.Now().UnixMilli()
	s := l.shard(d.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window(d.key, now).settle(now, d.second, own, limit)
}

// spare decides at once about messages that were held back elsewhere.
func (l *Local) spare(key int64, own counts, limit int) counts {
	now := l.clock.Now().UnixMilli()
	s := l.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.window(key, now)
	w.advance(now, limit)
	return w.spare(own, limit)
}

func (l *Local) shard(key int64) *localShard { return &l.shards[uint64(key)%localShards] }

// window returns the state of a group, for a caller that holds mu.
func (s *localShard) window(key, now int64) *window {
	if sec := now / second; sec >= s.swept+idleSeconds || sec < s.swept {
		s.swept = sec
		for k, w := range s.windows {
			if w.sec+idleSeconds < sec {
				delete(s.windows, k)
			}
		}
	}
	w := s.windows[key]
	if w == nil {
		w = &window{}
		s.windows[key] = w
	}
	return w
}
