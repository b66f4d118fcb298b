package message

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// pgPlace gives each pair of the batch its next n places and makes pairs
	// that are new, with their members. It locks the pairs' rows until the
	// commit, in one order everywhere.
	pgPlace = `WITH placed AS (
		INSERT INTO c2c_pairs AS p (lo, hi, last_seq) SELECT lo, hi, $4::bigint + n - 1
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t(lo, hi, n) ORDER BY lo, hi
		ON CONFLICT (lo, hi) DO UPDATE SET last_seq = GREATEST(p.last_seq + 1, $4) + EXCLUDED.last_seq - $4
		RETURNING lo, hi, last_seq, discard, xmax = 0 AS made
	), joined AS (
		INSERT INTO c2c_members (uid, peer) SELECT lo, hi FROM placed WHERE made UNION SELECT hi, lo FROM placed WHERE made ORDER BY 1, 2
		ON CONFLICT DO NOTHING
	) SELECT last_seq, discard FROM placed ORDER BY lo, hi`

	// pgRestore takes places back that repeats did not need, if they are still
	// the last: a pair's last place is its last activity.
	pgRestore = `UPDATE c2c_pairs SET last_seq = COALESCE((SELECT max(seq) FROM c2c_messages WHERE lo = $1 AND hi = $2), last_seq)
		WHERE lo = $1 AND hi = $2 AND last_seq = $3`
)

// pgAppend stores what is not there yet; the second form, for a batch in which
// some message has push settings, stores these too.
var pgAppend, pgAppendPush = pgInsert("", "", ""), pgInsert(", push_info", ", i.push_info", ", $12::text[]")

// pgInsert is a statement of its own, because under READ COMMITTED its snapshot
// is then newer than the locks of pgPlace: a copy that another node has just
// stored is seen. The inner SELECT has a LIMIT so that it stays an index lookup
// for each message. 20 is seqBits.
func pgInsert(column, value, array string) string {
	return `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud` + column + `)
		SELECT i.lo, i.hi, p.last_seq - i.back, i.sender, i.msg_seq, i.random, i.client_time,
			CASE WHEN i.flags & 64 = 0 AND p.discard & (CASE WHEN i.sender = i.lo THEN 2 ELSE 1 END) <> 0 THEN i.flags | 32 ELSE i.flags END,
			i.body, i.cloud` + value + `
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::int[], $9::text[], $10::text[]` + array + `)
			AS i(lo, hi, back, sender, msg_seq, random, client_time, flags, body, cloud` + column + `)
		JOIN c2c_pairs p ON p.lo = i.lo AND p.hi = i.hi
		WHERE (SELECT 1 FROM c2c_messages m WHERE m.lo = i.lo AND m.hi = i.hi AND m.random = i.random AND m.msg_seq = i.msg_seq
			AND m.seq > $11 AND (m.sender = i.sender OR m.seq >> 20 = (p.last_seq - i.back) >> 20) LIMIT 1) IS NULL`
}

// appendPostgres stores drafts, sorted by pair and none with another's numbers,
// in or after the unix second now. It is one round trip and one transaction:
// the batch is an implicit one.
func (w *writer) appendPostgres(ctx context.Context, drafts []*draft, now int64) error {
	n := len(drafts)
	ints := make([]int64, 10*n)
	part := func(i int) []int64 { return ints[i*n : (i+1)*n] }
	lo, hi, back, sender, msgSeq, random, client := part(0), part(1), part(2), part(3), part(4), part(5), part(6)
	pairLo, pairHi, count := part(7)[:0], part(8)[:0], part(9)[:0]
	flags := make([]int32, n)
	var pushes []string
	texts := make([]string, 2*n)
	body, cloud := texts[:n], texts[n:]
	for i, d := range drafts {
		lo[i], hi[i] = pair(d.From, d.To)
		sender[i], msgSeq[i], random[i], client[i], flags[i] = d.From, d.MsgSeq, d.Random, d.ClientTime, int32(d.Flags)
		body[i], cloud[i] = string(d.Body), d.Cloud
		if d.PushInfo != nil {
			if pushes == nil {
				pushes = make([]string, n)
			}
			pushes[i] = string(d.PushInfo)
		}
		if last := len(pairLo) - 1; last < 0 || pairLo[last] != lo[i] || pairHi[last] != hi[i] {
			pairLo, pairHi, count = append(pairLo, lo[i]), append(pairHi, hi[i]), append(count, 0)
		}
		count[len(count)-1]++
	}
	for i, p := 0, 0; p < len(count); p++ { // the last of a pair takes its last place
		for left := count[p]; left > 0; left, i = left-1, i+1 {
			back[i] = left - 1
		}
	}
	var batch pgx.Batch
	batch.Queue(pgPlace, pairLo, pairHi, count, from(now)).Query(func(rows pgx.Rows) error {
		i := 0
		for p := 0; rows.Next(); p++ {
			var last int64
			var discard int
			if err := rows.Scan(&last, &discard); err != nil {
				return err
			}
			for end := i + int(count[p]); i < end; i++ {
				drafts[i].Seq, drafts[i].repeated = last-back[i], false
				drafts[i].Flags = stamp(int(flags[i]), discard, sender[i] == lo[i])
			}
		}
		return rows.Err()
	})
	stored := 0
	query, args := pgAppend, []any{lo, hi, back, sender, msgSeq, random, client, flags, body, cloud, from(now - repeatWindow)}
	if pushes != nil {
		query, args = pgAppendPush, append(args, pushes)
	}
	batch.Queue(query, args...).
		Exec(func(tag pgconn.CommandTag) error { stored = int(tag.RowsAffected()); return nil })
	if err := w.db.Append.SendBatch(ctx, &batch).Close(); err != nil || stored == n {
		return err
	}
	return w.findRepeats(ctx, drafts, from(now-repeatWindow))
}

// findRepeats tells which drafts were stored before and gives them the places
// of their first copies; those whose numbers the other side's message has get
// places in a later second. Both are rare: this costs a statement for each
// draft of the batch, in one round trip.
func (w *writer) findRepeats(ctx context.Context, drafts []*draft, after int64) error {
	var batch, restore pgx.Batch
	var again []*draft
	second := int64(0)
	for _, d := range drafts {
		lo, hi := pair(d.From, d.To)
		batch.Queue(findRepeat(""), lo, hi, d.Random, d.MsgSeq, d.From, after).QueryRow(func(row pgx.Row) error {
			place, flags := d.Seq, 0
			err := row.Scan(&d.Seq, &flags)
			if errors.Is(err, pgx.ErrNoRows) {
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
	if err := w.db.Append.SendBatch(ctx, &restore).Close(); err != nil || len(again) == 0 {
		return err
	}
	return w.appendPostgres(ctx, again, second)
}
