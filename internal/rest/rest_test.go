package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/rest"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
	"imserver/internal/usersig"
)

const (
	appID = 1400000001
	key   = "a key for tests"
)

// fixture is a door over a real store, with an app, and commands of its own.
type fixture struct {
	app   *config.App
	table *command.Table
	opts  rest.Options
	now   time.Time
	reg   *prometheus.Registry
	log   bytes.Buffer
	srv   *httptest.Server
}

func newFixture() *fixture {
	settings := config.Default().Defaults
	f := &fixture{
		app: &config.App{SDKAppID: appID, Keys: []string{key}, Settings: settings}, table: command.NewTable(), reg: prometheus.NewRegistry(),
		opts: rest.Options{MaxBody: 1 << 20, Inflight: 100, Timeout: 5 * time.Second}, now: time.Now(),
	}
	command.Handle(f.table, "test.echo", command.Admins, func(_ context.Context, call *command.Call, req *echo) (*echo, error) {
		req.Caller, req.UID = call.UserID, call.UID
		return req, nil
	})
	command.Handle(f.table, "test.users_only", command.Users, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		return command.Empty{}, nil
	})
	return f
}

type echo struct {
	Text   string
	List   []string
	Caller string
	UID    int64
}

func (f *fixture) start(t *testing.T, db *store.DB) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(&f.log, nil))
	now := func() time.Time { return f.now }
	dir := account.NewDirectory(db, now)
	sessions := session.NewService(db, dir, fanout.NewHub(bus.Local{}, log), now, log)
	apps := func(id uint32) *config.App {
		if id == appID {
			return f.app
		}
		return nil
	}
	f.srv = httptest.NewServer(rest.New(f.opts, apps, f.table, sessions, dir.Number, now, f.reg, log))
	t.Cleanup(f.srv.Close)
}

func (f *fixture) ticket(t *testing.T, user string) string {
	t.Helper()
	sig, err := usersig.Sign(key, usersig.Ticket{UserID: user, SDKAppID: appID, IssuedAt: f.now.Unix(), Lifetime: 3600})
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (f *fixture) query(t *testing.T) url.Values {
	t.Helper()
	return url.Values{"sdkappid": {"1400000001"}, "identifier": {"administrator"}, "usersig": {f.ticket(t, "administrator")},
		"random": {"4294967295"}, "contenttype": {"json"}}
}

// call posts body as the administrator.
func (f *fixture) call(t *testing.T, name, body string) map[string]any {
	t.Helper()
	return f.send(t, http.MethodPost, name, f.query(t), body)
}

func (f *fixture) send(t *testing.T, method, name string, query url.Values, body string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.srv.URL+"/v4/"+name+"?"+query.Encode(), strings.NewReader(body))
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
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: protocol failures are status 200", resp.StatusCode)
	}
	if got := resp.Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin is %q", got)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	code, info := int(answer["ErrorCode"].(float64)), answer["ErrorInfo"].(string)
	if status := answer["ActionStatus"]; (code == 0) != (status == "OK") || (code == 0) != (info == "") || code != 0 && status != "FAIL" {
		t.Errorf("the envelope contradicts itself: %s", text)
	}
	return answer
}

func wantCode(t *testing.T, answer map[string]any, code int) {
	t.Helper()
	if got := int(answer["ErrorCode"].(float64)); got != code {
		t.Errorf("code %d (%v), want %d", got, answer["ErrorInfo"], code)
	}
}

// A request with several faults gets the code of the first check that it
// fails (protocol 06 §1.5): each row mends what the row before was refused for.
func TestOrderOfChecks(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		f := newFixture()
		f.app.Admins = []string{"administrator"}
		f.start(t, db)
		other, err := usersig.Sign(key, usersig.Ticket{UserID: "alice", SDKAppID: appID + 1, IssuedAt: f.now.Unix(), Lifetime: 3600})
		if err != nil {
			t.Fatal(err)
		}
		forged, err := usersig.Sign("another key", usersig.Ticket{UserID: "alice", SDKAppID: appID, IssuedAt: f.now.Unix(), Lifetime: 3600})
		if err != nil {
			t.Fatal(err)
		}
		old, err := usersig.Sign(key, usersig.Ticket{UserID: "alice", SDKAppID: appID, IssuedAt: f.now.Unix() - 7200, Lifetime: 3600})
		if err != nil {
			t.Fatal(err)
		}
		method, name, body := http.MethodGet, "no/such", "{not JSON"
		q := url.Values{"identifier": {"alice"}}
		steps := []struct {
			what string
			code int
			mend func()
		}{
			{"method", 60002, func() { method = http.MethodPost }},
			{"sdkappid missing", 60012, func() { q.Set("sdkappid", "x") }},
			{"sdkappid no number", 60006, func() { q.Set("sdkappid", "14000000019999") }},
			{"sdkappid too large", 60006, func() { q.Set("sdkappid", "7") }},
			{"no such app", 60006, func() { q.Set("sdkappid", "1400000001") }},
			{"unknown command", 60009, func() { name = "test/users_only" }},
			{"a command for users only", 60009, func() { name = "test/echo/more" }},
			{"a path that is too long", 60009, func() { name = "test/echo" }},
			{"no ticket", 70002, func() { q.Set("usersig", "rubbish") }},
			{"ticket not decodable", 70003, func() { q.Set("usersig", other) }},
			{"ticket of another app", 70014, func() { q.Set("usersig", f.ticket(t, "bob")) }},
			{"ticket of another user", 70013, func() { q.Set("usersig", forged) }},
			{"forged ticket", 70009, func() { q.Set("usersig", old) }},
			{"expired ticket", 70001, func() { q.Set("usersig", f.ticket(t, "alice")) }},
			{"not an administrator", 60010, func() { q.Set("identifier", "administrator"); q.Set("usersig", f.ticket(t, "administrator")) }},
			{"not JSON", 60003, func() { body = "[]" }},
			{"not an object", 60003, func() { body = "{\"Text\":\"\xff\"}" }},
			{"not UTF-8", 60003, func() { body = strings.Repeat(`{"List":[`, 100_000) }},
			{"nesting", 60003, func() { body = `{"Text":5}` }},
			{"wrong type", 60003, func() { body = `{"Text":"a"}` }},
			{"all is well", 0, nil},
		}
		for _, s := range steps {
			t.Log(s.what)
			wantCode(t, f.send(t, method, name, q, body), s.code)
			if s.mend != nil {
				s.mend()
			}
		}
		if n := testutil.ToFloat64(mustCounter(t, f.reg, "unknown", "60009")); n != 3 {
			t.Errorf("%v unknown commands counted, want 3", n)
		}
	})
}

// mustCounter returns the one series of the command counter with these labels.
func mustCounter(t *testing.T, reg *prometheus.Registry, name, code string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "found"})
	for _, f := range families {
		if f.GetName() != "imserver_rest_commands_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["command"] == name && labels["code"] == code {
				g.Set(m.GetCounter().GetValue())
			}
		}
	}
	return g
}

// An administrator gets through with as little as libraries send, and is known
// to the handler by name and number.
func TestCall(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		f := newFixture()
		f.start(t, db)
		answer := f.call(t, "test/echo", `{"Text":"häh","List":null,"Unknown":[1]}`)
		wantCode(t, answer, 0)
		if answer["Text"] != "häh" || answer["Caller"] != "administrator" || answer["UID"].(float64) < 1 {
			t.Errorf("answer %v", answer)
		}
		if _, there := answer["ErrorDisplay"]; there {
			t.Error("ErrorDisplay in a service that has none")
		}
		q := f.query(t)
		q.Del("random")
		q.Del("contenttype")
		wantCode(t, f.send(t, http.MethodPost, "test/echo", q, ""), 0)
		wantCode(t, f.send(t, http.MethodPost, "test/echo", q, " \n"), 0)
	})
}

func TestErrorDisplay(t *testing.T) {
	f := newFixture()
	for _, name := range []string{"sns.x", "profile.x", "recentcontact.x"} {
		command.Handle(f.table, name, command.Admins, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
			return command.Empty{}, command.Err(30001, "no")
		})
	}
	f.start(t, storetest.SQLite(t))
	for _, name := range []string{"sns/x", "profile/x", "recentcontact/x", "sns/missing"} {
		if d, ok := f.call(t, name, "{}")["ErrorDisplay"]; !ok || d != "" {
			t.Errorf("%s: ErrorDisplay is %v", name, d)
		}
	}
}

// A body over the limit is answered, also to a caller who has written it all
// before reading, and the next request works.
func TestBodyLimit(t *testing.T) {
	f := newFixture()
	f.opts.MaxBody = 1000
	f.start(t, storetest.SQLite(t))
	wantCode(t, f.call(t, "test/echo", `{"Text":"`+strings.Repeat("x", 3<<20)+`"}`), command.CodeTooLong)
	wantCode(t, f.call(t, "test/echo", `{"Text":"`+strings.Repeat("x", 900)+`"}`), 0)
}

func TestAllowList(t *testing.T) {
	f := newFixture()
	f.app.RESTAllow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	var from netip.Addr
	f.opts.Remote = func(*http.Request) netip.Addr { return from }
	f.start(t, storetest.SQLite(t))
	for addr, code := range map[string]int{"10.1.2.3": 0, "fd00::1": 0, "192.168.0.1": 60021, "::1": 60021} {
		from = netip.MustParseAddr(addr)
		wantCode(t, f.call(t, "test/echo", "{}"), code)
	}
	from = netip.Addr{} // unknown: not on the list
	wantCode(t, f.call(t, "test/echo", "{}"), 60021)
}

func TestAllowListByConnection(t *testing.T) {
	f := newFixture()
	f.app.RESTAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	f.start(t, storetest.SQLite(t))
	wantCode(t, f.call(t, "test/echo", "{}"), 0)
	f.app.RESTAllow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	wantCode(t, f.call(t, "test/echo", "{}"), 60021)
}

// Each command of each app has a rate of its own; some are slower than the
// rest; 0 switches all of it off (protocol 06 §1.3).
func TestRate(t *testing.T) {
	const slow = "group_open_http_svc/get_appid_group_list"
	f := newFixture()
	f.app.RESTRate = 3
	command.Handle(f.table, strings.ReplaceAll(slow, "/", "."), command.Admins, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		return command.Empty{}, nil
	})
	f.start(t, storetest.SQLite(t))
	spend := func(name string, good int) {
		t.Helper()
		for range good {
			wantCode(t, f.call(t, name, "{}"), 0)
		}
		wantCode(t, f.call(t, name, "{}"), 60007)
	}
	spend("test/echo", 3)
	spend(slow, 1)
	f.now = f.now.Add(time.Second)
	spend("test/echo", 3)
	spend(slow, 1)
	f.app.RESTRate = 0
	for range 5 {
		wantCode(t, f.call(t, "test/echo", "{}"), 0)
		wantCode(t, f.call(t, slow, "{}"), 0)
	}
}

// What goes wrong inside stays inside: a generic code, the details in the log
// under the request id, and the door goes on.
func TestInternalFaults(t *testing.T) {
	f := newFixture()
	f.opts.Timeout = time.Second // the others have to be done by then
	empty := func(fn func(context.Context) (any, error)) func(context.Context, *command.Call, *command.Empty) (any, error) {
		return func(ctx context.Context, _ *command.Call, _ *command.Empty) (any, error) { return fn(ctx) }
	}
	command.Handle(f.table, "test.broken", command.Admins, empty(func(context.Context) (any, error) { return nil, io.ErrUnexpectedEOF }))
	command.Handle(f.table, "test.panics", command.Admins, empty(func(context.Context) (any, error) { panic("secret") }))
	command.Handle(f.table, "test.slow", command.Admins, empty(func(ctx context.Context) (any, error) { <-ctx.Done(); return nil, ctx.Err() }))
	command.Handle(f.table, "test.never", command.Admins, empty(func(context.Context) (any, error) {
		return command.Later(func(func(any, error)) {}), nil
	}))
	command.Handle(f.table, "test.later", command.Admins, empty(func(context.Context) (any, error) {
		return command.Later(func(done func(any, error)) { go done(map[string]int{"N": 7}, nil) }), nil
	}))
	f.start(t, storetest.SQLite(t))
	for name, code := range map[string]int{"broken": 20004, "panics": 20004, "slow": 60008, "never": 60008, "later": 0} {
		answer := f.call(t, "test/"+name, "{}")
		wantCode(t, answer, code)
		if info := answer["ErrorInfo"].(string); strings.Contains(info, "EOF") || strings.Contains(info, "secret") {
			t.Errorf("%s: the answer tells internals: %s", name, info)
		}
		if name == "later" && answer["N"] != 7.0 {
			t.Errorf("later: %v", answer)
		}
	}
	for _, text := range []string{"unexpected EOF", "secret", "test.broken", "user=administrator"} {
		if !strings.Contains(f.log.String(), text) {
			t.Errorf("%q is not in the log", text)
		}
	}
	if strings.Contains(f.log.String(), "eJ") {
		t.Error("a ticket is in the log")
	}
}

// More requests than there is room for are refused, not queued.
func TestInflight(t *testing.T) {
	f := newFixture()
	f.opts.Inflight = 1
	entered, leave := make(chan struct{}), make(chan struct{})
	command.Handle(f.table, "test.wait", command.Admins, func(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
		close(entered)
		<-leave
		return command.Empty{}, nil
	})
	f.start(t, storetest.SQLite(t))
	q := f.query(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		resp, err := http.Post(f.srv.URL+"/v4/test/wait?"+q.Encode(), "", strings.NewReader("{}"))
		if err == nil {
			_ = resp.Body.Close()
		}
	}()
	<-entered
	wantCode(t, f.call(t, "test/echo", "{}"), 60018)
	close(leave)
	<-done
	wantCode(t, f.call(t, "test/echo", "{}"), 0)
}

// A browser may ask beforehand whether it may POST.
func TestPreflight(t *testing.T) {
	f := newFixture()
	f.start(t, storetest.SQLite(t))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, f.srv.URL+"/v4/test/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Access-Control-Request-Method", "POST")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK || !strings.Contains(resp.Header.Get("Access-Control-Allow-Methods"), "POST") {
		t.Errorf("status %d, headers %v", resp.StatusCode, resp.Header)
	}
}

func TestMatches(t *testing.T) {
	for path, want := range map[string]bool{"/v4/a/b": true, "/v4//b": true, "/v4": false, "/": false, "/binfo": false} {
		if rest.Matches(path) != want {
			t.Errorf("Matches(%q) is %v", path, !want)
		}
	}
}
