package message

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// sendRequest is openim.sendmsg (protocol 02 §4.1, 06 §5.2).
type sendRequest struct {
	From_Account            string
	To_Account              string
	MsgSeq                  int64
	MsgRandom               int64
	MsgClientTime           int64
	MsgBody                 json.RawMessage
	CloudCustomData         string
	MsgLifeTime             *int64
	SendMsgControl          []string
	IsNeedReadReceipt       int
	SupportMessageExtension int
	OfflinePushInfo         json.RawMessage
	ForbidCallbackControl   []string
	SyncOtherMachine        int // REST: see syncPush and syncNone
}

// userRequest is a sendRequest of a user, which is decoded quickly; others
// embed the plain one.
type userRequest struct{ sendRequest }

// Field implements command.Fields.
func (r *userRequest) Field(name []byte) any {
	switch string(name) {
	case "From_Account":
		return &r.From_Account
	case "To_Account":
		return &r.To_Account
	case "MsgSeq":
		return &r.MsgSeq
	case "MsgRandom":
		return &r.MsgRandom
	case "MsgClientTime":
		return &r.MsgClientTime
	case "MsgBody":
		return &r.MsgBody
	case "CloudCustomData":
		return &r.CloudCustomData
	case "MsgLifeTime":
		return &r.MsgLifeTime
	case "SendMsgControl":
		return &r.SendMsgControl
	case "IsNeedReadReceipt":
		return &r.IsNeedReadReceipt
	case "SupportMessageExtension":
		return &r.SupportMessageExtension
	case "OfflinePushInfo":
		return &r.OfflinePushInfo
	case "ForbidCallbackControl":
		return &r.ForbidCallbackControl
	case "SyncOtherMachine":
		return &r.SyncOtherMachine
	}
	return nil
}

type sendAnswer struct {
	MsgTime int64
	MsgKey  string
}

// AddTo implements command.Members.
func (a sendAnswer) AddTo(o *wire.Object) {
	o.Int("MsgTime", a.MsgTime)
	o.Str("MsgKey", a.MsgKey)
}

// maxNumber bounds the numbers that clients choose.
const maxNumber = 1 << 53

// message checks the request and makes the message; the place is still open.
func (r *sendRequest) message(from, to *account.Account, limit int) (*Message, error) {
	if r.MsgSeq < 0 || r.MsgRandom < 0 || r.MsgClientTime < 0 || r.MsgSeq > maxNumber || r.MsgRandom > maxNumber || r.MsgClientTime > maxNumber {
		return nil, command.Err(command.CodeBadPacket, "MsgSeq, MsgRandom or MsgClientTime is out of range")
	}
	body, err := Normalize(r.MsgBody, len(r.CloudCustomData), limit)
	if err != nil {
		return nil, err
	}
	if err := command.CheckTexts(r.CloudCustomData); err != nil {
		return nil, err
	}
	m := &Message{From: from.UID, To: to.UID, MsgSeq: r.MsgSeq, Random: r.MsgRandom, ClientTime: r.MsgClientTime,
		Body: body, Cloud: r.CloudCustomData, PushInfo: KeepPushInfo(r.OfflinePushInfo, limit)}
	m.Flags = flags(r.SendMsgControl, r.IsNeedReadReceipt == 1, r.SupportMessageExtension == 1)
	return m, nil
}

func flags(control []string, receipt, extensions bool) (f int) {
	if receipt {
		f |= FlagReceipt
	}
	if extensions {
		f |= FlagExtensions
	}
	if slices.Contains(control, "NoUnread") {
		f |= FlagNoUnread
	}
	if slices.Contains(control, "NoLastMsg") {
		f |= FlagNoLast
	}
	return f
}

// send is openim.sendmsg of a user: check, store, answer, push (protocol 02 §4).
func (s *Service) send(ctx context.Context, call *command.Call, req *userRequest) (any, error) {
	if req.From_Account != "" && req.From_Account != call.UserID {
		return nil, command.Err(command.CodeBadPacket, "From_Account is not the caller")
	}
	sender, err := s.Accounts.ByUID(ctx, call.UID)
	if err != nil {
		return nil, err
	}
	receiver, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return nil, err
	}
	m, err := req.message(sender, receiver, call.App.MessageBytes)
	if err != nil {
		return nil, err
	}
	if s.Policy != nil {
		drop, err := s.Policy.MaySend(ctx, call, sender, receiver)
		if err != nil {
			return nil, err
		}
		if drop {
			m.Seq = from(s.Now().Unix())
			return sendAnswer{m.Time(), m.Key()}, nil
		}
	}
	changed, err := s.before(ctx, call, sender, receiver, m, req.ForbidCallbackControl)
	if err != nil {
		return nil, err
	}
	how := delivery{device: device(call), sync: true, changed: changed, quiet: slices.Contains(req.ForbidCallbackControl, "ForbidAfterSendMsgCallback")}
	if req.MsgLifeTime != nil && *req.MsgLifeTime == 0 {
		discarded, err := s.discards(ctx, receiver.UID, sender.UID)
		if err != nil {
			return nil, err
		}
		return s.sendOnline(m, sender, receiver, how, discarded), nil
	}
	if err := s.KeepRelays(ctx, call, m.Body); err != nil {
		return nil, err
	}
	return s.store(call, m, sender, receiver, how), nil
}

// store returns the answer that waits for m to be in the log and is then
// followed by its delivery.
func (s *Service) store(call *command.Call, m *Message, sender, receiver *account.Account, how delivery) command.Later {
	return func(done func(any, error)) {
		s.append(m, func(deliver bool, err error) {
			if err != nil {
				done(nil, storeError(err))
				return
			}
			if deliver {
				s.deliver(call.App.SDKAppID, m, sender, receiver, how)
			}
			done(sendAnswer{m.Time(), m.Key()}, nil)
		})
	}
}

// before asks the hook; changed tells whether it gave m another content.
func (s *Service) before(ctx context.Context, call *command.Call, sender, receiver *account.Account, m *Message, forbidden []string) (changed bool, err error) {
	if s.Hook == nil || slices.Contains(forbidden, "ForbidBeforeSendMsgCallback") {
		return false, nil
	}
	body, cloud := m.Body, m.Cloud
	if err := s.Hook.BeforeSend(ctx, call, sender, receiver, m); err != nil {
		return false, err
	}
	return m.Cloud != cloud || !bytes.Equal(m.Body, body), nil
}

// append hands m to its pair's writer; done runs after the commit, in the
// order of the pair's log. deliver tells whether m is to be pushed: not when it
// is a repeat of a message that this node has pushed. A repeat of one that was
// stored and perhaps never pushed, because the commit's outcome was lost or
// the node that stored it has died, is pushed: a device that has it drops it.
func (s *Service) append(m *Message, done func(deliver bool, err error)) {
	lo, hi := pair(m.From, m.To)
	d := &draft{Message: m}
	id := d.identity()
	s.log.Go(uint64(lo)*31+uint64(hi), d, func(d *draft, err error) {
		if err != nil {
			done(false, err)
			return
		}
		if !d.repeated {
			s.appended.Inc()
		}
		known := s.pushed.Add(id)
		done(!d.repeated || !known && d.Flags&FlagRevoked == 0, nil)
	})
}

// Bounds of what a node remembers of its pushes: clients re-send within
// minutes (protocol 01 §11).
const (
	pushedCount = 1 << 16
	pushedTTL   = 5 * time.Minute
)

func storeError(err error) error {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrStopped) {
		return command.Err(command.CodeTooFast, "the server is too busy, try again")
	}
	return err
}

// delivery says how a message reaches the devices.
type delivery struct {
	device  fanout.Device // where it came from: it has its answer
	sync    bool          // the sender's other devices get a copy
	changed bool          // the server changed the content: the sending device must learn of it
	quiet   bool          // the hook is not told
}

// deliver pushes a stored message to the receiver's devices and the sender's
// others (protocol 02 §5).
func (s *Service) deliver(app uint32, m *Message, sender, receiver *account.Account, how delivery) {
	discarded := m.Flags&flagDiscarded != 0
	if !discarded && s.Hub.Reaches(receiver.UID, how.device) {
		s.tell(receiver.UID, m.pushItem(sender, receiver, toReceiver), how.device)
	}
	switch {
	case how.changed:
		s.tell(sender.UID, m.pushItem(sender, receiver, toSenderChanged), fanout.Device{})
	case how.sync && sender.UID != receiver.UID && s.Hub.Reaches(sender.UID, how.device):
		s.tell(sender.UID, m.pushItem(sender, receiver, toSender), how.device)
	}
	notice := Notice{App: app, From: sender, To: receiver, Message: m}
	if s.Pusher != nil && !discarded {
		s.Pusher.Offer(notice)
	}
	if s.Hook != nil && !how.quiet {
		s.Hook.AfterSend(notice)
	}
}

// sendOnline pushes a message that is not stored (protocol 02 §2.1 MsgLifeTime).
func (s *Service) sendOnline(m *Message, sender, receiver *account.Account, how delivery, discarded bool) sendAnswer {
	m.Seq = from(s.Now().Unix())
	online := func(kind copyKind) []byte {
		item := m.pushItem(sender, receiver, kind)
		// MsgLifeTime joins as the message's last member, before "}]}".
		return append(item[:len(item)-3], `,"MsgLifeTime":0}]}`...)
	}
	if !discarded {
		s.tell(receiver.UID, online(toReceiver), how.device)
	}
	switch {
	case how.changed:
		s.tell(sender.UID, online(toSenderChanged), fanout.Device{})
	case how.sync && sender.UID != receiver.UID:
		s.tell(sender.UID, online(toSender), how.device)
	}
	return sendAnswer{m.Time(), m.Key()}
}
