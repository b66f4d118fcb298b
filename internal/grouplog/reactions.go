package grouplog

import (
	"context"
	"fmt"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
)

type reactRequest struct {
	target
	Reaction string
}

// react is group_reaction_add, unreact group_reaction_del (protocol 02 §16).
func (s *Service) react(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return command.Empty{}, s.changeReaction(ctx, call, req, true)
}

func (s *Service) unreact(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return command.Empty{}, s.changeReaction(ctx, call, req, false)
}

func (s *Service) changeReaction(ctx context.Context, call *command.Call, req *reactRequest, add bool) error {
	v, m, err := s.annotated(ctx, call, req.target)
	if err != nil {
		return err
	}
	change := s.Annotations.Unreact
	if add {
		change = s.Annotations.React
	}
	sum, err := change(ctx, refOf(m), req.Reaction, call.UID)
	if err != nil {
		return err
	}
	who, err := s.Accounts.ByUIDs(ctx, sum.UIDs)
	if err != nil {
		return err
	}
	name := v.named("GroupMsgInfo", m)
	s.Hub.Push(call.UID, annotation.MyReactionEvent(name, req.Reaction, add), deviceOf(call))
	users := userIDs(who, sum.UIDs)
	if v.Kind == group.LiveRoom {
		s.Rooms.Show(ctx, call.App, v.Info, annotation.SharedReactionEvent(name, sum, users))
		return nil
	}
	s.Hub.Publish(v.topic(), &fanout.Event{Item: annotation.ReactionEvent(name, sum, users, false), Only: m.audience(),
		AltTo: sum.UIDs, AltItem: annotation.ReactionEvent(name, sum, users, true)})
	return nil
}

type reactionsRequest struct {
	GroupId    string
	TopicId    string
	MsgSeqList []int64
	Count      int
}

type reactionsOfMessage struct {
	MsgSeq       int64
	ReactionList []annotation.State
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
		entry := reactionsOfMessage{MsgSeq: seq, ReactionList: []annotation.State{}}
		for _, sum := range stats[annotation.Ref{A: gid, Seq: seq}] {
			entry.ReactionList = append(entry.ReactionList, sum.State(userIDs(who, sum.UIDs)))
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

// reactors is group_reaction_iterate.
func (s *Service) reactors(ctx context.Context, call *command.Call, req *reactorsRequest) (*annotation.ReactorsAnswer, error) {
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
	return &annotation.ReactorsAnswer{Reaction_Account: userIDs(who, uids), NextSeq: next}, nil
}
