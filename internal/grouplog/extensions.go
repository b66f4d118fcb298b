package grouplog

import (
	"context"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/wire"
)

// target names one message.
type target struct {
	GroupId string
	TopicId string
	MsgSeq  int64
}

func refOf(m *Message) annotation.Ref { return annotation.Ref{A: m.Log, Seq: m.Seq} }

// annotated finds a message that something is to be attached to: 23004 if the
// caller sees none.
func (s *Service) annotated(ctx context.Context, call *command.Call, t target) (view, *Message, error) {
	p, err := s.place(ctx, call.App.SDKAppID, t.GroupId, t.TopicId)
	if err != nil {
		return view{}, nil, err
	}
	if p.Kind == group.LiveRoom {
		return s.annotatedLive(ctx, call, p, t.MsgSeq)
	}
	v, err := s.see(ctx, call, t.GroupId, t.TopicId)
	if err != nil {
		return v, nil, err
	}
	list, err := s.pick(ctx, s.DB.Read, v, []int64{t.MsgSeq})
	if err != nil {
		return v, nil, err
	}
	if len(list) == 0 || list[0].Flags&(FlagTip|FlagRecalled) != 0 {
		return v, nil, errNoMessage
	}
	return v, &list[0], nil
}

var errNoMessage = command.Err(annotation.CodeNoMessage, "the message does not exist")

// annotatedLive finds a message of a live room, where only the newest are
// remembered.
func (s *Service) annotatedLive(ctx context.Context, call *command.Call, p place, seq int64) (view, *Message, error) {
	v := view{place: p, uid: call.UID}
	if err := s.watches(ctx, call, p); err != nil {
		return v, nil, err
	}
	m, err := s.Rooms.Said(ctx, call, p.Info, seq)
	if err == nil && m == nil {
		err = errNoMessage
	}
	return v, m, err
}

func (s *Service) watches(ctx context.Context, call *command.Call, p place) error {
	if s.Rooms == nil {
		return errNoPermission
	}
	return s.Rooms.Watches(ctx, call, p.Info)
}

// named is how pushes about annotations name a message (protocol 02 §15, §16).
func (p place) named(key string, m *Message) annotation.Message {
	o := wire.OpenObject(nil)
	o.Str("GroupId", p.home.ID)
	if id := p.topicID(); id != "" {
		o.Str("TopicId", id)
	}
	o.Int("MsgSeq", m.Seq)
	o.ID("TinyId", m.Sender)
	o.Int("MsgClientTime", m.ClientTime)
	o.Int("MsgRandom", m.Random)
	return annotation.Message{Key: key, Object: o.Close(), Sender: m.Sender}
}

type setExtensionsRequest struct {
	target
	annotation.ChangeRequest
}

// setExtensions is group_set_key_values (protocol 02 §15).
func (s *Service) setExtensions(ctx context.Context, call *command.Call, req *setExtensionsRequest) (*annotation.ChangeAnswer, error) {
	v, m, err := s.annotated(ctx, call, req.target)
	if err != nil {
		return nil, err
	}
	if m.Flags&FlagExtensions == 0 || !call.App.MessageExtensions {
		return nil, command.Err(annotation.CodeNoExtensions, "the message was sent without extensions")
	}
	if call.Kind == command.Admins {
		if err := s.Annotations.FillSeqs(ctx, refOf(m), &req.ChangeRequest); err != nil {
			return nil, err
		}
	}
	ans, err := s.Annotations.Change(ctx, refOf(m), &req.ChangeRequest)
	if err != nil {
		return nil, err
	}
	if ans.Changed() {
		s.Hub.Publish(v.topic(), &fanout.Event{Item: annotation.ExtensionEvent(v.named("ExtensionGroupMsgInfo", m), ans),
			Except: deviceOf(call), Only: m.audience()})
	}
	return ans, nil
}

type extensionsRequest struct {
	target
	annotation.ListRequest
}

// extensions is group_get_key_values.
func (s *Service) extensions(ctx context.Context, call *command.Call, req *extensionsRequest) (*annotation.ListAnswer, error) {
	_, m, err := s.annotated(ctx, call, req.target)
	if err != nil {
		return nil, err
	}
	return s.Annotations.List(ctx, refOf(m), req.StartSeq)
}
