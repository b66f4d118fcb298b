package grouplog

import (
	"context"
	"slices"

	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/wire"
)

// historyRequest is group_msg_get (protocol 03 §12.2).
type historyRequest struct {
	GroupId       string
	TopicId       string
	ReqMsgNumber  int64
	ReqMsgSeq     int64 // newest wanted; 0 = the latest
	GetType       int
	ReqMsgSeqList []int64
	Version       int // lite
}

type historyAnswer struct {
	GroupId         string
	IsFinished      int      // 1 = there may be more, 2 = this was the end
	NextReqMsgSeq   int64    // 0 = the end
	RspMsgList      [][]byte // JSON
	InvisibleMsgSeq []int64
}

// AddTo implements command.Members.
func (a *historyAnswer) AddTo(o *wire.Object) {
	o.Str("GroupId", a.GroupId)
	o.Int("IsFinished", int64(a.IsFinished))
	o.Int("NextReqMsgSeq", a.NextReqMsgSeq)
	o.List("RspMsgList", a.RspMsgList)
	o.Ints("InvisibleMsgSeq", a.InvisibleMsgSeq)
}

const (
	maxPage = 100
	byList  = 3 // GetType: exactly the sequences of ReqMsgSeqList
	// recoveryPage is the ReqMsgNumber of v3's recovery, which would stop
	// climbing at an answer that says it is finished (protocol 03 §12.2).
	recoveryPage = 15
)

// history is group_msg_get: a window of the log, newest first.
func (s *Service) history(ctx context.Context, call *command.Call, req *historyRequest) (*historyAnswer, error) {
	if req.ReqMsgSeq < 0 || req.ReqMsgNumber < 0 || req.ReqMsgSeq > maxNumber || len(req.ReqMsgSeqList) > maxPage {
		return nil, errBadSeq
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	if p.Kind == group.LiveRoom {
		return nil, command.Err(group.CodeNoHistory, "live rooms have no history")
	}
	v, err := s.view(ctx, call.App, p, call.UID)
	if err != nil {
		return nil, err
	}
	ans := &historyAnswer{GroupId: p.home.ID, IsFinished: 1}
	if req.GetType == byList {
		list, err := s.pick(ctx, s.DB.Read, v, req.ReqMsgSeqList)
		if err != nil {
			return nil, err
		}
		ans.IsFinished = 2
		return ans, s.render(ctx, v, list, ans)
	}
	lo, hi := req.bounds(v, ans)
	if lo > hi {
		return ans, nil
	}
	list, err := s.window(ctx, v, lo, hi)
	if err != nil {
		return nil, err
	}
	shown := list[:0:0]
	for _, m := range list {
		if m.visibleTo(v.uid) {
			shown = append(shown, m)
		} else {
			ans.InvisibleMsgSeq = append(ans.InvisibleMsgSeq, m.Seq)
		}
	}
	return ans, s.render(ctx, v, shown, ans)
}

// bounds returns the sequences of the window and sets where to go on. The
// lower bound comes from the uncapped ReqMsgSeq: a window that lies beyond the
// newest message stays empty, which ends hopping forward (protocol 03 §12.2).
func (r *historyRequest) bounds(v view, ans *historyAnswer) (lo, hi int64) {
	if r.ReqMsgNumber == 0 { // lite's last request of a recovery
		ans.NextReqMsgSeq = max(r.ReqMsgSeq, 0)
		return 1, 0
	}
	from := r.ReqMsgSeq
	if from == 0 {
		from = v.last
	}
	lo = max(v.first, from-min(r.ReqMsgNumber, maxPage)+1)
	hi = min(from, v.last)
	if lo > v.first {
		ans.NextReqMsgSeq = lo - 1
		return lo, hi
	}
	ans.NextReqMsgSeq = 0
	if r.Version > 0 || r.ReqMsgNumber != recoveryPage {
		ans.IsFinished = 2
	}
	return lo, hi
}

func (s *Service) render(ctx context.Context, v view, list []Message, ans *historyAnswer) error {
	who, err := s.senders(ctx, v.place, list)
	if err != nil {
		return err
	}
	ans.RspMsgList = slices.Grow(ans.RspMsgList, len(list))
	for i := range list {
		m := &list[i]
		quiet := m.Operator == v.uid && m.Operator > 0
		ans.RspMsgList = append(ans.RspMsgList, who.item(m, v.place, form{history: true, quiet: quiet}))
	}
	return nil
}
