package presence

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/fanout"
	"imserver/internal/store"
)

// parting is what is told of an account that is deleted, and who is told.
type parting struct {
	item      []byte
	receivers []int64
}

// Delete forgets accounts that are deleted, and remembers who is to be told.
// Give it to account.Directory.OnDelete, and Deleted to OnDeleted.
func (s *Service) Delete(ctx context.Context, tx *sql.Tx, uids []int64) error {
	type row struct {
		watch
		app    uint32
		userID string
	}
	in := store.In(1, len(uids))
	rows, err := store.Collect(ctx, tx, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.target, &r.app, &r.userID) },
		`SELECT w.uid, w.target, a.app, a.user_id FROM status_watches w JOIN accounts a ON a.uid = w.target WHERE w.target IN `+in, store.Args(uids)...)
	if err != nil {
		return fmt.Errorf("presence: watchers of the deleted: %w", err)
	}
	partings := map[int64]parting{}
	for _, r := range rows {
		if !s.wanted(r.app) {
			continue
		}
		p := partings[r.target]
		if p.item == nil {
			p.item = encode([]userStatus{status{userID: r.userID, state: away}.item()})
		}
		p.receivers = append(p.receivers, r.uid)
		partings[r.target] = p
	}
	s.mu.Lock()
	for _, uid := range uids {
		delete(s.partings, uid) // of an attempt that failed
		if p, ok := partings[uid]; ok {
			s.partings[uid] = p
		}
	}
	s.mu.Unlock()
	for _, column := range []string{"uid", "target"} {
		if _, err := tx.ExecContext(ctx, `DELETE FROM status_watches WHERE `+column+` IN `+in, store.Args(uids)...); err != nil {
			return fmt.Errorf("presence: delete: %w", err)
		}
	}
	return nil
}

// Deleted tells those who watched accounts that are no more.
func (s *Service) Deleted(uids []int64) {
	for _, uid := range uids {
		s.mu.Lock()
		p := s.partings[uid]
		delete(s.partings, uid)
		s.mu.Unlock()
		e := &fanout.Event{Item: p.item, Apart: true}
		for _, receiver := range p.receivers {
			s.Hub.Publish(fanout.User(receiver), e)
			s.pushed.Inc()
		}
	}
}
