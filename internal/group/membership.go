package group

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/store"
)

// newcomer is somebody to become a member.
type newcomer struct {
	uid    int64
	role   Role
	custom map[string]string
	past   *past // of an imported member
}

// past is what an imported member brings along.
type past struct {
	joinedAt         int64 // unix s
	joinSeq, readSeq int64
}

// memberOf reads uid's membership inside a transaction; nil if there is none.
func memberOf(ctx context.Context, tx *sql.Tx, gid, uid int64) (*Member, error) {
	if uid == 0 {
		return nil, nil
	}
	m := &Member{}
	err := tx.QueryRowContext(ctx, `SELECT `+memberColumns+` FROM group_members m WHERE m.gid = $1 AND m.uid = $2`, gid, uid).
		Scan(&m.GID, &m.UID, &m.Role, &m.JoinedAt, &m.JoinSeq, &m.ClearedSeq, &m.MutedUntil, &m.Receive, &m.NameCard)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("group: member: %w", err)
	}
	return m, nil
}

// membersAmong reads those of uids who are members, inside a transaction.
func membersAmong(ctx context.Context, tx *sql.Tx, gid int64, uids []int64) (map[int64]*Member, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	list, err := store.Collect(ctx, tx, scanMember, `SELECT `+memberColumns+` FROM group_members m WHERE m.gid = $1 AND m.uid IN `+
		store.In(2, len(uids)), store.Args(uids, any(gid))...)
	if err != nil {
		return nil, fmt.Errorf("group: members: %w", err)
	}
	found := make(map[int64]*Member, len(list))
	for i := range list {
		found[list[i].UID] = &list[i]
	}
	return found, nil
}

// acting returns the caller's role in the group inside a transaction; 10007
// when it has none.
func acting(ctx context.Context, tx *sql.Tx, g *Info, act actor) (Role, error) {
	gid := g.GID
	if g.Kind == Topic {
		gid = g.Parent
	}
	if g.Kind == LiveRoom {
		if act.admin {
			return Above, nil
		}
		return roleInRoom(ctx, tx, g, act.uid)
	}
	m, err := memberOf(ctx, tx, gid, act.uid)
	if err != nil {
		return 0, err
	}
	if role := act.role(m); role != Nobody {
		return role, nil
	}
	return 0, errNotMember
}

// may is the matrix inside a command: 10007 when the action is not allowed.
func may(g *Info, role Role, a Action) error {
	if May(g.Kind, role, a, Nobody, false) {
		return nil
	}
	if !hasAction(g.Kind, a) {
		return errNotForKind
	}
	return errNoPermission
}

// enter makes members of those who are none yet and returns them, in order.
// The group must be locked. head is the log's last sequence, which their history
// and their reading start behind: nothing is unread (protocol 03 §2.2).
func (s *Service) enter(ctx context.Context, tx *sql.Tx, g *Info, people []newcomer, head int64) ([]int64, error) {
	uids := make([]int64, len(people))
	for i, p := range people {
		uids[i] = p.uid
	}
	already, err := membersAmong(ctx, tx, g.GID, uids)
	if err != nil {
		return nil, err
	}
	now := s.Now().Unix()
	receive := Notify
	if g.Kind == Meeting {
		receive = NotNotify
	}
	var added []int64
	var args []any
	for _, p := range people {
		if already[p.uid] != nil {
			continue
		}
		added = append(added, p.uid)
		was := past{now, head, head}
		if p.past != nil {
			was = *p.past
		}
		args = append(args, g.GID, p.uid, p.role, was.joinedAt, was.joinSeq, was.readSeq, receive, encodeCustom(p.custom))
	}
	if len(added) == 0 {
		return nil, nil
	}
	if g.MaxMembers > 0 && g.MemberNum+len(added) > g.MaxMembers {
		return nil, errFull
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO group_members (gid, uid, role, joined_at, join_seq, read_seq, recv_opt, custom) VALUES `+
		values(1, 8, len(added)), args...); err != nil {
		return nil, fmt.Errorf("group: enter: %w", err)
	}
	if err := restoreMutes(ctx, tx, g.GID, now, added); err != nil {
		return nil, err
	}
	return added, s.resize(ctx, tx, g, len(added))
}

// resize changes the member number, in the row and in g, and takes the turn of
// the change.
func (s *Service) resize(ctx context.Context, tx *sql.Tx, g *Info, by int) error {
	g.MemberNum += by
	if err := tx.QueryRowContext(ctx, `UPDATE groups SET member_num = member_num + $1, member_seq = member_seq + 1 WHERE gid = $2 RETURNING member_seq`,
		by, g.GID).Scan(&g.turn); err != nil {
		return fmt.Errorf("group: member number: %w", err)
	}
	return nil
}

// restoreMutes gives back the mutes of those who left while muted.
func restoreMutes(ctx context.Context, tx *sql.Tx, gid, now int64, uids []int64) error {
	args := store.Args(uids, any(gid), any(now))
	if _, err := tx.ExecContext(ctx, `UPDATE group_members SET muted_until = (SELECT x.until FROM group_mutes x WHERE x.gid = group_members.gid AND x.uid = group_members.uid)
		WHERE gid = $1 AND uid IN (SELECT x.uid FROM group_mutes x WHERE x.gid = $1 AND x.until > $2 AND x.uid IN `+store.In(3, len(uids))+`)`, args...); err != nil {
		return fmt.Errorf("group: mutes: %w", err)
	}
	return nil
}

// leave removes members. The group must be locked and uids be members of it.
func (s *Service) leave(ctx context.Context, tx *sql.Tx, g *Info, uids []int64) error {
	now := s.Now().Unix()
	args := store.Args(uids, any(g.GID))
	in := store.In(2, len(uids))
	if _, err := tx.ExecContext(ctx, `DELETE FROM group_mutes WHERE gid = $1 AND uid IN `+in, args...); err != nil {
		return fmt.Errorf("group: leave: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO group_mutes (gid, uid, until) SELECT gid, uid, muted_until FROM group_members
		WHERE gid = $1 AND muted_until > $2 AND uid IN `+store.In(3, len(uids)), store.Args(uids, any(g.GID), any(now))...); err != nil {
		return fmt.Errorf("group: leave: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM group_members WHERE gid = $1 AND uid IN `+in, args...); err != nil {
		return fmt.Errorf("group: leave: %w", err)
	}
	if g.SupportTopic {
		if _, err := tx.ExecContext(ctx, `DELETE FROM topic_members WHERE tid IN (SELECT gid FROM groups WHERE parent = $1) AND uid IN `+in, args...); err != nil {
			return fmt.Errorf("group: leave: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM group_applications WHERE gid = $1 AND kind > 0 AND handled = 0 AND applicant IN `+in, args...); err != nil {
		return fmt.Errorf("group: leave: %w", err)
	}
	return s.resize(ctx, tx, g, -len(uids))
}

// overLimit returns which of the accounts are in as many groups as one may be
// in (10037); the limit 0 is none.
func overLimit(ctx context.Context, q store.Querier, app *config.App, uids []int64) (map[int64]bool, error) {
	over := map[int64]bool{}
	if app.Groups.Joined == 0 || len(uids) == 0 {
		return over, nil
	}
	list, err := store.Collect(ctx, q, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`SELECT uid FROM group_members WHERE uid IN `+store.In(2, len(uids))+` GROUP BY uid HAVING count(*) >= $1`, store.Args(uids, any(app.Groups.Joined))...)
	if err != nil {
		return nil, fmt.Errorf("group: count groups: %w", err)
	}
	for _, uid := range list {
		over[uid] = true
	}
	return over, nil
}

// door is where the logs of a group stand when somebody comes in: what is
// said from then on is for the newcomer, too.
type door struct {
	head   int64 // last sequence of the group's own log
	places []fanout.Position
}

func (s *Service) door(ctx context.Context, gid int64) (d door, err error) {
	d.places, err = s.Messages.Places(ctx, gid)
	for _, p := range d.places {
		if p.Log == gid {
			d.head = p.Seq
		}
	}
	return d, err
}

// staff returns the owner and the admins.
func staff(ctx context.Context, q store.Querier, gid int64) ([]int64, error) {
	return store.Collect(ctx, q, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`SELECT uid FROM group_members WHERE gid = $1 AND role >= $2`, gid, Admin)
}

var errTooManyGroups = command.Err(CodeTooManyGroups, "the account is in too many groups")
