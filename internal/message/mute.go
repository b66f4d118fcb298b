package message

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// What a user wants of a peer's messages (protocol 02 §12.1).
const (
	optNotify  = 0
	optDiscard = 1 // nothing of the peer is delivered
	optSilent  = 2 // delivered without notification
)

// maxMuted is how many peers one request may name (protocol 02 §12.1).
const maxMuted = 30

type muteRequest struct {
	Peer_Account       []string
	Mute_Notifications int
}

type muteFailure struct {
	Peer_Account string
	ErrorCode    int
}

type muteAnswer struct {
	ErrorList []muteFailure
	UpdateSeq int64
}

// mute is openim.set_c2c_peer_mute_notifications (protocol 02 §12.1).
func (s *Service) mute(ctx context.Context, call *command.Call, req *muteRequest) (*muteAnswer, error) {
	opt := req.Mute_Notifications
	if len(req.Peer_Account) == 0 || len(req.Peer_Account) > maxMuted || opt < optNotify || opt > optSilent {
		return nil, command.Errf(command.CodeBadPacket, "1 to %d accounts, and 0 to 2 for Mute_Notifications", maxMuted)
	}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.Peer_Account)
	if err != nil {
		return nil, err
	}
	ans := &muteAnswer{ErrorList: []muteFailure{}}
	var peers []*account.Account
	for _, id := range dedupe(req.Peer_Account) {
		if a := found[id]; a == nil || a.UID == call.UID {
			ans.ErrorList = append(ans.ErrorList, muteFailure{id, command.CodeNoAccount})
		} else {
			peers = append(peers, a)
		}
	}
	if len(peers) == 0 {
		return ans, nil
	}
	slices.SortFunc(peers, func(a, b *account.Account) int { return int(a.UID - b.UID) })
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		if err := setOption(ctx, tx, call.UID, peers, opt); err != nil {
			return fmt.Errorf("message: mute: %w", err)
		}
		return tx.QueryRowContext(ctx, `INSERT INTO c2c_settings (uid, mute_seq) VALUES ($1, 1)
			ON CONFLICT (uid) DO UPDATE SET mute_seq = c2c_settings.mute_seq + 1 RETURNING mute_seq`, call.UID).Scan(&ans.UpdateSeq)
	})
	if err != nil {
		return nil, err
	}
	for _, peer := range peers {
		s.Hub.Push(call.UID, muteItem(peer, opt, ans.UpdateSeq), device(call))
	}
	return ans, nil
}

// setOption records uid's wish about peers. A wish to discard also goes to the
// pair itself, where appending sees it without another read.
func setOption(ctx context.Context, tx *sql.Tx, uid int64, peers []*account.Account, opt int) error {
	var low, high []int64 // peers with a smaller and a larger number than uid
	for _, p := range peers {
		if p.UID < uid {
			low = append(low, p.UID)
		} else {
			high = append(high, p.UID)
		}
	}
	members := values(len(peers), "($1,$%d,$2)", 2)
	uids := append(slices.Clone(low), high...)
	if _, err := tx.ExecContext(ctx, `INSERT INTO c2c_members (uid, peer, recv_opt) VALUES `+members+
		` ON CONFLICT (uid, peer) DO UPDATE SET recv_opt = excluded.recv_opt`, store.Args(uids, any(uid), any(opt))...); err != nil {
		return err
	}
	set := `discard = discard & ~%d`
	if opt == optDiscard {
		set = `discard = discard | %d`
		// Where nothing was said yet, the pair is made with both its members,
		// as the first message would.
		if _, err := tx.ExecContext(ctx, `INSERT INTO c2c_members (peer, uid) VALUES `+values(len(peers), "($1,$%d)", 1)+` ON CONFLICT DO NOTHING`,
			store.Args(uids, any(uid))...); err != nil {
			return err
		}
	}
	for _, side := range []struct {
		peers      []int64
		row, where string
		bit        int
	}{
		{low, "($%d,$1)", "hi = $1 AND lo IN ", 2},
		{high, "($1,$%d)", "lo = $1 AND hi IN ", 1},
	} {
		if len(side.peers) == 0 {
			continue
		}
		args := store.Args(side.peers, any(uid))
		bits := side.bit
		if opt == optDiscard {
			bits |= side.bit << 2
			if _, err := tx.ExecContext(ctx, `INSERT INTO c2c_pairs (lo, hi) VALUES `+values(len(side.peers), side.row, 1)+` ON CONFLICT DO NOTHING`, args...); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `UPDATE c2c_pairs SET `+fmt.Sprintf(set, bits)+` WHERE `+side.where+store.In(2, len(side.peers)), args...); err != nil {
			return err
		}
	}
	return nil
}

// values repeats row n times, with the numbers of the parameters after skip.
func values(n int, row string, skip int) string {
	out := ""
	for i := range n {
		if i > 0 {
			out += ","
		}
		out += fmt.Sprintf(row, skip+1+i)
	}
	return out
}

// muteItem tells own other devices; exactly one account an item (protocol 02
// §12.1, trap 14).
func muteItem(peer *account.Account, opt int, seq int64) []byte {
	o := wire.OpenObject(nil)
	o.Raw("To_Account", array(wire.AppendString(nil, peer.UserID)))
	o.Int("MuteNotifications", int64(opt))
	o.Int("UpdateSeq", seq)
	return noticeItem("MuteNotificationsSync", o.Close())
}

type mutedRequest struct {
	Peer_Account []string
}

type mutedPeer struct {
	Peer_Account      string
	MuteNotifications int
}

type mutedAnswer struct {
	MuteNotificationsList []mutedPeer
	UpdateSeq             int64
}

// maxMutedListed bounds the answer to v2, which asks for all.
const maxMutedListed = 5000

// muted is openim.get_c2c_peer_mute_notifications: the wishes about the peers
// asked for, or, as v2 asks, all that differ from the default (protocol 02 §12.2).
func (s *Service) muted(ctx context.Context, call *command.Call, req *mutedRequest) (*mutedAnswer, error) {
	if len(req.Peer_Account) > maxPeers {
		return nil, command.Errf(command.CodeBadPacket, "more than %d accounts", maxPeers)
	}
	ans := &mutedAnswer{MuteNotificationsList: []mutedPeer{}}
	err := s.DB.Read.QueryRowContext(ctx, `SELECT mute_seq FROM c2c_settings WHERE uid = $1`, call.UID).Scan(&ans.UpdateSeq)
	if err != nil && err != sql.ErrNoRows {
		return nil, fmt.Errorf("message: muted: %w", err)
	}
	opts, err := s.options(ctx, call.UID)
	if err != nil {
		return nil, err
	}
	if len(req.Peer_Account) > 0 {
		found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.Peer_Account)
		if err != nil {
			return nil, err
		}
		for _, id := range dedupe(req.Peer_Account) {
			if a := found[id]; a != nil {
				ans.MuteNotificationsList = append(ans.MuteNotificationsList, mutedPeer{id, opts[a.UID]})
			}
		}
		return ans, nil
	}
	uids := make([]int64, 0, len(opts))
	for uid := range opts {
		uids = append(uids, uid)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	for uid, opt := range opts {
		if a := who[uid]; a != nil {
			ans.MuteNotificationsList = append(ans.MuteNotificationsList, mutedPeer{a.UserID, opt})
		}
	}
	return ans, nil
}

// options returns uid's wishes that differ from the default, by peer.
func (s *Service) options(ctx context.Context, uid int64) (map[int64]int, error) {
	type row struct {
		peer int64
		opt  int
	}
	rows, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *row) error { return rows.Scan(&r.peer, &r.opt) },
		`SELECT peer, recv_opt FROM c2c_members WHERE uid = $1 AND recv_opt <> 0 LIMIT $2`, uid, maxMutedListed)
	if err != nil {
		return nil, fmt.Errorf("message: muted: %w", err)
	}
	opts := make(map[int64]int, len(rows))
	for _, r := range rows {
		opts[r.peer] = r.opt
	}
	return opts, nil
}

// discards reports whether uid discards what peer sends; for messages that
// never reach the log.
func (s *Service) discards(ctx context.Context, uid, peer int64) (bool, error) {
	var opt int
	err := s.DB.Read.QueryRowContext(ctx, `SELECT recv_opt FROM c2c_members WHERE uid = $1 AND peer = $2`, uid, peer).Scan(&opt)
	if err != nil && err != sql.ErrNoRows {
		return false, fmt.Errorf("message: discards: %w", err)
	}
	return opt == optDiscard, nil
}
