package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/store"
)

// Rooms does what is different in live rooms, whose watchers are no rows of a
// table (protocol 03 §13).
type Rooms interface {
	// Join and Quit answer apply_join_group and quit_group of a live room.
	Join(ctx context.Context, call *command.Call, g *Info, history bool) (any, error)
	Quit(ctx context.Context, call *command.Call, g *Info) error
	// Count returns how many watch.
	Count(ctx context.Context, gid int64) (int, error)
	// Watching returns those of the accounts who watch, as members; the owner
	// and the administrators also while they do not.
	Watching(ctx context.Context, g *Info, uids []int64) (map[int64]*Member, error)
	// Tell hands everybody in the room an event of the system: its number and
	// its MsgBody.
	Tell(ctx context.Context, g *Info, event int, body []byte)
	// Closed ends a destroyed room; body is the notice that says so.
	Closed(ctx context.Context, g *Info, body []byte)
}

// membersOf returns those of the accounts who are in the group, in a live room
// who watch it.
func (s *Service) membersOf(ctx context.Context, g *Info, uids []int64) (map[int64]*Member, error) {
	if g.Kind != LiveRoom {
		return s.Groups.MembersOf(ctx, g.GID, uids)
	}
	if s.Rooms == nil {
		return nil, nil
	}
	return s.Rooms.Watching(ctx, g, uids)
}

// here refuses a caller who would change what a live room's watchers share and
// is none of them: the room is open to all, but not to the banned. Its owner and
// administrators, and those of the app, do so from outside, too. In other groups
// the roles say who may.
func (s *Service) here(ctx context.Context, call *command.Call, groupID string) error {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, groupID)
	if err != nil || g.Kind != LiveRoom || s.Rooms == nil || actorOf(call).admin {
		return err
	}
	found, err := s.Rooms.Watching(ctx, g, []int64{call.UID})
	if err == nil && found[call.UID] == nil {
		err = errNotMember
	}
	return err
}

// sharing is acting for what [Service.here] has let pass. A ban that another
// node has stored is in the database before this node hears of it.
func (s *Service) sharing(ctx context.Context, tx *sql.Tx, g *Info, act actor) (Role, error) {
	role, err := acting(ctx, tx, g, act)
	if err != nil || g.Kind != LiveRoom || role != Ordinary {
		return role, err
	}
	var banned bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM group_bans WHERE gid = $1 AND uid = $2 AND until > $3)`,
		g.GID, act.uid, s.Now().Unix()).Scan(&banned); err != nil {
		return 0, fmt.Errorf("group: ban from a live room: %w", err)
	}
	if banned {
		return 0, errNotMember
	}
	return role, nil
}

// watchers returns those of the accounts who watch a live room as lists show
// members, in the order of the accounts.
func (s *Service) watchers(ctx context.Context, g *Info, uids []int64) ([]row, error) {
	found, err := s.membersOf(ctx, g, uids)
	if err != nil {
		return nil, err
	}
	list := make([]row, 0, len(found))
	for _, uid := range uids {
		if m := found[uid]; m != nil {
			list = append(list, row{Member: *m})
		}
	}
	return list, nil
}

// tellRoom is tell for a live room: what everybody sees is an event of the
// room, and nothing of that is stored.
func (s *Service) tellRoom(ctx context.Context, call *command.Call, g *Info, out *outbox) {
	for i := range out.notices {
		s.publishNotice(g, &out.notices[i], actorOf(call).device)
	}
	if s.Rooms == nil {
		return
	}
	for _, e := range out.events {
		s.Rooms.Tell(ctx, g, 6, marshal(e.body))
	}
	for _, tip := range out.tips {
		s.Rooms.Tell(ctx, g, 4, tip.Body)
	}
}

// roleInRoom returns the role of an account that may watch a live room, inside
// a transaction.
func roleInRoom(ctx context.Context, tx *sql.Tx, g *Info, uid int64) (Role, error) {
	switch uid {
	case 0: // a caller without an account
		return Ordinary, nil
	case g.Owner:
		return Owner, nil
	}
	var admin bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM group_admins WHERE gid = $1 AND uid = $2)`, g.GID, uid).Scan(&admin); err != nil {
		return 0, fmt.Errorf("group: role in a live room: %w", err)
	}
	if admin {
		return Admin, nil
	}
	return Ordinary, nil
}

// muteWatcher is modify_group_member_info in a live room, where a member has
// nothing else to change (protocol 03 §2.1).
func (s *Service) muteWatcher(ctx context.Context, call *command.Call, req *memberRequest, who *account.Account) error {
	if req.ShutUpTime == nil {
		return errNotForKind
	}
	until, err := muteEnd(s.Now().Unix(), *req.ShutUpTime)
	if err != nil {
		return err
	}
	act := actorOf(call)
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		target, err := roleInRoom(ctx, tx, g, who.UID)
		if err != nil {
			return err
		}
		if err := mayOn(g, role, Mute, target, who.UID == act.uid || target == Owner); err != nil {
			return err
		}
		out.touched = []int64{who.UID}
		if g.Kind.Settings(call.App).MuteTips {
			out.tips = append(out.tips, s.muteTip(ctx, g, act, *req.ShutUpTime, who))
		}
		return mute(ctx, tx, g, nil, []*account.Account{who}, until)
	})
	return err
}

type roomAdminsRequest struct {
	GroupId       string
	CommandType   int // 1 set, 2 clear
	Admin_Account []string
}

// maxRoomAdmins bounds the administrators of a live room, as the hosted
// service does.
const maxRoomAdmins = 5

// modifyRoomAdmins is modify_admin: an app's administrator makes accounts
// administrators of a live room, whether they watch or not, and they stay it
// until that is taken back (protocol 06 §5.6). As in other groups everybody
// sees a tip, and those concerned get a notice (protocol 03 §7.6).
func (s *Service) modifyRoomAdmins(ctx context.Context, call *command.Call, req *roomAdminsRequest) (command.Empty, error) {
	if req.CommandType != 1 && req.CommandType != 2 || len(req.Admin_Account) == 0 || len(req.Admin_Account) > maxRoomAdmins {
		return command.Empty{}, command.Errf(CodeBadParameter, "CommandType is 1 or 2, and Admin_Account has 1 to %d accounts", maxRoomAdmins)
	}
	accounts, err := s.accountsFor(ctx, call.App.SDKAppID, req.Admin_Account)
	if err != nil {
		return command.Empty{}, err
	}
	act := actorOf(call)
	role, op, report := Admin, tipAdmin, noticeAdmin
	if req.CommandType == 2 {
		role, op, report = Ordinary, tipNoAdmin, noticeNoAdmin
	}
	_, err = s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind != LiveRoom {
			return errNotForKind
		}
		changed, err := setRoomRole(ctx, tx, g, accounts, role)
		if err != nil || len(changed) == 0 {
			return err
		}
		for _, a := range changed {
			out.touched = append(out.touched, a.UID)
		}
		out.notices = []notice{{to: out.touched, keep: true, body: noticeBody{ReportType: report, Operator_Account: act.id}}}
		if g.Kind.Settings(call.App).MemberProfileTips {
			out.tips = append(out.tips, s.tip(ctx, g, act, tipBody{OpType: op}, changed...))
		}
		return nil
	})
	return command.Empty{}, err
}

// setRoomRole makes accounts administrators of a live room or ordinary
// watchers, and returns those whose role that changed.
func setRoomRole(ctx context.Context, tx *sql.Tx, g *Info, accounts []*account.Account, role Role) (changed []*account.Account, err error) {
	admins, err := store.Collect(ctx, tx, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`SELECT uid FROM group_admins WHERE gid = $1`, g.GID)
	if err != nil {
		return nil, fmt.Errorf("group: administrators of a live room: %w", err)
	}
	is := make(map[int64]bool, len(admins))
	for _, uid := range admins {
		is[uid] = true
	}
	for _, a := range accounts { // maxRoomAdmins at most
		if a.UID == g.Owner {
			return nil, command.Err(CodeBadParameter, "the owner's role does not change")
		}
		if is[a.UID] == (role == Admin) {
			continue
		}
		query := `DELETE FROM group_admins WHERE gid = $1 AND uid = $2`
		if role == Admin {
			query = `INSERT INTO group_admins (gid, uid) VALUES ($1, $2)`
		}
		if _, err := tx.ExecContext(ctx, query, g.GID, a.UID); err != nil {
			return nil, fmt.Errorf("group: administrators of a live room: %w", err)
		}
		changed = append(changed, a)
	}
	if role == Admin && len(admins)+len(changed) > maxRoomAdmins {
		return nil, command.Errf(CodeTooMany, "a live room has at most %d administrators", maxRoomAdmins)
	}
	return changed, nil
}

type roomAdmin struct {
	Admin_Account string
	NickName      string
	Avatar        string
}

type roomAdminsAnswer struct {
	Admin_List []roomAdmin
}

// roomAdmins is get_admin_list.
func (s *Service) roomAdmins(ctx context.Context, call *command.Call, req *groupRequest) (*roomAdminsAnswer, error) {
	g, err := s.Groups.Group(ctx, call.App.SDKAppID, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind != LiveRoom {
		return nil, errNotForKind
	}
	uids, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`SELECT uid FROM group_admins WHERE gid = $1 ORDER BY uid`, g.GID)
	if err != nil {
		return nil, fmt.Errorf("group: administrators of a live room: %w", err)
	}
	who, err := s.Accounts.ByUIDs(ctx, uids)
	if err != nil {
		return nil, err
	}
	ans := &roomAdminsAnswer{Admin_List: []roomAdmin{}}
	for _, uid := range uids {
		if a := who[uid]; a != nil {
			ans.Admin_List = append(ans.Admin_List, roomAdmin{a.UserID, a.Nick, a.Avatar})
		}
	}
	return ans, nil
}
