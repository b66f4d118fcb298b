package grouplog

import (
	"context"
	"database/sql"
	"encoding/json"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/wire"
)

// modifyRequest is openim.modify_group_msg (protocol 02 §10).
type modifyRequest struct {
	GroupId         string
	TopicId         string
	MsgSeq          int64
	MsgVersion      int             // the version that the caller changes
	MsgBody         json.RawMessage // absent: only CloudCustomData changes
	CloudCustomData *string
}

// modifyState is the answer, and the body of a conflict.
type modifyState struct {
	MsgBody         json.RawMessage
	MsgVersion      int
	CloudCustomData string
}

// modify changes a message for everybody. A caller whose version is stale gets
// 20027 with the current state.
func (s *Service) modify(ctx context.Context, call *command.Call, req *modifyRequest) (*modifyState, error) {
	return s.rewrite(ctx, call, req, func(m *Message) error {
		if m == nil {
			return command.Err(codeModifyNone, "the message to modify does not exist")
		}
		if m.Version != req.MsgVersion {
			return &command.Error{Code: codeModifyRace, Info: "somebody else modified the message meanwhile", Body: m.state()}
		}
		return nil
	})
}

// adminModify is modify_group_msg of an administrator, whatever the version
// (protocol 06 §5.2).
func (s *Service) adminModify(ctx context.Context, call *command.Call, req *modifyRequest) (command.Empty, error) {
	if (len(req.MsgBody) == 0 || string(req.MsgBody) == "null") && req.CloudCustomData == nil {
		return command.Empty{}, command.Err(group.CodeBadParameter, "MsgBody or CloudCustomData is needed")
	}
	_, err := s.rewrite(ctx, call, req, func(m *Message) error {
		if m == nil {
			return command.Err(codeNotFound, "the message to modify does not exist")
		}
		return nil
	})
	return command.Empty{}, err
}

// rewrite gives a message the content of the request as its next version, if
// allowed agrees, and tells the members. allowed gets nil for a message that
// is not there or cannot be modified.
func (s *Service) rewrite(ctx context.Context, call *command.Call, req *modifyRequest, allowed func(*Message) error) (*modifyState, error) {
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	var m Message
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := s.lockForChange(ctx, tx, v.GID); err != nil {
			return err
		}
		list, err := s.pick(ctx, tx, v, []int64{req.MsgSeq})
		if err != nil {
			return err
		}
		if len(list) == 0 || list[0].Flags&(FlagTip|FlagRecalled) != 0 {
			return allowed(nil)
		}
		m = list[0]
		if err := allowed(&m); err != nil {
			return err
		}
		if err := req.apply(&m, call.App.MessageBytes); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE group_messages SET body = $3, cloud = $4, version = $5 WHERE log = $1 AND seq = $2`,
			m.Log, m.Seq, string(m.Body), m.Cloud, m.Version)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := s.tellModify(ctx, v.place, &m, deviceOf(call)); err != nil {
		return nil, err
	}
	state := m.state()
	return &state, nil
}

func (m *Message) state() modifyState { return modifyState{m.Body, m.Version, m.Cloud} }

func (r *modifyRequest) apply(m *Message, limit int) error {
	if r.CloudCustomData != nil {
		m.Cloud = *r.CloudCustomData
		if err := command.CheckTexts(m.Cloud); err != nil {
			return err
		}
	}
	if len(r.MsgBody) > 0 && string(r.MsgBody) != "null" {
		body, err := message.Normalize(r.MsgBody, len(m.Cloud), limit)
		if err != nil {
			return err
		}
		m.Body = body
	} else if len(m.Body)+len(m.Cloud) > limit {
		return command.Errf(command.CodeTooLong, "the message is longer than %d bytes", limit)
	}
	m.Version++
	return nil
}

func (s *Service) tellModify(ctx context.Context, p place, m *Message, device fanout.Device) error {
	sender, err := s.Accounts.ByUIDs(ctx, []int64{m.Sender})
	if err != nil {
		return err
	}
	o := wire.OpenObject(make([]byte, 0, len(m.Body)+len(m.Cloud)+320))
	o.Str("From_Account", people{accounts: sender}.userID(m.Sender))
	o.Str("GroupId", p.home.ID)
	o.Str("TopicId", p.topicID())
	o.Int("MsgSeq", m.Seq)
	o.Int("MsgRandom", m.Random)
	o.Int("MsgTime", m.Time)
	o.Int("MsgTimeStamp", m.Time)
	o.Int("MsgClientTime", m.ClientTime)
	o.Int("MsgVersion", int64(m.Version))
	o.Str("CloudCustomData", m.Cloud)
	o.Raw("MsgBody", m.Body)
	s.Hub.Publish(p.topic(), &fanout.Event{Item: event(17, "GroupMsgModNotifys", o.Close()), Except: device, Only: m.audience()})
	return nil
}
