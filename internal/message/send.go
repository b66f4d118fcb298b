package message

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// sendRequest is openim.sendmsg (protocol 02 §4.1, 06 §5.2).
type sendRequest struct {
	From_Account            string //nolint:revive // the protocol's spelling, here and below
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
	SyncOtherMachine        int // REST: 2 = not to the sender's own devices
}

type sendAnswer struct {
	MsgTime int64
	MsgKey  string
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
	m := &Message{From: from.UID, To: to.UID, MsgSeq: r.MsgSeq, Random: r.MsgRandom, ClientTime: r.MsgClientTime,
		Body: body, Cloud: r.CloudCustomData, PushInfo: r.OfflinePushInfo}
	if len(m.PushInfo) > limit {
		return nil, command.Err(command.CodeTooLong, "OfflinePushInfo is too long")
	}
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
func (s *Service) send(ctx context.Context, call *command.Call, req *sendRequest) (any, error) {
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
	device := fanout.Device{UID: call.UID, Inst: call.Inst}
	if req.MsgLifeTime != nil && *req.MsgLifeTime == 0 {
		return s.sendOnline(m, sender, receiver, device), nil
	}
	return command.Later(func(done func(any, error)) {
		s.append(m, func(repeated bool, err error) {
			if err != nil {
				done(nil, storeError(err))
				return
			}
			if !repeated {
				s.deliver(call.App.SDKAppID, m, sender, receiver, device, true)
			}
			done(sendAnswer{m.Time(), m.Key()}, nil)
		})
	}), nil
}

// append hands m to its pair's writer; done runs after the commit, in the
// order of the pair's log.
func (s *Service) append(m *Message, done func(repeated bool, err error)) {
	lo, hi := pair(m.From, m.To)
	s.log.Go(uint64(lo)*31+uint64(hi), &draft{Message: m}, func(d *draft, err error) {
		if err == nil && !d.repeated {
			s.appended.Inc()
		}
		done(d.repeated, err)
	})
}

func storeError(err error) error {
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrStopped) {
		return command.Err(command.CodeTooFast, "the server is too busy, try again")
	}
	return err
}

// deliver pushes a stored message to the receiver's devices and the sender's
// others (protocol 02 §5).
func (s *Service) deliver(app uint32, m *Message, sender, receiver *account.Account, device fanout.Device, sync bool) {
	discarded := m.Flags&flagDiscarded != 0
	if !discarded {
		s.Hub.Push(receiver.UID, m.pushItem(sender, receiver, toReceiver), device)
	}
	if sync && sender.UID != receiver.UID {
		s.Hub.Push(sender.UID, m.pushItem(sender, receiver, toSender), device)
	}
	if s.Pusher != nil && !discarded {
		s.Pusher.Offer(Notice{App: app, From: sender, To: receiver, Message: m})
	}
}

// sendOnline pushes a message that is not stored (protocol 02 §2.1 MsgLifeTime).
func (s *Service) sendOnline(m *Message, sender, receiver *account.Account, device fanout.Device) sendAnswer {
	m.Seq = from(s.Now().Unix())
	online := func(kind copyKind) []byte {
		item := m.pushItem(sender, receiver, kind)
		// MsgLifeTime joins as the message's last member, before "}]}".
		return append(item[:len(item)-3], `,"MsgLifeTime":0}]}`...)
	}
	s.Hub.Push(receiver.UID, online(toReceiver), device)
	if sender.UID != receiver.UID {
		s.Hub.Push(sender.UID, online(toSender), device)
	}
	return sendAnswer{m.Time(), m.Key()}
}

// Codes of the REST message commands (protocol 06 §2.2).
const (
	codeRESTBody    = 90001 // malformed
	codeRESTMsgBody = 90002 // MsgBody missing or malformed
	codeRESTTo      = 90003 // To_Account malformed
	codeRESTFrom    = 90008 // From_Account malformed or unknown
	codeRESTNoUser  = 90012 // To_Account unknown
	codeRESTTooMany = 90011 // more than 500 receivers
)

// maxBatch is the most receivers of one batchsendmsg (protocol 06 §5.2).
const maxBatch = 500

// adminSend is openim.sendmsg of an administrator (protocol 06 §5.2).
func (s *Service) adminSend(ctx context.Context, call *command.Call, req *sendRequest) (any, error) {
	sender, err := s.adminSender(ctx, call, req)
	if err != nil {
		return nil, err
	}
	receiver, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return nil, asREST(err, codeRESTNoUser)
	}
	m, err := req.message(sender, receiver, call.App.MessageBytes)
	if err != nil {
		return nil, asREST(err, 0)
	}
	if req.MsgLifeTime != nil && *req.MsgLifeTime == 0 {
		return s.sendOnline(m, sender, receiver, fanout.Device{}), nil
	}
	return command.Later(func(done func(any, error)) {
		s.append(m, func(repeated bool, err error) {
			if err != nil {
				done(nil, storeError(err))
				return
			}
			if !repeated {
				s.deliver(call.App.SDKAppID, m, sender, receiver, fanout.Device{}, req.SyncOtherMachine != 2)
			}
			done(sendAnswer{m.Time(), m.Key()}, nil)
		})
	}), nil
}

// adminSender finds who the message is from and fills in what REST callers
// may leave out.
func (s *Service) adminSender(ctx context.Context, call *command.Call, req *sendRequest) (*account.Account, error) {
	if req.MsgSeq == 0 {
		req.MsgSeq = rand.Int64N(1 << 31)
	}
	if req.MsgClientTime == 0 {
		req.MsgClientTime = s.Now().Unix()
	}
	if len(req.MsgBody) == 0 || string(req.MsgBody) == "null" {
		return nil, command.Err(codeRESTMsgBody, "MsgBody is missing")
	}
	id := req.From_Account
	if id == "" {
		id = call.UserID // the calling administrator
		sender, _, err := s.Accounts.Ensure(ctx, call.App.SDKAppID, id)
		return sender, err
	}
	sender, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, id)
	return sender, asREST(err, codeRESTFrom)
}

// asREST gives errors of the shared code the numbers that REST callers know.
func asREST(err error, unknownAccount int) error {
	switch {
	case err == nil:
		return nil
	case unknownAccount != 0 && errors.Is(err, command.Err(command.CodeNoAccount, "")):
		return command.Err(unknownAccount, "the account does not exist")
	case errors.Is(err, command.Err(command.CodeBadPacket, "")):
		return command.Err(codeRESTMsgBody, err.(*command.Error).Info)
	}
	return err
}

type batchRequest struct {
	sendRequest
	To_Account []string //nolint:revive // replaces the single receiver
}

type batchFailure struct {
	To_Account string //nolint:revive
	ErrorCode  int
}

type batchAnswer struct {
	MsgKey    string         `json:",omitempty"`
	ErrorList []batchFailure `json:",omitempty"`
}

// adminBatchSend is openim.batchsendmsg: one message to many (protocol 06 §5.2).
func (s *Service) adminBatchSend(ctx context.Context, call *command.Call, req *batchRequest) (batchAnswer, error) {
	var out batchAnswer
	if len(req.To_Account) == 0 {
		return out, command.Err(codeRESTTo, "To_Account is missing")
	}
	if len(req.To_Account) > maxBatch {
		return out, command.Errf(codeRESTTooMany, "more than %d receivers", maxBatch)
	}
	sender, err := s.adminSender(ctx, call, &req.sendRequest)
	if err != nil {
		return out, err
	}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return out, err
	}
	type result struct {
		id  string
		err error
	}
	results := make(chan result, len(req.To_Account))
	waiting := 0
	var key string
	for _, id := range dedupe(req.To_Account) {
		receiver := found[id]
		if receiver == nil {
			out.ErrorList = append(out.ErrorList, batchFailure{id, codeRESTNoUser})
			continue
		}
		m, err := req.message(sender, receiver, call.App.MessageBytes)
		if err != nil {
			return out, asREST(err, 0)
		}
		waiting++
		s.append(m, func(repeated bool, err error) {
			if err == nil && !repeated {
				s.deliver(call.App.SDKAppID, m, sender, receiver, fanout.Device{}, req.SyncOtherMachine != 2)
			}
			results <- result{id, err}
		})
		key = Key(m.MsgSeq, m.Random, s.Now().Unix())
	}
	for range waiting {
		select {
		case r := <-results:
			if r.err != nil {
				out.ErrorList = append(out.ErrorList, batchFailure{r.id, command.CodeOf(storeError(r.err))})
			}
		case <-ctx.Done():
			return out, command.Err(command.CodeTimeout, "")
		}
	}
	out.MsgKey = key
	return out, nil
}

func dedupe(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	out := ids[:0:0]
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
