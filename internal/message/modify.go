package message

import (
	"context"
	"encoding/json"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/wire"
)

type modifyRequest struct {
	From_Account    string
	To_Account      string
	MsgSeq          int64
	MsgRandom       int64
	MsgTime         int64
	MsgKey          string // REST, instead of the three above
	MsgVersion      int
	MsgBody         json.RawMessage
	CloudCustomData *string
}

// modifyState is the message as it is after a change, or instead of one.
type modifyState struct {
	MsgBody         json.RawMessage
	MsgVersion      int
	CloudCustomData string
}

func (m *Message) state() modifyState { return modifyState{m.Body, m.Version, m.Cloud} }

// modify is openim.modify_c2c_msg: either side changes a message that it saw
// in the version it names (protocol 02 §10).
func (s *Service) modify(ctx context.Context, call *command.Call, req *modifyRequest) (*modifyState, error) {
	r := ref{req.MsgSeq, req.MsgRandom, req.MsgTime}
	if !r.valid() || req.MsgVersion < 0 {
		return nil, command.Err(command.CodeBadPacket, "MsgSeq, MsgRandom, MsgTime or MsgVersion is malformed")
	}
	if call.UserID != req.From_Account && call.UserID != req.To_Account {
		return nil, command.Err(codeNoModify, "there is no such message")
	}
	sender, receiver, err := s.parties(ctx, call, req.From_Account, req.To_Account)
	if err != nil {
		return nil, err
	}
	return s.rewrite(ctx, call, sender, receiver, r, req, func(m *Message) error {
		switch {
		case m == nil:
			return command.Err(codeNoModify, "there is no such message")
		case m.Flags&FlagRevoked != 0:
			return command.Err(codeNoModify, "the message was revoked")
		case m.Version != req.MsgVersion:
			return &command.Error{Code: codeConflict, Info: "the message was modified meanwhile", Body: m.state()}
		}
		return nil
	})
}

// adminModify is openim.modify_c2c_msg of an administrator: whatever the
// version (protocol 06 §5.2).
func (s *Service) adminModify(ctx context.Context, call *command.Call, req *modifyRequest) (command.Empty, error) {
	r, ok := refOf(req.MsgKey)
	if !ok {
		return command.Empty{}, command.Err(codeRESTKey, "MsgKey is malformed")
	}
	if !given(req.MsgBody) && req.CloudCustomData == nil {
		return command.Empty{}, command.Err(codeRESTMsgBody, "MsgBody or CloudCustomData is needed")
	}
	sender, receiver, err := s.parties(ctx, call, req.From_Account, req.To_Account)
	if err != nil {
		return command.Empty{}, err
	}
	_, err = s.rewrite(ctx, call, sender, receiver, r, req, func(m *Message) error {
		switch {
		case m == nil:
			return command.Err(codeNoMessage, "there is no such message")
		case m.Flags&FlagRevoked != 0:
			return command.Err(codeRevoked, "the message was revoked")
		}
		return nil
	})
	return command.Empty{}, asREST(err, 0)
}

func given(body json.RawMessage) bool { return len(body) > 0 && string(body) != "null" }

// rewrite gives a message the content of the request as its next version, if
// allowed agrees, and tells both sides.
func (s *Service) rewrite(ctx context.Context, call *command.Call, sender, receiver *account.Account, r ref, req *modifyRequest, allowed func(*Message) error) (*modifyState, error) {
	cloud := 0
	if req.CloudCustomData != nil {
		cloud = len(*req.CloudCustomData)
		if err := command.CheckTexts(*req.CloudCustomData); err != nil {
			return nil, err
		}
	}
	var body json.RawMessage
	if given(req.MsgBody) {
		var err error
		if body, err = Normalize(req.MsgBody, cloud, call.App.MessageBytes); err != nil {
			return nil, err
		}
	}
	m, err := s.change(ctx, call, sender, receiver, r, call.UID, func(m *Message) error {
		if err := allowed(m); err != nil {
			return err
		}
		if body != nil {
			m.Body = body
		}
		if req.CloudCustomData != nil {
			m.Cloud = *req.CloudCustomData
		}
		if len(m.Body)+len(m.Cloud) > call.App.MessageBytes {
			return command.Errf(command.CodeTooLong, "the message is longer than %d bytes", call.App.MessageBytes)
		}
		m.Version++
		m.ChangedAt = s.Now().Unix()
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.tellBoth(m, m.modifyItem(sender, receiver), device(call), fanout.AfterSync)
	state := m.state()
	return &state, nil
}

// modifyItem is the Event 15 item that tells of an edit. SDKs read one or the
// other of the two times (protocol 02 §10).
func (m *Message) modifyItem(sender, receiver *account.Account) []byte {
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+len(m.Cloud)+320))
	o.Str("From_Account", sender.UserID)
	o.Str("To_Account", receiver.UserID)
	o.Int("MsgSeq", m.MsgSeq)
	o.Int("MsgRandom", m.Random)
	o.Int("MsgTime", m.Time())
	o.Int("MsgTimeStamp", m.Time())
	o.Int("MsgClientTime", m.ClientTime)
	o.ID("TinyId", m.From)
	o.Int("MsgVersion", int64(m.Version))
	o.Raw("MsgBody", m.Body)
	o.Str("CloudCustomData", m.Cloud)
	return eventItem(15, "C2cMsgModNotifys", o.Close())
}
