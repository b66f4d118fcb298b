package message

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

type readRequest struct {
	C2CMsgReaded struct {
		C2CMsgReadedItem []struct {
			To_Account    string
			LastedMsgTime int64
		}
	}
}

// maxReadItems bounds the peers of one read report.
const maxReadItems = 100

// markRead is openim.msgreaded (protocol 02 §8.1).
func (s *Service) markRead(ctx context.Context, call *command.Call, req *readRequest) (command.Empty, error) {
	items := req.C2CMsgReaded.C2CMsgReadedItem
	if len(items) > maxReadItems {
		return command.Empty{}, command.Errf(command.CodeBadPacket, "more than %d conversations", maxReadItems)
	}
	for _, item := range items {
		if item.LastedMsgTime < 0 || item.LastedMsgTime > maxUnix {
			return command.Empty{}, command.Err(command.CodeBadPacket, "LastedMsgTime is out of range")
		}
		peer, err := s.Accounts.Former(ctx, call.App.SDKAppID, item.To_Account)
		if err != nil {
			return command.Empty{}, err
		}
		me, err := s.Accounts.ByUID(ctx, call.UID)
		if err != nil {
			return command.Empty{}, err
		}
		if err := s.ReadUpTo(ctx, me, peer, item.LastedMsgTime, fanout.Device{UID: call.UID, Inst: call.Inst}); err != nil {
			return command.Empty{}, err
		}
	}
	return command.Empty{}, nil
}

// ReadUpTo records that me has read the pair with peer up to a unix second,
// and tells the peer and me's other devices when that is news. Reading never
// goes backwards.
func (s *Service) ReadUpTo(ctx context.Context, me, peer *account.Account, unix int64, device fanout.Device) error {
	r := &reading{uid: me.UID, peer: peer.UID, upTo: until(unix)}
	telling := s.tellings.enter(r)
	defer s.tellings.leave(r, telling)
	if err := s.record(ctx, r); err != nil {
		return fmt.Errorf("message: read: %w", err)
	}
	if r.moved {
		telling.tell(r.seq, func() {
			s.tell(peer.UID, readReceiptItem(me, secondOf(r.seq)), fanout.Device{})
			s.tell(me.UID, readSyncItem(peer, secondOf(r.seq)), device)
		})
	}
	return nil
}

// readReceiptItem tells a peer how far its messages were read (protocol 02 §8.1).
func readReceiptItem(reader *account.Account, unix int64) []byte {
	at := wire.OpenObject(nil)
	at.Int("LastReadTime", unix)
	o := wire.OpenObject(nil)
	o.Str("To_Account", reader.UserID)
	o.Raw("UinPairReadArray", array(at.Close()))
	return noticeItem("C2cReadedReceipt", o.Close())
}

// readSyncItem tells my other devices how far I read (protocol 02 §8.1).
func readSyncItem(peer *account.Account, unix int64) []byte {
	at := wire.OpenObject(nil)
	at.Str("From_Account", peer.UserID)
	at.Int("LastReadTime", unix)
	o := wire.OpenObject(nil)
	o.Raw("UinPairReadArray", array(at.Close()))
	return noticeItem("ReadC2cMsgNotify", o.Close())
}

// noticeItem wraps a notice as an Event 10 item of its own: two notices in one
// array would each fire twice (protocol 02 trap 5).
func noticeItem(key string, object []byte) []byte {
	o := wire.OpenObject(nil)
	o.Raw(key, object)
	return eventItem(10, "C2cNotifyMsgArray", o.Close())
}

func array(object []byte) []byte {
	return append(append([]byte{'['}, object...), ']')
}

type peerReadRequest struct {
	To_Account []string
}

type peerReadAnswer struct {
	ReadTime []int64
}

// maxPeers bounds the accounts of one get_peer_read_time.
const maxPeers = 500

// peerReadTime is openim.get_peer_read_time: how far each peer has read the
// chat with me, unix seconds, in the order asked, 0 = never (protocol 02 §8.4).
func (s *Service) peerReadTime(ctx context.Context, call *command.Call, req *peerReadRequest) (*peerReadAnswer, error) {
	if len(req.To_Account) > maxPeers {
		return nil, command.Errf(command.CodeBadPacket, "more than %d accounts", maxPeers)
	}
	ans := &peerReadAnswer{ReadTime: make([]int64, len(req.To_Account))}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil || len(found) == 0 {
		return ans, err
	}
	uids := make([]int64, 0, len(found))
	for _, a := range found {
		uids = append(uids, a.UID)
	}
	times, err := s.peerReads(ctx, call.UID, uids)
	if err != nil {
		return nil, err
	}
	for i, id := range req.To_Account {
		if a := found[id]; a != nil {
			ans.ReadTime[i] = times[a.UID]
		}
	}
	return ans, nil
}

// peerReads returns the unix second up to which each peer has read its pair with uid.
func (s *Service) peerReads(ctx context.Context, uid int64, peers []int64) (map[int64]int64, error) {
	type read struct{ peer, seq int64 }
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *read) error { return rows.Scan(&r.peer, &r.seq) },
		`SELECT uid, read_seq FROM c2c_members WHERE peer = $1 AND uid IN `+store.In(2, len(peers)), store.Args(peers, any(uid))...)
	if err != nil {
		return nil, fmt.Errorf("message: peer read: %w", err)
	}
	times := make(map[int64]int64, len(list))
	for _, r := range list {
		times[r.peer] = secondOf(r.seq)
	}
	return times, nil
}
