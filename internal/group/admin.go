package group

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

type allRequest struct {
	Limit     int
	Next      int64
	GroupType string
	Type      string
}

type groupIDItem struct {
	GroupId string
}

type allAnswer struct {
	TotalCount  int
	GroupIdList []groupIDItem
	Next        int64 // 0 is the end
}

// maxAllPage bounds a page of the app's groups (protocol 06 §5.6).
const maxAllPage = 10_000

// allGroups is get_appid_group_list.
func (s *Service) allGroups(ctx context.Context, call *command.Call, req *allRequest) (*allAnswer, error) {
	name := req.GroupType
	if name == "" {
		name = req.Type
	}
	where := ` FROM groups g WHERE g.app = $1 AND g.kind `
	if name == "" {
		where += `< ` + strconv.Itoa(int(Topic))
	} else {
		kind, ok := ParseKind(name)
		if !ok {
			return nil, command.Err(CodeBadParameter, "GroupType is not a type of group")
		}
		where += `= ` + strconv.Itoa(int(kind))
	}
	limit := maxAllPage
	if req.Limit > 0 {
		limit = min(req.Limit, limit)
	}
	ans := &allAnswer{GroupIdList: []groupIDItem{}}
	if err := s.DB.Read.QueryRowContext(ctx, `SELECT count(*)`+where, call.App.SDKAppID).Scan(&ans.TotalCount); err != nil {
		return nil, fmt.Errorf("group: all groups: %w", err)
	}
	type found struct {
		gid int64
		id  string
	}
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, f *found) error { return rows.Scan(&f.gid, &f.id) },
		`SELECT g.gid, g.group_id`+where+` AND g.gid > $2 ORDER BY g.gid LIMIT $3`, call.App.SDKAppID, req.Next, limit+1)
	if err != nil {
		return nil, fmt.Errorf("group: all groups: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		ans.Next = list[limit-1].gid
	}
	for _, f := range list {
		ans.GroupIdList = append(ans.GroupIdList, groupIDItem{f.id})
	}
	return ans, nil
}

type rolesRequest struct {
	GroupId         string
	User_Account    []string
	Members_Account []string
	TopicId         string
	ShutUpTime      *int64
	MuteTime        *int64
}

type roleItem struct {
	Member_Account string
	Role           string
}

type rolesAnswer struct {
	UserIdList []roleItem
}

// roles is get_role_in_group.
func (s *Service) roles(ctx context.Context, call *command.Call, req *rolesRequest) (*rolesAnswer, error) {
	if len(req.User_Account) > maxProfiles {
		return nil, command.Errf(CodeTooMany, "more than %d accounts", maxProfiles)
	}
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	accounts, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.User_Account)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	found, err := s.membersOf(ctx, g, uids)
	if err != nil {
		return nil, err
	}
	ans := &rolesAnswer{UserIdList: make([]roleItem, 0, len(req.User_Account))}
	for _, id := range req.User_Account {
		role := Nobody
		if a := accounts[id]; a != nil && found[a.UID] != nil {
			role = found[a.UID].Role
		}
		ans.UserIdList = append(ans.UserIdList, roleItem{id, role.String()})
	}
	return ans, nil
}

// forbid is forbid_send_msg: it mutes members, and those who are none for the
// day they come (protocol 06 §5.6).
func (s *Service) forbid(ctx context.Context, call *command.Call, req *rolesRequest) (command.Empty, error) {
	if len(req.Members_Account) == 0 || len(req.Members_Account) > maxProfiles {
		return command.Empty{}, command.Errf(CodeBadParameter, "Members_Account has 1 to %d accounts", maxProfiles)
	}
	seconds := firstOf(req.MuteTime, req.ShutUpTime)
	if seconds == nil {
		return command.Empty{}, command.Err(CodeBadParameter, "MuteTime is missing")
	}
	accounts, err := s.accountsFor(ctx, call.App.SDKAppID, req.Members_Account)
	if err != nil {
		return command.Empty{}, err
	}
	until, err := muteEnd(s.Now().Unix(), *seconds)
	if err != nil {
		return command.Empty{}, err
	}
	var topic *Info
	if req.TopicId != "" {
		if topic, err = s.Groups.Topic(ctx, call.App.SDKAppID, req.TopicId); err != nil {
			return command.Empty{}, err
		}
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := may(g, Above, Mute); err != nil {
			return err
		}
		if topic != nil {
			if err := hasTopic(ctx, tx, g, topic); err != nil {
				return err
			}
		}
		for _, a := range accounts {
			out.touched = append(out.touched, a.UID)
		}
		about := g
		if topic != nil {
			about = topic
		}
		if g.Kind.Settings(call.App).MuteTips {
			out.tips = append(out.tips, s.muteTip(ctx, about, act, *seconds, accounts...))
		}
		return mute(ctx, tx, g, topic, accounts, until)
	})
	return command.Empty{}, err
}

// mute stores the end of a mute, for members with their row and for others
// until they come.
func mute(ctx context.Context, tx *sql.Tx, g, topic *Info, accounts []*account.Account, until int64) error {
	if topic != nil {
		for _, a := range accounts { // at most 500, by an administrator
			if err := setTopicMember(ctx, tx, topic.GID, a.UID, "muted_until", until); err != nil {
				return err
			}
		}
		return nil
	}
	args := []any{g.GID, until}
	rows := make([]any, 0, len(accounts)*3)
	for _, a := range accounts {
		args = append(args, a.UID)
		rows = append(rows, g.GID, a.UID, until)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE group_members SET muted_until = $2 WHERE gid = $1 AND uid IN `+store.In(3, len(accounts)), args...); err != nil {
		return fmt.Errorf("group: mute: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO group_mutes (gid, uid, until) VALUES `+values(1, 3, len(accounts))+`
		ON CONFLICT (gid, uid) DO UPDATE SET until = excluded.until`, rows...); err != nil {
		return fmt.Errorf("group: mute: %w", err)
	}
	return nil
}

type mutedItem struct {
	Member_Account string
	MutedUntil     int64
	ShuttedUntil   int64
}

type mutedAnswer struct {
	GroupId          string
	MutedAccountList []mutedItem
	ShuttedUinList   []mutedItem
}

// maxMuted bounds the list of muted members.
const maxMuted = 10_000

// muted is get_group_muted_account, and the older get_group_shutted_uin: both
// spellings in one answer (protocol 06 §3).
func (s *Service) muted(ctx context.Context, call *command.Call, req *rolesRequest) (*mutedAnswer, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	query, id := `SELECT uid, muted_until FROM group_members WHERE gid = $1 AND muted_until > $2 ORDER BY uid LIMIT $3`, g.GID
	if req.TopicId != "" {
		t, err := s.Groups.Topic(ctx, call.App.SDKAppID, req.TopicId)
		if err != nil {
			return nil, err
		}
		query, id = `SELECT uid, muted_until FROM topic_members WHERE tid = $1 AND muted_until > $2 ORDER BY uid LIMIT $3`, t.GID
	}
	if g.Kind == LiveRoom { // watchers are in no table
		query = `SELECT uid, until FROM group_mutes WHERE gid = $1 AND until > $2 ORDER BY uid LIMIT $3`
	}
	type until struct{ uid, until int64 }
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, u *until) error { return rows.Scan(&u.uid, &u.until) },
		query, id, s.Now().Unix(), maxMuted)
	if err != nil {
		return nil, fmt.Errorf("group: muted: %w", err)
	}
	uids := make([]int64, len(list))
	for i, u := range list {
		uids[i] = u.uid
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	ans := &mutedAnswer{GroupId: g.ID, MutedAccountList: []mutedItem{}}
	for _, u := range list {
		if a := who[u.uid]; a != nil {
			ans.MutedAccountList = append(ans.MutedAccountList, mutedItem{a.UserID, u.until, u.until})
		}
	}
	ans.ShuttedUinList = ans.MutedAccountList
	return ans, nil
}

type notificationRequest struct {
	GroupId           string
	Content           string
	ToMembers_Account []string
	TopicId           string
}

// systemNotification is send_group_system_notification: a notice of report
// type 255 to members who are online (protocol 06 §5.6).
func (s *Service) systemNotification(ctx context.Context, call *command.Call, req *notificationRequest) (command.Empty, error) {
	if req.Content == "" {
		return command.Empty{}, command.Err(CodeBadParameter, "Content is empty")
	}
	if err := checkText("Content", req.Content, call.App.MessageBytes); err != nil {
		return command.Empty{}, err
	}
	if len(req.ToMembers_Account) > maxProfiles {
		return command.Empty{}, command.Errf(CodeTooMany, "more than %d accounts", maxProfiles)
	}
	id := req.GroupId
	if req.TopicId != "" {
		id = req.TopicId
	}
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, id)
	if err != nil {
		return command.Empty{}, err
	}
	n := notice{body: noticeBody{ReportType: noticeCustom, Operator_Account: call.UserID, UserDefinedField: req.Content}}
	if len(req.ToMembers_Account) > 0 {
		if n.to, err = s.chosen(ctx, g, req.ToMembers_Account); err != nil || len(n.to) == 0 {
			return command.Empty{}, err
		}
	}
	if g.Kind == LiveRoom && n.to == nil {
		if s.Rooms == nil {
			return command.Empty{}, errNotForKind
		}
		s.Rooms.Tell(ctx, g, 5, marshal(n.body))
		return command.Empty{}, nil
	}
	s.publishNotice(g, &n, actorOf(call).device)
	return command.Empty{}, nil
}

// chosen returns the members among the named accounts.
func (s *Service) chosen(ctx context.Context, g *Info, ids []string) ([]int64, error) {
	accounts, err := s.Accounts.LookupAll(ctx, g.App, ids)
	if err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	if g.Kind == LiveRoom {
		return uids, nil
	}
	found, err := s.Groups.MembersOf(ctx, g.HubID(), uids)
	if err != nil {
		return nil, err
	}
	in := uids[:0]
	for _, uid := range uids {
		if found[uid] != nil {
			in = append(in, uid)
		}
	}
	return in, nil
}
