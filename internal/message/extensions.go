package message

import (
	"context"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/wire"
)

// annotated names a message in requests for its annotations: the accounts are
// the message's, whoever asks (protocol 02 §15).
type annotated struct {
	From_Account string
	To_Account   string
	MsgKey       string
}

// target is a message with what pushes need of it.
type target struct {
	*Message
	from, to string
}

func (t *target) ref() annotation.Ref {
	lo, hi := pair(t.From, t.To)
	return annotation.Ref{A: lo, B: hi, Seq: t.Seq}
}

// targets finds the messages of a chat that the caller is part of, by key.
func (s *Service) targets(ctx context.Context, call *command.Call, a annotated, keys []string) (map[string]*target, error) {
	if call.Kind == command.Users && call.UserID != a.From_Account && call.UserID != a.To_Account {
		return nil, command.Err(annotation.CodeNoMessage, "there is no such message")
	}
	if len(keys) > annotation.MaxMessages {
		return nil, command.Errf(command.CodeBadPacket, "more than %d messages", annotation.MaxMessages)
	}
	refs := make([]ref, 0, len(keys))
	for _, key := range keys {
		r, ok := refOf(key)
		if !ok {
			return nil, command.Err(command.CodeBadPacket, "a MsgKey is malformed")
		}
		refs = append(refs, r)
	}
	one, two, err := s.parties(ctx, call, a.From_Account, a.To_Account)
	if err != nil {
		return nil, err
	}
	seer := call.UID
	if call.Kind == command.Admins {
		seer = 0
	}
	found, err := s.places(ctx, s.DB.Read, one.UID, two.UID, seer, refs)
	if err != nil {
		return nil, err
	}
	low := floor(s.Now(), call.App.Retention)
	out := make(map[string]*target, len(found))
	for _, m := range found {
		if m.Seq < low || m.Flags&FlagRevoked != 0 {
			continue
		}
		t := &target{Message: m, from: one.UserID, to: two.UserID}
		if m.From != one.UID {
			t.from, t.to = t.to, t.from
		}
		out[m.Key()] = t
	}
	return out, nil
}

// target finds one; 23004 if there is none.
func (s *Service) target(ctx context.Context, call *command.Call, a annotated) (*target, error) {
	found, err := s.targets(ctx, call, a, []string{a.MsgKey})
	if err != nil {
		return nil, err
	}
	if t := found[a.MsgKey]; t != nil {
		return t, nil
	}
	return nil, command.Err(annotation.CodeNoMessage, "there is no such message")
}

func (s *Service) registerAnnotations(t *command.Table) {
	both := command.Users | command.Admins
	command.Handle(t, "openim_msg_ext_http_svc.set_key_values", both|command.Once, s.setExtensions)
	command.Handle(t, "openim_msg_ext_http_svc.get_key_values", both, s.getExtensions)
	command.Handle(t, "openim_msg_ext_http_svc.reaction_add", command.Users|command.Once, s.react)
	command.Handle(t, "openim_msg_ext_http_svc.reaction_del", command.Users|command.Once, s.unreact)
	command.Handle(t, "openim_msg_ext_http_svc.reaction_multi_stat", command.Users, s.reactions)
	command.Handle(t, "openim_msg_ext_http_svc.reaction_iterate", command.Users, s.reactors)
}

type setExtensionsRequest struct {
	annotated
	annotation.ChangeRequest
}

// setExtensions is openim_msg_ext_http_svc.set_key_values (protocol 02 §15).
func (s *Service) setExtensions(ctx context.Context, call *command.Call, req *setExtensionsRequest) (*annotation.ChangeAnswer, error) {
	t, err := s.target(ctx, call, req.annotated)
	if err != nil {
		return nil, err
	}
	if t.Flags&FlagExtensions == 0 || !call.App.MessageExtensions {
		return nil, command.Err(annotation.CodeNoExtensions, "the message was sent without extensions")
	}
	if call.Kind == command.Admins {
		if err := s.Annotations.FillSeqs(ctx, t.ref(), &req.ChangeRequest); err != nil {
			return nil, err
		}
	}
	ans, err := s.Annotations.Change(ctx, t.ref(), &req.ChangeRequest)
	if err != nil {
		return nil, err
	}
	if ans.Changed() {
		s.tellBoth(t.Message, annotation.ExtensionEvent(t.extensionInfo(), ans), device(call), fanout.AfterSync)
	}
	return ans, nil
}

func (t *target) extensionInfo() annotation.Message {
	o := wire.OpenObject(nil)
	o.Str("From_Account", t.from)
	o.Str("To_Account", t.to)
	o.Str("MsgKey", t.Key())
	o.Int("MsgRandom", t.Random)
	o.Int("MsgClientTime", t.ClientTime)
	return annotation.Message{Key: "ExtensionC2cMsgInfo", Object: o.Close(), Sender: t.From}
}

type getExtensionsRequest struct {
	annotated
	StartSeq int64 // also spelt startSeq (protocol 02 §22)
}

// getExtensions is openim_msg_ext_http_svc.get_key_values (protocol 02 §15).
func (s *Service) getExtensions(ctx context.Context, call *command.Call, req *getExtensionsRequest) (*annotation.ListAnswer, error) {
	t, err := s.target(ctx, call, req.annotated)
	if err != nil {
		return nil, err
	}
	return s.Annotations.List(ctx, t.ref(), req.StartSeq)
}
