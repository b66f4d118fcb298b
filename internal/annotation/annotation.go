// Package annotation keeps what is attached to a message after it was sent:
// extensions (key-value pairs) and reactions. It does not know what kind of
// conversation a message belongs to: callers check who may, find the message
// and tell the others.
package annotation

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Codes of extensions and reactions (protocol 02 §21).
const (
	CodeConflict      = 23001 // the key was changed by somebody else; per item
	CodeNoExtensions  = 23002 // the message was sent without extensions
	CodeTooManyChange = 23003 // more than 200 changes of a message in a minute
	CodeNoMessage     = 23004 // message not found
	CodeTooManyKinds  = 23005 // more than 10 kinds of reactions on a message
	CodeTooManyUsers  = 23006 // more than 100 users with one reaction
	CodeReacted       = 23007 // the user has reacted so already
	CodeNoReaction    = 23008 // nobody reacted so
	CodeNotReactor    = 23009 // the user did not react so
)

// Bounds (protocol 02 §21).
const (
	MaxKey        = 100  // bytes of an extension's key
	MaxValue      = 1024 // bytes of an extension's value
	MaxPerCall    = 20   // extensions of one request
	MaxPerMessage = 300  // extensions of a message
	MaxPerMinute  = 200  // changes of a message in a minute
	MaxKinds      = 10   // kinds of reactions of a message
	MaxReactors   = 100  // users of one reaction
	MaxReaction   = 256  // bytes of a reaction's name
	MaxMessages   = 100  // messages of one statistics request
)

// Ref names a message: its log and its place there. A group's log is (id, 0),
// a pair's (smaller uid, larger uid), so the two never meet.
type Ref struct{ A, B, Seq int64 }

// Store keeps annotations of both kinds.
type Store struct {
	db  *store.DB
	now func() time.Time
}

// New makes the store.
func New(db *store.DB, now func() time.Time) *Store { return &Store{db: db, now: now} }

// head is the row that changes of a message's annotations lock.
type head struct {
	counter, clear, minute int64
	changes                int
}

// lock returns the message's head, made if it is missing, locked until tx ends.
func (s *Store) lock(ctx context.Context, tx *sql.Tx, r Ref) (h head, err error) {
	if _, err = tx.ExecContext(ctx, `INSERT INTO annotations (a, b, seq) VALUES ($1, $2, $3) ON CONFLICT (a, b, seq) DO NOTHING`, r.A, r.B, r.Seq); err != nil {
		return h, err
	}
	err = tx.QueryRowContext(ctx, `SELECT counter, clear_seq, minute, changes FROM annotations WHERE a = $1 AND b = $2 AND seq = $3`+s.db.ForUpdate(),
		r.A, r.B, r.Seq).Scan(&h.counter, &h.clear, &h.minute, &h.changes)
	return h, err
}

// admit counts changes of a message; 23003 above the limit of a minute.
func (h *head) admit(now time.Time, changes int) error {
	if minute := now.Unix() / 60; h.minute != minute {
		h.minute, h.changes = minute, 0
	}
	if h.changes += changes; h.changes > MaxPerMinute {
		return command.Errf(CodeTooManyChange, "more than %d changes of the message in a minute", MaxPerMinute)
	}
	return nil
}

func (s *Store) save(ctx context.Context, tx *sql.Tx, r Ref, h head) error {
	_, err := tx.ExecContext(ctx, `UPDATE annotations SET counter = $4, clear_seq = $5, minute = $6, changes = $7, touched_at = $8
		WHERE a = $1 AND b = $2 AND seq = $3`, r.A, r.B, r.Seq, h.counter, h.clear, h.minute, h.changes, s.now().Unix())
	return err
}

// Sweep removes the annotations of at most limit messages that were last
// touched before the unix second before: when that is older than the longest
// retention, the messages are gone. It returns how many there were.
func (s *Store) Sweep(ctx context.Context, before int64, limit int) (int, error) {
	var n int
	err := s.db.Tx(ctx, func(tx *sql.Tx) error {
		old, err := store.Collect(ctx, tx, func(rows *sql.Rows, r *Ref) error { return rows.Scan(&r.A, &r.B, &r.Seq) },
			`SELECT a, b, seq FROM annotations WHERE touched_at < $1 ORDER BY touched_at LIMIT $2`, before, limit)
		if n = len(old); err != nil || n == 0 {
			return err
		}
		keys, args := tuples(old)
		for _, table := range []string{"message_extensions", "message_reactions", "annotations"} {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE (a, b, seq) IN (VALUES `+keys+`)`, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("annotation: sweep: %w", err)
	}
	return n, nil
}

// tuples returns "($1,$2,$3),…" typed for both engines, and the arguments.
func tuples(refs []Ref) (string, []any) {
	b := make([]byte, 0, len(refs)*24)
	args := make([]any, 0, len(refs)*3)
	for i, r := range refs {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "(CAST($%d AS BIGINT),CAST($%d AS BIGINT),CAST($%d AS BIGINT))", 3*i+1, 3*i+2, 3*i+3)
		args = append(args, r.A, r.B, r.Seq)
	}
	return string(b), args
}
