package store

import (
	"runtime"
	"time"
)

// company is what the writers know about those who may share their next commits.
//
// Senders who send again when they are answered, such as pairs with one message
// in flight, take turns by themselves: while some are being committed, others
// are answered and come back, in parts as small as chance makes them. Most of
// all of them in one commit cost the database least, so a writer waits a little
// for those who were just answered, at most as long as a commit takes.
type company struct {
	came   chan struct{} // gets a token when as many items are free as are wanted
	waits  bool          // a writer waits
	wanted int           // items that it waits for, 0 when they are there
	known  int           // senders, as many as were seen at once lately
	took   time.Duration // the last commit
	misses int           // how often in a row those expected did not come
	pause  int           // batches until they are expected again
}

const (
	// companyMost is up to how many items are waited for: of more, a commit's
	// own cost is a small part.
	companyMost = 64
	// leastPatience is the shortest time worth waiting, mostPatience the longest.
	// Timers of an idle process are not exact to less than the latter.
	leastPatience, mostPatience = 150 * time.Microsecond, time.Millisecond
	// mostPause is how many batches go without when nobody came: clients that do
	// not wait for their answers cost next to nothing.
	mostPause = 64
)

// ended notes a commit of some items, while others were being committed and
// waiting. Those just answered are not among these until they send again, so
// known falls by an eighth at most.
func (c *company) ended(items, others, waiting int, took time.Duration, err error) {
	c.known, c.took = max(items+others+waiting, c.known-(c.known+7)/8), took
	if err != nil || items+others == 1 {
		c.known = 0 // a lone sender, or somebody who has to wait long enough
	}
}

// expected is for how many items to wait, and for how long, when free are
// there; 0 means not to.
func (c *company) expected(free int) (wanted int, patience time.Duration) {
	if c.pause > 0 && free > 0 {
		c.pause--
		return 0, 0
	}
	wanted = c.known - c.known/12 // of many, one who thinks longer is not worth everybody's waiting
	patience = min(c.took, mostPatience)
	if c.known > companyMost || free == 0 || free >= wanted || patience < leastPatience {
		return 0, 0
	}
	return wanted, patience
}

// waited notes whether those expected came.
func (c *company) waited(came bool) {
	c.wanted = 0
	if came {
		c.misses = 0
		return
	}
	c.misses++
	c.pause = min(1<<c.misses-2, mostPause) // none after a first miss
}

// arrivedLocked tells the writer that waits, if enough are there.
func (b *Batcher[T]) arrivedLocked() {
	if c := &b.company; c.wanted > 0 && b.free >= c.wanted {
		c.wanted = 0
		c.came <- struct{}{} // there is room: nobody else has put one
	}
}

// gather lets goroutines that are ready to run go first as long as they bring
// further items: what they are about to hand in shares the commit. While there
// is nothing else to do it costs nothing and delays nothing. An item after a
// lone one does not wait: nobody is about to follow.
func (b *Batcher[T]) gather() {
	b.mu.Lock()
	before, most := b.free, min(b.hope, b.options.MaxBatch)
	b.mu.Unlock()
	for before < most {
		runtime.Gosched()
		b.mu.Lock()
		now := b.free
		b.mu.Unlock()
		if now == before {
			break
		}
		before = now
	}
}

// awaitLocked waits for company if that promises something; it unlocks mu
// meanwhile. It reports false when another writer waits already: what comes is
// for that one.
func (b *Batcher[T]) awaitLocked() bool {
	c := &b.company
	if c.waits {
		return false
	}
	wanted, patience := c.expected(b.free)
	if patience == 0 || b.stopped {
		return true
	}
	c.waits, c.wanted = true, wanted
	b.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.came:
	case <-timer.C:
	}
	b.mu.Lock()
	came := c.wanted == 0
	if came {
		select {
		case <-c.came: // in the moment in which patience ended
		default:
		}
	}
	c.waits = false
	c.waited(came)
	return true
}
