package message

import (
	"context"
	"slices"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/wire"
)

type reactRequest struct {
	annotated
	Reaction string
}

// react is openim_msg_ext_http_svc.reaction_add, unreact reaction_del (protocol
// 02 §16).
func (s *Service) react(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return command.Empty{}, s.changeReaction(ctx, call, req, true)
}

func (s *Service) unreact(ctx context.Context, call *command.Call, req *reactRequest) (command.Empty, error) {
	return command.Empty{}, s.changeReaction(ctx, call, req, false)
}

func (s *Service) changeReaction(ctx context.Context, call *command.Call, req *reactRequest, add bool) error {
	t, err := s.target(ctx, call, req.annotated)
	if err != nil {
		return err
	}
	change := s.Annotations.Unreact
	if add {
		change = s.Annotations.React
	}
	sum, err := change(ctx, t.ref(), req.Reaction, call.UID)
	if err != nil {
		return err
	}
	s.tellReaction(call, t, sum, add)
	return nil
}

// tellReaction pushes the reaction's new state to both sides, the acting
// connection included, because SDKs act on the push and not on the answer; who
// reacted is personal, so each side gets its own (protocol 02 §16, trap 12).
func (s *Service) tellReaction(call *command.Call, t *target, sum annotation.Summary, added bool) {
	info := t.reactionInfo()
	s.tell(call.UID, annotation.MyReactionEvent(info, sum.Reaction, added), device(call))
	users := t.names(sum.UIDs)
	for _, uid := range []int64{t.From, t.To} {
		if uid == t.To && (t.From == t.To || t.Flags&flagDiscarded != 0) {
			continue
		}
		s.tell(uid, annotation.ReactionEvent(info, sum, users, slices.Contains(sum.UIDs, uid)), fanout.Device{})
	}
}

func (t *target) reactionInfo() annotation.Message {
	o := wire.OpenObject(nil)
	o.Str("From_Account", t.from)
	o.Str("To_Account", t.to)
	o.ID("TinyId", t.From)
	o.Int("MsgClientTime", t.ClientTime)
	o.Int("MsgRandom", t.Random)
	return annotation.Message{Key: "C2CMsgInfo", Object: o.Close(), Sender: t.From}
}

// names turns the numbers of the chat's two accounts into their names.
func (t *target) names(uids []int64) []string {
	names := make([]string, 0, len(uids))
	for _, u := range uids {
		switch u {
		case t.From:
			names = append(names, t.from)
		case t.To:
			names = append(names, t.to)
		}
	}
	return names
}

type reactionsRequest struct {
	annotated
	MsgKeyList []string
	Count      int
}

type reactionResult struct {
	MsgKey       string
	ReactionList []annotation.State
}

type reactionsAnswer struct {
	Results []reactionResult
}

// reactions is openim_msg_ext_http_svc.reaction_multi_stat (protocol 02 §16).
func (s *Service) reactions(ctx context.Context, call *command.Call, req *reactionsRequest) (*reactionsAnswer, error) {
	found, err := s.targets(ctx, call, req.annotated, req.MsgKeyList)
	if err != nil {
		return nil, err
	}
	refs := make([]annotation.Ref, 0, len(found))
	for _, t := range found {
		refs = append(refs, t.ref())
	}
	stats, err := s.Annotations.Statistics(ctx, refs, clamp(req.Count, 0, annotation.MaxReactors), call.UID)
	if err != nil {
		return nil, err
	}
	ans := &reactionsAnswer{Results: make([]reactionResult, 0, len(req.MsgKeyList))}
	for _, key := range req.MsgKeyList {
		r := reactionResult{MsgKey: key, ReactionList: []annotation.State{}}
		if t := found[key]; t != nil {
			for _, sum := range stats[t.ref()] {
				r.ReactionList = append(r.ReactionList, sum.State(t.names(sum.UIDs)))
			}
		}
		ans.Results = append(ans.Results, r)
	}
	return ans, nil
}

type reactorsRequest struct {
	annotated
	Reaction string
	NextSeq  int64
	Count    int
}

// reactors is openim_msg_ext_http_svc.reaction_iterate: all users at once, as
// there are two at most and v3 asks for no second page (protocol 02 §16).
func (s *Service) reactors(ctx context.Context, call *command.Call, req *reactorsRequest) (*annotation.ReactorsAnswer, error) {
	t, err := s.target(ctx, call, req.annotated)
	if err != nil {
		return nil, err
	}
	uids, _, err := s.Annotations.Reactors(ctx, t.ref(), req.Reaction, 0, annotation.MaxReactors)
	if err != nil {
		return nil, err
	}
	return &annotation.ReactorsAnswer{Reaction_Account: t.names(uids)}, nil
}
