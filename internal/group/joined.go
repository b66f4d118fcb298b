package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/wire"
)

type joinedRequest struct {
	Member_Account    string
	Limit             int
	Offset            int
	SupportTopic      int
	Type              string // lite: Community
	GroupType         string
	ResponseFilter    *responseFilter
	NeedAppDefineData int
}

// Which groups of the user $1 a list holds: all but communities, communities
// without topics, and those with.
const (
	joinedGroups  = `m.uid = $1 AND g.kind <> 4`
	joinedPlain   = `m.uid = $1 AND g.kind = 4 AND g.support_topic = 0`
	joinedTopical = `m.uid = $1 AND g.kind = 4 AND g.support_topic = 1`
)

const joinedFrom = ` FROM group_members m JOIN groups g ON g.gid = m.gid WHERE `

// joinedRow is a group and what its member has of it.
type joinedRow struct {
	info Info
	row
}

func scanJoined(from store.Row, r *joinedRow) error {
	return scanInfo(from.Scan, &r.info, &r.Role, &r.JoinedAt, &r.Receive, &r.readSeq)
}

func joinedQuery(where string) string {
	return `SELECT ` + infoColumns + `, m.role, m.joined_at, m.recv_opt, m.read_seq` + joinedFrom + where + ` ORDER BY m.gid LIMIT $2 OFFSET $3`
}

// joinedRows reads a page of groups. Users who log in at the same time share
// the query; an administrator's condition may be any.
func (s *Service) joinedRows(ctx context.Context, where string, uid int64, limit, offset int) ([]joinedRow, error) {
	if e := s.lists[where]; e != nil {
		return e.Of(ctx, []int64{uid}, limit, offset)
	}
	return store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *joinedRow) error { return scanJoined(rows, r) }, joinedQuery(where), uid, limit, offset)
}

type joinedAnswer struct {
	TotalCount  int
	GroupIdList []json.RawMessage
}

// Pages of the joined list: what a client gets at most, and an administrator
// (protocol 03 §4.1, 06 §5.6).
const (
	maxJoinedPage     = 500
	maxRESTJoinedPage = 5000
)

// joined is get_joined_group_list. The service name alone tells whether
// communities or the other groups are meant, and SupportTopic which
// communities (protocol 03 §4.1): a fixed number of queries whatever the number.
func (s *Service) joined(ctx context.Context, call *command.Call, req *joinedRequest) (*joinedAnswer, error) {
	uid := call.UID
	limit := maxJoinedPage
	where := joinedGroups
	if call.Kind == command.Admins {
		a, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Member_Account)
		if err != nil {
			return nil, errUnknownUser
		}
		uid, limit = a.UID, maxRESTJoinedPage
		if where, err = restCategory(req); err != nil {
			return nil, err
		}
	} else if strings.HasPrefix(call.Name, communityService) {
		if !call.App.Community {
			return nil, command.Err(CodeCommunityOff, "the app has no communities")
		}
		where = [2]string{joinedPlain, joinedTopical}[min(max(req.SupportTopic, 0), 1)]
	}
	if req.Limit > 0 && req.Limit < limit {
		limit = req.Limit
	}
	list, err := s.joinedRows(ctx, where, uid, limit, max(req.Offset, 0))
	if err != nil {
		return nil, fmt.Errorf("group: joined list: %w", err)
	}
	ans := &joinedAnswer{TotalCount: max(req.Offset, 0) + len(list), GroupIdList: []json.RawMessage{}}
	if len(list) == limit || len(list) == 0 && req.Offset > 0 { // there may be others
		err := s.DB.Read.QueryRowContext(ctx, `SELECT count(*)`+joinedFrom+where, uid).Scan(&ans.TotalCount)
		if err != nil {
			return nil, fmt.Errorf("group: joined list: %w", err)
		}
	}
	if len(list) == 0 {
		return ans, nil
	}
	groups := make([]*Info, len(list))
	for i := range list {
		groups[i] = &list[i].info
	}
	profiles, err := s.profiles(ctx, groups)
	if err != nil {
		return nil, err
	}
	for i := range list {
		ans.GroupIdList = append(ans.GroupIdList, s.joinedItem(&profiles[i], &list[i].row, req, call.Kind == command.Admins))
	}
	return ans, nil
}

// restCategory is the WHERE clause of an administrator's request.
func restCategory(req *joinedRequest) (string, error) {
	name := req.GroupType
	if name == "" {
		name = req.Type
	}
	where := `m.uid = $1`
	if name != "" {
		kind, ok := ParseKind(name)
		if !ok {
			return "", command.Err(CodeBadParameter, "GroupType is not a type of group")
		}
		where += fmt.Sprintf(` AND g.kind = %d`, kind)
	}
	return where, nil
}

func (s *Service) joinedItem(p *profile, m *row, req *joinedRequest, admin bool) json.RawMessage {
	o := wire.OpenObject(make([]byte, 0, 640))
	o.Str("GroupId", p.ID)
	if admin && req.ResponseFilter == nil {
		return o.Close()
	}
	var base, self filter
	if req.ResponseFilter != nil {
		base, self = req.ResponseFilter.GroupBaseInfoFilter, req.ResponseFilter.SelfInfoFilter
	}
	if base != nil {
		if !base.wants("Type") {
			base = append(slices.Clip(base), "Type")
		}
		// The list's own name of mute-all; the other is not read here (protocol 03 trap 4).
		if base.wants("ShutUpAllMember") {
			base = append(slices.Clip(base), "MuteAllMember")
		}
	}
	p.appendBase(&o, base)
	if p.Kind == Community {
		o.Flag("SupportTopic", p.SupportTopic)
	}
	if req.NeedAppDefineData == 1 || admin {
		o.Raw("AppDefinedData", marshal(customList(p.Custom, nil)))
	}
	info := wire.OpenObject(nil)
	if self.wants("Role") {
		info.Str("Role", m.Role.String())
	}
	if self.wants("JoinTime") {
		info.Int("JoinTime", m.JoinedAt)
	}
	if self.wants("MsgFlag") {
		info.Str("MsgFlag", m.Receive.String())
	}
	if self.wants("MsgSeq") {
		info.Int("MsgSeq", m.readSeq)
	}
	o.Raw("SelfInfo", info.Close())
	return o.Close()
}

type onlineAnswer struct {
	OnlineMemberNum int
	ExpireTime      int
}

// onlineNum is get_online_member_num; of a live room those present, and also
// for visitors without an account (protocol 03 §4.5).
func (s *Service) onlineNum(ctx context.Context, call *command.Call, req *groupRequest) (*onlineAnswer, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	ans := &onlineAnswer{ExpireTime: 60}
	if g.Kind == LiveRoom {
		if s.Rooms != nil {
			ans.OnlineMemberNum, err = s.Rooms.Count(ctx, g.GID)
		}
		return ans, err
	}
	if call.Kind == command.Anonymous {
		return nil, errNoPermission
	}
	if _, _, err := s.member(ctx, call, req.GroupId); err != nil {
		return nil, err
	}
	ans.OnlineMemberNum, err = s.onlineMembers(ctx, g)
	return ans, err
}
