package group

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// Log is what the groups need of their message logs.
type Log interface {
	// AppendTip takes a tip to be stored as the next message of its group's
	// log, after those taken before, and published in order. It does not wait:
	// what it returns tells once whether the tip was stored.
	AppendTip(ctx context.Context, tip Tip) <-chan error
	// Heads returns the newest state of those logs that have anything, with
	// one query.
	Heads(ctx context.Context, logs []int64) (map[int64]Head, error)
	// Places returns where the logs of a group stand, its topics' included:
	// those that have anything, with one query.
	Places(ctx context.Context, gid int64) ([]fanout.Position, error)
	// Before returns the last sequence of a log that was said before each of
	// some moments (unix s), by moment, with one query.
	Before(ctx context.Context, log int64, moments []int64) (map[int64]int64, error)
	// Summaries returns what uid sees of the logs, with a fixed number of
	// queries; logs without anything visible are left out.
	Summaries(ctx context.Context, uid int64, views []View) (map[int64]Summary, error)
	// DropMentions removes mentions of uid, each named by its tip's sequence
	// and random (protocol 02 §13.1).
	DropMentions(ctx context.Context, uid int64, list [][2]int64) error
}

// Presence knows who is online.
type Presence interface {
	// Online returns which of the accounts have a live connection on any node.
	Online(ctx context.Context, uids []int64) (map[int64]bool, error)
}

// Options of a Service; Rooms and Presence may be nil.
type Options struct {
	DB       *store.DB
	Accounts *account.Directory
	Groups   *Directory
	Hub      *fanout.Hub
	Messages Log
	Rooms    Rooms
	Presence Presence
	Now      func() time.Time
	Log      *slog.Logger
}

// Service does the group commands.
type Service struct {
	Options
	turns       turns
	memberships *store.Lookup[int64]       // the gids of an account's groups
	online      *expirable.LRU[int64, int] // how many members are online, by gid
	// What many ask for at once when they log in: the groups in the list of
	// conversations, and the joined groups, by the condition on them.
	memberOf *store.Each[listedRow]
	lists    map[string]*store.Each[joinedRow]
}

// NewService makes the service.
func NewService(o Options) *Service {
	s := &Service{Options: o, online: expirable.NewLRU[int64, int](onlineGroups, nil, onlineFor), memberships: store.NewLookup(o.DB, `SELECT uid, gid FROM group_members WHERE uid %s`,
		func(rows *sql.Rows, uid, gid *int64) error { return rows.Scan(uid, gid) }),
		memberOf: store.NewEach(o.DB, 1, listedQuery, scanListed), lists: map[string]*store.Each[joinedRow]{}}
	for _, where := range []string{joinedGroups, joinedPlain, joinedTopical} {
		s.lists[where] = store.NewEach(o.DB, 1, joinedQuery(where), scanJoined)
	}
	return s
}

// services are the two names under which every command is known: that of
// communities and that of all other groups (protocol 03 §1.1).
var services = [2]string{"group_open_http_svc.", communityService}

const (
	communityService = "million_group_open_http_svc."
	watchService     = "group_open_avchatroom_http_svc."
)

// handle registers fn under both service names.
func handle[Req, Ans any](t *command.Table, name string, access command.Access, fn func(context.Context, *command.Call, *Req) (Ans, error)) {
	for _, svc := range services {
		command.Handle(t, svc+name, access, fn)
	}
}

// Register adds the commands to the table.
func (s *Service) Register(t *command.Table) {
	const both = command.Users | command.Admins
	handle(t, "create_group", both|command.Once, s.create)
	handle(t, "destroy_group", both|command.Once, s.destroy)
	handle(t, "modify_group_base_info", both, s.modify)
	handle(t, "get_group_self_member_info", command.Users|command.Snapshot, s.selfInfo)
	handle(t, "get_group_public_info", both, s.publicInfo)
	handle(t, "get_group_info", both|command.Snapshot, s.fullInfo)
	handle(t, "get_joined_group_list", both|command.Snapshot, s.joined)
	handle(t, "get_online_member_num", both|command.Anonymous, s.onlineNum)

	handle(t, "apply_join_group", command.Users|command.Once|command.Crowded, s.apply)
	handle(t, "quit_group", command.Users|command.Once, s.quit)
	handle(t, "add_group_member", both|command.Once, s.add)
	handle(t, "delete_group_member", both|command.Once, s.kick)
	handle(t, "change_group_owner", both|command.Once, s.transfer)
	handle(t, "get_pendency", command.Users, s.pendency)
	handle(t, "handle_apply_join_group", command.Users|command.Once, s.answerApplication)
	handle(t, "handle_invite_join_permission_group", command.Users|command.Once, s.answerPermission)
	handle(t, "handle_invite_join_group", command.Users|command.Once, s.answerInvitation)

	handle(t, "get_group_member_info", both, s.memberList)
	handle(t, "get_specified_group_member_info", both, s.memberProfiles)
	handle(t, "modify_group_member_info", both|command.Once, s.modifyMember)

	handle(t, "set_group_attr", both|command.Once, s.setAttributes)
	handle(t, "modify_group_attr", both|command.Once, s.modifyAttributes)
	handle(t, "delete_group_attr", both|command.Once, s.deleteAttributes)
	handle(t, "clear_group_attr", both|command.Once, s.clearAttributes)
	handle(t, "get_group_attr", both, s.attributes)
	command.Handle(t, "group_open_attr_http_svc.get_group_attr", both, s.attributes)
	handle(t, "update_group_counter", both|command.Once, s.updateCounters)
	handle(t, "get_group_counter", both, s.counters)

	command.Handle(t, communityService+"create_topic", both|command.Once, s.createTopic)
	command.Handle(t, communityService+"destroy_topic", both|command.Once, s.destroyTopics)
	command.Handle(t, communityService+"modify_topic", both, s.modifyTopic)
	command.Handle(t, communityService+"get_topic", both, s.topics)

	command.Handle(t, watchService+"modify_admin", command.Admins|command.Once, s.modifyRoomAdmins)
	command.Handle(t, watchService+"get_admin_list", command.Admins, s.roomAdmins)

	command.Handle(t, "openim.deletemsg", command.Users, s.dropNotices)

	handle(t, "delete_group_counter", command.Admins|command.Once, s.deleteCounters)
	handle(t, "import_group", command.Admins|command.Once, s.importGroup)
	handle(t, "import_group_member", command.Admins|command.Once, s.importMembers)
	handle(t, "import_topic", command.Admins|command.Once, s.importTopic)
	handle(t, "get_appid_group_list", command.Admins, s.allGroups)
	handle(t, "get_role_in_group", command.Admins, s.roles)
	handle(t, "forbid_send_msg", command.Admins|command.Once, s.forbid)
	handle(t, "get_group_muted_account", command.Admins, s.muted)
	handle(t, "get_group_shutted_uin", command.Admins, s.muted)
	handle(t, "send_group_system_notification", command.Admins|command.Once, s.systemNotification)
}

// actor is who does something: a member, or an app administrator with every
// right (protocol 03 §2.1).
type actor struct {
	uid    int64 // 0 of a REST caller without an account
	id     string
	admin  bool
	device fanout.Device
}

func actorOf(call *command.Call) actor {
	return actor{uid: call.UID, id: call.UserID, admin: call.Kind == command.Admins || call.App.IsAdmin(call.UserID) && call.UserID != "",
		device: fanout.Device{UID: call.UID, Inst: call.Inst}}
}

// role returns what the actor is in a group where m is its membership or nil.
func (a actor) role(m *Member) Role {
	switch {
	case a.admin:
		return Above
	case m == nil:
		return Nobody
	}
	return m.Role
}

// member returns the caller's group and membership for a command that only
// reads; 10007 for those who are none and no administrators. m is nil then.
func (s *Service) member(ctx context.Context, call *command.Call, groupID string) (*Info, *Member, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, groupID)
	if err != nil {
		return nil, nil, err
	}
	home := g.GID
	if g.Kind == Topic {
		home = g.Parent
	}
	if g.Kind == LiveRoom {
		return g, nil, nil // who watches is the room's business
	}
	m, err := s.Groups.Member(ctx, home, call.UID)
	switch {
	case !errors.Is(err, errNotMember):
		return g, m, err
	case actorOf(call).admin:
		return g, nil, nil
	}
	// Nobody is a member any more of a group that another node has just destroyed.
	if _, gone := s.Groups.read(ctx, home); gone != nil {
		return nil, nil, gone
	}
	return nil, nil, err
}

// limitOf returns the configured bound of members of a kind; 0 is none.
func limitOf(app *config.App, kind Kind) int { return kind.Settings(app).Members }
