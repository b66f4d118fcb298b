package message

import (
	"context"
	"database/sql"

	"imserver/internal/account"
	"imserver/internal/store"
)

const columns = `m.lo, m.hi, m.seq, m.sender, m.msg_seq, m.random, m.client_time, m.flags, m.version, m.changed_at, m.receipt_at,
	m.revoker, m.reason, m.body, m.cloud`

func scanMessage(rows *sql.Rows, m *Message) error { return scanRow(rows, m) }

func scanRow(row store.Row, m *Message) error {
	var lo, hi int64
	err := row.Scan(&lo, &hi, &m.Seq, &m.From, &m.MsgSeq, &m.Random, &m.ClientTime, &m.Flags, &m.Version, &m.ChangedAt, &m.ReceiptAt,
		&m.Revoker, &m.Reason, &m.Body, &m.Cloud)
	m.To = lo
	if m.From == lo {
		m.To = hi
	}
	return err
}

// visible limits a query over c2c_messages m to what uid may see of its pair
// with peer: nothing that it cleared, deleted or discards, and not
// what it is named as the sender of without having got it (32 is flagDiscarded, 128 flagNotOwn). The parameters are $1 lo, $2
// hi, $3 uid, $4 peer, $5 the lowest sequence within the retention.
const visible = ` FROM c2c_messages m WHERE m.lo = $1 AND m.hi = $2 AND m.seq >= $5
	AND m.seq > COALESCE((SELECT cleared_seq FROM c2c_members WHERE uid = $3 AND peer = $4), 0)
	AND (m.flags & 32 = 0 OR m.sender = $3) AND (m.flags & 128 = 0 OR m.sender <> $3)
	AND NOT EXISTS (SELECT 1 FROM c2c_deleted d WHERE d.uid = $3 AND d.peer = $4 AND d.seq = m.seq)`

// window is a range of a pair's log as one side sees it.
type window struct {
	uid, peer int64
	floor     int64
	above     int64 // sequences greater than this
	below     int64 // and less than this
	newest    bool  // take the newest of the range, not the oldest
	limit     int
}

// page reads a window, ascending.
func (s *Service) page(ctx context.Context, w window) ([]Message, error) {
	lo, hi := pair(w.uid, w.peer)
	order := " ORDER BY m.seq LIMIT $8"
	if w.newest {
		order = " ORDER BY m.seq DESC LIMIT $8"
	}
	list, err := store.Collect(ctx, s.DB.Read, scanMessage, `SELECT `+columns+visible+` AND m.seq > $6 AND m.seq < $7`+order,
		lo, hi, w.uid, w.peer, w.floor, w.above, w.below, w.limit)
	if w.newest {
		for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	return list, err
}

// find returns the sequence of the message with these numbers in the second
// unix of a pair's log; 0 if there is none.
func find(ctx context.Context, q store.Querier, a, b, msgSeq, random, unix int64) (seq int64, err error) {
	lo, hi := pair(a, b)
	err = q.QueryRowContext(ctx, `SELECT seq FROM c2c_messages WHERE lo = $1 AND hi = $2 AND seq >= $3 AND seq <= $4
		AND random = $5 AND msg_seq = $6 ORDER BY seq LIMIT 1`, lo, hi, from(unix), until(unix), random, msgSeq).Scan(&seq)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	return seq, err
}

// authorOf returns who sent the message that a key names; 0 if there is none.
func authorOf(ctx context.Context, q store.Querier, lo, hi int64, r ref) (sender int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT sender FROM c2c_messages WHERE lo = $1 AND hi = $2 AND seq >= $3 AND seq <= $4
		AND random = $5 AND msg_seq = $6 LIMIT 1`, lo, hi, from(r.unix), until(r.unix), r.random, r.msgSeq).Scan(&sender)
	if err == sql.ErrNoRows {
		return 0, nil
	}
	return sender, err
}

// both looks up the two accounts of a pair.
func (s *Service) both(ctx context.Context, a, b int64) (map[int64]*account.Account, error) {
	found, err := s.Accounts.WithFormer(ctx, []int64{a, b})
	if err != nil {
		return nil, err
	}
	return withGone(found, a, b), nil
}

// withGone stands in for accounts that were deleted, so that their messages
// can still be shown.
func withGone(found map[int64]*account.Account, uids ...int64) map[int64]*account.Account {
	for _, uid := range uids {
		if found[uid] == nil {
			found[uid] = &account.Account{UID: uid}
		}
	}
	return found
}
