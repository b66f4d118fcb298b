package fanout

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Position is the newest sequence of a log that is published on Topic.
type Position struct {
	Topic    Topic
	Log, Seq int64
}

// Filler reads from the record what a node has missed.
type Filler interface {
	// Heads returns the position of every log of these topics that has
	// anything. What it returns was committed before it returns.
	Heads(ctx context.Context, topics []Topic) ([]Position, error)
	// Fill returns the events of a log with sequences from first to last, in
	// order. Sequences that have nothing to show are left out.
	Fill(ctx context.Context, t Topic, log, first, last int64) ([]*Event, error)
}

// Order hands the events of each log to this node's subscribers in sequence
// order, each once. Nodes publish after their commits, so on the way an event
// can be overtaken, doubled or lost; the SDKs repair nothing of that within a
// session (protocol 03 §14.1). Sequences are contiguous, which makes a gap
// visible: an event whose predecessor has not arrived waits, at most the
// patience, and then the missing ones are read from the record.
//
// A log's place is known from when the topic's first subscriber of the node
// came: Settle, which a login waits for, reads it from the record, and
// everything up to it the subscriber finds when it asks for its state.
type Order struct {
	hub      *Hub
	filler   Filler
	patience time.Duration
	log      *slog.Logger

	mu      sync.Mutex
	topics  map[Topic]*ordered // guarded by mu; topics with subscribers here
	pending []Topic            // guarded by mu; places not read yet
	entered []Topic            // guarded by mu; places known, but the bus may not deliver yet
	settle  sync.Mutex         // held while places are read; before mu
}

// ordered is the state of a topic. Its lock is held while events are offered,
// which is what keeps their order; no other lock of Order is taken inside it.
type ordered struct {
	mu    sync.Mutex
	known bool                // places were read: a log not listed is at 0
	logs  map[int64]*sequence // by log
}

// sequence is the state of a log.
type sequence struct {
	last    int64            // newest offered; -1 while the place is unknown
	high    int64            // newest heard of
	held    map[int64]*Event // arrived too early
	waiting bool             // a look at the gap is due
}

// Bounds of Order.
const (
	fillPage    = 200              // events of one read
	maxHeld     = 512              // early events kept of a log; others are read again
	maxFill     = 2000             // a larger gap makes clients fetch their state anew
	headsPage   = 500              // topics of one read
	fillTimeout = 10 * time.Second // of one read
	lookAgain   = time.Second      // after a topic was joined: by then the bus delivers it
)

// NewOrder makes h order what it delivers. It must be called before traffic
// starts, and not on a node without others: there events are in order already.
func NewOrder(h *Hub, filler Filler, patience time.Duration, log *slog.Logger) *Order {
	o := &Order{hub: h, filler: filler, patience: patience, log: log, topics: map[Topic]*ordered{}}
	h.order = o
	h.OnReset(func() { go o.catchUp(o.all()) })
	return o
}

// joined notes that a topic has its first subscriber here.
func (o *Order) joined(t Topic) {
	if _, ok := GroupOf(t); !ok {
		return
	}
	o.mu.Lock()
	if o.topics[t] == nil {
		o.topics[t] = &ordered{logs: map[int64]*sequence{}}
	}
	o.pending = append(o.pending, t)
	first := len(o.pending) == 1
	o.mu.Unlock()
	if first { // a login calls Settle itself, but it may be given up before
		time.AfterFunc(o.patience/4, func() { o.Settle(context.Background()) })
	}
}

// left forgets a topic that has no subscriber here any more.
func (o *Order) left(t Topic) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.hub.Subscribers(t) == 0 {
		delete(o.topics, t)
	}
}

func (o *Order) all() []Topic {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Topic, 0, len(o.topics))
	for t := range o.topics {
		list = append(list, t)
	}
	return list
}

func (o *Order) state(t Topic) *ordered {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.topics[t]
}

// Settle reads the places of all topics joined before the call, with one query
// for all that wait. A login calls it before it is answered.
func (o *Order) Settle(ctx context.Context) {
	o.settle.Lock()
	defer o.settle.Unlock()
	o.mu.Lock()
	topics := o.pending
	o.pending = nil
	o.mu.Unlock()
	if len(topics) == 0 {
		return
	}
	o.heads(ctx, topics, o.place)
	time.AfterFunc(lookAgain, func() { o.catchUp(topics) })
}

// heads reads positions and hands each topic's to fn, also when there are none.
func (o *Order) heads(ctx context.Context, topics []Topic, fn func(Topic, []Position)) {
	for len(topics) > 0 {
		part := topics[:min(len(topics), headsPage)]
		topics = topics[len(part):]
		ctx, cancel := context.WithTimeout(ctx, fillTimeout)
		list, err := o.filler.Heads(ctx, part)
		cancel()
		if err != nil { // places stay unknown: the first events tell them
			o.log.Error("places of logs could not be read", "err", err)
			return
		}
		byTopic := make(map[Topic][]Position, len(part))
		for _, p := range list {
			byTopic[p.Topic] = append(byTopic[p.Topic], p)
		}
		for _, t := range part {
			fn(t, byTopic[t])
		}
	}
}

// place sets the places of a topic that were unknown. Events that came
// meanwhile are offered even if the place includes them: who joined before
// them may have asked for its state already.
func (o *Order) place(t Topic, positions []Position) {
	g := o.state(t)
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known {
		return
	}
	for _, p := range positions {
		if s := g.sequence(p.Log); s.last < 0 {
			s.last = p.Seq
			s.high = max(s.high, p.Seq)
		}
	}
	g.known = true
	for log, s := range g.logs {
		if early := s.earliest(); early > 0 {
			s.last = min(max(s.last, 0), early-1)
			o.advance(t, g, log, s, o.patience)
		}
	}
}

// sequence returns the state of a log, made if it is new.
func (g *ordered) sequence(log int64) *sequence {
	s := g.logs[log]
	if s == nil {
		s = &sequence{last: -1}
		if g.known {
			s.last = 0
		}
		g.logs[log] = s
	}
	return s
}

// earliest is the lowest sequence held, 0 if none is.
func (s *sequence) earliest() (low int64) {
	for seq := range s.held {
		if low == 0 || seq < low {
			low = seq
		}
	}
	return low
}

// take offers an event when its turn has come, drops it when it was offered
// before, and keeps it otherwise.
func (o *Order) take(t Topic, e *Event) {
	g := o.state(t)
	if g == nil {
		o.hub.local(t, e) // nobody here, or not an ordered topic
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.sequence(e.Log)
	if s.last >= 0 && e.Seq <= s.last {
		return
	}
	s.high = max(s.high, e.Seq)
	if len(s.held) < maxHeld || e.Seq == s.last+1 {
		if s.held == nil {
			s.held = map[int64]*Event{}
		}
		s.held[e.Seq] = e
	}
	o.advance(t, g, e.Log, s, o.patience)
}

// advance offers what is in turn and sees to it that a gap is looked at. The
// topic's lock is held.
func (o *Order) advance(t Topic, g *ordered, log int64, s *sequence, patience time.Duration) {
	if s.last >= 0 {
		o.offerHeld(t, s)
	}
	if (s.high > s.last || s.last < 0) && !s.waiting {
		s.waiting = true
		time.AfterFunc(patience, func() { o.fill(t, g, log, s) })
	}
}

func (o *Order) offerHeld(t Topic, s *sequence) {
	for e := s.held[s.last+1]; e != nil; e = s.held[s.last+1] {
		s.last++
		delete(s.held, s.last)
		o.hub.local(t, e)
	}
}

// fill closes a gap that has lasted.
func (o *Order) fill(t Topic, g *ordered, log int64, s *sequence) {
	if o.state(t) != g {
		return // the last subscriber left
	}
	first, last := o.gap(t, g, s)
	if first > last {
		return
	}
	page := min(last, first+fillPage-1)
	ctx, cancel := context.WithTimeout(context.Background(), fillTimeout)
	events, err := o.filler.Fill(ctx, t, log, first, page)
	cancel()
	patience := o.patience
	if err != nil {
		o.log.Error("a gap could not be read", "topic", string(t), "log", log, "err", err)
	} else if page < last {
		patience = 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		o.offerFilled(t, s, events, page)
	}
	s.waiting = false
	o.advance(t, g, log, s, patience)
}

// gap returns the first and last sequence to read; an empty range ends the
// waiting. A gap too large to fill makes the clients fetch their state anew.
func (o *Order) gap(t Topic, g *ordered, s *sequence) (first, last int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.last < 0 { // the place could not be read: begin with what there is
		s.last = max(s.earliest()-1, 0)
	}
	o.offerHeld(t, s)
	if s.high-s.last > maxFill {
		o.hub.local(t, &Event{Kind: Resync})
		s.last, s.held = s.high, nil
	}
	s.waiting = s.high > s.last
	return s.last + 1, s.high
}

// offerFilled offers the events up to last, held ones and read ones, in order.
func (o *Order) offerFilled(t Topic, s *sequence, events []*Event, last int64) {
	for _, e := range events {
		if e.Seq > s.last && s.held[e.Seq] == nil {
			if s.held == nil {
				s.held = map[int64]*Event{}
			}
			s.held[e.Seq] = e
		}
	}
	for s.last < last {
		s.last++
		if e := s.held[s.last]; e != nil {
			delete(s.held, s.last)
			o.hub.local(t, e)
		}
	}
}

// catchUp compares the places of topics with the record and reads what is
// missing: after the bus was away, and a moment after a topic was joined.
func (o *Order) catchUp(topics []Topic) {
	o.heads(context.Background(), topics, func(t Topic, positions []Position) {
		g := o.state(t)
		if g == nil {
			return
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range positions {
			s := g.sequence(p.Log)
			if s.last >= 0 && p.Seq > s.high {
				s.high = p.Seq
				o.advance(t, g, p.Log, s, o.patience)
			}
		}
	})
}
