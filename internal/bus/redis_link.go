package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscribeChunk bounds the channels of one SUBSCRIBE command, so that Redis
// serves others in between.
const subscribeChunk = 1000

var errMoved = errors.New("bus: the server ended a subscription")

type linkState uint8

const (
	connecting linkState = iota // since the start, and Redis is there
	up                          // every wanted topic was subscribed
	down                        // lost; a reset will follow
)

// link is one subscription connection: it makes what Redis has subscribed
// follow what is wanted, over any number of lost connections.
type link struct {
	bus    *Redis
	index  int
	prefix string // of its channels; names the slot on a cluster
	anchor string // the channel that is always subscribed: notices of losses
	kind   pubsub // of the present connection
	wakeup chan struct{}

	mu      sync.Mutex
	wanted  map[string]struct{} // guarded by mu, as all below
	dirty   map[string]struct{} // topics whose wish changed since the last flush
	actual  map[string]struct{} // subscribed, or asked for, on this connection
	ending  map[string]int      // unsubscribes not yet confirmed on this connection
	gen     uint64              // counts changes of wanted
	settled uint64              // the gen that Redis has confirmed
	state   linkState
	changed chan struct{} // closed and replaced when settled or state change
}

func newLink(b *Redis, index int, slot bool, state linkState) *link {
	l := &link{bus: b, index: index, prefix: b.opt.Prefix + "t:", wakeup: make(chan struct{}, 1), state: state,
		wanted: map[string]struct{}{}, dirty: map[string]struct{}{}, changed: make(chan struct{})}
	if slot {
		l.prefix = b.opt.Prefix + "t{" + strconv.Itoa(index) + "}:"
	}
	l.anchor = l.prefix + "!"
	return l
}

// want notes that topic is to be subscribed, or no longer.
func (l *link) want(topic string, yes bool) {
	l.mu.Lock()
	if _, have := l.wanted[topic]; have == yes {
		l.mu.Unlock()
		return
	}
	if yes {
		l.wanted[topic] = struct{}{}
		l.bus.metrics.subscriptions.Inc()
	} else {
		delete(l.wanted, topic)
		l.bus.metrics.subscriptions.Dec()
	}
	l.dirty[topic] = struct{}{}
	l.gen++
	l.mu.Unlock()
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

func (l *link) settle(ctx context.Context) error {
	l.mu.Lock()
	target := l.gen
	for {
		state, settled, changed := l.state, l.settled, l.changed
		l.mu.Unlock()
		switch {
		case state == down:
			return ErrDown
		case state == up && settled >= target:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.bus.ctx.Done():
			return ErrDown
		}
		l.mu.Lock()
	}
}

// awaitUp returns when the link is not down, or ctx ends.
func (l *link) awaitUp(ctx context.Context) {
	for ctx.Err() == nil {
		l.mu.Lock()
		state, changed := l.state, l.changed
		l.mu.Unlock()
		if state != down {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == down
}

// notifyLocked wakes those who wait in settle.
func (l *link) notifyLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// run keeps a connection until the bus is closed.
func (l *link) run() {
	const slowest = 2 * time.Second
	wait := 50 * time.Millisecond
	for {
		worked, err := l.session()
		if l.bus.ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		l.state = down
		l.notifyLocked()
		l.mu.Unlock()
		l.bus.metrics.reconnects.Inc()
		l.bus.opt.Log.Warn("bus subscription lost", "link", l.index, "err", err)
		if c, ok := l.bus.client.(*redis.ClusterClient); ok {
			c.ReloadState(l.bus.ctx) // the slot may live elsewhere now
		}
		if worked {
			wait = 50 * time.Millisecond
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-l.bus.ctx.Done():
			return
		}
		wait = min(2*wait, slowest)
	}
}

// session is the life of one connection. It reports whether the connection
// ever came to have all subscriptions.
func (l *link) session() (worked bool, err error) {
	ctx, cancel := context.WithCancel(l.bus.ctx)
	defer cancel()
	dial, stop := context.WithTimeout(ctx, dialTimeout+2*time.Second)
	defer stop()
	if l.kind, err = l.bus.publishing(dial); err != nil {
		return false, err
	}
	ps := l.open(ctx)
	var writer sync.WaitGroup
	defer func() { // in this order: the writer may wait for the connection
		cancel()
		_ = ps.Close()
		writer.Wait()
	}()

	l.mu.Lock()
	l.actual, l.ending = map[string]struct{}{}, map[string]int{}
	clear(l.dirty)
	for topic := range l.wanted {
		l.dirty[topic] = struct{}{}
	}
	l.mu.Unlock()

	if err = l.subscribe(dial, ps, l.anchor); err != nil { // opens the connection to the right server
		return false, err
	}
	context.AfterFunc(ctx, func() { _ = ps.Close() }) // ends a blocked read
	writer.Go(func() {
		if err := l.write(ctx, ps); err != nil {
			_ = ps.Close()
		}
	})
	for {
		msg, err := ps.ReceiveTimeout(ctx, 3*l.bus.opt.Health)
		if err != nil {
			return worked, err
		}
		switch msg := msg.(type) {
		case *redis.Message:
			l.receive(msg)
		case *redis.Pong:
			worked = l.confirm(msg.Payload) || worked
		case *redis.Subscription:
			if strings.HasSuffix(msg.Kind, "unsubscribe") && !l.ended(msg.Channel) {
				return worked, fmt.Errorf("%w: %s", errMoved, msg.Channel)
			}
		}
	}
}

func (l *link) open(ctx context.Context) *redis.PubSub {
	if l.kind == sharded {
		return l.bus.client.SSubscribe(ctx)
	}
	return l.bus.client.Subscribe(ctx)
}

func (l *link) subscribe(ctx context.Context, ps *redis.PubSub, channels ...string) error {
	if l.kind == sharded {
		return ps.SSubscribe(ctx, channels...)
	}
	return ps.Subscribe(ctx, channels...)
}

func (l *link) unsubscribe(ctx context.Context, ps *redis.PubSub, channels ...string) error {
	if l.kind == sharded {
		return ps.SUnsubscribe(ctx, channels...)
	}
	return ps.Unsubscribe(ctx, channels...)
}

// write flushes changed wishes and probes the connection. Every flush ends
// with a PING that carries the generation: its echo proves that Redis, which
// serves a connection in order, has done all before it.
func (l *link) write(ctx context.Context, ps *redis.PubSub) error {
	tick := time.NewTicker(l.bus.opt.Health)
	defer tick.Stop()
	for {
		add, drop, gen := l.changes()
		for len(drop) > 0 {
			n := min(len(drop), subscribeChunk)
			if err := l.unsubscribe(ctx, ps, drop[:n]...); err != nil {
				return err
			}
			drop = drop[n:]
		}
		for len(add) > 0 {
			n := min(len(add), subscribeChunk)
			if err := l.subscribe(ctx, ps, add[:n]...); err != nil {
				return err
			}
			add = add[n:]
		}
		if err := ps.Ping(ctx, strconv.FormatUint(gen, 10)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wakeup:
		case <-tick.C:
		}
	}
}

// changes returns the channels to subscribe and to leave so that the actual
// set becomes the wanted one.
func (l *link) changes() (add, drop []string, gen uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic := range l.dirty {
		_, want := l.wanted[topic]
		_, have := l.actual[topic]
		switch {
		case want && !have:
			l.actual[topic] = struct{}{}
			add = append(add, l.prefix+topic)
		case !want && have:
			delete(l.actual, topic)
			l.ending[topic]++
			drop = append(drop, l.prefix+topic)
		}
	}
	clear(l.dirty)
	return add, drop, l.gen
}

// confirm handles the echo of a PING. The first one of a connection says that
// everything wanted is subscribed again.
func (l *link) confirm(echo string) bool {
	gen, err := strconv.ParseUint(echo, 10, 64)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	again := l.state == down
	l.state, l.settled = up, max(l.settled, gen)
	l.notifyLocked()
	if again {
		l.bus.lost()
	}
	return true
}

// ended notes the end of a subscription; it reports false when nobody here
// asked for it, as when a slot moves to another server of a cluster.
func (l *link) ended(channel string) bool {
	topic := strings.TrimPrefix(channel, l.prefix)
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.ending[topic]
	if n > 1 {
		l.ending[topic] = n - 1
	} else {
		delete(l.ending, topic)
	}
	return n > 0
}

func (l *link) receive(msg *redis.Message) {
	if len(msg.Payload) < idSize || msg.Payload[:idSize] == l.bus.node {
		return
	}
	if msg.Channel == l.anchor {
		l.bus.lost()
		return
	}
	l.bus.metrics.received.Inc()
	l.bus.handler(strings.TrimPrefix(msg.Channel, l.prefix), []byte(msg.Payload[idSize:]))
}
