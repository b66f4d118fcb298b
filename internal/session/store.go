package session

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"imserver/internal/store"
)

// States of a sessions row: 0 live, 1-3 kicked with that type.
const (
	stateLive      = 0
	stateLoggedOut = 9
)

// endedKept is how long the row of a login that has ended stays, so that a
// device that was away is told why. Every page load is a login, and tickets
// may be good for half a year.
const endedKept = 7 * 24 * time.Hour

// end gives a login instance its last state. seen_at is then when it ended.
func (s *Service) end(ctx context.Context, uid int64, inst uint32, state int) error {
	_, err := s.db.Write.ExecContext(ctx, `UPDATE sessions SET state = $3, seen_at = $4 WHERE uid = $1 AND inst = $2 AND state = 0`,
		uid, inst, state, s.now().Unix())
	return err
}

const stateQuery = `SELECT state FROM sessions WHERE uid = $1 AND inst = $2`

// state returns the state of a login instance; ok is false when it is unknown.
func (s *Service) state(ctx context.Context, uid int64, inst uint32) (state int, ok bool, err error) {
	found, err := s.states.Of(ctx, []int64{uid, int64(inst)})
	if err != nil {
		return 0, false, fmt.Errorf("session: state: %w", err)
	}
	if len(found) == 0 {
		return 0, false, nil
	}
	return found[0], true, nil
}

// voidAll ends every login of accounts and makes the tickets issued until now
// void (REST kick, protocol 01 §12).
func (s *Service) voidAll(ctx context.Context, uids []int64) error {
	now := s.now().Unix()
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		in := store.In(2, len(uids))
		if _, err := tx.ExecContext(ctx, `UPDATE accounts SET void_before = $1 WHERE uid IN `+in, store.Args(uids, any(now))...); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE sessions SET state = $1, seen_at = $2 WHERE state = 0 AND uid IN `+store.In(3, len(uids)), store.Args(uids, any(KickREST), any(now))...)
		return err
	})
	if err != nil {
		return fmt.Errorf("session: void: %w", err)
	}
	return nil
}

// Sweep deletes login instances whose ticket ended a day ago, and those that
// were logged out or kicked a week ago, at most limit a call; it reports how
// many went.
func (s *Service) Sweep(ctx context.Context, limit int) (int, error) {
	uids, err := store.Collect(ctx, s.db.Write, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`DELETE FROM sessions WHERE (uid, inst) IN (SELECT uid, inst FROM sessions WHERE expires_at < $1
			UNION SELECT uid, inst FROM sessions WHERE state <> 0 AND seen_at < $2 LIMIT $3) RETURNING uid`,
		s.now().Unix()-86400, s.now().Add(-endedKept).Unix(), limit)
	if err != nil {
		return 0, fmt.Errorf("session: sweep: %w", err)
	}
	count := len(uids)
	slices.Sort(uids)
	if uids = slices.Compact(uids); len(uids) == 0 {
		return 0, nil
	}
	for _, fn := range s.sweeps {
		if err := fn(ctx, uids); err != nil {
			return count, err
		}
	}
	return count, nil
}
