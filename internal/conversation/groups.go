package conversation

import (
	"context"
	"database/sql"
	"fmt"

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
	From_Account     string
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
	From_Account string
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
