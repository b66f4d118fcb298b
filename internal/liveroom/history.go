package liveroom

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
)

type earlierRequest struct {
	GroupId        string
	LongPollingKey string
	PullPreSeq     int64
}

type earlierAnswer struct {
	RspMsgList json.RawMessage
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
	list, _ := s.newestMessages(ctx, call.App, g.GID, req.PullPreSeq)
	return &earlierAnswer{list}, nil
}

// history is what newcomers to a room see, as it was read last: it is read
// again when there is news, not for each of thousands who come at once.
type history struct {
	mu   sync.Mutex // held while it is read, for no longer than ledgerTimeout
	last int64      // guarded by mu, as all below: the room's newest sequence before
	good time.Time  // until when it need not be read again
	list []byte
}

// historyTTL is for how long a room without news is not looked at again.
const historyTTL = 10 * time.Second

// history returns the list of what a newcomer sees.
func (r *room) history(ctx context.Context) []byte {
	r.past.mu.Lock()
	defer r.past.mu.Unlock()
	now, last := r.s.Now(), r.newest()
	if last == r.past.last && now.Before(r.past.good) {
		return r.past.list
	}
	list, ok := r.s.newestMessages(ctx, r.app, r.gid, 0)
	r.past.last, r.past.list, r.past.good = last, list, time.Time{}
	if ok {
		r.past.good = now.Add(historyTTL)
	}
	return list
}

// newestMessages returns the list of the newest messages, of those below a
// sequence when before is more than 1, and whether they could be read.
func (s *Service) newestMessages(ctx context.Context, app *config.App, room, before int64) (list []byte, ok bool) {
	out := []byte{'['}
	if app.LiveRooms.History > 0 {
		newest, err := s.Ledger.Newest(ctx, room, app.LiveRooms.History)
		if ok = err == nil; !ok {
			s.Log.Debug("a newcomer gets no messages", "room", room, "err", err)
		}
		for _, e := range newest {
			if before > 1 && e.Seq >= before {
				continue
			}
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(out, e.pull(false)...)
		}
	}
	return append(out, ']'), ok
}
