package message

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	From_Account string //nolint:revive // the protocol's spelling
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
	// syncOverlap is how far behind its time a cookie points, seconds: a
	// message may be committed a moment after the second it carries, and
	// nodes' clocks differ. The SDK drops what it has already.
	syncOverlap = 10
)

// sync is openim.getmsg (protocol 02 §6): the messages since the cookie, or
// the unread ones, and the unread counts. The cookie is a place in time, which
// all pairs' logs share.
func (s *Service) sync(ctx context.Context, call *command.Call, req *syncRequest) (*syncAnswer, error) {
	now := s.Now()
	low := floor(now, call.App.Retention)
	position, changes, known := parseCookie(req.Cookie)
	ans := &syncAnswer{SyncFlag: 2, MsgList: []json.RawMessage{}, C2CPairUnreadCount: []pairUnread{},
		C2CRemainingUnreadCount: []struct{}{}, EventArray: []json.RawMessage{}, Cookie: cookie(from(now.Unix()-syncOverlap), 0)}
	var list []Message
	var err error
	if known {
		list, err = s.since(ctx, call.UID, max(low, position), syncPage+1)
		if len(list) > syncPage {
			list = list[:syncPage]
			ans.SyncFlag, ans.Cookie = 1, cookie(list[syncPage-1].Seq, changes)
		}
	} else {
		list, err = s.unread(ctx, call.UID, low, syncPage)
	}
	if err != nil {
		return nil, err
	}
	var changed []Message
	if known && ans.SyncFlag == 2 {
		if changed, err = s.changedSince(ctx, call.UID, low, changes); err != nil {
			return nil, err
		}
	}
	who, err := s.everyone(ctx, list, changed)
	if err != nil {
		return nil, err
	}
	for i := range list {
		m := &list[i]
		ans.MsgList = append(ans.MsgList, m.historyItem(who[m.From], who[m.To]))
	}
	for i := range changed {
		if m := &changed[i]; m.Flags&FlagRevoked != 0 {
			ans.MsgList = append(ans.MsgList, revokeInSync(m, who))
		} else {
			ans.EventArray = append(ans.EventArray, m.modifyItem(who[m.From], who[m.To]))
		}
	}
	if ans.SyncFlag == 2 {
		// Without a cookie the list is the unread messages: none of them, none to count.
		if known || len(list) > 0 {
			if ans.C2CPairUnreadCount, err = s.unreadCounts(ctx, call.UID, low); err != nil {
				return nil, err
			}
		}
		missed, err := s.missedEvents(ctx, call, changes)
		if err != nil {
			return nil, err
		}
		ans.EventArray = append(ans.EventArray, missed...)
	}
	return ans, nil
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

const cookiePrefix = "p"

// cookie is a place in time that all pairs' logs share; while an answer has
// further pages, changes is the unix second from which changes are to be told
// on the last one.
func cookie(seq, changes int64) string {
	c := cookiePrefix + strconv.FormatInt(seq, 36)
	if changes > 0 {
		c += "." + strconv.FormatInt(changes, 36)
	}
	return c
}

func parseCookie(s string) (seq, changes int64, ok bool) {
	digits, found := strings.CutPrefix(s, cookiePrefix)
	if !found {
		return 0, 0, false
	}
	place, second, more := strings.Cut(digits, ".")
	seq, err := strconv.ParseInt(place, 36, 64)
	if err != nil || seq < 0 {
		return 0, 0, false
	}
	changes = secondOf(seq)
	if more {
		if changes, err = strconv.ParseInt(second, 36, 64); err != nil || changes < 0 {
			return 0, 0, false
		}
	}
	return seq, changes, true
}

// myPairs joins a user's c2c_members c with its pairs p and their messages m.
const myPairs = ` FROM c2c_members c` + asPair + `JOIN c2c_messages m ON m.lo = p.lo AND m.hi = p.hi `

// notHidden leaves out what the user of c cleared, deleted, or never got
// because it discards what the peer sends or is only named as the sender; 32 is
// flagDiscarded, 128 flagNotOwn.
const notHidden = ` AND m.seq > c.cleared_seq AND (m.flags & 32 = 0 OR m.sender = c.uid) AND (m.flags & 128 = 0 OR m.sender <> c.uid)
	AND NOT EXISTS (SELECT 1 FROM c2c_deleted d WHERE d.uid = c.uid AND d.peer = c.peer AND d.seq = m.seq)`

// since returns the first limit messages of all pairs of uid after position.
func (s *Service) since(ctx context.Context, uid, position int64, limit int) ([]Message, error) {
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+myPairs+
		`WHERE c.uid = $1 AND p.last_seq > $2 AND m.seq > $2`+notHidden+` ORDER BY m.seq, m.lo, m.hi LIMIT $3`, uid, position, limit)
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
// second, also those that the same answer tells of: a device that has them
// already drops what it has, and would miss the change.
func (s *Service) changedSince(ctx context.Context, uid, low, unix int64) ([]Message, error) {
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+myPairs+
		`WHERE c.uid = $1 AND m.changed_at > 0 AND m.changed_at >= $2 AND m.seq >= $3`+notHidden+` ORDER BY m.changed_at LIMIT $4`,
		uid, unix, low, syncPage)
	if err != nil {
		return nil, fmt.Errorf("message: sync: %w", err)
	}
	return list, nil
}

// unreadCounts counts, for every pair of uid with unread messages, those that
// count: not the ones excluded, revoked, deleted or cleared (protocol 02 §6).
// Counting rows instead of keeping counters makes every change exact by
// itself; the cost is that of the unread messages.
func (s *Service) unreadCounts(ctx context.Context, uid, low int64) ([]pairUnread, error) {
	type count struct {
		peer int64
		n    int
	}
	counts, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, c *count) error { return rows.Scan(&c.peer, &c.n) },
		`SELECT c.peer, count(*)`+myPairs+`WHERE c.uid = $1 AND p.last_seq > c.read_seq AND p.last_seq > c.hidden_seq AND m.seq > c.read_seq AND m.seq > c.hidden_seq AND m.seq >= $2
		AND m.sender = c.peer AND m.flags & $3 = 0`+notHidden+` GROUP BY c.peer`, uid, low, FlagNoUnread|FlagRevoked)
	if err != nil {
		return nil, fmt.Errorf("message: unread: %w", err)
	}
	uids := make([]int64, len(counts))
	for i, c := range counts {
		uids[i] = c.peer
	}
	who, err := s.Accounts.WithFormer(ctx, uids)
	if err != nil {
		return nil, err
	}
	out := make([]pairUnread, 0, len(counts))
	for _, c := range counts {
		if a := who[c.peer]; a != nil {
			out = append(out, pairUnread{a.UserID, c.n})
		}
	}
	return out, nil
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
