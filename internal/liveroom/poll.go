package liveroom

import (
	"context"
	"slices"
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/wire"
)

type pollRequest struct {
	Key               string
	StartSeq          int64
	StartBroadcastSeq int64
	DownsizeFlag      int // 1: short names (protocol 03 §13.4)
}

// held is a poll that waits for news.
type held struct {
	room   *room
	device fanout.Device
	key    string
	from   int64 // first sequence wanted
	cast   int64 // first broadcast wanted; 0: not asked for
	short  bool  // short names are wanted
	done   func(any, error)
	timer  *time.Timer
}

// pollEvents bounds the events of one answer; the client asks on at once.
const pollEvents = 200

// poll is get_msg: at once when there is news, else when there is some, at the
// latest after the app's poll_hold, whatever HoldTime says: SDKs give up after
// 15 s (protocol 03 §13.3).
func (s *Service) poll(ctx context.Context, call *command.Call, req *pollRequest) (any, error) {
	k, ok := parseKey(call.App, req.Key)
	if !ok || k.uid > 0 && k.uid != call.UID || k.uid < 0 && !call.App.LiveRooms.AnonymousJoin || req.StartSeq < 0 || req.StartBroadcastSeq < 0 {
		return nil, command.Err(group.CodeBadParameter, "the Key or a sequence is not valid")
	}
	p := &held{device: fanout.Device{UID: k.uid}, key: req.Key, from: req.StartSeq, cast: req.StartBroadcastSeq, short: req.DownsizeFlag == 1}
	if k.uid > 0 {
		p.device.Inst = call.Inst
	}
	p.room = s.room(k.room)
	if p.room == nil || !p.room.over() {
		g, err := s.Groups.ByGID(ctx, k.room)
		if err != nil {
			return nil, err
		}
		if err := s.mayCome(ctx, call.App, g, k.uid); err != nil {
			return nil, err
		}
		p.room = s.open(ctx, call.App, g)
		s.polled(ctx, p, g)
	}
	if p.from == 0 { // from now on
		p.from = p.room.newest() + 1
	}
	return command.Later(func(done func(any, error)) {
		p.done = done
		p.room.hold(p, call.App.LiveRooms.PollHold)
	}), nil
}

// polled renews the presence of who polls, or makes it.
func (s *Service) polled(ctx context.Context, p *held, g *group.Info) {
	r := p.room
	r.roomMu.Lock()
	w := r.seats[p.device]
	if w != nil {
		w.alive = s.Now()
		w.place = max(w.place, p.from-1)
	}
	quit := s.Now().Sub(r.quits[p.device.UID]) < straggle
	r.roomMu.Unlock()
	if w != nil || quit {
		return
	}
	if s.enter(ctx, r, &seat{device: p.device, place: p.from - 1}) {
		s.announce(g, tipJoined, p.device.UID)
	}
}

// straggle is for how long a poll may still come after its sender has quit.
const straggle = 10 * time.Second

// leftNow notes that an account quit.
func (r *room) leftNow(uid int64) {
	now := r.s.Now()
	r.roomMu.Lock()
	if r.quits == nil {
		r.quits = map[int64]time.Time{}
	}
	for id, at := range r.quits {
		if now.Sub(at) > straggle {
			delete(r.quits, id)
		}
	}
	r.quits[uid] = now
	var ended []*held
	for p := range r.held {
		if p.device.UID == uid {
			ended = append(ended, p)
			delete(r.held, p)
		}
	}
	r.roomMu.Unlock()
	for _, p := range ended {
		p.answer(nil, nil)
	}
}

func (r *room) over() bool {
	r.roomMu.Lock()
	defer r.roomMu.Unlock()
	return r.ended
}

// hold answers p at once, or keeps it.
func (r *room) hold(p *held, most time.Duration) {
	casts := r.casts()
	r.mu.Lock() // no event comes between looking and waiting
	r.roomMu.Lock()
	ready := p.newsLocked(casts) || r.ended
	var before *held
	if !ready {
		for other := range r.held { // the same session polls again: the earlier poll is lost
			if other.key == p.key && other.device == p.device {
				before = other
				delete(r.held, other)
			}
		}
		r.held[p] = struct{}{}
		p.timer = time.AfterFunc(most, func() { r.release(p) })
	}
	r.roomMu.Unlock()
	r.mu.Unlock()
	if before != nil {
		before.answer(nil, nil)
	}
	if ready {
		r.answer([]*held{p})
	}
}

// newsLocked reports whether there is anything for p; both of the room's locks
// are held.
func (p *held) newsLocked(casts *follower) bool {
	if slices.ContainsFunc(p.room.recent.after(p.from-1), (*Event).pollable) {
		return true
	}
	return p.cast > 0 && casts != nil && casts.newest() >= p.cast
}

// release answers a poll whose time is over.
func (r *room) release(p *held) {
	r.roomMu.Lock()
	_, waits := r.held[p]
	delete(r.held, p)
	r.roomMu.Unlock()
	if waits {
		r.answer([]*held{p})
	}
}

// dueLocked takes the polls out that may have news.
func (r *room) dueLocked() []*held {
	if len(r.held) == 0 {
		return nil
	}
	list := make([]*held, 0, len(r.held))
	for p := range r.held {
		list = append(list, p)
	}
	clear(r.held)
	return list
}

// answer gives polls what there is.
func (r *room) answer(polls []*held) {
	for _, p := range polls {
		events := r.since(p.from - 1)
		if len(events) > pollEvents {
			events = events[:pollEvents]
		}
		var casts []*Event
		if c := r.casts(); c != nil && p.cast > 0 {
			casts = c.since(p.cast - 1)
		}
		p.answer(events, casts)
	}
}

// answer is the answer to a poll. ErrorCode must be there, or the SDK throws
// the events away (protocol 03 trap 16).
func (p *held) answer(events, casts []*Event) {
	if p.timer != nil {
		p.timer.Stop()
	}
	next := p.from
	o := wire.OpenObject(make([]byte, 0, 256+len(events)*768))
	o.Str("ActionStatus", "OK")
	o.Int("ErrorCode", 0)
	o.Str("ErrorInfo", "")
	o.Str("Key", p.key)
	list := make([]byte, 0, len(events)*768+2)
	list = append(list, '[')
	for _, e := range events {
		next = e.Seq + 1
		if !e.pollable() {
			continue
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, e.pull(p.short)...)
	}
	o.Int("NextSeq", next)
	o.Raw("RspMsgList", append(list, ']'))
	o.Int("NextBroadcastSeq", p.nextCast(casts))
	if len(casts) > 0 {
		list := []byte{'['}
		for i, e := range casts {
			if i > 0 {
				list = append(list, ',')
			}
			item := e.pulled(nil, append(p.room.castTo(), p.room.castHead(e)...))
			if p.short {
				item = shorten(item)
			}
			list = append(list, item...)
		}
		o.Raw("RspBroadcastMsgList", append(list, ']'))
	}
	p.done(command.Raw(o.Close()), nil)
}

// nextCast is the broadcast after those that p has.
func (p *held) nextCast(casts []*Event) int64 {
	if n := len(casts); n > 0 {
		return casts[n-1].Seq + 1
	}
	if p.cast > 0 {
		return p.cast
	}
	if c := p.room.casts(); c != nil {
		return c.newest() + 1
	}
	return 1
}
