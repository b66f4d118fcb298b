package liveroom

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/wire"
)

var (
	errNotPresent   = command.Err(group.CodeNoPermission, "not in the live room")
	errBanned       = command.Err(group.CodeNoPermission, "banned from the live room")
	errNotLive      = command.Err(group.CodeNoPermission, "the group is not a live room")
	errNoPermission = command.Err(group.CodeNoPermission, "the live room does not allow this to the caller")
)

// joinAnswer makes what apply_join_group answers for a live room (protocol 03
// §13.1): with a place to poll from, unless the SDK is to expect everything by
// push.
func joinAnswer(app *config.App, g *group.Info, k key, pollFrom int64, history []byte) command.Raw {
	text := k.sign(app)
	o := wire.OpenObject(make([]byte, 0, len(history)+512))
	o.Str("ActionStatus", "OK")
	o.Int("ErrorCode", 0)
	o.Str("ErrorInfo", "")
	o.Str("JoinedStatus", "JoinedSuccess")
	o.Str("Type", g.Kind.String())
	o.Int("HugeGroupFlag", 1)
	o.Str("AVChatRoomKey", text)
	if pollFrom > 0 {
		o.Str("LongPollingKey", text)
		o.Int("StartSeq", pollFrom)
	}
	o.Raw("RspMsgList", history)
	return o.Close()
}

var noHistory = []byte("[]")

// Join implements [group.Rooms]. Coming again succeeds.
func (s *Service) Join(ctx context.Context, call *command.Call, g *group.Info, history bool) (any, error) {
	if err := s.mayCome(ctx, call.App, g, call.UID); err != nil {
		return nil, err
	}
	r := s.open(ctx, call.App, g)
	w := &seat{device: fanout.Device{UID: call.UID, Inst: call.Inst}, place: r.newest()}
	pollFrom, past := int64(0), noHistory
	if call.App.LiveRooms.Delivery == config.DeliverByPolling {
		pollFrom = w.place + 1
	} else if conn, ok := call.Conn.(terminal); ok {
		w.conn = conn
	}
	if history {
		past = r.history(ctx)
	}
	fresh := s.enter(ctx, r, w)
	if w.conn != nil {
		w.conn.Join(r.topic)
	}
	if fresh {
		s.announce(g, tipJoined, call.UID)
	}
	return joinAnswer(call.App, g, key{g.GID, call.UID}, pollFrom, past), nil
}

// mayCome refuses the banned, and anybody when the room is full.
func (s *Service) mayCome(ctx context.Context, app *config.App, g *group.Info, uid int64) error {
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return err
	}
	if rules.banned[uid] > s.Now().Unix() {
		return errBanned
	}
	if limit := g.Kind.Settings(app).Members; limit > 0 && s.known(g.GID) >= limit {
		if r := s.room(g.GID); r == nil || !r.has(uid) {
			return command.Err(group.CodeFull, "the live room is full")
		}
	}
	return nil
}

// enter makes a device present, here and in the ledger. It reports whether its
// account was not present on any node.
func (s *Service) enter(ctx context.Context, r *room, w *seat) (fresh bool) {
	now := s.Now()
	w.joined, w.alive = now, now
	alreadyHere := r.has(w.device.UID)
	r.sit(w)
	fresh, count, err := s.Ledger.Enter(ctx, presence{uid: w.device.UID, joined: w.joined, alive: now}, r.record(w))
	if err != nil {
		fresh = !alreadyHere
		r.guess()
	} else {
		r.counts(count)
	}
	return fresh
}

func (r *room) record(w *seat) record {
	return record{device: w.device, room: r.gid, joined: w.joined.UnixMilli(), place: w.place, node: r.s.node, poll: w.conn == nil}
}

type joinRequest struct {
	GroupId                 string
	HugeGroupHistoryMsgFlag int
}

// joinUnnamed is apply_join_group of a visitor without an account, who watches
// by polling (protocol 03 §13.8).
func (s *Service) joinUnnamed(ctx context.Context, call *command.Call, req *joinRequest) (command.Raw, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind != group.LiveRoom {
		return nil, errNotLive
	}
	if !call.App.LiveRooms.AnonymousJoin {
		return nil, command.Err(group.CodeNoPermission, "the app lets nobody watch without an account")
	}
	visitor := -1 - rand.Int64N(1<<62)
	if err := s.mayCome(ctx, call.App, g, visitor); err != nil {
		return nil, err
	}
	r := s.open(ctx, call.App, g)
	w := &seat{device: fanout.Device{UID: visitor}, place: r.newest()}
	past := noHistory
	if req.HugeGroupHistoryMsgFlag == 1 {
		past = r.history(ctx)
	}
	s.enter(ctx, r, w)
	return joinAnswer(call.App, g, key{g.GID, visitor}, w.place+1, past), nil
}

// Quit implements [group.Rooms]: the account leaves with all its devices.
func (s *Service) Quit(ctx context.Context, call *command.Call, g *group.Info) error {
	if g.Owner == call.UID {
		return command.Err(group.CodeOwnerStays, "the owner cannot quit")
	}
	if !s.remove(ctx, g, call.UID) {
		return errNotPresent
	}
	me, err := s.Accounts.ByUID(ctx, call.UID)
	if err != nil {
		return err
	}
	s.announce(g, tipQuit, call.UID)
	s.notify(g, me, noticeBody{ReportType: noticeQuit, Operator_Account: me.UserID}, fanout.Device{UID: call.UID, Inst: call.Inst})
	return nil
}

// remove makes an account leave on all nodes and reports whether it was in.
func (s *Service) remove(ctx context.Context, g *group.Info, uid int64) bool {
	here := false
	if r := s.room(g.GID); r != nil {
		devices := r.expel(uid)
		here = len(devices) > 0
		r.leftNow(uid)
		for _, d := range devices {
			_ = s.Ledger.Drop(ctx, d, g.GID) // its record ends by itself, too
		}
	}
	left, count, err := s.Ledger.Leave(ctx, g.GID, uid, s.Now().Add(time.Hour))
	if r := s.room(g.GID); r != nil {
		if err != nil {
			r.guess()
		} else {
			r.counts(count)
		}
	}
	s.tellRoom(g.GID, noteOut, binary.AppendVarint(nil, uid))
	return here || left
}

// Report types of notices to one account (protocol 03 §3.4).
const (
	noticeQuit   = 8
	noticeBanned = 21
)

type noticeBody struct {
	ReportType       int
	Operator_Account string
	BanDuration      int64  `json:",omitempty"`
	BanDescription   string `json:",omitempty"`
}

// notify pushes a notice to an account's devices, except one.
func (s *Service) notify(g *group.Info, to *account.Account, body noticeBody, except fanout.Device) {
	raw, _ := json.Marshal(body) // plain fields
	item := wire.OpenObject(nil)
	item.Int("MsgSeq", drawNumber())
	item.Str("To_Account", to.UserID)
	list := append([]byte(`[{`), open(item)...)
	list = append(append(list, ','), systemBody(g, s.Now(), raw)...)
	o := wire.OpenObject(nil)
	o.Int("Event", eventNotice)
	o.Raw("GroupTips", append(list, ']'))
	s.Hub.Push(to.UID, o.Close(), except)
}
