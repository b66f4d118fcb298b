package message

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"imserver/internal/store"
)

// draft is a message on its way into its pair's log.
type draft struct {
	*Message
	// repeated is set when the message was stored before: Seq is the first
	// copy's then, and nothing is delivered (protocol 02 §1.3).
	repeated bool
}

// writer appends drafts to the logs. It is written twice, because here the
// engines differ in what makes a batch cheap; everything else is one text.
type writer struct {
	db    *store.DB
	now   func() time.Time
	stmts sqliteStatements
}

// append stores a batch in one commit and sets each draft's Seq.
func (w *writer) append(ctx context.Context, drafts []*draft) error {
	// Sorted by pair, in order of arrival within one: locks are taken in one
	// order everywhere, and a pair's messages are neighbours.
	sorted := slices.Clone(drafts)
	slices.SortStableFunc(sorted, func(a, b *draft) int {
		alo, ahi := pair(a.From, a.To)
		blo, bhi := pair(b.From, b.To)
		return cmp.Or(cmp.Compare(alo, blo), cmp.Compare(ahi, bhi))
	})
	fresh := sorted[:0:0]
	seen := make(map[identity]*draft, len(sorted))
	var twins [][2]*draft
	for _, d := range sorted {
		if first := seen[d.identity()]; first != nil {
			twins = append(twins, [2]*draft{d, first})
			continue
		}
		seen[d.identity()] = d
		fresh = append(fresh, d)
	}
	var err error
	if w.db.Dialect == store.Postgres {
		err = w.appendPostgres(ctx, fresh)
	} else {
		err = w.appendSQLite(ctx, fresh)
	}
	for _, t := range twins {
		t[0].Seq, t[0].repeated = t[1].Seq, true
	}
	if err != nil {
		return fmt.Errorf("message: append: %w", err)
	}
	return nil
}

// identity is what makes two requests the same message (protocol 02 §1.3).
type identity struct{ from, to, msgSeq, random int64 }

func (d *draft) identity() identity { return identity{d.From, d.To, d.MsgSeq, d.Random} }

// repeatWindow is how far back a repeated request is looked for, seconds. A
// client re-sends within minutes; a day also covers one that slept.
const repeatWindow = 86400

const (
	pgPairs = `INSERT INTO c2c_pairs (lo, hi) SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[]) AS t(lo, hi) ORDER BY 1, 2
		ON CONFLICT DO NOTHING`
	pgMembers = `INSERT INTO c2c_members (uid, peer) SELECT DISTINCT * FROM
		unnest($1::bigint[] || $2::bigint[], $2::bigint[] || $1::bigint[]) AS t(uid, peer) ORDER BY 1, 2 ON CONFLICT DO NOTHING`
	pgLock = `SELECT 1 FROM c2c_pairs WHERE (lo, hi) IN (SELECT * FROM unnest($1::bigint[], $2::bigint[])) ORDER BY lo, hi FOR UPDATE`

	// The statement sees the locked rows' newest state, because under READ
	// COMMITTED it has a snapshot of its own, taken after the lock. It gives
	// every new message the pair's next sequence and moves the pair forward.
	pgAppend = `WITH incoming AS (
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[],
			$8::text[], $9::text[], $10::text[]) WITH ORDINALITY
			AS t(lo, hi, sender, msg_seq, random, client_time, flags, body, cloud, push_info, ord)
	), fresh AS (
		SELECT i.*, row_number() OVER (PARTITION BY lo, hi ORDER BY ord) - 1 AS n FROM incoming i
		WHERE NOT EXISTS (SELECT 1 FROM c2c_messages m WHERE m.lo = i.lo AND m.hi = i.hi AND m.random = i.random
			AND m.msg_seq = i.msg_seq AND m.sender = i.sender AND m.seq > $12)
	), stored AS (
		INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud, push_info)
		SELECT f.lo, f.hi, GREATEST(p.last_seq + 1, $11) + f.n, f.sender, f.msg_seq, f.random, f.client_time,
			CASE WHEN f.flags & 64 = 0 AND p.discard & (CASE WHEN f.sender = f.lo THEN 2 ELSE 1 END) <> 0 THEN f.flags | 32 ELSE f.flags END,
			f.body, f.cloud, f.push_info
		FROM fresh f JOIN c2c_pairs p USING (lo, hi) RETURNING lo, hi, seq, sender, msg_seq, random, flags
	), moved AS (
		UPDATE c2c_pairs p SET last_seq = s.seq FROM (SELECT lo, hi, max(seq) AS seq FROM stored GROUP BY lo, hi) s
		WHERE p.lo = s.lo AND p.hi = s.hi
	) SELECT seq, sender, CASE WHEN sender = lo THEN hi ELSE lo END, msg_seq, random, flags FROM stored`
)

func (w *writer) appendPostgres(ctx context.Context, drafts []*draft) error {
	n := len(drafts)
	ints := make([]int64, 6*n)
	lo, hi, sender, msgSeq, random, client := ints[:n], ints[n:2*n], ints[2*n:3*n], ints[3*n:4*n], ints[4*n:5*n], ints[5*n:]
	flags := make([]int32, n)
	texts := make([]string, 3*n)
	body, cloud, push := texts[:n], texts[n:2*n], texts[2*n:]
	missing := make(map[identity]*draft, n)
	for i, d := range drafts {
		lo[i], hi[i] = pair(d.From, d.To)
		sender[i], msgSeq[i], random[i], client[i], flags[i] = d.From, d.MsgSeq, d.Random, d.ClientTime, int32(d.Flags)
		body[i], cloud[i], push[i] = string(d.Body), d.Cloud, string(d.PushInfo)
		missing[d.identity()] = d
	}
	now := w.now().Unix()
	var batch pgx.Batch // one round trip and, being implicit, one transaction
	batch.Queue(pgPairs, lo, hi)
	batch.Queue(pgMembers, lo, hi)
	batch.Queue(pgLock, lo, hi)
	batch.Queue(pgAppend, lo, hi, sender, msgSeq, random, client, flags, body, cloud, push, from(now), from(now-repeatWindow)).
		Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var seq int64
				var id identity
				var flags int
				if err := rows.Scan(&seq, &id.from, &id.to, &id.msgSeq, &id.random, &flags); err != nil {
					return err
				}
				if d := missing[id]; d != nil {
					d.Seq, d.Flags = seq, flags
					delete(missing, id)
				}
			}
			return rows.Err()
		})
	if err := w.db.Pool.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	for _, d := range missing { // repeats: rare, so one by one
		lo, hi := pair(d.From, d.To)
		err := w.db.Pool.QueryRow(ctx, findRepeat, lo, hi, d.Random, d.MsgSeq, d.From, from(now-repeatWindow)).Scan(&d.Seq)
		if err != nil {
			return err
		}
		d.repeated = true
	}
	return nil
}

const findRepeat = `SELECT seq FROM c2c_messages WHERE lo = $1 AND hi = $2 AND random = $3 AND msg_seq = $4 AND sender = $5 AND seq > $6
	ORDER BY seq DESC LIMIT 1`

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
		{&w.stmts.insert, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud, push_info)
			SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 WHERE NOT EXISTS (SELECT 1 FROM c2c_messages
			WHERE lo = $1 AND hi = $2 AND random = $6 AND msg_seq = $5 AND sender = $4 AND seq > $12)`},
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
					string(d.Body), d.Cloud, string(d.PushInfo), from(now-repeatWindow))
				if err != nil {
					return err
				}
				if n, _ := res.RowsAffected(); n == 1 {
					d.Seq, seq, d.repeated, d.Flags = next, next, false, flags
					continue
				}
				d.repeated = true
				if err := tx.QueryRowContext(ctx, findRepeat, lo, hi, d.Random, d.MsgSeq, d.From, from(now-repeatWindow)).Scan(&d.Seq); err != nil {
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

// stamp marks a message that its receiver discards; pgAppend does the same
// with the flags' numbers (protocol 02 §12.1).
func stamp(flags, discard int, fromLo bool) int {
	receiver := 1
	if fromLo {
		receiver = 2
	}
	if flags&flagInsistent == 0 && discard&receiver != 0 {
		flags |= flagDiscarded
	}
	return flags
}
