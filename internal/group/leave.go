package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
)

// quit is quit_group (protocol 03 §5.4).
func (s *Service) quit(ctx context.Context, call *command.Call, req *groupRequest) (command.Empty, error) {
	known, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return command.Empty{}, err
	}
	if known.Kind == LiveRoom {
		if s.Rooms == nil {
			return command.Empty{}, command.Err(command.CodeUnknownCommand, "live rooms are not offered")
		}
		return command.Empty{}, s.Rooms.Quit(ctx, call, known)
	}
	me, err := s.Accounts.ByUID(ctx, call.UID)
	if err != nil {
		return command.Empty{}, err
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == Topic {
			return errBadID
		}
		m, err := memberOf(ctx, tx, g.GID, me.UID)
		if err != nil {
			return err
		}
		if m == nil {
			return errNotMember
		}
		if !May(g.Kind, m.Role, Leave, Nobody, false) {
			return command.Err(CodeOwnerStays, "the owner cannot quit: give the group away first")
		}
		if err := s.leave(ctx, tx, g, []int64{me.UID}); err != nil {
			return err
		}
		if m.Role == Owner {
			g.Owner = 0
			if _, err := tx.ExecContext(ctx, `UPDATE groups SET owner = 0 WHERE gid = $1`, g.GID); err != nil {
				return fmt.Errorf("group: quit: %w", err)
			}
		}
		out.touched, out.left = []int64{me.UID}, []int64{me.UID}
		out.notices = append(out.notices, notice{to: []int64{me.UID}, body: noticeBody{ReportType: noticeQuit, Operator_Account: act.id}})
		if g.Kind.Settings(call.App).MemberTips {
			none := 0
			t := s.tip(ctx, g, act, tipBody{OpType: tipQuit, GroupJoinType: &none, MemberNum: &g.MemberNum}, me)
			t.Exclude = []int64{me.UID}
			out.tips = append(out.tips, t)
		}
		return nil
	})
	return command.Empty{}, err
}

type kickRequest struct {
	GroupId             string
	MemberToDel_Account []string
	Reason              string
	Silence             int
}

// kick is delete_group_member: those who are no members count as removed
// (protocol 03 §7.4).
func (s *Service) kick(ctx context.Context, call *command.Call, req *kickRequest) (command.Empty, error) {
	if len(req.MemberToDel_Account) == 0 {
		return command.Empty{}, command.Err(CodeBadParameter, "MemberToDel_Account is empty")
	}
	if len(req.MemberToDel_Account) > maxKicked {
		return command.Empty{}, command.Errf(CodeTooMany, "more than %d members", maxKicked)
	}
	if err := checkText("Reason", req.Reason, maxRemark); err != nil {
		return command.Empty{}, err
	}
	accounts, err := s.Accounts.LookupAll(ctx, call.App.SDKAppID, req.MemberToDel_Account)
	if err != nil {
		return command.Empty{}, err
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == LiveRoom {
			return command.Err(CodeBadParameter, "watchers of a live room are banned, not removed")
		}
		if g.Kind == Topic {
			return errBadID
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		shown, err := targets(ctx, tx, g, req.MemberToDel_Account, accounts, act, role)
		if err != nil || len(shown) == 0 {
			return err
		}
		gone := uidsOf(shown)
		if err := s.leave(ctx, tx, g, gone); err != nil {
			return err
		}
		if err := s.dropOwner(ctx, tx, g, gone); err != nil {
			return err
		}
		out.touched, out.left = gone, gone
		if req.Silence == 1 {
			return nil
		}
		out.notices = append(out.notices, notice{to: gone, keep: true, body: noticeBody{ReportType: noticeKicked, Operator_Account: act.id, Reason: req.Reason}})
		if g.Kind.Settings(call.App).MemberTips {
			out.tips = append(out.tips, s.kickTip(ctx, g, act, req.Reason, gone, shown))
		}
		return nil
	})
	return command.Empty{}, err
}

// targets returns those of the named accounts who are members, each once and in
// order; it refuses if the actor may not remove one of them.
func targets(ctx context.Context, tx *sql.Tx, g *Info, ids []string, accounts map[string]*account.Account, act actor, role Role) ([]*account.Account, error) {
	// Who may not kick anybody is told so even about people who are not in.
	if err := mayOn(g, role, Kick, Ordinary, false); err != nil {
		return nil, err
	}
	uids := make([]int64, 0, len(accounts))
	for _, a := range accounts {
		uids = append(uids, a.UID)
	}
	members, err := membersAmong(ctx, tx, g.GID, uids)
	if err != nil {
		return nil, err
	}
	var list []*account.Account
	for _, id := range ids {
		a := accounts[id]
		if a == nil || members[a.UID] == nil {
			continue
		}
		if err := mayOn(g, role, Kick, members[a.UID].Role, a.UID == act.uid); err != nil {
			return nil, err
		}
		delete(members, a.UID) // a name given twice
		list = append(list, a)
	}
	return list, nil
}

// dropOwner leaves the group without an owner when an administrator removed
// the owner.
func (s *Service) dropOwner(ctx context.Context, tx *sql.Tx, g *Info, gone []int64) error {
	for _, uid := range gone {
		if uid != g.Owner {
			continue
		}
		g.Owner = 0
		if _, err := tx.ExecContext(ctx, `UPDATE groups SET owner = 0 WHERE gid = $1`, g.GID); err != nil {
			return fmt.Errorf("group: kick: %w", err)
		}
	}
	return nil
}

func (s *Service) kickTip(ctx context.Context, g *Info, act actor, reason string, gone []int64, shown []*account.Account) Tip {
	body := tipBody{OpType: tipKicked, MemberNum: &g.MemberNum}
	if reason != "" {
		body.MemberExtraInfo = &kickReason{reason}
		for _, a := range shown { // the SDK throws on a reason without this list (protocol 03 trap 11)
			body.MsgMemberInfo = append(body.MsgMemberInfo, mutedUntil{User_Account: a.UserID})
		}
	}
	t := s.tip(ctx, g, act, body, shown...)
	t.Exclude = gone
	return t
}

// mayOn is may for an action on a member.
func mayOn(g *Info, role Role, a Action, target Role, self bool) error {
	if May(g.Kind, role, a, target, self) {
		return nil
	}
	if !hasAction(g.Kind, a) {
		return errNotForKind
	}
	return errNoPermission
}

type ownerRequest struct {
	GroupId          string
	NewOwner_Account string
}

// transfer is change_group_owner: the old owner becomes an ordinary member
// (protocol 03 §5.5).
func (s *Service) transfer(ctx context.Context, call *command.Call, req *ownerRequest) (command.Empty, error) {
	who, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.NewOwner_Account)
	if err != nil {
		return command.Empty{}, errUnknownUser
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == Topic {
			return errBadID
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		if err := mayOn(g, role, Transfer, Ordinary, false); err != nil {
			return err
		}
		if who.UID == g.Owner {
			return command.Err(CodeBadParameter, "the account is the owner already")
		}
		m, err := memberOf(ctx, tx, g.GID, who.UID)
		if err != nil {
			return err
		}
		if m == nil {
			return command.Err(CodeNoPermission, "the new owner is not a member of the group")
		}
		old := g.Owner
		for _, step := range []struct {
			query string
			args  []any
		}{
			{`UPDATE group_members SET role = $3 WHERE gid = $1 AND uid = $2`, []any{g.GID, old, Ordinary}},
			{`UPDATE group_members SET role = $3, muted_until = 0 WHERE gid = $1 AND uid = $2`, []any{g.GID, who.UID, Owner}},
			{`UPDATE groups SET owner = $2, info_seq = info_seq + 1 WHERE gid = $1`, []any{g.GID, who.UID}},
		} {
			if _, err := tx.ExecContext(ctx, step.query, step.args...); err != nil {
				return fmt.Errorf("group: transfer: %w", err)
			}
		}
		g.Owner = who.UID
		out.touched = []int64{old, who.UID}
		if g.Kind.Settings(call.App).ProfileTips {
			out.tips = append(out.tips, s.tip(ctx, g, act, tipBody{OpType: tipProfile, MsgGroupNewInfo: newInfo{Owner_Account: who.UserID}}, who))
		}
		return nil
	})
	return command.Empty{}, err
}
