package liveroom

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/wire"
)

// An app's broadcasts are the events of a room of their own, with the app's
// number, negative, in the place of a group's. Every node that has watchers of
// the app follows it and hands each event to all its rooms.

func castID(app uint32) int64 { return -int64(app) }

func newCast(s *Service, app *config.App) *follower {
	return newFollower(s, castID(app.SDKAppID), func() bounds { return boundsIn(app) }, func(e *Event) {
		go func() { // not here: rooms and broadcasts must not wait for each other
			for _, r := range s.all() {
				if r.app.SDKAppID == app.SDKAppID {
					r.post(outgoing{event: e, head: r.castHead(e)})
				}
			}
		}()
	})
}

// lookAtCasts repairs what was missed of broadcasts.
func (s *Service) lookAtCasts(ctx context.Context) {
	for _, f := range s.allCasts() {
		if c, err := s.Ledger.Renew(ctx, f.id, nil, s.Now()); err == nil && !s.backlog.waits(f.id) {
			f.lookAgain(c.last)
		}
		f.trim(s.Now())
	}
}

func (s *Service) allCasts() []*follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.casts))
}

// casts returns the app's broadcasts.
func (r *room) casts() *follower { return r.s.follower(castID(r.app.SDKAppID)) }

// castHead is what a broadcast says of the room it is shown in: without it the
// SDK has no conversation for it (protocol 03 §13.5).
func (r *room) castHead(e *Event) []byte {
	g, err := r.s.Groups.ByGID(context.Background(), r.gid)
	if err != nil {
		g = &group.Info{ID: r.id, Kind: group.LiveRoom}
	}
	sender, err := r.s.Accounts.ByUID(context.Background(), e.Sender)
	if err != nil {
		sender = nil
	}
	return to(g, sender)
}

// castTo names the room once more, for answers to polls: there the SDK takes a
// broadcast's conversation from To_Account (protocol 03 §13.5).
func (r *room) castTo() []byte {
	o := wire.OpenObject(nil)
	o.Str("To_Account", r.id)
	return append(open(o), ',')
}

type broadcastRequest struct {
	From_Account    string
	Random          *int64
	MsgBody         json.RawMessage
	CloudCustomData string
}

type broadcastAnswer struct {
	MsgSeq int64
}

// broadcast is send_broadcast_msg: to everybody in the app's live rooms
// (protocol 06 §5.6).
func (s *Service) broadcast(ctx context.Context, call *command.Call, req *broadcastRequest) (any, error) {
	if req.Random == nil || *req.Random < 0 || *req.Random > 1<<32 {
		return nil, command.Err(group.CodeBadParameter, "Random is missing or out of range")
	}
	body, err := message.Normalize(req.MsgBody, len(req.CloudCustomData), call.App.MessageBytes)
	if err != nil {
		return nil, err
	}
	sender, err := s.broadcaster(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	now := s.Now().Unix()
	e := &Event{Room: castID(call.App.SDKAppID), Kind: eventBroadcast, Sender: sender.UID, Random: *req.Random, ClientSeq: *req.Random, ClientTime: now, Time: now}
	e.Body = messageBody(e, nil, sender, messageFields{priority: 1, cloud: req.CloudCustomData, body: body})
	return command.Later(func(done func(any, error)) {
		s.publish(e, boundsIn(call.App), func(err error) { done(broadcastAnswer{e.Seq}, err) })
	}), nil
}

func (s *Service) broadcaster(ctx context.Context, call *command.Call, id string) (*account.Account, error) {
	if id == "" {
		id = call.UserID
		a, _, err := s.Accounts.Ensure(ctx, call.App.SDKAppID, id)
		return a, err
	}
	a, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, id)
	if errors.Is(err, command.Err(command.CodeNoAccount, "")) {
		return nil, command.Err(group.CodeBadParameter, "From_Account does not exist")
	}
	return a, err
}
