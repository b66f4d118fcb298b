package grouplog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"imserver/internal/store"
)

// draft is a message on its way into its log.
type draft struct {
	*Message
	hub      int64   // the group whose hub topic carries the log
	mentions []int64 // uids mentioned; 0 is everybody
	// repeated is set when the message was stored before: Seq and Time are the
	// first copy's then, and nothing is delivered (protocol 03 §1.2).
	repeated bool
}

// identity is what makes two requests the same message.
type identity struct{ log, sender, random, clientSeq int64 }

func (d *draft) identity() identity { return identity{d.Log, d.Sender, d.Random, d.ClientSeq} }

// repeatWindow is how far back a repeated request is looked for, seconds. A
// client re-sends within minutes; a day also covers one that slept.
const repeatWindow = 86400

// writer appends drafts to the logs. It is written twice, because here the
// engines differ in what makes a batch cheap.
//
// The sender's read position follows its own message (protocol 03 §12.1). It
// is moved in the statement that appends, once for each sender of a batch: a
// narrow update of a row without an indexed column in it, cheaper than an
// index of messages by sender, which each message would have to be put into,
// and than counting own messages whenever somebody reads.
type writer struct {
	db    *store.DB
	now   func() time.Time
	stmts sqliteStatements
}

// append stores a batch in one commit and sets each draft's Seq and Time.
func (w *writer) append(ctx context.Context, drafts []*draft) error {
	// Sorted by log, in order of arrival within one: locks are taken in one
	// order everywhere, and a log's messages are neighbours.
	sorted := slices.Clone(drafts)
	slices.SortStableFunc(sorted, func(a, b *draft) int { return int(min(max(a.Log-b.Log, -1), 1)) })
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
	run := w.appendSQLite
	if w.db.Dialect == store.Postgres {
		run = w.appendPostgres
	}
	err := run(ctx, fresh)
	for try := 0; store.IsConflict(err) && try < 4; try++ { // a deadlock with a change of many members
		err = run(ctx, fresh)
	}
	for _, t := range twins {
		t[0].Seq, t[0].Time, t[0].repeated = t[1].Seq, t[1].Time, true
	}
	if err != nil {
		return fmt.Errorf("grouplog: append: %w", err)
	}
	return nil
}

const (
	pgLogs = `INSERT INTO group_logs (log, hub) SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[]) AS t(log, hub) ORDER BY 1
		ON CONFLICT DO NOTHING`
	pgLock = `SELECT 1 FROM group_logs WHERE log = ANY ($1::bigint[]) ORDER BY log FOR UPDATE`

	// The statement sees the locked heads' newest state, because under READ
	// COMMITTED it has a snapshot of its own, taken after the lock. It gives
	// every new message the log's next sequence and moves the head, notes what
	// does not count as unread, and moves the senders' read positions.
	pgAppend = `WITH incoming AS (
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::int[], $8::int[],
			$9::text[], $10::text[], $11::text[], $12::text[]) WITH ORDINALITY
			AS t(log, sender, operator, random, client_seq, client_time, priority, flags, body, cloud, mentions, receivers, ord)
	), fresh AS (
		SELECT i.*, row_number() OVER (PARTITION BY log ORDER BY ord) AS n FROM incoming i
		WHERE NOT EXISTS (SELECT 1 FROM group_messages m WHERE m.log = i.log AND m.random = i.random
			AND m.client_seq = i.client_seq AND m.sender = i.sender AND m.time > $14)
	), stored AS (
		INSERT INTO group_messages (log, seq, time, sender, operator, random, client_seq, client_time, priority, flags, body, cloud, mentions, receivers)
		SELECT f.log, l.last_seq + f.n, GREATEST(l.last_time, $13), f.sender, f.operator, f.random, f.client_seq, f.client_time, f.priority,
			f.flags, f.body, f.cloud, f.mentions, f.receivers
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

	pgMentions = `INSERT INTO group_at (log, seq, uid, sender, random, at)
		SELECT m.log, m.seq, i.uid, m.sender, m.random, m.time
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) AS i(log, sender, random, client_seq, uid)
		JOIN group_messages m ON m.log = i.log AND m.random = i.random AND m.sender = i.sender AND m.client_seq = i.client_seq AND m.time > $6
		ON CONFLICT DO NOTHING`
)

// countsNot are the flags of what nobody counts as unread.
const countsNot = FlagNoUnread | FlagDirected

func (w *writer) appendPostgres(ctx context.Context, drafts []*draft) error {
	n := len(drafts)
	var c columnsOf
	c.grow(n)
	missing := make(map[identity]*draft, n)
	for _, d := range drafts {
		c.add(d)
		missing[d.identity()] = d
	}
	now := w.now().Unix()
	var batch pgx.Batch // one round trip and, being implicit, one transaction
	batch.Queue(pgLogs, c.log, c.hub)
	batch.Queue(pgLock, c.log)
	batch.Queue(pgAppend, c.log, c.sender, c.operator, c.random, c.clientSeq, c.clientTime, c.priority, c.flags, c.body, c.cloud, c.at,
		c.receivers, now, now-repeatWindow, countsNot).Query(func(rows pgx.Rows) error {
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
	if err := w.db.Pool.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	for _, d := range missing { // repeats: rare, so one by one
		if err := w.db.Pool.QueryRow(ctx, findRepeat, d.Log, d.Random, d.ClientSeq, d.Sender, now-repeatWindow).Scan(&d.Seq, &d.Time); err != nil {
			return err
		}
		d.repeated = true
	}
	return nil
}

const findRepeat = `SELECT seq, time FROM group_messages WHERE log = $1 AND random = $2 AND client_seq = $3 AND sender = $4 AND time > $5
	ORDER BY seq DESC LIMIT 1`

// columnsOf is a batch by columns, the form of unnest.
type columnsOf struct {
	log, hub, sender, operator, random, clientSeq, clientTime []int64
	priority, flags                                           []int32
	body, cloud, at, receivers                                []string
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
	c.priority, c.flags = make([]int32, 0, n), make([]int32, 0, n)
}

func (c *columnsOf) add(d *draft) {
	c.log, c.hub, c.sender, c.operator = append(c.log, d.Log), append(c.hub, d.hub), append(c.sender, d.Sender), append(c.operator, d.Operator)
	c.random, c.clientSeq, c.clientTime = append(c.random, d.Random), append(c.clientSeq, d.ClientSeq), append(c.clientTime, d.ClientTime)
	c.priority, c.flags = append(c.priority, int32(d.Priority)), append(c.flags, int32(d.Flags))
	c.body, c.cloud = append(c.body, string(d.Body)), append(c.cloud, d.Cloud)
	c.at, c.receivers = append(c.at, string(d.Message.Mentions)), append(c.receivers, joinUIDs(d.Receivers))
	for _, uid := range d.mentions {
		c.whoLog, c.whoSender, c.whoRandom = append(c.whoLog, d.Log), append(c.whoSender, d.Sender), append(c.whoRandom, d.Random)
		c.whoClientSeq, c.who = append(c.whoClientSeq, d.ClientSeq), append(c.who, uid)
	}
}

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
		{&w.stmts.insert, `INSERT INTO group_messages (log, seq, time, sender, operator, random, client_seq, client_time, priority, flags, body, cloud,
			mentions, receivers) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 WHERE NOT EXISTS (SELECT 1 FROM group_messages
			WHERE log = $1 AND random = $6 AND client_seq = $7 AND sender = $4 AND time > $15)`},
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
		b := sqliteBatch{ctx: ctx, tx: tx, w: w, now: w.now().Unix()}
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
		string(d.Body), d.Cloud, string(d.Message.Mentions), joinUIDs(d.Receivers), b.now-repeatWindow)
	if err != nil {
		return false, err
	}
	if d.repeated = n == 0; d.repeated {
		return false, b.tx.QueryRowContext(b.ctx, findRepeat, d.Log, d.Random, d.ClientSeq, d.Sender, b.now-repeatWindow).Scan(&d.Seq, &d.Time)
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
		if _, err := b.exec(st.mention, d.Log, seq, uid, d.Sender, d.Random, unix); err != nil {
			return false, err
		}
	}
	return true, nil
}
