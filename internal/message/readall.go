package message

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// Groups is what this package needs of the groups' log: the commands that are
// about chats of both kinds are answered here.
type Groups interface {
	// Clear empties a group's history for the caller (protocol 02 §9.3).
	Clear(ctx context.Context, call *command.Call, groupID string) error
	// ReadAll moves the caller's read positions in groups, without pushes to
	// the caller's devices, and says for each whether it could: a code of the
	// group family, or 0 (protocol 02 §8.3).
	ReadAll(ctx context.Context, call *command.Call, reads []GroupRead) ([]GroupReadResult, error)
}

// GroupRead is how far a group was read.
type GroupRead struct {
	GroupId string
	MsgSeq  int64
}

// GroupReadResult is what became of a GroupRead; MsgSeq is the position then.
type GroupReadResult struct {
	GroupId string
	MsgSeq  int64
	RetCode int
}

// UseGroups tells the service of the groups' log. Call it before traffic starts.
func (s *Service) UseGroups(g Groups) { s.groups = g }

// Events returns event items of other domains that a user may have missed
// since a unix second, 0 on a first login, for openim.getmsg (protocol 02 §6).
type Events func(ctx context.Context, call *command.Call, since int64) ([]json.RawMessage, error)

// UseEvents adds missed events to openim.getmsg. Call it before traffic starts.
func (s *Service) UseEvents(fn Events) { s.events = append(s.events, fn) }

type readAllRequest struct {
	C2CReadAllMsg int
	GroupReadInfo []GroupRead
}

type readAllAnswer struct {
	C2CReadAllMsg      int
	GroupReadInfoArray []GroupReadResult
}

// maxGroupReads bounds the groups of one request.
const maxGroupReads = 3000

// readAll is openim.read_all_unread_msg (protocol 02 §8.3).
func (s *Service) readAll(ctx context.Context, call *command.Call, req *readAllRequest) (*readAllAnswer, error) {
	if len(req.GroupReadInfo) > maxGroupReads {
		return nil, command.Errf(command.CodeBadPacket, "more than %d groups", maxGroupReads)
	}
	ans := &readAllAnswer{C2CReadAllMsg: req.C2CReadAllMsg, GroupReadInfoArray: []GroupReadResult{}}
	if req.C2CReadAllMsg == 1 {
		if err := s.readEveryone(ctx, call); err != nil {
			return nil, err
		}
	}
	if len(req.GroupReadInfo) > 0 && s.groups != nil {
		var err error
		if ans.GroupReadInfoArray, err = s.groups.ReadAll(ctx, call, req.GroupReadInfo); err != nil {
			return nil, err
		}
	}
	// Two events, because a sync tells of one-to-one chats only. To a device
	// that has synced since, "all" would be what is unread by now.
	if ans.C2CReadAllMsg == 1 {
		s.Hub.PushWhen(call.UID, readAllItem(1, nil), device(call), fanout.InSync)
	}
	if len(ans.GroupReadInfoArray) > 0 {
		s.tell(call.UID, readAllItem(0, ans.GroupReadInfoArray), device(call))
	}
	return ans, nil
}

// readAllItem is an Event 14 item for own other devices (protocol 02 §8.3).
func readAllItem(c2c int64, read []GroupReadResult) []byte {
	groups := []byte{'['}
	for _, g := range read {
		if g.RetCode != 0 {
			continue
		}
		if len(groups) > 1 {
			groups = append(groups, ',')
		}
		o := wire.OpenObject(groups)
		o.Str("GroupId", g.GroupId)
		o.Int("LastReadMsgSeq", g.MsgSeq)
		groups = o.Close()
	}
	o := wire.OpenObject(nil)
	o.Int("Event", 14)
	o.Int("C2CReadAllMsg", c2c)
	o.Raw("GroupReadInfoArray", append(groups, ']'))
	return o.Close()
}

// readEveryone moves the caller's read position of every pair to its end, and
// tells those peers whose messages were unread.
func (s *Service) readEveryone(ctx context.Context, call *command.Call) error {
	low := floor(s.Now(), call.App.Retention)
	type read struct{ peer, seq int64 }
	var unread []int64
	var moved []read
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var err error
		unread, err = store.Collect(ctx, tx, func(rows *sql.Rows, peer *int64) error { return rows.Scan(peer) },
			`SELECT c.peer FROM c2c_members c`+asPair+`WHERE c.uid = $1 AND p.last_seq > c.read_seq AND EXISTS (SELECT 1 FROM c2c_messages m
			WHERE m.lo = p.lo AND m.hi = p.hi AND m.seq > c.read_seq AND m.seq >= $2 AND m.sender = c.peer`+notHidden+`)`, call.UID, low)
		if err != nil {
			return err
		}
		moved, err = store.Collect(ctx, tx, func(rows *sql.Rows, r *read) error { return rows.Scan(&r.peer, &r.seq) },
			`UPDATE c2c_members SET read_seq = `+lastOfPair+`, read_at = $2 WHERE uid = $1 AND read_seq < `+lastOfPair+` RETURNING peer, read_seq`,
			call.UID, s.Now().Unix())
		return err
	})
	if err != nil {
		return fmt.Errorf("message: read all: %w", err)
	}
	me := &account.Account{UID: call.UID, UserID: call.UserID}
	at := make(map[int64]int64, len(moved))
	for _, r := range moved {
		at[r.peer] = r.seq
	}
	for _, peer := range unread {
		if seq := at[peer]; seq > 0 {
			s.tell(peer, readReceiptItem(me, secondOf(seq)), fanout.Device{})
		}
	}
	return nil
}
