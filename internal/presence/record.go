package presence

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"imserver/internal/bus"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/store"
)

// Reach is how long a device that is away counts as one that a push service
// reaches (protocol 06 §5.1, §9).
const Reach = 7 * 24 * time.Hour

// recordChunk bounds the devices of one statement.
const recordChunk = 128

// The record says when a device was last seen: sessions.seen_at is 0 while it
// is connected, else when it was gone. It is written with the others of a
// step. What a node that died could not write, the one writes that finds its
// users gone; after a restart of a single node the zeros say who was here.

// record writes who has come and who has gone since the last time. What fails
// is written with the next step.
func (s *Service) record(ctx context.Context) error {
	s.mu.Lock()
	seen := s.seen
	s.seen = map[fanout.Device]bool{}
	s.mu.Unlock()
	var come, gone []fanout.Device
	for dev, here := range seen {
		if here {
			come = append(come, dev)
		} else {
			gone = append(gone, dev)
		}
	}
	err := s.stamp(ctx, come, 0)
	if err == nil {
		err = s.stamp(ctx, gone, s.Now().Unix())
	}
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for dev, here := range seen {
		if _, newer := s.seen[dev]; !newer {
			s.seen[dev] = here
		}
	}
	return fmt.Errorf("presence: record: %w", err)
}

// stamp sets when devices were seen, where the record says otherwise.
func (s *Service) stamp(ctx context.Context, devices []fanout.Device, at int64) error {
	for part := range slices.Chunk(devices, recordChunk) {
		var where strings.Builder
		args := []any{at}
		for i, d := range store.Padded(part) {
			if i > 0 {
				where.WriteString(" OR ")
			}
			fmt.Fprintf(&where, "(uid = $%d AND inst = $%d)", 2+2*i, 3+2*i)
			args = append(args, d.UID, d.Inst)
		}
		if _, err := s.DB.Write.ExecContext(ctx, `UPDATE sessions SET seen_at = $1 WHERE seen_at <> $1 AND state = 0 AND (`+where.String()+`)`, args...); err != nil {
			return err
		}
	}
	return nil
}

// recordGone notes for accounts without a connected device when they left, as
// far as the node that their devices were connected to has not.
func (s *Service) recordGone(ctx context.Context, uids []int64) error {
	if len(uids) == 0 {
		return nil
	}
	uids = store.Padded(uids)
	_, err := s.DB.Write.ExecContext(ctx, `UPDATE sessions SET seen_at = $1 WHERE seen_at = 0 AND state = 0 AND uid IN `+store.In(2, len(uids)),
		store.Args(uids, any(s.Now().Unix()))...)
	if err != nil {
		return fmt.Errorf("presence: record: %w", err)
	}
	return nil
}

// Recall takes the devices that were connected when a single node stopped for
// such whose connection was just lost: they count as connected for the grace
// time, and those that do not come back are told of.
func (s *Service) Recall(ctx context.Context) error {
	type row struct {
		fanout.Device
		class session.Class
	}
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.UID, &r.Inst, &r.class) },
		`SELECT uid, inst, class FROM sessions WHERE state = 0 AND seen_at = 0 AND expires_at > $1`, s.Now().Unix())
	if err != nil {
		return fmt.Errorf("presence: recall: %w", err)
	}
	uids := make([]int64, len(rows))
	for i, r := range rows {
		uids[i] = r.UID
	}
	if _, err := s.Registry.Mark(ctx, uids, true); err != nil {
		return fmt.Errorf("presence: recall: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	until := s.Now().Add(max(s.Grace, recallGrace))
	for _, r := range rows {
		if s.devices[r.Device] != nil {
			continue // it is back already
		}
		s.devices[r.Device] = &device{class: r.class, until: until}
		s.Registry.Arrive(bus.Instance{UID: r.UID, Inst: r.Inst, Class: uint8(r.class)})
		s.leaving = append(s.leaving, departure{r.Device, until})
	}
	slices.SortStableFunc(s.leaving, func(a, b departure) int { return a.at.Compare(b.at) })
	s.poke()
	return nil
}

// recallGrace is the least time that devices have to come back after a
// restart: SDKs look for the server again every five seconds (protocol 01 §11).
const recallGrace = 8 * time.Second
