package message

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/wire"
)

type syncRequest struct {
	Cookie       string
	SyncFlag     int
	IsOnlineSync int
}

type pairUnread struct {
	From_Account string
	UnreadCount  int
}

type syncAnswer struct {
	Cookie                  string
	SyncFlag                int // 1 = ask again, 2 = finished
	MsgList                 []json.RawMessage
	C2CPairUnreadCount      []pairUnread
	C2CRemainingUnreadCount []struct{}
	EventArray              []json.RawMessage
}

// Bounds of a sync answer.
const (
	syncPage = 200
	// syncPairs bounds the conversations whose newest message is left for the
	// last page.
	syncPairs = 500
	// syncOverlap is how far behind its time a cookie points, seconds: a
	// message may be committed a moment after the second it carries, and
	// nodes' clocks differ. The SDK drops what it has already.
	syncOverlap = 10
)

// sync is openim.getmsg (protocol 02 §6): the messages since the cookie, or
// the unread ones, and the unread counts.
func (s *Service) sync(ctx context.Context, call *command.Call, req *syncRequest) (any, error) {
	now := s.Now()
	low := floor(now, call.App.Retention)
	at, known := parseCookie(req.Cookie)
	var m missed
	var err error
	if known {
		m, err = s.missedSince(ctx, call.UID, low, at)
	} else {
		m, err = s.unreadAtLogin(ctx, call.UID, low)
	}
	if err != nil {
		return nil, err
	}
	who, err := s.everyone(ctx, m.list, m.changed)
	if err != nil {
		return nil, err
	}
	ans := &syncAnswer{SyncFlag: 2, MsgList: []json.RawMessage{}, C2CPairUnreadCount: []pairUnread{},
		C2CRemainingUnreadCount: []struct{}{}, EventArray: []json.RawMessage{}, Cookie: cookie{seq: from(now.Unix() - syncOverlap)}.String()}
	for i := range m.list {
		msg := &m.list[i]
		ans.MsgList = append(ans.MsgList, msg.historyItem(who[msg.From], who[msg.To]))
	}
	if m.next != nil {
		ans.SyncFlag, ans.Cookie = 1, m.next.String()
		return ans, nil
	}
	for i := range m.changed {
		if msg := &m.changed[i]; msg.Flags&FlagRevoked != 0 {
			ans.MsgList = append(ans.MsgList, revokeInSync(msg, who))
		} else {
			ans.EventArray = append(ans.EventArray, msg.modifyItem(who[msg.From], who[msg.To]))
		}
	}
	if ans.C2CPairUnreadCount, err = s.named(ctx, m.counts, who); err != nil {
		return nil, err
	}
	events, err := s.missedEvents(ctx, call, at.changes)
	if err != nil {
		return nil, err
	}
	ans.EventArray = append(ans.EventArray, events...)
	read, err := s.readNotices(ctx, &m, now.Unix())
	if err != nil {
		return nil, err
	}
	return command.Preceded{Events: read, Answer: ans}, nil
}

// missed is what a sync tells of one-to-one chats.
type missed struct {
	list    []Message
	changed []Message // revoked or edited, the first change first
	counts  []unreadCount
	read    []int64 // peers of whom there may be fewer unread messages than before
	next    *cookie // where the next page begins; nil on the last one
}

// unreadAtLogin is what a device learns that was never here: unread messages,
// the newest ones when there are many. While they are few they are all, and
// counting them is exact at whatever moment they were read.
func (s *Service) unreadAtLogin(ctx context.Context, uid, low int64) (m missed, err error) {
	if m.list, err = s.unread(ctx, uid, low, syncPage); err != nil {
		return m, err
	}
	if len(m.list) < syncPage {
		m.counts = countUnread(m.list)
		return m, nil
	}
	m.counts, err = s.unreadCounts(ctx, s.DB.Read, uid, low)
	return m, err
}

// missedSince is what a device learns that was here before. Messages and counts
// are read at one moment: the SDK takes the count of a conversation as it is,
// and adds to it what is pushed and not in the list.
//
// Two things about SDKs (protocol 02 §6): they take the count of a conversation
// only when the last page has a message of it that is new to them, and they do
// not show the messages of the pages before. So each conversation's newest
// message is left for the last page, and there its count stands even when it
// is 0.
func (s *Service) missedSince(ctx context.Context, uid, low int64, at cookie) (m missed, err error) {
	err = s.DB.Snapshot(ctx, func(q store.Querier) error {
		m = missed{}
		if m.list, err = s.since(ctx, q, uid, low, at, syncPage+1); err != nil {
			return err
		}
		if len(m.list) > syncPage || at.bound > 0 {
			if err := s.onePage(ctx, q, &m, uid, low, at); err != nil || m.next != nil {
				return err
			}
		}
		if m.changed, err = s.changedSince(ctx, q, uid, low, at.changes); err != nil {
			return err
		}
		if m.read, err = s.readSince(ctx, q, uid, at.changes); err != nil {
			return err
		}
		m.counts, err = s.unreadCounts(ctx, q, uid, low)
		return err
	})
	for i := range m.changed {
		if c := &m.changed[i]; c.Flags&FlagRevoked != 0 && c.To == uid {
			m.read = append(m.read, c.From)
		}
	}
	if err == nil && m.next == nil {
		m.counts = withNone(m.counts, m.list, uid)
	}
	return m, err
}

// onePage makes a page of a list that is too long for one: either all but the
// conversations' newest messages, or the last page with these.
func (s *Service) onePage(ctx context.Context, q store.Querier, m *missed, uid, low int64, at cookie) error {
	if at.bound == 0 {
		at.bound = from(s.Now().Unix())
	}
	newest, err := s.newest(ctx, q, uid, max(low, from(at.changes)), at.bound)
	if err != nil {
		return err
	}
	same := func(list []Message, a *Message) bool {
		return slices.ContainsFunc(list, func(b Message) bool { return a.Seq == b.Seq && a.From == b.From && a.To == b.To })
	}
	if len(m.list) > syncPage {
		last := &m.list[syncPage-1]
		at.seq = last.Seq
		at.lo, at.hi = pair(last.From, last.To)
		m.list = slices.DeleteFunc(m.list[:syncPage], func(a Message) bool { return same(newest, &a) })
		m.next = &at
		return nil
	}
	for i := range newest {
		if !same(m.list, &newest[i]) {
			m.list = append(m.list, newest[i])
		}
	}
	slices.SortStableFunc(m.list, func(a, b Message) int { return cmp.Compare(a.Seq, b.Seq) })
	return nil
}

// missedEvents gathers what other domains have for the user.
func (s *Service) missedEvents(ctx context.Context, call *command.Call, since int64) ([]json.RawMessage, error) {
	items := []json.RawMessage{}
	for _, fn := range s.events {
		list, err := fn(ctx, call, since)
		if err != nil {
			return nil, err
		}
		items = append(items, list...)
	}
	return items, nil
}

// revokeInSync is a missed revoke notice as getmsg lists hold it (protocol 02 §6).
func revokeInSync(m *Message, who map[int64]*account.Account) []byte {
	return append(append([]byte(`{"EventArray":[`), m.revokeItem(who[m.From], who[m.To])...), `]}`...)
}

// revokeItem is the Event 10 item that tells of a revoke (protocol 02 §9.1).
func (m *Message) revokeItem(sender, receiver *account.Account) []byte {
	info := wire.OpenObject(nil)
	info.Str("From_Account", sender.UserID)
	info.Str("To_Account", receiver.UserID)
	info.Int("MsgSeq", m.MsgSeq)
	info.Int("MsgRandom", m.Random)
	info.Int("MsgRand", m.Random)
	info.Int("MsgTimeStamp", m.Time())
	info.Int("MsgClientTime", m.ClientTime)
	info.ID("TinyId", m.From)
	info.Raw("RevokerInfo", m.revokerInfo())
	b := append([]byte(`{"WithdrawC2cMsgNotify":{"C2cWithdrawInfoArray":[`), info.Close()...)
	return eventItem(10, "C2cNotifyMsgArray", append(b, `]}}`...))
}

// myPairs joins a user's c2c_members c with its pairs p and their messages m.
const myPairs = ` FROM c2c_members c` + asPair + `JOIN c2c_messages m ON m.lo = p.lo AND m.hi = p.hi `

// notHidden leaves out what the user of c cleared, deleted, or never got
// because it discards what the peer sends or is only named as the sender; 32 is
// flagDiscarded, 128 flagNotOwn.
const notHidden = ` AND m.seq > c.cleared_seq AND (m.flags & 32 = 0 OR m.sender = c.uid) AND (m.flags & 128 = 0 OR m.sender <> c.uid)
	AND NOT EXISTS (SELECT 1 FROM c2c_deleted d WHERE d.uid = c.uid AND d.peer = c.peer AND d.seq = m.seq)`

// since returns the first limit messages of all pairs of uid after a place, in
// the order of their sequences and pairs.
func (s *Service) since(ctx context.Context, q store.Querier, uid, low int64, at cookie, limit int) ([]Message, error) {
	list, err := store.Collect(ctx, q, scanMessage, `SELECT `+columns+myPairs+
		`WHERE c.uid = $1 AND p.last_seq >= $2 AND m.seq >= $2 AND (m.seq > $2 OR m.lo > $3 OR m.lo = $3 AND m.hi > $4) AND m.seq >= $5`+notHidden+
		` ORDER BY m.seq, m.lo, m.hi LIMIT $6`, uid, at.seq, at.lo, at.hi, low, limit)
	if err != nil {
		return nil, fmt.Errorf("message: sync: %w", err)
	}
	return list, nil
}

// newest returns the newest message after position and before bound of each
// pair of uid that has one, ascending; of syncPairs at most.
func (s *Service) newest(ctx context.Context, q store.Querier, uid, position, bound int64) ([]Message, error) {
	list, err := store.Collect(ctx, q, scanMessage, `SELECT `+columns+` FROM (
		SELECT p.lo, p.hi, (SELECT m.seq FROM c2c_messages m WHERE m.lo = p.lo AND m.hi = p.hi AND m.seq > $2 AND m.seq < $3`+notHidden+`
			ORDER BY m.seq DESC LIMIT 1) AS seq
		FROM c2c_members c`+asPair+`WHERE c.uid = $1 AND p.last_seq > $2 ORDER BY p.last_seq DESC LIMIT $4) l
		JOIN c2c_messages m ON m.lo = l.lo AND m.hi = l.hi AND m.seq = l.seq ORDER BY m.seq`, uid, position, bound, syncPairs)
	if err != nil {
		return nil, fmt.Errorf("message: sync: %w", err)
	}
	return list, nil
}

// unreadQuery finds the newest unread messages of $1.
const unreadQuery = `SELECT ` + columns + myPairs +
	`WHERE c.uid = $1 AND p.last_seq > c.read_seq AND m.seq > c.read_seq AND m.seq > c.hidden_seq AND m.seq >= $2 AND m.sender = c.peer` + notHidden +
	` ORDER BY m.seq DESC LIMIT $3`

// unread returns the newest limit unread messages of uid, ascending.
func (s *Service) unread(ctx context.Context, uid, low int64, limit int) ([]Message, error) {
	list, err := s.unreads.Of(ctx, []int64{uid}, low, limit)
	if err != nil {
		return nil, fmt.Errorf("message: sync: %w", err)
	}
	slices.Reverse(list)
	return list, nil
}

// changedSince returns the messages that were revoked or edited in or after a
// second, the last syncPage of them, also those that the same answer tells of:
// a device that has them already drops what it has, and would miss the change.
func (s *Service) changedSince(ctx context.Context, q store.Querier, uid, low, unix int64) ([]Message, error) {
	list, err := store.Collect(ctx, q, scanMessage, `SELECT `+columns+myPairs+
		`WHERE c.uid = $1 AND m.changed_at > 0 AND m.changed_at >= $2 AND m.seq >= $3`+notHidden+` ORDER BY m.changed_at DESC, m.seq DESC LIMIT $4`,
		uid, unix, low, syncPage)
	if err != nil {
		return nil, fmt.Errorf("message: sync: %w", err)
	}
	slices.Reverse(list)
	return list, nil
}

// everyone looks up all accounts in the lists, with one query at most.
func (s *Service) everyone(ctx context.Context, lists ...[]Message) (map[int64]*account.Account, error) {
	var uids []int64
	for _, list := range lists {
		for i := range list {
			uids = append(uids, list[i].From, list[i].To)
		}
	}
	slices.Sort(uids)
	uids = slices.Compact(uids)
	found, err := s.Accounts.WithFormer(ctx, uids)
	if err != nil {
		return nil, err
	}
	return withGone(found, uids...), nil
}
