package grouplog

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

const (
	pgLogs = `INSERT INTO group_logs (log, hub) SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[]) AS t(log, hub) ORDER BY 1
		ON CONFLICT DO NOTHING`
	pgLock = `SELECT 1 FROM group_logs WHERE log = ANY ($1::bigint[]) ORDER BY log FOR UPDATE`

	pgMentions = `INSERT INTO group_at (log, seq, uid, sender, random, at)
		SELECT m.log, m.seq, i.uid, m.sender, m.random + 1, m.time
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS i(log, sender, random, client_seq, uid)
		JOIN group_messages m ON m.log = i.log AND m.random = i.random AND m.sender = i.sender AND m.client_seq = i.client_seq AND m.time > $6
		ON CONFLICT DO NOTHING`
)

// pgAppend stores a batch; the second form one in which some message has push
// settings, which it stores too.
var pgAppend, pgAppendPush = pgInsert("", ""), pgInsert(", push_info", ", $18::text[]")

// The statement of pgInsert sees the locked heads' newest state, because under READ
// COMMITTED it has a snapshot of its own, taken after the lock. It gives
// every new message the log's next sequence and moves the head, notes what
// does not count as unread, and moves the senders' read positions. The
// inner SELECTs have a LIMIT so that they stay index lookups per message.
func pgInsert(column, array string) string {
	return `WITH incoming AS (
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::int[],
		$9::text[], $10::text[], $11::text[], $12::text[], $16::bigint[], $17::bool[]` + array + `) WITH ORDINALITY
		AS t(log, sender, operator, random, client_seq, client_time, priority, flags, body, cloud, mentions, receivers, hub, member` + column + `, ord)
), fresh AS (
	SELECT i.*, row_number() OVER (PARTITION BY log ORDER BY ord) AS n FROM incoming i
	WHERE (SELECT 1 FROM group_messages m WHERE m.log = i.log AND m.random = i.random
		AND m.client_seq = i.client_seq AND m.sender = i.sender AND m.time > $14 LIMIT 1) IS NULL
		AND (NOT i.member OR ` + speaks("i.hub", "i.log", "i.sender", "$13") + `)
), stored AS (
	INSERT INTO group_messages (log, seq, time, sender, operator, random, client_seq, client_time, priority, flags, body, cloud, mentions, receivers` + column + `)
	SELECT f.log, l.last_seq + f.n, GREATEST(l.last_time, $13), f.sender, f.operator, f.random, f.client_seq, f.client_time, f.priority,
		f.flags, f.body, f.cloud, f.mentions, f.receivers` + column + `
	FROM fresh f JOIN group_logs l USING (log) RETURNING log, seq, time, sender, operator, random, client_seq, flags
), moved AS (
	UPDATE group_logs l SET last_seq = s.seq, last_time = s.time
	FROM (SELECT log, max(seq) AS seq, max(time) AS time FROM stored GROUP BY log) s WHERE l.log = s.log
), quiet AS (
	INSERT INTO group_quiet (log, seq, uid, at) SELECT log, seq, CASE WHEN flags & $15 <> 0 THEN 0 ELSE operator END, time FROM stored
	WHERE flags & $15 <> 0 OR operator > 0
), last AS (
	SELECT s.log, s.sender, max(s.seq) AS seq, bool_or(l.hub <> l.log) AS topic FROM stored s JOIN group_logs l USING (log)
	WHERE s.sender > 0 GROUP BY s.log, s.sender
), members AS (
	UPDATE group_members m SET read_seq = s.seq FROM last s WHERE NOT s.topic AND m.gid = s.log AND m.uid = s.sender AND m.read_seq < s.seq
), topics AS (
	INSERT INTO topic_members (tid, uid, read_seq) SELECT log, sender, seq FROM last WHERE topic
	ON CONFLICT (tid, uid) DO UPDATE SET read_seq = GREATEST(topic_members.read_seq, excluded.read_seq)
) SELECT log, seq, time, sender, random, client_seq FROM stored`
}

func (w *writer) appendPostgres(ctx context.Context, drafts []*draft) error {
	n := len(drafts)
	var c columnsOf
	c.grow(n)
	missing := make(map[identity]*draft, n)
	for i, d := range drafts {
		c.add(d)
		if d.PushInfo != nil {
			if c.pushes == nil {
				c.pushes = make([]string, n)
			}
			c.pushes[i] = string(d.PushInfo)
		}
		missing[d.identity()] = d
	}
	now := w.now().Unix()
	var batch pgx.Batch // one round trip and, being implicit, one transaction
	batch.Queue(pgLogs, c.log, c.hub)
	batch.Queue(pgLock, c.log)
	query, args := pgAppend, []any{c.log, c.sender, c.operator, c.random, c.clientSeq, c.clientTime, c.priority, c.flags, c.body, c.cloud, c.at,
		c.receivers, now, now - repeatWindow, countsNot, c.hub, c.member}
	if c.pushes != nil {
		query, args = pgAppendPush, append(args, c.pushes)
	}
	batch.Queue(query, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var seq, unix int64
			var id identity
			if err := rows.Scan(&id.log, &seq, &unix, &id.sender, &id.random, &id.clientSeq); err != nil {
				return err
			}
			if d := missing[id]; d != nil {
				d.Seq, d.Time = seq, unix
				delete(missing, id)
			}
		}
		return rows.Err()
	})
	if len(c.who) > 0 {
		batch.Queue(pgMentions, c.whoLog, c.whoSender, c.whoRandom, c.whoClientSeq, c.who, now-repeatWindow)
	}
	if err := w.db.Append.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	for _, d := range missing { // repeats and refused ones: rare, so one by one
		err := w.db.Append.QueryRow(ctx, findRepeat(""), d.Log, d.Random, d.ClientSeq, d.Sender, now-repeatWindow).Scan(&d.Seq, &d.Time)
		if d.refused = errors.Is(err, pgx.ErrNoRows); err != nil && !d.refused {
			return err
		}
		d.repeated = err == nil
	}
	return nil
}

// columnsOf is a batch by columns, the form of unnest.
type columnsOf struct {
	log, hub, sender, operator, random, clientSeq, clientTime []int64
	priority, flags                                           []int32
	body, cloud, at, receivers                                []string
	pushes                                                    []string // nil when no message has any
	member                                                    []bool
	whoLog, whoSender, whoRandom, whoClientSeq, who           []int64
}

func (c *columnsOf) grow(n int) {
	ints := make([]int64, 7*n)
	for i, p := range []*[]int64{&c.log, &c.hub, &c.sender, &c.operator, &c.random, &c.clientSeq, &c.clientTime} {
		*p = ints[i*n : i*n : (i+1)*n]
	}
	texts := make([]string, 4*n)
	for i, p := range []*[]string{&c.body, &c.cloud, &c.at, &c.receivers} {
		*p = texts[i*n : i*n : (i+1)*n]
	}
	c.priority, c.flags, c.member = make([]int32, 0, n), make([]int32, 0, n), make([]bool, 0, n)
}

func (c *columnsOf) add(d *draft) {
	c.log, c.hub, c.sender, c.operator = append(c.log, d.Log), append(c.hub, d.hub), append(c.sender, d.Sender), append(c.operator, d.Operator)
	c.random, c.clientSeq, c.clientTime = append(c.random, d.Random), append(c.clientSeq, d.ClientSeq), append(c.clientTime, d.ClientTime)
	c.priority, c.flags = append(c.priority, int32(d.Priority)), append(c.flags, int32(d.Flags))
	c.member = append(c.member, d.member)
	c.body, c.cloud = append(c.body, string(d.Body)), append(c.cloud, d.Cloud)
	c.at, c.receivers = append(c.at, string(d.Message.Mentions)), append(c.receivers, joinUIDs(d.Receivers))
	for _, uid := range d.mentions {
		c.whoLog, c.whoSender, c.whoRandom = append(c.whoLog, d.Log), append(c.whoSender, d.Sender), append(c.whoRandom, d.Random)
		c.whoClientSeq, c.who = append(c.whoClientSeq, d.ClientSeq), append(c.who, uid)
	}
}
