package message

import (
	"context"
	"math"

	"imserver/internal/command"
	"imserver/internal/wire"
)

// historyRequest is openim.getroammsg (protocol 02 §7).
type historyRequest struct {
	Peer_Account string
	MaxCnt       int
	LastMsgTime  int64
	MsgKey       string
	GetDirection int // 0 towards older, 1 towards newer
}

type historyAnswer struct {
	Complete    int
	MsgCnt      int
	LastMsgTime int64
	MsgKey      string
	MsgList     [][]byte // JSON
}

// AddTo implements command.Members.
func (a *historyAnswer) AddTo(o *wire.Object) {
	o.Int("Complete", int64(a.Complete))
	o.Int("MsgCnt", int64(a.MsgCnt))
	o.Int("LastMsgTime", a.LastMsgTime)
	o.Str("MsgKey", a.MsgKey)
	o.List("MsgList", a.MsgList)
}

// maxPage bounds a page of history; the SDKs ask for 15 or 16, apps for up to
// 100 when hopping.
const maxPage = 100

// maxSecond bounds by how much a page grows to reach the end of a second.
const maxSecond = 5000

// recoveryPage is how many messages SDKs ask for when they fetch what they
// missed of a chat; no other call of theirs asks for as many (protocol 02 §7).
const recoveryPage = 16

// leavesNewest reports whether a page is one of those by which a device that
// came back fetches what it missed. Its SDK, which comes with a sync next, takes
// the unread count of a chat only with a message that is new to it (protocol
// 02 §6): the newest one is left for that.
func (req *historyRequest) leavesNewest(call *command.Call) bool {
	return call.CatchingUp && req.GetDirection == 1 && req.MsgKey == "" && req.MaxCnt == recoveryPage
}

// history is openim.getroammsg: a page of a chat (protocol 02 §7).
func (s *Service) history(ctx context.Context, call *command.Call, req *historyRequest) (*historyAnswer, error) {
	peer, err := s.Accounts.Former(ctx, call.App.SDKAppID, req.Peer_Account)
	if err != nil {
		return nil, err
	}
	if req.LastMsgTime < 0 || req.LastMsgTime > maxUnix {
		return nil, command.Err(command.CodeBadPacket, "LastMsgTime is out of range")
	}
	w := window{uid: call.UID, peer: peer.UID, floor: floor(s.Now(), call.App.Retention), below: math.MaxInt64,
		newest: req.GetDirection == 0, limit: clamp(req.MaxCnt, 1, maxPage)}
	keyed, err := s.place(ctx, &w, req)
	if err != nil {
		return nil, err
	}
	list, complete, err := s.filled(ctx, w, !w.newest && !keyed)
	if err != nil {
		return nil, err
	}
	if req.leavesNewest(call) && len(list) > 1 {
		if !complete { // it may still end with the newest, lengthened as it was
			w.above, w.below, w.limit = list[len(list)-1].Seq, math.MaxInt64, 1
			more, err := s.page(ctx, w)
			if err != nil {
				return nil, err
			}
			complete = len(more) == 0
		}
		if complete {
			list = list[:len(list)-1]
		}
	}
	who, err := s.both(ctx, call.UID, peer.UID)
	if err != nil {
		return nil, err
	}
	ans := &historyAnswer{MsgList: make([][]byte, 0, len(list)), MsgCnt: len(list), LastMsgTime: req.LastMsgTime, MsgKey: req.MsgKey}
	if complete {
		ans.Complete = 1
	}
	for i := range list {
		m := &list[i]
		ans.MsgList = append(ans.MsgList, m.historyItem(who[m.From], who[m.To]))
	}
	if len(list) > 0 {
		edge := &list[0]
		if !w.newest {
			edge = &list[len(list)-1]
		}
		ans.LastMsgTime, ans.MsgKey = edge.Time(), edge.Key()
	}
	return ans, nil
}

// filled reads a window; complete tells whether nothing follows it in its
// direction. One of whole seconds ends with its last second, and may be longer
// than its limit.
func (s *Service) filled(ctx context.Context, w window, wholeSeconds bool) (list []Message, complete bool, err error) {
	limit := w.limit
	w.limit++ // one more tells whether there are more
	if list, err = s.page(ctx, w); err != nil || len(list) <= limit {
		return list, true, err
	}
	if w.newest {
		return list[1:], false, nil
	}
	list = list[:limit]
	if wholeSeconds {
		list, err = s.wholeSecond(ctx, w, list)
	}
	return list, false, err
}

// wholeSecond appends to a page by time what is left of its last second. SDKs'
// recovery ignores the key: a page that ends inside a second would be asked for
// again for ever (protocol 02 §7, trap 15).
func (s *Service) wholeSecond(ctx context.Context, w window, list []Message) ([]Message, error) {
	last := list[len(list)-1].Seq
	w.above, w.below, w.limit = last, until(secondOf(last))+1, maxSecond
	rest, err := s.page(ctx, w)
	return append(list, rest...), err
}

// maxUnix keeps times within what a sequence can hold.
const maxUnix = 1 << 40

// place turns the request's cursor into bounds; keyed tells whether it named a
// message, which is then left out.
func (s *Service) place(ctx context.Context, w *window, req *historyRequest) (keyed bool, err error) {
	if req.MsgKey != "" {
		msgSeq, random, unix, ok := ParseKey(req.MsgKey)
		if !ok || unix > maxUnix {
			return false, command.Err(command.CodeBadPacket, "MsgKey is malformed")
		}
		seq, err := find(ctx, s.DB.Read, w.uid, w.peer, msgSeq, random, unix)
		if err != nil {
			return false, err
		}
		if seq == 0 { // gone with its retention, or of another pair: its time remains
			seq = from(unix)
		}
		if w.newest {
			w.below = seq
		} else {
			w.above = seq
		}
		return true, nil
	}
	if req.LastMsgTime == 0 {
		return false, nil
	}
	if w.newest {
		w.below = until(req.LastMsgTime) + 1
	} else {
		w.above = from(req.LastMsgTime) - 1
	}
	return false, nil
}

func clamp(n, lo, hi int) int { return max(lo, min(n, hi)) }
