package group

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/store"
)

type groupRequest struct {
	GroupId string
}

// noticeLimit is the largest group whose dismissal is kept as a notice for
// every member who is away; larger ones just vanish from their lists.
const noticeLimit = 10_000

// destroy is destroy_group (protocol 03 §5.2).
func (s *Service) destroy(ctx context.Context, call *command.Call, req *groupRequest) (command.Empty, error) {
	act := actorOf(call)
	dismissed := notice{body: noticeBody{ReportType: noticeDismissed, Operator_Account: act.id}}
	g, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if g.Kind == Topic {
			return errBadID
		}
		role, err := acting(ctx, tx, g, act)
		if err != nil {
			return err
		}
		if err := may(g, role, Dismiss); err != nil {
			return err
		}
		n := dismissed
		s.prepare(g, &n)
		if g.Kind != LiveRoom {
			if err := s.lastWord(ctx, tx, g, out, n); err != nil {
				return err
			}
		}
		if g.MemberNum <= noticeLimit {
			if _, err := tx.ExecContext(ctx, `INSERT INTO group_notices (uid, seq, random, gid, created_at, item)
				SELECT uid, CAST($2 AS BIGINT), CAST($3 AS BIGINT), gid, CAST($4 AS BIGINT), CAST($5 AS TEXT) FROM group_members WHERE gid = $1 AND uid <> $6`,
				g.GID, n.seq, n.random, s.Now().Unix(), string(n.item), act.uid); err != nil {
				return fmt.Errorf("group: destroy: %w", err)
			}
		}
		return s.erase(ctx, tx, g, out)
	})
	if err != nil {
		return command.Empty{}, err
	}
	if g.Kind == LiveRoom && s.Rooms != nil {
		s.Rooms.Closed(ctx, g, marshal(dismissed.body))
	}
	return command.Empty{}, nil
}

// Who came in less than freshFor seconds ago may not listen to the group yet,
// if another node let them in. maxFresh bounds them: an event lists no more.
const (
	freshFor = 10
	maxFresh = 1000
)

// lastWord puts the notice of the dismissal into the outbox, once for everybody
// who listens to the group and by itself for who has just come in.
func (s *Service) lastWord(ctx context.Context, tx *sql.Tx, g *Info, out *outbox, n notice) error {
	fresh, err := store.Collect(ctx, tx, func(rows *sql.Rows, uid *int64) error { return rows.Scan(uid) },
		`SELECT uid FROM group_members WHERE gid = $1 AND joined_at > $2 LIMIT $3`, g.GID, s.Now().Unix()-freshFor, maxFresh)
	if err != nil {
		return fmt.Errorf("group: destroy: %w", err)
	}
	out.destroyed = &fresh
	all := n
	all.not = fresh
	out.notices = append(out.notices, all)
	if len(fresh) > 0 {
		n.to = fresh
		out.notices = append(out.notices, n)
	}
	return nil
}

// erase removes the group's rows and those of its topics. Its log is dropped
// by retention: nobody can read it any more.
func (s *Service) erase(ctx context.Context, tx *sql.Tx, g *Info, out *outbox) error {
	topics, err := store.Collect(ctx, tx, func(rows *sql.Rows, gid *int64) error { return rows.Scan(gid) },
		`SELECT gid FROM groups WHERE parent = $1`, g.GID)
	if err != nil {
		return fmt.Errorf("group: destroy: %w", err)
	}
	out.gone = topics
	for _, q := range []string{
		`DELETE FROM topic_members WHERE tid IN (SELECT gid FROM groups WHERE parent = $1)`,
		`DELETE FROM groups WHERE parent = $1`,
		`DELETE FROM group_members WHERE gid = $1`,
		`DELETE FROM group_mutes WHERE gid = $1`,
		`DELETE FROM group_bans WHERE gid = $1`,
		`DELETE FROM group_admins WHERE gid = $1`,
		`DELETE FROM group_applications WHERE gid = $1`,
		`DELETE FROM group_attributes WHERE gid = $1`,
		`DELETE FROM group_counters WHERE gid = $1`,
		`DELETE FROM groups WHERE gid = $1`,
	} {
		if _, err := tx.ExecContext(ctx, q, g.GID); err != nil {
			return fmt.Errorf("group: destroy: %w", err)
		}
	}
	return nil
}
