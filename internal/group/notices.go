package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Report types of system notices (protocol 03 §3.4).
const (
	noticeApplied      = 1
	noticeAccepted     = 2
	noticeRefused      = 3
	noticeKicked       = 4
	noticeDismissed    = 5
	noticeCreated      = 6
	noticeAdded        = 7
	noticeQuit         = 8
	noticeAdmin        = 9
	noticeNoAdmin      = 10
	noticeInvited      = 12
	noticeInviteYes    = 13
	noticeInviteNo     = 14
	noticeTopicCreated = 17
	noticeTopicGone    = 18
	noticeReceive      = 20
	noticeCustom       = 255
)

// noticeBody is the MsgBody of a system notice.
type noticeBody struct {
	ReportType         int
	Operator_Account   string
	RemarkInfo         string   `json:",omitempty"`
	Authentication     string   `json:",omitempty"`
	MsgKey             int64    `json:",omitempty"`
	UserDefinedField   string   `json:",omitempty"`
	MsgMemberExtraInfo *person  `json:",omitempty"`
	TopicIdArray       []string `json:",omitempty"`
	MsgFlag            string   `json:",omitempty"`
	Reason             string   `json:",omitempty"`
}

// notice is a system notice on its way: to some accounts, or to everybody in
// the group when to is nil.
type notice struct {
	to   []int64
	not  []int64 // of everybody: those left out
	body noticeBody
	// keep stores it for receivers who are away.
	keep bool
	// others leaves out the device that caused it.
	others bool
	// about is another group than the changed one: a topic.
	about *Info

	item   []byte // made by prepare
	seq    int64
	random int64
}

// prepare builds the event item, once for all receivers.
func (s *Service) prepare(g *Info, n *notice) {
	if n.item != nil {
		return
	}
	if n.about != nil {
		g = n.about
	}
	n.seq, n.random = drawNumber(), drawNumber()
	now := s.Now().Unix()
	n.item = wrapTips(5, tipItem{ToGroupId: g.CommunityID(), From_Account: systemAccount, TinyId: "0", MsgSeq: n.seq, MsgRandom: n.random,
		ClientSeq: n.seq, MsgTimeStamp: now, MsgClientTime: now, MsgPriority: 2, GroupInfo: g.infoForEvent(), MsgBody: n.body})
}

// keepNotices stores the notices that receivers may miss, inside the
// transaction of what they tell.
func (s *Service) keepNotices(ctx context.Context, tx *sql.Tx, g *Info, list []notice) error {
	for i := range list {
		n := &list[i]
		s.prepare(g, n)
		if !n.keep {
			continue
		}
		for to := n.to; len(to) > 0; {
			part := to[:min(len(to), 500)]
			to = to[len(part):]
			args := make([]any, 0, len(part)*6)
			for _, uid := range part {
				args = append(args, uid, n.seq, n.random, g.GID, s.Now().Unix(), string(n.item))
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO group_notices (uid, seq, random, gid, created_at, item) VALUES `+
				values(1, 6, len(part))+` ON CONFLICT DO NOTHING`, args...); err != nil {
				return fmt.Errorf("group: keep notice: %w", err)
			}
		}
	}
	return nil
}

// publishNotice hands a notice to its receivers' devices; everybody's is one
// publication on the group's topic.
func (s *Service) publishNotice(g *Info, n *notice, device fanout.Device) {
	s.prepare(g, n)
	e := &fanout.Event{Item: n.item}
	if n.others {
		e.Except = device
	}
	if n.to == nil {
		e.Not = n.not
		s.Hub.Publish(s.hubTopic(g), e)
		return
	}
	s.toEach(n.to, e)
}

// missedLimit bounds the notices of one openim.getmsg answer.
const missedLimit = 200

// Frame of an event item of notices.
const (
	noticesHead = `{"Event":5,"GroupTips":[`
	noticesTail = `]}`
)

const noticesQuery = `SELECT item FROM group_notices WHERE uid = $1 AND created_at >= $2 ORDER BY created_at DESC, seq LIMIT $3`

// Missed returns the notices kept for uid since a unix second, the newest
// missedLimit of them, oldest first (protocol 03 §3.4). They are one event
// item, or none: the SDK asks for the applications once for every item, and
// throws where nobody can catch it when it has asked too often.
func (d *Directory) Missed(ctx context.Context, uid, since int64) ([]json.RawMessage, error) {
	list, err := d.notices.Of(ctx, []int64{uid}, since, missedLimit)
	if err != nil || len(list) == 0 {
		if err != nil {
			err = fmt.Errorf("group: notices: %w", err)
		}
		return nil, err
	}
	item := []byte(noticesHead)
	for i := len(list) - 1; i >= 0; i-- {
		if len(item) > len(noticesHead) {
			item = append(item, ',')
		}
		item = append(item, list[i][len(noticesHead):len(list[i])-len(noticesTail)]...)
	}
	return []json.RawMessage{append(item, noticesTail...)}, nil
}

// Sweep removes the notices that were created before a unix second, limit at a
// time, so that it never holds up who writes.
func (s *Service) Sweep(ctx context.Context, before int64, limit int) error {
	for {
		res, err := s.DB.Write.ExecContext(ctx, `DELETE FROM group_notices WHERE (uid, seq, random) IN (
			SELECT uid, seq, random FROM group_notices WHERE created_at < $1 LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("group: sweep notices: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n < int64(limit) {
			return err
		}
	}
}

type dropRequest struct {
	DelMsgList []struct {
		From_Account string
		MsgSeq       int64
		MsgRandom    int64
	}
}

// maxDrop bounds the notices dropped by one request.
const maxDrop = 500

// dropNotices is openim.deletemsg: notices that were answered and mentions
// that were read are not shown again (protocol 03 §6.3, 02 §13.1).
func (s *Service) dropNotices(ctx context.Context, call *command.Call, req *dropRequest) (command.Empty, error) {
	if len(req.DelMsgList) > maxDrop {
		return command.Empty{}, command.Errf(CodeTooMany, "more than %d notices", maxDrop)
	}
	if len(req.DelMsgList) == 0 {
		return command.Empty{}, nil
	}
	args := []any{call.UID}
	var mentions [][2]int64
	for _, d := range req.DelMsgList {
		args = append(args, d.MsgSeq, d.MsgRandom)
		if d.From_Account != systemAccount {
			mentions = append(mentions, [2]int64{d.MsgSeq, d.MsgRandom})
		}
	}
	if len(mentions) > 0 {
		if err := s.Messages.DropMentions(ctx, call.UID, mentions); err != nil {
			return command.Empty{}, err
		}
	}
	_, err := s.DB.Write.ExecContext(ctx, `DELETE FROM group_notices WHERE uid = $1 AND (seq, random) IN (`+
		rowValues(s.DB.Dialect, len(req.DelMsgList))+`)`, args...)
	return command.Empty{}, err
}

// rowValues lists count pairs of placeholders from $2 on; SQLite wants them
// as a VALUES table.
func rowValues(d store.Dialect, count int) string {
	if d == store.SQLite {
		return `VALUES ` + values(2, 2, count)
	}
	return values(2, 2, count)
}
