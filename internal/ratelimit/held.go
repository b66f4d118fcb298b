package ratelimit

import (
	"math/rand/v2"
	"sync"
	"time"
)

// decision names what held messages wait for: the start of a second (High
// ones), or the decision of a second.
type decision struct {
	key    int64
	second int64
	high   bool
}

// heldBack keeps this node's held messages until they are decided.
type heldBack struct {
	clock Clock
	// ask gets the settlement of a decision; it answers on any goroutine.
	ask func(d decision, own counts, limit int, answer func(settlement))

	mu      sync.Mutex
	waiting map[decision]*heldSet // guarded by mu
}

type heldSet struct {
	limit int
	done  [priorities][]func(bool)
}

func newHeldBack(clock Clock, ask func(decision, counts, int, func(settlement))) *heldBack {
	return &heldBack{clock: clock, ask: ask, waiting: map[decision]*heldSet{}}
}

// add keeps a message for v's second.
func (h *heldBack) add(key int64, p Priority, limit int, v verdict, done func(bool)) {
	d := decision{key: key, second: v.second, high: p == High}
	h.mu.Lock()
	set := h.waiting[d]
	first := set == nil
	if first {
		set = &heldSet{}
		h.waiting[d] = set
	}
	set.limit = limit
	set.done[p] = append(set.done[p], done)
	h.mu.Unlock()
	if first {
		h.schedule(d, v.wait)
	}
}

func (h *heldBack) schedule(d decision, wait int64) {
	h.clock.AfterFunc(time.Duration(wait)*time.Millisecond, func() { h.settle(d) })
}

// settle asks for the decision and tells the messages.
func (h *heldBack) settle(d decision) {
	h.mu.Lock()
	set := h.waiting[d]
	delete(h.waiting, d)
	h.mu.Unlock()
	if set == nil {
		return
	}
	var own counts
	for p := range set.done {
		own[p] = len(set.done[p])
	}
	h.ask(d, own, set.limit, func(s settlement) {
		if s.wait > 0 {
			h.putBack(d, set)
			h.schedule(d, s.wait)
			return
		}
		for p, done := range set.done {
			tell(done, s.granted[p])
		}
	})
}

// putBack returns a set whose decision cannot be taken yet.
func (h *heldBack) putBack(d decision, set *heldSet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since := h.waiting[d]; since != nil { // came meanwhile
		for p := range set.done {
			set.done[p] = append(set.done[p], since.done[p]...)
		}
	}
	h.waiting[d] = set
}

// tell lets n of the equals pass, chosen at random (protocol 03 §12.1), in
// the order they came.
func tell(done []func(bool), n int) {
	passes := make([]bool, len(done))
	for _, i := range rand.Perm(len(done))[:min(n, len(done))] {
		passes[i] = true
	}
	for i, f := range done {
		f(passes[i])
	}
}
