package message

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
)

// What kind of import importmsg does (protocol 06 §5.2).
const (
	importHistory = 2 // not unread, not pushed
	importLive    = 5 // as if it were sent now
)

type importRequest struct {
	sendRequest
	SyncFromOldSystem int
	MsgTimeStamp      int64
}

// adminImport is openim.importmsg: it writes a message into the past of a pair
// (protocol 06 §5.2).
func (s *Service) adminImport(ctx context.Context, call *command.Call, req *importRequest) (command.Empty, error) {
	switch {
	case req.SyncFromOldSystem != importHistory && req.SyncFromOldSystem != importLive:
		return command.Empty{}, command.Err(codeRESTSource, "SyncFromOldSystem must be 2 or 5")
	case req.MsgRandom == 0:
		return command.Empty{}, command.Err(codeRESTRandom, "MsgRandom is missing")
	case req.MsgTimeStamp <= 0 || req.MsgTimeStamp > s.Now().Unix():
		return command.Empty{}, command.Err(codeRESTTime, "MsgTimeStamp must be in the past")
	}
	sender, receiver, err := s.parties(ctx, call, req.From_Account, req.To_Account)
	if err != nil {
		return command.Empty{}, err
	}
	if req.MsgClientTime == 0 {
		req.MsgClientTime = req.MsgTimeStamp
	}
	m, err := req.message(sender, receiver, call.App.MessageBytes)
	if err != nil {
		return command.Empty{}, asREST(err, 0)
	}
	if req.SyncFromOldSystem == importHistory {
		m.Flags |= FlagNoUnread
	}
	stored, err := s.insertAt(ctx, m, req.MsgTimeStamp)
	if err != nil {
		return command.Empty{}, err
	}
	if stored && req.SyncFromOldSystem == importLive {
		s.deliver(call.App.SDKAppID, m, sender, receiver, delivery{sync: true})
	}
	return command.Empty{}, nil
}

// insertAt stores m as the last message of a second that may be long past. It
// reports false when it is there already.
func (s *Service) insertAt(ctx context.Context, m *Message, unix int64) (stored bool, err error) {
	lo, hi := pair(m.From, m.To)
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		stored = false
		for _, q := range []string{`INSERT INTO c2c_pairs (lo, hi) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
			`INSERT INTO c2c_members (uid, peer) VALUES ($1, $2) ON CONFLICT DO NOTHING`, `INSERT INTO c2c_members (peer, uid) VALUES ($1, $2) ON CONFLICT DO NOTHING`} {
			if _, err := tx.ExecContext(ctx, q, lo, hi); err != nil {
				return err
			}
		}
		var last, newest int64
		if err := tx.QueryRowContext(ctx, `SELECT last_seq FROM c2c_pairs WHERE lo = $1 AND hi = $2`+s.DB.ForUpdate(), lo, hi).Scan(&last); err != nil {
			return err
		}
		for {
			sender, err := authorOf(ctx, tx, lo, hi, ref{m.MsgSeq, m.Random, unix})
			if err != nil || sender == m.From {
				return err
			}
			if sender == 0 {
				break
			}
			unix++ // the other side's message has this key
		}
		err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(seq), 0) FROM c2c_messages WHERE lo = $1 AND hi = $2 AND seq >= $3 AND seq <= $4`,
			lo, hi, from(unix), until(unix)).Scan(&newest)
		if err != nil {
			return err
		}
		if m.Seq = max(newest+1, from(unix)); m.Seq > until(unix) {
			return command.Err(codeRESTTime, "too many messages in this second")
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body, cloud, push_info)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, lo, hi, m.Seq, m.From, m.MsgSeq, m.Random, m.ClientTime, m.Flags, string(m.Body), m.Cloud, string(m.PushInfo))
		if err != nil {
			return err
		}
		stored = true
		_, err = tx.ExecContext(ctx, `UPDATE c2c_pairs SET last_seq = $3 WHERE lo = $1 AND hi = $2 AND last_seq < $3`, lo, hi, m.Seq)
		return err
	})
	if err != nil && command.CodeOf(err) == command.CodeInternal {
		err = fmt.Errorf("message: import: %w", err)
	}
	return stored, err
}
