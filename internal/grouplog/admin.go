package grouplog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/wire"
)

// adminSend is send_group_msg of an app's administrator (protocol 06 §5.6):
// the sender need be no member and is not held up by a mute.
func (s *Service) adminSend(ctx context.Context, call *command.Call, req *sendRequest) (any, error) {
	if req.MsgClientTime == 0 {
		req.MsgClientTime = s.Now().Unix()
	}
	m, err := req.message(call.App)
	if err != nil {
		return nil, err
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	if p.Kind == group.Community && p.SupportTopic {
		return nil, command.Err(group.CodeNoPermission, "messages go to the topics of this community")
	}
	d := &sending{place: p, app: call.App, message: m}
	if d.sender, err = s.adminSender(ctx, call, req.From_Account); err != nil {
		return nil, err
	}
	m.Log, m.Sender = p.GID, d.sender.UID
	if p.Kind == group.LiveRoom {
		if s.Rooms == nil {
			return nil, errNoPermission
		}
		return s.Rooms.Send(ctx, call, p.Info, m)
	}
	members, err := s.Groups.MembersOf(ctx, p.home.GID, []int64{d.sender.UID})
	if err != nil {
		return nil, err
	}
	if member := members[d.sender.UID]; member != nil {
		d.card = member.NameCard
	}
	return s.complete(ctx, call, d, req)
}

// adminSender finds who a message of an administrator is from: the calling
// administrator itself if it says nothing.
func (s *Service) adminSender(ctx context.Context, call *command.Call, id string) (*account.Account, error) {
	if id == "" {
		sender, _, err := s.Accounts.Ensure(ctx, call.App.SDKAppID, call.UserID)
		return sender, err
	}
	sender, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, id)
	if errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return nil, command.Err(group.CodeBadParameter, "From_Account does not exist")
	}
	return sender, err
}

// overview is the view of an administrator: all that is within the retention.
func (s *Service) overview(ctx context.Context, call *command.Call, groupID, topicID string) (view, error) {
	p, err := s.place(ctx, call.App.SDKAppID, groupID, topicID)
	if err != nil {
		return view{}, err
	}
	if p.Kind == group.LiveRoom {
		return view{}, command.Err(group.CodeNoHistory, "live rooms have no history")
	}
	heads, err := s.Heads(ctx, []int64{p.GID})
	if err != nil {
		return view{}, err
	}
	return view{place: p, low: s.low(call.App), first: 1, last: heads[p.GID].LastSeq, all: true}, nil
}

// adminRecall is group_msg_recall of an administrator, without a time limit.
func (s *Service) adminRecall(ctx context.Context, call *command.Call, req *recallRequest) (*recallAnswer, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if ans, err := s.recallLive(ctx, call, req); ans != nil || err != nil {
		return ans, err
	}
	v, err := s.overview(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	return s.recallBy(ctx, recaller{call: call, me: &group.Member{Role: group.Above}}, v, req)
}

// maxSimple bounds a page of group_msg_get_simple.
const maxSimple = 20

type simpleAnswer struct {
	GroupId    string
	IsFinished int // 0 = more was asked for than is given at once, 1 = complete
	RspMsgList []json.RawMessage
}

// simpleHistory is group_msg_get_simple: a page for the app's backend, newest
// first (protocol 06 §5.6).
func (s *Service) simpleHistory(ctx context.Context, call *command.Call, req *historyRequest) (*simpleAnswer, error) {
	if req.ReqMsgNumber <= 0 || req.ReqMsgSeq < 0 || req.ReqMsgSeq > maxNumber {
		return nil, errBadSeq
	}
	v, err := s.overview(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	hi := v.last
	if req.ReqMsgSeq > 0 {
		hi = min(hi, req.ReqMsgSeq)
	}
	list, err := s.window(ctx, v, hi-min(req.ReqMsgNumber, maxSimple)+1, hi)
	if err != nil {
		return nil, err
	}
	who, err := s.senders(ctx, v.place, list)
	if err != nil {
		return nil, fmt.Errorf("grouplog: senders: %w", err)
	}
	ans := &simpleAnswer{GroupId: v.home.ID, IsFinished: 1, RspMsgList: []json.RawMessage{}}
	if req.ReqMsgNumber > maxSimple {
		ans.IsFinished = 0
	}
	for i := range list {
		m := &list[i]
		o := wire.OpenObject(make([]byte, 0, len(m.Body)+320))
		o.Str("From_Account", who.userID(m.Sender))
		if m.Flags&FlagRecalled != 0 {
			o.Int("IsPlaceMsg", placeRecalled)
		} else {
			o.Int("IsPlaceMsg", 0)
		}
		if m.Flags&FlagTip != 0 { // the element a backend expects is an array
			o.Raw("MsgBody", array(m.Body))
		} else {
			o.Raw("MsgBody", m.Body)
		}
		o.Str("CloudCustomData", m.Cloud)
		o.Int("MsgPriority", int64(m.Priority))
		o.Int("MsgRandom", m.Random)
		o.Int("MsgSeq", m.Seq)
		o.Int("MsgTimeStamp", m.Time)
		o.Flag("IsSystemMsg", m.Flags&FlagTip != 0)
		ans.RspMsgList = append(ans.RspMsgList, o.Close())
	}
	return ans, nil
}
