package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Remover deletes what a domain keeps about accounts, in the transaction that
// deletes them. It gets at most 100 accounts and may be run again.
type Remover func(ctx context.Context, tx *sql.Tx, uids []int64) error

// OnDelete adds fn to what runs when accounts are deleted. Call it before
// traffic starts.
func (d *Directory) OnDelete(fn Remover) { d.removers = append(d.removers, fn) }

// OnDeleted adds fn to what is told of accounts when their deletion is
// committed. It must not block. Call it before traffic starts.
func (d *Directory) OnDeleted(fn func(uids []int64)) { d.deleted = append(d.deleted, fn) }

// Delete removes accounts for good and everything the removers know of. Their
// names are free again, but under a new number, and tickets issued until now
// stay void. Sent messages stay in other people's history. The devices are the
// caller's to expel.
func (d *Directory) Delete(ctx context.Context, uids []int64) error {
	err := d.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, remove := range d.removers {
			if err := remove(ctx, tx, uids); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO deleted_accounts (app, user_id, void_before, uid)
			SELECT app, user_id, CAST($1 AS BIGINT), uid FROM accounts WHERE uid IN `+store.In(2, len(uids))+`
			ON CONFLICT (app, user_id) DO UPDATE SET void_before = excluded.void_before, uid = excluded.uid`, store.Args(uids, any(d.now().Unix()))...)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM accounts WHERE uid IN `+store.In(1, len(uids)), store.Args(uids)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("account: delete: %w", err)
	}
	for _, uid := range uids {
		d.Forget(uid)
	}
	for _, fn := range d.deleted {
		fn(uids)
	}
	return nil
}

// VoidBefore returns the unix second until which issued tickets of that name
// are void, 0 for none: of the account, or of one that was deleted.
func (d *Directory) VoidBefore(ctx context.Context, app uint32, userID string) (int64, error) {
	a, err := d.Lookup(ctx, app, userID)
	if err == nil {
		return a.VoidBefore, nil
	}
	if !errors.Is(err, command.Err(command.CodeNoAccount, "")) || !ValidUserID(userID) {
		return 0, nilIfNone(err)
	}
	var void int64
	err = d.db.Read.QueryRowContext(ctx, `SELECT void_before FROM deleted_accounts WHERE app = $1 AND user_id = $2`, app, userID).Scan(&void)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("account: void: %w", err)
	}
	return void, nil
}

// nilIfNone drops the error that says that there is no such account.
func nilIfNone(err error) error {
	if errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return nil
	}
	return err
}
