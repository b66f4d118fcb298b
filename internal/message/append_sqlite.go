package message

import (
	"context"
	"database/sql"
	"fmt"
)

// byNumbers names the index for the search of repeats: SQLite, which has no
// statistics here, would walk the pair's whole log instead.
const byNumbers = ` INDEXED BY c2c_messages_numbers`

// sqliteStatements are prepared once; a transaction borrows them.
type sqliteStatements struct {
	last, insert, move, pair, member *sql.Stmt
}

func (w *writer) prepare(ctx context.Context) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.stmts.last, `SELECT last_seq, discard FROM c2c_pairs WHERE lo = $1 AND hi = $2`},
		// OR FAIL, because SQLite would otherwise keep a journal for the case that
		// the statement fails midway; then the transaction fails.
		{&w.stmts.insert, `INSERT OR FAIL INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud, push_info)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 WHERE NOT EXISTS (SELECT 1 FROM c2c_messages` + byNumbers + `
			WHERE lo = $1 AND hi = $2 AND random = $6 AND msg_seq = $5 AND seq > $12 AND (sender = $4 OR seq >= $13))`},
		{&w.stmts.move, `UPDATE c2c_pairs SET last_seq = $3 WHERE lo = $1 AND hi = $2`},
		{&w.stmts.pair, `INSERT INTO c2c_pairs (lo, hi) VALUES ($1, $2) ON CONFLICT DO NOTHING`},
		{&w.stmts.member, `INSERT INTO c2c_members (uid, peer) VALUES ($1, $2), ($2, $1) ON CONFLICT DO NOTHING`},
	} {
		stmt, err := w.db.Write.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("message: prepare: %w", err)
		}
		*p.stmt = stmt
	}
	return nil
}

func (w *writer) appendSQLite(ctx context.Context, drafts []*draft) error {
	now := w.now().Unix()
	return w.db.Tx(ctx, func(tx *sql.Tx) error {
		// The driver would start a goroutine for each statement to watch ctx; the
		// transaction ends with it anyway.
		ctx := context.WithoutCancel(ctx)
		last, insert, move := tx.StmtContext(ctx, w.stmts.last), tx.StmtContext(ctx, w.stmts.insert), tx.StmtContext(ctx, w.stmts.move)
		for i := 0; i < len(drafts); {
			lo, hi := pair(drafts[i].From, drafts[i].To)
			seq, discard, err := w.pairSQLite(ctx, tx, last, lo, hi)
			if err != nil {
				return err
			}
			start := seq
			for ; i < len(drafts); i++ {
				d := drafts[i]
				if l, h := pair(d.From, d.To); l != lo || h != hi {
					break
				}
				if err := insertSQLite(ctx, tx, insert, d, max(seq+1, from(now)), stamp(d.Flags, discard, d.From == lo), from(now-repeatWindow)); err != nil {
					return err
				}
				if !d.repeated {
					seq = d.Seq
				}
			}
			if seq != start {
				if _, err := move.ExecContext(ctx, lo, hi, seq); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// insertSQLite stores d at next, unless it is a repeat; in the second after it
// when the other side's message has its numbers in that of next.
func insertSQLite(ctx context.Context, tx *sql.Tx, insert *sql.Stmt, d *draft, next int64, flags int, after int64) error {
	lo, hi := pair(d.From, d.To)
	for {
		res, err := insert.ExecContext(ctx, lo, hi, next, d.From, d.MsgSeq, d.Random, d.ClientTime, flags,
			string(d.Body), d.Cloud, string(d.PushInfo), after, from(secondOf(next)))
		if err != nil {
			return err
		}
		if n, _ := res.RowsAffected(); n == 1 {
			d.Seq, d.repeated, d.Flags = next, false, flags
			return nil
		}
		switch err := tx.QueryRowContext(ctx, findRepeat(byNumbers), lo, hi, d.Random, d.MsgSeq, d.From, after).Scan(&d.Seq, &d.Flags); err {
		case nil:
			d.repeated = true
			return nil
		case sql.ErrNoRows:
			next = from(secondOf(next) + 1)
		default:
			return err
		}
	}
}

// pairSQLite returns a pair's last sequence and who of it discards, making the
// pair when it is new.
func (w *writer) pairSQLite(ctx context.Context, tx *sql.Tx, last *sql.Stmt, lo, hi int64) (seq int64, discard int, err error) {
	err = last.QueryRowContext(ctx, lo, hi).Scan(&seq, &discard)
	if err != sql.ErrNoRows {
		return seq, discard, err
	}
	for _, stmt := range []*sql.Stmt{w.stmts.pair, w.stmts.member} {
		if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, lo, hi); err != nil {
			return 0, 0, err
		}
	}
	return 0, 0, nil
}
