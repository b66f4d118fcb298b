package liveroom

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
)

type banRequest struct {
	GroupId         string
	Members_Account []string
	Duration        int64
	Description     string
	Limit, Offset   int
}

// Bounds of the commands about bans (protocol 03 §7.5, 06 §5.6).
const (
	maxBanned      = 20
	maxBanList     = 100
	maxDescription = 1000 // bytes
	maxDuration    = 1 << 32
)

// target checks a command about bans and finds the room and the accounts,
// whom the caller may ban.
func (s *Service) target(ctx context.Context, call *command.Call, groupID string, ids []string, most int) (*group.Info, []*account.Account, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, groupID)
	if err != nil {
		return nil, nil, err
	}
	if g.Kind != group.LiveRoom {
		return nil, nil, errNotLive
	}
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return nil, nil, err
	}
	role := rules.caller(call, g)
	if !group.May(group.LiveRoom, role, group.Ban, group.Ordinary, false) {
		return nil, nil, errNoPermission
	}
	if len(ids) == 0 || len(ids) > most {
		return nil, nil, command.Errf(group.CodeBadParameter, "1 to %d accounts", most)
	}
	found, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, nil, err
	}
	list := make([]*account.Account, 0, len(ids))
	seen := make(map[int64]bool, len(ids))
	for _, id := range ids {
		a := found[id]
		if a == nil {
			return nil, nil, command.Err(group.CodeUnknownUser, "an account does not exist")
		}
		if a.UID == call.UID || !group.May(group.LiveRoom, role, group.Ban, rules.role(g, a.UID), false) {
			return nil, nil, errNoPermission
		}
		if !seen[a.UID] {
			seen[a.UID] = true
			list = append(list, a)
		}
	}
	return g, list, nil
}

// ban is ban_group_member: out, and not in again for a time (protocol 03 §7.5).
func (s *Service) ban(ctx context.Context, call *command.Call, req *banRequest) (command.Empty, error) {
	if req.Duration <= 0 || req.Duration > maxDuration || len(req.Description) > maxDescription {
		return command.Empty{}, command.Err(group.CodeBadParameter, "Duration or Description is out of range")
	}
	if !call.App.LiveRooms.Ban {
		return command.Empty{}, command.Err(group.CodeNoPermission, "the app has no bans")
	}
	g, list, err := s.target(ctx, call, req.GroupId, req.Members_Account, maxBanned)
	if err != nil {
		return command.Empty{}, err
	}
	args := make([]any, 0, len(list)*3)
	until := s.Now().Unix() + req.Duration
	for _, a := range list {
		args = append(args, g.GID, a.UID, until)
	}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO group_bans (gid, uid, until) VALUES `+rows(3, len(list))+`
			ON CONFLICT (gid, uid) DO UPDATE SET until = excluded.until`, args...)
		return err
	})
	if err != nil {
		return command.Empty{}, fmt.Errorf("liveroom: ban: %w", err)
	}
	s.Groups.Forget(g.GID)
	for _, a := range list {
		s.notify(g, a, noticeBody{ReportType: noticeBanned, Operator_Account: call.UserID, BanDuration: req.Duration, BanDescription: req.Description},
			fanout.Device{})
		s.remove(ctx, g, a.UID)
	}
	s.tipBy(g, tipBanned, s.by(ctx, call), list)
	return command.Empty{}, nil
}

// unban is unban_group_member.
func (s *Service) unban(ctx context.Context, call *command.Call, req *banRequest) (command.Empty, error) {
	g, list, err := s.target(ctx, call, req.GroupId, req.Members_Account, maxBanned)
	if err != nil {
		return command.Empty{}, err
	}
	uids := make([]int64, len(list))
	for i, a := range list {
		uids[i] = a.UID
	}
	if _, err := s.DB.Write.ExecContext(ctx, `DELETE FROM group_bans WHERE gid = $1 AND uid IN `+store.In(2, len(uids)), store.Args(uids, any(g.GID))...); err != nil {
		return command.Empty{}, fmt.Errorf("liveroom: unban: %w", err)
	}
	s.Groups.Forget(g.GID)
	s.tipBy(g, tipUnbanned, s.by(ctx, call), list)
	return command.Empty{}, nil
}

// by is the caller as tips show it.
func (s *Service) by(ctx context.Context, call *command.Call) person {
	if call.UID != 0 {
		if a, err := s.Accounts.ByUID(ctx, call.UID); err == nil {
			return personOf(a)
		}
	}
	return person{UserId: call.UserID}
}

type bannedItem struct {
	Member_Account string
	BannedUntil    int64
}

type bannedAnswer struct {
	BannedAccountList []bannedItem
	NextOffset        int
}

// banned is get_group_ban_member.
func (s *Service) banned(ctx context.Context, call *command.Call, req *banRequest) (*bannedAnswer, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind != group.LiveRoom {
		return nil, errNotLive
	}
	limit := maxBanList
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	type entry struct{ uid, until int64 }
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, e *entry) error { return rows.Scan(&e.uid, &e.until) },
		`SELECT uid, until FROM group_bans WHERE gid = $1 AND until > $2 ORDER BY uid LIMIT $3 OFFSET $4`,
		g.GID, s.Now().Unix(), limit+1, max(req.Offset, 0))
	if err != nil {
		return nil, fmt.Errorf("liveroom: banned: %w", err)
	}
	ans := &bannedAnswer{BannedAccountList: []bannedItem{}}
	if len(list) > limit {
		list = list[:limit]
		ans.NextOffset = max(req.Offset, 0) + limit
	}
	uids := make([]int64, len(list))
	for i, e := range list {
		uids[i] = e.uid
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if a := who[e.uid]; a != nil {
			ans.BannedAccountList = append(ans.BannedAccountList, bannedItem{a.UserID, e.until})
		}
	}
	return ans, nil
}

// rows returns count rows of width placeholders, from $1 on.
func rows(width, count int) string {
	b := make([]byte, 0, count*width*4)
	for i := range count {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, store.In(1+i*width, width)...)
	}
	return string(b)
}
