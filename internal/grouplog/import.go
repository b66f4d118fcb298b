package grouplog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/message"
	"imserver/internal/store"
)

// importRequest is import_group_msg (protocol 06 §5.6).
type importRequest struct {
	GroupId string
	TopicId string
	MsgList []importedMessage
}

type importedMessage struct {
	From_Account string
	SendTime     int64 // unix s
	Random       int64
	MsgBody      json.RawMessage
}

type importResult struct {
	MsgSeq  int64
	MsgTime int64
	Result  int
}

type importAnswer struct {
	ImportMsgResult []importResult
}

// maxImported bounds the messages of one request.
const maxImported = 20

// importMessages writes messages of the past into a log, in the order of the
// list. A message must not be older than the group or than the log's newest
// message, nor lie in the future; one that is gets its code and no sequence.
// Nobody is told.
func (s *Service) importMessages(ctx context.Context, call *command.Call, req *importRequest) (*importAnswer, error) {
	if len(req.MsgList) == 0 || len(req.MsgList) > maxImported {
		return nil, command.Errf(group.CodeBadParameter, "MsgList must have 1 to %d entries", maxImported)
	}
	p, err := s.place(ctx, call.App.SDKAppID, req.GroupId, req.TopicId)
	if err != nil {
		return nil, err
	}
	if p.Kind == group.LiveRoom || p.Kind == group.Community && p.SupportTopic {
		return nil, command.Err(group.CodeNoPermission, "there is no history to import into")
	}
	ids := make([]string, len(req.MsgList))
	for i := range req.MsgList {
		ids[i] = req.MsgList[i].From_Account
	}
	who, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	ans := &importAnswer{}
	var stored []*Message
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		head, err := s.openHead(ctx, tx, p)
		if err != nil {
			return err
		}
		ans.ImportMsgResult, stored = nil, nil
		head.LastTime = max(head.LastTime, p.CreatedAt)
		for i := range req.MsgList {
			m, code := req.MsgList[i].message(who, call.App.MessageBytes)
			if code == 0 && (m.Time < head.LastTime || m.Time > s.Now().Unix()) {
				code = group.CodeBadParameter
			}
			if code != 0 {
				ans.ImportMsgResult = append(ans.ImportMsgResult, importResult{Result: code})
				continue
			}
			head.LastSeq, head.LastTime = head.LastSeq+1, m.Time
			m.Log, m.Seq = p.GID, head.LastSeq
			stored = append(stored, m)
			ans.ImportMsgResult = append(ans.ImportMsgResult, importResult{MsgSeq: m.Seq, MsgTime: m.Time})
		}
		return s.insert(ctx, tx, p, stored)
	})
	if err != nil {
		return nil, fmt.Errorf("grouplog: import: %w", err)
	}
	for _, m := range stored { // who listens goes on from here without being offered them
		s.Hub.Publish(p.topic(), &fanout.Event{Log: m.Log, Seq: m.Seq, Only: []int64{nobody}})
	}
	return ans, nil
}

// nobody is the uid of no account.
const nobody = -1

// message checks an entry; a code above 0 refuses it.
func (i *importedMessage) message(who map[string]*account.Account, limit int) (*Message, int) {
	sender := who[i.From_Account]
	if sender == nil || i.SendTime <= 0 || i.Random < 0 || i.Random > maxNumber {
		return nil, group.CodeBadParameter
	}
	body, err := message.Normalize(i.MsgBody, 0, limit)
	if code := command.CodeOf(err); code == command.CodeTooLong {
		return nil, code
	} else if err != nil {
		return nil, group.CodeBadParameter
	}
	m := &Message{Time: i.SendTime, Sender: sender.UID, Random: i.Random, ClientSeq: rand.Int64N(1 << 31), ClientTime: i.SendTime, Priority: 2, Body: body}
	if m.Random == 0 {
		m.Random = int64(rand.Uint32())
	}
	return m, 0
}

// openHead locks a log's head, made if there is none, and returns it.
func (s *Service) openHead(ctx context.Context, tx *sql.Tx, p place) (h group.Head, err error) {
	if _, err = tx.ExecContext(ctx, `INSERT INTO group_logs (log, hub) VALUES ($1, $2) ON CONFLICT DO NOTHING`, p.GID, p.HubID()); err != nil {
		return h, err
	}
	err = tx.QueryRowContext(ctx, `SELECT last_seq, last_time FROM group_logs WHERE log = $1`+s.DB.ForUpdate(), p.GID).Scan(&h.LastSeq, &h.LastTime)
	if errors.Is(err, sql.ErrNoRows) {
		return h, errNoGroup
	}
	return h, err
}

// insert stores messages that have their places, and moves the head.
func (s *Service) insert(ctx context.Context, tx *sql.Tx, p place, list []*Message) error {
	if len(list) == 0 {
		return nil
	}
	const width = 10
	query := `INSERT INTO group_messages (log, seq, time, sender, random, client_seq, client_time, priority, flags, body) VALUES `
	args := make([]any, 0, len(list)*width)
	for i, m := range list {
		if i > 0 {
			query += ","
		}
		query += store.In(i*width+1, width)
		args = append(args, m.Log, m.Seq, m.Time, m.Sender, m.Random, m.ClientSeq, m.ClientTime, m.Priority, m.Flags, string(m.Body))
	}
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return err
	}
	last := list[len(list)-1]
	_, err := tx.ExecContext(ctx, `UPDATE group_logs SET last_seq = $2, last_time = $3 WHERE log = $1`, p.GID, last.Seq, last.Time)
	return err
}
