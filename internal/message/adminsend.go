package message

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
)

// Codes of the REST message commands (protocol 06 §2.2).
const (
	codeRESTBody    = 90001 // malformed
	codeRESTMsgBody = 90002 // MsgBody missing or malformed
	codeRESTTo      = 90003 // To_Account malformed
	codeRESTFrom    = 90008 // From_Account malformed or unknown
	codeRESTNoUser  = 90012 // To_Account unknown
	codeRESTTooMany = 90011 // more than 500 receivers
)

// SyncOtherMachine of REST: its absence means only into the sender's history
// (protocol 06 §5.2).
const (
	syncPush = 1 // also to the sender's devices
	syncNone = 2 // not to the sender at all
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
	m.Flags |= req.adminFlags(sender, receiver)
	changed, err := s.before(ctx, call, sender, receiver, m, req.ForbidCallbackControl)
	if err != nil {
		return nil, err
	}
	how := delivery{sync: req.SyncOtherMachine == syncPush, changed: changed && req.SyncOtherMachine == syncPush,
		quiet: slices.Contains(req.ForbidCallbackControl, "ForbidAfterSendMsgCallback")}
	if req.MsgLifeTime != nil && *req.MsgLifeTime == 0 {
		return s.sendOnline(m, sender, receiver, how, false), nil
	}
	if err := s.KeepRelays(ctx, call, m.Body); err != nil {
		return nil, err
	}
	return s.store(call, m, sender, receiver, how), nil
}

// adminFlags are the flags that only administrators set.
func (r *sendRequest) adminFlags(sender, receiver *account.Account) (f int) {
	if !slices.Contains(r.SendMsgControl, "WithMuteNotifications") {
		f |= flagInsistent
	}
	if r.SyncOtherMachine == syncNone && sender.UID != receiver.UID {
		f |= flagNotOwn
	}
	return f
}

// adminSender finds who the message is from and fills in what REST callers
// may leave out.
func (s *Service) adminSender(ctx context.Context, call *command.Call, req *sendRequest) (*account.Account, error) {
	if req.MsgRandom == 0 {
		return nil, command.Err(codeRESTRandom, "MsgRandom is missing")
	}
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
	To_Account []string // replaces the single receiver
}

type batchFailure struct {
	To_Account string
	ErrorCode  int
}

type batchAnswer struct {
	MsgKey    string         `json:",omitempty"`
	ErrorList []batchFailure `json:",omitempty"`
}

// adminBatchSend is openim.batchsendmsg: one message to many (protocol 06
// §5.2). Its key is that of one of the copies, which differ in their time at
// most.
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
	var copies []copyTo
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
		m.Flags |= req.adminFlags(sender, receiver)
		copies = append(copies, copyTo{receiver, m})
	}
	how := delivery{sync: req.SyncOtherMachine == syncPush, quiet: true}
	for c, err := range s.sendCopies(ctx, call, sender, copies, how) {
		switch {
		case c.Message == nil:
			return out, err
		case err != nil:
			out.ErrorList = append(out.ErrorList, batchFailure{c.receiver.UserID, command.CodeOf(storeError(err))})
		default:
			out.MsgKey = c.Key()
		}
	}
	return out, nil
}

// copyTo is a message of a batch, for one of its receivers.
type copyTo struct {
	receiver *account.Account
	*Message
}

// sendCopies stores and delivers messages, all at the same time, and yields each
// with what became of it; or none and 60008, and no further ones, when that
// takes too long.
func (s *Service) sendCopies(ctx context.Context, call *command.Call, sender *account.Account, copies []copyTo, how delivery) iter.Seq2[copyTo, error] {
	type result struct {
		copyTo
		err error
	}
	results := make(chan result, len(copies))
	for _, c := range copies {
		s.append(c.Message, func(deliver bool, err error) {
			if err == nil && deliver {
				s.deliver(call.App.SDKAppID, c.Message, sender, c.receiver, how)
			}
			results <- result{c, err}
		})
	}
	return func(yield func(copyTo, error) bool) {
		for range copies {
			select {
			case r := <-results:
				if !yield(r.copyTo, r.err) {
					return
				}
			case <-ctx.Done():
				yield(copyTo{}, command.Err(command.CodeTimeout, ""))
				return
			}
		}
	}
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
