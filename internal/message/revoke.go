package message

import (
	"context"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
)

type revokeRequest struct {
	MsgInfo struct {
		From_Account string
		To_Account   string
		MsgSeq       int64
		MsgRandom    int64
		MsgTimeStamp int64
	}
	Reason string
}

// maxReason bounds the reason of a revoke, bytes.
const maxReason = 256

func validReason(s string) bool { return len(s) <= maxReason && command.CheckTexts(s) == nil }

// revoke is openim.msgwithdraw: the sender takes a message back within the
// app's time limit (protocol 02 §9.1).
func (s *Service) revoke(ctx context.Context, call *command.Call, req *revokeRequest) (command.Empty, error) {
	info := &req.MsgInfo
	r := ref{info.MsgSeq, info.MsgRandom, info.MsgTimeStamp}
	if !r.valid() || !validReason(req.Reason) {
		return command.Empty{}, command.Err(command.CodeBadPacket, "MsgInfo is malformed")
	}
	if info.From_Account != call.UserID {
		return command.Empty{}, command.Err(codeNoMessage, "only the sender can revoke a message")
	}
	sender, receiver, err := s.parties(ctx, call, info.From_Account, info.To_Account)
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.takeBack(ctx, call, sender, receiver, r, req.Reason, func(m *Message) error {
		if call.App.RecallLimit == 0 || s.Now().Sub(time.Unix(m.Time(), 0)) > call.App.RecallLimit {
			return command.Err(codeRevokeLate, "the time for revoking the message has passed")
		}
		return nil
	})
}

type adminRevokeRequest struct {
	From_Account string
	To_Account   string
	MsgKey       string
	Reason       string
}

// adminRevoke is openim.admin_msgwithdraw: no time limit (protocol 06 §5.2).
func (s *Service) adminRevoke(ctx context.Context, call *command.Call, req *adminRevokeRequest) (command.Empty, error) {
	r, ok := refOf(req.MsgKey)
	if !ok || !validReason(req.Reason) {
		return command.Empty{}, command.Err(codeRESTKey, "MsgKey is malformed")
	}
	sender, receiver, err := s.parties(ctx, call, req.From_Account, req.To_Account)
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.takeBack(ctx, call, sender, receiver, r, req.Reason, func(*Message) error { return nil })
}

// takeBack revokes a message, if allowed agrees, and tells both sides.
func (s *Service) takeBack(ctx context.Context, call *command.Call, sender, receiver *account.Account, r ref, reason string, allowed func(*Message) error) error {
	m, err := s.change(ctx, call, sender, receiver, r, 0, func(m *Message) error {
		switch {
		case m == nil:
			return command.Err(codeNoMessage, "there is no such message")
		case m.Flags&FlagRevoked != 0:
			return command.Err(codeRevoked, "the message was revoked before")
		}
		if err := allowed(m); err != nil {
			return err
		}
		m.Flags |= FlagRevoked
		m.ChangedAt, m.Revoker, m.Reason = s.Now().Unix(), call.UserID, reason
		return nil
	})
	if err != nil {
		return err
	}
	// A sync tells of it, too, and each notice costs one unread (protocol 02 trap 13).
	s.tellBoth(m, m.revokeItem(sender, receiver), device(call), fanout.InSync)
	return nil
}
