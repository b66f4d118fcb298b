package message

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Codes of what happens to a sent message (protocol 02 §21, 06 §2.2).
const (
	codeRevokeLate       = 20016 // the time limit has passed
	codeNoMessage        = 20022 // no such message
	codeRevoked          = 20023 // revoked already
	codeNoModify         = 20026 // no such message to modify, towards SDKs
	codeConflict         = 20027 // somebody else modified it first
	codeRESTKey          = 90054 // MsgKey malformed
	codeRESTSource       = 90030 // SyncFromOldSystem
	codeRESTRandom       = 90005
	codeRESTTime         = 90006
	codeRESTTooManyPeers = 90018 // too many accounts asked for
)

// ref names a message as clients do, by its numbers and time.
type ref struct {
	msgSeq, random, unix int64
}

func (r ref) valid() bool {
	return r.msgSeq >= 0 && r.random >= 0 && r.unix > 0 && r.unix <= maxUnix
}

func refOf(key string) (ref, bool) {
	msgSeq, random, unix, ok := ParseKey(key)
	r := ref{msgSeq, random, unix}
	return r, ok && r.valid()
}

// locked reads a message from sender to receiver for a change; the row is
// locked until tx ends. It returns nil if there is none at or above low.
func (s *Service) locked(ctx context.Context, tx *sql.Tx, sender, receiver int64, r ref, low int64) (*Message, error) {
	lo, hi := pair(sender, receiver)
	list, err := store.Collect(ctx, tx, scanMessage, `SELECT `+columns+` FROM c2c_messages m WHERE m.lo = $1 AND m.hi = $2 AND m.seq >= $3 AND m.seq <= $4
		AND m.random = $5 AND m.msg_seq = $6 AND m.sender = $7 ORDER BY m.seq LIMIT 1`+s.DB.ForUpdate(),
		lo, hi, max(low, from(r.unix)), until(r.unix), r.random, r.msgSeq, sender)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// update writes what can change of a message.
func update(ctx context.Context, tx *sql.Tx, m *Message) error {
	lo, hi := pair(m.From, m.To)
	_, err := tx.ExecContext(ctx, `UPDATE c2c_messages SET flags = $4, version = $5, changed_at = $6, receipt_at = $7, revoker = $8, reason = $9, body = $10, cloud = $11
		WHERE lo = $1 AND hi = $2 AND seq = $3`, lo, hi, m.Seq, m.Flags, m.Version, m.ChangedAt, m.ReceiptAt, m.Revoker, m.Reason, string(m.Body), m.Cloud)
	return err
}

// change does fn on a stored message, in a transaction, and writes it back.
// fn gets nil when there is no such message, or when the receiver, as seer,
// never got it.
func (s *Service) change(ctx context.Context, call *command.Call, sender, receiver *account.Account, r ref, seer int64, fn func(m *Message) error) (*Message, error) {
	low := floor(s.Now(), call.App.Retention)
	var m *Message
	err := s.DB.Tx(ctx, func(tx *sql.Tx) error {
		var err error
		if m, err = s.locked(ctx, tx, sender.UID, receiver.UID, r, low); err != nil {
			return fmt.Errorf("message: change: %w", err)
		}
		if m != nil && !m.seenBy(seer) {
			m = nil
		}
		if err := fn(m); err != nil {
			return err
		}
		return update(ctx, tx, m)
	})
	return m, err
}

// seenBy reports whether uid, one of the pair or 0 for an administrator, ever
// got the message.
func (m *Message) seenBy(uid int64) bool {
	return m.Flags&flagDiscarded == 0 || uid == m.From || uid == 0
}

// tellBoth pushes an event of a message to both sides, except the acting device.
func (s *Service) tellBoth(m *Message, item []byte, device fanout.Device, when fanout.When) {
	s.Hub.PushWhen(m.From, item, device, when)
	if m.From != m.To && m.Flags&flagDiscarded == 0 {
		s.Hub.PushWhen(m.To, item, device, when)
	}
}

// tell pushes an event about messages to uid's devices except one. To a device
// that has just come back it follows the messages.
func (s *Service) tell(uid int64, item []byte, except fanout.Device) {
	s.Hub.PushWhen(uid, item, except, fanout.AfterSync)
}

// parties looks up the sender and receiver that a request names.
func (s *Service) parties(ctx context.Context, call *command.Call, sender, receiver string) (a, b *account.Account, err error) {
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, []string{sender, receiver})
	if err != nil {
		return nil, nil, err
	}
	if a, b = found[sender], found[receiver]; a == nil || b == nil {
		return nil, nil, command.Err(command.CodeNoAccount, "")
	}
	return a, b, nil
}

func device(call *command.Call) fanout.Device { return fanout.Device{UID: call.UID, Inst: call.Inst} }

// places returns the sequences, by key, of those messages of a pair that the
// keys name and that seer got, with one query.
func (s *Service) places(ctx context.Context, q store.Querier, a, b, seer int64, refs []ref) (map[ref]*Message, error) {
	lo, hi := pair(a, b)
	randoms := make([]int64, 0, len(refs))
	for _, r := range refs {
		randoms = append(randoms, r.random)
	}
	slices.Sort(randoms)
	randoms = slices.Compact(randoms)
	if len(randoms) == 0 {
		return nil, nil
	}
	list, err := store.Collect(ctx, q, scanMessage, `SELECT `+columns+` FROM c2c_messages m WHERE m.lo = $1 AND m.hi = $2 AND m.random IN `+
		store.In(3, len(randoms)), store.Args(randoms, any(lo), any(hi))...)
	if err != nil {
		return nil, fmt.Errorf("message: places: %w", err)
	}
	found := make(map[ref]*Message, len(list))
	for i := range list {
		m := &list[i]
		if r := (ref{m.MsgSeq, m.Random, m.Time()}); m.seenBy(seer) && slices.Contains(refs, r) {
			found[r] = m
		}
	}
	return found, nil
}
