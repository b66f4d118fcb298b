package group

// Action is something that a role may do in a group.
type Action uint8

// The actions of the permission matrix (protocol 03 §2.1). Those on a member
// depend on the role of that member too.
const (
	EditBasics    Action = iota // name, introduction, notice, avatar
	EditRest                    // join options, custom fields, member limit
	MuteEveryone                // mute all
	SpeakMuted                  // send while all are muted
	SetAdmins                   // on a member: make admin, or no longer
	Kick                        // on a member
	Mute                        // on a member
	Ban                         // on a watcher of a live room
	Transfer                    // give the ownership away
	Leave                       // quit
	Dismiss                     // destroy the group
	Invite                      // add others, as far as the invite option allows
	InviteFreely                // add others although the option says no
	Approve                     // answer applications
	EditCard                    // on a member: name card, custom fields
	SetAttributes               // attributes
	SetCounters                 // counters
	Pin                         // pin messages
	RecallAny                   // on a member: recall a message of theirs, at any time
	ManageTopics                // create, change, destroy topics
	ReadMembers                 // member list
	actionEnd
)

// matrix says who may: one letter each for owner, admin and ordinary member.
//
//	y  yes, on every target, oneself included
//	o  yes, on others of any role
//	m  on ordinary members only
//	c  on ordinary members and oneself (a card)
//	s  on oneself only
//	-  no
//
// Columns: Work, Public, Meeting, Community, LiveRoom. A topic has its
// community's column. Work groups have no admins; those of a live room are
// made through REST alone, so it has no SetAdmins, and may what those of a
// meeting may.
var matrix = [actionEnd][5]string{
	EditBasics:    {"y-y", "yy-", "yy-", "yy-", "yy-"},
	EditRest:      {"y--", "yy-", "yy-", "yy-", "yy-"},
	MuteEveryone:  {"---", "yy-", "yy-", "yy-", "yy-"},
	SpeakMuted:    {"y--", "yy-", "yy-", "yy-", "yy-"},
	SetAdmins:     {"---", "o--", "o--", "o--", "---"},
	Kick:          {"o--", "om-", "om-", "om-", "---"},
	Mute:          {"---", "om-", "om-", "om-", "om-"},
	Ban:           {"---", "---", "---", "---", "om-"},
	Transfer:      {"o--", "o--", "o--", "o--", "---"},
	Leave:         {"y-y", "-yy", "-yy", "-yy", "-yy"},
	Dismiss:       {"---", "y--", "y--", "y--", "y--"},
	Invite:        {"y-y", "yyy", "yyy", "yyy", "---"},
	InviteFreely:  {"y--", "yy-", "yy-", "yy-", "---"},
	Approve:       {"y--", "yy-", "yy-", "yy-", "---"},
	EditCard:      {"y-s", "ycs", "ycs", "ycs", "---"},
	SetAttributes: {"y-y", "yyy", "yyy", "yyy", "yyy"},
	SetCounters:   {"y-y", "yyy", "yyy", "---", "yyy"},
	Pin:           {"y-y", "yyy", "yyy", "yyy", "---"},
	RecallAny:     {"o--", "om-", "om-", "om-", "om-"},
	ManageTopics:  {"---", "---", "---", "yy-", "---"},
	ReadMembers:   {"y-y", "yyy", "yyy", "yyy", "yyy"},
}

// SpeaksMuted is the lowest role that speaks while all are muted, in every kind
// that can be muted: what the matrix says, for queries.
const SpeaksMuted = Admin

// hasAction reports whether a kind has the action at all, for an app's
// administrator too: destroying is always possible to one.
func hasAction(kind Kind, a Action) bool {
	return a == Dismiss || matrix[a][column(kind)] != "---"
}

func column(kind Kind) int {
	if kind == Topic {
		kind = Community
	}
	return int(kind - Work)
}

// May reports whether a role may do a in groups of kind, to a target where the
// action has one: Nobody otherwise. self says that the target is the actor.
// An app administrator (Above) may do all that the kind has.
func May(kind Kind, role Role, a Action, target Role, self bool) bool {
	if kind < Work || kind >= kindEnd || a >= actionEnd {
		return false
	}
	if role == Above {
		return hasAction(kind, a)
	}
	cell := matrix[a][column(kind)]
	var reach byte
	switch role {
	case Owner:
		reach = cell[0]
	case Admin:
		reach = cell[1]
	case Ordinary:
		reach = cell[2]
	default:
		return false
	}
	switch reach {
	case 'y':
		return true
	case 'o':
		return !self
	case 'm':
		return !self && target <= Ordinary
	case 'c':
		return self || target <= Ordinary
	case 's':
		return self
	}
	return false
}
