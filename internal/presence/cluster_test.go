package presence_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imserver/internal/apptest"
	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
	"imserver/internal/fanout"
	"imserver/internal/presence"
	"imserver/internal/session"
	"imserver/internal/store/storetest"
)

// Ensure that on a cluster, whatever comes, goes or dies on whichever node,
// the last that a watcher hears of somebody is true.
func TestClusterTellsTheTruth(t *testing.T) {
	client := bustest.Client(t)
	a := apptest.New(t, storetest.SQLite(t))
	watcher := a.User(t, "watcher")
	var users []*apptest.User
	for i := range 3 {
		users = append(users, a.User(t, fmt.Sprintf("u%d", i)))
	}
	setup := newService(a, bus.NewLocalRegistry(), nil)
	setup.Register(a.Table)
	watcher.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["u0","u1","u2"]}`).Want(t, 0)
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		prefix := fmt.Sprintf("test%d-%d:", time.Now().UnixNano(), round)
		var nodes []*presence.Service
		for range 3 {
			r, err := bus.NewRedisRegistry(t.Context(), client, bus.RegistryOptions{Prefix: prefix})
			if err != nil {
				rt.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			nodes = append(nodes, newService(a, r, nil))
		}
		last := map[string]string{}
		hear := func() {
			for _, s := range told(t, watcher) {
				id, state, _ := strings.Cut(s, ":")
				last[id] = state
			}
		}
		at := map[fanout.Device]int{} // which node a device is connected to
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			u := rapid.SampledFrom(users).Draw(rt, "user")
			ses := &session.Session{App: u.App, UserID: u.UserID, UID: u.UID, Inst: rapid.Uint32Range(1, 2).Draw(rt, "inst")}
			n := rapid.IntRange(0, 2).Draw(rt, "node")
			here, connected := at[ses.Device()]
			switch rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0: // connects, or moves
				if connected {
					nodes[here].Depart(ses, false)
				}
				nodes[n].Arrive(ses)
				at[ses.Device()] = n
			case 1:
				if connected {
					nodes[here].Depart(ses, rapid.Bool().Draw(rt, "ended"))
					delete(at, ses.Device())
				}
			case 2:
				nodes[n].Step(t.Context())
				hear()
			case 3:
				a.Advance(time.Duration(rapid.IntRange(0, 12).Draw(rt, "seconds")) * time.Second)
			}
		}
		for range 4 { // graces end, what was told is looked at again
			a.Advance(grace)
			for _, n := range nodes {
				n.Step(t.Context())
				n.Step(t.Context())
			}
		}
		hear()
		for _, u := range users {
			want := "3:"
			for dev := range at {
				if dev.UID == u.UID {
					want = "1:"
				}
			}
			if got, heard := last[u.UserID]; got != want && (heard || want == "1:") {
				rt.Fatalf("of %s the watcher heard %q last, want %q", u.UserID, got, want)
			}
		}
	})
}
