package grouplog

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// pinRequest is pin_message and unpin_message (protocol 03 §10.1).
type pinRequest struct {
	GroupId string
	TopicId string
	MsgSeq  int64
}

// maxPins bounds the pinned messages of a group or topic (protocol 03 §10.1).
const maxPins = 10

// OpTypes of the tips about pins (protocol 03 §3.3).
const (
	opPinned   = 16
	opUnpinned = 17
)

// pin is pin_message: any member may. Pinning again changes nothing.
func (s *Service) pin(ctx context.Context, call *command.Call, req *pinRequest) (command.Empty, error) {
	v, m, err := s.pinnable(ctx, call, req)
	if err != nil {
		return command.Empty{}, err
	}
	added := false
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		now, err := s.lockForChange(ctx, tx, v.GID)
		if err != nil {
			return err
		}
		// Pins of messages that have ended make room.
		if _, err := tx.ExecContext(ctx, `DELETE FROM group_pins WHERE log = $1 AND NOT EXISTS (SELECT 1 FROM group_messages m
			WHERE m.log = group_pins.log AND m.seq = group_pins.seq AND m.time >= $2 AND m.flags & $3 = 0)`, v.GID, v.low, FlagRecalled); err != nil {
			return err
		}
		var count, mine int
		if err := tx.QueryRowContext(ctx, `SELECT count(*), COALESCE(sum(CASE WHEN seq = $2 THEN 1 ELSE 0 END), 0) FROM group_pins WHERE log = $1`,
			v.GID, m.Seq).Scan(&count, &mine); err != nil {
			return err
		}
		if added = mine == 0; !added {
			return nil
		}
		if count >= maxPins {
			return command.Errf(codeTooManyPins, "more than %d pinned messages", maxPins)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO group_pins (log, seq, uid, at) VALUES ($1, $2, $3, $4)`, v.GID, m.Seq, call.UID, now)
		return err
	})
	if err != nil || !added {
		return command.Empty{}, err
	}
	return command.Empty{}, s.tellPin(ctx, v.place, m, call, opPinned)
}

func (s *Service) pinnable(ctx context.Context, call *command.Call, req *pinRequest) (view, *Message, error) {
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return v, nil, err
	}
	list, err := s.pick(ctx, s.DB.Read, v, []int64{req.MsgSeq})
	if err != nil {
		return v, nil, err
	}
	if len(list) == 0 || list[0].Flags&(FlagTip|FlagRecalled|FlagDirected) != 0 {
		return v, nil, command.Err(codeNotFound, "the message does not exist")
	}
	return v, &list[0], nil
}

// unpin is unpin_message.
func (s *Service) unpin(ctx context.Context, call *command.Call, req *pinRequest) (command.Empty, error) {
	none := command.Empty{}
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return none, err
	}
	res, err := s.DB.Write.ExecContext(ctx, `DELETE FROM group_pins WHERE log = $1 AND seq = $2`, v.GID, req.MsgSeq)
	if err != nil {
		return none, fmt.Errorf("grouplog: unpin: %w", err)
	}
	if n, _ := res.RowsAffected(); n == 0 { // both drivers know it
		return none, nil
	}
	list, err := s.pick(ctx, s.DB.Read, v, []int64{req.MsgSeq})
	if err != nil || len(list) == 0 {
		return none, err
	}
	return none, s.tellPin(ctx, v.place, &list[0], call, opUnpinned)
}

// tellPin publishes the tip that is not stored (protocol 03 §10.3).
func (s *Service) tellPin(ctx context.Context, p place, m *Message, call *command.Call, op int64) error {
	who, err := s.senders(ctx, p, []Message{*m, {Sender: call.UID}})
	if err != nil {
		return err
	}
	me := who.accounts[call.UID]
	if me == nil {
		me = &account.Account{UserID: call.UserID}
	}
	operator := wire.OpenObject(nil)
	operator.Str("UserId", me.UserID)
	operator.Str("NickName", me.Nick)
	operator.Str("ImageUrl", me.Avatar)
	body := wire.OpenObject(make([]byte, 0, len(m.Body)+640))
	body.Int("OpType", op)
	body.Str("Operator_Account", me.UserID)
	body.Raw("MsgOperatorMemberExtraInfo", operator.Close())
	if op == opPinned {
		body.Raw("PinnedMsg", who.item(m, p, form{}))
	} else {
		id := wire.OpenObject(nil)
		id.Int("ClientTime", m.ClientTime)
		id.Int("Random", m.Random)
		id.ID("SenderTinyId", m.Sender)
		id.Int("ServerTime", m.Time)
		id.Int("MsgSeq", m.Seq)
		body.Raw("SdkGroupMessageId", id.Close())
	}
	now := s.Now().Unix()
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+960))
	o.Str("ToGroupId", p.home.ID)
	o.Str("From_Account", systemAccount)
	o.ID("TinyId", 0)
	o.Int("MsgSeq", 0)
	o.Int("MsgRandom", int64(rand.Uint32()))
	o.Int("MsgTimeStamp", now)
	o.Int("MsgClientTime", now)
	o.Raw("GroupInfo", p.groupInfo(nil, ""))
	o.Raw("MsgBody", body.Close())
	s.Hub.Publish(p.topic(), &fanout.Event{Item: event(6, "GroupTips", o.Close())})
	return nil
}

type pinnedRequest struct {
	GroupId string
	TopicId string
}

type pinnedEntry struct {
	MsgSeq         int64
	Pinner_Account string
}

type pinnedAnswer struct {
	PinnedMsgList []pinnedEntry
}

// pinned is get_pinned_messages, the latest pinned first; those past their
// retention or recalled are left out.
func (s *Service) pinned(ctx context.Context, call *command.Call, req *pinnedRequest) (*pinnedAnswer, error) {
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	type row struct{ seq, uid int64 }
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.seq, &r.uid) },
		`SELECT p.seq, p.uid FROM group_pins p JOIN group_messages m ON m.log = p.log AND m.seq = p.seq
		WHERE p.log = $1 AND m.time >= $2 AND m.seq >= $3 AND m.flags & $4 = 0 ORDER BY p.at DESC`, v.GID, v.low, v.first, FlagRecalled)
	if err != nil {
		return nil, fmt.Errorf("grouplog: pinned: %w", err)
	}
	uids := make([]int64, 0, len(rows))
	for _, r := range rows {
		uids = append(uids, r.uid)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	ans := &pinnedAnswer{PinnedMsgList: []pinnedEntry{}}
	for _, r := range rows {
		ans.PinnedMsgList = append(ans.PinnedMsgList, pinnedEntry{r.seq, people{accounts: who}.userID(r.uid)})
	}
	return ans, nil
}
