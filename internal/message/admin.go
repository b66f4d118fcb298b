package message

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

type adminReadRequest struct {
	Report_Account string
	Peer_Account   string
	MsgReadTime    int64
}

// adminRead is openim.admin_set_msg_read (protocol 06 §5.2).
func (s *Service) adminRead(ctx context.Context, call *command.Call, req *adminReadRequest) (command.Empty, error) {
	if req.MsgReadTime < 0 || req.MsgReadTime > maxUnix {
		return command.Empty{}, command.Err(command.CodeBadPacket, "MsgReadTime is out of range")
	}
	reader, peer, err := s.parties(ctx, call, req.Report_Account, req.Peer_Account)
	if err != nil {
		return command.Empty{}, err
	}
	at := req.MsgReadTime
	if at == 0 {
		at = s.Now().Unix()
	}
	return command.Empty{}, s.ReadUpTo(ctx, reader, peer, at, fanout.Device{})
}

type adminUnreadRequest struct {
	To_Account   string
	Peer_Account []string
}

type peerUnread struct {
	Peer_Account    string
	C2CUnreadMsgNum int
}

type adminUnreadAnswer struct {
	AllC2CUnreadMsgNum  *int          `json:",omitempty"`
	C2CUnreadMsgNumList []peerUnread  `json:",omitempty"`
	ErrorList           []muteFailure `json:",omitempty"`
}

// maxUnreadPeers is how many peers may be asked about (protocol 06 §5.2).
const maxUnreadPeers = 10

// adminUnread is openim.get_c2c_unread_msg_num (protocol 06 §5.2).
func (s *Service) adminUnread(ctx context.Context, call *command.Call, req *adminUnreadRequest) (*adminUnreadAnswer, error) {
	if len(req.Peer_Account) > maxUnreadPeers {
		return nil, command.Errf(codeRESTTooManyPeers, "more than %d peers", maxUnreadPeers)
	}
	owner, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return nil, err
	}
	unread, err := s.unreadCounts(ctx, s.DB.Read, owner.UID, floor(s.Now(), call.App.Retention))
	if err != nil {
		return nil, err
	}
	counts, err := s.named(ctx, unread, nil)
	if err != nil {
		return nil, err
	}
	ans, total, by := &adminUnreadAnswer{}, 0, make(map[string]int, len(counts))
	for _, c := range counts {
		by[c.From_Account] = c.UnreadCount
		total += c.UnreadCount
	}
	if len(req.Peer_Account) == 0 {
		ans.AllC2CUnreadMsgNum = &total
		return ans, nil
	}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.Peer_Account)
	if err != nil {
		return nil, err
	}
	for _, id := range req.Peer_Account {
		if found[id] == nil {
			ans.ErrorList = append(ans.ErrorList, muteFailure{id, codeRESTNoUser})
		} else {
			ans.C2CUnreadMsgNumList = append(ans.C2CUnreadMsgNumList, peerUnread{id, by[id]})
		}
	}
	return ans, nil
}

type adminHistoryRequest struct {
	Operator_Account string
	Peer_Account     string
	From_Account     string // the older spelling of Operator_Account
	To_Account       string // and of Peer_Account
	MaxCnt           int
	MinTime          int64
	MaxTime          int64
	LastMsgKey       string
}

type adminHistoryAnswer struct {
	Complete    int
	MsgCnt      int
	LastMsgTime int64
	LastMsgKey  string
	MsgList     []json.RawMessage
}

// maxAdminPage bounds a page in bytes; more follows on the next (protocol 06 §5.2).
const maxAdminPage = 13 << 10

// adminHistory is openim.admin_getroammsg: a pair's history as one side sees
// it, newest pages first, each ascending (protocol 06 §5.2).
func (s *Service) adminHistory(ctx context.Context, call *command.Call, req *adminHistoryRequest) (*adminHistoryAnswer, error) {
	if req.Operator_Account == "" {
		req.Operator_Account, req.Peer_Account = req.From_Account, req.To_Account
	}
	if req.MaxCnt <= 0 || req.MinTime < 0 || req.MaxTime < req.MinTime || req.MaxTime > maxUnix {
		return nil, command.Err(codeRESTBody, "MaxCnt, MinTime or MaxTime is out of range")
	}
	owner, peer, err := s.parties(ctx, call, req.Operator_Account, req.Peer_Account)
	if err != nil {
		return nil, err
	}
	w := window{uid: owner.UID, peer: peer.UID, floor: floor(s.Now(), call.App.Retention), newest: true,
		above: from(req.MinTime) - 1, below: until(req.MaxTime) + 1, limit: min(req.MaxCnt, maxPage) + 1}
	if req.LastMsgKey != "" {
		r, ok := refOf(req.LastMsgKey)
		if !ok {
			return nil, command.Err(codeRESTKey, "LastMsgKey is malformed")
		}
		seq, err := find(ctx, s.DB.Read, w.uid, w.peer, r.msgSeq, r.random, r.unix)
		if err != nil {
			return nil, err
		}
		if seq == 0 {
			seq = from(r.unix)
		}
		w.below = min(w.below, seq)
	}
	list, err := s.page(ctx, w)
	if err != nil {
		return nil, err
	}
	read, err := s.readPositions(ctx, owner.UID, peer.UID)
	if err != nil {
		return nil, err
	}
	names := map[int64]string{owner.UID: owner.UserID, peer.UID: peer.UserID}
	ans := &adminHistoryAnswer{Complete: 1, MsgList: []json.RawMessage{}}
	if len(list) == w.limit {
		list, ans.Complete = list[1:], 0
	}
	size, first := 0, len(list)
	items := make([]json.RawMessage, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		items[i] = list[i].adminItem(names, read)
		if size += len(items[i]); size > maxAdminPage && first < len(list) {
			ans.Complete = 0
			break
		}
		first = i
	}
	if ans.MsgList = append(ans.MsgList, items[first:]...); first < len(list) {
		ans.LastMsgTime, ans.LastMsgKey = list[first].Time(), list[first].Key()
	}
	ans.MsgCnt = len(ans.MsgList)
	return ans, nil
}

// readPositions returns how far each of a pair has read, by uid.
func (s *Service) readPositions(ctx context.Context, a, b int64) (map[int64]int64, error) {
	type row struct{ uid, seq int64 }
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.seq) },
		`SELECT uid, read_seq FROM c2c_members WHERE uid = $1 AND peer = $2 OR uid = $2 AND peer = $1`, a, b)
	if err != nil {
		return nil, fmt.Errorf("message: read positions: %w", err)
	}
	read := make(map[int64]int64, 2)
	for _, r := range rows {
		read[r.uid] = r.seq
	}
	return read, nil
}

func (m *Message) adminItem(names map[int64]string, read map[int64]int64) []byte {
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+len(m.Cloud)+320))
	o.Str("From_Account", names[m.From])
	o.Str("To_Account", names[m.To])
	o.Int("MsgSeq", m.MsgSeq)
	o.Int("MsgRandom", m.Random)
	o.Int("MsgTimeStamp", m.Time())
	o.Int("MsgClientTime", m.ClientTime)
	bits := int64(0)
	if m.Flags&FlagRevoked != 0 {
		bits = flagBitsRevoked
	}
	o.Int("MsgFlagBits", bits)
	o.Flag("IsPeerRead", m.ReceiptAt > 0 || read[m.To] >= m.Seq)
	o.Str("MsgKey", m.Key())
	o.Raw("MsgBody", m.Body)
	o.Str("CloudCustomData", m.Cloud)
	if m.Version > 0 {
		o.Int("MsgVersion", int64(m.Version))
	}
	return o.Close()
}
