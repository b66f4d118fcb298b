package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

type applyRequest struct {
	GroupId                 string
	ApplyMsg                string
	UserDefinedField        string
	HugeGroupHistoryMsgFlag int
}

func (r *applyRequest) check() error {
	if err := checkText("ApplyMsg", r.ApplyMsg, maxRemark); err != nil {
		return err
	}
	return checkText("UserDefinedField", r.UserDefinedField, maxRemark)
}

type applyAnswer struct {
	JoinedStatus string
	Type         string
}

// apply is apply_join_group: in at once, or an application that waits for the
// owner or an admin (protocol 03 §5.3).
func (s *Service) apply(ctx context.Context, call *command.Call, req *applyRequest) (any, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	switch g.Kind {
	case LiveRoom:
		if s.Rooms == nil {
			return nil, command.Err(command.CodeUnknownCommand, "live rooms are not offered")
		}
		return s.Rooms.Join(ctx, call, g, req.HugeGroupHistoryMsgFlag == 1)
	case Topic:
		return nil, errBadID
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	me, err := s.Accounts.ByUID(ctx, call.UID)
	if err != nil {
		return nil, err
	}
	over, err := overLimit(ctx, s.DB.Read, call.App, []int64{me.UID})
	if err != nil {
		return nil, err
	}
	if over[me.UID] {
		return nil, errTooManyGroups
	}
	at, err := s.door(ctx, g.GID)
	if err != nil {
		return nil, err
	}
	act := actorOf(call)
	ans := &applyAnswer{Type: g.Kind.String()}
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		m, err := memberOf(ctx, tx, g.GID, me.UID)
		if err != nil {
			return err
		}
		if m != nil {
			return command.Err(CodeAlreadyMember, "already a member of the group")
		}
		switch {
		case g.Kind == Work || g.Apply == Disabled:
			return command.Err(CodeNoPermission, "the group cannot be joined by application")
		case g.Apply == NeedPermission:
			ans.JoinedStatus = "WaitAdminApproval"
			return s.file(ctx, tx, g, out, application{kind: applied, applicant: me.UID, message: req.ApplyMsg, field: req.UserDefinedField}, me)
		}
		ans.JoinedStatus = "JoinedSuccess"
		// Its own devices learn of it by the notice; the asking one has the answer.
		out.notices = append(out.notices, notice{to: []int64{me.UID}, others: true, body: noticeBody{ReportType: noticeAccepted, Operator_Account: act.id}})
		return s.admit(ctx, tx, call, g, out, act, joinedByApplication, at, []*account.Account{me})
	})
	if err != nil {
		return nil, err
	}
	return ans, nil
}

// admit makes ordinary members of accounts and puts the tip into the outbox.
func (s *Service) admit(ctx context.Context, tx *sql.Tx, call *command.Call, g *Info, out *outbox, act actor, how int, at door, who []*account.Account) error {
	people := make([]newcomer, len(who))
	for i, a := range who {
		people[i] = newcomer{uid: a.UID, role: Ordinary}
	}
	added, err := s.enter(ctx, tx, g, people, at.head)
	if err != nil {
		return err
	}
	in := make(map[int64]bool, len(added))
	for _, uid := range added {
		in[uid] = true
	}
	var shown []*account.Account
	for _, a := range who {
		if in[a.UID] {
			shown = append(shown, a)
		}
	}
	out.touched = append(out.touched, added...)
	out.joined, out.places = append(out.joined, added...), at.places
	out.tips = append(out.tips, s.joinTip(ctx, g, act, how, g.Kind.Settings(call.App).MemberTips, shown)...)
	if len(added) == 0 {
		return nil
	}
	// Who is in has no open application any more.
	if _, err := tx.ExecContext(ctx, `UPDATE group_applications SET handled = $2 WHERE gid = $1 AND handled = 0 AND (kind = 0 AND applicant IN `+
		store.In(3, len(added))+` OR kind > 0 AND invited IN `+store.In(3, len(added))+`)`, store.Args(added, any(g.GID), any(agreed))...); err != nil {
		return fmt.Errorf("group: close applications: %w", err)
	}
	return nil
}

type addRequest struct {
	GroupId    string
	MemberList []memberInput
	Silence    int
}

type addResult struct {
	Member_Account string
	Result         int
}

// Results of add_group_member (protocol 03 §7.3).
const (
	addedNow     = 1
	alreadyIn    = 2
	waits        = 3
	overOwnLimit = 4
)

type addAnswer struct {
	MemberList []addResult
}

// add is add_group_member: invitations as the group's invite option allows;
// owner, admins and administrators invite freely (protocol 03 §7.3).
func (s *Service) add(ctx context.Context, call *command.Call, req *addRequest) (*addAnswer, error) {
	if len(req.MemberList) == 0 {
		return nil, command.Err(CodeBadParameter, "MemberList is empty")
	}
	if len(req.MemberList) > maxInvited {
		return nil, command.Errf(CodeTooMany, "more than %d members", maxInvited)
	}
	known, _, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(req.MemberList))
	for i, m := range req.MemberList {
		ids[i] = m.Member_Account
	}
	accounts, err := s.accountsFor(ctx, call.App.SDKAppID, ids)
	if err != nil {
		return nil, err
	}
	uids := uidsOf(accounts)
	over, err := overLimit(ctx, s.DB.Read, call.App, uids)
	if err != nil {
		return nil, err
	}
	at, err := s.door(ctx, known.GID)
	if err != nil {
		return nil, err
	}
	var ans *addAnswer
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		in := invitation{call: call, act: actorOf(call), g: g, out: out, at: at, silent: req.Silence == 1, over: over}
		ans = &addAnswer{}
		return s.invite(ctx, tx, &in, accounts, ans)
	})
	return ans, err
}

// invitation is an add_group_member under way.
type invitation struct {
	call   *command.Call
	act    actor
	g      *Info
	out    *outbox
	at     door
	silent bool
	over   map[int64]bool
}

func (s *Service) invite(ctx context.Context, tx *sql.Tx, in *invitation, accounts []*account.Account, ans *addAnswer) error {
	role, err := acting(ctx, tx, in.g, in.act)
	if err != nil {
		return err
	}
	if err := may(in.g, role, Invite); err != nil {
		return err
	}
	freely := May(in.g.Kind, role, InviteFreely, Nobody, false)
	if !freely && in.g.Invite == Disabled {
		return command.Err(CodeNoPermission, "members of this group cannot invite")
	}
	uids := uidsOf(accounts)
	already, err := membersAmong(ctx, tx, in.g.GID, uids)
	if err != nil {
		return err
	}
	asks := needsGuest // of whom an invitation that is not free asks
	if in.g.Invite == NeedPermission {
		asks = needsAdmin
	}
	free := freely || in.g.Invite != NeedPermission && !in.g.Kind.Settings(in.call.App).InviteConsent
	var entering, waiting []*account.Account
	for _, a := range accounts {
		result := waits
		switch {
		case already[a.UID] != nil:
			result = alreadyIn
		case in.over[a.UID]:
			result = overOwnLimit
		case free:
			result = addedNow
			entering = append(entering, a)
		default:
			waiting = append(waiting, a)
		}
		ans.MemberList = append(ans.MemberList, addResult{a.UserID, result})
	}
	if len(waiting) > maxAsked {
		return command.Errf(CodeTooMany, "more than %d invitations that need consent", maxAsked)
	}
	for _, a := range waiting {
		if err := s.file(ctx, tx, in.g, in.out, application{kind: asks, applicant: in.act.uid, invited: a.UID}, a); err != nil {
			return err
		}
	}
	if len(entering) == 0 {
		return nil
	}
	if err := s.admit(ctx, tx, in.call, in.g, in.out, in.act, joinedByInvitation, in.at, entering); err != nil {
		return err
	}
	if in.silent {
		in.out.tips = nil
		return nil
	}
	in.out.notices = append(in.out.notices, notice{to: in.out.joined, keep: true, body: noticeBody{ReportType: noticeAdded, Operator_Account: in.act.id}})
	return nil
}

// maxAsked bounds the invitations of one request that wait for somebody.
const maxAsked = 50
