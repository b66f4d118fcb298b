package liveroom

import (
	"context"
	"time"

	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
)

// Exports for tests.
type (
	Bounds   = bounds
	Presence = presence
	Record   = record
	Census   = census
	Follower = follower
)

var (
	SeqAt   = seqAt
	TimeOf  = timeOf
	NextSeq = nextSeq
)

// NewBounds, NewPresence and NewRecord make values of unexported types.
func NewBounds(events int, age time.Duration, newcomers int) Bounds {
	return bounds{events, age, newcomers}
}

func NewPresence(uid int64, joined, alive time.Time) Presence { return presence{uid, joined, alive} }

func (c census) Count() int     { return c.count }
func (c census) Last() int64    { return c.last }
func (c census) Gone() []int64  { return c.gone }
func (w watcher) UID() int64    { return w.uid }
func (w watcher) Marks() string { return w.marks }

// NewNamed returns an event that is the count-th of a node.
func NewNamed(room int64, kind int, node uint64, count int64, body string) *Event {
	return &Event{Room: room, Kind: kind, Body: []byte(body), node: node, count: count}
}

// FollowForTest makes a follower without a service around it.
func FollowForTest(s *Service, room int64, b Bounds, deliver func(*Event)) *Follower {
	f := newFollower(s, room, func() bounds { return b }, deliver)
	f.opening = false
	return f
}

func (f *follower) TakeForTest(e *Event)   { f.take(e) }
func (f *follower) NumberForTest(e *Event) { f.number(e) }
func (f *follower) NewestForTest() int64   { return f.newest() }

// LookAgainForTest is lookAgain.
func (f *follower) LookAgainForTest(last int64) { f.lookAgain(last) }

// NodeForTest names the service's process.
func (s *Service) NodeForTest() uint64 { return s.node }

// NewRecord returns what the ledger keeps of a device in a room.
func NewRecord(d fanout.Device, room, place int64) Record {
	return record{device: d, room: room, joined: 7, place: place, node: 1 << 63}
}

// RepeatForTest reports whether the ledger found that the event repeats another.
func (e *Event) RepeatForTest() bool { return e.repeat }

// CountForTest is the event's number among those of its node.
func (e *Event) CountForTest() int64 { return e.count }

// PublishForTest gives e its place and hands it to the watchers on every node.
func (s *Service) PublishForTest(e *Event, b Bounds, done func(error)) { s.publish(e, b, done) }

// OpenForTest makes the node hear of a room.
func (s *Service) OpenForTest(ctx context.Context, app *config.App, g *group.Info) {
	s.open(ctx, app, g)
}
