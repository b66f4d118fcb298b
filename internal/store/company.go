package store

import (
	"runtime"
	"time"
)

// company is what a writer knows about those who may share its next commit.
//
// Senders who send again when they are answered, such as pairs with one message
// in flight, fall into two halves: one is answered while the other is being
// committed, and so every commit has half of what it could have and everybody
// waits for two. A writer therefore waits a little for those whom it has just
// answered, at most as long as a commit takes. Where a sync takes 0.3 ms or more,
// that is a fifth to a third more messages a second; where it takes less, as many
// with a fifth less processor time.
type company struct {
	came   chan struct{} // gets a token when as many items are free as are wanted
	wanted int           // items that a writer waits for; 0: none does
	known  int           // items of the last commit and those that waited at its end
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

// ended notes a commit.
func (c *company) ended(items, waiting int, took time.Duration, err error) {
	c.known, c.took = items+waiting, took
	if err != nil || items == 1 {
		c.known = 0 // a lone sender, or somebody who has to wait long enough
	}
}

// expected is for how many items to wait, and for how long, when free are
// there; 0 means not to.
func (c *company) expected(free int) (wanted int, patience time.Duration) {
	wanted = c.known - c.known/12 // of many, one who thinks longer is not worth everybody's waiting
	patience = min(c.took, mostPatience)
	if wanted > companyMost || free == 0 || free >= wanted || patience < leastPatience {
		return 0, 0
	}
	if c.pause > 0 {
		c.pause--
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
// lone one does not wait: nobody is about to follow. Then it waits for company.
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
	b.await()
}

// await waits for those who were answered last, if that promises something and
// no other writer is there to do it.
func (b *Batcher[T]) await() {
	c := &b.company
	b.mu.Lock()
	var patience time.Duration
	if b.running == 1 && !b.stopped {
		c.wanted, patience = c.expected(b.free)
	}
	b.mu.Unlock()
	if patience == 0 {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.came:
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	came := c.wanted == 0
	if came {
		select {
		case <-c.came: // in the moment in which patience ended
		default:
		}
	}
	c.waited(came)
}
