package liveroom

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"imserver/internal/command"
	"imserver/internal/group"
	"imserver/internal/store"
)

// rulebook knows who is muted in which room, banned from it, or one of its
// administrators, and asks the store only once for a room that is in use. What
// changes is told by the groups' directory; what that misses lasts for
// seconds.
type rulebook struct {
	db    *store.DB
	rooms *expirable.LRU[int64, *rules]
}

// rules are those of one room: mutes and bans that have not ended, until which
// unix second, and the administrators.
type rules struct {
	muted, banned map[int64]int64
	admins        map[int64]bool
}

const (
	rulesCache = 10_000
	rulesTTL   = 10 * time.Second
	// maxRules is how many of each kind are known of one room; more than that
	// many at once are not enforced.
	maxRules = 100_000
)

func newRulebook(db *store.DB) *rulebook {
	return &rulebook{db: db, rooms: expirable.NewLRU[int64, *rules](rulesCache, nil, rulesTTL)}
}

func (b *rulebook) forget(gid int64) { b.rooms.Remove(gid) }

// of returns a room's rules, which nobody changes.
func (b *rulebook) of(ctx context.Context, gid int64) (*rules, error) {
	if r, ok := b.rooms.Get(gid); ok {
		return r, nil
	}
	r := &rules{muted: map[int64]int64{}, banned: map[int64]int64{}, admins: map[int64]bool{}}
	type entry struct {
		kind       int
		uid, until int64
	}
	list, err := store.Collect(ctx, b.db.Read, func(rows *sql.Rows, e *entry) error { return rows.Scan(&e.kind, &e.uid, &e.until) },
		`SELECT * FROM (SELECT 1 AS kind, uid, until FROM group_mutes WHERE gid = $1 AND until > $2 LIMIT $3) m
		 UNION ALL SELECT * FROM (SELECT 2, uid, until FROM group_bans WHERE gid = $1 AND until > $2 LIMIT $3) b
		 UNION ALL SELECT 3, uid, 0 FROM group_admins WHERE gid = $1`, gid, time.Now().Unix(), maxRules)
	if err != nil {
		return nil, fmt.Errorf("liveroom: rules: %w", err)
	}
	for _, e := range list {
		switch e.kind {
		case 1:
			r.muted[e.uid] = e.until
		case 2:
			r.banned[e.uid] = e.until
		default:
			r.admins[e.uid] = true
		}
	}
	b.rooms.Add(gid, r)
	return r, nil
}

// role is an account's in the room, whether it watches or not.
func (r *rules) role(g *group.Info, uid int64) group.Role {
	switch {
	case uid != 0 && uid == g.Owner:
		return group.Owner
	case r.admins[uid]:
		return group.Admin
	}
	return group.Ordinary
}

// caller is the caller's role in the room.
func (r *rules) caller(call *command.Call, g *group.Info) group.Role {
	if call.Kind == command.Admins || call.UserID != "" && call.App.IsAdmin(call.UserID) {
		return group.Above
	}
	return r.role(g, call.UID)
}

// Watching implements [group.Rooms].
func (s *Service) Watching(ctx context.Context, g *group.Info, uids []int64) (map[int64]*group.Member, error) {
	rules, err := s.rules.of(ctx, g.GID)
	if err != nil {
		return nil, err
	}
	found := make(map[int64]*group.Member, len(uids))
	add := func(uid, joined int64) {
		found[uid] = &group.Member{GID: g.GID, UID: uid, Role: rules.role(g, uid), JoinedAt: joined, MutedUntil: rules.muted[uid], Receive: group.NotNotify}
	}
	var elsewhere []int64
	r := s.room(g.GID)
	for _, uid := range uids {
		if joined, here := r.joined(uid); here {
			add(uid, joined.Unix())
		} else {
			elsewhere = append(elsewhere, uid)
		}
	}
	if len(elsewhere) == 0 {
		return found, nil
	}
	there, err := s.Ledger.Present(ctx, g.GID, elsewhere)
	if err != nil {
		return nil, err
	}
	for _, uid := range elsewhere {
		if w, ok := there[uid]; ok {
			add(uid, w.joined/1000)
		} else if rules.role(g, uid) > group.Ordinary {
			add(uid, 0)
		}
	}
	return found, nil
}
