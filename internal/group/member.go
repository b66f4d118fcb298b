package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
)

type memberRequest struct {
	GroupId              string
	TopicId              string
	Member_Account       string
	Role                 *string
	ShutUpTime           *int64
	MuteTime             *int64
	NameCard             *string
	AppMemberDefinedData []KeyValue
	MsgFlag              *string
}

// modifyMember is modify_group_member_info: role, mute, card, custom fields,
// receive option; of a topic mute and receive option (protocol 03 §7.6).
func (s *Service) modifyMember(ctx context.Context, call *command.Call, req *memberRequest) (command.Empty, error) {
	id := req.Member_Account
	if id == "" && call.Kind != command.Admins {
		id = call.UserID
	}
	who, err := s.Accounts.Lookup(ctx, call.App.SDKAppID, id)
	if err != nil {
		return command.Empty{}, errUnknownUser
	}
	if req.ShutUpTime == nil {
		req.ShutUpTime = req.MuteTime
	}
	if req.TopicId != "" {
		return command.Empty{}, s.modifyTopicMember(ctx, call, req, who)
	}
	if g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId); err == nil && g.Kind == LiveRoom {
		return command.Empty{}, s.muteWatcher(ctx, call, req, who)
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == LiveRoom || g.Kind == Topic {
			return errNotForKind
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		m, err := memberOf(ctx, tx, g.GID, who.UID)
		if err != nil {
			return err
		}
		if m == nil {
			return command.Err(CodeNoPermission, "the account is not a member of the group")
		}
		e := edit{s: s, call: call, act: act, g: g, role: role, m: m, who: who, self: who.UID == act.uid, out: out}
		out.touched = []int64{who.UID}
		for _, step := range []func(context.Context, *sql.Tx, *memberRequest) error{e.setRole, e.setMute, e.setCard, e.setCustom, e.setReceive} {
			if err := step(ctx, tx, req); err != nil {
				return err
			}
		}
		return nil
	})
	return command.Empty{}, err
}

// edit is a change of one member under way.
type edit struct {
	s    *Service
	call *command.Call
	act  actor
	g    *Info
	role Role // of who acts
	m    *Member
	who  *account.Account
	self bool
	out  *outbox
}

func (e *edit) update(ctx context.Context, tx *sql.Tx, column string, value any) error {
	if _, err := tx.ExecContext(ctx, `UPDATE group_members SET `+column+` = $3 WHERE gid = $1 AND uid = $2`, e.g.GID, e.who.UID, value); err != nil {
		return fmt.Errorf("group: member %s: %w", column, err)
	}
	return nil
}

func (e *edit) setRole(ctx context.Context, tx *sql.Tx, req *memberRequest) error {
	if req.Role == nil {
		return nil
	}
	if err := mayOn(e.g, e.role, SetAdmins, e.m.Role, e.self); err != nil {
		return err
	}
	role, op, report := Ordinary, tipNoAdmin, noticeNoAdmin
	switch *req.Role {
	case "Admin":
		role, op, report = Admin, tipAdmin, noticeAdmin
	case "Member":
	default:
		return command.Err(CodeBadParameter, "Role is Admin or Member")
	}
	if e.m.Role == Owner {
		return command.Err(CodeNoPermission, "the owner's role changes by giving the group away")
	}
	if e.m.Role == role {
		return nil
	}
	if err := e.update(ctx, tx, "role", role); err != nil {
		return err
	}
	e.out.notices = append(e.out.notices, notice{to: []int64{e.who.UID}, keep: true, body: noticeBody{ReportType: report, Operator_Account: e.act.id}})
	if e.g.Kind.Settings(e.call.App).MemberProfileTips {
		e.out.tips = append(e.out.tips, e.s.tip(ctx, e.g, e.act, tipBody{OpType: op}, e.who))
	}
	return nil
}

// maxMute is the mute time that means for ever (protocol 06 §5.6).
const maxMute = 4294967295

func muteEnd(now, seconds int64) (int64, error) {
	if seconds < 0 || seconds > maxMute {
		return 0, command.Err(CodeBadParameter, "the mute time is out of range")
	}
	if seconds == 0 {
		return 0, nil
	}
	return min(now+seconds, maxMute), nil
}

func (e *edit) setMute(ctx context.Context, tx *sql.Tx, req *memberRequest) error {
	if req.ShutUpTime == nil {
		return nil
	}
	if err := mayOn(e.g, e.role, Mute, e.m.Role, e.self); err != nil {
		return err
	}
	until, err := muteEnd(e.s.Now().Unix(), *req.ShutUpTime)
	if err != nil {
		return err
	}
	if err := e.update(ctx, tx, "muted_until", until); err != nil {
		return err
	}
	if e.g.Kind.Settings(e.call.App).MuteTips {
		e.out.tips = append(e.out.tips, e.s.muteTip(ctx, e.g, e.act, *req.ShutUpTime, e.who))
	}
	return nil
}

func (s *Service) muteTip(ctx context.Context, g *Info, act actor, seconds int64, who ...*account.Account) Tip {
	body := tipBody{OpType: tipMuted}
	for _, a := range who {
		body.MsgMemberInfo = append(body.MsgMemberInfo, mutedUntil{a.UserID, seconds})
	}
	return s.tip(ctx, g, act, body, who...)
}

func (e *edit) setCard(ctx context.Context, tx *sql.Tx, req *memberRequest) error {
	if req.NameCard == nil {
		return nil
	}
	if err := mayOn(e.g, e.role, EditCard, e.m.Role, e.self); err != nil {
		return err
	}
	if err := checkText("NameCard", *req.NameCard, maxNameCard); err != nil {
		return err
	}
	return e.update(ctx, tx, "name_card", *req.NameCard)
}

func (e *edit) setCustom(ctx context.Context, tx *sql.Tx, req *memberRequest) error {
	if len(req.AppMemberDefinedData) == 0 {
		return nil
	}
	if err := mayOn(e.g, e.role, EditCard, e.m.Role, e.self); err != nil {
		return err
	}
	var old string
	if err := tx.QueryRowContext(ctx, `SELECT custom FROM group_members WHERE gid = $1 AND uid = $2`, e.g.GID, e.who.UID).Scan(&old); err != nil {
		return fmt.Errorf("group: member custom: %w", err)
	}
	merged, err := mergeCustom(decodeCustom(old), req.AppMemberDefinedData, e.call.App.CustomFields.Member)
	if err != nil {
		return err
	}
	return e.update(ctx, tx, "custom", encodeCustom(merged))
}

// setReceive changes one's own receive option; other devices are told.
func (e *edit) setReceive(ctx context.Context, tx *sql.Tx, req *memberRequest) error {
	if req.MsgFlag == nil {
		return nil
	}
	option, ok := ParseReceive(*req.MsgFlag)
	if !ok {
		return command.Err(CodeBadParameter, "MsgFlag is not valid")
	}
	if !e.self && e.role != Above {
		return errNoPermission
	}
	e.out.notices = append(e.out.notices, notice{to: []int64{e.who.UID}, others: true,
		body: noticeBody{ReportType: noticeReceive, Operator_Account: e.act.id, MsgFlag: option.String()}})
	return e.update(ctx, tx, "recv_opt", option)
}

// modifyTopicMember sets the mute or the receive option of a member in one
// topic.
func (s *Service) modifyTopicMember(ctx context.Context, call *command.Call, req *memberRequest, who *account.Account) error {
	topic, err := s.Groups.Topic(ctx, call.App.SDKAppID, req.TopicId)
	if err != nil {
		return err
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := hasTopic(ctx, tx, g, topic); err != nil {
			return err
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		m, err := memberOf(ctx, tx, g.GID, who.UID)
		if err != nil {
			return err
		}
		if m == nil {
			return command.Err(CodeNoPermission, "the account is not a member of the community")
		}
		self := who.UID == act.uid
		if req.MsgFlag != nil {
			option, ok := ParseReceive(*req.MsgFlag)
			if !ok {
				return command.Err(CodeBadParameter, "MsgFlag is not valid")
			}
			if !self && role != Above {
				return errNoPermission
			}
			out.notices = append(out.notices, notice{to: []int64{who.UID}, others: true, about: topic,
				body: noticeBody{ReportType: noticeReceive, Operator_Account: act.id, MsgFlag: option.String()}})
			if err := setTopicMember(ctx, tx, topic.GID, who.UID, "recv_opt", option); err != nil {
				return err
			}
		}
		if req.ShutUpTime == nil {
			return nil
		}
		if err := mayOn(g, role, Mute, m.Role, self); err != nil {
			return err
		}
		until, err := muteEnd(s.Now().Unix(), *req.ShutUpTime)
		if err != nil {
			return err
		}
		if g.Kind.Settings(call.App).MuteTips {
			out.tips = append(out.tips, s.muteTip(ctx, topic, act, *req.ShutUpTime, who))
		}
		return setTopicMember(ctx, tx, topic.GID, who.UID, "muted_until", until)
	})
	return err
}

func setTopicMember(ctx context.Context, tx *sql.Tx, tid, uid int64, column string, value any) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO topic_members (tid, uid, `+column+`) VALUES ($1, $2, $3)
		ON CONFLICT (tid, uid) DO UPDATE SET `+column+` = excluded.`+column, tid, uid, value); err != nil {
		return fmt.Errorf("group: topic member: %w", err)
	}
	return nil
}
