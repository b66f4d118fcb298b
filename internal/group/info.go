package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/wire"
)

// filter are the field names that a request asks for; nil asks for all.
type filter []string

func (f filter) wants(name string) bool { return f == nil || slices.Contains(f, name) }

// responseFilter is ResponseFilter (protocol 03 §4).
type responseFilter struct {
	GroupBaseInfoFilter              []string
	GroupBasePublicInfoFilter        []string
	MemberInfoFilter                 []string
	SelfInfoFilter                   []string
	AppDefinedDataFilter_Group       []string
	AppDefinedDataFilter_GroupMember []string
}

// profile is a group with what stands beside its row.
type profile struct {
	*Info
	head  Head
	owner string // user ID
}

// appendBase adds the base fields that f asks for. Fields that were not asked
// for must stay out: the SDK takes them as news (protocol 03 §4.2).
func (p *profile) appendBase(o *wire.Object, f filter) {
	str := func(name, value string) {
		if f.wants(name) {
			o.Str(name, value)
		}
	}
	num := func(name string, value int64) {
		if f.wants(name) {
			o.Int(name, value)
		}
	}
	str("Type", p.Kind.String())
	str("Name", p.Name)
	str("Introduction", p.Introduction)
	str("Notification", p.Notification)
	str("FaceUrl", p.FaceURL)
	str("Owner_Account", p.owner)
	num("CreateTime", p.CreatedAt)
	num("InfoSeq", p.InfoSeq)
	num("LastInfoTime", p.InfoTime)
	num("LastMsgTime", p.head.LastTime)
	num("NextMsgSeq", p.head.LastSeq+1)
	num("MemberNum", int64(p.MemberNum))
	num("MaxMemberNum", int64(p.MaxMembers))
	str("ApplyJoinOption", p.Apply.ApplyName())
	str("InviteJoinOption", p.Invite.InviteName())
	str("ShutUpAllMember", onOff(p.MuteAll))
	str("MuteAllMember", onOff(p.MuteAll))
	num("LastRecallTime", p.head.LastRecall)
}

func onOff(on bool) string {
	if on {
		return "On"
	}
	return "Off"
}

// profiles adds heads and owners to groups, with one query each at most.
func (s *Service) profiles(ctx context.Context, groups []*Info) ([]profile, error) {
	gids := make([]int64, len(groups))
	owners := make([]int64, 0, len(groups))
	for i, g := range groups {
		gids[i] = g.GID
		if g.Owner != 0 {
			owners = append(owners, g.Owner)
		}
	}
	heads, err := s.Messages.Heads(ctx, gids)
	if err != nil {
		return nil, err
	}
	who, err := s.Accounts.ByUIDs(ctx, owners)
	if err != nil {
		return nil, err
	}
	list := make([]profile, len(groups))
	for i, g := range groups {
		list[i] = profile{Info: g, head: heads[g.GID]}
		if a := who[g.Owner]; a != nil {
			list[i].owner = a.UserID
		}
		if g.Kind == LiveRoom && s.Rooms != nil {
			if list[i].Info, err = s.counted(ctx, g); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// counted returns a live room with the number of its watchers.
func (s *Service) counted(ctx context.Context, g *Info) (*Info, error) {
	n, err := s.Rooms.Count(ctx, g.GID)
	if err != nil {
		return nil, err
	}
	with := *g
	with.MemberNum = n
	return &with, nil
}

type infoRequest struct {
	GroupIdList               []string
	ResponseFilter            responseFilter
	GroupBasePublicInfoFilter []string // lite sends it here
}

type infoAnswer struct {
	GroupInfo []json.RawMessage
}

func refusedItem(id string, err error) json.RawMessage {
	code := command.CodeOf(err)
	o := wire.OpenObject(nil)
	o.Str("GroupId", id)
	o.Int("ErrorCode", int64(code))
	if e, ok := err.(*command.Error); ok {
		o.Str("ErrorInfo", e.Info)
	} else {
		o.Str("ErrorInfo", command.Text(code))
	}
	return o.Close()
}

func openItem(id string) wire.Object {
	o := wire.OpenObject(make([]byte, 0, 512))
	o.Str("GroupId", id)
	o.Int("ErrorCode", 0)
	o.Str("ErrorInfo", "")
	return o
}

// listed finds the groups of a request and calls item for each, in order; an
// error of item is the item's own.
func (s *Service) listed(ctx context.Context, call *command.Call, ids []string, item func(p *profile) (json.RawMessage, error)) (*infoAnswer, error) {
	if len(ids) > maxGroupIDs {
		return nil, command.Errf(CodeTooMany, "more than %d groups", maxGroupIDs)
	}
	if len(ids) == 0 {
		return nil, command.Err(CodeBadParameter, "GroupIdList is empty")
	}
	found, err := s.Groups.Groups(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	groups := make([]*Info, 0, len(found))
	for _, g := range found {
		if g.Kind != Topic {
			groups = append(groups, g)
		}
	}
	list, err := s.profiles(ctx, groups)
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*profile, len(list))
	for i := range list {
		byID[list[i].ID] = &list[i]
	}
	ans := &infoAnswer{GroupInfo: make([]json.RawMessage, 0, len(ids))}
	for _, id := range ids {
		p := byID[id]
		if p == nil {
			refusal := errNoGroup
			if !plausibleID(id) {
				refusal = errBadID
			}
			ans.GroupInfo = append(ans.GroupInfo, refusedItem(id, refusal))
			continue
		}
		raw, err := item(p)
		if err != nil {
			raw = refusedItem(id, err)
		}
		ans.GroupInfo = append(ans.GroupInfo, raw)
	}
	return ans, nil
}

// selfInfo is get_group_self_member_info: exactly the fields asked for
// (protocol 03 §4.2).
func (s *Service) selfInfo(ctx context.Context, call *command.Call, req *infoRequest) (*infoAnswer, error) {
	mine, err := s.mine(ctx, call.App.SDKAppID, call.UID, req.GroupIdList)
	if err != nil {
		return nil, err
	}
	f := req.ResponseFilter
	base := filter(f.GroupBaseInfoFilter)
	if base == nil {
		base = filter{}
	}
	return s.listed(ctx, call, req.GroupIdList, func(p *profile) (json.RawMessage, error) {
		m := mine[p.GID]
		if m == nil && p.Kind != LiveRoom && !actorOf(call).admin {
			return nil, errNotMember
		}
		if p.Kind == LiveRoom && len(f.MemberInfoFilter) > 0 {
			watching, err := s.watchers(ctx, p.Info, []int64{call.UID})
			if err != nil {
				return nil, err
			}
			if len(watching) > 0 {
				m = &watching[0]
			}
		}
		o := openItem(p.ID)
		p.appendBase(&o, base)
		if p.Kind == Community && len(base) > 0 {
			o.Flag("SupportTopic", p.SupportTopic)
		}
		if len(f.AppDefinedDataFilter_Group) > 0 || len(base) > 3 {
			o.Raw("AppDefinedData", marshal(customList(p.Custom, f.AppDefinedDataFilter_Group)))
		}
		if len(f.MemberInfoFilter)+len(f.AppDefinedDataFilter_GroupMember) > 0 && m != nil {
			self := m.object(call.UserID, filter(f.MemberInfoFilter), f.AppDefinedDataFilter_GroupMember)
			o.Raw("SelfInfo", self)
			o.Raw("MemberList", slices.Concat([]byte{'['}, self, []byte{']'}))
		}
		return o.Close(), nil
	})
}

func marshal(v any) []byte {
	b, _ := json.Marshal(v) // plain values of ours
	return b
}

// row is a membership as lists show it: what the directory knows and more.
type row struct {
	Member
	readSeq int64
	custom  map[string]string
}

const rowColumns = memberColumns + `, m.read_seq, m.custom`

func scanRow(rows *sql.Rows, r *row) error {
	var custom string
	err := rows.Scan(&r.GID, &r.UID, &r.Role, &r.JoinedAt, &r.JoinSeq, &r.ClearedSeq, &r.MutedUntil, &r.Receive, &r.NameCard, &r.readSeq, &custom)
	r.custom = decodeCustom(custom)
	return err
}

// mine returns uid's memberships of the named groups by gid, with one query.
func (s *Service) mine(ctx context.Context, app uint32, uid int64, ids []string) (map[int64]*row, error) {
	if len(ids) == 0 || len(ids) > maxGroupIDs {
		return nil, nil // refused later
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !plausibleID(id) })
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := store.Collect(ctx, s.DB.Read, scanRow, `SELECT `+rowColumns+` FROM groups g JOIN group_members m ON m.gid = g.gid AND m.uid = $1
		WHERE g.app = $2 AND g.group_id IN `+store.In(3, len(ids)), store.Args(ids, any(uid), any(app))...)
	if err != nil {
		return nil, fmt.Errorf("group: own memberships: %w", err)
	}
	byGID := make(map[int64]*row, len(list))
	for i := range list {
		byGID[list[i].GID] = &list[i]
	}
	return byGID, nil
}

// object renders the membership with the fields asked for; nil is all.
func (r *row) object(userID string, f filter, custom []string) []byte {
	o := wire.OpenObject(make([]byte, 0, 256))
	o.Str("Member_Account", userID)
	if f.wants("Role") {
		o.Str("Role", r.Role.String())
	}
	if f.wants("JoinTime") {
		o.Int("JoinTime", r.JoinedAt)
	}
	if f.wants("MsgSeq") {
		o.Int("MsgSeq", r.readSeq)
	}
	if f.wants("MsgFlag") {
		o.Str("MsgFlag", r.Receive.String())
	}
	if f.wants("NameCard") {
		o.Str("NameCard", r.NameCard)
	}
	if f.wants("ShutUpUntil") || f.wants("MuteUntil") {
		o.Int("ShutUpUntil", r.MutedUntil)
		o.Int("MuteUntil", r.MutedUntil)
	}
	if len(custom) > 0 || f == nil || len(r.custom) > 0 {
		o.Raw("AppMemberDefinedData", marshal(customList(r.custom, custom)))
	}
	return o.Close()
}

// publicInfo is get_group_public_info: every item has an ErrorCode
// (protocol 03 §4.3). Work groups are found by their members only.
func (s *Service) publicInfo(ctx context.Context, call *command.Call, req *infoRequest) (*infoAnswer, error) {
	f := filter(req.ResponseFilter.GroupBasePublicInfoFilter)
	if f == nil {
		f = req.GroupBasePublicInfoFilter
	}
	mine, err := s.mine(ctx, call.App.SDKAppID, call.UID, req.GroupIdList)
	if err != nil {
		return nil, err
	}
	return s.listed(ctx, call, req.GroupIdList, func(p *profile) (json.RawMessage, error) {
		if p.Kind == Work && mine[p.GID] == nil && !actorOf(call).admin {
			return nil, command.Err(CodeNoPermission, "the group cannot be searched")
		}
		o := openItem(p.ID)
		p.appendBase(&o, f)
		if p.Kind == Community {
			o.Flag("SupportTopic", p.SupportTopic)
		}
		return o.Close(), nil
	})
}

// fullInfo is get_group_info: of members, and of administrators through REST
// (protocol 06 §5.6). The first maxRESTPage members of each group are listed
// when member fields are asked for, or nothing is said.
func (s *Service) fullInfo(ctx context.Context, call *command.Call, req *infoRequest) (*infoAnswer, error) {
	mine, err := s.mine(ctx, call.App.SDKAppID, call.UID, req.GroupIdList)
	if err != nil {
		return nil, err
	}
	f := req.ResponseFilter
	base := filter(f.GroupBaseInfoFilter)
	everything := base == nil && f.MemberInfoFilter == nil
	if !everything && base == nil {
		base = filter{}
	}
	return s.listed(ctx, call, req.GroupIdList, func(p *profile) (json.RawMessage, error) {
		if mine[p.GID] == nil && p.Kind != LiveRoom && !actorOf(call).admin {
			return nil, errNotMember
		}
		o := openItem(p.ID)
		o.Int("Appid", int64(p.App))
		p.appendBase(&o, base)
		if p.Kind == Community {
			o.Flag("SupportTopic", p.SupportTopic)
		}
		o.Raw("AppDefinedData", marshal(customList(p.Custom, f.AppDefinedDataFilter_Group)))
		if (everything || len(f.MemberInfoFilter) > 0) && p.Kind != LiveRoom {
			list, err := s.page(ctx, p.GID, nil, 0, maxRESTPage)
			if err != nil {
				return nil, err
			}
			members, err := s.objects(ctx, list, filter(f.MemberInfoFilter), f.AppDefinedDataFilter_GroupMember)
			if err != nil {
				return nil, err
			}
			o.Raw("MemberList", marshal(members))
		}
		return o.Close(), nil
	})
}
