package grouplog_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/annotation"
	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/ratelimit"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// world is an app with groups and their log.
type world struct {
	*apptest.App
	dir    *group.Directory
	log    *grouplog.Service
	groups *group.Service
	random int64
	offers *offers
}

func newWorld(t *testing.T, db *store.DB, limiter ratelimit.Limiter) *world {
	t.Helper()
	a := apptest.New(t, db)
	w := &world{App: a, dir: group.NewDirectory(db, a.Hub), offers: &offers{}}
	var err error
	w.log, err = grouplog.NewService(t.Context(), grouplog.Options{DB: db, Accounts: a.Accounts, Groups: w.dir, Hub: a.Hub,
		Annotations: annotation.New(db, a.Now), Limiter: limiter, Pusher: w.offers, Now: a.Now, Log: a.Log, Metrics: prometheus.NewRegistry(),
		Apps: func(uint32) *config.App { return a.App }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.log.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	w.log.Register(a.Table)
	w.groups = group.NewService(group.Options{DB: db, Accounts: a.Accounts, Groups: w.dir, Hub: a.Hub, Messages: w.log, Now: a.Now, Log: a.Log})
	w.groups.Register(a.Table)
	return w
}

// engines runs fn in a new world on every engine.
func engines(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Open(t, func(t *testing.T, db *store.DB) { fn(t, newWorld(t, db, nil)) })
}

func (w *world) users(t *testing.T, names ...string) []*apptest.User {
	t.Helper()
	list := make([]*apptest.User, len(names))
	for i, n := range names {
		list[i] = w.User(t, n)
	}
	return list
}

func service(id string) string {
	if strings.HasPrefix(id, "@TGS#_") {
		return "million_group_open_http_svc."
	}
	return "group_open_http_svc."
}

// group makes a group of a kind and forgets the events of it.
func (w *world) group(t *testing.T, kind string, owner *apptest.User, members ...*apptest.User) string {
	t.Helper()
	var list []string
	for _, m := range members {
		list = append(list, fmt.Sprintf(`{"Member_Account":%q}`, m.UserID))
	}
	svc, topics := "group_open_http_svc.", 0
	if kind == "Topics" {
		kind, topics = "Community", 1
	}
	if kind == "Community" {
		svc = "million_group_open_http_svc."
	}
	a := owner.Call(t, svc+"create_group", fmt.Sprintf(`{"Type":%q,"Name":"Team","MemberList":[%s],"SupportTopic":%d}`,
		kind, strings.Join(list, ","), topics)).Want(t, 0)
	for _, u := range append(members, owner) {
		u.Events()
	}
	return a.Fields["GroupId"].(string)
}

// body is a text message's MsgBody.
func body(text string) string {
	return fmt.Sprintf(`[{"MsgType":"TIMTextElem","MsgContent":{"Text":%q}}]`, text)
}

// say sends a text and returns its sequence; more are further JSON members.
func (w *world) say(t *testing.T, u *apptest.User, id, text string, more ...string) int64 {
	t.Helper()
	return int64(w.send(t, u, id, text, more...).Want(t, 0).Fields["MsgSeq"].(float64))
}

func (w *world) send(t *testing.T, u *apptest.User, id, text string, more ...string) apptest.Answer {
	t.Helper()
	w.random++
	return w.sendAs(t, u, id, text, w.random, more...)
}

func (w *world) sendAs(t *testing.T, u *apptest.User, id, text string, random int64, more ...string) apptest.Answer {
	t.Helper()
	req := fmt.Sprintf(`"Random":%d,"ClientSeq":%d,"MsgClientTime":%d,"MsgPriority":"Normal","MsgBody":%s`, random, random, w.Now().Unix(), body(text))
	return u.Call(t, service(id)+"send_group_msg", join(at(id), req, more...))
}

// at is the members that name a group or topic.
func at(id string) string {
	if community, _, ok := strings.Cut(id, "@TOPIC#_"); ok {
		return fmt.Sprintf(`"GroupId":%q,"TopicId":%q`, community, id)
	}
	return fmt.Sprintf(`"GroupId":%q`, id)
}

func join(first, second string, more ...string) string {
	return "{" + strings.Join(append([]string{first, second}, more...), ",") + "}"
}

// page is an answer of group_msg_get.
type page struct {
	IsFinished      int
	NextReqMsgSeq   int64
	RspMsgList      []item
	InvisibleMsgSeq []int64
}

type item struct {
	MsgSeq         int64
	From_Account   string
	IsPlaceMsg     int
	Event          int
	MsgVersion     int
	ToTopicId      string
	MsgBody        json.RawMessage
	SendMsgControl struct{ NoUnread int }
}

func (p page) seqs() []int64 {
	out := []int64{}
	for _, m := range p.RspMsgList {
		out = append(out, m.MsgSeq)
	}
	return out
}

func (w *world) history(t *testing.T, u *apptest.User, id, more string) page {
	t.Helper()
	a := u.Call(t, service(id)+"group_msg_get", join(at(id), more)).Want(t, 0)
	var p page
	if err := json.Unmarshal([]byte(a.Text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (w *world) gid(t *testing.T, id string) int64 {
	t.Helper()
	g, err := w.dir.Group(t.Context(), w.SDKAppID, id)
	if err != nil {
		t.Fatal(err)
	}
	return g.GID
}

// summary is what the conversation list says of a group to a member.
func (w *world) summary(t *testing.T, u *apptest.User, id string) group.Summary {
	t.Helper()
	gid := w.gid(t, id)
	v := group.View{Log: gid, CountUnread: true}
	var joined, cleared int64
	err := w.DB.Read.QueryRowContext(t.Context(), `SELECT join_seq, cleared_seq, read_seq FROM group_members WHERE gid = $1 AND uid = $2`, gid, u.UID).
		Scan(&joined, &cleared, &v.Read)
	if err != nil {
		t.Fatal(err)
	}
	v.First = max(joined, cleared) + 1
	sums, err := w.log.Summaries(t.Context(), u.UID, []group.View{v})
	if err != nil {
		t.Fatal(err)
	}
	return sums[gid]
}

// has fails unless exactly n of the events hold all fragments.
func has(t *testing.T, events []string, n int, fragments ...string) {
	t.Helper()
	found := 0
	for _, e := range events {
		all := true
		for _, f := range fragments {
			all = all && strings.Contains(e, f)
		}
		if all {
			found++
		}
	}
	if found != n {
		t.Fatalf("%d events with %q, want %d, in\n%s", found, fragments, n, strings.Join(events, "\n"))
	}
}

func contains(s string, fragments ...string) bool {
	for _, f := range fragments {
		if !strings.Contains(s, f) {
			return false
		}
	}
	return true
}

// after is what follows the first mark in s.
func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	return rest
}

func callOf(w *world, u *apptest.User) *command.Call {
	return &command.Call{Kind: command.Users, App: w.App.App, UserID: u.UserID, UID: u.UID, Inst: 1}
}
