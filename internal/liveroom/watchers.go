package liveroom

import (
	"context"
	"encoding/json"
	"slices"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/group"
)

type membersRequest struct {
	GroupId   string
	Timestamp int64
	Mark      *int64
}

type memberItem struct {
	Member_Account string
	NickName       string
	Avatar         string
	Remark         string
	JoinTime       int64
	Marks          []int64
}

type membersAnswer struct {
	NextTimestamp int64 // 0 is the end
	MemberList    []memberItem
}

// memberPage bounds a page of watchers (protocol 06 §5.6).
const memberPage = 500

// members is get_members: the watchers by the time they came, the first of
// them up to the app's member_list (protocol 03 §13.6). A page goes on at a
// millisecond; those who came in the same one are not torn apart.
func (s *Service) members(ctx context.Context, call *command.Call, req *membersRequest) (*membersAnswer, error) {
	g, err := s.liveRoom(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	most := call.App.LiveRooms.MemberList
	ans := &membersAnswer{MemberList: []memberItem{}}
	list, err := s.Ledger.Watchers(ctx, g.GID, 0, most)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(w watcher) bool {
		return w.joined < req.Timestamp || req.Mark != nil && !slices.Contains(decodeMarks(w.marks), *req.Mark)
	})
	if len(list) > memberPage {
		end := memberPage
		for end < len(list) && list[end].joined == list[end-1].joined {
			end++
		}
		if end < len(list) {
			ans.NextTimestamp = list[end].joined
			list = list[:end]
		}
	}
	uids := make([]int64, len(list))
	for i, w := range list {
		uids[i] = w.uid
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, w := range list {
		if a := who[w.uid]; a != nil {
			ans.MemberList = append(ans.MemberList, memberItem{Member_Account: a.UserID, NickName: a.Nick, Avatar: a.Avatar, JoinTime: w.joined / 1000,
				Marks: decodeMarks(w.marks)})
		}
	}
	return ans, nil
}

func (s *Service) liveRoom(ctx context.Context, call *command.Call, id string) (*group.Info, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, id)
	if err == nil && g.Kind != group.LiveRoom {
		err = errNotLive
	}
	return g, err
}

// Marks are kept as a JSON array.
func decodeMarks(text string) []int64 {
	marks := []int64{}
	if text != "" {
		_ = json.Unmarshal([]byte(text), &marks) // written by markMembers
	}
	return marks
}

type markItem struct {
	Member_Account string
	Marks          []int64
}

type markRequest struct {
	GroupId     string
	CommandType int // 1 set, 2 clear
	MemberList  []markItem
}

type markAnswer struct {
	CommandType int
	MemberList  []markItem
}

// Bounds of marks. Apps choose numbers from firstMark on; two lower ones have
// a meaning in the hosted service (protocol 06 §5.6).
const (
	maxMarked = 500
	maxMarks  = 20
	firstMark = 1000
)

var serviceMarks = []int64{500, 600}

// markMembers is modify_user_info: the owner marks watchers; those who are not
// there are left out of the answer (protocol 03 §13.7).
func (s *Service) markMembers(ctx context.Context, call *command.Call, req *markRequest) (*markAnswer, error) {
	g, err := s.liveRoom(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return nil, err
	}
	if rules.caller(call, g) < group.Owner {
		return nil, errNoPermission
	}
	if req.CommandType != 1 && req.CommandType != 2 || len(req.MemberList) == 0 || len(req.MemberList) > maxMarked {
		return nil, command.Errf(group.CodeBadParameter, "CommandType is 1 or 2, and MemberList has 1 to %d entries", maxMarked)
	}
	ids := make([]string, len(req.MemberList))
	for i, m := range req.MemberList {
		ids[i] = m.Member_Account
		for _, n := range m.Marks {
			if n < firstMark && (call.Kind != command.Admins || !slices.Contains(serviceMarks, n)) {
				return nil, command.Errf(group.CodeBadParameter, "marks begin at %d", firstMark)
			}
		}
	}
	accounts, there, err := s.present(ctx, call.App.SDKAppID, g.GID, ids)
	if err != nil {
		return nil, err
	}
	ans := &markAnswer{CommandType: req.CommandType, MemberList: []markItem{}}
	for _, m := range req.MemberList {
		a := accounts[m.Member_Account]
		if a == nil {
			continue
		}
		w, ok := there[a.UID]
		if !ok {
			continue
		}
		marks := changeMarks(decodeMarks(w.marks), m.Marks, req.CommandType == 1)
		if len(marks) > maxMarks {
			continue
		}
		text, _ := json.Marshal(marks) // numbers
		if err := s.Ledger.Mark(ctx, g.GID, a.UID, string(text)); err != nil {
			return nil, err
		}
		ans.MemberList = append(ans.MemberList, markItem{a.UserID, marks})
	}
	return ans, nil
}

func changeMarks(have, change []int64, set bool) []int64 {
	have = slices.DeleteFunc(have, func(n int64) bool { return slices.Contains(change, n) })
	if set {
		have = append(have, change...)
	}
	slices.Sort(have)
	return slices.Compact(have)
}

type checkRequest struct {
	GroupId        string
	Member_Account []string
}

type checkAnswer struct {
	Member_Account []string
}

// checkMembers is check_members: which of the accounts are in the room.
func (s *Service) checkMembers(ctx context.Context, call *command.Call, req *checkRequest) (*checkAnswer, error) {
	g, err := s.liveRoom(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	if len(req.Member_Account) > maxMarked {
		return nil, command.Errf(group.CodeTooMany, "more than %d accounts", maxMarked)
	}
	accounts, there, err := s.present(ctx, call.App.SDKAppID, g.GID, req.Member_Account)
	if err != nil {
		return nil, err
	}
	ans := &checkAnswer{Member_Account: []string{}}
	for _, id := range req.Member_Account {
		if a := accounts[id]; a != nil {
			if _, ok := there[a.UID]; ok {
				ans.Member_Account = append(ans.Member_Account, id)
			}
		}
	}
	return ans, nil
}

// present finds the accounts that exist among the names, and which of them
// watch the room.
func (s *Service) present(ctx context.Context, app uint32, room int64, names []string) (map[string]*account.Account, map[int64]watcher, error) {
	accounts, err := s.Accounts.LookupAll(ctx, app, names)
	if err != nil {
		return nil, nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	there, err := s.Ledger.Present(ctx, room, uids)
	return accounts, there, err
}
