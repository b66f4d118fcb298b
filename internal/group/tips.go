package group

import (
	"context"
	"encoding/json"

	"imserver/internal/account"
)

// OpTypes of tips (protocol 03 §3.3).
const (
	tipJoined  = 1
	tipQuit    = 2
	tipKicked  = 3
	tipAdmin   = 4
	tipNoAdmin = 5
	tipProfile = 6
	tipMuted   = 7
	tipTopic   = 8
)

// How somebody came in: GroupJoinType of tip 1.
const (
	joinedByApplication = 1
	joinedByInvitation  = 2
)

// tipBody is the MsgBody of a tip.
type tipBody struct {
	OpType                     int
	Operator_Account           string
	List_Account               []string `json:",omitempty"`
	GroupJoinType              *int     `json:",omitempty"`
	MemberNum                  *int     `json:",omitempty"`
	MsgOperatorMemberExtraInfo person
	MsgMemberExtraInfo         []person     `json:",omitempty"`
	MsgMemberInfo              []mutedUntil `json:",omitempty"`
	MemberExtraInfo            *kickReason  `json:",omitempty"`
	MsgGroupNewInfo            any          `json:",omitempty"`
	MsgTopicNewInfo            any          `json:",omitempty"`
}

// mutedUntil tells of a mute, in seconds from now; 0 is its end. In a kick
// with a reason the SDK needs it too (protocol 03 trap 11).
type mutedUntil struct {
	User_Account string
	ShutupTime   int64
}

type kickReason struct{ Reason string }

// newInfo is what changed of a profile: MsgGroupNewInfo (protocol 03 §3.3).
type newInfo struct {
	GroupName         *string    `json:",omitempty"`
	GroupIntroduction *string    `json:",omitempty"`
	GroupNotification *string    `json:",omitempty"`
	GroupFaceUrl      *string    `json:",omitempty"`
	Owner_Account     string     `json:",omitempty"`
	ApplyJoinOption   string     `json:",omitempty"`
	InviteJoinOption  string     `json:",omitempty"`
	ShutupAll         *int       `json:",omitempty"`
	MsgAppDefinedData []KeyValue `json:",omitempty"`
}

// tip makes the tip of body by act about the given accounts.
func (s *Service) tip(ctx context.Context, g *Info, act actor, body tipBody, about ...*account.Account) Tip {
	body.Operator_Account = act.id
	body.MsgOperatorMemberExtraInfo = s.operator(ctx, act)
	for _, a := range about {
		body.List_Account = append(body.List_Account, a.UserID)
		body.MsgMemberExtraInfo = append(body.MsgMemberExtraInfo, personOf(a))
	}
	raw, _ := json.Marshal(body) // plain fields
	return Tip{Group: g, Operator: act.uid, OperatorID: act.id, Body: raw}
}

// joinTip is tip 1, or none where the kind's members come and go silently.
func (s *Service) joinTip(ctx context.Context, g *Info, act actor, how int, wanted bool, added []*account.Account) []Tip {
	if !wanted || len(added) == 0 {
		return nil
	}
	return []Tip{s.tip(ctx, g, act, tipBody{OpType: tipJoined, GroupJoinType: &how, MemberNum: &g.MemberNum}, added...)}
}
