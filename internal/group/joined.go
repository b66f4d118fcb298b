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
	Member_Account    string //nolint:revive // the protocol's spelling
	Limit             int
	Offset            int
	SupportTopic      int
	Type              string // lite: Community
	GroupType         string
	ResponseFilter    *responseFilter
	NeedAppDefineData int
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
// communities (protocol 03 §4.1): four queries whatever the number.
func (s *Service) joined(ctx context.Context, call *command.Call, req *joinedRequest) (*joinedAnswer, error) {
	uid, userID := call.UID, call.UserID
	limit := maxJoinedPage
	where := `m.uid = $1 AND g.kind <> 4`
	if call.Kind == command.Admins {
		a, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Member_Account)
		if err != nil {
			return nil, errUnknownUser
		}
		uid, userID, limit = a.UID, a.UserID, maxRESTJoinedPage
		if where, err = restCategory(req); err != nil {
			return nil, err
		}
	} else if strings.HasPrefix(call.Name, communityService) {
		if !call.App.Community {
			return nil, command.Err(CodeCommunityOff, "the app has no communities")
		}
		where = `m.uid = $1 AND g.kind = 4 AND g.support_topic = ` + [2]string{"0", "1"}[min(max(req.SupportTopic, 0), 1)]
	}
	if req.Limit > 0 && req.Limit < limit {
		limit = req.Limit
	}
	from := ` FROM group_members m JOIN groups g ON g.gid = m.gid WHERE ` + where
	ans := &joinedAnswer{GroupIdList: []json.RawMessage{}}
	if err := s.DB.Read.QueryRowContext(ctx, `SELECT count(*)`+from, uid).Scan(&ans.TotalCount); err != nil {
		return nil, fmt.Errorf("group: joined list: %w", err)
	}
	if ans.TotalCount == 0 {
		return ans, nil
	}
	type joinedRow struct {
		info Info
		row
	}
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *joinedRow) error {
		return scanInfo(rows.Scan, &r.info, &r.Role, &r.JoinedAt, &r.Receive, &r.readSeq)
	}, `SELECT `+infoColumns+`, m.role, m.joined_at, m.recv_opt, m.read_seq`+from+` ORDER BY m.gid LIMIT $2 OFFSET $3`, uid, limit, max(req.Offset, 0))
	if err != nil {
		return nil, fmt.Errorf("group: joined list: %w", err)
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
		ans.GroupIdList = append(ans.GroupIdList, s.joinedItem(&profiles[i], &list[i].row, userID, req, call.Kind == command.Admins))
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

func (s *Service) joinedItem(p *profile, m *row, userID string, req *joinedRequest, admin bool) json.RawMessage {
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
