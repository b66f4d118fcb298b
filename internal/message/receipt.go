package message

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// maxReceipts is how many messages one receipt request may name.
const maxReceipts = 100

type receiptRequest struct {
	Operator_Account string // REST
	Peer_Account     string
	C2CMsgInfo       []struct {
		From_Account string
		To_Account   string
		MsgSeq       int64
		MsgRandom    int64
		MsgTime      int64
		MsgKey       string // REST, instead of the three above
	}
}

// receipt is openim.c2c_msg_read_receipt: the receiver confirms that it read
// messages whose sender asked for it (protocol 02 §11.1).
func (s *Service) receipt(ctx context.Context, call *command.Call, req *receiptRequest) (command.Empty, error) {
	me, err := s.Accounts.ByUID(ctx, call.UID)
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.confirm(ctx, call, me, req)
}

// adminReceipt is the same for the account named Operator_Account (protocol 06 §5.2).
func (s *Service) adminReceipt(ctx context.Context, call *command.Call, req *receiptRequest) (command.Empty, error) {
	me, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Operator_Account)
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.confirm(ctx, call, me, req)
}

func (s *Service) confirm(ctx context.Context, call *command.Call, me *account.Account, req *receiptRequest) error {
	if len(req.C2CMsgInfo) == 0 || len(req.C2CMsgInfo) > maxReceipts {
		return command.Errf(command.CodeBadPacket, "C2CMsgInfo must have 1 to %d messages", maxReceipts)
	}
	sender, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Peer_Account)
	if err != nil {
		return err
	}
	refs := make([]ref, 0, len(req.C2CMsgInfo))
	for _, info := range req.C2CMsgInfo {
		r := ref{info.MsgSeq, info.MsgRandom, info.MsgTime}
		if info.MsgKey != "" {
			r, _ = refOf(info.MsgKey)
		}
		if !r.valid() {
			return command.Err(command.CodeBadPacket, "C2CMsgInfo is malformed")
		}
		refs = append(refs, r)
	}
	now := s.Now().Unix()
	var fresh []*Message
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var err error
		fresh, err = s.giveReceipts(ctx, tx, me.UID, sender.UID, refs, now)
		return err
	})
	if err != nil {
		return err
	}
	if len(fresh) > 0 {
		s.tell(sender.UID, receiptItem(me, sender, fresh, now), fanout.Device{})
	}
	return nil
}

// giveReceipts records receipts of messages from sender to me and returns those
// that had none yet. Rows are changed one statement, in the log's order.
func (s *Service) giveReceipts(ctx context.Context, tx *sql.Tx, me, sender int64, refs []ref, now int64) ([]*Message, error) {
	found, err := s.places(ctx, tx, me, sender, me, refs)
	if err != nil {
		return nil, err
	}
	wanted := make(map[int64]*Message, len(found))
	seqs := make([]int64, 0, len(found))
	for _, m := range found {
		if m.From == sender && m.To == me && m.Flags&FlagReceipt != 0 && m.Flags&FlagRevoked == 0 && m.ReceiptAt == 0 {
			wanted[m.Seq] = m
			seqs = append(seqs, m.Seq)
		}
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	slices.Sort(seqs)
	lo, hi := pair(me, sender)
	given, err := store.Collect(ctx, tx, func(rows *sql.Rows, seq *int64) error { return rows.Scan(seq) },
		`UPDATE c2c_messages SET receipt_at = $3 WHERE lo = $1 AND hi = $2 AND receipt_at = 0 AND seq IN `+store.In(4, len(seqs))+` RETURNING seq`,
		store.Args(seqs, any(lo), any(hi), any(now))...)
	if err != nil {
		return nil, fmt.Errorf("message: receipts: %w", err)
	}
	slices.Sort(given)
	fresh := make([]*Message, 0, len(given))
	for _, seq := range given {
		fresh = append(fresh, wanted[seq])
	}
	return fresh, nil
}

// receiptItem is the Event 16 item for the messages' sender (protocol 02 §11.1).
func receiptItem(reader, sender *account.Account, list []*Message, unix int64) []byte {
	infos := []byte{'['}
	for i, m := range list {
		if i > 0 {
			infos = append(infos, ',')
		}
		o := wire.OpenObject(infos)
		o.Str("From_Account", sender.UserID)
		o.Str("To_Account", reader.UserID)
		o.Int("MsgSeq", m.MsgSeq)
		o.Int("MsgRandom", m.Random)
		o.Int("MsgTime", m.Time())
		o.Int("MsgClientTime", m.ClientTime)
		o.ID("TinyId", m.From)
		infos = o.Close()
	}
	o := wire.OpenObject(make([]byte, 0, len(infos)+96))
	o.Int("Event", 16)
	o.Str("Peer_Account", reader.UserID)
	o.Int("PeerReadTime", unix)
	o.Raw("C2cMsgInfo", append(infos, ']'))
	return o.Close()
}
