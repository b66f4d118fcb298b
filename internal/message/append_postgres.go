package message

import (
	"context"
	"errors"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// pgPlace gives each pair of the batch its next n places and tells of each
	// by its number in the batch. It locks the pairs' rows until the commit, in
	// the order of the batch. Pairs that are not there get none.
	pgPlace = `UPDATE c2c_pairs p SET last_seq = GREATEST(p.last_seq + 1, $4) + t.n - 1
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS t(lo, hi, n, number)
		WHERE p.lo = t.lo AND p.hi = t.hi RETURNING t.number, p.last_seq, p.discard`

	// pgMake is pgPlace that makes pairs which are new, with their members.
	pgMake = `WITH placed AS (
		INSERT INTO c2c_pairs AS p (lo, hi, last_seq) SELECT lo, hi, $4::bigint + n - 1
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t(lo, hi, n) ORDER BY lo, hi
		ON CONFLICT (lo, hi) DO UPDATE SET last_seq = GREATEST(p.last_seq + 1, $4) + EXCLUDED.last_seq - $4
		RETURNING lo, hi, last_seq, discard, xmax = 0 AS made
	), joined AS (
		INSERT INTO c2c_members (uid, peer) SELECT lo, hi FROM placed WHERE made UNION SELECT hi, lo FROM placed WHERE made ORDER BY 1, 2
		ON CONFLICT DO NOTHING
	) SELECT row_number() OVER (ORDER BY lo, hi), last_seq, discard FROM placed`

	// pgAlone is place and insert of one message in one statement, half the
	// work of two. Whatever is out of the ordinary stores nothing: a pair that
	// is new, a message that was stored before, numbers that the other side has
	// used, a pair that another node has written to since the statement began,
	// whose message it could not see, and a place ahead of the clock.
	pgAlone = `WITH p AS (
		UPDATE c2c_pairs p SET last_seq = GREATEST(p.last_seq + 1, $10) FROM c2c_pairs seen
		WHERE p.lo = $1 AND p.hi = $2 AND seen.lo = $1 AND seen.hi = $2 AND p.last_seq = seen.last_seq RETURNING p.last_seq, p.discard
	) INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud, push_info)
		SELECT $1::bigint, $2::bigint, p.last_seq, $3::bigint, $4::bigint, $5::bigint, $6::bigint,
			CASE WHEN $7::int & 64 = 0 AND p.discard & (CASE WHEN $3 = $1 THEN 2 ELSE 1 END) <> 0 THEN $7 | 32 ELSE $7 END,
			$8::text, $9::text, $12::text
		FROM p WHERE NOT EXISTS (SELECT 1 FROM c2c_messages m WHERE m.lo = $1 AND m.hi = $2 AND m.random = $5 AND m.msg_seq = $4 AND m.seq > $11 AND m.seq < $13) AND p.last_seq < $13
		RETURNING seq, flags`

	// pgRestore takes places back that repeats did not need, if they are still
	// the last: a pair's last place is its last activity.
	pgRestore = `UPDATE c2c_pairs SET last_seq = COALESCE((SELECT max(seq) FROM c2c_messages WHERE lo = $1 AND hi = $2), last_seq)
		WHERE lo = $1 AND hi = $2 AND last_seq = $3`
)

// pgAppend stores what is not there yet; the second form, for a batch in which
// some message has push settings, stores these too.
var pgAppend, pgAppendPush = pgInsert("", "", ""), pgInsert(", push_info", ", i.push_info", ", $13::text[]")

// pgInsert is a statement of its own, because under READ COMMITTED its snapshot
// is then newer than the locks of pgPlace: a copy that another node has just
// stored is seen. So may be a pair that another node has just made, in which
// this transaction has no places: xmin tells the pairs it has written. The
// inner SELECT has a LIMIT so that it stays an index lookup for each message,
// and bounds that leave out the partitions of other days. 20 is seqBits.
func pgInsert(column, value, array string) string {
	return `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud` + column + `)
		SELECT i.lo, i.hi, p.last_seq - i.back, i.sender, i.msg_seq, i.random, i.client_time,
			CASE WHEN i.flags & 64 = 0 AND p.discard & (CASE WHEN i.sender = i.lo THEN 2 ELSE 1 END) <> 0 THEN i.flags | 32 ELSE i.flags END,
			i.body, i.cloud` + value + `
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::int[], $9::text[], $10::text[]` + array + `)
			AS i(lo, hi, back, sender, msg_seq, random, client_time, flags, body, cloud` + column + `)
		JOIN c2c_pairs p ON p.lo = i.lo AND p.hi = i.hi AND p.xmin = pg_current_xact_id()::xid
		WHERE p.last_seq - i.back < $12 AND (SELECT 1 FROM c2c_messages m WHERE m.lo = i.lo AND m.hi = i.hi AND m.random = i.random AND m.msg_seq = i.msg_seq
			AND m.seq > $11 AND m.seq < $12 AND (m.sender = i.sender OR m.seq >> 20 = (p.last_seq - i.back) >> 20) LIMIT 1) IS NULL`
}

// ahead is how far beyond the clock a place may be for its message to be stored
// at once, seconds. A copy of a message is never behind its pair's last place,
// so no search for one need go further. A pair is ahead when the clock of a
// node was, and its messages are then stored a step later.
const ahead = 600

// appendPostgres stores drafts, sorted by pair and none with another's numbers,
// in or after the unix second now: a lone one with one statement, as a rule.
func (w *writer) appendPostgres(ctx context.Context, drafts []*draft, now int64) error {
	if len(drafts) > 1 {
		return w.appendBatch(ctx, pgPlace, drafts, now, from(now+ahead))
	}
	for _, d := range drafts {
		lo, hi := pair(d.From, d.To)
		err := w.db.Append.QueryRow(ctx, pgAlone, lo, hi, d.From, d.MsgSeq, d.Random, d.ClientTime, d.Flags, string(d.Body), d.Cloud,
			from(now), from(now-repeatWindow), string(d.PushInfo), from(now+ahead)).Scan(&d.Seq, &d.Flags)
		if !errors.Is(err, pgx.ErrNoRows) {
			d.repeated = false
			return err
		}
	}
	return w.appendBatch(ctx, pgMake, drafts, now, from(now+ahead))
}

// appendBatch stores drafts with one of the statements that give places. It is
// one round trip and one transaction: the batch is an implicit one. Drafts of
// pairs that got no places follow in a second, which makes the pairs, and those
// with places at or after end, see ahead, in one without an end.
func (w *writer) appendBatch(ctx context.Context, place string, drafts []*draft, now, end int64) error {
	a := arraysOf(drafts)
	var batch pgx.Batch
	batch.Queue(place, a.pairLo, a.pairHi, a.count, from(now)).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var pair, last int64
			var discard int
			if err := rows.Scan(&pair, &last, &discard); err != nil {
				return err
			}
			a.place(drafts, int(pair-1), last, discard)
		}
		return rows.Err()
	})
	stored := 0
	query, args := pgAppend, []any{a.lo, a.hi, a.back, a.sender, a.msgSeq, a.random, a.client, a.flags, a.body, a.cloud, from(now - repeatWindow), end}
	if a.push != nil {
		query, args = pgAppendPush, append(args, a.push)
	}
	batch.Queue(query, args...).
		Exec(func(tag pgconn.CommandTag) error { stored = int(tag.RowsAffected()); return nil })
	if err := w.db.Append.SendBatch(ctx, &batch).Close(); err != nil || stored == len(drafts) {
		return err
	}
	placed, unplaced := a.split(drafts)
	if len(unplaced) > 0 {
		if err := w.appendBatch(ctx, pgMake, unplaced, now, end); err != nil {
			return err
		}
	}
	if stored == len(placed) {
		return nil
	}
	return w.findRepeats(ctx, placed, now, end)
}

// findRepeats tells which drafts were stored before and gives them the places
// of their first copies; those whose numbers the other side's message has get
// places in a later second, and what was not stored because of end is. All of
// this is rare: it costs a statement for each draft of the batch, in one round
// trip.
func (w *writer) findRepeats(ctx context.Context, drafts []*draft, now, end int64) error {
	var batch, restore pgx.Batch
	var again, late []*draft
	second := int64(0)
	for _, d := range drafts {
		lo, hi := pair(d.From, d.To)
		batch.Queue(findRepeat(""), lo, hi, d.Random, d.MsgSeq, d.From, from(now-repeatWindow)).QueryRow(func(row pgx.Row) error {
			place, flags := d.Seq, 0
			err := row.Scan(&d.Seq, &flags)
			switch {
			case errors.Is(err, pgx.ErrNoRows) && place >= end:
				late = append(late, d)
				return nil
			case errors.Is(err, pgx.ErrNoRows):
				again, second = append(again, d), max(second, secondOf(place)+1)
				return nil
			}
			if err == nil && d.Seq != place {
				d.repeated, d.Flags = true, flags
				restore.Queue(pgRestore, lo, hi, place)
			}
			return err
		})
	}
	if err := w.db.Append.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if err := w.db.Append.SendBatch(ctx, &restore).Close(); err != nil {
		return err
	}
	if len(late) > 0 {
		if err := w.appendBatch(ctx, pgPlace, late, now, math.MaxInt64); err != nil {
			return err
		}
	}
	if len(again) == 0 {
		return nil
	}
	return w.appendPostgres(ctx, again, second)
}
