// Package fanout hands events to the devices that are interested in them: the
// connections of this node directly, those of other nodes over the bus. An
// event is encoded once and shared by everyone it goes to.
package fanout

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"imserver/internal/wire"
)

// Device is one login instance of an account, on whatever node it is.
type Device struct {
	UID  int64
	Inst uint32
}

// Kind says what a device is to do with an event.
type Kind uint8

// Kinds of events.
const (
	// Push is an event item for the SDK (protocol 01 §13).
	Push Kind = iota
	// Kick ends the login instance in Target with Kick (protocol 01 §12).
	Kick
	// Resync makes the SDK log in again silently and fetch what it missed
	// (protocol 01 §12, StatSvc.KickOther).
	Resync
	// Join and Leave tell a user's connections that the account has become,
	// or is no longer, a member of a topic; see NewJoin.
	Join
	Leave
)

// When says when a device that has just come back gets an event: such a device
// first fetches what it missed, and an event in between could hide a gap, be
// counted twice, or be undone by an answer that is older.
type When uint8

// Times.
const (
	// AtOnce events tell of nothing that the device fetches.
	AtOnce When = iota
	// AfterSync events are about one-to-one messages and conversations: they
	// follow what the device fetches.
	AfterSync
	// InSync events are those that a sync, read after they came, tells of as
	// well, and that must not be told twice.
	InSync
)

// Event is something to hand to the devices subscribed to a topic. It is
// immutable once published.
type Event struct {
	Kind Kind
	// Item is one EventArray element, a JSON object with one payload key.
	Item []byte
	// Except is left out: the device that caused the event and has its answer.
	Except Device
	// Target, when its UID is not 0, is the only device meant; with Inst 0,
	// all devices of the account.
	Target Device
	// Only, when not empty, lists the accounts meant: directed messages.
	Only []int64
	// Not lists accounts that are left out.
	Not []int64
	// AltTo lists accounts that get AltItem in Item's place: what is personal
	// about an event.
	AltTo   []int64
	AltItem []byte
	// Log and Seq order what a group's log holds: contiguous from 1 per log
	// (a community's topics have one each and share its hub topic); Seq 0
	// means that the event stands outside the order. See Order.
	Log, Seq int64
	// When is for events with Seq 0; those of logs always have to wait.
	When When
	// Room, when not 0, is the live room that the event belongs to: a connection
	// that cannot keep up loses the oldest such events and is not closed for
	// it. Item may then be several event items, separated by commas: Items of
	// them, up to Place in the room. They do not cross nodes.
	Room, Place int64
	Items       int
	// Apart says that no list a client can ask for shows what the event tells,
	// so an answer read before it is not out of date. It does not cross nodes.
	Apart bool
	// KickType and NewInst belong to Kick (protocol 01 §12).
	KickType uint8
	NewInst  uint32

	crowd atomic.Bool // see Crowd
	once  sync.Once
	frame *wire.Frame

	altOnce sync.Once
	alt     *Event
}

// as returns the event as account uid gets it.
func (e *Event) as(uid int64) *Event {
	if len(e.AltTo) == 0 || !slices.Contains(e.AltTo, uid) {
		return e
	}
	e.altOnce.Do(func() { e.alt = &Event{Kind: e.Kind, Item: e.AltItem, Log: e.Log, Seq: e.Seq, When: e.When} })
	return e.alt
}

// crowdSize is from how many subscribers of one node on an event is a crowd's.
const crowdSize = 64

// Crowd reports whether the event goes to so many connections of this node
// that writing to all of them has to make room for others.
func (e *Event) Crowd() bool { return e.crowd.Load() }

// Frame returns the event's push frame, made at the first call.
func (e *Event) Frame() *wire.Frame {
	e.once.Do(func() { e.frame = wire.NewFrame(wire.AppendPush(make([]byte, 0, len(e.Item)+160), e.Item)) })
	return e.frame
}

// Concerns reports whether the event is for device d.
func (e *Event) Concerns(d Device) bool {
	if e.Except == d && d.UID != 0 {
		return false
	}
	if e.Target.UID != 0 && (e.Target.UID != d.UID || e.Target.Inst != 0 && e.Target.Inst != d.Inst) {
		return false
	}
	return !slices.Contains(e.Not, d.UID) && (len(e.Only) == 0 || slices.Contains(e.Only, d.UID))
}

var errShort = errors.New("fanout: truncated event")

// maxListed bounds the accounts that an event read from the bus lists.
const maxListed = 1024

// append encodes the event for the bus.
func (e *Event) append(dst []byte) []byte {
	dst = append(dst, byte(e.Kind), e.KickType, byte(e.When))
	for _, n := range []uint64{uint64(e.Except.UID), uint64(e.Except.Inst), uint64(e.Target.UID), uint64(e.Target.Inst),
		uint64(e.NewInst), uint64(e.Log), uint64(e.Seq), uint64(len(e.Only)), uint64(len(e.Not)), uint64(len(e.AltTo)),
		uint64(len(e.AltItem))} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, list := range [][]int64{e.Only, e.Not, e.AltTo} {
		for _, uid := range list {
			dst = binary.AppendUvarint(dst, uint64(uid))
		}
	}
	return append(append(dst, e.AltItem...), e.Item...)
}

// decode reads what append wrote; the items alias b.
func decode(b []byte) (*Event, error) {
	if len(b) < 3 {
		return nil, errShort
	}
	e := &Event{Kind: Kind(b[0]), KickType: b[1], When: When(b[2])}
	b = b[3:]
	var n [11]uint64
	for i := range n {
		v, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, errShort
		}
		n[i], b = v, b[size:]
	}
	e.Except = Device{int64(n[0]), uint32(n[1])}
	e.Target = Device{int64(n[2]), uint32(n[3])}
	e.NewInst, e.Log, e.Seq = uint32(n[4]), int64(n[5]), int64(n[6])
	if n[7] > maxListed || n[8] > maxListed || n[9] > maxListed {
		return nil, errShort
	}
	for i, list := range []*[]int64{&e.Only, &e.Not, &e.AltTo} {
		for range n[7+i] {
			v, size := binary.Uvarint(b)
			if size <= 0 {
				return nil, errShort
			}
			*list, b = append(*list, int64(v)), b[size:]
		}
	}
	if n[10] > uint64(len(b)) {
		return nil, errShort
	}
	e.AltItem, e.Item = b[:n[10]], b[n[10]:]
	return e, nil
}
