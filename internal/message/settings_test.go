package message_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/message"
)

// Ensure that mute options are kept, told to own other devices one by one and
// answered in both forms, and that discarding delivers nothing at all.
func TestMute(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		answer := ann.must(t, "openim.set_c2c_peer_mute_notifications", object{"Peer_Account": []string{"ben", "eve", "nobody"}, "Mute_Notifications": 2})
		equal(t, fmt.Sprint(answer["ErrorList"]), "[map[ErrorCode:20003 Peer_Account:nobody]]", "failures")
		equal(t, len(ann.take()), 0, "pushes to the acting device")
		items := ann2.take()
		equal(t, len(items), 2, "pushes, one per peer")
		sync := items[0]["C2cNotifyMsgArray"].([]any)[0].(object)["MuteNotificationsSync"].(object)
		equal(t, sync, object{"To_Account": []any{"ben"}, "MuteNotifications": 2.0, "UpdateSeq": 1.0}, "push")
		answer = ann.must(t, "openim.get_c2c_peer_mute_notifications", object{"To_Account": "ann", "Peer_Account": []string{"ben", "ann"}})
		equal(t, fmt.Sprint(answer["MuteNotificationsList"]), "[map[MuteNotifications:2 Peer_Account:ben] map[MuteNotifications:0 Peer_Account:ann]]", "asked peers")
		answer = ann.must(t, "openim.get_c2c_peer_mute_notifications", object{"UpdateSeq": 0})
		equal(t, []any{len(answer["MuteNotificationsList"].([]any)), answer["UpdateSeq"]}, []any{2, 1.0}, "all peers")
		list, _ := ann.list(t)
		equal(t, len(list), 0, "muting makes no conversation")

		ann.must(t, "openim.set_c2c_peer_mute_notifications", object{"Peer_Account": []string{"ben"}, "Mute_Notifications": 1})
		for _, d := range []*device{ann, ann2, ben} {
			d.take()
		}
		gone := ben.send(t, "ann", "unheard", nil)
		ben.must(t, "openim.sendmsg", ben.draft("ann", "typing", object{"MsgLifeTime": 0}))
		ben.must(t, "openim.modify_c2c_msg", func() object { b := gone.info(); b["MsgBody"] = say("still unheard"); return b }())
		equal(t, len(ann.take())+len(ann2.take()), 0, "pushes of a discarded peer")
		equal(t, ann.unread(t), map[string]int{}, "unread of a discarded peer")
		equal(t, ann.texts(t, "ben"), []string{}, "history with a discarded peer")
		equal(t, ben.texts(t, "ann"), []string{"still unheard"}, "history of the discarded peer")
		list, _ = ann.list(t)
		equal(t, len(list), 0, "conversations with a discarded peer")
		code, _ := ann.do(t, "openim.modify_c2c_msg", gone.info())
		wantCode(t, code, 20026, "edit of what was never delivered")
		code, _ = w.admin(t, "openim.sendmsg", object{"From_Account": "ben", "To_Account": "ann", "MsgRandom": 77, "MsgBody": say("official")})
		wantCode(t, code, 0, "an administrator's message")
		equal(t, ann.texts(t, "ben"), []string{"official"}, "history with an administrator's message")
		ann.send(t, "ben", "hello", nil)
		w.advance(time.Second)
		ann.must(t, "recentcontact.batch_delete", object{"From_Account": "ann", "ContactItem": []object{{"Type": 1, "To_Account": "ben"}}})
		ben.send(t, "ann", "unheard too", nil)
		list, _ = ann.list(t)
		equal(t, len(list), 0, "a discarded message brings no conversation back")
		ann.must(t, "openim.set_c2c_peer_mute_notifications", object{"Peer_Account": []string{"ben"}, "Mute_Notifications": 0})
		ben.send(t, "ann", "heard", nil)
		equal(t, ann.unread(t), map[string]int{"ben": 1}, "unread after the end of discarding")
		equal(t, ann.texts(t, "ben"), []string{"official", "hello", "heard"}, "history after the end of discarding")
		list, _ = ann.list(t)
		equal(t, last(list["ben"]), "heard", "last message")
		code, _ = ann.do(t, "openim.set_c2c_peer_mute_notifications", object{"Peer_Account": []string{"ben"}, "Mute_Notifications": 3})
		wantCode(t, code, 20001, "an option there is not")
		_ = eve
	})
}

// Ensure that do-not-disturb is kept and told to every device of the user.
func TestDoNotDisturb(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, _ *device) {
		get := func(d *device) string {
			a := d.must(t, "im_msg_db_logic.ws_get_do_not_disturb", object{"To_Account": d.name})
			return fmt.Sprint(a["Level"], a["StartTime"], a["EndTime"], a["IsRepeated"])
		}
		equal(t, get(ann), "0 0 0 0", "default")
		ann.must(t, "im_msg_db_logic.ws_set_do_not_disturb", object{"StartTime": 100, "EndTime": 200, "IsRepeated": 1, "Level": 2})
		for _, d := range []*device{ann, ann2} {
			equal(t, fmt.Sprint(d.take()), "[map[EndTime:200 Event:24 IsRepeated:1 Level:2 StartTime:100]]", "push")
		}
		equal(t, get(ann2), "2 100 200 1", "kept")
		equal(t, get(ben), "0 0 0 0", "others")
		code, _ := ann.do(t, "im_msg_db_logic.ws_set_do_not_disturb", object{"Level": 9})
		wantCode(t, code, 20001, "a level there is not")
	})
}

// Ensure that merged messages are completed, kept as long as messages with
// them, and readable with the key of their own app alone.
func TestRelay(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		entry := object{"Id": "144115200811100944-1795382433-7", "MsgBody": []any{object{"MsgType": "TIMImageElem", "MsgContent": object{
			"UUID": "u", "ImageInfoArray": []any{object{"Type": 1, "MsgType": 0, "InstanceId": 5, "URL": "u"}}}}}}
		answer := ann.must(t, "im_long_msg.save_relay_json_msg", object{"MsgList": []any{entry}})
		key := answer["JsonMsgKey"].(string)
		read := func(key string) (int, object) {
			return ben.do(t, "im_long_msg.get_relay_json_msg", object{"JsonMsgKey": key})
		}
		_, answer = read(key)
		got, _ := json.Marshal(answer["MsgList"])
		if s := string(got); !strings.Contains(s, `"TinyId":"144115200811100944"`) || strings.Contains(s, "InstanceId") || strings.Contains(s, `"MsgType":0`) {
			t.Fatalf("not completed: %s", s)
		}
		code, _ := read(key + "x")
		wantCode(t, code, 20022, "another key")
		other := *w.app
		other.SDKAppID = 2
		code, _ = w.run(t, w.table, &command.Call{Name: "im_long_msg.get_relay_json_msg", Kind: command.Users, App: &other, UID: 1, UserID: "x"}, object{"JsonMsgKey": key})
		wantCode(t, code, 20022, "another app")
		w.advance(w.app.Retention)
		relay := []any{object{"MsgType": "TIMRelayElem", "MsgContent": object{"JsonMsgKey": key, "PbMsgKey": key, "Title": "t", "AbstractList": []any{"a"}}}}
		ann.send(t, "ben", "", object{"MsgBody": relay}) // forwarded on the last day
		w.advance(w.app.Retention)
		if n, err := w.service.SweepRelays(w.ctx, 10); err != nil || n != 0 {
			t.Fatal("swept too early", n, err)
		}
		code, _ = read(key)
		wantCode(t, code, 0, "as long as the last message with it")
		w.advance(2 * time.Hour)
		if n, err := w.service.SweepRelays(w.ctx, 10); err != nil || n != 1 {
			t.Fatal("not swept", n, err)
		}
		code, _ = read(key)
		wantCode(t, code, 20022, "after its time")
		code, _ = ann.do(t, "im_long_msg.save_relay_json_msg", object{"MsgList": make([]object, 301)})
		wantCode(t, code, 20001, "301 messages")
	})
}

// Ensure that imports land in their second, once, unread and pushed only when live.
func TestImport(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		ann.send(t, "ben", "now", nil)
		ben.take()
		past := w.clock().Add(-time.Hour).Unix()
		imp := func(source, random int, unix int64, s string) int {
			code, _ := w.admin(t, "openim.importmsg", object{"SyncFromOldSystem": source, "From_Account": "ann", "To_Account": "ben", "MsgSeq": 1, "MsgRandom": random,
				"MsgTimeStamp": unix, "MsgBody": say(s)})
			return code
		}
		wantCode(t, imp(2, 900, past, "old"), 0, "history")
		wantCode(t, imp(2, 900, past, "old"), 0, "the same again")
		wantCode(t, imp(5, 901, past, "old live"), 0, "live")
		wantCode(t, imp(3, 902, past, "x"), 90030, "another kind")
		wantCode(t, imp(2, 0, past, "x"), 90005, "no random")
		wantCode(t, imp(2, 903, w.clock().Unix()+1, "x"), 90006, "future")
		equal(t, ben.texts(t, "ann"), []string{"old", "old live", "now"}, "history")
		equal(t, ben.unread(t), map[string]int{"ann": 2}, "unread")
		equal(t, len(ben.take(9)), 1, "pushes")
		_, answer := w.admin(t, "openim.admin_getroammsg", object{"Operator_Account": "ben", "Peer_Account": "ann", "MaxCnt": 2, "MinTime": past, "MaxTime": w.clock().Unix()})
		equal(t, []any{answer["Complete"], answer["MsgCnt"]}, []any{0.0, 2.0}, "newest page")
		_, answer = w.admin(t, "openim.admin_getroammsg", object{"Operator_Account": "ben", "Peer_Account": "ann", "MaxCnt": 2, "MinTime": past, "MaxTime": answer["LastMsgTime"], "LastMsgKey": answer["LastMsgKey"]})
		equal(t, []any{answer["Complete"], answer["MsgCnt"]}, []any{1.0, 1.0}, "last page")
	})
}

// fakePolicy refuses or drops what is written to ben.
type fakePolicy struct {
	drop bool
	err  error
}

func (p *fakePolicy) MaySend(_ context.Context, _ *command.Call, _, to *account.Account) (bool, error) {
	if to.UserID != "ben" {
		return false, nil
	}
	return p.drop, p.err
}

// Ensure that the policy's refusals reach the sender with their codes, that a
// dropped message looks sent and is nowhere, and that administrators are not asked.
func TestPolicy(t *testing.T) {
	p := &fakePolicy{}
	each(t, message.Options{Policy: p}, func(t *testing.T, w *world, ann, ann2, ben, _ *device) {
		for _, want := range []int{20007, 20009, 20010, 20011, 20012} {
			p.drop, p.err = false, command.Err(want, "refused")
			code, _ := ann.do(t, "openim.sendmsg", ann.draft("ben", "x", nil))
			wantCode(t, code, want, "refusal")
			code, _ = ann.do(t, "openim.sendmsg", ann.draft("ben", "x", object{"MsgLifeTime": 0}))
			wantCode(t, code, want, "refusal of an online-only message")
		}
		p.drop, p.err = true, nil
		ann.send(t, "ben", "dropped", nil)
		p.err = command.Err(20007, "refused")
		equal(t, len(ann2.take())+len(ben.take()), 0, "pushes")
		equal(t, [][]string{ann.texts(t, "ben"), ben.texts(t, "ann")}, [][]string{{}, {}}, "history")
		code, _ := w.admin(t, "openim.sendmsg", object{"From_Account": "ann", "To_Account": "ben", "MsgRandom": 5, "MsgBody": say("official")})
		wantCode(t, code, 0, "an administrator")
		ann.send(t, "eve", "others", nil)
		equal(t, ben.texts(t, "ann"), []string{"official"}, "history")
	})
}

// censor replaces a word, and is told of what was sent.
type censor struct {
	sent []string
	code int
}

func (c *censor) BeforeSend(_ context.Context, _ *command.Call, _, _ *account.Account, m *message.Message) error {
	if strings.Contains(string(m.Body), "forbidden") {
		return command.Err(c.code, "refused by the app")
	}
	m.Body = []byte(strings.ReplaceAll(string(m.Body), "damn", "****"))
	return nil
}

func (c *censor) AfterSend(n message.Notice) { c.sent = append(c.sent, string(n.Message.Body)) }

// Ensure that changed content is stored and pushed changed, and that the
// sending device is told of it too (protocol 02 §4.4).
func TestHook(t *testing.T) {
	h := &censor{}
	each(t, message.Options{Hook: h}, func(t *testing.T, w *world, ann, ann2, ben, _ *device) {
		h.sent = nil
		ann.send(t, "ben", "fine", nil)
		equal(t, len(ann.take()), 0, "copy of unchanged content")
		ann2.take()
		ann.send(t, "ben", "damn", nil)
		for _, d := range []*device{ann, ann2} {
			items := d.take()
			equal(t, len(items), 1, "copies")
			m := items[0]["C2cMsgArray"].([]any)[0].(object)
			equal(t, []any{m["From_Account"], m["IsSyncMsg"], m["MsgModifiedFlag"], m["MsgBody"].([]any)[0].(object)["MsgContent"]},
				[]any{"ben", 1.0, 1.0, object{"Text": "****"}}, "copy")
		}
		equal(t, ben.texts(t, "ann"), []string{"fine", "****"}, "history")
		for _, h.code = range []int{20006, 80001, 80004, 10100, 120001, 130000} {
			for _, extra := range []object{nil, {"MsgLifeTime": 0}} {
				code, answer := ann.do(t, "openim.sendmsg", ann.draft("ben", "forbidden", extra))
				wantCode(t, code, h.code, "refusal")
				equal(t, answer["ErrorInfo"], "refused by the app", "text of a refusal")
			}
		}
		code, _ := w.admin(t, "openim.sendmsg", object{"From_Account": "ann", "To_Account": "ben", "MsgRandom": 6, "MsgBody": say("forbidden")})
		wantCode(t, code, h.code, "refusal of an administrator's message")
		equal(t, len(ben.texts(t, "ann")), 2, "messages after the refusals")
		ann.send(t, "ben", "forbidden", object{"ForbidCallbackControl": []string{"ForbidBeforeSendMsgCallback", "ForbidAfterSendMsgCallback"}})
		equal(t, len(h.sent), 2, "messages the hook was told of")
	})
}
