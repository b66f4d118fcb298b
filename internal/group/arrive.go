package group

import (
	"context"
	"database/sql"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Arrive makes a connection that has just logged in hear the user's groups,
// with one query. A community and all its topics are one hub topic.
func (s *Service) Arrive(ctx context.Context, call *command.Call, uid int64) {
	conn, ok := call.Conn.(interface{ Join(fanout.Topic) })
	if !ok {
		return
	}
	gids, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, gid *int64) error { return rows.Scan(gid) },
		`SELECT gid FROM group_members WHERE uid = $1`, uid)
	if err != nil {
		s.Log.Error("a login could not join its groups", "uid", uid, "request", call.RequestID, "err", err)
		return
	}
	for _, gid := range gids {
		conn.Join(fanout.Group(gid))
	}
}
