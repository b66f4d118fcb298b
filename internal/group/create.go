package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"imserver/internal/account"
	"imserver/internal/command"
)

type memberInput struct {
	Member_Account       string
	Role                 string
	AppMemberDefinedData []KeyValue
}

type createRequest struct {
	Type             string
	Name             string
	GroupId          string
	Owner_Account    string
	Introduction     string
	Notification     string
	FaceUrl          string
	MaxMemberCount   int
	MaxMemberNum     int
	ApplyJoinOption  string
	InviteJoinOption string
	MemberList       []memberInput
	AppDefinedData   []KeyValue
	SupportTopic     int
	CreateTime       int64 // of an imported group, unix s
}

type createAnswer struct {
	GroupId                      string
	Type                         string
	HugeGroupFlag                int      `json:",omitempty"`
	OverJoinedGroupLimit_Account []string `json:",omitempty"`
}

// create is create_group (protocol 03 §5.1, 06 §5.6). The first message of the
// group is the client's doing.
func (s *Service) create(ctx context.Context, call *command.Call, req *createRequest) (*createAnswer, error) {
	g, err := newGroup(call, req)
	if err != nil {
		return nil, err
	}
	g.CreatedAt = s.Now().Unix()
	return s.found(ctx, call, req, g, s.foundingNotices)
}

// found stores a new group with its first members and tells them of it by the
// notices that tell returns.
func (s *Service) found(ctx context.Context, call *command.Call, req *createRequest, g *Info, tell func(act actor, g *Info, added []int64) []notice) (*createAnswer, error) {
	owner, members, over, err := s.founders(ctx, call, req, g)
	if err != nil {
		return nil, err
	}
	g.InfoTime, g.InfoSeq = g.CreatedAt, 1
	if owner != nil {
		g.Owner = owner.UID
	}
	out := &outbox{}
	err = s.DB.Tx(ctx, func(tx *sql.Tx) error {
		g.MemberNum, *out = 0, outbox{}
		if err := s.checkCounts(ctx, tx, call, g); err != nil {
			return err
		}
		if err := insertGroup(ctx, tx, g, call.UID); err != nil {
			return err
		}
		if len(members) == 0 {
			return nil
		}
		added, err := s.enter(ctx, tx, g, members, 0)
		if err != nil {
			return err
		}
		out.touched, out.joined = added, added
		out.notices = tell(actorOf(call), g, added)
		return s.keepNotices(ctx, tx, g, out.notices)
	})
	if err != nil {
		return nil, err
	}
	s.tell(ctx, call, g, out) // no tips (protocol 03 §5.1)
	ans := &createAnswer{GroupId: g.ID, Type: g.Kind.String(), OverJoinedGroupLimit_Account: over}
	if g.Kind == LiveRoom {
		ans.HugeGroupFlag = 1
	}
	return ans, nil
}

// newGroup checks the request's own values.
func newGroup(call *command.Call, req *createRequest) (*Info, error) {
	kind, ok := ParseKind(req.Type)
	if !ok {
		return nil, command.Err(CodeBadParameter, "Type is not a type of group")
	}
	app := call.App
	if kind == Community && (!app.Community || req.SupportTopic == 1 && !app.Topics) {
		return nil, command.Err(CodeCommunityOff, "the app has no communities of that kind")
	}
	g := &Info{App: app.SDKAppID, ID: req.GroupId, Kind: kind, Name: req.Name, Introduction: req.Introduction, Notification: req.Notification,
		FaceURL: req.FaceUrl, SupportTopic: kind == Community && req.SupportTopic == 1}
	texts := profileTexts{&req.Name, &req.Introduction, &req.Notification, &req.FaceUrl}
	if err := texts.check(); err != nil {
		return nil, err
	}
	if g.ID == "" {
		g.ID = newID(kind)
	} else if err := checkCustomID(g.ID, kind); err != nil {
		return nil, err
	}
	var err error
	if g.MaxMembers, err = memberLimit(app, kind, max(req.MaxMemberCount, req.MaxMemberNum)); err != nil {
		return nil, err
	}
	g.Apply, g.Invite = defaultOptions(kind)
	if req.ApplyJoinOption != "" && !applyFixed(kind) {
		if g.Apply, err = parseApply(req.ApplyJoinOption); err != nil {
			return nil, err
		}
	}
	if req.InviteJoinOption != "" && kind != LiveRoom {
		if g.Invite, err = parseInvite(req.InviteJoinOption); err != nil {
			return nil, err
		}
	}
	g.Custom, err = mergeCustom(nil, req.AppDefinedData, app.CustomFields.Group)
	return g, err
}

// founders finds the owner (nil for a group without) and the first members,
// the owner among them, without those who are in too many groups.
func (s *Service) founders(ctx context.Context, call *command.Call, req *createRequest, g *Info) (owner *account.Account, members []newcomer, over []string, err error) {
	if len(req.MemberList) > maxInvited {
		return nil, nil, nil, command.Errf(CodeTooMany, "more than %d members", maxInvited)
	}
	if g.Kind == LiveRoom && len(req.MemberList) > 0 {
		return nil, nil, nil, errNotForKind
	}
	ids := make([]string, 0, len(req.MemberList)+1)
	if call.Kind == command.Admins {
		if req.Owner_Account != "" {
			ids = append(ids, req.Owner_Account)
		}
	} else {
		ids = append(ids, call.UserID)
	}
	hasOwner := len(ids) == 1
	inputs := make(map[string]memberInput, len(req.MemberList))
	for _, m := range req.MemberList {
		ids = append(ids, m.Member_Account)
		inputs[m.Member_Account] = m
	}
	accounts, err := s.accountsFor(ctx, call.App.SDKAppID, ids)
	if err != nil || len(accounts) == 0 {
		return nil, nil, nil, err
	}
	uids := uidsOf(accounts)
	tooMany, err := overLimit(ctx, s.DB.Read, call.App, uids)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, a := range accounts {
		n := newcomer{uid: a.UID, role: Ordinary}
		if n.custom, err = mergeCustom(nil, inputs[a.UserID].AppMemberDefinedData, call.App.CustomFields.Member); err != nil {
			return nil, nil, nil, err
		}
		switch {
		case i == 0 && hasOwner:
			owner, n.role = a, Owner
			if tooMany[a.UID] {
				return nil, nil, nil, errTooManyGroups
			}
		case tooMany[a.UID]:
			over = append(over, a.UserID)
			continue
		case inputs[a.UserID].Role == "Admin" && g.Kind != Work:
			n.role = Admin
		}
		members = append(members, n)
	}
	if g.Kind == LiveRoom {
		members = nil // the owner too has to come in by himself (protocol 03 §13.1)
	}
	return owner, members, over, nil
}

// checkCounts refuses a group too many of the owner or of the app.
func (s *Service) checkCounts(ctx context.Context, tx *sql.Tx, call *command.Call, g *Info) error {
	limits := call.App.Groups
	count := func(query string, args ...any) (n int, err error) {
		err = tx.QueryRowContext(ctx, query, args...).Scan(&n)
		return n, err
	}
	if limits.Created > 0 && g.Owner != 0 {
		n, err := count(`SELECT count(*) FROM group_members WHERE uid = $1 AND role = $2`, g.Owner, Owner)
		if err != nil {
			return fmt.Errorf("group: count: %w", err)
		}
		if n >= limits.Created {
			return errTooManyGroups
		}
	}
	if limits.Total > 0 {
		n, err := count(`SELECT count(*) FROM (SELECT 1 FROM groups WHERE app = $1 AND kind < $2 LIMIT $3) AS there`, g.App, Topic, limits.Total)
		if err != nil {
			return fmt.Errorf("group: count: %w", err)
		}
		if n >= limits.Total {
			return command.Err(CodeAppFull, "the app has too many groups")
		}
	}
	if limits.LiveRooms > 0 && g.Kind == LiveRoom {
		n, err := count(`SELECT count(*) FROM groups WHERE app = $1 AND kind = $2`, g.App, LiveRoom)
		if err != nil {
			return fmt.Errorf("group: count: %w", err)
		}
		if n >= limits.LiveRooms {
			return command.Err(CodeTooManyRooms, "the app has too many live rooms")
		}
	}
	return nil
}

// insertGroup stores a new group or topic and sets its number; 10021, or 10025
// for the owner, when the ID is taken.
func insertGroup(ctx context.Context, tx *sql.Tx, g *Info, caller int64) error {
	err := tx.QueryRowContext(ctx, `INSERT INTO groups (app, group_id, kind, parent, name, introduction, notification, face_url, custom_text,
		owner, apply_option, invite_option, max_members, support_topic, custom, info_time, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)
		ON CONFLICT (app, group_id) DO NOTHING RETURNING gid`,
		g.App, g.ID, g.Kind, g.Parent, g.Name, g.Introduction, g.Notification, g.FaceURL, g.CustomText,
		g.Owner, g.Apply, g.Invite, g.MaxMembers, flag(g.SupportTopic), encodeCustom(g.Custom), g.CreatedAt).Scan(&g.GID)
	if errors.Is(err, sql.ErrNoRows) {
		var owner int64 // 0 when the group has just been destroyed: the ID was taken nevertheless
		err := tx.QueryRowContext(ctx, `SELECT owner FROM groups WHERE app = $1 AND group_id = $2`, g.App, g.ID).Scan(&owner)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("group: create: %w", err)
		}
		if owner != 0 && owner == caller {
			return command.Err(CodeIDMine, "the caller has a group with that ID already")
		}
		return command.Err(CodeIDTaken, "the ID is taken")
	}
	if err != nil {
		return fmt.Errorf("group: create: %w", err)
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// foundingNotices are notice 7 to the first members and 6 to the creator's
// other devices (protocol 03 §15).
func (s *Service) foundingNotices(act actor, g *Info, added []int64) []notice {
	var others []int64
	for _, uid := range added {
		if uid != act.uid {
			others = append(others, uid)
		}
	}
	var list []notice
	if len(others) > 0 {
		list = append(list, notice{to: others, keep: true, body: noticeBody{ReportType: noticeAdded, Operator_Account: act.id}})
	}
	if act.uid != 0 && g.Owner == act.uid {
		list = append(list, notice{to: []int64{act.uid}, others: true, body: noticeBody{ReportType: noticeCreated, Operator_Account: act.id}})
	}
	return list
}
