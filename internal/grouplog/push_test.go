package grouplog_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"imserver/internal/grouplog"
)

// offers is a grouplog.Pusher that remembers what it was offered.
type offers struct {
	mu   sync.Mutex
	list []grouplog.Notice // guarded by mu
}

func (o *offers) OfferGroup(n grouplog.Notice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, n)
}

func (o *offers) take() []grouplog.Notice {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list = nil
	return list
}

// textOf is the text of a notice's message.
func textOf(t *testing.T, n grouplog.Notice) string {
	t.Helper()
	var body []struct{ MsgContent struct{ Text string } }
	if err := json.Unmarshal(n.Message.Body, &body); err != nil {
		t.Fatal(err)
	}
	return body[0].MsgContent.Text
}

// Ensure that the settings for offline push are kept with a group's message and
// offered once, by whichever way it came and whatever is written in the same
// commit, and that what SDKs send when an app sets nothing takes no room.
func TestPushInfoIsKept(t *testing.T) {
	const blank = `{"PushFlag":0,"Title":"","Desc":"","Ext":"","ApnsInfo":{"Sound":"","BadgeMode":0,"InterruptionLevel":"active"},` +
		`"AndroidInfo":{"Sound":"","VIVOClassification":1,"HuaWeiImage":null}}` // as v3 sends it with every message
	said := map[string]string{"titled": `{"PushFlag":0,"Title":"news","Ext":"{\"a\":1}"}`, "unwanted": `{"PushFlag":1}`,
		"sound": `{"ApnsInfo":{"Sound":"bell.caf","InterruptionLevel":"active"}}`, "blank": blank, "none": "null"}
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		w.offers.take()
		var wg sync.WaitGroup
		for text, info := range said {
			w.random++
			random := w.random
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range 2 { // a repeat changes nothing
					if a := w.sendAs(t, u[0], id, text, random, `"OfflinePushInfo":`+info); a.Code != 0 {
						t.Errorf("%s: %s", text, a.Text)
					}
				}
			}()
		}
		wg.Wait()
		w.Post(t, "group_open_http_svc.send_group_msg", fmt.Sprintf(`{"GroupId":%q,"From_Account":"ben","Random":99,"MsgBody":%s,"OfflinePushInfo":%s}`,
			id, body("official"), said["titled"])).Want(t, 0)
		w.say(t, u[0], id, "mine", `"OnlineOnlyFlag":1`, `"OfflinePushInfo":`+said["titled"])
		want := map[string]string{"titled": said["titled"], "unwanted": said["unwanted"], "sound": said["sound"], "blank": "", "none": "", "official": said["titled"]}
		offered := w.offers.take()
		if len(offered) != len(want) {
			t.Errorf("%d messages offered, want %d", len(offered), len(want))
		}
		for _, n := range offered {
			text := textOf(t, n)
			if string(n.Message.PushInfo) != want[text] || n.Group.ID != id || n.Home.ID != id {
				t.Errorf("%s: offered %q of %s in %s, want %q", text, n.Message.PushInfo, n.Group.ID, n.Home.ID, want[text])
			}
			var kept string
			err := w.DB.Read.QueryRowContext(t.Context(), `SELECT push_info FROM group_messages WHERE log = $1 AND seq = $2`, n.Group.GID, n.Message.Seq).Scan(&kept)
			if err != nil || kept != want[text] {
				t.Errorf("%s: kept %q, %v; want %q", text, kept, err, want[text])
			}
		}
		for _, bad := range []string{`"x"`, `5`, `[1]`} {
			w.send(t, u[0], id, "bad", `"OfflinePushInfo":`+bad).Want(t, 0)
			if n := w.offers.take(); len(n) != 1 || n[0].Message.PushInfo != nil {
				t.Errorf("with the bad settings %s there are %d offers, or some are kept", bad, len(n))
			}
		}
	})
}

// Ensure that a notice says who may be told: of a directed message its
// receivers, with the mentions, and of a topic the members of its community.
func TestNoticeAudience(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		w.offers.take()
		w.say(t, u[0], id, "for you", `"To_Account":["ben"]`, `"GroupAtInfo":[{"GroupAtAllFlag":0,"GroupAt_Account":"ben"}]`)
		w.say(t, u[0], id, "for all", `"GroupAtInfo":[{"GroupAtAllFlag":1}]`)
		home := w.group(t, "Topics", u[0], u[1])
		topic := u[0].Call(t, "million_group_open_http_svc.create_topic", fmt.Sprintf(`{"GroupId":%q,"TopicName":"t"}`, home)).Want(t, 0).Fields["TopicId"].(string)
		w.say(t, u[0], topic, "in a topic")
		n := w.offers.take()
		if len(n) != 3 {
			t.Fatalf("%d messages offered, want 3", len(n))
		}
		if !slices.Equal(n[0].Message.Receivers, []int64{u[1].UID}) || !slices.Equal(n[0].Mentions, []int64{u[1].UID}) || n[0].From.UserID != "ann" {
			t.Errorf("a directed message: %+v of %s", n[0], n[0].From.UserID)
		}
		if n[1].Message.Receivers != nil || !slices.Equal(n[1].Mentions, []int64{0}) {
			t.Errorf("a mention of all: %+v", n[1])
		}
		if n[2].Group.ID != topic || n[2].Home.ID != home {
			t.Errorf("a topic's message: in %s of %s", n[2].Group.ID, n[2].Home.ID)
		}
	})
}
