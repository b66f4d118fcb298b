package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
)

// settleTime bounds the wait for the bus at a login. When it is away devices
// are made to log in again as soon as it is back.
const settleTime = 2 * time.Second

// Arrive makes a connection that has just logged in hear the user's groups,
// with one query that those who log in at the same time share. A community and
// all its topics are one hub topic.
func (s *Service) Arrive(ctx context.Context, call *command.Call, uid int64) error {
	conn, ok := call.Conn.(interface {
		Join(fanout.Topic)
		Leave(fanout.Topic)
	})
	if !ok {
		return nil
	}
	// Who is added to a group from now on is told over the user's own topic;
	// that must be heard before the groups are read, or one between is missed.
	settle, cancel := context.WithTimeout(ctx, settleTime)
	if err := s.Hub.Settle(settle); err != nil {
		s.Log.Debug("a login reads its groups while the bus is away", "uid", uid, "request", call.RequestID, "err", err)
	}
	cancel()
	unchanged := s.Groups.generation()
	gids, err := s.memberships.Of(ctx, uid)
	if err != nil {
		return fmt.Errorf("group: arrive: %w", err)
	}
	for _, gid := range gids {
		conn.Join(fanout.Group(gid))
	}
	// Who was removed after the groups were read, and told to leave before the
	// connection was in, would go on listening.
	if !slices.ContainsFunc(gids, func(gid int64) bool { return !unchanged(gid) }) {
		return nil
	}
	now, err := s.memberships.Of(ctx, uid)
	if err != nil {
		return fmt.Errorf("group: arrive again: %w", err)
	}
	for _, gid := range gids {
		if !slices.Contains(now, gid) {
			conn.Leave(fanout.Group(gid))
		}
	}
	return nil
}
