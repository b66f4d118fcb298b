package group

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/conversation"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// Flag of LastMsgFlags: the last message was recalled (protocol 03 §14.2).
const lastRecalled = 2

// Kind implements conversation.Source.
func (s *Service) Kind() int { return conversation.Group }

// listedRow is a group and what its member keeps of it.
type listedRow struct {
	info                        Info
	join, read, cleared, hidden int64 // of join what a member sees nothing of: 0 where all is seen
	receive                     Receive
}

func scanListed(row store.Row, m *listedRow) error {
	return scanInfo(row.Scan, &m.info, &m.join, &m.read, &m.cleared, &m.hidden, &m.receive)
}

const listedQuery = `SELECT ` + infoColumns + `, m.join_seq, m.read_seq, m.cleared_seq, m.hidden_seq, m.recv_opt FROM group_members m JOIN groups g ON g.gid = m.gid
	WHERE m.uid = $1 AND g.support_topic = 0 ORDER BY m.gid`

// Conversations implements conversation.Source for groups: the memberships and
// the logs' summaries, a fixed number of queries whatever the number of groups.
func (s *Service) Conversations(ctx context.Context, call *command.Call, w conversation.Window) ([]conversation.Item, error) {
	list, err := s.memberOf.Of(ctx, []int64{w.UID})
	if err != nil {
		return nil, fmt.Errorf("group: conversations: %w", err)
	}
	views := make([]View, len(list))
	for i := range list {
		m := &list[i]
		settings := m.info.Kind.Settings(call.App)
		if settings.HistoryBeforeJoin {
			m.join = 0
		}
		views[i] = View{Log: m.info.GID, First: max(m.join, m.cleared) + 1, Read: m.read, CountUnread: settings.Unread}
	}
	sums, err := s.Messages.Summaries(ctx, w.UID, views)
	if err != nil {
		return nil, err
	}
	items := make([]conversation.Item, 0, len(list))
	for i := range list {
		m := &list[i]
		sum, ok := sums[m.info.GID]
		// One whose history was cleared stays (protocol 02 §9.3).
		if !ok || sum.LastTime > w.Until || sum.LastSeq <= m.hidden || sum.LastSeq <= m.join {
			continue
		}
		o := wire.OpenObject(make([]byte, 0, 640))
		o.Int("Type", conversation.Group)
		o.Str("ToAccount", m.info.ID)
		o.Str("GroupNick", m.info.Name)
		o.Str("GroupImage", m.info.FaceURL)
		o.Str("GroupType", m.info.Kind.String())
		o.Int("UnreadMsgCount", int64(sum.Unread))
		o.Int("GroupIgnoredUnreadSeqCount", 0)
		o.Int("GroupNextMsgSeq", sum.LastSeq+1)
		o.Int("MsgGroupReadedSeq", m.read)
		o.Int("MsgRecvOption", int64(m.receive))
		appendNewest(&o, &m.info, sum)
		items = append(items, conversation.Item{Kind: conversation.Group, ID: m.info.ID, Time: sum.LastTime, Session: o.Close()})
	}
	slices.SortStableFunc(items, func(a, b conversation.Item) int { return cmp.Compare(b.Time, a.Time) })
	return items[:min(len(items), w.Limit)], nil
}

// Remove implements conversation.Source.
func (s *Service) Remove(ctx context.Context, call *command.Call, uid int64, ids []string, clear bool) error {
	found, err := s.Groups.Groups(ctx, call.App.SDKAppID, ids)
	if err != nil || len(found) == 0 {
		return err
	}
	gids := make([]int64, 0, len(found))
	for _, g := range found {
		gids = append(gids, g.GID)
	}
	const last = `COALESCE((SELECT l.last_seq FROM group_logs l WHERE l.log = group_members.gid), 0)`
	set := `hidden_seq = ` + last + `, read_seq = ` + last
	if clear {
		set += `, cleared_seq = ` + last
	}
	if _, err := s.DB.Write.ExecContext(ctx, `UPDATE group_members SET `+set+` WHERE uid = $1 AND gid IN `+store.In(2, len(gids)),
		store.Args(gids, any(uid))...); err != nil {
		return fmt.Errorf("group: remove conversations: %w", err)
	}
	for _, gid := range gids {
		s.Groups.forget(gid, uid)
	}
	return nil
}

// appendNewest adds the last message; without one the key LastMsg stays out:
// an empty object would break the SDK's whole list (protocol 02 §14.1).
func appendNewest(o *wire.Object, g *Info, sum Summary) {
	n := sum.Newest
	if n == nil {
		o.Int("MsgTimeStamp", sum.LastTime)
		o.Int("MsgSeq", sum.LastSeq)
		return
	}
	o.Int("MsgTimeStamp", n.Time)
	o.Int("MsgSeq", n.Seq)
	o.Str("MsgGroupFrom_Account", n.SenderID)
	if n.Recalled {
		o.Int("LastMsgFlags", lastRecalled)
	} else {
		o.Int("LastMsgFlags", 0)
	}
	last := wire.OpenObject(make([]byte, 0, len(n.Body)+256))
	if n.Tip {
		last.Int("Event", 4)
		last.Raw("GroupTips", marshal(tipItem{ToGroupId: g.CommunityID(), From_Account: systemAccount, TinyId: "0", MsgSeq: n.Seq, MsgRandom: n.Random,
			ClientSeq: n.Seq, MsgTimeStamp: n.Time, MsgClientTime: n.ClientTime, MsgPriority: 2, GroupInfo: g.infoForEvent(), MsgBody: n.Body}))
	} else {
		last.Raw("MsgBody", n.Body)
		last.Str("CloudCustomData", n.Cloud)
		if n.Recalled {
			last.Raw("RevokerInfo", revoker(n))
		}
	}
	o.Raw("LastMsg", last.Close())
}

func revoker(n *Newest) []byte {
	r := wire.OpenObject(nil)
	r.Str("Revoker_Account", n.Revoker)
	r.Str("Reason", n.Reason)
	return r.Close()
}

// topicLast is the LastMsg of a topic; nil leaves the key out
// (protocol 03 §11.4).
func (s *Service) topicLast(ctx context.Context, n *Newest) json.RawMessage {
	if n == nil || n.Tip {
		return nil
	}
	o := wire.OpenObject(make([]byte, 0, len(n.Body)+256))
	o.Str("From_Account", n.SenderID)
	nick := ""
	if a, err := s.Accounts.ByUID(ctx, n.Sender); err == nil {
		nick = a.Nick
	}
	o.Str("From_AccountNick", nick)
	o.ID("TinyId", n.Sender)
	o.Int("LastMsgSeq", n.Seq)
	o.Int("MsgTimeStamp", n.Time)
	o.Int("MsgRandom", n.Random)
	o.Int("MsgClientTime", n.ClientTime)
	o.Raw("MsgBody", n.Body)
	o.Str("CloudCustomData", n.Cloud)
	if n.Recalled {
		o.Int("IsPlaceMsg", 2)
		o.Raw("RevokerInfo", revoker(n))
	}
	return o.Close()
}
