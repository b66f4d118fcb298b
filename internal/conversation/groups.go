package conversation

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/store"
)

type contactResult struct {
	ContactItem    contact
	ContactOptType int `json:",omitempty"`
	ResultCode     int
	ResultInfo     string
}

type createRequest struct {
	From_Account     string //nolint:revive // the protocol's spelling
	GroupContactItem []struct {
		GroupName   string
		ContactItem []contact
	}
}

type groupResult struct {
	GroupItem  groupItem
	ResultItem []contactResult
}

type createAnswer struct {
	GroupResultItem []groupResult
}

type groupPush struct {
	MsgGroupItem         groupItem
	MsgRecentContactItem []pushContact
}

// createGroups is recentcontact.create_contact_group (protocol 02 §14.5).
func (s *Service) createGroups(ctx context.Context, call *command.Call, req *createRequest) (*createAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if len(req.GroupContactItem) == 0 || len(req.GroupContactItem) > maxGroups {
		return nil, command.Errf(codeParameter, "GroupContactItem must have 1 to %d groups", maxGroups)
	}
	var all []key
	wanted := make([][]key, len(req.GroupContactItem))
	for i, g := range req.GroupContactItem {
		if err := checkName(g.GroupName); err != nil {
			return nil, err
		}
		if len(g.ContactItem) > maxPerRequest {
			return nil, command.Errf(codeParameter, "more than %d conversations", maxPerRequest)
		}
		if wanted[i], err = keys(g.ContactItem); err != nil {
			return nil, err
		}
		all = append(all, wanted[i]...)
	}
	missing, err := s.unknown(ctx, call, all)
	if err != nil {
		return nil, err
	}
	var ans *createAnswer
	var pushes []groupPush
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		ans, pushes = &createAnswer{}, nil
		for i, g := range req.GroupContactItem {
			made, err := k.add(g.GroupName)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO conversation_groups (uid, id, name) VALUES ($1, $2, $3)`, who.uid, made.GroupId, made.GroupName); err != nil {
				return fmt.Errorf("conversation: create group: %w", err)
			}
			results, there := admit(wanted[i], missing)
			if err := putItems(ctx, tx, who.uid, made.GroupId, there); err != nil {
				return err
			}
			ans.GroupResultItem = append(ans.GroupResultItem, groupResult{made, results})
			pushes = append(pushes, groupPush{made, pushContacts(there)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.tell(who, pushCreateGroup, fields{"RecentContactCreateContactGroup": fields{"MsgContactGroupContactItem": pushes}})
	return ans, nil
}

func checkName(name string) error {
	switch {
	case name == "" || command.CheckTexts(name) != nil:
		return command.Err(codeParameter, "a conversation group needs a name")
	case len(name) > maxGroupName:
		return command.Errf(codeGroupName, "the name is longer than %d bytes", maxGroupName)
	}
	return nil
}

// add makes a new group in k.
func (k *keeping) add(name string) (groupItem, error) {
	if k.named(name) != nil {
		return groupItem{}, command.Err(codeParameter, "there is a conversation group of this name")
	}
	if len(k.groups) >= maxGroups {
		return groupItem{}, command.Errf(codeGroups, "more than %d conversation groups", maxGroups)
	}
	id := int64(1)
	for _, g := range k.groups {
		id = max(id, g.id+1)
	}
	k.groups = append(k.groups, group{id, name})
	return groupItem{id, name}, nil
}

// admit tells the conversations that can be in a group from those of nobody.
func admit(list []key, missing map[key]bool) (results []contactResult, there []key) {
	results = []contactResult{}
	for _, c := range list {
		r := contactResult{ContactItem: c.contact()}
		if missing[c] {
			r.ResultCode, r.ResultInfo = codeAccount, "the account does not exist"
		} else {
			there = append(there, c)
		}
		results = append(results, r)
	}
	return results, there
}

func putItems(ctx context.Context, tx *sql.Tx, uid, id int64, list []key) error {
	if len(list) == 0 {
		return nil
	}
	query := `INSERT INTO conversation_group_items (uid, id, kind, target) VALUES `
	args := []any{uid, id}
	for i, c := range list {
		if i > 0 {
			query += ","
		}
		query += fmt.Sprintf("($1,$2,$%d,$%d)", len(args)+1, len(args)+2)
		args = append(args, c.kind, c.target)
	}
	if _, err := tx.ExecContext(ctx, query+` ON CONFLICT DO NOTHING`, args...); err != nil {
		return fmt.Errorf("conversation: group items: %w", err)
	}
	return nil
}

func dropItems(ctx context.Context, tx *sql.Tx, uid, id int64, list []key) error {
	for _, kind := range []int{C2C, Group} {
		targets := targetsOf(list, kind)
		if len(targets) == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM conversation_group_items WHERE uid = $1 AND id = $2 AND kind = $3 AND target IN `+store.In(4, len(targets)),
			store.Args(targets, any(uid), any(id), any(kind))...)
		if err != nil {
			return fmt.Errorf("conversation: group items: %w", err)
		}
	}
	return nil
}

type deleteRequest struct {
	From_Account string //nolint:revive
	GroupName    []string
}

type deleteAnswer struct {
	GroupItem []groupItem
}

// deleteGroups is recentcontact.del_contact_group (protocol 02 §14.5).
func (s *Service) deleteGroups(ctx context.Context, call *command.Call, req *deleteRequest) (*deleteAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if len(req.GroupName) == 0 || len(req.GroupName) > maxGroups {
		return nil, command.Errf(codeParameter, "GroupName must have 1 to %d names", maxGroups)
	}
	var ans *deleteAnswer
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		ans = &deleteAnswer{}
		for _, name := range req.GroupName {
			g := k.named(name)
			if g == nil {
				return command.Err(codeNoGroup, "no such conversation group")
			}
			for _, table := range []string{"conversation_group_items", "conversation_groups"} {
				if _, err := tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE uid = $1 AND id = $2`, who.uid, g.id); err != nil {
					return fmt.Errorf("conversation: delete group: %w", err)
				}
			}
			ans.GroupItem = append(ans.GroupItem, groupItem{g.id, g.name})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.tell(who, pushDeleteGroup, fields{"RecentContactDelContactGroup": fields{"MsgGroupItem": ans.GroupItem}})
	return ans, nil
}

// What update_contact_group changes.
const (
	updateName    = 1
	updateMembers = 2
)

type updateRequest struct {
	From_Account string //nolint:revive
	UpdateType   int
	UpdateGroup  struct {
		UpdateGroupType   int
		OldGroupName      string
		NewGroupName      string
		ContactUpdateItem []struct {
			ContactOptType int // 1 add, 2 remove
			ContactItem    contact
		}
	}
}

type updateAnswer struct {
	UpdateType        int
	UpdateGroupResult struct {
		UpdateGroupType   int
		GroupId           int64 //nolint:revive
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
	if len(u.ContactUpdateItem) == 0 || len(u.ContactUpdateItem) > maxPerRequest {
		return nil, command.Errf(codeParameter, "ContactUpdateItem must have 1 to %d conversations", maxPerRequest)
	}
	list := make([]key, len(u.ContactUpdateItem))
	for i, item := range u.ContactUpdateItem {
		var err error
		if list[i], err = item.ContactItem.key(); err != nil {
			return nil, err
		}
		if item.ContactOptType != 1 && item.ContactOptType != 2 {
			return nil, command.Err(codeParameter, "ContactOptType must be 1 or 2")
		}
	}
	missing, err := s.unknown(ctx, call, list)
	if err != nil {
		return nil, err
	}
	var ans *updateAnswer
	var pushes []updatePush
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		g := k.named(u.OldGroupName)
		if g == nil {
			return command.Err(codeNoGroup, "no such conversation group")
		}
		ans, pushes = req.answer(g, g.name), nil
		var added, removed []key
		for i, item := range u.ContactUpdateItem {
			r := contactResult{ContactItem: list[i].contact(), ContactOptType: item.ContactOptType}
			switch {
			case missing[list[i]] && item.ContactOptType == 1:
				r.ResultCode, r.ResultInfo = codeAccount, "the account does not exist"
			case item.ContactOptType == 1:
				added = append(added, list[i])
				removed = slices.DeleteFunc(removed, func(c key) bool { return c == list[i] })
			default:
				removed = append(removed, list[i])
				added = slices.DeleteFunc(added, func(c key) bool { return c == list[i] })
			}
			if r.ResultCode == 0 {
				pushes = append(pushes, updatePush{item.ContactOptType, list[i].push()})
			}
			ans.UpdateGroupResult.ContactResultItem = append(ans.UpdateGroupResult.ContactResultItem, r)
		}
		if n := k.count(func(st *state) bool { return slices.Contains(st.groups, g.id) }); n+len(added) > maxGroupOfName {
			return command.Errf(codeMarks, "more than %d conversations in a group", maxGroupOfName)
		}
		if err := putItems(ctx, tx, who.uid, g.id, added); err != nil {
			return err
		}
		return dropItems(ctx, tx, who.uid, g.id, removed)
	})
	if err != nil {
		return nil, err
	}
	s.tell(who, pushUpdateGroup, fields{"RecentContactUpdateContactGroup": fields{"UpdateType": 1, "MsgUpdateGroup": fields{
		"UpdateGroupType": updateMembers, "GroupId": ans.UpdateGroupResult.GroupId, "GroupName": u.OldGroupName, "OldGroupName": u.OldGroupName,
		"RecentContactUpdateGroupItem": pushes}}})
	return ans, nil
}
