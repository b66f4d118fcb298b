// Package group knows who belongs together: groups, communities and their
// topics, their members, roles and rights, applications, attributes, counters
// and the notices about them. What is said in a group is the log's part
// (package grouplog).
package group

import (
	"encoding/json"
	"strings"

	"imserver/internal/config"
)

// Kind is the type of a group (protocol 03 §2).
type Kind uint8

// The kinds. A Topic is a part of a community with a log of its own; members,
// roles and profile are the community's.
const (
	Work Kind = iota + 1
	Public
	Meeting
	Community
	LiveRoom
	Topic
	kindEnd
)

// kindNames are the names that SDK clients know (protocol 03 §1.4).
var kindNames = [kindEnd]string{Work: "Private", Public: "Public", Meeting: "ChatRoom", Community: "Community",
	LiveRoom: "AVChatRoom", Topic: "Community"}

// String returns the name on the wire.
func (k Kind) String() string {
	if k < kindEnd {
		return kindNames[k]
	}
	return ""
}

// ParseKind reads a name, the newer ones Work and Meeting included (protocol 06 §3).
func ParseKind(name string) (Kind, bool) {
	switch name {
	case "Work":
		return Work, true
	case "Meeting":
		return Meeting, true
	}
	for k := Work; k < Topic; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// Settings returns what the app's configuration says of the kind.
func (k Kind) Settings(app *config.App) *config.GroupType {
	switch k {
	case Work:
		return &app.Groups.Work
	case Public:
		return &app.Groups.Public
	case Meeting:
		return &app.Groups.Meeting
	case LiveRoom:
		return &app.Groups.LiveRoom
	}
	return &app.Groups.Community
}

// Role of a member; the numbers are those of tips (protocol 03 §1.4).
type Role int16

// The roles. Nobody is who is no member, Above an app administrator.
const (
	Nobody   Role = 0
	Ordinary Role = 200
	Admin    Role = 300
	Owner    Role = 400
	Above    Role = 500
)

// String returns the name on the wire.
func (r Role) String() string {
	switch r {
	case Owner:
		return "Owner"
	case Admin:
		return "Admin"
	case Ordinary:
		return "Member"
	}
	return "NotMember"
}

// JoinOption says how one gets in, by oneself or by invitation.
type JoinOption uint8

// The join options.
const (
	Free JoinOption = iota
	NeedPermission
	Disabled
)

// ApplyName returns the value of ApplyJoinOption.
func (o JoinOption) ApplyName() string {
	return [...]string{"FreeAccess", "NeedPermission", "DisableApply"}[o]
}

// InviteName returns the value of InviteJoinOption.
func (o JoinOption) InviteName() string {
	return [...]string{"FreeAccess", "NeedPermission", "DisableInvite"}[o]
}

// Receive says what a member wants of new messages; the numbers are those of
// MsgRecvOption in the conversation list (protocol 03 §14.2).
type Receive int8

// The receive options. Inherit is a topic's default: as in the community.
const (
	Inherit         Receive = -1
	Notify          Receive = 0
	Discard         Receive = 1
	NotNotify       Receive = 2
	NotNotifyButAt  Receive = 3
	NotReceiveButAt Receive = 4
)

var receiveNames = [...]string{"AcceptAndNotify", "Discard", "AcceptNotNotify", "AcceptNotNotifyExceptAt", "NotReceiveMsgExceptAt"}

// String returns the value of MsgFlag.
func (r Receive) String() string {
	if r < 0 || int(r) >= len(receiveNames) {
		return receiveNames[0]
	}
	return receiveNames[r]
}

// ParseReceive reads a MsgFlag.
func ParseReceive(name string) (Receive, bool) {
	for i, n := range receiveNames {
		if n == name {
			return Receive(i), true
		}
	}
	return 0, false
}

// Info is a group or topic as the directory knows it. It is shared: do not
// change it.
type Info struct {
	GID          int64 // number of the group and of its log
	App          uint32
	ID           string // group ID; of a topic the full topic ID
	Kind         Kind
	Parent       int64 // of a topic the community's GID
	Name         string
	Introduction string
	Notification string
	FaceURL      string
	CustomText   string // CustomString of a topic
	Owner        int64  // uid; 0 when the group has none
	Apply        JoinOption
	Invite       JoinOption
	MaxMembers   int // 0 is no limit
	MemberNum    int
	MuteAll      bool
	SupportTopic bool
	Custom       map[string]string // AppDefinedData
	InfoSeq      int64
	InfoTime     int64 // unix s of the last change of the profile
	CreatedAt    int64 // unix s

	turn int64 // of the last change of members; set by that change alone
}

const topicMark = "@TOPIC#_"

// CommunityID returns the group ID that messages are addressed to: of a topic
// the community's (protocol 03 §1.3).
func (i *Info) CommunityID() string {
	if i.Kind != Topic {
		return i.ID
	}
	id, _, _ := strings.Cut(i.ID, topicMark)
	return id
}

// HubID returns the number of the hub topic that carries the group's events:
// topics use their community's, so that a member joins one.
func (i *Info) HubID() int64 {
	if i.Kind == Topic {
		return i.Parent
	}
	return i.GID
}

// Member is somebody in a group as the directory knows it. It is shared: do
// not change it.
type Member struct {
	GID, UID   int64
	Role       Role
	JoinedAt   int64 // unix s
	JoinSeq    int64 // the log's last sequence when joining
	ClearedSeq int64 // history up to here was cleared by the member
	MutedUntil int64 // unix s, 0 is not muted
	Receive    Receive
	NameCard   string
}

// Tip is a group event that is shown in the chat (protocol 03 §3.3). The log
// stores it as a system message, gives it the next sequence and publishes it
// to all members.
type Tip struct {
	Group      *Info
	Operator   int64           // uid of who acted, not counted as unread there; 0 for a REST caller
	OperatorID string          // user ID of who acted
	Body       json.RawMessage // MsgBody, an object with OpType
	// Exclude are accounts that must not get it: the one it tells has gone.
	Exclude []int64
}

// Head is the newest state of a log.
type Head struct {
	LastSeq    int64
	LastTime   int64 // unix s of the newest message, 0 when there is none
	LastRecall int64 // unix µs of the newest recall, 0 when there is none
}

// View says which part of a log a member sees and has read.
type View struct {
	Log         int64
	First       int64 // first visible sequence, cleared history considered
	Read        int64
	CountUnread bool // false for kinds without unread counts
}

// Summary is what a conversation or topic list shows of a log to one viewer.
type Summary struct {
	Head
	Unread   int
	Newest   *Newest         // the newest message that may stand in a list; nil when there is none
	Mentions json.RawMessage // AtInfoList, a JSON array; nil when there are none
}

// Newest is the newest visible message of a log. Lists render it.
type Newest struct {
	Seq        int64
	Time       int64 // unix s
	Random     int64
	ClientTime int64
	Sender     int64           // uid; 0 is the system
	SenderID   string          // user ID; "@TIM#SYSTEM" of the system
	Body       json.RawMessage // MsgBody: an array, of a tip an object
	Cloud      string          // CloudCustomData
	Tip        bool
	Recalled   bool
	Revoker    string // user ID of who recalled it
	Reason     string
}
