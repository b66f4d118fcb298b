package grouplog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// sqliteStatements are prepared once; a transaction borrows them.
type sqliteStatements struct {
	head, log, insert, move, quiet, member, topic, mention *sql.Stmt
}

func (w *writer) prepare(ctx context.Context) error {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.stmts.head, `SELECT last_seq, last_time FROM group_logs WHERE log = $1`},
		{&w.stmts.log, `INSERT INTO group_logs (log, hub) VALUES ($1, $2)`},
		// OR FAIL, because SQLite would otherwise keep a journal for the case that
		// the statement fails midway; then the transaction fails.
		{&w.stmts.insert, `INSERT OR FAIL INTO group_messages (log, seq, time, sender, operator, random, client_seq, client_time, priority, flags, body, cloud,
			mentions, receivers, push_info) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $19 WHERE NOT EXISTS (SELECT 1 FROM group_messages` + byNumbers + `
			WHERE log = $1 AND random = $6 AND client_seq = $7 AND sender = $4 AND time > $15) AND (NOT $16 OR ` + speaks("$17", "$1", "$4", "$18") + `)`},
		{&w.stmts.move, `UPDATE group_logs SET last_seq = $2, last_time = $3 WHERE log = $1`},
		{&w.stmts.quiet, `INSERT INTO group_quiet (log, seq, uid, at) VALUES ($1, $2, $3, $4)`},
		{&w.stmts.member, `UPDATE group_members SET read_seq = $3 WHERE gid = $1 AND uid = $2 AND read_seq < $3`},
		{&w.stmts.topic, `INSERT INTO topic_members (tid, uid, read_seq) VALUES ($1, $2, $3)
			ON CONFLICT (tid, uid) DO UPDATE SET read_seq = MAX(topic_members.read_seq, excluded.read_seq)`},
		{&w.stmts.mention, `INSERT INTO group_at (log, seq, uid, sender, random, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`},
	} {
		stmt, err := w.db.Write.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("grouplog: prepare: %w", err)
		}
		*p.stmt = stmt
	}
	return nil
}

func (w *writer) appendSQLite(ctx context.Context, drafts []*draft) error {
	return w.db.Tx(ctx, func(tx *sql.Tx) error {
		// The driver would start a goroutine for each statement to watch ctx; the
		// transaction ends with it anyway.
		b := sqliteBatch{ctx: context.WithoutCancel(ctx), tx: tx, w: w, now: w.now().Unix()}
		for i := 0; i < len(drafts); {
			end := i + 1
			for end < len(drafts) && drafts[end].Log == drafts[i].Log {
				end++
			}
			if err := b.log(drafts[i:end]); err != nil {
				return err
			}
			i = end
		}
		return nil
	})
}

// sqliteBatch is a transaction of the writer.
type sqliteBatch struct {
	ctx context.Context
	tx  *sql.Tx
	w   *writer
	now int64
}

func (b *sqliteBatch) exec(stmt *sql.Stmt, args ...any) (int64, error) {
	res, err := b.tx.StmtContext(b.ctx, stmt).ExecContext(b.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// log appends drafts of one log.
func (b *sqliteBatch) log(drafts []*draft) error {
	st := &b.w.stmts
	log, hub := drafts[0].Log, drafts[0].hub
	var seq, unix int64
	err := b.tx.StmtContext(b.ctx, st.head).QueryRowContext(b.ctx, log).Scan(&seq, &unix)
	if err == sql.ErrNoRows {
		_, err = b.exec(st.log, log, hub)
	}
	if err != nil {
		return err
	}
	start := seq
	unix = max(unix, b.now)
	senders := map[int64]int64{}
	for _, d := range drafts {
		stored, err := b.message(d, seq+1, unix)
		if err != nil {
			return err
		}
		if stored {
			seq++
			if d.Sender > 0 {
				senders[d.Sender] = seq
			}
		}
	}
	if seq == start {
		return nil
	}
	for uid, last := range senders {
		stmt := st.member
		if hub != log {
			stmt = st.topic
		}
		if _, err := b.exec(stmt, log, uid, last); err != nil {
			return err
		}
	}
	_, err = b.exec(st.move, log, seq, unix)
	return err
}

// message stores one draft at a place, unless it was stored before.
func (b *sqliteBatch) message(d *draft, seq, unix int64) (bool, error) {
	st := &b.w.stmts
	n, err := b.exec(st.insert, d.Log, seq, unix, d.Sender, d.Operator, d.Random, d.ClientSeq, d.ClientTime, d.Priority, d.Flags,
		string(d.Body), d.Cloud, string(d.Message.Mentions), joinUIDs(d.Receivers), b.now-repeatWindow, d.member, d.hub, b.now, string(d.PushInfo))
	if err != nil {
		return false, err
	}
	if n == 0 {
		err := b.tx.QueryRowContext(b.ctx, findRepeat(byNumbers), d.Log, d.Random, d.ClientSeq, d.Sender, b.now-repeatWindow).Scan(&d.Seq, &d.Time)
		d.repeated, d.refused = err == nil, errors.Is(err, sql.ErrNoRows)
		if d.refused {
			err = nil
		}
		return false, err
	}
	d.Seq, d.Time = seq, unix
	if d.Flags&countsNot != 0 || d.Operator > 0 {
		uid := d.Operator
		if d.Flags&countsNot != 0 {
			uid = 0
		}
		if _, err := b.exec(st.quiet, d.Log, seq, uid, unix); err != nil {
			return false, err
		}
	}
	for _, uid := range d.mentions {
		if _, err := b.exec(st.mention, d.Log, seq, uid, d.Sender, atRandom(d.Message), unix); err != nil {
			return false, err
		}
	}
	return true, nil
}
