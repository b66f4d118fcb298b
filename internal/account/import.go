package account

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"imserver/internal/store"
)

// MaxText is the longest nick or avatar address in bytes (protocol 06 §5.1).
const MaxText = 500

// Entry is an account to import. An empty Nick or Avatar leaves what there is.
type Entry struct {
	UserID string
	Nick   string
	Avatar string
}

// valid reports whether the entry may be stored.
func (e *Entry) valid() bool {
	return ValidUserID(e.UserID) && len(e.Nick) <= MaxText && len(e.Avatar) <= MaxText &&
		!strings.Contains(e.Nick, "\x00") && !strings.Contains(e.Avatar, "\x00")
}

// OnChange adds fn to what runs after an import changed nick or avatar of
// accounts, or made them. Call it before traffic starts.
func (d *Directory) OnChange(fn func(ctx context.Context, uids []int64)) {
	d.changes = append(d.changes, fn)
}

// voidOf is what the new account in a row of VALUES inherits from a deleted
// one of its name; %d are the placeholders of app and name.
const voidOf = `COALESCE((SELECT void_before FROM deleted_accounts WHERE app = $%d AND user_id = $%d), 0)`

// Import creates those of the entries that do not exist and updates the
// others, in one statement. The entries must be valid.
func (d *Directory) Import(ctx context.Context, app uint32, entries []Entry) error {
	entries = lastOfEach(entries)
	var values strings.Builder
	args := []any{app, d.now().Unix()}
	for i, e := range entries {
		if i > 0 {
			values.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&values, `($1, $%d, $%d, $%d, $2, `+voidOf+`)`, n+1, n+2, n+3, 1, n+1)
		args = append(args, e.UserID, e.Nick, e.Avatar)
	}
	var changed []int64
	err := d.db.Tx(ctx, func(tx *sql.Tx) (err error) {
		changed, err = store.Collect(ctx, tx, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
			`INSERT INTO accounts (app, user_id, nick, avatar, created_at, void_before) VALUES `+values.String()+`
			ON CONFLICT (app, user_id) DO UPDATE SET
				nick   = COALESCE(NULLIF(excluded.nick, ''), accounts.nick),
				avatar = COALESCE(NULLIF(excluded.avatar, ''), accounts.avatar)
			WHERE excluded.nick NOT IN ('', accounts.nick) OR excluded.avatar NOT IN ('', accounts.avatar)
			RETURNING uid`, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("account: import: %w", err)
	}
	for _, uid := range changed {
		d.Forget(uid)
	}
	if len(changed) == 0 {
		return nil
	}
	for _, fn := range d.changes {
		fn(ctx, changed)
	}
	return nil
}

// lastOfEach keeps the last entry of every name, because one statement cannot
// write a row twice, in the order of names, so that two imports at once cannot
// lock each other out.
func lastOfEach(entries []Entry) []Entry {
	last := make(map[string]Entry, len(entries))
	for _, e := range entries {
		last[e.UserID] = e
	}
	list := make([]Entry, 0, len(last))
	for _, e := range last {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.UserID, b.UserID) })
	return list
}
