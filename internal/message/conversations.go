package message

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/conversation"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// Conversations implements conversation.Source for one-to-one chats: three
// queries whatever their number, and one for accounts that are not cached.
func (s *Service) Conversations(ctx context.Context, call *command.Call, limit int) ([]conversation.Item, error) {
	low := floor(s.Now(), call.App.Retention)
	type row struct {
		peer, last, peerRead int64
		opt                  int
	}
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error {
		return rows.Scan(&r.peer, &r.last, &r.opt, &r.peerRead)
	}, `SELECT c.peer, p.last_seq, c.recv_opt, COALESCE(o.read_seq, 0) FROM c2c_members c
		JOIN c2c_pairs p ON p.lo = CASE WHEN c.uid < c.peer THEN c.uid ELSE c.peer END AND p.hi = CASE WHEN c.uid < c.peer THEN c.peer ELSE c.uid END
		LEFT JOIN c2c_members o ON o.uid = c.peer AND o.peer = c.uid
		WHERE c.uid = $1 AND p.last_seq > c.hidden_seq AND p.last_seq >= $2 ORDER BY p.last_seq DESC LIMIT $3`, call.UID, low, limit)
	if err != nil {
		return nil, fmt.Errorf("message: conversations: %w", err)
	}
	last, err := s.lastMessages(ctx, call.UID, low, limit)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(rows)+1)
	uids = append(uids, call.UID)
	for _, r := range rows {
		uids = append(uids, r.peer)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	items := make([]conversation.Item, 0, len(rows))
	for _, r := range rows {
		peer := who[r.peer]
		if peer == nil {
			continue // the account was deleted
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

// lastMessages returns, by peer, the newest message that uid sees and that may
// stand in the list, for the pairs with the latest activity.
func (s *Service) lastMessages(ctx context.Context, uid, low int64, limit int) (map[int64]*Message, error) {
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+` FROM (
		SELECT p.lo, p.hi, (SELECT max(m.seq) FROM c2c_messages m WHERE m.lo = p.lo AND m.hi = p.hi AND m.seq >= $2 AND m.flags & $3 = 0`+notHidden+`) AS seq
		FROM c2c_members c JOIN c2c_pairs p
			ON p.lo = CASE WHEN c.uid < c.peer THEN c.uid ELSE c.peer END AND p.hi = CASE WHEN c.uid < c.peer THEN c.peer ELSE c.uid END
		WHERE c.uid = $1 AND p.last_seq > c.hidden_seq AND p.last_seq >= $2 ORDER BY p.last_seq DESC LIMIT $4
		) l JOIN c2c_messages m ON m.lo = l.lo AND m.hi = l.hi AND m.seq = l.seq`, uid, low, FlagNoLast, limit)
	if err != nil {
		return nil, fmt.Errorf("message: last messages: %w", err)
	}
	byPeer := make(map[int64]*Message, len(list))
	for i := range list {
		m := &list[i]
		peer := m.From
		if peer == uid {
			peer = m.To
		}
		byPeer[peer] = m
	}
	return byPeer, nil
}
