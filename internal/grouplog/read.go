package grouplog

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// readRequest is msg_read_report (protocol 03 §12.8).
type readRequest struct {
	GroupId      string
	TopicId      string
	MsgReadedSeq int64
}

// readReport moves the caller's read position and tells its other devices.
func (s *Service) readReport(ctx context.Context, call *command.Call, req *readRequest) (command.Empty, error) {
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return command.Empty{}, err
	}
	seq, moved, err := s.readUpTo(ctx, p, call.UID, req.MsgReadedSeq)
	if err != nil {
		return command.Empty{}, err
	}
	if moved {
		s.Hub.Push(call.UID, p.readSync(seq), deviceOf(call))
	}
	return command.Empty{}, nil
}

// readSync is the notice for the reader's other devices.
func (p place) readSync(seq int64) []byte {
	o := wire.OpenObject(nil)
	o.Str("GroupId", p.home.ID)
	o.Str("TopicId", p.topicID())
	o.Int("LastReadMsgSeq", seq)
	return p.notice("GroupReadInfoArray", o.Close(), nil)
}

// readUpTo moves a member's read position, which never goes back nor beyond
// the newest message; it returns the position that was asked for, so bounded.
func (s *Service) readUpTo(ctx context.Context, p place, uid, seq int64) (int64, bool, error) {
	if seq < 0 {
		return 0, false, errBadSeq
	}
	if _, err := s.Groups.Member(ctx, p.home.GID, uid); err != nil {
		return 0, false, err
	}
	heads, err := s.Heads(ctx, []int64{p.GID})
	if err != nil {
		return 0, false, err
	}
	seq = min(seq, heads[p.GID].LastSeq)
	if seq == 0 {
		return 0, false, nil
	}
	moved, err := s.position(ctx, p, uid, "read_seq", seq)
	return seq, moved, err
}

// position raises a member's position column; it reports whether it rose.
func (s *Service) position(ctx context.Context, p place, uid int64, column string, seq int64) (bool, error) {
	query := `UPDATE group_members SET ` + column + ` = $3 WHERE gid = $1 AND uid = $2 AND ` + column + ` < $3`
	if p.Kind == group.Topic {
		query = `INSERT INTO topic_members (tid, uid, ` + column + `) VALUES ($1, $2, $3)
			ON CONFLICT (tid, uid) DO UPDATE SET ` + column + ` = excluded.` + column + ` WHERE topic_members.` + column + ` < excluded.` + column
	}
	res, err := s.DB.Write.ExecContext(ctx, query, p.GID, uid, seq)
	if err != nil {
		return false, fmt.Errorf("grouplog: %s: %w", column, err)
	}
	n, _ := res.RowsAffected() // both drivers know it
	return n > 0, nil
}

// ReadAll implements message.Groups: the part of read_all_unread_msg that is
// about groups (protocol 03 §12.9), with three queries and those for groups
// that are not cached.
func (s *Service) ReadAll(ctx context.Context, call *command.Call, reads []message.GroupRead) ([]message.GroupReadResult, error) {
	out := make([]message.GroupReadResult, len(reads))
	gids := make([]int64, len(reads)) // of the groups that exist
	var logs []int64
	for i, r := range reads {
		out[i] = message.GroupReadResult{GroupId: r.GroupId, MsgSeq: r.MsgSeq, RetCode: group.CodeBadParameter}
		if r.MsgSeq < 0 {
			continue
		}
		p, err := s.place(ctx, call.App.SDKAppID, r.GroupId, "")
		if out[i].RetCode = command.CodeOf(err); out[i].RetCode == command.CodeInternal {
			return nil, err
		}
		if err == nil {
			gids[i] = p.GID
			logs = append(logs, p.GID)
		}
	}
	if len(logs) == 0 {
		return out, nil
	}
	mine, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, v *group.View) error { return rows.Scan(&v.Log, &v.Read) },
		`SELECT m.gid, COALESCE(l.last_seq, 0) FROM `+viewRows(s.DB.Dialect, 1)+` v JOIN group_members m ON m.gid = v.log AND m.uid = $2
		LEFT JOIN group_logs l ON l.log = m.gid`, logArgs(logs), call.UID)
	if err != nil {
		return nil, fmt.Errorf("grouplog: read all: %w", err)
	}
	last := make(map[int64]int64, len(mine))
	for _, v := range mine {
		last[v.Log] = v.Read
	}
	var moves []group.View
	for i := range out {
		if gids[i] == 0 {
			continue
		}
		newest, member := last[gids[i]]
		if !member {
			out[i].RetCode = group.CodeNoPermission
			continue
		}
		out[i].MsgSeq = min(out[i].MsgSeq, newest)
		moves = append(moves, group.View{Log: gids[i], Read: out[i].MsgSeq})
	}
	_, err = s.DB.Write.ExecContext(ctx, `UPDATE group_members SET read_seq = v.seen FROM `+viewRows(s.DB.Dialect, 1)+` v
		WHERE group_members.gid = v.log AND group_members.uid = $2 AND group_members.read_seq < v.seen`, viewArgs(moves), call.UID)
	if err != nil {
		return nil, fmt.Errorf("grouplog: read all: %w", err)
	}
	return out, nil
}

// Clear implements message.Groups: a group's history is gone for the caller,
// up to now (protocol 03 §12.5).
func (s *Service) Clear(ctx context.Context, call *command.Call, groupID string) error {
	p, err := s.place(ctx, call.App.SDKAppID, groupID, "")
	if err != nil {
		return err
	}
	if _, err := s.Groups.Member(ctx, p.home.GID, call.UID); err != nil {
		return err
	}
	heads, err := s.Heads(ctx, []int64{p.GID})
	if err != nil {
		return err
	}
	last := heads[p.GID].LastSeq
	if last == 0 {
		return nil
	}
	if _, err = s.position(ctx, p, call.UID, "cleared_seq", last); err != nil {
		return err
	}
	_, err = s.position(ctx, p, call.UID, "read_seq", last)
	return err
}
