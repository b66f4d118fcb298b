package message

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

// maxDeleted is how many messages one delete may name (protocol 02 §9.2).
const maxDeleted = 30

type deleteRequest struct {
	From_Account     string
	To_Account       string
	Operator_Account string // REST
	Peer_Account     string // REST
	MsgKeyList       []string
}

// delete is openim.delete_c2c_msg_ramble: the messages are gone for the caller
// alone (protocol 02 §9.2). The two accounts are those of the chat; the caller
// is one of them.
func (s *Service) delete(ctx context.Context, call *command.Call, req *deleteRequest) (command.Empty, error) {
	other := req.To_Account
	if other == call.UserID {
		other = req.From_Account
	} else if req.From_Account != "" && req.From_Account != call.UserID {
		return command.Empty{}, command.Err(command.CodeBadPacket, "the caller is not of this chat")
	}
	peer, err := s.Accounts.Former(ctx, call.App.SDKAppID, other)
	if err != nil {
		return command.Empty{}, err
	}
	_, err = s.hide(ctx, call.UID, peer.UID, req.MsgKeyList, command.CodeBadPacket)
	return command.Empty{}, err
}

type deleteAnswer struct {
	InvalidMsgKeyList []string
}

// adminDelete is the same for the account named Operator_Account (protocol 06 §5.2).
func (s *Service) adminDelete(ctx context.Context, call *command.Call, req *deleteRequest) (*deleteAnswer, error) {
	owner, peer, err := s.parties(ctx, call, req.Operator_Account, req.Peer_Account)
	if err != nil {
		return nil, err
	}
	unknown, err := s.hide(ctx, owner.UID, peer.UID, req.MsgKeyList, codeRESTKey)
	if err != nil {
		return nil, err
	}
	return &deleteAnswer{unknown}, nil
}

// hide deletes messages for uid and returns the keys that name none.
func (s *Service) hide(ctx context.Context, uid, peer int64, keys []string, badKey int) (unknown []string, err error) {
	if len(keys) == 0 || len(keys) > maxDeleted {
		return nil, command.Errf(badKey, "MsgKeyList must have 1 to %d keys", maxDeleted)
	}
	refs := make([]ref, len(keys))
	for i, key := range keys {
		var ok bool
		if refs[i], ok = refOf(key); !ok {
			return nil, command.Err(badKey, "a MsgKey is malformed")
		}
	}
	unknown = []string{}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		unknown = unknown[:0]
		found, err := s.places(ctx, tx, uid, peer, uid, refs)
		if err != nil {
			return err
		}
		query, args := `INSERT INTO c2c_deleted (uid, peer, seq) VALUES `, []any{uid, peer}
		for i, r := range refs {
			m := found[r]
			if m == nil {
				unknown = append(unknown, keys[i])
				continue
			}
			if len(args) > 2 {
				query += ","
			}
			args = append(args, m.Seq)
			query += fmt.Sprintf("($1,$2,$%d)", len(args))
		}
		if len(args) == 2 {
			return nil
		}
		if _, err := tx.ExecContext(ctx, query+` ON CONFLICT DO NOTHING`, args...); err != nil {
			return fmt.Errorf("message: delete: %w", err)
		}
		return nil
	})
	return unknown, err
}

type clearRequest struct {
	From_Account string
	Type         int // 1 one-to-one, 2 group
	To_Account   string
	ToGroupId    string // also spelt ToGroupid
	GroupId      string // or so (protocol 02 trap 18)
}

// clearGroup is the Type of a group, whose clearing is the group log's.
const clearGroup = 2

// clear is recentcontact.clear_msg: the history is gone for the caller alone,
// the conversation stays (protocol 02 §9.3).
func (s *Service) clear(ctx context.Context, call *command.Call, req *clearRequest) (command.Empty, error) {
	if req.From_Account != "" && req.From_Account != call.UserID {
		return command.Empty{}, command.Err(command.CodeBadPacket, "From_Account is not the caller")
	}
	if req.Type == clearGroup {
		if s.groups == nil {
			return command.Empty{}, command.Err(command.CodeUnknownCommand, "")
		}
		return command.Empty{}, s.groups.Clear(ctx, call, cmp.Or(req.ToGroupId, req.GroupId))
	}
	if req.Type != 1 {
		return command.Empty{}, command.Err(command.CodeBadPacket, "Type must be 1 or 2")
	}
	peer, err := s.Accounts.Former(ctx, call.App.SDKAppID, req.To_Account)
	if err != nil {
		return command.Empty{}, err
	}
	return command.Empty{}, s.Clear(ctx, call.UID, peer)
}

// Clear empties the history of a pair for uid, up to now.
func (s *Service) Clear(ctx context.Context, uid int64, peer *account.Account) error {
	_, err := s.DB.Write.ExecContext(ctx, `UPDATE c2c_members SET cleared_seq = `+lastOfPair+`, read_at = $3 WHERE uid = $1 AND peer = $2`,
		uid, peer.UID, s.Now().Unix())
	if err != nil {
		return fmt.Errorf("message: clear: %w", err)
	}
	return nil
}

// SweepDeleted removes at most limit of the marks of deleted messages whose
// messages are gone with the longest retention: those below the unix second
// before. It returns how many there were.
func (s *Service) SweepDeleted(ctx context.Context, before int64, limit int) (int, error) {
	type row struct{ uid, peer, seq int64 }
	old, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.uid, &r.peer, &r.seq) },
		`SELECT uid, peer, seq FROM c2c_deleted WHERE seq < $1 LIMIT $2`, from(before), limit)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	return len(old), s.DB.Tx(ctx, func(tx *sql.Tx) error {
		for _, r := range old {
			if _, err := tx.ExecContext(ctx, `DELETE FROM c2c_deleted WHERE uid = $1 AND peer = $2 AND seq = $3`, r.uid, r.peer, r.seq); err != nil {
				return err
			}
		}
		return nil
	})
}
