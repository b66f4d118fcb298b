package group

import (
	"context"

	"imserver/internal/command"
	"imserver/internal/fanout"
)

// Arrive makes a connection that has just logged in hear the user's groups,
// with one query that those who log in at the same time share. A community and all its topics are one hub topic.
func (s *Service) Arrive(ctx context.Context, call *command.Call, uid int64) {
	conn, ok := call.Conn.(interface{ Join(fanout.Topic) })
	if !ok {
		return
	}
	gids, err := s.memberships.Of(ctx, uid)
	if err != nil {
		s.Log.Error("a login could not join its groups", "uid", uid, "request", call.RequestID, "err", err)
		return
	}
	for _, gid := range gids {
		conn.Join(fanout.Group(gid))
	}
}
