package liveroom

import "time"

// A room's sequences are times: milliseconds since epoch, shifted by slotBits.
// So they rise although nothing durable counts them: after Redis has lost its
// memory, and after the only node has started anew, the next one is still
// above all that clients have seen. They also hardly meet those of other
// rooms, which matters because SDKs recognise repeated events by one window of
// sequences for all rooms (protocol 03 §13.3). An event that comes before its
// time, because there was another in the same millisecond, gets the next one.
//
// What the shared ledger numbers has slot 0; a node that numbers by itself
// while the ledger is away uses a slot of its own, so two never give the same.
const (
	slotBits = 10
	slotStep = 1 << slotBits
)

// epoch makes the numbers small enough to be exact in JavaScript for two
// centuries and more.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// seqAt returns the first sequence of a moment.
func seqAt(t time.Time) int64 { return max(t.UnixMilli()-epoch, 1) << slotBits }

// timeOf returns the moment of a sequence.
func timeOf(seq int64) time.Time { return time.UnixMilli(seq>>slotBits + epoch) }

// seqSpan returns how far sequences go up in a while.
func seqSpan(d time.Duration) int64 { return d.Milliseconds() << slotBits }

// nextSeq returns the sequence after last, in a slot.
func nextSeq(last int64, now time.Time, slot int64) int64 {
	seq := seqAt(now)
	if last >= seq {
		seq = (last>>slotBits + 1) << slotBits
	}
	return seq + slot
}
