package fanout

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"
)

// Somebody who becomes a member while connected has to hear everything from
// then on, but its node may learn of it later than of a message that was sent
// in between, and may not even be subscribed yet. So the event that tells of
// the joining says where each log stood, and whatever is missing after that is
// read from the record.

// NewJoin returns the event that makes an account's connections listen to t.
// turn counts the changes of who is in t, see [Latest]. places are where the
// topic's logs stood when the account came in; those not named were empty.
func NewJoin(t Topic, turn int64, places []Position) *Event {
	item := strconv.AppendInt(append([]byte(t), ' '), turn, 10)
	for _, p := range places {
		item = strconv.AppendInt(append(item, ' '), p.Log, 10)
		item = strconv.AppendInt(append(item, ' '), p.Seq, 10)
	}
	return &Event{Kind: Join, Item: item}
}

// NewLeave returns the event that ends what NewJoin began.
func NewLeave(t Topic, turn int64) *Event {
	return &Event{Kind: Leave, Item: strconv.AppendInt(append([]byte(t), ' '), turn, 10)}
}

// Joining reads what NewJoin or NewLeave wrote.
func (e *Event) Joining() (t Topic, turn int64, places []Position) {
	fields := bytes.Fields(e.Item)
	if len(fields) < 2 {
		return "", 0, nil
	}
	t = Topic(fields[0])
	turn, _ = strconv.ParseInt(string(fields[1]), 10, 64)
	for i := 2; i+1 < len(fields); i += 2 {
		p := Position{Topic: t}
		p.Log, _ = strconv.ParseInt(string(fields[i]), 10, 64) // what cannot be read is 0: too much is offered
		p.Seq, _ = strconv.ParseInt(string(fields[i+1]), 10, 64)
		places = append(places, p)
	}
	return t, turn, places
}

// Latest is what a connection was told last about being in topics. That
// somebody came in may be told by one node and that they are out again by
// another, and the two can arrive in the other order; the turn tells which one
// holds. The zero value is ready for use.
type Latest struct {
	mu    sync.Mutex
	turns map[Topic]int64 // guarded by mu
}

// Do runs fn unless a later turn of t was done before. One fn runs at a time.
func (l *Latest) Do(t Topic, turn int64, fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if turn <= l.turns[t] {
		return
	}
	if l.turns == nil {
		l.turns = map[Topic]int64{}
	}
	l.turns[t] = turn
	fn()
}

// Reset forgets everything: the connection is somebody else's now.
func (l *Latest) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turns = nil
}

// Enter is Join for somebody who has just become a member: s is offered what
// the logs hold behind places. It may be put into the topic a little later
// than Enter returns; if it does not want to stay by then, as still tells, it
// is taken out again.
func (h *Hub) Enter(t Topic, s Subscriber, places []Position, still func() bool) {
	if _, ok := GroupOf(t); !ok || h.order == nil {
		h.Join(t, s)
		return
	}
	h.order.enter(t, s, places, still)
}

func (o *Order) enter(t Topic, s Subscriber, places []Position, still func() bool) {
	fresh := &ordered{known: true, logs: map[int64]*sequence{}}
	for _, p := range places {
		fresh.logs[p.Log] = &sequence{last: p.Seq, high: p.Seq}
	}
	fresh.mu.Lock() // nobody is offered anything before s is in
	defer fresh.mu.Unlock()
	o.mu.Lock()
	g := o.topics[t]
	if g == nil {
		o.topics[t] = fresh
		o.entered = append(o.entered, t)
		if len(o.entered) == 1 {
			time.AfterFunc(o.patience/4, o.hear)
		}
	}
	o.mu.Unlock()
	if g == nil {
		o.hub.insert(t, s)
		return
	}
	n := newcomer{s: s, still: still, at: map[int64]int64{}}
	for _, p := range places {
		n.at[p.Log] = p.Seq
	}
	if !o.admit(t, g, &n) {
		go o.introduce(t, g, &n)
	}
}

// hear waits until the topics entered are subscribed on the bus, and reads what
// was published before. When the bus is away all is compared once it is back.
func (o *Order) hear() {
	o.mu.Lock()
	topics := o.entered
	o.entered = nil
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), fillTimeout)
	defer cancel()
	_ = o.hub.bus.Settle(ctx)
	o.catchUp(topics)
}

// newcomer is a subscriber on its way into a topic that others here are in.
type newcomer struct {
	s      Subscriber
	still  func() bool
	at     map[int64]int64 // where it stands, by log; those not listed at 0
	missed []*Event        // what it has missed up to there
}

// admit puts the newcomer into the topic if it stands where the others are.
func (o *Order) admit(t Topic, g *ordered, n *newcomer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.known || len(g.ahead(n.at)) > 0 {
		return false
	}
	d := n.s.Device()
	for _, e := range n.missed {
		if e.Concerns(d) {
			n.s.Offer(e.as(d.UID))
		}
	}
	o.hub.insert(t, n.s)
	return true
}

// ahead returns the logs of which more was offered here than at says, and how
// far. The topic's lock is held.
func (g *ordered) ahead(at map[int64]int64) (logs []Position) {
	for log, s := range g.logs {
		if s.last > at[log] {
			logs = append(logs, Position{Log: log, Seq: s.last})
		}
	}
	return logs
}

// introduce brings the newcomer to where the others are and puts it in.
func (o *Order) introduce(t Topic, g *ordered, n *newcomer) {
	ctx, cancel := context.WithTimeout(context.Background(), fillTimeout)
	defer cancel()
	for tries := 0; !o.admit(t, g, n); tries++ {
		if tries == maxTries || !o.follow(ctx, t, g, n) {
			n.s.Offer(&Event{Kind: Resync}) // it fetches its state anew
			o.hub.insert(t, n.s)
			break
		}
	}
	if !n.still() {
		o.hub.Leave(t, n.s)
	}
}

// maxTries is how often a newcomer runs after the others.
const maxTries = 20

// follow reads what the newcomer has missed so far; it reports whether that
// could be done.
func (o *Order) follow(ctx context.Context, t Topic, g *ordered, n *newcomer) bool {
	o.Settle(ctx) // the places may not be known yet
	g.mu.Lock()
	ahead := g.ahead(n.at)
	g.mu.Unlock()
	for _, p := range ahead {
		first := n.at[p.Log] + 1
		if p.Seq-first >= fillPage {
			return false
		}
		events, err := o.filler.Fill(ctx, t, p.Log, first, p.Seq)
		if err != nil {
			o.log.Error("what a newcomer missed could not be read", "topic", string(t), "log", p.Log, "err", err)
			return false
		}
		n.missed = append(n.missed, events...)
		n.at[p.Log] = p.Seq
	}
	return true
}
