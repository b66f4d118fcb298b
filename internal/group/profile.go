package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/config"
)

type modifyRequest struct {
	GroupId string
	profileTexts
	ApplyJoinOption  *string
	InviteJoinOption *string
	ShutUpAllMember  *string
	MuteAllMember    *string
	MaxMemberNum     int
	MaxMemberCount   int
	AppDefinedData   []KeyValue
}

// modify is modify_group_base_info: what changed becomes tip 6, mute all by
// its own switch (protocol 03 §4.4).
func (s *Service) modify(ctx context.Context, call *command.Call, req *modifyRequest) (command.Empty, error) {
	if err := req.check(); err != nil {
		return command.Empty{}, err
	}
	act := actorOf(call)
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == Topic {
			return errBadID
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		told, err := req.apply(call.App, g, role)
		if err != nil {
			return err
		}
		g.InfoSeq, g.InfoTime = g.InfoSeq+1, s.Now().Unix()
		if err := s.saveProfile(ctx, tx, g); err != nil {
			return err
		}
		settings := g.Kind.Settings(call.App)
		if !settings.MuteTips {
			told.ShutupAll = nil
		}
		if !settings.ProfileTips {
			told = newInfo{ShutupAll: told.ShutupAll}
		}
		if !told.empty() {
			out.tips = append(out.tips, s.tip(ctx, g, act, tipBody{OpType: tipProfile, MsgGroupNewInfo: told}))
		}
		return nil
	})
	return command.Empty{}, err
}

func (n *newInfo) empty() bool {
	return n.GroupName == nil && n.GroupIntroduction == nil && n.GroupNotification == nil && n.GroupFaceUrl == nil && n.Owner_Account == "" &&
		n.ApplyJoinOption == "" && n.InviteJoinOption == "" && n.ShutupAll == nil && len(n.MsgAppDefinedData) == 0
}

// apply checks each right and puts the new values into g; it returns what has
// become different.
func (r *modifyRequest) apply(app *config.App, g *Info, role Role) (told newInfo, err error) {
	if r.Name != nil || r.Introduction != nil || r.Notification != nil || r.FaceUrl != nil {
		if err := may(g, role, EditBasics); err != nil {
			return told, err
		}
		told.GroupName = replace(&g.Name, r.Name)
		told.GroupIntroduction = replace(&g.Introduction, r.Introduction)
		told.GroupNotification = replace(&g.Notification, r.Notification)
		told.GroupFaceUrl = replace(&g.FaceURL, r.FaceUrl)
	}
	if mute := firstOf(r.ShutUpAllMember, r.MuteAllMember); mute != nil {
		if err := may(g, role, MuteEveryone); err != nil {
			return told, err
		}
		if *mute != "On" && *mute != "Off" {
			return told, command.Err(CodeBadParameter, "ShutUpAllMember is On or Off")
		}
		if on := *mute == "On"; on != g.MuteAll {
			g.MuteAll = on
			n := flag(on)
			told.ShutupAll = &n
		}
	}
	rest := r.ApplyJoinOption != nil || r.InviteJoinOption != nil || r.MaxMemberNum != 0 || r.MaxMemberCount != 0 || len(r.AppDefinedData) > 0
	if !rest {
		return told, nil
	}
	if err := may(g, role, EditRest); err != nil {
		return told, err
	}
	return told, r.applyRest(app, g, &told)
}

func (r *modifyRequest) applyRest(app *config.App, g *Info, told *newInfo) error {
	if r.ApplyJoinOption != nil {
		o, err := parseApply(*r.ApplyJoinOption)
		if err != nil {
			return err
		}
		if o != g.Apply {
			if applyFixed(g.Kind) {
				return errNotForKind
			}
			g.Apply, told.ApplyJoinOption = o, o.ApplyName()
		}
	}
	if r.InviteJoinOption != nil {
		o, err := parseInvite(*r.InviteJoinOption)
		if err != nil {
			return err
		}
		if o != g.Invite {
			if g.Kind == LiveRoom {
				return errNotForKind
			}
			g.Invite, told.InviteJoinOption = o, o.InviteName()
		}
	}
	if asked := max(r.MaxMemberNum, r.MaxMemberCount); asked != 0 {
		limit, err := memberLimit(app, g.Kind, asked)
		if err != nil {
			return err
		}
		g.MaxMembers = limit
	}
	custom, err := mergeCustom(g.Custom, r.AppDefinedData, app.CustomFields.Group)
	if err != nil {
		return err
	}
	for _, kv := range r.AppDefinedData {
		if g.Custom[kv.Key] != kv.Value {
			told.MsgAppDefinedData = append(told.MsgAppDefinedData, kv)
		}
	}
	g.Custom = custom
	return nil
}

func (s *Service) saveProfile(ctx context.Context, tx *sql.Tx, g *Info) error {
	if _, err := tx.ExecContext(ctx, `UPDATE groups SET name = $2, introduction = $3, notification = $4, face_url = $5, custom_text = $6,
		apply_option = $7, invite_option = $8, max_members = $9, mute_all = $10, custom = $11, info_seq = $12, info_time = $13 WHERE gid = $1`,
		g.GID, g.Name, g.Introduction, g.Notification, g.FaceURL, g.CustomText, g.Apply, g.Invite, g.MaxMembers, flag(g.MuteAll),
		encodeCustom(g.Custom), g.InfoSeq, g.InfoTime); err != nil {
		return fmt.Errorf("group: modify: %w", err)
	}
	return nil
}

// replace sets *field to *value and returns value if that changed it.
func replace(field, value *string) *string {
	if value == nil || *value == *field {
		return nil
	}
	*field = *value
	return value
}

func firstOf[T any](list ...*T) *T {
	for _, p := range list {
		if p != nil {
			return p
		}
	}
	return nil
}
