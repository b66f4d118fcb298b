package grouplog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/store"
)

// What an app's backend does to the history of a whole group, and to one
// member's count of unread messages (protocol 06 §5.6). Nobody is told: clients
// see it when they ask the next time.

type bySenderRequest struct {
	GroupId        string
	TopicId        string
	Sender_Account string
}

// silentReach is how many of the newest messages are looked through.
const silentReach = 1000

// recallSilently is delete_group_msg_by_sender: what an account sent becomes
// recalled in the history. Live rooms have none, which is no error.
func (s *Service) recallSilently(ctx context.Context, call *command.Call, req *bySenderRequest) (command.Empty, error) {
	sender, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Sender_Account)
	if err != nil {
		return command.Empty{}, command.Err(group.CodeUnknownUser, "Sender_Account does not exist")
	}
	v, err := s.overview(ctx, call, req.GroupId, req.TopicId)
	if command.CodeOf(err) == group.CodeNoHistory {
		return command.Empty{}, nil
	}
	if err != nil {
		return command.Empty{}, err
	}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		now, err := s.lockForChange(ctx, tx, v.GID)
		if err != nil {
			return err
		}
		list, err := store.Collect(ctx, tx, func(rows *sql.Rows, m *Message) error { return rows.Scan(&m.Seq) },
			`SELECT m.seq FROM group_messages m WHERE m.log = $1 AND m.time >= $2 AND m.seq > $3 AND m.sender = $4 AND m.flags & $5 = 0`,
			v.GID, v.low, v.last-silentReach, sender.UID, FlagRecalled)
		if err != nil {
			return err
		}
		for i := range list {
			list[i].Revoker = call.UserID
		}
		return s.writeRecalls(ctx, tx, v.GID, list, now)
	})
	if err != nil {
		return command.Empty{}, fmt.Errorf("grouplog: delete by sender: %w", err)
	}
	return command.Empty{}, nil
}

type clearRequest struct {
	GroupId string
	TopicId string
	MsgSeq  int64 // the last one to go; 0 is all
}

// clearStep is how many sequences one statement removes: nobody who writes
// waits long.
const clearStep = 500

// clearForAll is clear_group_msg: the messages up to a sequence are gone for
// everybody. The sequences stay taken.
func (s *Service) clearForAll(ctx context.Context, call *command.Call, req *clearRequest) (command.Empty, error) {
	if req.MsgSeq < 0 || req.MsgSeq > maxNumber {
		return command.Empty{}, errBadSeq
	}
	v, err := s.overview(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return command.Empty{}, err
	}
	last := v.last
	if req.MsgSeq > 0 {
		last = min(last, req.MsgSeq)
	}
	for {
		var first int64
		err := s.DB.Read.QueryRowContext(ctx, `SELECT seq FROM group_messages WHERE log = $1 AND seq <= $2 ORDER BY seq LIMIT 1`, v.GID, last).Scan(&first)
		if errors.Is(err, sql.ErrNoRows) {
			return command.Empty{}, nil
		}
		if err == nil {
			_, err = s.DB.Write.ExecContext(ctx, `DELETE FROM group_messages WHERE log = $1 AND seq >= $2 AND seq < $3 AND seq <= $4`,
				v.GID, first, first+clearStep, last)
		}
		if err != nil {
			return command.Empty{}, fmt.Errorf("grouplog: clear: %w", err)
		}
	}
}

type unreadRequest struct {
	GroupId        string
	TopicId        string
	Member_Account string
	UnreadMsgNum   int64
}

// setUnread is set_unread_msg_num: the member's read position goes to where so
// many messages after it count as unread, back as well as forward.
func (s *Service) setUnread(ctx context.Context, call *command.Call, req *unreadRequest) (command.Empty, error) {
	if req.UnreadMsgNum < 0 || req.UnreadMsgNum > maxNumber {
		return command.Empty{}, command.Err(group.CodeBadParameter, "UnreadMsgNum is out of range")
	}
	member, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Member_Account)
	if err != nil {
		return command.Empty{}, command.Err(group.CodeUnknownUser, "Member_Account does not exist")
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return command.Empty{}, err
	}
	if !p.unread {
		return command.Empty{}, command.Err(group.CodeNoPermission, "this type of group does not count unread messages")
	}
	v, err := s.view(ctx, call.App, p, member.UID)
	if err != nil {
		return command.Empty{}, err
	}
	seq := v.last
	if req.UnreadMsgNum > 0 {
		if seq, err = s.countedBack(ctx, v, req.UnreadMsgNum); err != nil {
			return command.Empty{}, err
		}
	}
	query := `UPDATE group_members SET read_seq = $3 WHERE gid = $1 AND uid = $2`
	if p.Kind == group.Topic {
		query = `INSERT INTO topic_members (tid, uid, read_seq) VALUES ($1, $2, $3) ON CONFLICT (tid, uid) DO UPDATE SET read_seq = excluded.read_seq`
	}
	if _, err := s.DB.Write.ExecContext(ctx, query, p.GID, member.UID, seq); err != nil {
		return command.Empty{}, fmt.Errorf("grouplog: unread: %w", err)
	}
	return command.Empty{}, nil
}

// countedBack returns the position behind which count messages are unread for
// the viewer: those that count, see Summaries. With fewer than that it is the
// one before the first visible.
func (s *Service) countedBack(ctx context.Context, v view, count int64) (int64, error) {
	var seq int64
	err := s.DB.Read.QueryRowContext(ctx, `SELECT m.seq FROM group_messages m WHERE m.log = $1 AND m.time >= $2 AND m.seq >= $3
		AND NOT EXISTS (SELECT 1 FROM group_quiet q WHERE q.log = m.log AND q.seq = m.seq AND q.uid IN (0, $4))
		ORDER BY m.seq DESC LIMIT 1 OFFSET `+strconv.FormatInt(count-1, 10), v.GID, v.low, v.first, v.uid).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return v.first - 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("grouplog: unread: %w", err)
	}
	return seq - 1, nil
}
