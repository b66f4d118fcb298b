package message

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/account"
	"imserver/internal/store"
)

// unreadCount is how many unread messages of a peer there are.
type unreadCount struct {
	peer int64
	n    int
}

// uncounted are the flags of messages that are not counted.
const uncounted = FlagNoUnread | FlagRevoked

// unreadCounts counts, for every pair of uid with unread messages, those that
// count: not the ones excluded, revoked, deleted or cleared (protocol 02 §6).
// Counting rows instead of keeping counters makes every change exact by
// itself; the cost is that of the unread messages.
func (s *Service) unreadCounts(ctx context.Context, q store.Querier, uid, low int64) ([]unreadCount, error) {
	counts, err := store.Collect(ctx, q, func(rows *sql.Rows, c *unreadCount) error { return rows.Scan(&c.peer, &c.n) },
		`SELECT c.peer, count(*)`+myPairs+`WHERE c.uid = $1 AND p.last_seq > c.read_seq AND p.last_seq > c.hidden_seq AND m.seq > c.read_seq AND m.seq > c.hidden_seq AND m.seq >= $2
		AND m.sender = c.peer AND m.flags & $3 = 0`+notHidden+` GROUP BY c.peer`, uid, low, uncounted)
	if err != nil {
		return nil, fmt.Errorf("message: unread: %w", err)
	}
	return counts, nil
}

// countUnread counts a list of all unread messages in the same way.
func countUnread(list []Message) (counts []unreadCount) {
	for i := range list {
		m := &list[i]
		if m.Flags&uncounted != 0 {
			continue
		}
		at := slices.IndexFunc(counts, func(c unreadCount) bool { return c.peer == m.From })
		if at < 0 {
			at, counts = len(counts), append(counts, unreadCount{peer: m.From})
		}
		counts[at].n++
	}
	return counts
}

// withNone adds a count of 0 for each pair of uid that the list has messages of
// and that has none unread.
func withNone(counts []unreadCount, list []Message, uid int64) []unreadCount {
	counted := make(map[int64]bool, len(counts))
	for _, c := range counts {
		counted[c.peer] = true
	}
	for i := range list {
		if peer := list[i].other(uid); !counted[peer] {
			counted[peer] = true
			counts = append(counts, unreadCount{peer: peer})
		}
	}
	return counts
}

// readSince returns the peers of whom uid has had fewer unread messages at some
// moment since a unix second, of syncPairs at most.
func (s *Service) readSince(ctx context.Context, q store.Querier, uid, unix int64) ([]int64, error) {
	peers, err := store.Collect(ctx, q, func(rows *sql.Rows, peer *int64) error { return rows.Scan(peer) },
		`SELECT peer FROM c2c_members WHERE uid = $1 AND read_at >= $2 ORDER BY read_at DESC LIMIT $3`, uid, unix, syncPairs)
	if err != nil {
		return nil, fmt.Errorf("message: read since: %w", err)
	}
	return peers, nil
}

// readNotices returns a read notice for each conversation in which nothing is
// unread any more, because it was read on another device or its last unread
// message was revoked. An SDK takes no count of a conversation from a sync that
// has no new message of it (protocol 02 §6).
func (s *Service) readNotices(ctx context.Context, m *missed, unix int64) (items [][]byte, err error) {
	left := map[int64]bool{}
	for _, c := range m.counts {
		left[c.peer] = c.n > 0
	}
	peers := slices.DeleteFunc(m.read, func(peer int64) bool { return left[peer] })
	slices.Sort(peers)
	peers = slices.Compact(peers)
	if len(peers) == 0 {
		return nil, nil
	}
	who, err := s.Accounts.WithFormer(ctx, peers)
	if err != nil {
		return nil, err
	}
	for _, peer := range peers {
		if a := who[peer]; a != nil {
			items = append(items, readSyncItem(a, unix))
		}
	}
	return items, nil
}

// named gives the counts the peers' user IDs, of whom some are known. Those of
// peers that were deleted long ago are left out.
func (s *Service) named(ctx context.Context, counts []unreadCount, known map[int64]*account.Account) ([]pairUnread, error) {
	var unknown []int64
	for _, c := range counts {
		if known[c.peer] == nil {
			unknown = append(unknown, c.peer)
		}
	}
	found, err := s.Accounts.WithFormer(ctx, unknown)
	if err != nil {
		return nil, err
	}
	out := make([]pairUnread, 0, len(counts))
	for _, c := range counts {
		a := known[c.peer]
		if a == nil {
			a = found[c.peer]
		}
		if a != nil && a.UserID != "" {
			out = append(out, pairUnread{a.UserID, c.n})
		}
	}
	return out, nil
}
