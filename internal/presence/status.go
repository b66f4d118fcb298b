package presence

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/bus"
	"imserver/internal/session"
	"imserver/internal/store"
)

// The states of an account (protocol 04 §4).
const (
	online   = 1
	pushable = 2 // not connected, but a native device is logged in and was here within Reach
	away     = 3 // not logged in, or only in pages that were closed
)

// status is an account's, as others see it.
type status struct {
	uid    int64
	app    uint32
	userID string
	custom string
	state  int
}

func (s status) item() userStatus { return userStatus{s.userID, s.state, []byte(s.custom)} }

// statuses returns the status of accounts, read from the store: what caches
// say may be a moment old, and the last thing told has to be right. connected
// are the devices of at least these accounts.
func (s *Service) statuses(ctx context.Context, uids []int64, connected map[int64][]bus.Instance) (map[int64]status, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	among, args := store.Among(s.DB, 1, uids)
	list, err := store.Collect(ctx, s.DB.Lists, func(rows *sql.Rows, v *status) error { return rows.Scan(&v.uid, &v.app, &v.userID, &v.custom) },
		`SELECT uid, app, user_id, status FROM accounts WHERE uid `+among, args...)
	if err != nil {
		return nil, fmt.Errorf("presence: statuses: %w", err)
	}
	var absent []int64
	for _, v := range list {
		if len(connected[v.uid]) == 0 {
			absent = append(absent, v.uid)
		}
	}
	reachable, err := s.reachable(ctx, absent)
	if err != nil {
		return nil, err
	}
	statuses := make(map[int64]status, len(list))
	for _, v := range list {
		switch {
		case len(connected[v.uid]) > 0:
			v.state = online
		case len(reachable[v.uid]) > 0:
			v.state = pushable
		default:
			v.state = away
		}
		statuses[v.uid] = v
	}
	return statuses, nil
}

// reachable returns the kinds of devices that are logged in and can be reached
// without a connection: native ones, and pages that have left a token, that
// were connected within [Reach]. Nobody is told when that time ends.
func (s *Service) reachable(ctx context.Context, uids []int64) (map[int64][]session.Class, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	type row struct {
		uid   int64
		class session.Class
	}
	among, args := store.Among(s.DB, 1, uids)
	rows, err := store.Collect(ctx, s.DB.Lists, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.class) },
		fmt.Sprintf(`SELECT DISTINCT uid, class FROM sessions WHERE state = 0 AND (class <> 0 OR token <> '') AND uid %s AND expires_at > $%d
			AND (seen_at = 0 OR seen_at > $%d) ORDER BY uid, class`, among, len(args)+1, len(args)+2),
		append(args, s.Now().Unix(), s.Now().Add(-Reach).Unix())...)
	if err != nil {
		return nil, fmt.Errorf("presence: logged in: %w", err)
	}
	kinds := map[int64][]session.Class{}
	for _, r := range rows {
		kinds[r.uid] = append(kinds[r.uid], r.class)
	}
	return kinds, nil
}

// connected returns the devices of accounts on all nodes. Without the other
// nodes this one's have to do: who is only elsewhere looks offline then.
func (s *Service) connected(ctx context.Context, uids []int64) map[int64][]bus.Instance {
	found, err := s.Registry.Online(ctx, uids)
	if err != nil {
		s.Log.Warn("the presence of other nodes is not known", "err", err)
	}
	return found
}

// setCustom stores what an account says about its own status.
func (s *Service) setCustom(ctx context.Context, uid int64, text string) error {
	if _, err := s.DB.Write.ExecContext(ctx, `UPDATE accounts SET status = $2 WHERE uid = $1`, uid, text); err != nil {
		return fmt.Errorf("presence: custom status: %w", err)
	}
	s.Accounts.Forget(uid)
	s.tellOf(uid)
	return nil
}

// setToken stores where a device's notices go while it is not connected.
func (s *Service) setToken(ctx context.Context, uid int64, inst uint32, token string) error {
	_, err := s.DB.Write.ExecContext(ctx, `UPDATE sessions SET token = $3 WHERE uid = $1 AND inst = $2 AND state = 0`, uid, inst, token)
	if err != nil {
		return fmt.Errorf("presence: token: %w", err)
	}
	return nil
}
