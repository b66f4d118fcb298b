package message_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/conversation"
	"imserver/internal/fanout"
	"imserver/internal/message"
	"imserver/internal/store"
)

// world is the message and conversation services over a database, with a
// clock that tests move and devices that remember what was pushed.
type world struct {
	ctx      context.Context
	table    *command.Table
	accounts *account.Directory
	app      *config.App
	hub      *fanout.Hub
	service  *message.Service
	others   []*command.Table // of further nodes
	mu       sync.Mutex
	now      time.Time // guarded by mu
	numbers  int64
}

// fataler is what helpers need of *testing.T and *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func MustWorld(t testing.TB, db *store.DB, o message.Options) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &world{ctx: context.Background(), table: command.NewTable(), now: time.Now().Truncate(time.Second),
		app: &config.App{SDKAppID: 1, Settings: config.Default().Defaults}, hub: fanout.NewHub(bus.Local{}, log)}
	w.app.SyncConversationDelete = true
	w.accounts = account.NewDirectory(db, w.clock)
	o.DB, o.Accounts, o.Hub, o.Now, o.Log, o.Metrics = db, w.accounts, w.hub, w.clock, log, prometheus.NewRegistry()
	var err error
	if w.service, err = message.NewService(w.ctx, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.service.Stop(context.Background()) })
	w.service.Register(w.table)
	conversation.NewService(db, w.accounts, w.hub, w.clock, w.service).Register(w.table)
	return w
}

// node adds a second server process over the same database: devices of its own
// reach it by [device.at].
func (w *world) node(t testing.TB) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	accounts, hub, table := account.NewDirectory(w.service.DB, w.clock), fanout.NewHub(bus.Local{}, log), command.NewTable()
	s, err := message.NewService(w.ctx, message.Options{DB: w.service.DB, Accounts: accounts, Hub: hub, Now: w.clock, Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	s.Register(table)
	conversation.NewService(w.service.DB, accounts, hub, w.clock, s).Register(table)
	w.others = append(w.others, table)
}

// at is the device at another node; it hears nothing there.
func (d *device) at(node int) *device {
	if node == 0 {
		return d
	}
	return &device{Device: d.Device, world: d.world, name: d.name, table: d.world.others[node-1]}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// device is a login instance that records what it is pushed.
type device struct {
	fanout.Device
	world *world
	name  string
	table *command.Table // of its node
	mu    sync.Mutex
	items []map[string]any // guarded by mu
}

func (d *device) Offer(e *fanout.Event) {
	var item map[string]any
	if err := json.Unmarshal(e.Item, &item); err != nil {
		panic(fmt.Sprintf("%s: %v", e.Item, err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.items = append(d.items, item)
}

// subscriber gives the embedded value its method's name back.
type subscriber struct{ *device }

func (s subscriber) Device() fanout.Device { return s.device.Device }

// login makes a device of the user named so.
func (w *world) login(t fataler, user string, inst uint32) *device {
	t.Helper()
	a, _, err := w.accounts.Ensure(w.ctx, w.app.SDKAppID, user)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{Device: fanout.Device{UID: a.UID, Inst: inst}, world: w, name: user, table: w.table}
	w.hub.Join(fanout.User(a.UID), subscriber{d})
	return d
}

// take returns what was pushed since the last call, by Event number.
func (d *device) take(events ...int) (out []map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, item := range d.items {
		if len(events) == 0 || slices.Contains(events, int(item["Event"].(float64))) {
			out = append(out, item)
		}
	}
	d.items = nil
	return out
}

type object = map[string]any

// do runs a command as this device.
func (d *device) do(t fataler, name string, body any) (int, object) {
	t.Helper()
	return d.world.run(t, d.table, &command.Call{Name: name, Kind: command.Users, App: d.world.app, UserID: d.name, UID: d.UID, Inst: d.Inst}, body)
}

// must is do that fails the test on an error.
func (d *device) must(t fataler, name string, body any) object {
	t.Helper()
	code, answer := d.do(t, name, body)
	if code != 0 {
		t.Fatalf("%s of %s: %v", name, d.name, answer)
	}
	return answer
}

// admin runs a command as an app administrator.
func (w *world) admin(t fataler, name string, body any) (int, object) {
	t.Helper()
	a, _, err := w.accounts.Ensure(w.ctx, w.app.SDKAppID, "administrator")
	if err != nil {
		t.Fatal(err)
	}
	return w.run(t, w.table, &command.Call{Name: name, Kind: command.Admins, App: w.app, UserID: a.UserID, UID: a.UID}, body)
}

func (w *world) run(t fataler, table *command.Table, call *command.Call, body any) (int, object) {
	t.Helper()
	in, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	v, err := table.Run(w.ctx, call, in)
	v, err = command.Await(w.ctx, v, err)
	doc, code := command.AppendAnswer(nil, v, err)
	var answer object
	if err := json.Unmarshal(doc, &answer); err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	if code == command.CodeInternal {
		t.Fatalf("%s %s: %v", call.Name, in, err)
	}
	if code != 0 && answer["ErrorInfo"] == "" {
		t.Fatalf("%s: error %d without a text", call.Name, code)
	}
	return code, answer
}

// sent names a message as requests do.
type sent struct {
	from, to    string
	seq, random int64
	time        int64
	key         string
}

func (m sent) info() object {
	return object{"From_Account": m.from, "To_Account": m.to, "MsgSeq": m.seq, "MsgRandom": m.random, "MsgTime": m.time, "MsgTimeStamp": m.time, "MsgClientTime": m.time}
}

func say(s string) []any {
	return []any{object{"MsgType": "TIMTextElem", "MsgContent": object{"Text": s}}}
}

func (d *device) draft(to, s string, extra object) object {
	d.world.numbers++
	body := object{"From_Account": d.name, "To_Account": to, "MsgSeq": d.world.numbers, "MsgRandom": d.world.numbers, "MsgClientTime": d.world.clock().Unix(),
		"MsgBody": say(s), "CloudCustomData": ""}
	for k, v := range extra {
		body[k] = v
	}
	return body
}

// send sends a text and returns its names.
func (d *device) send(t fataler, to, s string, extra object) sent {
	t.Helper()
	body := d.draft(to, s, extra)
	answer := d.must(t, "openim.sendmsg", body)
	return sent{d.name, to, body["MsgSeq"].(int64), body["MsgRandom"].(int64), int64(answer["MsgTime"].(float64)), answer["MsgKey"].(string)}
}

// history returns the chat with peer as the device would show it after a fresh
// login, ascending.
func (d *device) history(t fataler, peer string) (out []object) {
	t.Helper()
	cursor, key := 0.0, ""
	for {
		page := d.must(t, "openim.getroammsg", object{"Peer_Account": peer, "MaxCnt": 100, "LastMsgTime": cursor, "MsgKey": key})
		var list []object
		for _, m := range page["MsgList"].([]any) {
			list = append(list, m.(object))
		}
		out = append(list, out...)
		if page["Complete"].(float64) == 1 {
			return out
		}
		cursor, key = page["LastMsgTime"].(float64), page["MsgKey"].(string)
	}
}

// texts is history reduced to the messages' texts; revoked ones are marked.
func (d *device) texts(t fataler, peer string) []string {
	t.Helper()
	out := []string{}
	for _, m := range d.history(t, peer) {
		s := m["MsgBody"].([]any)[0].(object)["MsgContent"].(object)["Text"].(string)
		if m["MsgFlagBits"] == 8.0 {
			s = "revoked by " + m["RevokerInfo"].(object)["Revoker_Account"].(string)
		}
		out = append(out, s)
	}
	return out
}

// unread returns the unread counts by peer, as a fresh login gets them.
func (d *device) unread(t fataler) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, c := range d.must(t, "openim.getmsg", object{"Cookie": "", "SyncFlag": 0})["C2CPairUnreadCount"].([]any) {
		out[c.(object)["From_Account"].(string)] = int(c.(object)["UnreadCount"].(float64))
	}
	return out
}

// list returns the whole conversation list, page by page, by ID.
func (d *device) list(t fataler) (items map[string]object, order []string) {
	t.Helper()
	items = map[string]object{}
	req := object{"From_Account": d.name, "TimeStamp": 0, "StartIndex": 0, "TopTimeStamp": 0, "TopStartIndex": 0}
	for {
		page := d.must(t, "recentcontact.page_get", req)
		for _, it := range page["SessionItem"].([]any) {
			item := it.(object)
			id := item["To_Account"].(string)
			if items[id] != nil {
				t.Fatalf("conversation %s is listed twice", id)
			}
			items[id] = item
			order = append(order, id)
		}
		if page["CompleteFlag"].(float64) == 1 {
			return items, order
		}
		for _, k := range []string{"TimeStamp", "StartIndex", "TopTimeStamp", "TopStartIndex"} {
			req[k] = page[k]
		}
	}
}

// last returns the text of the list's last message with peer; "" for none.
func last(item object) string {
	m, ok := item["LastMsg"].(object)
	if !ok {
		return ""
	}
	return m["MsgBody"].([]any)[0].(object)["MsgContent"].(object)["Text"].(string)
}
