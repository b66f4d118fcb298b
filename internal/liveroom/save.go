package liveroom

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"imserver/internal/fanout"
)

// A single node has nobody to keep its watchers over a restart, and SDKs do
// not join again by themselves (protocol 03 §13.2). So it writes down from
// time to time, and when it stops, which devices are in which rooms.

// saved is the file's content.
type saved struct {
	At    int64 // unix s
	Seats []savedSeat
}

type savedSeat struct {
	UID    int64
	Inst   uint32
	Room   int64
	Joined int64 // unix ms
	Poll   bool  `json:",omitempty"`
}

// Save writes who watches into SaveTo; without one it does nothing. A file
// that cannot be written whole is not written.
func (s *Service) Save() error {
	if s.SaveTo == "" {
		return nil
	}
	content := saved{At: s.Now().Unix()}
	for _, r := range s.all() {
		r.roomMu.Lock()
		for d, w := range r.seats {
			if d.UID > 0 {
				content.Seats = append(content.Seats, savedSeat{d.UID, d.Inst, r.gid, w.joined.UnixMilli(), w.conn == nil})
			}
		}
		r.roomMu.Unlock()
	}
	if len(content.Seats) == 0 {
		if err := os.Remove(s.SaveTo); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, _ := json.Marshal(content) // plain fields
	next := s.SaveTo + ".next"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	return os.Rename(next, s.SaveTo)
}

// Load reads what Save wrote: those devices get their rooms back when they log
// in again, if that is within recordTTL. A missing file is none.
func (l *Local) Load(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var content saved
	if err == nil {
		err = json.Unmarshal(text, &content)
	}
	at := time.Unix(content.At, 0)
	if err != nil || l.now().Sub(at) > recordTTL {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seats, l.seatsEnd = map[fanout.Device][]record{}, l.now().Add(recordTTL)
	for _, w := range content.Seats {
		d := fanout.Device{UID: w.UID, Inst: w.Inst}
		l.seats[d] = append(l.seats[d], record{device: d, room: w.Room, joined: w.Joined, place: seqAt(at), poll: w.Poll})
	}
	return nil
}

// takeSeats returns the rooms of a device before the last start, once: from then
// on the node itself knows its devices.
func (l *Local) takeSeats(d fanout.Device) []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.seats[d]
	delete(l.seats, d)
	return list
}

// dropSeat forgets that a device was in a room before the last start.
func (l *Local) dropSeat(d fanout.Device, room int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if list := l.seats[d]; len(list) > 0 {
		l.seats[d] = slices.DeleteFunc(list, func(r record) bool { return r.room == room })
	}
}
