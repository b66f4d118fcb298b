// Package apptest gives tests of the domains an app to play with: a real
// store, accounts, sessions and a REST door, and users who call commands and
// see events without a socket.
package apptest

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/rest"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/usersig"
)

// Admin is the administrator of every app here.
const Admin = "administrator"

const key = "a key for tests"

// App is one app on a server of its own. Register the commands under test in
// Table before the first call.
type App struct {
	*config.App
	DB       *store.DB
	Table    *command.Table
	Accounts *account.Directory
	Sessions *session.Service
	Hub      *fanout.Hub
	Log      *slog.Logger

	inst uint32 // of its users' devices
	mu   sync.Mutex
	now  time.Time // guarded by mu
	http *httptest.Server
}

// New starts a server with the app 1400000001 on db; it ends with the test.
func New(t *testing.T, db *store.DB) *App {
	t.Helper()
	return start(t, db, bus.Local{}, 1)
}

// Cluster starts n nodes with the app on db, joined by Redis, each with devices
// of its own. The test is skipped when IMSERVER_TEST_REDIS_URL names no Redis.
func Cluster(t *testing.T, db *store.DB, n int) []*App {
	t.Helper()
	client, prefix := bustest.Client(t), bustest.Prefix()
	apps := make([]*App, n)
	for i := range apps {
		b, err := bus.NewRedis(t.Context(), client, bus.RedisOptions{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		apps[i] = start(t, db, b, uint32(i+1))
	}
	return apps
}

func start(t *testing.T, db *store.DB, b bus.Bus, inst uint32) *App {
	t.Helper()
	a := &App{
		App: &config.App{SDKAppID: 1400000001, Keys: []string{key}, Settings: config.Default().Defaults},
		DB:  db, Table: command.NewTable(), Log: slog.New(slog.NewTextHandler(logTo{t}, nil)), inst: inst, now: time.Now(),
	}
	a.RESTRate = 0 // scenarios are faster than a backend
	a.Accounts = account.NewDirectory(db, a.Now)
	a.Hub = fanout.NewHub(b, a.Log)
	a.Accounts.Share(a.Hub)
	a.Sessions = session.NewService(db, a.Accounts, a.Hub, a.Now, a.Log)
	apps := func(id uint32) *config.App {
		if id == a.SDKAppID {
			return a.App
		}
		return nil
	}
	o := rest.Options{MaxBody: 4 << 20, Timeout: 10 * time.Second}
	a.http = httptest.NewServer(rest.New(o, apps, a.Table, a.Sessions, a.Accounts.Number, a.Now, prometheus.NewRegistry(), a.Log))
	t.Cleanup(a.http.Close)
	return a
}

// logTo writes the server's log into the test's.
type logTo struct{ t *testing.T }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Logf("%s", b)
	return len(b), nil
}

// Now is the app's clock; it stands still until Advance.
func (a *App) Now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

// Advance moves the clock.
func (a *App) Advance(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

// Ticket signs a UserSig for a user, issued now and good for an hour.
func (a *App) Ticket(t *testing.T, userID string) string {
	t.Helper()
	sig, err := usersig.Sign(key, usersig.Ticket{UserID: userID, SDKAppID: a.SDKAppID, IssuedAt: a.Now().Unix(), Lifetime: 3600})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Post calls "service.command" through the REST door as the administrator and
// returns the answer.
func (a *App) Post(t *testing.T, name, body string) Answer {
	t.Helper()
	service, command, _ := strings.Cut(name, ".")
	q := url.Values{"sdkappid": {strconv.FormatUint(uint64(a.SDKAppID), 10)}, "identifier": {Admin}, "usersig": {a.Ticket(t, Admin)}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.http.URL+"/v4/"+service+"/"+command+"?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, text)
}

// User is an account with one logged-in device.
type User struct {
	*account.Account
	app *App

	latest fanout.Latest
	mu     sync.Mutex
	topics map[fanout.Topic]bool // guarded by mu, as all below
	items  []string
	kicks  int
}

// User makes the account, if it is new, and a device that sees its events.
func (a *App) User(t *testing.T, userID string) *User {
	t.Helper()
	acc, _, err := a.Accounts.Ensure(t.Context(), a.SDKAppID, userID)
	if err != nil {
		t.Fatal(err)
	}
	u := &User{Account: acc, app: a, topics: map[fanout.Topic]bool{}}
	a.Hub.Join(fanout.User(acc.UID), u)
	t.Cleanup(func() { a.Hub.Leave(fanout.User(acc.UID), u) })
	return u
}

// Device implements [fanout.Subscriber].
func (u *User) Device() fanout.Device { return fanout.Device{UID: u.UID, Inst: u.app.inst} }

// Offer implements [fanout.Subscriber].
func (u *User) Offer(e *fanout.Event) {
	switch e.Kind {
	case fanout.Join:
		t, turn, places := e.Joining()
		u.latest.Do(t, turn, func() { u.enter(t, places) })
	case fanout.Leave:
		t, turn, _ := e.Joining()
		u.latest.Do(t, turn, func() { u.leave(t) })
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch e.Kind {
	case fanout.Push:
		u.items = append(u.items, string(e.Item))
	case fanout.Kick:
		u.kicks++
	}
}

// Events returns the event items that came since the last call.
func (u *User) Events() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	items := u.items
	u.items = nil
	return items
}

// enter puts the device into a topic, possibly later, if it is still wanted.
func (u *User) enter(t fanout.Topic, places []fanout.Position) {
	u.mu.Lock()
	u.topics[t] = true
	u.mu.Unlock()
	u.app.Hub.Enter(t, u, places, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.topics[t]
	})
}

func (u *User) leave(t fanout.Topic) {
	u.mu.Lock()
	delete(u.topics, t)
	u.mu.Unlock()
	u.app.Hub.Leave(t, u)
}

// Peek returns what Events would.
func (u *User) Peek() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.items)
}

// Kicks returns how often the device was kicked out.
func (u *User) Kicks() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.kicks
}

// Call does a command as the user's device and returns the answer.
func (u *User) Call(t *testing.T, name, body string) Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	call := &command.Call{Name: name, Kind: command.Users, App: u.app.App, UserID: u.UserID, UID: u.UID, Inst: u.app.inst, Platform: 7, RequestID: "test",
		Session: &session.Session{App: u.App, UserID: u.UserID, UID: u.UID, Inst: u.app.inst}}
	answer, err := u.app.Table.Run(ctx, call, []byte(body))
	answer, err = command.Await(ctx, answer, err)
	if err != nil && command.CodeOf(err) == command.CodeInternal {
		t.Logf("%s: %v", name, err)
	}
	text, _ := command.AppendAnswer(nil, answer, err)
	return answerOf(t, text)
}

// Answer is an answer's body.
type Answer struct {
	Code   int
	Text   string         // the JSON as it came
	Fields map[string]any // decoded
}

func answerOf(t *testing.T, text []byte) Answer {
	t.Helper()
	a := Answer{Text: string(text)}
	if err := json.Unmarshal(text, &a.Fields); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	code, ok := a.Fields["ErrorCode"].(float64)
	if !ok {
		t.Fatalf("no ErrorCode in %s", text)
	}
	a.Code = int(code)
	return a
}

// Want fails the test unless the answer has that code; it returns the answer.
func (a Answer) Want(t *testing.T, code int) Answer {
	t.Helper()
	if a.Code != code {
		t.Fatalf("code %d, want %d: %s", a.Code, code, a.Text)
	}
	return a
}

// Has fails the test unless the answer holds each of the JSON fragments.
func (a Answer) Has(t *testing.T, fragments ...string) Answer {
	t.Helper()
	for _, f := range fragments {
		if !strings.Contains(a.Text, f) {
			t.Errorf("no %s in %s", f, a.Text)
		}
	}
	return a
}

// Lacks fails the test if the answer holds one of the JSON fragments.
func (a Answer) Lacks(t *testing.T, fragments ...string) Answer {
	t.Helper()
	for _, f := range fragments {
		if strings.Contains(a.Text, f) {
			t.Errorf("%s in %s", f, a.Text)
		}
	}
	return a
}
