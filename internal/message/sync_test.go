package message_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imserver/internal/command"
	"imserver/internal/message"
)

// names returns the texts of a list of messages; notices are left out.
func names(list any) (out []string) {
	for _, m := range list.([]any) {
		if body, ok := m.(object)["MsgBody"].([]any); ok {
			out = append(out, body[0].(object)["MsgContent"].(object)["Text"].(string))
		}
	}
	return out
}

// counts returns the unread counts of a sync answer by peer.
func counts(answer object) map[string]int {
	out := map[string]int{}
	for _, c := range answer["C2CPairUnreadCount"].([]any) {
		out[c.(object)["From_Account"].(string)] = int(c.(object)["UnreadCount"].(float64))
	}
	return out
}

// Ensure that a list too long for one page is told once, that each
// conversation's newest message stands on the last page, and that the counts
// are on that page.
func TestSyncPages(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, eve *device) {
		ben.send(t, "eve", "known", nil)
		w.advance(time.Minute)
		cookie := ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
		w.advance(time.Minute)
		want := []string{"from eve"}
		eve.send(t, "ben", "from eve", nil)
		for i := range 203 {
			ann.send(t, "ben", fmt.Sprint("m", i), nil)
			want = append(want, fmt.Sprint("m", i))
		}
		w.advance(time.Second)
		first := ben.must(t, "openim.getmsg", object{"Cookie": cookie})
		equal(t, first["SyncFlag"], 1.0, "flag of the first page")
		equal(t, len(first["C2CPairUnreadCount"].([]any)), 0, "counts on the first page")
		got := names(first["MsgList"])
		if len(got) != 199 || slices.Contains(got, "from eve") {
			t.Fatalf("the first page has %d messages, eve's among them: %v", len(got), slices.Contains(got, "from eve"))
		}
		w.advance(time.Second)
		eve.send(t, "ben", "meanwhile", nil)
		want = append(want, "meanwhile")
		last := ben.must(t, "openim.getmsg", object{"Cookie": first["Cookie"], "SyncFlag": 1})
		equal(t, last["SyncFlag"], 2.0, "flag of the last page")
		rest := names(last["MsgList"])
		equal(t, rest, []string{"from eve", "m199", "m200", "m201", "m202", "meanwhile"}, "the last page")
		equal(t, counts(last), map[string]int{"ann": 203, "eve": 2}, "counts")
		got = append(got, rest...)
		slices.Sort(got)
		slices.Sort(want)
		equal(t, got, want, "all pages")
		for _, bad := range []string{"p", "px.", "p1.2", "p1.2.3", "p1.2.3.4.5.6", "p1.2.3.4.-5", "p-1", "x1", "p1.-2.3", "p!"} {
			if code, _ := ben.do(t, "openim.getmsg", object{"Cookie": bad}); code != 0 {
				t.Errorf("cookie %q: code %d", bad, code)
			}
		}
	})
}

// Ensure that of many conversations with a message at the same place in time
// each is told.
func TestSyncPagesOfOnePlace(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, _, _, ben, _ *device) {
		cookie := ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
		w.advance(time.Minute)
		var want []string
		for i := range 205 {
			name := fmt.Sprintf("peer%03d", i)
			peer := w.login(t, name, 1)
			for _, text := range []string{name + " first", name + " second"} {
				peer.send(t, "ben", text, nil)
				want = append(want, text)
			}
		}
		w.advance(time.Second)
		var got []string
		for flag := 1.0; flag != 2; {
			page := ben.must(t, "openim.getmsg", object{"Cookie": cookie, "SyncFlag": flag})
			got = append(got, names(page["MsgList"])...)
			cookie, flag = page["Cookie"], page["SyncFlag"].(float64)
		}
		slices.Sort(got)
		equal(t, got, want, "all pages")
	})
}

// Ensure that a device that was away is told of conversations in which nothing
// is unread any more: by a count of 0 if they have a new message, and by a
// notice before the answer.
func TestSyncReadElsewhere(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, eve *device) {
		old := ann.send(t, "ben", "old", nil)
		unread := eve.send(t, "ben", "to be revoked", nil)
		w.advance(30 * time.Second)
		cookie := ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
		w.advance(30 * time.Second)
		notices := func() string {
			t.Helper()
			in, _ := json.Marshal(object{"Cookie": cookie})
			v, err := ben.table.Run(w.ctx, &command.Call{Name: "openim.getmsg", Kind: command.Users, App: w.app, UserID: "ben", UID: ben.UID, Inst: ben.Inst}, in)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, e := range v.(command.Preceded).Events {
				b.Write(e)
			}
			return b.String()
		}
		equal(t, notices(), "", "notices while nothing was read")
		read := func(unix int64) {
			t.Helper()
			ben.must(t, "openim.msgreaded", object{"C2CMsgReaded": object{"C2CMsgReadedItem": []any{object{"To_Account": "ann", "LastedMsgTime": unix}}}})
		}
		read(old.time)
		eve.must(t, "openim.msgwithdraw", object{"MsgInfo": unread.info()})
		if got := notices(); !strings.Contains(got, `"ReadC2cMsgNotify":{"UinPairReadArray":[{"From_Account":"ann"`) || !strings.Contains(got, `"From_Account":"eve"`) {
			t.Fatalf("notices: %s", got)
		}
		fresh := ann.send(t, "ben", "new", nil)
		if got := notices(); strings.Contains(got, `"ann"`) {
			t.Fatalf("a conversation with unread messages is told to be read: %s", got)
		}
		equal(t, counts(ben.must(t, "openim.getmsg", object{"Cookie": cookie})), map[string]int{"ann": 1}, "counts")
		read(fresh.time)
		equal(t, counts(ben.must(t, "openim.getmsg", object{"Cookie": cookie})), map[string]int{"ann": 0}, "counts when all was read")
		cookie = ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
		for i, clear := range []func(){
			func() { ben.must(t, "recentcontact.clear_msg", object{"Type": 1, "To_Account": "ann"}) },
			func() {
				ben.must(t, "recentcontact.batch_delete", object{"From_Account": "ben", "ContactItem": []any{object{"Type": 1, "To_Account": "ann"}}})
			},
		} {
			w.advance(30 * time.Second)
			cookie = ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
			w.advance(30 * time.Second)
			equal(t, notices(), "", "notices before")
			ann.send(t, "ben", "one more", nil)
			clear()
			if got := notices(); !strings.Contains(got, `"ann"`) {
				t.Errorf("way %d: a cleared conversation is not told to be read: %q", i, got)
			}
		}
	})
}

// Ensure that the pages by which a device that has come back fetches what it
// missed of a chat leave the newest message for its sync, and no others do.
func TestRecoveryPage(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		first := ann.send(t, "ben", "m0", nil)
		page := func(back bool, unix int64, count int) (texts []string, complete float64) {
			t.Helper()
			call := &command.Call{Name: "openim.getroammsg", Kind: command.Users, App: w.app, UserID: "ben", UID: ben.UID, Inst: ben.Inst, CatchingUp: back}
			_, answer := w.run(t, ben.table, call, object{"Peer_Account": "ann", "MaxCnt": count, "LastMsgTime": unix, "GetDirection": 1, "WithRecalledMsg": 1})
			return names(answer["MsgList"]), answer["Complete"].(float64)
		}
		check := func(back bool, unix int64, count int, want []string, wantComplete float64) {
			t.Helper()
			got, complete := page(back, unix, count)
			equal(t, got, want, "page")
			equal(t, complete, wantComplete, "complete")
		}
		check(true, first.time, 16, []string{"m0"}, 1) // there is nothing to leave
		all := []string{"m0"}
		var sent []int64
		for i := 1; i < 20; i++ {
			w.advance(time.Second)
			m := ann.send(t, "ben", fmt.Sprint("m", i), nil)
			all, sent = append(all, fmt.Sprint("m", i)), append(sent, m.time)
		}
		check(true, first.time, 16, all[:16], 0)
		check(true, sent[14], 16, all[15:19], 1)
		check(false, sent[14], 16, all[15:], 1)
		check(true, sent[14], 15, all[15:], 1) // an app that looks around
		// A page that is lengthened to the end of its second may end with the newest.
		w.advance(time.Second)
		all = all[:0]
		var unix int64
		for i := range 18 {
			unix = ann.send(t, "ben", fmt.Sprint("s", i), nil).time
			all = append(all, fmt.Sprint("s", i))
		}
		check(true, unix, 16, all[:17], 1)
		check(false, unix, 16, all, 0)
	})
}
