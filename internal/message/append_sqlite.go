package message

import (
	"context"
	"database/sql"
	"fmt"
)

// byRandom names the index for the search of repeats: SQLite, which has no
// statistics here, would walk the pair's whole log instead.
const byRandom = ` INDEXED BY c2c_messages_random`

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
		{&w.stmts.insert, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 WHERE NOT EXISTS (SELECT 1 FROM c2c_messages` + byRandom + `
			WHERE lo = $1 AND hi = $2 AND random = $6 AND msg_seq = $5 AND sender = $4 AND seq > $11)`},
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
				next := max(seq+1, from(now))
				flags := stamp(d.Flags, discard, d.From == lo)
				res, err := insert.ExecContext(ctx, lo, hi, next, d.From, d.MsgSeq, d.Random, d.ClientTime, flags,
					string(d.Body), d.Cloud, from(now-repeatWindow))
				if err != nil {
					return err
				}
				if n, _ := res.RowsAffected(); n == 1 {
					d.Seq, seq, d.repeated, d.Flags = next, next, false, flags
					continue
				}
				d.repeated = true
				if err := tx.QueryRowContext(ctx, findRepeat(byRandom), lo, hi, d.Random, d.MsgSeq, d.From, from(now-repeatWindow)).Scan(&d.Seq, &d.Flags); err != nil {
					return err
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
