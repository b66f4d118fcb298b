package message

import (
	"context"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/conversation"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// Kind implements conversation.Source.
func (s *Service) Kind() int { return conversation.C2C }

// asPair joins c2c_members c with its c2c_pairs p.
const asPair = ` JOIN c2c_pairs p
	ON p.lo = CASE WHEN c.uid < c.peer THEN c.uid ELSE c.peer END AND p.hi = CASE WHEN c.uid < c.peer THEN c.peer ELSE c.uid END `

// listed limits c to the conversations in the list of $1 with activity between
// $2 and $3: something was said since it was removed. What the user discarded
// is not activity; the pair's bits say where that must be looked at.
const listed = ` WHERE c.uid = $1 AND p.last_seq > c.hidden_seq AND p.last_seq >= $2 AND p.last_seq <= $3
	AND (p.discard < 4 OR EXISTS (SELECT 1 FROM c2c_messages m WHERE m.lo = p.lo AND m.hi = p.hi AND m.seq > c.hidden_seq AND m.seq >= $2
		AND (m.flags & 32 = 0 OR m.sender = c.uid)))
	ORDER BY p.last_seq DESC, c.peer LIMIT $4`

// chat is a row of the list of conversations.
type chat struct {
	peer, last, peerRead int64
	opt                  int
}

func scanChat(row store.Row, c *chat) error { return row.Scan(&c.peer, &c.last, &c.opt, &c.peerRead) }

const chatsQuery = `SELECT c.peer, p.last_seq, c.recv_opt, COALESCE((SELECT o.read_seq FROM c2c_members o WHERE o.uid = c.peer AND o.peer = c.uid), 0)
	FROM c2c_members c` + asPair + listed

// Conversations implements conversation.Source for one-to-one chats: two
// queries whatever their number, and one for accounts that are not cached.
func (s *Service) Conversations(ctx context.Context, call *command.Call, w conversation.Window) ([]conversation.Item, error) {
	low := floor(s.Now(), call.App.Retention)
	rows, err := s.chats.Of(ctx, []int64{w.UID}, low, until(w.Until), w.Limit)
	if err != nil {
		return nil, fmt.Errorf("message: conversations: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	last, err := s.lastMessages(ctx, low, w)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(rows)+1)
	uids = append(uids, w.UID)
	for _, r := range rows {
		uids = append(uids, r.peer)
	}
	who, err := s.Accounts.WithFormer(ctx, uids)
	if err != nil {
		return nil, err
	}
	items := make([]conversation.Item, 0, len(rows))
	for _, r := range rows {
		peer := who[r.peer]
		if peer == nil {
			items = append(items, conversation.Item{Kind: conversation.C2C, Time: secondOf(r.last)}) // the account was deleted
			continue
		}
		o := wire.OpenObject(make([]byte, 0, 640))
		o.Int("Type", conversation.C2C)
		o.Str("To_Account", peer.UserID)
		appendLast(&o, last[r.peer], r.last, who)
		o.Str("C2cNick", peer.Nick)
		o.Str("C2cImage", peer.Avatar)
		o.Int("C2cPeerReadTime", secondOf(r.peerRead))
		o.Int("MsgRecvOption", int64(r.opt))
		items = append(items, conversation.Item{Kind: conversation.C2C, ID: peer.UserID, Time: secondOf(r.last), Session: o.Close()})
	}
	return items, nil
}

// appendLast adds the last message. Without one the key LastMsg is left out:
// an empty object would break the SDK's whole list (protocol 02 trap 1).
func appendLast(o *wire.Object, m *Message, lastSeq int64, who map[int64]*account.Account) {
	if m == nil {
		o.Int("MsgTimeStamp", secondOf(lastSeq))
		return
	}
	o.Int("MsgTimeStamp", m.Time())
	o.Int("MsgSeq", m.MsgSeq)
	o.Int("MsgRandom", m.Random)
	if sender := who[m.From]; sender != nil {
		o.Str("LastC2cMsgFrom_Account", sender.UserID)
	}
	l := wire.OpenObject(nil)
	l.Raw("MsgBody", m.Body)
	l.Str("CloudCustomData", m.Cloud)
	if m.Flags&FlagRevoked != 0 {
		l.Raw("RevokerInfo", m.revokerInfo())
		o.Int("LastMsgFlags", flagBitsRevoked)
	}
	o.Raw("LastMsg", l.Close())
}

// lastMessages returns, by peer, the newest message that the window's user sees
// and that may stand in the list. Walking down from the newest stops at the
// first that fits: max() would read the whole conversation.
func (s *Service) lastMessages(ctx context.Context, low int64, w conversation.Window) (map[int64]*Message, error) {
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+` FROM (
		SELECT p.lo, p.hi, (SELECT m.seq FROM c2c_messages m WHERE m.lo = p.lo AND m.hi = p.hi AND m.seq >= $2 AND m.flags & $5 = 0`+notHidden+`
			ORDER BY m.seq DESC LIMIT 1) AS seq
		FROM c2c_members c`+asPair+listed+`) l JOIN c2c_messages m ON m.lo = l.lo AND m.hi = l.hi AND m.seq = l.seq`,
		w.UID, low, until(w.Until), w.Limit, FlagNoLast)
	if err != nil {
		return nil, fmt.Errorf("message: last messages: %w", err)
	}
	byPeer := make(map[int64]*Message, len(list))
	for i := range list {
		m := &list[i]
		byPeer[m.other(w.UID)] = m
	}
	return byPeer, nil
}

// other returns the other side of m's pair.
func (m *Message) other(uid int64) int64 {
	if m.From == uid {
		return m.To
	}
	return m.From
}

// Remove implements conversation.Source.
func (s *Service) Remove(ctx context.Context, call *command.Call, uid int64, ids []string, clear bool) error {
	found, err := s.Accounts.FormerAll(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return err
	}
	peers := make([]int64, 0, len(found))
	for _, a := range found {
		peers = append(peers, a.UID)
	}
	if len(peers) == 0 {
		return nil
	}
	set := "read_at = $2, hidden_seq = "
	if clear {
		set = "cleared_seq = " + lastOfPair + ", " + set
	}
	_, err = s.DB.Write.ExecContext(ctx, `UPDATE c2c_members SET `+set+lastOfPair+` WHERE uid = $1 AND peer IN `+store.In(3, len(peers)),
		store.Args(peers, any(uid), any(s.Now().Unix()))...)
	if err != nil {
		return fmt.Errorf("message: remove: %w", err)
	}
	return nil
}

// lastOfPair is the newest sequence of the pair of a c2c_members row that is
// being updated. It is the newest message's and not the pair's last_seq, which
// for a moment counts places that repeated requests turn out not to need.
const lastOfPair = `COALESCE((SELECT m.seq FROM c2c_messages m WHERE m.lo = CASE WHEN c2c_members.uid < c2c_members.peer THEN c2c_members.uid ELSE c2c_members.peer END
	AND m.hi = CASE WHEN c2c_members.uid < c2c_members.peer THEN c2c_members.peer ELSE c2c_members.uid END ORDER BY m.seq DESC LIMIT 1), 0)`
