package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

type membersRequest struct {
	GroupId                          string
	Limit                            int
	Offset                           int
	Next                             string
	MemberRoleFilter                 []string
	MemberInfoFilter                 []string
	AppDefinedDataFilter_GroupMember []string
	Member_List_Account              []string
}

type membersAnswer struct {
	GroupId    string `json:",omitempty"`
	MemberNum  int
	MemberList []json.RawMessage
	Next       *string `json:",omitempty"` // communities only (protocol 03 §7.1)
}

// memberList is get_group_member_info: owner, admins, then the others by the
// time they came. Communities page with a cursor, other groups by offset.
func (s *Service) memberList(ctx context.Context, call *command.Call, req *membersRequest) (*membersAnswer, error) {
	g, _, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind == LiveRoom {
		return nil, command.Err(command.CodeUnknownCommand, "live rooms list their watchers by another command")
	}
	if g.Kind == Topic {
		return nil, errBadID
	}
	roles, err := parseRoles(req.MemberRoleFilter)
	if err != nil {
		return nil, err
	}
	limit := maxPage
	if call.Kind == command.Admins && g.Kind != Community {
		limit = maxRESTPage
	}
	if req.Limit > 0 {
		limit = min(req.Limit, limit)
	}
	ans := &membersAnswer{MemberNum: g.MemberNum}
	var list []row
	if g.Kind == Community {
		var next string
		if list, next, err = s.pageAfter(ctx, g.GID, roles, req.Next, limit); err != nil {
			return nil, err
		}
		ans.Next = &next
	} else if list, err = s.page(ctx, g.GID, roles, max(req.Offset, 0), limit); err != nil {
		return nil, err
	}
	ans.MemberList, err = s.objects(ctx, list, req.MemberInfoFilter, req.AppDefinedDataFilter_GroupMember)
	return ans, err
}

func parseRoles(names []string) ([]Role, error) {
	var roles []Role
	for _, n := range names {
		switch n {
		case "Owner":
			roles = append(roles, Owner)
		case "Admin":
			roles = append(roles, Admin)
		case "Member":
			roles = append(roles, Ordinary)
		default:
			return nil, command.Err(CodeBadParameter, "MemberRoleFilter holds an unknown role")
		}
	}
	slices.SortFunc(roles, func(a, b Role) int { return int(b - a) })
	return slices.Compact(roles), nil
}

// page returns members by offset; roles nil is all.
func (s *Service) page(ctx context.Context, gid int64, roles []Role, offset, limit int) ([]row, error) {
	if roles == nil {
		roles = []Role{Owner, Admin, Ordinary}
	}
	list, err := store.Collect(ctx, s.DB.Read, scanRow, `SELECT `+rowColumns+` FROM group_members m WHERE m.gid = $1 AND m.role IN `+
		store.In(4, len(roles))+` ORDER BY m.role DESC, m.joined_at, m.uid LIMIT $2 OFFSET $3`, store.Args(roles, any(gid), any(limit), any(offset))...)
	if err != nil {
		return nil, fmt.Errorf("group: member list: %w", err)
	}
	return list, nil
}

// pageAfter returns members behind a cursor "role.joined.uid", which a
// newcomer cannot shift; "" ends. One query for each role at most.
func (s *Service) pageAfter(ctx context.Context, gid int64, roles []Role, cursor string, limit int) ([]row, string, error) {
	if roles == nil {
		roles = []Role{Owner, Admin, Ordinary}
	}
	from, joined, uid := Owner, int64(-1), int64(-1)
	if cursor != "" && cursor != "0" {
		parts := strings.Split(cursor, ".")
		var n [3]int64
		for i := range n {
			var err error
			if len(parts) != 3 {
				return nil, "", command.Err(CodeBadParameter, "Next is not a cursor of this list")
			}
			if n[i], err = strconv.ParseInt(parts[i], 10, 64); err != nil || n[i] < 0 {
				return nil, "", command.Err(CodeBadParameter, "Next is not a cursor of this list")
			}
		}
		from, joined, uid = Role(min(n[0], int64(Owner))), n[1], n[2]
	}
	var list []row
	for _, role := range roles {
		if role > from || len(list) > limit {
			continue
		}
		if role < from {
			joined, uid = -1, -1
		}
		more, err := store.Collect(ctx, s.DB.Read, scanRow, `SELECT `+rowColumns+` FROM group_members m WHERE m.gid = $1 AND m.role = $2
			AND (m.joined_at, m.uid) > ($3, $4) ORDER BY m.joined_at, m.uid LIMIT $5`, gid, role, joined, uid, limit+1-len(list))
		if err != nil {
			return nil, "", fmt.Errorf("group: member list: %w", err)
		}
		list = append(list, more...)
	}
	if len(list) <= limit {
		return list, "", nil
	}
	list = list[:limit]
	last := list[limit-1]
	return list, fmt.Sprintf("%d.%d.%d", last.Role, last.JoinedAt, last.UID), nil
}

// objects renders members with the fields asked for; nil is all.
func (s *Service) objects(ctx context.Context, list []row, f filter, custom []string) ([]json.RawMessage, error) {
	uids := make([]int64, len(list))
	for i := range list {
		uids[i] = list[i].UID
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	var online map[int64]bool
	if f.wants("OnlineStatus") && len(uids) <= maxProfiles {
		if online, err = s.onlineAmong(ctx, uids); err != nil {
			return nil, err
		}
	}
	out := make([]json.RawMessage, 0, len(list))
	for i := range list {
		a := who[list[i].UID]
		if a == nil {
			continue // the account was deleted
		}
		item := list[i].object(a.UserID, f, custom)
		if online != nil {
			state := "Offline"
			if online[a.UID] {
				state = "Online"
			}
			item = append(item[:len(item)-1], `,"OnlineStatus":"`+state+`"}`...)
		}
		out = append(out, item)
	}
	return out, nil
}

// memberProfiles is get_specified_group_member_info: those who are no members
// are left out (protocol 03 §7.2).
func (s *Service) memberProfiles(ctx context.Context, call *command.Call, req *membersRequest) (*membersAnswer, error) {
	limit := maxProfiles
	if call.Kind != command.Admins {
		limit = maxUserProfiles
	}
	if len(req.Member_List_Account) > limit {
		return nil, command.Errf(CodeTooMany, "more than %d accounts", limit)
	}
	g, _, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	ans := &membersAnswer{GroupId: g.ID, MemberNum: g.MemberNum, MemberList: []json.RawMessage{}}
	accounts, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.Member_List_Account)
	if err != nil || len(accounts) == 0 {
		return ans, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	var list []row
	if g.Kind == LiveRoom {
		list, err = s.watchers(ctx, g, uids)
	} else if list, err = store.Collect(ctx, s.DB.Read, scanRow, `SELECT `+rowColumns+` FROM group_members m WHERE m.gid = $1 AND m.uid IN `+
		store.In(2, len(uids))+` ORDER BY m.role DESC, m.joined_at, m.uid`, store.Args(uids, any(g.GID))...); err != nil {
		err = fmt.Errorf("group: member profiles: %w", err)
	}
	if err != nil {
		return nil, err
	}
	ans.MemberList, err = s.objects(ctx, list, req.MemberInfoFilter, req.AppDefinedDataFilter_GroupMember)
	return ans, err
}

// onlinePage is how many members are asked about at once.
const onlinePage = 1000

// How long a count of those online is good, as in the hosted service, and of
// how many groups it is kept.
const (
	onlineFor    = 10 * time.Second
	onlineGroups = 10_000
)

// onlineMembers counts the members with a live connection.
func (s *Service) onlineMembers(ctx context.Context, g *Info) (int, error) {
	if n, ok := s.online.Get(g.GID); ok {
		return n, nil
	}
	n := 0
	for after := int64(0); ; {
		uids, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
			`SELECT uid FROM group_members WHERE gid = $1 AND uid > $2 ORDER BY uid LIMIT $3`, g.GID, after, onlinePage)
		if err != nil {
			return 0, fmt.Errorf("group: online members: %w", err)
		}
		if len(uids) == 0 {
			s.online.Add(g.GID, n)
			return n, nil
		}
		online, err := s.onlineAmong(ctx, uids)
		if err != nil {
			return 0, err
		}
		for _, is := range online {
			if is {
				n++
			}
		}
		after = uids[len(uids)-1]
	}
}

// onlineAmong asks who is online; without anybody to ask it looks at the
// connections of this node.
func (s *Service) onlineAmong(ctx context.Context, uids []int64) (map[int64]bool, error) {
	if s.Presence != nil {
		return s.Presence.Online(ctx, uids)
	}
	here := make(map[int64]bool, len(uids))
	for _, uid := range uids {
		here[uid] = s.Hub.Subscribers(fanout.User(uid)) > 0
	}
	return here, nil
}
