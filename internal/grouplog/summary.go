package grouplog

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
)

// Heads implements group.Log.
func (s *Service) Heads(ctx context.Context, logs []int64) (map[int64]group.Head, error) {
	out := make(map[int64]group.Head, len(logs))
	if len(logs) == 0 {
		return out, nil
	}
	type row struct {
		log int64
		group.Head
	}
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error {
		return rows.Scan(&r.log, &r.LastSeq, &r.LastTime, &r.LastRecall)
	}, `SELECT log, last_seq, last_time, last_recall FROM group_logs WHERE log IN (SELECT log FROM `+viewRows(s.DB.Dialect, 1)+` v)`, logArgs(logs))
	if err != nil {
		return nil, fmt.Errorf("grouplog: heads: %w", err)
	}
	for _, r := range rows {
		out[r.log] = r.Head
	}
	return out, nil
}

// viewRows is a table (log, first, seen) made of the argument $n that viewArgs
// or logArgs returns: one statement text for any number of logs.
func viewRows(d store.Dialect, n int) string {
	arg := "$" + strconv.Itoa(n)
	if d == store.Postgres {
		return `(SELECT (e->>0)::bigint AS log, (e->>1)::bigint AS first, (e->>2)::bigint AS seen FROM json_array_elements(CAST(` + arg + ` AS json)) e)`
	}
	return `(SELECT json_extract(value,'$[0]') AS log, json_extract(value,'$[1]') AS first, json_extract(value,'$[2]') AS seen FROM json_each(` + arg + `))`
}

func viewArgs(views []group.View) string {
	b := make([]byte, 0, 24*len(views)+2)
	b = append(b, '[')
	for i, v := range views {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "[%d,%d,%d]", v.Log, v.First, v.Read)
	}
	return string(append(b, ']'))
}

func logArgs(logs []int64) string {
	views := make([]group.View, len(logs))
	for i, l := range logs {
		views[i].Log = l
	}
	return viewArgs(views)
}

// summaryRow is what one query finds of a log for a viewer.
type summaryRow struct {
	log, oldest, quiet int64
	group.Head
}

// Summaries implements group.Log, with four queries at most whatever the
// number of logs.
//
// Unread is counted from sequences: those after the read position, the first
// visible and the oldest kept one, less the few that are noted as not counting
// (recalled, NoUnread, directed, the viewer's own tips). Own messages need no
// subtraction: the read position follows them.
func (s *Service) Summaries(ctx context.Context, uid int64, views []group.View) (map[int64]group.Summary, error) {
	out := make(map[int64]group.Summary, len(views))
	if len(views) == 0 {
		return out, nil
	}
	low, err := s.lowOf(ctx, uid)
	if err != nil {
		return nil, err
	}
	rows, err := s.countUnread(ctx, uid, low, views)
	if err != nil {
		return nil, err
	}
	newest, err := s.newest(ctx, uid, low, views)
	if err != nil {
		return nil, err
	}
	mentions, err := s.mentionsOf(ctx, uid, views)
	if err != nil {
		return nil, fmt.Errorf("grouplog: mentions: %w", err)
	}
	for _, v := range views {
		r, n := rows[v.Log], newest[v.Log]
		if r == nil {
			continue
		}
		sum := group.Summary{Head: r.Head, Newest: n, Mentions: mentions[v.Log]}
		if from := max(v.Read, v.First-1, r.oldest-1); v.CountUnread && r.oldest > 0 && r.LastSeq > from {
			sum.Unread = int(r.LastSeq - from - r.quiet)
		}
		out[v.Log] = sum
	}
	return out, nil
}

// lowOf is the start of the retention of an account's app.
func (s *Service) lowOf(ctx context.Context, uid int64) (int64, error) {
	a, err := s.Accounts.ByUID(ctx, uid)
	if err != nil {
		return 0, err
	}
	app := s.Apps(a.App)
	if app == nil {
		return s.Now().Unix(), nil
	}
	return s.low(app), nil
}

// countUnread reads the heads of the logs and, where something is unread, the
// oldest kept sequence and how many after it do not count.
func (s *Service) countUnread(ctx context.Context, uid, low int64, views []group.View) (map[int64]*summaryRow, error) {
	const later = `CASE WHEN h.seen >= h.first THEN h.seen + 1 ELSE h.first END` // first that may be unread
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *summaryRow) error {
		return rows.Scan(&r.log, &r.LastSeq, &r.LastTime, &r.LastRecall, &r.oldest, &r.quiet)
	}, `SELECT h.log, h.last_seq, h.last_time, h.last_recall, h.oldest,
			(SELECT count(DISTINCT q.seq) FROM group_quiet q WHERE q.log = h.log AND q.uid IN (0, $2) AND q.seq >= h.oldest AND q.seq >= `+later+`)
		FROM (SELECT v.log, v.first, v.seen, l.last_seq, l.last_time, l.last_recall,
			CASE WHEN l.last_seq > v.seen AND l.last_time >= $3 THEN
				COALESCE((SELECT m.seq FROM group_messages m WHERE m.log = l.log AND m.time >= $3 ORDER BY m.seq LIMIT 1), 0) ELSE 0 END AS oldest
			FROM `+viewRows(s.DB.Dialect, 1)+` v JOIN group_logs l ON l.log = v.log) h`, viewArgs(views), uid, low)
	if err != nil {
		return nil, fmt.Errorf("grouplog: unread: %w", err)
	}
	out := make(map[int64]*summaryRow, len(rows))
	for i := range rows {
		out[rows[i].log] = &rows[i]
	}
	return out, nil
}

// listable limits m to what may stand in the list of the user $2: not marked
// NoLastMsg, within the retention $3, directed to it or to all, not deleted.
var listable = ` AND m.flags & ` + strconv.Itoa(FlagNoLast) + ` = 0 AND m.time >= $3 AND m.seq >= v.first
	AND (m.flags & ` + strconv.Itoa(FlagDirected) + ` = 0 OR m.sender = $2 OR m.receivers LIKE '%,' || CAST($2 AS TEXT) || ',%')
	AND NOT EXISTS (SELECT 1 FROM group_deleted d WHERE d.uid = $2 AND d.log = m.log AND d.seq = m.seq)`

// newest returns, by log, the newest message that may stand in a list. The
// very newest mostly may, and is found by its key; only logs where it may not
// are searched.
func (s *Service) newest(ctx context.Context, uid, low int64, views []group.View) (map[int64]*group.Newest, error) {
	rowsOf := viewRows(s.DB.Dialect, 1)
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+` FROM `+rowsOf+` v JOIN group_logs l ON l.log = v.log
		JOIN group_messages m ON m.log = l.log AND m.seq = l.last_seq AND m.time = l.last_time WHERE l.last_time >= $3`+listable, viewArgs(views), uid, low)
	if err != nil {
		return nil, fmt.Errorf("grouplog: newest: %w", err)
	}
	found := make(map[int64]bool, len(list))
	for i := range list {
		found[list[i].Log] = true
	}
	var rest []group.View
	for _, v := range views {
		if !found[v.Log] {
			rest = append(rest, v)
		}
	}
	if len(rest) > 0 {
		more, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+` FROM (
			SELECT v.log, (SELECT m.seq FROM group_messages m WHERE m.log = v.log`+listable+` ORDER BY m.seq DESC LIMIT 1) AS seq
			FROM `+rowsOf+` v JOIN group_logs l ON l.log = v.log AND l.last_seq >= v.first AND l.last_time >= $3) n
			JOIN group_messages m ON m.log = n.log AND m.seq = n.seq AND m.time >= $3`, viewArgs(rest), uid, low)
		if err != nil {
			return nil, fmt.Errorf("grouplog: newest: %w", err)
		}
		list = append(list, more...)
	}
	return s.asNewest(ctx, list)
}

func (s *Service) asNewest(ctx context.Context, list []Message) (map[int64]*group.Newest, error) {
	uids := make([]int64, 0, len(list))
	for i := range list {
		uids = append(uids, list[i].Sender)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	out := make(map[int64]*group.Newest, len(list))
	for i := range list {
		m := &list[i]
		out[m.Log] = &group.Newest{Seq: m.Seq, Time: m.Time, Random: m.Random, ClientTime: m.ClientTime, Sender: m.Sender,
			SenderID: people{accounts: who}.userID(m.Sender), Body: m.Body, Cloud: m.Cloud, Tip: m.Flags&FlagTip != 0,
			Recalled: m.Flags&FlagRecalled != 0, Revoker: m.Revoker, Reason: m.Reason}
	}
	return out, nil
}

// Places implements group.Log.
func (s *Service) Places(ctx context.Context, gid int64) ([]fanout.Position, error) {
	return filler{s}.Heads(ctx, []fanout.Topic{fanout.Group(gid)})
}

// Before implements group.Log.
func (s *Service) Before(ctx context.Context, log int64, moments []int64) (map[int64]int64, error) {
	views := make([]group.View, len(moments))
	for i, m := range moments {
		views[i] = group.View{Log: log, First: m}
	}
	type row struct{ moment, seq int64 }
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.moment, &r.seq) },
		`SELECT v.first, COALESCE((SELECT m.seq FROM group_messages m WHERE m.log = v.log AND m.time < v.first ORDER BY m.seq DESC LIMIT 1), 0)
		FROM `+viewRows(s.DB.Dialect, 1)+` v`, viewArgs(views))
	if err != nil {
		return nil, fmt.Errorf("grouplog: before: %w", err)
	}
	out := make(map[int64]int64, len(rows))
	for _, r := range rows {
		out[r.moment] = r.seq
	}
	return out, nil
}

// Heads and Fill make a Service the fan-out's Filler; see Filler.
type filler struct{ *Service }

// Filler returns what the fan-out asks for missed events (fanout.NewOrder).
func (s *Service) Filler() fanout.Filler { return filler{s} }

// Heads implements fanout.Filler.
func (f filler) Heads(ctx context.Context, topics []fanout.Topic) ([]fanout.Position, error) {
	hubs := make([]int64, 0, len(topics))
	for _, t := range topics {
		if id, ok := fanout.GroupOf(t); ok {
			hubs = append(hubs, id)
		}
	}
	if len(hubs) == 0 {
		return nil, nil
	}
	return store.Collect(ctx, f.DB.Read, func(rows *sql.Rows, p *fanout.Position) error {
		var hub int64
		err := rows.Scan(&hub, &p.Log, &p.Seq)
		p.Topic = fanout.Group(hub)
		return err
	}, `SELECT hub, log, last_seq FROM group_logs WHERE hub IN (SELECT log FROM `+viewRows(f.DB.Dialect, 1)+` v)`, logArgs(hubs))
}

// Fill implements fanout.Filler. What was recalled meanwhile is not shown any
// more: clients would see it flash up.
func (f filler) Fill(ctx context.Context, _ fanout.Topic, log, first, last int64) ([]*fanout.Event, error) {
	g, err := f.Groups.ByGID(ctx, log)
	var p place
	if err == nil {
		p, err = f.placeOf(ctx, g)
	}
	if command.CodeOf(err) == group.CodeNoGroup {
		return nil, nil // destroyed: nothing to show
	}
	if err != nil {
		return nil, err
	}
	list, err := store.Collect(ctx, f.DB.Read, scanMessage, `SELECT `+columns+` FROM group_messages m WHERE m.log = $1 AND m.seq >= $2 AND m.seq <= $3
		ORDER BY m.seq`, log, first, last)
	if err != nil {
		return nil, err
	}
	who, err := f.senders(ctx, p, list)
	if err != nil {
		return nil, err
	}
	events := make([]*fanout.Event, 0, len(list))
	for i := range list {
		m := &list[i]
		if m.Flags&FlagRecalled == 0 {
			shown := *m
			shown.Version = 0 // a push with a version is no new message (protocol 02 trap 4)
			events = append(events, f.event(p, &shown, who.item(&shown, p, form{})))
		}
	}
	return events, nil
}
