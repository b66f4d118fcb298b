package grouplog

import (
	"context"
	"fmt"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/wire"
)

// target names one message.
type target struct {
	GroupId string //nolint:revive // the protocol's spelling
	TopicId string //nolint:revive
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

type reactRequest struct {
	target
	Reaction string
}

// react is group_reaction_add, unreact group_reaction_del (protocol 02 §16).
func (s *Service) react(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return s.changeReaction(ctx, call, req, true)
}

func (s *Service) unreact(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return s.changeReaction(ctx, call, req, false)
}

func (s *Service) changeReaction(ctx context.Context, call *command.Call, req *reactRequest, add bool) (command.Empty, error) {
	none := command.Empty{}
	v, m, err := s.annotated(ctx, call, req.target)
	if err != nil {
		return none, err
	}
	change := s.Annotations.Unreact
	if add {
		change = s.Annotations.React
	}
	sum, err := change(ctx, refOf(m), req.Reaction, call.UID)
	if err != nil {
		return none, err
	}
	who, err := s.Accounts.ByUIDs(ctx, sum.UIDs)
	if err != nil {
		return none, err
	}
	name := v.named("GroupMsgInfo", m)
	s.Hub.Push(call.UID, annotation.MyReactionEvent(name, req.Reaction, add), deviceOf(call))
	users := userIDs(who, sum.UIDs)
	if v.Kind == group.LiveRoom {
		s.Rooms.Show(ctx, call.App, v.Info, annotation.SharedReactionEvent(name, sum, users))
		return none, nil
	}
	s.Hub.Publish(v.topic(), &fanout.Event{Item: annotation.ReactionEvent(name, sum, users, false), Only: m.audience(),
		AltTo: sum.UIDs, AltItem: annotation.ReactionEvent(name, sum, users, true)})
	return none, nil
}

type reactionsRequest struct {
	GroupId    string //nolint:revive // the protocol's spelling
	TopicId    string //nolint:revive
	MsgSeqList []int64
	Count      int
}

type reactionState struct {
	Reaction         string
	Count            int
	Reaction_Account []string //nolint:revive // the protocol's spelling
	ReactedByMe      int
}

type reactionsOfMessage struct {
	MsgSeq       int64
	ReactionList []reactionState
}

type reactionsAnswer struct {
	Results []reactionsOfMessage
}

// reactions is group_reaction_multi_stat.
func (s *Service) reactions(ctx context.Context, call *command.Call, req *reactionsRequest) (*reactionsAnswer, error) {
	if len(req.MsgSeqList) > maxSeqs {
		return nil, command.Errf(group.CodeBadParameter, "more than %d messages", maxSeqs)
	}
	gid, refs, err := s.reacted(ctx, call, req)
	if err != nil {
		return nil, err
	}
	stats, err := s.Annotations.Statistics(ctx, refs, min(max(req.Count, 0), annotation.MaxReactors), call.UID)
	if err != nil {
		return nil, err
	}
	var uids []int64
	for _, sums := range stats {
		for _, sum := range sums {
			uids = append(uids, sum.UIDs...)
		}
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, fmt.Errorf("grouplog: reactions: %w", err)
	}
	ans := &reactionsAnswer{Results: []reactionsOfMessage{}}
	for _, seq := range req.MsgSeqList {
		entry := reactionsOfMessage{MsgSeq: seq, ReactionList: []reactionState{}}
		for _, sum := range stats[annotation.Ref{A: gid, Seq: seq}] {
			state := reactionState{Reaction: sum.Reaction, Count: sum.Count, Reaction_Account: userIDs(who, sum.UIDs)}
			if sum.Mine {
				state.ReactedByMe = 1
			}
			entry.ReactionList = append(entry.ReactionList, state)
		}
		ans.Results = append(ans.Results, entry)
	}
	return ans, nil
}

// reacted returns those of the messages that the caller may see, and whose log
// they are in.
func (s *Service) reacted(ctx context.Context, call *command.Call, req *reactionsRequest) (gid int64, refs []annotation.Ref, err error) {
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return 0, nil, err
	}
	if p.Kind == group.LiveRoom {
		for _, seq := range req.MsgSeqList {
			refs = append(refs, annotation.Ref{A: p.GID, Seq: seq})
		}
		return p.GID, refs, s.watches(ctx, call, p)
	}
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return 0, nil, err
	}
	list, err := s.pick(ctx, s.DB.Read, v, req.MsgSeqList)
	for i := range list {
		refs = append(refs, refOf(&list[i]))
	}
	return v.GID, refs, err
}

type reactorsRequest struct {
	target
	Reaction string
	NextSeq  int64
	Count    int
}

type reactorsAnswer struct {
	Reaction_Account []string //nolint:revive // the protocol's spelling
	NextSeq          int64
}

// reactors is group_reaction_iterate.
func (s *Service) reactors(ctx context.Context, call *command.Call, req *reactorsRequest) (*reactorsAnswer, error) {
	_, m, err := s.annotated(ctx, call, req.target)
	if err != nil {
		return nil, err
	}
	uids, next, err := s.Annotations.Reactors(ctx, refOf(m), req.Reaction, req.NextSeq, req.Count)
	if err != nil {
		return nil, err
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	return &reactorsAnswer{Reaction_Account: userIDs(who, uids), NextSeq: next}, nil
}
