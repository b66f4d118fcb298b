package liveroom

import (
	"context"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/ratelimit"
)

// reactionHead begins the item of a reaction's event.
const reactionHead = `{"Event":22,`

// Watches implements [grouplog.Rooms]. The owner and administrators of the app
// do so from outside, too.
func (s *Service) Watches(ctx context.Context, call *command.Call, g *group.Info) error {
	if call.Kind == command.Admins || call.App.IsAdmin(call.UserID) || call.UID == g.Owner {
		return nil
	}
	return s.watches(ctx, g, call.UID)
}

// watches refuses an account that does not watch, on whatever node.
func (s *Service) watches(ctx context.Context, g *group.Info, uid int64) error {
	if s.room(g.GID).has(uid) {
		return nil
	}
	there, err := s.Ledger.Present(ctx, g.GID, []int64{uid})
	if _, ok := there[uid]; err == nil && !ok {
		return errNotPresent
	}
	return err
}

// Said implements [grouplog.Rooms].
func (s *Service) Said(ctx context.Context, call *command.Call, g *group.Info, seq int64) (*grouplog.Message, error) {
	e, err := s.message(ctx, g, call, seq)
	if err != nil || e == nil || e.Kind != eventMessage {
		return nil, err
	}
	return &grouplog.Message{Log: g.GID, Seq: seq, Sender: e.Sender, Random: e.Random, ClientTime: e.ClientTime, Time: e.Time}, nil
}

// Show implements [grouplog.Rooms]. It shares the room's rate with messages,
// so that a storm of reactions is none of pushes, and does not wait for it.
func (s *Service) Show(ctx context.Context, app *config.App, g *group.Info, item []byte) {
	e := &Event{Room: g.GID, Kind: eventReaction, Body: item[len(reactionHead):]}
	s.admit(context.WithoutCancel(ctx), app, g, ratelimit.Lowest, func(yes bool) {
		if yes {
			s.publish(e, boundsIn(app), nil)
		}
	})
}

// admit asks whether the room takes another message of that priority now.
func (s *Service) admit(ctx context.Context, app *config.App, g *group.Info, p ratelimit.Priority, done func(yes bool)) {
	if s.Limiter == nil || app.GroupRate <= 0 {
		done(true)
		return
	}
	s.Limiter.Admit(ctx, g.GID, p, app.GroupRate, done)
}
