package message

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidwall/gjson"

	"imserver/internal/command"
	"imserver/internal/store"
)

type saveRelayRequest struct {
	MsgList json.RawMessage
}

type saveRelayAnswer struct {
	JsonMsgKey string
	PbMsgKey   string
}

// saveRelay is im_long_msg.save_relay_json_msg: it keeps the body of a merged
// message that is too large to travel inside one (protocol 02 §17). Whoever has
// the key may read it, as with the message itself when it is forwarded, so the
// key cannot be guessed.
func (s *Service) saveRelay(ctx context.Context, call *command.Call, req *saveRelayRequest) (*saveRelayAnswer, error) {
	list, err := CompleteRelayList(req.MsgList)
	if err != nil {
		return nil, err
	}
	if string(list) == "null" || string(list) == "[]" {
		return nil, command.Err(command.CodeBadPacket, "MsgList is empty")
	}
	key := rand.Text()
	_, err = s.DB.Write.ExecContext(ctx, `INSERT INTO relay_bodies (app, key, body, expires_at) VALUES ($1, $2, $3, $4)`,
		call.App.SDKAppID, key, string(list), s.relayEnd(call))
	if err != nil {
		return nil, fmt.Errorf("message: save merged: %w", err)
	}
	return &saveRelayAnswer{JsonMsgKey: key, PbMsgKey: key}, nil
}

// relayEnd is the unix second until which a body is kept when a message with
// it is sent now, with time for sending it.
func (s *Service) relayEnd(call *command.Call) int64 {
	return s.Now().Add(call.App.Retention + time.Hour).Unix()
}

type getRelayRequest struct {
	JsonMsgKey string
}

type getRelayAnswer struct {
	MsgList json.RawMessage
}

// getRelay is im_long_msg.get_relay_json_msg (protocol 02 §17).
func (s *Service) getRelay(ctx context.Context, call *command.Call, req *getRelayRequest) (*getRelayAnswer, error) {
	if err := command.CheckTexts(req.JsonMsgKey); err != nil {
		return nil, err
	}
	var body string
	err := s.DB.Read.QueryRowContext(ctx, `SELECT body FROM relay_bodies WHERE app = $1 AND key = $2 AND expires_at > $3`,
		call.App.SDKAppID, req.JsonMsgKey, s.Now().Unix()).Scan(&body)
	if err == sql.ErrNoRows {
		return nil, command.Err(codeNoMessage, "there is no such merged message")
	}
	if err != nil {
		return nil, fmt.Errorf("message: read merged: %w", err)
	}
	return &getRelayAnswer{json.RawMessage(body)}, nil
}

// KeepRelays prolongs the bodies that a message about to be stored refers to:
// they live as long as the last message with them.
func (s *Service) KeepRelays(ctx context.Context, call *command.Call, body []byte) error {
	if !bytes.Contains(body, []byte(`"JsonMsgKey"`)) {
		return nil
	}
	var keys []string
	gjson.ParseBytes(body).ForEach(func(_, element gjson.Result) bool {
		if key := element.Get("MsgContent.JsonMsgKey"); key.Type == gjson.String && key.Str != "" && command.CheckTexts(key.Str) == nil {
			keys = append(keys, key.Str)
		}
		return true
	})
	if len(keys) == 0 {
		return nil
	}
	end := s.relayEnd(call)
	_, err := s.DB.Write.ExecContext(ctx, `UPDATE relay_bodies SET expires_at = $2 WHERE app = $1 AND expires_at < $2 AND key IN `+store.In(3, len(keys)),
		store.Args(keys, any(call.App.SDKAppID), any(end))...)
	if err != nil {
		return fmt.Errorf("message: keep merged: %w", err)
	}
	return nil
}

// SweepRelays removes at most limit bodies past their time and returns how
// many there were.
func (s *Service) SweepRelays(ctx context.Context, limit int) (int, error) {
	type row struct {
		app int64
		key string
	}
	now := s.Now().Unix()
	old, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.app, &r.key) },
		`SELECT app, key FROM relay_bodies WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2`, now, limit)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	return len(old), s.DB.Tx(ctx, func(tx *sql.Tx) error {
		for _, r := range old {
			if _, err := tx.ExecContext(ctx, `DELETE FROM relay_bodies WHERE app = $1 AND key = $2 AND expires_at <= $3`, r.app, r.key, now); err != nil {
				return err
			}
		}
		return nil
	})
}
