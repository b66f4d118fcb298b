package conversation

import (
	"context"
	"database/sql"
	"slices"

	"imserver/internal/command"
)

// What update_contact_group changes.
const (
	updateName    = 1
	updateMembers = 2
)

// ContactOptType of a change of members.
const (
	optAdd    = 1
	optRemove = 2
)

type updateRequest struct {
	From_Account string
	UpdateType   int
	UpdateGroup  struct {
		UpdateGroupType   int
		OldGroupName      string
		NewGroupName      string
		ContactUpdateItem []struct {
			ContactOptType int
			ContactItem    contact
		}
	}
}

type updateAnswer struct {
	UpdateType        int
	UpdateGroupResult struct {
		UpdateGroupType   int
		GroupId           int64
		GroupName         string
		OldGroupName      string
		ContactResultItem []contactResult
	}
}

type updatePush struct {
	ContactOptType    int
	RecentContactItem pushContact
}

// updateGroup is recentcontact.update_contact_group: a new name, or other
// members (protocol 02 §14.5).
func (s *Service) updateGroup(ctx context.Context, call *command.Call, req *updateRequest) (*updateAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if req.UpdateType != 1 {
		return nil, command.Err(codeParameter, "UpdateType must be 1")
	}
	switch req.UpdateGroup.UpdateGroupType {
	case updateName:
		return s.renameGroup(ctx, who, req)
	case updateMembers:
		return s.updateItems(ctx, call, who, req)
	}
	return nil, command.Err(codeParameter, "UpdateGroupType must be 1 or 2")
}

func (r *updateRequest) answer(g *group, name string) *updateAnswer {
	ans := &updateAnswer{UpdateType: 1}
	res := &ans.UpdateGroupResult
	res.UpdateGroupType, res.GroupId, res.GroupName, res.OldGroupName = r.UpdateGroup.UpdateGroupType, g.id, name, r.UpdateGroup.OldGroupName
	res.ContactResultItem = []contactResult{}
	return ans
}

func (s *Service) renameGroup(ctx context.Context, who owner, req *updateRequest) (*updateAnswer, error) {
	u := &req.UpdateGroup
	if err := checkName(u.NewGroupName); err != nil {
		return nil, err
	}
	var ans *updateAnswer
	err := s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		g := k.named(u.OldGroupName)
		if g == nil {
			return command.Err(codeNoGroup, "no such conversation group")
		}
		if other := k.named(u.NewGroupName); other != nil && other != g {
			return command.Err(codeParameter, "there is a conversation group of this name")
		}
		ans = req.answer(g, u.NewGroupName)
		_, err := tx.ExecContext(ctx, `UPDATE conversation_groups SET name = $3 WHERE uid = $1 AND id = $2`, who.uid, g.id, u.NewGroupName)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.tell(who, pushUpdateGroup, fields{"RecentContactUpdateContactGroup": fields{"UpdateType": 1, "MsgUpdateGroup": fields{
		"UpdateGroupType": updateName, "GroupId": ans.UpdateGroupResult.GroupId, "OldGroupName": u.OldGroupName, "GroupName": u.NewGroupName}}})
	return ans, nil
}

func (s *Service) updateItems(ctx context.Context, call *command.Call, who owner, req *updateRequest) (*updateAnswer, error) {
	u := &req.UpdateGroup
	list, err := req.items()
	if err != nil {
		return nil, err
	}
	missing, err := s.unknown(ctx, call, list)
	if err != nil {
		return nil, err
	}
	var ans *updateAnswer
	var done membership
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		g := k.named(u.OldGroupName)
		if g == nil {
			return command.Err(codeNoGroup, "no such conversation group")
		}
		ans, done = req.answer(g, g.name), membership{}
		for i, item := range u.ContactUpdateItem {
			r := done.change(list[i], item.ContactOptType, missing[list[i]])
			ans.UpdateGroupResult.ContactResultItem = append(ans.UpdateGroupResult.ContactResultItem, r)
		}
		if n := k.count(func(st *state) bool { return slices.Contains(st.groups, g.id) }); n+len(done.added) > maxGroupOfName {
			return command.Errf(codeMarks, "more than %d conversations in a group", maxGroupOfName)
		}
		if err := putItems(ctx, tx, who.uid, g.id, done.added); err != nil {
			return err
		}
		return dropItems(ctx, tx, who.uid, g.id, done.removed)
	})
	if err != nil {
		return nil, err
	}
	s.tell(who, pushUpdateGroup, fields{"RecentContactUpdateContactGroup": fields{"UpdateType": 1, "MsgUpdateGroup": fields{
		"UpdateGroupType": updateMembers, "GroupId": ans.UpdateGroupResult.GroupId, "GroupName": u.OldGroupName, "OldGroupName": u.OldGroupName,
		"RecentContactUpdateGroupItem": done.pushes}}})
	return ans, nil
}

// items checks the conversations of a request that changes a group's members.
func (r *updateRequest) items() ([]key, error) {
	items := r.UpdateGroup.ContactUpdateItem
	if len(items) == 0 || len(items) > maxPerRequest {
		return nil, command.Errf(codeParameter, "ContactUpdateItem must have 1 to %d conversations", maxPerRequest)
	}
	list := make([]key, len(items))
	for i, item := range items {
		var err error
		if list[i], err = item.ContactItem.key(); err != nil {
			return nil, err
		}
		if item.ContactOptType != optAdd && item.ContactOptType != optRemove {
			return nil, command.Err(codeParameter, "ContactOptType must be 1 or 2")
		}
	}
	return list, nil
}

// membership is what a request changes of a group's members. Of several
// changes of one conversation the last counts.
type membership struct {
	added, removed []key
	pushes         []updatePush
}

// change notes one change and returns its result. A conversation of nobody
// cannot be added; removing it is no error.
func (m *membership) change(k key, opt int, nobody bool) contactResult {
	r := contactResult{ContactItem: k.contact(), ContactOptType: opt}
	if nobody && opt == optAdd {
		r.ResultCode, r.ResultInfo = codeAccount, "the account does not exist"
		return r
	}
	same := func(c key) bool { return c == k }
	m.added, m.removed = slices.DeleteFunc(m.added, same), slices.DeleteFunc(m.removed, same)
	if opt == optAdd {
		m.added = append(m.added, k)
	} else {
		m.removed = append(m.removed, k)
	}
	m.pushes = append(m.pushes, updatePush{opt, k.push()})
	return r
}
