package ratelimit

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"pgregory.net/rapid"
)

// fakeClock stands still until a test moves it.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time   // guarded by mu, as timers
	timers []fakeTimer // by time
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newFakeClock() *fakeClock { return &fakeClock{now: time.Unix(1_800_000_000, 0)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.now.Add(d)
	i := sort.Search(len(c.timers), func(i int) bool { return c.timers[i].at.After(at) })
	c.timers = slices.Insert(c.timers, i, fakeTimer{at, f})
}

// advanceTo moves the clock, stopping at every timer; settled is called after
// each so that what it started is finished.
func (c *fakeClock) advanceTo(t time.Time, settled func()) {
	for {
		c.mu.Lock()
		if len(c.timers) == 0 || c.timers[0].at.After(t) {
			c.now = t
			c.mu.Unlock()
			return
		}
		next := c.timers[0]
		c.timers = c.timers[1:]
		c.now = next.at
		c.mu.Unlock()
		next.f()
		settled()
	}
}

// sent is a message of a simulation and what became of it.
type sent struct {
	at       time.Duration // since the start, which is the start of a second
	p        Priority
	admitted bool
	decided  time.Duration
	calls    int
}

// load is a steady load: what is sent in every second, at which moments of it.
type load struct {
	limit   int
	perSec  counts
	moments [priorities][]time.Duration
}

func (l load) total() int { return l.perSec[0] + l.perSec[1] + l.perSec[2] + l.perSec[3] }

// early is how many of a second's come before its decision.
func (l load) early() (n int) {
	for _, moments := range l.moments {
		for _, m := range moments {
			if m < decideAt*time.Millisecond {
				n++
			}
		}
	}
	return n
}

// due is what should pass of each priority per second.
func (l load) due() (due counts) {
	left := l.limit
	for p, n := range l.perSec {
		due[p] = min(n, left)
		left -= due[p]
	}
	return due
}

func drawLoad(t *rapid.T, most int) load {
	l := load{limit: rapid.SampledFrom([]int{40, 40, 5, 17}).Draw(t, "limit")}
	spread := rapid.SampledFrom([]string{"even", "random", "clumped"}).Draw(t, "spread")
	for p := range l.perSec {
		n := rapid.IntRange(0, most*l.limit/40).Draw(t, "rate")
		l.perSec[p] = n
		phase := rapid.Int64Range(0, int64(time.Second)-1).Draw(t, "phase")
		for i := range n {
			at := phase
			switch spread {
			case "even":
				at = phase + int64(i)*int64(time.Second)/int64(n)
			case "random":
				at = rapid.Int64Range(0, int64(time.Second)-1).Draw(t, "at")
			case "clumped":
				at = phase + int64(i)*int64(time.Millisecond)/4
			}
			l.moments[p] = append(l.moments[p], time.Duration(at%int64(time.Second)))
		}
	}
	return l
}

// simulate sends the load for some seconds, each message through the next of
// the nodes, and returns it with its fate. idle waits until nothing is under way.
func simulate(l load, seconds int, c *fakeClock, nodes []Limiter, idle func()) []*sent {
	var all []*sent
	for sec := range seconds + 1 { // the load goes on after what check looks at
		for p, moments := range l.moments {
			for _, m := range moments {
				all = append(all, &sent{at: time.Duration(sec)*time.Second + m, p: Priority(p)})
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].at < all[j].at })
	start := c.Now()
	var mu sync.Mutex
	for i, m := range all {
		c.advanceTo(start.Add(m.at), idle)
		nodes[i*7/3%len(nodes)].Admit(context.Background(), 7, m.p, l.limit, func(admitted bool) {
			mu.Lock()
			defer mu.Unlock()
			m.admitted, m.decided, m.calls = admitted, c.Now().Sub(start), m.calls+1
		})
		idle()
	}
	c.advanceTo(start.Add(time.Duration(seconds+3)*time.Second), idle)
	mu.Lock()
	defer mu.Unlock()
	return all
}

// check holds the fates against the promise.
func check(t *rapid.T, l load, all []*sent, seconds int) {
	passed := map[int]int{} // aligned second -> messages
	var got counts          // passed of those sent from the second second on
	for _, m := range all {
		if m.calls != 1 {
			t.Fatalf("a message sent at %v was decided %d times", m.at, m.calls)
		}
		if held := m.decided - m.at; held < 0 || held > time.Second {
			t.Fatalf("a message sent at %v was held for %v", m.at, held)
		}
		if l.total() <= l.limit && (!m.admitted || m.decided != m.at) {
			t.Fatalf("under the limit, but a message sent at %v: admitted %v at %v", m.at, m.admitted, m.decided)
		}
		if m.admitted {
			passed[int(m.decided/time.Second)]++
		}
		if m.at < time.Second || m.at >= time.Duration(seconds)*time.Second {
			continue
		}
		if m.admitted {
			got[m.p]++
		} else if m.p == High && l.perSec[High] <= l.limit {
			t.Fatalf("a High message sent at %v was dropped, %d High in a second", m.at, l.perSec[High])
		}
	}
	for sec, n := range passed {
		if n > l.limit {
			t.Fatalf("%d passed in second %d, the limit is %d", n, sec, l.limit)
		}
		if l.total() > l.limit && sec < seconds && n != l.limit {
			t.Fatalf("%d passed in second %d of an overload, the limit of %d is not used", n, sec, l.limit)
		}
	}
	for p, due := range l.due() {
		want := due * (seconds - 1)
		tolerance := want/10 + max(2, l.limit/10) // the latter once, for both ends
		more := tolerance
		if l.early() <= l.limit {
			// The overload first shows in the last part of a second, which
			// carries over: until that part is full, less is dropped than due.
			more += l.limit
		}
		if off := got[p] - want; off < -tolerance || off > more {
			t.Fatalf("priority %d: %d passed, due are %d of %d; all: %v", p, got[p], want, l.perSec[p]*(seconds-1), got)
		}
	}
}
