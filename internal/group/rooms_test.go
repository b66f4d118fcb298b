package group_test

import (
	"fmt"
	"testing"
	"time"
)

// Ensure a ban counts from when it is stored, also on a node that has not heard
// of it and still takes the banned for a watcher, and to its end.
func TestBanElsewhere(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "owner", "eve")
		owner, eve := u[0], u[1]
		id := owner.Call(t, svc("AVChatRoom", "create_group"), `{"Type":"AVChatRoom","Name":"x"}`).Want(t, 0).Fields["GroupId"].(string)
		g, err := w.dir.Group(t.Context(), w.SDKAppID, id)
		if err != nil {
			t.Fatal(err)
		}
		writes := func(want int) {
			t.Helper()
			counter := fmt.Sprintf(`{"GroupId":%q,"Mode":"Increase","GroupCounter":[{"Key":"likes","Value":1}]}`, id)
			eve.Call(t, "group_open_http_svc.update_group_counter", counter).Want(t, want)
			attributes := fmt.Sprintf(`{"GroupId":%q,"AttrMainSeq":0,"GroupAttr":[{"key":"topic","value":"x"}]}`, id)
			eve.Call(t, "group_open_http_svc.set_group_attr", attributes).Want(t, want)
		}
		writes(0)
		ban := func(until time.Time) {
			t.Helper()
			if _, err := w.DB.Write.ExecContext(t.Context(), `INSERT INTO group_bans (gid, uid, until) VALUES ($1, $2, $3)
				ON CONFLICT (gid, uid) DO UPDATE SET until = excluded.until`, g.GID, eve.UID, until.Unix()); err != nil {
				t.Fatal(err)
			}
		}
		ban(w.Now().Add(time.Minute))
		writes(10007)
		ban(w.Now())
		writes(0)
	})
}
