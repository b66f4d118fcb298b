package presence_test

import (
	"context"
	"testing"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/bus"
	"imserver/internal/presence"
	"imserver/internal/session"
)

// lasting is a device whose ticket outlives the test.
func (w *world) lasting(t *testing.T, u *apptest.User, inst uint32, class session.Class) *session.Session {
	t.Helper()
	ses := w.device(t, u, inst, class)
	if _, err := w.DB.Write.ExecContext(t.Context(), `UPDATE sessions SET expires_at = expires_at + 10000000 WHERE uid = $1`, u.UID); err != nil {
		t.Fatal(err)
	}
	return ses
}

// Ensure that a phone counts as reached by push for seven days after it was
// seen, each device by its own time, and again when it has been back.
func TestReach(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob := w.User(t, "alice"), w.User(t, "bob")
		phone, tablet := w.lasting(t, alice, 1, session.Android), w.lasting(t, alice, 2, session.IPad)
		want := func(state string, code string, detail ...string) {
			t.Helper()
			a := bob.Call(t, "im_open_status.ws_get_user_status", `{"To_Account":["alice"]}`).Want(t, 0)
			a.Has(t, `"Status":`+code)
			q := w.Post(t, "openim.query_online_status", `{"To_Account":["alice"],"IsNeedDetail":1}`).Want(t, 0)
			q.Has(t, `"State":"`+state+`"`)
			for _, d := range detail {
				q.Has(t, d)
			}
		}
		leave := func(ses *session.Session) {
			w.presence.Depart(ses, false)
			w.run(t, grace)
			w.run(t, time.Second)
		}
		w.presence.Arrive(phone)
		w.presence.Arrive(tablet)
		w.run(t, time.Minute)
		leave(phone)
		w.run(t, 3*24*time.Hour)
		leave(tablet)
		want("PushOnline", "2", `{"Platform":"Android","Status":"PushOnline"}`, `{"Platform":"iPad","Status":"PushOnline"}`)
		w.run(t, presence.Reach-2*24*time.Hour)
		q := w.Post(t, "openim.query_online_status", `{"To_Account":["alice"],"IsNeedDetail":1}`).Want(t, 0)
		q.Has(t, `"Detail":[{"Platform":"iPad","Status":"PushOnline"}]`)
		w.run(t, 2*24*time.Hour)
		want("Offline", "3")

		w.presence.Arrive(phone)
		w.run(t, time.Minute)
		want("Online", "1")
		leave(phone)
		w.run(t, presence.Reach-time.Hour)
		want("PushOnline", "2", `"Detail":[{"Platform":"Android","Status":"PushOnline"}]`)
		w.run(t, time.Hour)
		want("Offline", "3")
	})
}

// overheard is a registry of which a test can say what it says.
type overheard struct {
	*bus.LocalRegistry
	tell func(uids []int64)
}

func (r *overheard) Listen(fn func(uids []int64)) { r.tell = fn }

// Ensure that the devices of a node that died count as seen when a survivor
// finds them gone.
func TestReachAfterDeath(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		alice, bob := w.User(t, "alice"), w.User(t, "bob")
		w.lasting(t, alice, 1, session.Android)
		r := &overheard{LocalRegistry: bus.NewLocalRegistry()}
		w.presence = newService(w.App, r, nil)
		if _, err := r.Mark(t.Context(), []int64{alice.UID}, true); err != nil {
			t.Fatal(err)
		}
		w.run(t, presence.Reach) // it was connected elsewhere all the time
		r.tell([]int64{alice.UID})
		w.run(t, time.Hour)
		bob.Call(t, "im_open_status.ws_get_user_status", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"Status":2`)
		w.run(t, presence.Reach)
		bob.Call(t, "im_open_status.ws_get_user_status", `{"To_Account":["alice"]}`).Want(t, 0).Has(t, `"Status":3`)
	})
}

// Ensure that after a restart of a single node those who were connected and do
// not come back are told of, and nobody else.
func TestRecall(t *testing.T) {
	open(t, func(t *testing.T, w *world) {
		var users []*apptest.User
		for _, name := range []string{"watcher", "returns", "stays_away", "left_before", "logged_out"} {
			users = append(users, w.User(t, name))
		}
		watcher, returns, before, out := users[0], users[1], users[3], users[4]
		watcher.Call(t, "im_open_status.ws_status_subscribe", `{"To_Account":["returns","stays_away","left_before","logged_out"]}`).Want(t, 0)
		devices := map[*apptest.User]*session.Session{}
		for _, u := range users[1:] {
			devices[u] = w.lasting(t, u, 1, session.Web)
			w.presence.Arrive(devices[u])
		}
		w.run(t, time.Minute)
		w.presence.Depart(devices[before], false)
		w.end(t, devices[out])
		w.run(t, time.Minute)
		watcher.Events()

		w.presence = newService(w.App, bus.NewLocalRegistry(), nil) // the new process
		if err := w.presence.Recall(context.Background()); err != nil {
			t.Fatal(err)
		}
		w.run(t, time.Second)
		watcher.Call(t, "im_open_status.ws_get_user_status", `{"To_Account":["left_before"]}`).Want(t, 0).Has(t, `"Status":3`)
		w.presence.Arrive(devices[returns])
		w.run(t, grace/2)
		wantTold(t, watcher) // those who were here may still come back
		w.run(t, time.Minute)
		wantTold(t, watcher, "stays_away:3:")
		w.presence.Depart(devices[returns], true)
		w.run(t, time.Minute)
		wantTold(t, watcher, "returns:3:")
	})
}
