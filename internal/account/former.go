package account

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/store"
)

// unnamed says that nobody has the name of deleted account d now.
const unnamed = ` AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.app = d.app AND a.user_id = d.user_id)`

// Former returns the account of that name, also when it was deleted: then it
// has its number and name alone, and is good for reading what it wrote
// (protocol 06 §5.1). 20003 if there never was one.
func (d *Directory) Former(ctx context.Context, app uint32, userID string) (*Account, error) {
	a, err := d.Lookup(ctx, app, userID)
	if err == nil || command.CodeOf(err) != command.CodeNoAccount || !nameable(userID) {
		return a, err
	}
	gone, readErr := d.named(ctx, app, []string{userID})
	switch {
	case readErr != nil:
		return nil, readErr
	case len(gone) == 0:
		return nil, err
	}
	return &gone[0], nil
}

// FormerAll is LookupAll with those that were deleted, as of [Directory.Former].
func (d *Directory) FormerAll(ctx context.Context, app uint32, userIDs []string) (map[string]*Account, error) {
	found, err := d.LookupAll(ctx, app, userIDs)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, id := range userIDs {
		if found[id] == nil && nameable(id) {
			missing = append(missing, id)
		}
	}
	for len(missing) > 0 {
		part := missing[:min(len(missing), 500)]
		missing = missing[len(part):]
		gone, err := d.named(ctx, app, part)
		if err != nil {
			return nil, err
		}
		for i := range gone {
			found[gone[i].UserID] = &gone[i]
		}
	}
	return found, nil
}

// WithFormer is ByUIDs with those accounts that were deleted and whose name
// nobody has taken since, as of [Directory.Former].
func (d *Directory) WithFormer(ctx context.Context, uids []int64) (map[int64]*Account, error) {
	found, err := d.ByUIDs(ctx, uids)
	if err != nil || len(found) == len(uids) {
		return found, err
	}
	var missing []int64
	for _, uid := range uids {
		if found[uid] == nil {
			missing = append(missing, uid)
		}
	}
	for len(missing) > 0 {
		part := missing[:min(len(missing), 500)]
		missing = missing[len(part):]
		among, args := store.Among(d.db, 1, part)
		gone, err := d.former(ctx, `d.uid `+among, args...)
		if err != nil {
			return nil, err
		}
		for i := range gone {
			found[gone[i].UID] = &gone[i]
		}
	}
	return found, nil
}

// named returns the deleted accounts of these names whose numbers are known.
func (d *Directory) named(ctx context.Context, app uint32, names []string) ([]Account, error) {
	among, args := store.Among(d.db, 2, names)
	return d.former(ctx, `d.app = $1 AND d.uid > 0 AND d.user_id `+among, append([]any{app}, args...)...)
}

func (d *Directory) former(ctx context.Context, where string, args ...any) ([]Account, error) {
	list, err := store.Collect(ctx, d.db.Lists, func(rows *sql.Rows, a *Account) error { return rows.Scan(&a.UID, &a.App, &a.UserID) },
		`SELECT d.uid, d.app, d.user_id FROM deleted_accounts d WHERE `+where+unnamed, args...)
	if err != nil {
		return nil, fmt.Errorf("account: former: %w", err)
	}
	return list, nil
}
