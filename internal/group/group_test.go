package group_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"imserver/internal/apptest"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// memoryLog is a log in memory: it numbers tips and publishes them.
type memoryLog struct {
	mu      sync.Mutex
	hub     *fanout.Hub
	heads   map[int64]int64
	tips    []group.Tip
	dropped [][2]int64
}

func (l *memoryLog) AppendTip(_ context.Context, tip group.Tip) <-chan error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heads[tip.Group.GID]++
	l.tips = append(l.tips, tip)
	item, _ := json.Marshal(map[string]any{"Event": 4, "GroupTips": []any{map[string]any{"MsgSeq": l.heads[tip.Group.GID], "MsgBody": tip.Body}}})
	l.hub.Publish(fanout.Group(tip.Group.HubID()), &fanout.Event{Item: item, Not: tip.Exclude})
	stored := make(chan error, 1)
	stored <- nil
	return stored
}

func (l *memoryLog) Heads(_ context.Context, logs []int64) (map[int64]group.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	heads := map[int64]group.Head{}
	for _, id := range logs {
		if seq := l.heads[id]; seq > 0 {
			heads[id] = group.Head{LastSeq: seq, LastTime: 1}
		}
	}
	return heads, nil
}

func (l *memoryLog) Places(_ context.Context, gid int64) ([]fanout.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return []fanout.Position{{Topic: fanout.Group(gid), Log: gid, Seq: l.heads[gid]}}, nil
}

func (l *memoryLog) Before(_ context.Context, _ int64, moments []int64) (map[int64]int64, error) {
	return map[int64]int64{moments[0]: 1}, nil
}

func (l *memoryLog) Summaries(_ context.Context, _ int64, views []group.View) (map[int64]group.Summary, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sums := map[int64]group.Summary{}
	for _, v := range views {
		if seq := l.heads[v.Log]; seq > 0 {
			sums[v.Log] = group.Summary{Head: group.Head{LastSeq: seq, LastTime: 1}, Unread: int(seq - v.Read)}
		}
	}
	return sums, nil
}

func (l *memoryLog) DropMentions(_ context.Context, _ int64, list [][2]int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = append(l.dropped, list...)
	return nil
}

// say makes a message in a log.
func (l *memoryLog) say(gid int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heads[gid]++
}

// world is an app with groups.
type world struct {
	*apptest.App
	groups *group.Service
	dir    *group.Directory
	log    *memoryLog
}

func newWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	a := apptest.New(t, db)
	w := &world{App: a, log: &memoryLog{hub: a.Hub, heads: map[int64]int64{}}, dir: group.NewDirectory(db, a.Hub)}
	w.groups = group.NewService(group.Options{DB: db, Accounts: a.Accounts, Groups: w.dir, Hub: a.Hub, Messages: w.log, Now: a.Now, Log: a.Log})
	w.groups.Register(a.Table)
	return w
}

func (w *world) users(t *testing.T, names ...string) []*apptest.User {
	t.Helper()
	list := make([]*apptest.User, len(names))
	for i, n := range names {
		list[i] = w.User(t, n)
	}
	return list
}

// engines runs fn in a new world on every engine.
func engines(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Open(t, func(t *testing.T, db *store.DB) { fn(t, newWorld(t, db)) })
}

func svc(kind, command string) string {
	if kind == "Community" {
		return "million_group_open_http_svc." + command
	}
	return "group_open_http_svc." + command
}

// group makes a group of a kind with members and forgets the events of it.
func (w *world) group(t *testing.T, kind string, owner *apptest.User, members ...*apptest.User) string {
	t.Helper()
	var list []string
	for _, m := range members {
		list = append(list, fmt.Sprintf(`{"Member_Account":%q}`, m.UserID))
	}
	topics := 0
	if kind == "Topics" {
		kind, topics = "Community", 1
	}
	a := owner.Call(t, svc(kind, "create_group"), fmt.Sprintf(`{"Type":%q,"Name":"Team","MemberList":[%s],"SupportTopic":%d}`, kind, strings.Join(list, ","), topics)).Want(t, 0)
	for _, u := range append(members, owner) {
		u.Events()
	}
	return a.Fields["GroupId"].(string)
}

// eventOf returns the first event that holds all fragments.
func eventOf(events []string, fragments ...string) string {
	for _, e := range events {
		all := true
		for _, f := range fragments {
			all = all && strings.Contains(e, f)
		}
		if all {
			return e
		}
	}
	return ""
}

func wantEvent(t *testing.T, u *apptest.User, events []string, fragments ...string) {
	t.Helper()
	if eventOf(events, fragments...) == "" {
		t.Errorf("%s: no event with %q among %q", u.UserID, fragments, events)
	}
}

func wantNoEvent(t *testing.T, u *apptest.User, events []string, fragments ...string) {
	t.Helper()
	if e := eventOf(events, fragments...); e != "" {
		t.Errorf("%s: unexpected %s", u.UserID, e)
	}
}
