package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/liveroom"
	"imserver/internal/ratelimit"
	"imserver/internal/session"
)

// patience is how long a group event waits for a predecessor that may still be
// on its way from another node.
const patience = 200 * time.Millisecond

// wireGroups prepares the message tables, makes the groups and their log, and joins them to the messages
// and to each other.
func (n *node) wireGroups(ctx context.Context, now func() time.Time) error {
	if err := n.keeper().Prepare(ctx); err != nil {
		return err
	}
	directory := group.NewDirectory(n.db, n.hub)
	var limiter ratelimit.Limiter = ratelimit.NewLocal(ratelimit.System{})
	if n.redis != nil {
		limiter = ratelimit.NewRedis(n.redis, ratelimit.RedisOptions{Registerer: n.metrics, Log: n.log})
	}
	limiter = ratelimit.Counted(limiter, n.metrics)
	var err error
	n.groupLog, err = grouplog.NewService(ctx, grouplog.Options{DB: n.db, Accounts: n.accounts, Groups: directory, Hub: n.hub,
		Annotations: n.notes, Limiter: limiter, Pusher: n.pushes, Apps: n.config.App, Now: now, Log: n.log, Metrics: n.metrics})
	if err != nil {
		return fmt.Errorf("group log: %w", err)
	}
	if n.redis != nil {
		fanout.NewOrder(n.hub, n.groupLog.Filler(), patience, n.log)
	}
	ledger, file := n.ledger(now)
	n.rooms = liveroom.New(liveroom.Options{DB: n.db, Accounts: n.accounts, Groups: directory, Hub: n.hub, Ledger: ledger, SaveTo: file, Limiter: limiter,
		Apps: n.config.App, Now: now, Log: n.log, Metrics: n.metrics})
	n.groupLog.Rooms = n.rooms
	n.groups = group.NewService(group.Options{DB: n.db, Accounts: n.accounts, Groups: directory, Hub: n.hub, Messages: n.groupLog, Rooms: n.rooms,
		Presence: connected{n.registry}, Now: now, Log: n.log})
	n.sessions.OnGreet(func(ctx context.Context, call *command.Call, ses *session.Session) {
		if call.Kind == command.Users { // on another socket than before
			n.rooms.Resume(ctx, call.App, ses.Device(), call.Conn)
		}
	})
	n.sessions.OnArrive(func(ctx context.Context, call *command.Call, ses *session.Session) error {
		return n.groups.Arrive(ctx, call, ses.UID)
	})
	n.messages.UseGroups(n.groupLog)
	n.messages.UseEvents(func(ctx context.Context, call *command.Call, since int64) ([]json.RawMessage, error) {
		return directory.Missed(ctx, call.UID, since)
	})
	n.messages.UseEvents(n.groupLog.Missed)
	n.groups.Register(n.table)
	n.groupLog.Register(n.table)
	n.rooms.Register(n.table)
	return nil
}

// connected tells the groups who is online.
type connected struct{ registry bus.Registry }

// Online implements group.Presence.
func (c connected) Online(ctx context.Context, uids []int64) (map[int64]bool, error) {
	found, err := c.registry.Online(ctx, uids)
	online := make(map[int64]bool, len(found))
	for uid := range found {
		online[uid] = true
	}
	return online, err
}

// ledger is what this node shares with others of live rooms, and the file that
// takes its place over a restart of a single node.
func (n *node) ledger(now func() time.Time) (l liveroom.Ledger, file string) {
	if n.redis != nil {
		return liveroom.NewRedis(n.redis, liveroom.RedisOptions{Log: n.log}), ""
	}
	local := liveroom.NewLocal(now)
	file = filepath.Join(n.config.DataDir, "live-rooms.json")
	if err := local.Load(file); err != nil {
		n.log.Warn("the watchers of live rooms have to join again", "err", err)
	}
	return local, file
}
