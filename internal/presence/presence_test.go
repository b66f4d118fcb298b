package presence_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/account"
	"imserver/internal/apptest"
	"imserver/internal/bus"
	"imserver/internal/config"
	"imserver/internal/presence"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

const grace = 10 * time.Second

// world is an app whose presence moves by hand.
type world struct {
	*apptest.App
	presence *presence.Service
}

func newService(a *apptest.App, r bus.Registry, friends presence.Friends) *presence.Service {
	return presence.New(presence.Options{DB: a.DB, Accounts: a.Accounts, Hub: a.Hub, Registry: r, Friends: friends, Grace: grace,
		Apps: func(uint32) *config.App { return a.App }, Now: a.Now, Log: a.Log, Metrics: prometheus.NewRegistry()})
}

func open(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		w := &world{a, newService(a, bus.NewLocalRegistry(), nil)}
		w.presence.Register(a.Table)
		a.Accounts.OnDelete(w.presence.Delete)
		a.Accounts.OnDeleted(w.presence.Deleted)
		fn(t, w)
	})
}

// run moves the clock to each moment that something is due, until nothing is
// or d has passed.
func (w *world) run(t *testing.T, d time.Duration) {
	t.Helper()
	end := w.Now().Add(d)
	for range 1000 {
		next := w.presence.Step(t.Context())
		if next.IsZero() || next.After(end) {
			w.Advance(end.Sub(w.Now()))
			return
		}
		w.Advance(max(0, next.Sub(w.Now())))
	}
	t.Fatal("there is always something due")
}

// device is a login instance of a user; it has a row, as after a login.
func (w *world) device(t *testing.T, u *apptest.User, inst uint32, class session.Class) *session.Session {
	t.Helper()
	_, err := w.DB.Write.ExecContext(t.Context(), `INSERT INTO sessions (uid, inst, platform, class, created_at, expires_at) VALUES ($1, $2, 7, $3, 0, $4)`,
		u.UID, inst, class, w.Now().Unix()+3600)
	if err != nil {
		t.Fatal(err)
	}
	return &session.Session{App: u.App, UserID: u.UserID, UID: u.UID, Inst: inst, Class: class}
}

// end ends a login as a logout does.
func (w *world) end(t *testing.T, ses *session.Session) {
	t.Helper()
	if _, err := w.DB.Write.ExecContext(t.Context(), `UPDATE sessions SET state = 9 WHERE uid = $1 AND inst = $2`, ses.UID, ses.Inst); err != nil {
		t.Fatal(err)
	}
	w.presence.End(t.Context(), ses)
	w.presence.Depart(ses, true)
}

// told is what a user's pushes say, "alice:1:text" each.
func told(t *testing.T, u *apptest.User) []string {
	t.Helper()
	var list []string
	for _, item := range u.Events() {
		var e struct {
			Event          int
			UserStatusList []struct {
				To_Account, CustomStatus string
				Status                   int
			}
		}
		if err := json.Unmarshal([]byte(item), &e); err != nil || e.Event != 19 {
			t.Fatalf("%s: %v", item, err)
		}
		for _, s := range e.UserStatusList {
			text, err := base64.StdEncoding.DecodeString(s.CustomStatus)
			if err != nil {
				t.Fatalf("%s: %v", item, err)
			}
			list = append(list, fmt.Sprintf("%s:%d:%s", s.To_Account, s.Status, text))
		}
	}
	return list
}

func wantTold(t *testing.T, u *apptest.User, want ...string) {
	t.Helper()
	if got := told(t, u); !slices.Equal(got, want) {
		t.Errorf("%s was told %q, want %q", u.UserID, got, want)
	}
}

// names returns n JSON strings.
func names(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"u%d"`, i)
	}
	return "[" + strings.Join(list, ",") + "]"
}

// Ensure that who watches is told of coming and going, and the state says
// whether the user can still be reached.
func TestComingAndGoing(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.User(t, "alice"), w.User(t, "bob"), w.User(t, "carol")
		bob.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["alice","nobody","bob","\u0001"]}`).Want(t, 0).Has(t,
			`"To_Account":"nobody","Invalid_Account":"","ErrorCode":70107`, `"Invalid_Account":"\u0001"`, `"To_Account":"bob","Invalid_Account":"","ErrorCode":70402`)
		page, phone := w.device(t, alice, 1, session.Web), w.device(t, alice, 2, session.Android)

		w.presence.Arrive(page)
		w.run(t, time.Minute)
		wantTold(t, bob, "alice:1:")
		w.presence.Arrive(phone)
		w.end(t, page)
		w.run(t, time.Minute)
		wantTold(t, bob) // the phone is still there
		w.presence.Depart(phone, false)
		w.run(t, grace-time.Second)
		wantTold(t, bob) // it may come back
		w.presence.Arrive(phone)
		w.run(t, time.Minute)
		wantTold(t, bob) // and it did
		w.presence.Depart(phone, false)
		w.run(t, grace)
		w.run(t, time.Second)
		wantTold(t, bob, "alice:2:") // a phone can be pushed to
		w.presence.Arrive(phone)
		w.run(t, time.Minute)
		wantTold(t, bob, "alice:1:")
		w.end(t, phone)
		w.run(t, 0)
		wantTold(t, bob, "alice:3:") // a logout needs no grace
		wantTold(t, alice)
		wantTold(t, carol)

		bob.Call(t, "im_open_status.ws_status_unsubscribe", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"ErrorList":[]`)
		w.presence.Arrive(page)
		w.run(t, time.Minute)
		wantTold(t, bob)
	})
}

func TestCustomStatus(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob := w.User(t, "alice"), w.User(t, "bob")
		bob.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["alice"]}`).Want(t, 0)
		page, phone := w.device(t, alice, 1, session.Web), w.device(t, alice, 2, session.IPhone)
		w.presence.Arrive(page)
		w.presence.Arrive(phone)
		w.run(t, time.Minute)
		wantTold(t, bob, "alice:1:")
		alice.Call(t, "im_open_status.ws_set_custom_status", `{"CustomStatus":"im Café"}`).Want(t, 0)
		w.run(t, 0)
		wantTold(t, bob, "alice:1:im Café")
		wantTold(t, alice, "alice:1:im Café") // its own devices, all of them
		bob.Call(t, "im_open_status.ws_get_user_status", `{"To_Account":["alice","bob","nobody","alice"]}`).Want(t, 0).Has(t,
			`"UserStatusList":[{"To_Account":"alice","Status":1,"CustomStatus":"aW0gQ2Fmw6k="},{"To_Account":"bob","Status":3,"CustomStatus":""}]`,
			`"ErrorList":[{"To_Account":"nobody"`)
		alice.Call(t, "im_open_status.ws_set_custom_status", `{"CustomStatus":"`+strings.Repeat("x", 513)+`"}`).Want(t, 70402)
		alice.Call(t, "im_open_status.ws_set_custom_status", `{"CustomStatus":"a\u0000b"}`).Want(t, 70402)

		// It lasts as long as a login does, and so do the watches.
		alice.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["bob"]}`).Want(t, 0)
		w.end(t, page)
		w.run(t, time.Minute)
		wantTold(t, bob)
		if n := w.watches(t); n != 2 {
			t.Errorf("%d watches, want 2", n)
		}
		w.end(t, phone)
		w.run(t, time.Minute)
		wantTold(t, bob, "alice:3:")
		if n := w.watches(t); n != 1 {
			t.Errorf("%d watches, want bob's", n)
		}
	})
}

func (w *world) watches(t *testing.T) (n int) {
	t.Helper()
	if err := w.DB.Read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM status_watches`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStatusLimits(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice := w.User(t, "alice")
		const get, subscribe, unsubscribe = "im_open_status.ws_get_user_status", "im_open_status.ws_status_subscribe", "im_open_status.ws_status_unsubscribe"
		alice.Call(t, get, `{"To_Account":`+names(500)+`}`).Want(t, 0)
		alice.Call(t, get, `{"To_Account":`+names(501)+`}`).Want(t, 90011)
		alice.Call(t, get, `{}`).Want(t, 90003)
		alice.Call(t, subscribe, `{"To_Account":`+names(101)+`}`).Want(t, 90011)
		alice.Call(t, unsubscribe, `{}`).Want(t, 90003)

		var entries []account.Entry
		for i := range 100 {
			entries = append(entries, account.Entry{UserID: fmt.Sprintf("u%d", i)})
		}
		if err := w.Accounts.Import(t.Context(), w.SDKAppID, entries); err != nil {
			t.Fatal(err)
		}
		w.StatusSubscriptions = 60 // the newest stay
		alice.Call(t, subscribe, `{"To_Account":["u99","u0"]}`).Want(t, 0)
		w.Advance(time.Second)
		alice.Call(t, subscribe, `{"To_Account":`+names(60)+`}`).Want(t, 0)
		w.Advance(time.Second)
		alice.Call(t, subscribe, `{"To_Account":["u0","u98"]}`).Want(t, 0) // u0 becomes the newest but one, u1 gives way
		left, err := store.Collect(t.Context(), w.DB.Read, func(rows *sql.Rows, id *string) error { return rows.Scan(id) },
			`SELECT a.user_id FROM status_watches w JOIN accounts a ON a.uid = w.target ORDER BY w.at DESC`)
		if err != nil || len(left) != 60 || left[0] != "u98" || left[1] != "u0" || slices.Contains(left, "u1") || slices.Contains(left, "u99") || !slices.Contains(left, "u2") {
			t.Errorf("%d left: %q, %v", len(left), left, err)
		}
		alice.Call(t, unsubscribe, `{"UnsubscribeAll":1}`).Want(t, 0)
		if n := w.watches(t); n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// Ensure that an app without status says so.
func TestStatusOff(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		w.UserStatus = false
		alice := w.User(t, "alice")
		for _, name := range []string{"ws_get_user_status", "ws_status_subscribe", "ws_status_unsubscribe"} {
			alice.Call(t, "im_open_status."+name, `{"To_Account":["bob"],"UnsubscribeAll":1}`).Want(t, 72001)
		}
		alice.Call(t, "im_open_status.ws_set_custom_status", `{"CustomStatus":"x"}`).Want(t, 0)
		w.run(t, 0)
		wantTold(t, alice, "alice:3:x")
	})
}

// Ensure that a user who comes and goes all the time costs the subscribers
// little, and that the last they hear is true.
func TestFlappingUser(t *testing.T) {
	a := apptest.New(t, storetest.SQLite(t))
	w := &world{a, newService(a, bus.NewLocalRegistry(), nil)}
	w.presence.Register(a.Table)
	const subscribers = 1000
	var entries []account.Entry
	for i := range subscribers {
		entries = append(entries, account.Entry{UserID: fmt.Sprintf("s%d", i)})
	}
	for part := range slices.Chunk(entries, 100) {
		if err := a.Accounts.Import(t.Context(), a.SDKAppID, part); err != nil {
			t.Fatal(err)
		}
	}
	alice := a.User(t, "alice")
	page := w.device(t, alice, 1, session.Web)
	var watching []*apptest.User
	for _, e := range entries {
		u := a.User(t, e.UserID)
		watching = append(watching, u)
		u.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["alice"]}`).Want(t, 0)
	}
	const flaps, pause = 200, 100 * time.Millisecond
	for i := range flaps { // logins and logouts, which have no grace
		if w.presence.Arrive(page); i%3 == 0 {
			w.run(t, pause/2)
		}
		w.presence.Depart(page, true)
		w.run(t, pause)
	}
	w.presence.Arrive(page)
	w.run(t, time.Minute)
	most := int((flaps+flaps/6)*pause/presence.Spacing) + 2
	for _, u := range watching {
		got := told(t, u)
		if len(got) == 0 || len(got) > most || got[len(got)-1] != "alice:1:" {
			t.Fatalf("%s got %d pushes, at most %d are fine: %q", u.UserID, len(got), most, got)
		}
	}
}

// friends says who has whom in the list.
type friends map[int64][]int64

func (f friends) FriendsOf(_ context.Context, uids []int64) (map[int64][]int64, error) {
	found := map[int64][]int64{}
	for _, uid := range uids {
		found[uid] = f[uid]
	}
	return found, nil
}

// Ensure that friends are told where the app wants that, once even if they
// watch as well.
func TestFriends(t *testing.T) {
	a := apptest.New(t, storetest.SQLite(t))
	known := friends{}
	w := &world{a, newService(a, bus.NewLocalRegistry(), known)}
	w.presence.Register(a.Table)
	alice, bob, carol := a.User(t, "alice"), a.User(t, "bob"), a.User(t, "carol")
	known[alice.UID] = []int64{bob.UID, carol.UID}
	carol.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["alice"]}`).Want(t, 0)
	page := w.device(t, alice, 1, session.Web)
	w.presence.Arrive(page)
	w.run(t, time.Minute)
	wantTold(t, bob)
	wantTold(t, carol, "alice:1:")
	a.FriendStatus = true
	w.presence.Depart(page, true)
	w.run(t, time.Minute)
	wantTold(t, bob, "alice:3:")
	wantTold(t, carol, "alice:3:")
}

// Ensure that a deleted account is forgotten on both sides, and that those who
// watched it are told that it is offline, once it is gone.
func TestDeletedAccount(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob, carol := w.User(t, "alice"), w.User(t, "bob"), w.User(t, "carol")
		for _, pair := range [][2]*apptest.User{{alice, bob}, {bob, alice}, {carol, bob}} {
			pair[0].Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["`+pair[1].UserID+`"]}`).Want(t, 0)
		}
		alice.Call(t, "im_open_status.ws_set_custom_status", `{"CustomStatus":"hello"}`).Want(t, 0)
		w.presence.Arrive(w.device(t, alice, 1, session.Android))
		w.run(t, time.Minute)
		wantTold(t, bob, "alice:1:hello")
		broken := errors.New("broken")
		w.Accounts.OnDelete(func(context.Context, *sql.Tx, []int64) error { return broken })
		if err := w.Accounts.Delete(t.Context(), []int64{alice.UID}); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		wantTold(t, bob) // it is still there
		broken = nil
		if err := w.Accounts.Delete(t.Context(), []int64{alice.UID}); err != nil {
			t.Fatal(err)
		}
		wantTold(t, bob, "alice:3:")
		wantTold(t, carol)
		if n := w.watches(t); n != 1 {
			t.Errorf("%d watches, want carol's", n)
		}
	})
}

func TestQuery(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob := w.User(t, "alice"), w.User(t, "bob")
		w.User(t, "carol")
		w.presence.Arrive(w.device(t, alice, 1, session.Web))
		w.presence.Arrive(w.device(t, alice, 2, session.Web))
		w.presence.Arrive(w.device(t, alice, 3, session.Windows))
		w.device(t, alice, 4, session.IPhone)
		w.device(t, bob, 5, session.Android)
		for _, name := range []string{"openim.query_online_status", "openim.querystate"} {
			w.Post(t, name, `{"To_Account":["bob","nobody","alice","carol"]}`).Want(t, 0).Has(t,
				`"QueryResult":[{"To_Account":"bob","State":"PushOnline","Status":"PushOnline"},{"To_Account":"alice","State":"Online","Status":"Online"},{"To_Account":"carol","State":"Offline","Status":"Offline"}]`,
				`"ErrorList":[{"To_Account":"nobody","ErrorCode":70107}]`)
			w.Post(t, name, `{"IsNeedDetail":1,"To_Account":["alice"]}`).Want(t, 0).Lacks(t, "ErrorList").Has(t,
				`"Detail":[{"Platform":"Web","Status":"Online"},{"Platform":"PC","Status":"Online"},{"Platform":"iPhone","Status":"PushOnline"}]`)
			w.Post(t, name, `{}`).Want(t, 90003)
			w.Post(t, name, `{"To_Account":`+names(500)+`}`).Want(t, 0).Has(t, `"QueryResult":[]`)
			w.Post(t, name, `{"To_Account":`+names(501)+`}`).Want(t, 90011)
		}
	})
}

// Ensure that a page of a native build that left a token can be reached.
func TestToken(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice := w.User(t, "alice")
		w.device(t, alice, 1, session.Web)
		w.Post(t, "openim.querystate", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"State":"Offline"`)
		alice.Call(t, "im_open_status.ws_stat_settoken", `{"TokenID":"","VarToken":"t0k3n","PushMsg":1}`).Want(t, 0)
		w.Post(t, "openim.querystate", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"State":"PushOnline"`)
		alice.Call(t, "im_open_status.ws_stat_settoken", `{"TokenID":""}`).Want(t, 0)
		w.Post(t, "openim.querystate", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"State":"Offline"`)
		alice.Call(t, "im_open_status.ws_stat_settoken", `{"TokenID":"`+strings.Repeat("x", 1025)+`"}`).Want(t, 70402)
	})
}
