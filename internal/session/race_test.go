package session_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"imserver/internal/account"
	"imserver/internal/apptest"
	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// device is a client that logs in through a node; like a connection it is in
// its account's topic from the moment it is attached.
type device struct {
	hub *fanout.Hub

	mu      sync.Mutex
	session *session.Session // guarded by mu, as all below
	class   session.Class
	kicks   []uint8
}

func (d *device) ID() uint64          { return 1 }
func (d *device) Query(string) string { return "" }
func (d *device) Attach(s *session.Session) {
	d.mu.Lock()
	d.session, d.class = s, s.Class
	d.mu.Unlock()
	d.hub.Join(fanout.User(s.UID), d)
}
func (d *device) Hold() {}

func (d *device) Detach() {}
func (d *device) Session() *session.Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session
}
func (d *device) Device() fanout.Device { return d.Session().Device() }
func (d *device) Offer(e *fanout.Event) {
	if e.Kind == fanout.Kick {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.kicks = append(d.kicks, e.KickType)
	}
}
func (d *device) kicked() []uint8 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kicks
}

// place is a node: its own caches and its own end of the bus, the store shared.
type place struct {
	hub   *fanout.Hub
	table *command.Table
}

func newPlace(a *apptest.App, b bus.Bus) *place {
	p := &place{hub: fanout.NewHub(b, a.Log), table: command.NewTable()}
	accounts := account.NewDirectory(a.DB, a.Now)
	accounts.Share(p.hub)
	session.NewService(a.DB, accounts, p.hub, a.Now, a.Log).Register(p.table)
	return p
}

// login logs a device in and returns it.
func (p *place) login(t *testing.T, a *apptest.App, user string, platform int) *device {
	d := &device{hub: p.hub}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	call := &command.Call{Name: "im_open_status.wslogin", Kind: command.Tickets, App: a.App, UserID: user, Platform: platform, Conn: d,
		Ticket: command.Ticket{IssuedAt: a.Now().Unix(), ExpiresAt: a.Now().Unix() + 3600}}
	answer, err := p.table.Run(ctx, call, []byte(`{"State":"Online"}`))
	if _, err = command.Await(ctx, answer, err); err != nil {
		t.Error(err)
	}
	return d
}

// race lets several users log in on all platforms at once and everywhere, and
// checks that exactly what the policy allows is left, and that whoever is not
// left was told so.
func race(t *testing.T, a *apptest.App, places []*place) {
	t.Helper()
	platforms := []int{7, 7, 7, 2, 2, 3, 13, 1, 4, 5}
	for mode, limit := range map[config.LoginPolicy]int{"single": 1, "dual": 2, "triple": 1, "multi": 2} {
		a.LoginPolicy = mode
		a.MaxInstances.Web, a.MaxInstances.Android = limit, limit
		user := fmt.Sprintf("%s_%d", mode, time.Now().UnixNano())
		var wg sync.WaitGroup
		devices := make([]*device, 2*len(platforms))
		for i := range devices {
			wg.Go(func() { devices[i] = places[i%len(places)].login(t, a, user, platforms[i/2]) })
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		uid := devices[0].Session().UID
		live := liveOf(t, a.DB, uid)
		count := map[session.Class]int{}
		for _, d := range devices {
			if live[d.Session().Inst] {
				count[d.class]++
			}
		}
		for _, d := range devices { // a connection makes one of two kicks
			if inst := d.Session().Inst; !live[inst] {
				eventually(t, fmt.Sprintf("%s: a kicked %s hears of it", mode, d.class), func() bool { return len(d.kicked()) > 0 })
			} else if n := len(d.kicked()); n > 0 {
				t.Errorf("%s: a %s that may stay hears of %d kicks", mode, d.class, n)
			}
		}
		checkLeft(t, mode, limit, count)
	}
}

// checkLeft compares what is left with the policy's table (protocol 06 §9):
// of each group one class, as many of it as are allowed.
func checkLeft(t *testing.T, mode config.LoginPolicy, limit int, count map[session.Class]int) {
	t.Helper()
	groups := map[config.LoginPolicy][][]session.Class{
		"single": {{session.Web, session.Android, session.IPhone, session.IPad, session.Windows, session.Mac, session.Linux}},
		"dual":   {{session.Web}, {session.Android, session.IPhone, session.IPad, session.Windows, session.Mac, session.Linux}},
		"triple": {{session.Web}, {session.Android, session.IPhone, session.IPad}, {session.Windows, session.Mac, session.Linux}},
		"multi":  {{session.Web}, {session.Android}, {session.IPhone}, {session.IPad}, {session.Windows}, {session.Mac}, {session.Linux}},
	}
	for _, group := range groups[mode] {
		kinds := 0
		for _, class := range group {
			n, most := count[class], 1
			if class == session.Web || class == session.Android {
				most = limit
			}
			if n > 0 {
				kinds++
			}
			if n > most || len(group) == 1 && n != most {
				t.Errorf("%s: %d of %s are left, want %d", mode, n, class, most)
			}
		}
		if kinds != 1 {
			t.Errorf("%s: %d classes of %v are left: %v", mode, kinds, group, count)
		}
	}
}

// liveOf returns the instances that the store says are logged in.
func liveOf(t *testing.T, db *store.DB, uid int64) map[uint32]bool {
	t.Helper()
	rows, err := db.Read.QueryContext(t.Context(), `SELECT inst FROM sessions WHERE uid = $1 AND state = 0`, uid)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	live := map[uint32]bool{}
	for rows.Next() {
		var inst uint32
		if err := rows.Scan(&inst); err != nil {
			t.Fatal(err)
		}
		live[inst] = true
	}
	return live
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// Ensure that simultaneous logins leave what the policy allows, in a process.
func TestLoginRace(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		one := newPlace(a, bus.Local{})
		for range 3 {
			race(t, a, []*place{one})
		}
	})
}

// Ensure the same of two nodes with a Redis between them.
func TestLoginRaceOnTwoNodes(t *testing.T) {
	a := apptest.New(t, storetest.Postgres(t))
	var places []*place
	prefix := fmt.Sprintf("race%d:", time.Now().UnixNano())
	for range 2 {
		b, err := bus.NewRedis(t.Context(), bustest.Client(t), bus.RedisOptions{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		places = append(places, newPlace(a, b))
	}
	for range 3 {
		race(t, a, places)
	}
}
