package liveroom

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
)

// The numbers of events (protocol 03 §3.1, §13.3).
const (
	eventMessage   = 3
	eventTip       = 4
	eventNotice    = 5
	eventState     = 6
	eventBroadcast = 17 // in answers to polls only
	eventRecall    = 20 // in answers to polls only
	eventReaction  = 22 // in pushes only: v3 throws at its form for polls (protocol 03 §13.3)
)

// Event is something that happens in a room. Once it is appended it does not
// change.
type Event struct {
	Room int64
	// Seq is unique and rising in the room on all nodes, see sequence.go. Prev
	// is the sequence of the event before it, by which a node sees that it has
	// missed one; 0 is not known.
	Seq, Prev int64
	// Kind is the number of the event and Body its item without the opening
	// brace and without MsgSeq, which is put in front when it is known.
	Kind int
	Body []byte
	// PullKind and Pull are the form that answers to polls have, when it
	// differs (protocol 03 §13.2).
	PullKind int
	Pull     []byte
	// Of a message: who sent it, and what identifies it besides.
	Sender, Random, ClientSeq, ClientTime, Time int64
	// Count, when not 0, is how many were present, as a tip tells it.
	Count int
	// Last ends the room.
	Last bool

	// repeat says that Seq is that of the message which this one repeats.
	repeat bool

	// node and count name the event before it has a sequence: the count-th of
	// a node. Appending it again is recognised by that.
	node  uint64
	count int64

	longOnce, shortOnce sync.Once
	longItem, shortItem []byte
}

// unnumbered returns the event as it was before it got its sequence.
func (e *Event) unnumbered() *Event {
	return &Event{Room: e.Room, Kind: e.Kind, Body: e.Body, PullKind: e.PullKind, Pull: e.Pull, Sender: e.Sender, Random: e.Random,
		ClientSeq: e.ClientSeq, ClientTime: e.ClientTime, Time: e.Time, Count: e.Count, Last: e.Last, node: e.node, count: e.count}
}

// eventName is what an event is known by, whatever sequence it gets where.
type eventName struct {
	node  uint64
	count int64
}

func (e *Event) name() eventName { return eventName{e.node, e.count} }

// message reports whether somebody said it, rather than the system.
func (e *Event) message() bool { return e.Kind == eventMessage && e.Sender != 0 }

// said names a message by the numbers of its sender, by which a repeat after a
// lost connection is recognised; empty of other events.
func (e *Event) said() string {
	if !e.message() {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d", e.Sender, e.Random, e.ClientSeq)
}

// pushed appends the event as an item of a push.
func (e *Event) pushed(dst []byte, head []byte) []byte {
	if e.Kind == eventReaction { // has no sequence of its own
		return append(append(dst, reactionHead...), e.Body...)
	}
	dst = append(dst, `{"Event":`...)
	kind, key := e.Kind, `,"GroupTips":[{"MsgSeq":`
	if kind == eventMessage || kind == eventBroadcast { // a push has no Event of broadcasts (protocol 03 §13.2)
		kind, key = eventMessage, `,"GroupMsgArray":[{"MsgSeq":`
	}
	dst = strconv.AppendInt(dst, int64(kind), 10)
	dst = append(dst, key...)
	dst = strconv.AppendInt(dst, e.Seq, 10)
	dst = append(append(dst, ','), head...)
	dst = append(dst, e.Body...)
	return append(dst, `]}`...)
}

// pollable reports whether answers to polls have the event, too.
func (e *Event) pollable() bool { return e.Kind != eventReaction }

// pull returns the event as an item of an answer to a poll, in the long form
// or the short one, made once each.
func (e *Event) pull(short bool) []byte {
	e.longOnce.Do(func() { e.longItem = e.pulled(make([]byte, 0, len(e.Body)+48), nil) })
	if !short {
		return e.longItem
	}
	e.shortOnce.Do(func() { e.shortItem = shorten(e.longItem) })
	return e.shortItem
}

// pulled appends the event as an item of an answer to a poll.
func (e *Event) pulled(dst []byte, head []byte) []byte {
	kind, body := e.Kind, e.Body
	if e.Pull != nil {
		kind, body = e.PullKind, e.Pull
	}
	dst = append(dst, `{"Event":`...)
	dst = strconv.AppendInt(dst, int64(kind), 10)
	dst = append(dst, `,"MsgSeq":`...)
	dst = strconv.AppendInt(dst, e.Seq, 10)
	dst = append(append(dst, ','), head...)
	return append(dst, body...)
}

var errShort = errors.New("liveroom: truncated event")

// encode appends the event as nodes hand it to each other and remember it;
// sequences go beside it.
func (e *Event) encode(dst []byte) []byte {
	last := int64(0)
	if e.Last {
		last = 1
	}
	for _, n := range []int64{e.Room, int64(e.Kind), int64(e.PullKind), e.Sender, e.Random, e.ClientSeq, e.ClientTime, e.Time, int64(e.Count), last,
		int64(e.node), e.count, int64(len(e.Pull))} {
		dst = binary.AppendVarint(dst, n)
	}
	return append(append(dst, e.Pull...), e.Body...)
}

// decodeEvent reads what encode wrote; the bodies alias b.
func decodeEvent(b []byte) (*Event, error) {
	var n [13]int64
	for i := range n {
		v, size := binary.Varint(b)
		if size <= 0 {
			return nil, errShort
		}
		n[i], b = v, b[size:]
	}
	if n[12] < 0 || n[12] > int64(len(b)) {
		return nil, errShort
	}
	e := &Event{Room: n[0], Kind: int(n[1]), PullKind: int(n[2]), Sender: n[3], Random: n[4], ClientSeq: n[5], ClientTime: n[6], Time: n[7],
		Count: int(n[8]), Last: n[9] == 1, node: uint64(n[10]), count: n[11]}
	if n[12] > 0 {
		e.Pull = b[:n[12]]
	}
	e.Body = b[n[12]:]
	return e, nil
}
