package group

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

// Kinds of applications; 0 and 2 are PendencyType (protocol 03 §6.1).
const (
	applied    = 0
	needsGuest = 1 // an invitation that the invited has to accept
	needsAdmin = 2 // an invitation that an admin has to allow
)

// States of an application.
const (
	open    = 0
	agreed  = 1
	refused = 2
)

// application is somebody's wish to come in or to bring somebody in.
type application struct {
	id        int64
	kind      int
	applicant int64
	invited   int64
	message   string
	field     string // UserDefinedField
	auth      string // opaque; whoever answers has to know it
	addedAt   int64  // unix µs
	handled   int
}

// file stores an application, in place of an earlier one of the same people,
// and tells those who may answer it: who is the applicant or the invited.
func (s *Service) file(ctx context.Context, tx *sql.Tx, g *Info, out *outbox, a application, who *account.Account) error {
	a.auth, a.addedAt = rand.Text(), s.Now().UnixMicro()
	_, err := tx.ExecContext(ctx, `INSERT INTO group_applications (gid, kind, applicant, invited, message, auth, added_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (gid, kind, applicant, invited) DO UPDATE SET message = excluded.message, auth = excluded.auth, added_at = excluded.added_at, handled = 0`,
		g.GID, a.kind, a.applicant, a.invited, a.message, a.auth, a.addedAt)
	if err != nil {
		return fmt.Errorf("group: application: %w", err)
	}
	if a.kind == needsGuest {
		inviter, err := s.Accounts.ByUID(ctx, a.applicant)
		if err != nil {
			return err
		}
		p := personOf(inviter)
		out.notices = append(out.notices, notice{to: []int64{who.UID}, keep: true, body: noticeBody{ReportType: noticeInvited, Operator_Account: inviter.UserID,
			Authentication: a.auth, MsgKey: a.addedAt, MsgMemberExtraInfo: &p}})
		return nil
	}
	to, err := staff(ctx, tx, g.GID)
	if err != nil {
		return fmt.Errorf("group: staff: %w", err)
	}
	if len(to) == 0 {
		return nil
	}
	p := personOf(who)
	out.notices = append(out.notices, notice{to: to, keep: true, body: noticeBody{ReportType: noticeApplied, Operator_Account: who.UserID, RemarkInfo: a.message,
		UserDefinedField: a.field, Authentication: a.auth, MsgKey: a.addedAt, MsgMemberExtraInfo: &p}})
	return nil
}

type pendencyRequest struct {
	StartTime int64
	Limit     int
	Type      string
}

type pendencyItem struct {
	From_Account     string
	FromUserNickName string
	To_Account       string
	GroupId          string
	GroupName        string
	Authentication   string
	AddTime          int64
	ApplyInviteMsg   string
	PendencyType     int
	Handled          int
}

type pendencyAnswer struct {
	NextStartTime     int64 // 0 ends the SDK's asking (protocol 03 trap 2)
	ReportedTimestamp int64
	UnhandledNum      int
	PendencyList      []pendencyItem
}

// maxPendency bounds a page of applications.
const maxPendency = 100

// pendency is get_pendency: the open applications of the groups where the
// caller may answer, communities or the others by service name.
func (s *Service) pendency(ctx context.Context, call *command.Call, req *pendencyRequest) (*pendencyAnswer, error) {
	limit := maxPendency
	if req.Limit > 0 {
		limit = min(req.Limit, limit)
	}
	category := `<>`
	if strings.HasPrefix(call.Name, communityService) {
		category = `=`
	}
	type pending struct {
		application
		groupID, groupName string
	}
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, p *pending) error {
		return rows.Scan(&p.id, &p.kind, &p.applicant, &p.invited, &p.message, &p.auth, &p.addedAt, &p.groupID, &p.groupName)
	}, `SELECT a.id, a.kind, a.applicant, a.invited, a.message, a.auth, a.added_at, g.group_id, g.name
		FROM group_members m JOIN groups g ON g.gid = m.gid JOIN group_applications a ON a.gid = m.gid
		WHERE m.uid = $1 AND m.role >= $2 AND g.kind `+category+` 4 AND a.handled = 0 AND a.kind <> $3 AND a.id > $4 ORDER BY a.id LIMIT $5`,
		call.UID, Admin, needsGuest, req.StartTime, limit+1)
	if err != nil {
		return nil, fmt.Errorf("group: applications: %w", err)
	}
	ans := &pendencyAnswer{PendencyList: []pendencyItem{}}
	if len(list) > limit {
		list = list[:limit]
		ans.NextStartTime = list[limit-1].id
	}
	var uids []int64
	for _, p := range list {
		uids = append(uids, p.applicant, p.invited)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		from := who[p.applicant]
		if from == nil {
			continue // the account was deleted
		}
		item := pendencyItem{From_Account: from.UserID, FromUserNickName: from.Nick, GroupId: p.groupID, GroupName: p.groupName,
			Authentication: p.auth, AddTime: p.addedAt, ApplyInviteMsg: p.message, PendencyType: p.kind}
		if to := who[p.invited]; to != nil {
			item.To_Account = to.UserID
		}
		ans.PendencyList = append(ans.PendencyList, item)
	}
	ans.UnhandledNum = len(ans.PendencyList)
	return ans, nil
}

type handleRequest struct {
	GroupId           string
	Applicant_Account string
	Invited_Account   string
	Inviter_Account   string
	HandleMsg         string
	ApprovalMsg       string
	Authentication    string
	MsgKey            int64
}

func (r *handleRequest) verdict() (agree bool, err error) {
	if err := checkText("ApprovalMsg", r.ApprovalMsg, maxRemark); err != nil {
		return false, err
	}
	switch r.HandleMsg {
	case "Agree":
		return true, nil
	case "Reject":
		return false, nil
	}
	return false, command.Err(CodeBadParameter, "HandleMsg is Agree or Reject")
}

// settle marks an open application as answered: 10024 when it was answered
// before or there is none, 10004 when it is not the one the caller knows.
func settle(ctx context.Context, tx *sql.Tx, g *Info, want application, req *handleRequest, agree bool) error {
	var a application
	err := tx.QueryRowContext(ctx, `SELECT id, auth, added_at, handled FROM group_applications WHERE gid = $1 AND kind = $2 AND applicant = $3 AND invited = $4`,
		g.GID, want.kind, want.applicant, want.invited).Scan(&a.id, &a.auth, &a.addedAt, &a.handled)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errHandled
	case err != nil:
		return fmt.Errorf("group: application: %w", err)
	case a.handled != open:
		return errHandled
	case req.Authentication != a.auth || req.MsgKey != 0 && req.MsgKey != a.addedAt:
		return command.Err(CodeBadParameter, "Authentication or MsgKey is not that of the application")
	}
	state := refused
	if agree {
		state = agreed
	}
	if _, err := tx.ExecContext(ctx, `UPDATE group_applications SET handled = $2 WHERE id = $1`, a.id, state); err != nil {
		return fmt.Errorf("group: application: %w", err)
	}
	return nil
}

// answering is the common part of the three answers: the people, the lock, the
// application, and entering.
type answering struct {
	want   application
	act    actor
	who    *account.Account // who comes in
	member bool             // who answers must be allowed to by the matrix
	how    int              // GroupJoinType
	by     actor            // whose doing the joining is
}

func (s *Service) answer(ctx context.Context, call *command.Call, req *handleRequest, a answering, tell func(g *Info, out *outbox, agree bool)) (command.Empty, error) {
	agree, err := req.verdict()
	if err != nil {
		return command.Empty{}, err
	}
	known, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return command.Empty{}, err
	}
	at, err := s.door(ctx, known.GID)
	if err != nil {
		return command.Empty{}, err
	}
	if agree {
		over, err := overLimit(ctx, s.DB.Read, call.App, []int64{a.who.UID})
		if err != nil {
			return command.Empty{}, err
		}
		if over[a.who.UID] {
			return command.Empty{}, errTooManyGroups
		}
	}
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if a.member {
			role, err := acting(ctx, tx, g, a.act)
			if err != nil {
				return err
			}
			if err := may(g, role, Approve); err != nil {
				return err
			}
		}
		if err := settle(ctx, tx, g, a.want, req, agree); err != nil {
			return err
		}
		tell(g, out, agree)
		if !agree {
			return nil
		}
		return s.admit(ctx, tx, call, g, out, a.by, a.how, at, []*account.Account{a.who})
	})
	return command.Empty{}, err
}

// answerApplication is handle_apply_join_group (protocol 03 §6.2).
func (s *Service) answerApplication(ctx context.Context, call *command.Call, req *handleRequest) (command.Empty, error) {
	who, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, req.Applicant_Account)
	if err != nil {
		return command.Empty{}, errUnknownUser
	}
	act := actorOf(call)
	a := answering{want: application{kind: applied, applicant: who.UID}, act: act, who: who, member: true, how: joinedByApplication, by: act}
	return s.answer(ctx, call, req, a, func(_ *Info, out *outbox, agree bool) {
		report := noticeRefused
		if agree {
			report = noticeAccepted
		}
		out.notices = append(out.notices, notice{to: []int64{who.UID}, keep: true,
			body: noticeBody{ReportType: report, Operator_Account: act.id, RemarkInfo: req.ApprovalMsg}})
	})
}

// answerPermission is handle_invite_join_permission_group: an admin allows or
// refuses an invitation by a member (protocol 03 §6.4).
func (s *Service) answerPermission(ctx context.Context, call *command.Call, req *handleRequest) (command.Empty, error) {
	people, err := s.accountsFor(ctx, call.App.SDKAppID, []string{req.Applicant_Account, req.Invited_Account})
	if err != nil {
		return command.Empty{}, err
	}
	if len(people) != 2 {
		return command.Empty{}, command.Err(CodeBadParameter, "nobody invites himself")
	}
	inviter, who := people[0], people[1]
	a := answering{want: application{kind: needsAdmin, applicant: inviter.UID, invited: who.UID}, act: actorOf(call), who: who, member: true,
		how: joinedByInvitation, by: actor{uid: inviter.UID, id: inviter.UserID}}
	return s.answer(ctx, call, req, a, func(_ *Info, out *outbox, agree bool) {
		if agree {
			out.notices = append(out.notices, notice{to: []int64{who.UID}, keep: true, body: noticeBody{ReportType: noticeAdded, Operator_Account: inviter.UserID}})
		}
	})
}

// answerInvitation is handle_invite_join_group: the invited accepts or not
// (protocol 03 §6.5).
func (s *Service) answerInvitation(ctx context.Context, call *command.Call, req *handleRequest) (command.Empty, error) {
	people, err := s.accountsFor(ctx, call.App.SDKAppID, []string{req.Inviter_Account, call.UserID})
	if err != nil {
		return command.Empty{}, err
	}
	if len(people) != 2 {
		return command.Empty{}, command.Err(CodeBadParameter, "nobody invites himself")
	}
	inviter, me := people[0], people[1]
	act := actorOf(call)
	a := answering{want: application{kind: needsGuest, applicant: inviter.UID, invited: me.UID}, act: act, who: me, how: joinedByInvitation,
		by: actor{uid: inviter.UID, id: inviter.UserID}}
	return s.answer(ctx, call, req, a, func(_ *Info, out *outbox, agree bool) {
		report := noticeInviteNo
		if agree {
			report = noticeInviteYes
			out.notices = append(out.notices, notice{to: []int64{me.UID}, keep: true, body: noticeBody{ReportType: noticeAccepted, Operator_Account: inviter.UserID}})
		}
		p := personOf(me)
		out.notices = append(out.notices, notice{to: []int64{inviter.UID}, keep: true,
			body: noticeBody{ReportType: report, Operator_Account: me.UserID, RemarkInfo: req.ApprovalMsg, MsgMemberExtraInfo: &p}})
	})
}
