package grouplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// Kinds of mentions (GroupAtType, protocol 02 §13.1).
const (
	atMe  = 1
	atAll = 2
)

// atRandom is the random of the mentions in a message. It must differ from the
// message's, or the SDK takes the tip for a copy of the message.
func atRandom(m *Message) int64 { return m.Random + 1 }

// atTip describes a mention to its receiver. Its sequence is the message's;
// the receiver names it by sequence and random when it drops it.
type atTip struct {
	place
	from, to          string // to is "" for everybody
	seq, random, unix int64
	kinds             []int
}

// details are the members that say what was mentioned where.
func (t atTip) details() []byte {
	o := wire.OpenObject(nil)
	o.Str("GroupId", t.home.ID)
	o.Str("GroupName", t.home.Name)
	o.Str("From_Account", t.from)
	o.Int("MsgSeq", t.seq)
	kinds, _ := json.Marshal(t.kinds) // numbers
	o.Raw("GroupAtType", kinds)
	if id := t.topicID(); id != "" { // an empty one would make the SDK look for a topic
		o.Str("TopicId", id)
	}
	return o.Close()
}

// item is the Event 12 item; key is GroupAtTips in a push and MsgBody in the
// list of missed events (protocol 02 §13.1).
func (t atTip) item(key string) []byte {
	o := wire.OpenObject(make([]byte, 0, 384))
	o.Str("From_Account", t.from)
	if t.to != "" {
		o.Str("To_Account", t.to)
	}
	o.Int("MsgSeq", t.seq)
	o.Int("ClientSeq", t.seq)
	o.Int("MsgRandom", t.random)
	o.Int("MsgTimeStamp", t.unix)
	o.Raw(key, t.details())
	return event(12, "GroupTips", o.Close())
}

// tellMentions pushes tips to the mentioned; everybody at once costs one event.
func (s *Service) tellMentions(d *sending) {
	if len(d.mentions) == 0 {
		return
	}
	m := d.message
	t := atTip{place: d.place, from: d.sender.UserID, seq: m.Seq, random: atRandom(m), unix: m.Time}
	all := slices.Contains(d.mentions, 0)
	if all {
		t.kinds = []int{atAll}
		e := &fanout.Event{Item: t.item("GroupAtTips"), Not: []int64{m.Sender}}
		for _, uid := range d.mentions {
			if uid > 0 {
				e.AltTo = append(e.AltTo, uid)
			}
		}
		if len(e.AltTo) > 0 {
			t.kinds = []int{atMe, atAll}
			e.AltItem = t.item("GroupAtTips")
		}
		s.Hub.Publish(d.topic(), e)
		return
	}
	t.kinds = []int{atMe}
	for _, uid := range d.mentions {
		t.to = d.names[uid]
		s.Hub.Push(uid, t.item("GroupAtTips"), fanout.Device{})
	}
}

// maxMissed bounds the mentions kept for a user who is away.
const maxMissed = 100

// atRow is a stored mention.
type atRow struct {
	log, seq, uid, sender, random, at int64
}

// notDropped leaves out what the user $1 has done away with.
const notDropped = ` AND NOT EXISTS (SELECT 1 FROM group_at_dropped x WHERE x.uid = $1 AND x.seq = a.seq AND x.random = a.random)`

func scanAt(row store.Row, r *atRow) error {
	return row.Scan(&r.log, &r.seq, &r.uid, &r.sender, &r.random, &r.at)
}

// atFields are read by scanAt.
const atFields = `SELECT a.log, a.seq, a.uid, a.sender, a.random, a.at `

// missedQuery finds the newest unread mentions of $1 in groups; a topic has no
// members of its own.
const missedQuery = atFields + `FROM group_at a JOIN group_members m ON m.gid = a.log AND m.uid = $1
	WHERE a.uid = $1 AND a.at >= $2 AND a.seq > m.read_seq` + notDropped + `
	UNION ` + atFields + `FROM group_members m CROSS JOIN group_at a
	WHERE m.uid = $1 AND a.log = m.gid AND a.seq > m.read_seq AND a.seq > m.join_seq AND a.uid = 0 AND a.at >= $2 AND a.sender <> $1` + notDropped + `
	ORDER BY 6 DESC, 2 DESC LIMIT $3`

// Missed returns the event items of the newest unread mentions of a user since
// a unix second, at most 100, oldest first, for openim.getmsg (protocol 02
// §13.1). Those of everybody are found by the groups that the user is in:
// CROSS JOIN makes SQLite keep that order. Mentions in topics are not among
// them: the SDKs find those in the list of topics, and v2 takes an unread count
// of 0 from here for a topic that it has not listed yet.
func (s *Service) Missed(ctx context.Context, call *command.Call, since int64) ([]json.RawMessage, error) {
	rows, err := s.missed.Of(ctx, []int64{call.UID}, max(since, s.low(call.App)), maxMissed)
	if err != nil {
		return nil, fmt.Errorf("grouplog: mentions: %w", err)
	}
	slices.Reverse(rows)
	uids := make([]int64, 0, len(rows))
	for _, r := range rows {
		uids = append(uids, r.sender)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	items := make([]json.RawMessage, 0, len(rows))
	for _, r := range rows {
		g, err := s.Groups.ByGID(ctx, r.log)
		if err != nil || who[r.sender] == nil {
			continue // the group or the account is gone
		}
		p, err := s.placeOf(ctx, g)
		if err != nil {
			continue
		}
		t := atTip{place: p, from: who[r.sender].UserID, to: call.UserID, seq: r.seq, random: r.random, unix: r.at, kinds: []int{atMe}}
		if r.uid == 0 {
			t.kinds = []int{atAll}
		}
		items = append(items, t.item("MsgBody"))
	}
	return items, nil
}

// DropMentions removes mentions of a user, each named by its tip's sequence
// and random (openim.deletemsg, protocol 02 §13.1). Unknown ones are ignored.
// At most 500.
func (s *Service) DropMentions(ctx context.Context, uid int64, list [][2]int64) error {
	if len(list) == 0 {
		return nil
	}
	now := s.Now().Unix()
	query, args := []byte(`INSERT INTO group_at_dropped (uid, at, seq, random) VALUES `), []any{uid, now}
	for i, d := range list {
		if i > 0 {
			query = append(query, ',')
		}
		query = fmt.Appendf(query, "($1,$2,$%d,$%d)", 2*i+3, 2*i+4)
		args = append(args, d[0], d[1])
	}
	if _, err := s.DB.Write.ExecContext(ctx, string(query)+` ON CONFLICT (uid, seq, random) DO NOTHING`, args...); err != nil {
		return fmt.Errorf("grouplog: drop mentions: %w", err)
	}
	return nil
}

// mentionsOf returns the AtInfoList of each log for a viewer: unread mentions,
// oldest first (protocol 03 §4.1, §11.4).
func (s *Service) mentionsOf(ctx context.Context, uid int64, views []group.View) (map[int64]json.RawMessage, error) {
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *atRow) error { return scanAt(rows, r) }, `SELECT a.log, a.seq, a.uid, a.sender, a.random, a.at FROM `+viewRows(s.DB.Dialect, 2)+` v
		JOIN group_at a ON a.log = v.log AND a.seq > v.seen AND a.seq >= v.first
		WHERE (a.uid = $1 OR a.uid = 0) AND a.sender <> $1`+notDropped+` ORDER BY a.log, a.seq, a.uid DESC LIMIT 1000`, uid, viewArgs(views))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	var uids []int64
	for _, r := range rows {
		uids = append(uids, r.sender)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	type at struct {
		From_Account string
		AtFlagList   []int
		AtMsgSeq     int64
	}
	lists := map[int64][]at{}
	for _, r := range rows {
		if who[r.sender] == nil {
			continue
		}
		kind := atMe
		if r.uid == 0 {
			kind = atAll
		}
		l := lists[r.log]
		if n := len(l); n > 0 && l[n-1].AtMsgSeq == r.seq {
			l[n-1].AtFlagList = append(l[n-1].AtFlagList, kind)
			continue
		}
		lists[r.log] = append(l, at{who[r.sender].UserID, []int{kind}, r.seq})
	}
	out := make(map[int64]json.RawMessage, len(lists))
	for log, l := range lists {
		out[log], _ = json.Marshal(l) // plain fields
	}
	return out, nil
}
