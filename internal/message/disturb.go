package message

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/wire"
)

// quiet is when a user wants no notifications: Level as for a peer, times in
// unix seconds, IsRepeated for every day (protocol 02 §12.3). It concerns
// offline push alone.
type quiet struct {
	Level      int
	StartTime  int64
	EndTime    int64
	IsRepeated int
}

// setQuiet is im_msg_db_logic.ws_set_do_not_disturb.
func (s *Service) setQuiet(ctx context.Context, call *command.Call, req *quiet) (command.Empty, error) {
	if req.Level < optNotify || req.Level > optSilent || req.StartTime < 0 || req.StartTime > maxUnix || req.EndTime < 0 || req.EndTime > maxUnix ||
		req.IsRepeated != 0 && req.IsRepeated != 1 {
		return command.Empty{}, command.Err(command.CodeBadPacket, "Level, StartTime, EndTime or IsRepeated is out of range")
	}
	_, err := s.DB.Write.ExecContext(ctx, `INSERT INTO c2c_settings (uid, level, start_time, end_time, repeated) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (uid) DO UPDATE SET level = excluded.level, start_time = excluded.start_time, end_time = excluded.end_time, repeated = excluded.repeated`,
		call.UID, req.Level, req.StartTime, req.EndTime, req.IsRepeated)
	if err != nil {
		return command.Empty{}, fmt.Errorf("message: do not disturb: %w", err)
	}
	o := wire.OpenObject(nil)
	o.Int("Event", 24)
	o.Int("Level", int64(req.Level))
	o.Int("StartTime", req.StartTime)
	o.Int("EndTime", req.EndTime)
	o.Int("IsRepeated", int64(req.IsRepeated))
	// To the acting device as well: its SDK tells the app only on this push.
	s.Hub.Push(call.UID, o.Close(), fanout.Device{})
	return command.Empty{}, nil
}

// getQuiet is im_msg_db_logic.ws_get_do_not_disturb.
func (s *Service) getQuiet(ctx context.Context, call *command.Call, _ *command.Empty) (*quiet, error) {
	q := &quiet{}
	err := s.DB.Read.QueryRowContext(ctx, `SELECT level, start_time, end_time, repeated FROM c2c_settings WHERE uid = $1`, call.UID).
		Scan(&q.Level, &q.StartTime, &q.EndTime, &q.IsRepeated)
	if err != nil && err != sql.ErrNoRows {
		return nil, fmt.Errorf("message: do not disturb: %w", err)
	}
	return q, nil
}
