package presence

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"imserver/internal/session"
	"imserver/internal/store"
)

// watch says that uid is told of target's status.
type watch struct{ uid, target int64 }

// watchers returns who watches accounts.
func (s *Service) watchers(ctx context.Context, targets []int64) ([]watch, error) {
	among, args := store.Among(s.DB, 1, targets)
	list, err := store.Collect(ctx, s.DB.Lists, func(rows *sql.Rows, w *watch) error { return rows.Scan(&w.uid, &w.target) },
		`SELECT uid, target FROM status_watches WHERE target `+among, args...)
	if err != nil {
		return nil, fmt.Errorf("presence: watchers: %w", err)
	}
	return list, nil
}

// subscribe adds accounts to those uid watches, and drops the oldest beyond
// limit. It outlives reconnects, because SDKs do not repeat it (protocol 04 §4).
func (s *Service) subscribe(ctx context.Context, uid int64, targets []int64, limit int) error {
	if len(targets) == 0 {
		return nil
	}
	now := s.Now().UnixMicro()
	var values strings.Builder
	args := []any{uid}
	for i, target := range targets {
		if i > 0 {
			values.WriteByte(',')
		}
		fmt.Fprintf(&values, "($1, $%d, $%d)", 2*i+2, 2*i+3)
		args = append(args, target, now+int64(i))
	}
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		// One device after the other, that the limit holds.
		if _, err := tx.ExecContext(ctx, `SELECT uid FROM accounts WHERE uid = $1`+s.DB.ForUpdate(), uid); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO status_watches (uid, target, at) VALUES `+values.String()+
			` ON CONFLICT (uid, target) DO UPDATE SET at = excluded.at`, args...); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM status_watches WHERE uid = $1 AND at <=
			(SELECT at FROM status_watches WHERE uid = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)`, uid, limit)
		return err
	})
	if err != nil {
		return fmt.Errorf("presence: subscribe: %w", err)
	}
	return nil
}

// unsubscribe ends watches; all of uid's when targets is nil.
func (s *Service) unsubscribe(ctx context.Context, uid int64, targets []int64) error {
	query, args := `DELETE FROM status_watches WHERE uid = $1`, []any{uid}
	if targets != nil {
		if len(targets) == 0 {
			return nil
		}
		targets = store.Padded(targets)
		query, args = query+` AND target IN `+store.In(2, len(targets)), store.Args(targets, args...)
	}
	if _, err := s.DB.Write.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("presence: unsubscribe: %w", err)
	}
	return nil
}

// End forgets a device that has logged out and, with the account's last login,
// the watches and the custom status (protocol 04 §4). Give it to
// session.Service.OnEnd.
func (s *Service) End(ctx context.Context, ses *session.Session) {
	if err := s.Release(ctx, []int64{ses.UID}); err != nil {
		s.Log.Error("a status outlives the logout", "user", ses.UserID, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropLocked(ses.Device())
}

// Release forgets the watches and the custom status of accounts without a
// login. Give it to session.Service.OnSweep.
func (s *Service) Release(ctx context.Context, uids []int64) error {
	uids = store.Padded(uids)
	in := store.In(2, len(uids))
	args := store.Args(uids, any(s.Now().Unix()))
	const loggedOut = ` AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.uid = t.uid AND s.state = 0 AND s.expires_at > $1)`
	if _, err := s.DB.Write.ExecContext(ctx, `DELETE FROM status_watches AS t WHERE t.uid IN `+in+loggedOut, args...); err != nil {
		return fmt.Errorf("presence: release: %w", err)
	}
	cleared, err := store.Collect(ctx, s.DB.Write, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`UPDATE accounts AS t SET status = '' WHERE t.status <> '' AND t.uid IN `+in+loggedOut+` RETURNING uid`, args...)
	if err != nil {
		return fmt.Errorf("presence: release: %w", err)
	}
	for _, uid := range cleared {
		s.Accounts.Forget(uid)
		s.mu.Lock()
		s.owed[uid] = s.owed[uid] || false // those who watch it are told; its own devices have gone
		s.mu.Unlock()
	}
	return nil
}
