package liveroom

import (
	"context"
	"encoding/json"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
)

type earlierRequest struct {
	GroupId        string //nolint:revive // the protocol's spelling
	LongPollingKey string
	PullPreSeq     int64
}

type earlierAnswer struct {
	RspMsgList []json.RawMessage
}

// earlier is get_huge_group_msg: who goes on polling with the key of a join,
// without joining again, gets the newest messages before the sequence it polls
// from (protocol 03 §13.9). SDKs that do not know that sequence say 1, and get
// the newest ones; what the poll then has once more they show once.
func (s *Service) earlier(ctx context.Context, call *command.Call, req *earlierRequest) (*earlierAnswer, error) {
	g, err := s.liveRoom(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	k, ok := parseKey(call.App, req.LongPollingKey)
	if !ok || k.room != g.GID || k.uid != call.UID || req.PullPreSeq < 0 {
		return nil, command.Err(group.CodeBadParameter, "the LongPollingKey or PullPreSeq is not valid")
	}
	if err := s.mayCome(ctx, call.App, g, call.UID); err != nil {
		return nil, err
	}
	return &earlierAnswer{RspMsgList: s.newestMessages(ctx, call.App, g.GID, req.PullPreSeq)}, nil
}

// newestMessages returns what a newcomer sees, below a sequence when before is
// more than 1; or nothing.
func (s *Service) newestMessages(ctx context.Context, app *config.App, room, before int64) []json.RawMessage {
	out := []json.RawMessage{}
	if app.LiveRooms.History == 0 {
		return out
	}
	list, err := s.Ledger.Newest(ctx, room, app.LiveRooms.History)
	if err != nil {
		s.Log.Debug("a newcomer gets no messages", "room", room, "err", err)
	}
	for _, e := range list {
		if before <= 1 || e.Seq < before {
			out = append(out, e.pull(false))
		}
	}
	return out
}
