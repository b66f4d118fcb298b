package fanout

import (
	"context"
	"hash/maphash"
	"log/slog"
	"strconv"
	"strings"
	"sync"

	"imserver/internal/bus"
)

// Topic names a set of subscribers: "u<uid>" for the devices of an account,
// "g<id>" for a group or topic, "r<id>" for a live room.
type Topic string

// User is the topic of an account's devices.
func User(uid int64) Topic { return Topic(appendUser(make([]byte, 0, maxTopic), uid)) }

// maxTopic is the length of the longest topic of a number.
const maxTopic = len("u-9223372036854775808")

func appendUser(dst []byte, uid int64) []byte { return strconv.AppendInt(append(dst, 'u'), uid, 10) }

// Group is the topic of a group's or community topic's members.
func Group(id int64) Topic { return Topic("g" + strconv.FormatInt(id, 10)) }

// GroupOf returns the id in a topic made by Group; ok is false for others.
func GroupOf(t Topic) (id int64, ok bool) {
	if len(t) < 2 || t[0] != 'g' {
		return 0, false
	}
	id, err := strconv.ParseInt(string(t[1:]), 10, 64)
	return id, err == nil
}

// Room is the topic of a live room's watchers.
func Room(id int64) Topic { return Topic("r" + strconv.FormatInt(id, 10)) }

// Subscriber is a connection of a logged-in device.
type Subscriber interface {
	// Device returns whose connection it is; it does not change while the
	// subscriber is in a topic.
	Device() Device
	// Offer hands over an event. It must not block and does no I/O. The hub
	// holds a lock meanwhile, except for Join and Leave.
	Offer(e *Event)
}

const shardCount = 64

// Hub knows the subscribers of this node by topic.
type Hub struct {
	bus    bus.Bus
	alone  bool // no other node exists
	log    *slog.Logger
	seed   maphash.Seed
	shards [shardCount]hubShard
	resets []func()
	gather func(f func()) (rest func())     // see Together; set before traffic starts
	notes  map[Topic]func(payload []byte)   // filled before traffic starts
	rooms  func(room int64, payload []byte) // what nodes say of live rooms; filled before traffic starts
	order  *Order                           // nil: no other node exists, and events come in order by themselves
}

type hubShard struct {
	mu     sync.RWMutex
	topics map[Topic]map[Subscriber]struct{} // guarded by mu
}

// NewHub makes a hub over b and listens to it.
func NewHub(b bus.Bus, log *slog.Logger) *Hub {
	h := &Hub{bus: b, log: log, seed: maphash.MakeSeed(), notes: map[Topic]func([]byte){}}
	for i := range h.shards {
		h.shards[i].topics = map[Topic]map[Subscriber]struct{}{}
	}
	_, h.alone = b.(bus.Local)
	b.Listen(h.receive, h.reset)
	return h
}

// OnReset adds fn to what runs when publications may have been lost: the bus
// was away and is back. It must be called before traffic starts.
func (h *Hub) OnReset(fn func()) { h.resets = append(h.resets, fn) }

func (h *Hub) reset() {
	for _, fn := range h.resets {
		fn()
	}
}

// Together runs f, which has something for several devices: answers, events. It
// may be sent to all of them when f is over, by the caller, which then waits
// for no device. What is less urgent is sent by rest, unless that is nil: the
// caller must call it soon.
func (h *Hub) Together(f func()) (rest func()) {
	if h.gather == nil {
		f()
		return nil
	}
	return h.gather(f)
}

// OnTogether sets what Together does. It must be called before traffic starts.
func (h *Hub) OnTogether(gather func(f func()) (rest func())) { h.gather = gather }

func (h *Hub) shard(t Topic) *hubShard {
	return &h.shards[maphash.String(h.seed, string(t))%shardCount]
}

// Join adds s to t. With the first subscriber of the node the topic is
// subscribed on the bus.
func (h *Hub) Join(t Topic, s Subscriber) {
	if h.insert(t, s) && h.order != nil {
		h.order.joined(t)
	}
}

// insert reports whether s is the topic's first subscriber here.
func (h *Hub) insert(t Topic, s Subscriber) bool {
	sh := h.shard(t)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set := sh.topics[t]
	first := set == nil
	if first {
		set = map[Subscriber]struct{}{}
		sh.topics[t] = set
	}
	set[s] = struct{}{}
	if first {
		h.bus.Subscribe(string(t)) // queues only; inside the lock so that it cannot pass a Leave
	}
	return first
}

// Leave removes s from t.
func (h *Hub) Leave(t Topic, s Subscriber) {
	if h.leave(t, s) && h.order != nil {
		h.order.left(t)
	}
}

// leave reports whether s was the topic's last subscriber here.
func (h *Hub) leave(t Topic, s Subscriber) bool {
	sh := h.shard(t)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	set := sh.topics[t]
	if set == nil {
		return false
	}
	delete(set, s)
	if len(set) > 0 {
		return false
	}
	delete(sh.topics, t)
	h.bus.Unsubscribe(string(t))
	return true
}

// Subscribers returns how many connections of this node are in t.
func (h *Hub) Subscribers(t Topic) int {
	sh := h.shard(t)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return len(sh.topics[t])
}

// Each calls fn for every subscriber of t on this node; fn must not block and
// must not call Join or Leave.
func (h *Hub) Each(t Topic, fn func(Subscriber)) {
	sh := h.shard(t)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for s := range sh.topics[t] {
		fn(s)
	}
}

// Publish hands e to the subscribers of t on every node. Events published to
// one topic by one goroutine keep their order.
func (h *Hub) Publish(t Topic, e *Event) {
	h.PublishLocal(t, e)
	if !h.alone {
		h.bus.Publish(string(t), e.append(make([]byte, 0, len(e.Item)+len(e.AltItem)+64)))
	}
}

// PublishLocal hands e to this node's subscribers only.
func (h *Hub) PublishLocal(t Topic, e *Event) {
	if h.order != nil && e.Seq > 0 {
		h.order.take(t, e)
		return
	}
	h.local(t, e)
}

func (h *Hub) local(t Topic, e *Event) {
	if e.Kind == Join || e.Kind == Leave {
		// Outside the lock: the subscribers call Join and Leave. When Publish
		// returns they are in the topic, or out of it.
		var all []Subscriber
		h.Each(t, func(s Subscriber) { all = append(all, s) })
		for _, s := range all {
			if e.Concerns(s.Device()) {
				s.Offer(e)
			}
		}
		return
	}
	sh := h.shard(t)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	set := sh.topics[t]
	if len(set) >= crowdSize && len(e.Only) == 0 {
		e.crowd.Store(true)
	}
	for s := range set {
		if d := s.Device(); e.Concerns(d) {
			s.Offer(e.as(d.UID))
		}
	}
}

// Push is Publish of an event item to all devices of an account but one.
func (h *Hub) Push(uid int64, item []byte, except Device) {
	h.Publish(User(uid), &Event{Item: item, Except: except})
}

// PushWhen is Push of what a device that has just come back gets at its time.
func (h *Hub) PushWhen(uid int64, item []byte, except Device, when When) {
	h.Publish(User(uid), &Event{Item: item, Except: except, When: when})
}

// Reaches reports whether an event to an account may reach a device other than
// except. When it may not, the event need not be made: mostly the
// device that sends is the account's only one.
func (h *Hub) Reaches(uid int64, except Device) bool {
	if !h.alone {
		return true // other nodes' devices are not known here
	}
	t := appendUser(make([]byte, 0, maxTopic), uid) // no string: every message asks
	sh := &h.shards[maphash.Bytes(h.seed, t)%shardCount]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for s := range sh.topics[Topic(t)] {
		if s.Device() != except {
			return true
		}
	}
	return false
}

// Hear subscribes the node itself to a topic that carries notes between
// nodes, such as changes that caches must know. Call it before traffic starts.
func (h *Hub) Hear(t Topic, fn func(payload []byte)) {
	h.notes[t] = fn
	h.bus.Subscribe(string(t))
}

// HearRooms makes fn hear what other nodes Tell on the topics of live rooms
// that have a subscriber here, in the order that each node told it; fn must
// not block. Call it before traffic starts.
func (h *Hub) HearRooms(fn func(room int64, payload []byte)) { h.rooms = fn }

// Tell sends a note to the other nodes that hear t.
func (h *Hub) Tell(t Topic, payload []byte) { h.bus.Publish(string(t), payload) }

// Settle waits until the topics joined so far are subscribed on the bus, so
// that nothing published from now on is missed; see [bus.Bus]. Logs are
// ordered from what they hold then.
func (h *Hub) Settle(ctx context.Context) error {
	err := h.bus.Settle(ctx)
	if h.order != nil {
		h.order.Settle(ctx)
	}
	return err
}

func (h *Hub) receive(topic string, payload []byte) {
	if fn := h.notes[Topic(topic)]; fn != nil {
		fn(payload)
		return
	}
	if h.rooms != nil && strings.HasPrefix(topic, "r") {
		if room, err := strconv.ParseInt(topic[1:], 10, 64); err == nil {
			h.rooms(room, payload)
		}
		return
	}
	e, err := decode(payload)
	if err != nil {
		h.log.Warn("unreadable event on the bus", "topic", topic, "err", err)
		return
	}
	h.PublishLocal(Topic(topic), e)
}
