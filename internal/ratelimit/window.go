package ratelimit

// This file is the rule itself, without clock, locks or waiting. The script in
// redis.lua is the same rule for a cluster; a test compares the two step by
// step.

const (
	second = 1000 // ms
	// decideAt is when a guarded second is decided, in ms of it.
	decideAt = 850
	// heldFactor bounds what is held back per priority: this many limits.
	heldFactor = 20
	// guardedFor is how many seconds after an exceeded one a near miss keeps
	// the group guarded.
	guardedFor = 2
	// stepBack is how many seconds the clock may go back before the state is
	// forgotten, rather than kept until the clock has caught up.
	stepBack = 3
)

// action is the immediate outcome of an arrival.
type action uint8

const (
	drop action = iota
	pass
	hold
)

// verdict is the outcome of an arrival. A held message waits for the decision
// of a second: of High messages at its start, of the others at decideAt.
type verdict struct {
	action action
	second int64 // whose decision a held message waits for
	wait   int64 // ms until then
}

// counts is a number per priority.
type counts [priorities]int

// settlement answers how many of a node's held messages pass. With wait > 0
// it is too early to tell: ask again after so many ms.
type settlement struct {
	granted counts
	wait    int64
}

// window is the state of one group.
type window struct {
	sec     int64 // the current second
	demand  int   // messages sent in it
	high    int   // High ones among them
	before  int   // High ones of the second before
	passed  int   // messages passed in it, or promised
	over    int64 // the last second with more demand than limit
	guarded bool
	decided bool

	// waiting are the held ones: index High for those whose second began, the
	// others for the decision of sec. due is how many of them may pass.
	waiting, due counts
	// next are those held for the following second.
	next counts
}

// advance brings the window to the second of now.
func (w *window) advance(now int64, limit int) {
	sec := now / second
	if sec < w.sec-stepBack {
		*w = window{}
	}
	if sec <= w.sec {
		return
	}
	if w.demand > limit {
		w.over = w.sec
	}
	follows := sec == w.sec+1
	w.guarded = follows && (w.over == w.sec || w.over >= w.sec-guardedFor && w.demand*5 >= limit*4)
	w.waiting, w.due, w.passed = counts{}, counts{}, 0
	if follows {
		w.waiting = w.next
		w.due[High] = min(w.next[High], limit)
		w.passed = w.due[High]
	}
	w.before = 0
	if follows {
		w.before = w.high
	}
	w.sec, w.demand, w.high, w.decided, w.next = sec, 0, 0, false, counts{}
}

// decide shares what High left of the second among the others.
func (w *window) decide(limit int) {
	w.decided = true
	for p := Normal; p <= Lowest; p++ {
		w.due[p] = max(0, min(w.waiting[p], limit-w.passed))
		w.passed += w.due[p]
	}
}

// arrive counts a message sent at now (ms since the epoch).
func (w *window) arrive(now int64, p Priority, limit int) verdict {
	w.advance(now, limit)
	ms := max(0, now-w.sec*second)
	w.demand++
	if p == High {
		w.high++
	}
	if w.guarded && !w.decided && ms >= decideAt {
		w.decide(limit)
	}
	waitsForDecision := w.guarded && !w.decided && p != High
	switch {
	case w.passed < limit && !waitsForDecision:
		w.passed++
		return verdict{action: pass}
	case ms >= decideAt && p == High: // waits for the start of the next second
		if w.next[p] >= limit {
			return verdict{action: drop}
		}
		w.next[p]++
		return verdict{hold, w.sec + 1, second - min(ms, second)}
	case ms >= decideAt:
		if w.next[p] >= heldFactor*limit {
			return verdict{action: drop}
		}
		w.next[p]++
		return verdict{hold, w.sec + 1, second - min(ms, second) + decideAt}
	case waitsForDecision:
		if w.waiting[p] >= heldFactor*limit {
			return verdict{action: drop}
		}
		w.waiting[p]++
		return verdict{hold, w.sec, decideAt - ms}
	}
	return verdict{action: drop}
}

// settle answers a node that holds own messages for the decision of sec:
// High ones or others, never both.
func (w *window) settle(now, sec int64, own counts, limit int) settlement {
	w.advance(now, limit)
	if sec > w.sec { // the node's timer was early
		return settlement{wait: max(1, sec*second-now)}
	}
	if sec < w.sec { // it was late: the second is over, only spare room is left
		return settlement{granted: w.spare(own, limit)}
	}
	if own[High] == 0 && !w.decided {
		w.decide(limit)
	}
	var s settlement
	for p := range own {
		n := share(own[p], w.due[p], w.waiting[p])
		w.due[p] -= n
		w.waiting[p] -= min(own[p], w.waiting[p])
		s.granted[p] = n
	}
	return s
}

// share is the node's part of due: in proportion to what it holds of all that
// waits, so that no node is preferred, and exact in the sum over nodes.
func share(own, due, waiting int) int {
	if waiting <= 0 {
		return 0
	}
	if own >= waiting {
		return due
	}
	return min(own, due, (due*own+waiting/2)/waiting)
}

// spare grants from what nobody is owed in the current second. While it is
// not decided, as many High messages as in the second before are expected.
func (w *window) spare(own counts, limit int) counts {
	var granted counts
	for p := High; p <= Lowest; p++ {
		room := limit - w.passed
		if p != High && w.guarded && !w.decided {
			room -= max(0, w.before-w.high)
		}
		granted[p] = max(0, min(own[p], room))
		w.passed += granted[p]
	}
	return granted
}
