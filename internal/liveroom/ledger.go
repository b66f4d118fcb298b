package liveroom

import (
	"context"
	"time"

	"imserver/internal/fanout"
)

// ErrAway says that the ledger cannot be reached now.
var ErrAway error = awayError{}

type awayError struct{}

func (awayError) Error() string { return "liveroom: the shared ledger is away" }

// Unavailable makes commands that need the ledger answer at once that they
// cannot be done now.
func (awayError) Unavailable() bool { return true }

// Ledger is what nodes share of the rooms: the sequence and the newest events
// of each, who is present, and which rooms a device is in. A single node keeps
// it in memory, a cluster in Redis. It is not a record: when it loses its
// memory, nodes tell it again what they know. No call waits longer than
// [ledgerTimeout]; then its error is ErrAway.
type Ledger interface {
	// Append gives e.Seq and e.Prev and remembers e, all in one step. Seq is
	// above floor. done is called once, from any goroutine, events of a room
	// in the order they were appended. An event that has been appended before
	// (its answer was lost) is not appended again: Seq stays 0. Nor is what its
	// sender repeats: then repeat is set, and Seq the first one's.
	Append(e *Event, floor int64, b bounds, done func(error))
	// Restore remembers events that have their sequences, after a loss. Those
	// that were appended anew keep their new ones.
	Restore(ctx context.Context, room int64, list []*Event, b bounds) error
	// Recent returns the events above a sequence, oldest first.
	Recent(ctx context.Context, room, after int64) ([]*Event, error)
	// Newest returns up to n messages for a newcomer, oldest first.
	Newest(ctx context.Context, room int64, n int) ([]*Event, error)
	// Recalled forgets a message for newcomers.
	Recalled(ctx context.Context, room, seq int64) error

	// Enter makes an account present in the room of the seat, which is also
	// kept; fresh tells whether it was not.
	Enter(ctx context.Context, p presence, seat record) (fresh bool, count int, err error)
	// Leave ends a presence unless another sign of life has come after alive.
	Leave(ctx context.Context, room, uid int64, alive time.Time) (left bool, count int, err error)
	// Renew tells that the accounts were alive at those times, and removes
	// those who were not since the deadline: gone are the ones this very call
	// removed.
	Renew(ctx context.Context, room int64, alive []presence, deadline time.Time) (c census, err error)
	// Present returns which of the accounts are present, with their marks.
	Present(ctx context.Context, room int64, uids []int64) (map[int64]watcher, error)
	// Watchers returns up to limit watchers that came at or after a time in
	// unix ms, by the time they came.
	Watchers(ctx context.Context, room, from int64, limit int) ([]watcher, error)
	// Mark keeps the marks of somebody present.
	Mark(ctx context.Context, room, uid int64, marks string) error

	// Keep remembers which rooms devices are in; Drop forgets one.
	Keep(ctx context.Context, seats []record) error
	Drop(ctx context.Context, d fanout.Device, room int64) error
	// Seats returns the rooms of a device.
	Seats(ctx context.Context, d fanout.Device) ([]record, error)

	// Forget removes all of a room but its newest events.
	Forget(ctx context.Context, room int64) error
	// Sweep frees what is past its time, now and then.
	Sweep(now time.Time)
}

// presence is a sign of life of an account in a room.
type presence struct {
	uid    int64 // negative of a visitor without an account
	joined time.Time
	alive  time.Time
}

// census is a room as the cluster sees it.
type census struct {
	count int
	last  int64   // newest sequence, 0 when there is none
	gone  []int64 // accounts that were removed just now
}

// watcher is somebody present.
type watcher struct {
	uid    int64
	joined int64 // unix ms
	marks  string
}

// record is that a device is in a room.
type record struct {
	device fanout.Device
	room   int64
	joined int64 // unix ms
	place  int64 // sequence up to which it has everything
	node   uint64
	poll   bool // it polls
}

// ledgerTimeout bounds every use of the ledger: a speaker waits no longer.
const ledgerTimeout = 300 * time.Millisecond
