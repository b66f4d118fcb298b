package message_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

func equal(t fataler, got, want any, what string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func wantCode(t fataler, code, want int, what string) {
	t.Helper()
	if code != want {
		t.Fatalf("%s: code %d, want %d", what, code, want)
	}
}

// each runs a scenario of ann (two devices), ben and eve on every engine.
func each(t *testing.T, o message.Options, fn func(t *testing.T, w *world, ann, ann2, ben, eve *device)) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := MustWorld(t, db, o)
		fn(t, w, w.login(t, "ann", 1), w.login(t, "ann", 2), w.login(t, "ben", 1), w.login(t, "eve", 1))
	})
}

// Ensure that a sender takes a message back within the limit, once, that
// everybody learns of it and that nobody else can.
func TestRevoke(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		one, two := ann.send(t, "ben", "one", nil), ann.send(t, "ben", "two", nil)
		equal(t, ben.unread(t), map[string]int{"ann": 2}, "unread")
		for _, d := range []*device{ann, ann2, ben, eve} {
			d.take()
		}
		revoke := func(d *device, m sent) int {
			code, _ := d.do(t, "openim.msgwithdraw", object{"MsgInfo": m.info(), "Reason": "typo"})
			return code
		}
		wantCode(t, revoke(ben, one), 20022, "revoke of the other party")
		wantCode(t, revoke(eve, one), 20022, "revoke of a stranger")
		forged := one
		forged.from = "eve"
		wantCode(t, revoke(eve, forged), 20022, "revoke with a forged sender")
		wantCode(t, revoke(ann, one), 0, "revoke")
		wantCode(t, revoke(ann, one), 20023, "second revoke")
		equal(t, len(ann.take()), 0, "pushes to the acting device")
		equal(t, len(eve.take()), 0, "pushes to a stranger")
		for _, d := range []*device{ann2, ben} {
			items := d.take()
			equal(t, len(items), 1, "pushes to "+d.name)
			info := items[0]["C2cNotifyMsgArray"].([]any)[0].(object)["WithdrawC2cMsgNotify"].(object)["C2cWithdrawInfoArray"].([]any)[0].(object)
			equal(t, []any{info["MsgSeq"], info["MsgRand"], info["RevokerInfo"]}, []any{float64(one.seq), float64(one.random), object{"Revoker_Account": "ann", "Reason": "typo"}}, "notice")
		}
		equal(t, ben.unread(t), map[string]int{"ann": 1}, "unread after the revoke")
		for _, d := range []*device{ann, ben} {
			equal(t, d.texts(t, map[*device]string{ann: "ben", ben: "ann"}[d]), []string{"revoked by ann", "two"}, "history")
		}
		w.advance(w.app.RecallLimit)
		wantCode(t, revoke(ann, two), 0, "revoke in the last second")
		three := ann.send(t, "ben", "three", nil)
		w.advance(w.app.RecallLimit + time.Second)
		wantCode(t, revoke(ann, three), 20016, "revoke after the limit")
		code, _ := w.admin(t, "openim.admin_msgwithdraw", object{"From_Account": "ann", "To_Account": "ben", "MsgKey": three.key})
		wantCode(t, code, 0, "revoke of an administrator")
		equal(t, ben.texts(t, "ann")[2], "revoked by administrator", "history")
		item, _ := ben.list(t)
		equal(t, item["ann"]["LastMsgFlags"], 8.0, "last message of the list")
		code, _ = w.admin(t, "openim.admin_msgwithdraw", object{"From_Account": "ann", "To_Account": "ben", "MsgKey": "x"})
		wantCode(t, code, 90054, "malformed key")
		w.app.RecallLimit = 0
		wantCode(t, revoke(ann, ann.send(t, "ben", "four", nil)), 20016, "revoke where there is none")
	})
}

// Ensure that a client that was away gets revokes and edits with its next sync.
func TestMissedChanges(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, _ *device) {
		one, two := ann.send(t, "ben", "one", nil), ann.send(t, "ben", "two", nil)
		w.advance(30 * time.Second)
		cookie := ben.must(t, "openim.getmsg", object{"Cookie": ""})["Cookie"]
		w.advance(30 * time.Second)
		ann.must(t, "openim.msgwithdraw", object{"MsgInfo": one.info()})
		edit := two.info()
		edit["MsgBody"] = say("two!")
		ann.must(t, "openim.modify_c2c_msg", edit)
		sync := ben.must(t, "openim.getmsg", object{"Cookie": cookie})
		list := fmt.Sprint(sync["MsgList"], sync["EventArray"])
		if !strings.Contains(list, "WithdrawC2cMsgNotify") || !strings.Contains(list, "two!") || !strings.Contains(list, "MsgVersion:1") {
			t.Fatalf("changes are missing: %s", list)
		}
	})
}

// Ensure that edits carry versions, that of two editors one gets the conflict
// with the current content, and that strangers edit nothing.
func TestModify(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		m := ann.send(t, "ben", "draft", nil)
		ann2.take()
		ben.take()
		edit := func(version int, s string) object {
			body := m.info()
			body["MsgVersion"], body["MsgBody"], body["CloudCustomData"] = version, say(s), "c"+s
			return body
		}
		answer := ben.must(t, "openim.modify_c2c_msg", edit(0, "by ben"))
		equal(t, answer["MsgVersion"], 1.0, "version")
		for _, d := range []*device{ann, ann2} {
			items := d.take(15)
			equal(t, len(items), 1, "pushes")
			n := items[0]["C2cMsgModNotifys"].([]any)[0].(object)
			equal(t, []any{n["From_Account"], n["To_Account"], n["MsgVersion"], n["MsgTime"], n["MsgTimeStamp"], n["CloudCustomData"]},
				[]any{"ann", "ben", 1.0, float64(m.time), float64(m.time), "cby ben"}, "notice")
		}
		code, answer := ann.do(t, "openim.modify_c2c_msg", edit(0, "by ann"))
		wantCode(t, code, 20027, "edit of an old version")
		equal(t, []any{answer["MsgVersion"], answer["CloudCustomData"], answer["MsgBody"]}, []any{1.0, "cby ben", []any{object{"MsgType": "TIMTextElem", "MsgContent": object{"Text": "by ben"}}}}, "current state")
		ann.must(t, "openim.modify_c2c_msg", edit(1, "by ann"))
		only := m.info()
		only["MsgVersion"], only["CloudCustomData"] = 2, "new"
		answer = ann.must(t, "openim.modify_c2c_msg", only)
		equal(t, answer["MsgBody"], []any{object{"MsgType": "TIMTextElem", "MsgContent": object{"Text": "by ann"}}}, "body that was not given")
		code, answer = eve.do(t, "openim.modify_c2c_msg", edit(3, "by eve"))
		wantCode(t, code, 20026, "edit of a stranger")
		if answer["MsgBody"] != nil {
			t.Fatal("a stranger was shown the message")
		}
		other := m.info()
		other["From_Account"], other["To_Account"], other["MsgBody"] = "eve", "ben", say("x")
		code, _ = eve.do(t, "openim.modify_c2c_msg", other)
		wantCode(t, code, 20026, "edit of a message of another pair")
		code, _ = ann.do(t, "openim.modify_c2c_msg", edit(3, strings.Repeat("x", 13000)))
		wantCode(t, code, 80002, "edit that is too long")
		code, _ = w.admin(t, "openim.modify_c2c_msg", object{"From_Account": "ann", "To_Account": "ben", "MsgKey": m.key, "MsgBody": say("by admin")})
		wantCode(t, code, 0, "edit of an administrator")
		equal(t, ben.texts(t, "ann"), []string{"by admin"}, "history")
		equal(t, ben.history(t, "ann")[0]["MsgVersion"], 4.0, "version in history")
		ann.must(t, "openim.msgwithdraw", object{"MsgInfo": m.info()})
		code, _ = ann.do(t, "openim.modify_c2c_msg", edit(4, "again"))
		wantCode(t, code, 20026, "edit of a revoked message")
		code, _ = w.admin(t, "openim.modify_c2c_msg", object{"From_Account": "ann", "To_Account": "ben", "MsgKey": m.key, "MsgBody": say("x")})
		wantCode(t, code, 20023, "an administrator's edit of a revoked message")
	})
}

// Ensure that deleting and clearing concern the caller alone, and the counts.
func TestDeleteAndClear(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, _, ben, eve *device) {
		one, two := ann.send(t, "ben", "one", nil), ann.send(t, "ben", "two", nil)
		ann.send(t, "ben", "three", nil)
		ben.must(t, "openim.delete_c2c_msg_ramble", object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": []string{one.key}})
		equal(t, ben.unread(t), map[string]int{"ann": 2}, "unread after a delete")
		equal(t, ben.texts(t, "ann"), []string{"two", "three"}, "history of the deleter")
		equal(t, ann.texts(t, "ben"), []string{"one", "two", "three"}, "history of the other")
		code, _ := eve.do(t, "openim.delete_c2c_msg_ramble", object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": []string{two.key}})
		wantCode(t, code, 20001, "delete in a chat of others")
		eve.must(t, "openim.delete_c2c_msg_ramble", object{"From_Account": "eve", "To_Account": "ben", "MsgKeyList": []string{two.key}})
		equal(t, ben.texts(t, "ann"), []string{"two", "three"}, "history after a stranger's delete")
		many := make([]string, 31)
		for i := range many {
			many[i] = two.key
		}
		code, _ = ann.do(t, "openim.delete_c2c_msg_ramble", object{"From_Account": "ann", "To_Account": "ben", "MsgKeyList": many})
		wantCode(t, code, 20001, "31 keys")
		_, answer := w.admin(t, "openim.delete_c2c_msg_ramble", object{"Operator_Account": "ann", "Peer_Account": "ben", "MsgKeyList": []string{two.key, "9_9_9"}})
		equal(t, answer["InvalidMsgKeyList"], []any{"9_9_9"}, "keys of nothing")

		ben.must(t, "recentcontact.clear_msg", object{"From_Account": "ben", "Type": 1, "To_Account": "ann"})
		equal(t, ben.texts(t, "ann"), []string{}, "cleared history")
		equal(t, ben.unread(t), map[string]int{}, "unread after clearing")
		items, _ := ben.list(t)
		equal(t, []any{items["ann"] != nil, items["ann"]["LastMsg"]}, []any{true, nil}, "the cleared conversation")
		ann.send(t, "ben", "four", nil)
		equal(t, ben.texts(t, "ann"), []string{"four"}, "history after a new message")
		equal(t, ben.unread(t), map[string]int{"ann": 1}, "unread after a new message")
		code, _ = ben.do(t, "recentcontact.clear_msg", object{"From_Account": "ben", "Type": 2, "ToGroupid": "@TGS#1"})
		wantCode(t, code, 60009, "clear of a group without groups")
		code, _ = ben.do(t, "recentcontact.clear_msg", object{"From_Account": "ann", "Type": 1, "To_Account": "ben"})
		wantCode(t, code, 20001, "clear for somebody else")
	})
}

// Ensure that reading everything zeroes every count, tells the peers whose
// messages were unread and own other devices, and that an administrator can
// read and ask for a user.
func TestReadAll(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		ben.send(t, "ann", "1", nil)
		ben.send(t, "ann", "2", nil)
		ann.send(t, "eve", "3", nil)
		_, answer := w.admin(t, "openim.get_c2c_unread_msg_num", object{"To_Account": "ann"})
		equal(t, answer["AllC2CUnreadMsgNum"], 2.0, "unread of an administrator's question")
		_, answer = w.admin(t, "openim.get_c2c_unread_msg_num", object{"To_Account": "ann", "Peer_Account": []string{"ben", "nobody"}})
		equal(t, fmt.Sprint(answer["C2CUnreadMsgNumList"], answer["ErrorList"]), "[map[C2CUnreadMsgNum:2 Peer_Account:ben]] [map[ErrorCode:90012 Peer_Account:nobody]]", "per peer")
		for _, d := range []*device{ann, ann2, ben, eve} {
			d.take()
		}
		ann.must(t, "openim.read_all_unread_msg", object{"C2CReadAllMsg": 1, "GroupReadInfo": []any{}})
		equal(t, ann.unread(t), map[string]int{}, "unread")
		equal(t, len(ann.take()), 0, "pushes to the acting device")
		equal(t, fmt.Sprint(ann2.take()), "[map[C2CReadAllMsg:1 Event:14 GroupReadInfoArray:[]]]", "pushes to the other device")
		equal(t, len(ben.take(10)), 1, "receipts to ben")
		equal(t, len(eve.take()), 0, "receipts to eve, whose messages were none")
		ben.send(t, "ann", "4", nil)
		code, _ := w.admin(t, "openim.admin_set_msg_read", object{"Report_Account": "ann", "Peer_Account": "ben"})
		wantCode(t, code, 0, "read by an administrator")
		equal(t, ann.unread(t), map[string]int{}, "unread")
	})
}

// Ensure that receipts are given once, by the receiver alone, for messages that ask.
func TestReceipts(t *testing.T) {
	each(t, message.Options{}, func(t *testing.T, w *world, ann, ann2, ben, eve *device) {
		asked, plain := ann.send(t, "ben", "asked", object{"IsNeedReadReceipt": 1}), ann.send(t, "ben", "plain", nil)
		ann.take()
		ann2.take()
		body := object{"Peer_Account": "ann", "C2CMsgInfo": []object{asked.info(), plain.info()}}
		eve.must(t, "openim.c2c_msg_read_receipt", body)
		ann.must(t, "openim.c2c_msg_read_receipt", object{"Peer_Account": "ben", "C2CMsgInfo": []object{asked.info()}})
		equal(t, len(ann.take())+len(ann2.take()), 0, "receipts of others")
		w.advance(time.Second)
		ben.must(t, "openim.c2c_msg_read_receipt", body)
		ben.must(t, "openim.c2c_msg_read_receipt", body)
		for _, d := range []*device{ann, ann2} {
			items := d.take()
			equal(t, len(items), 1, "receipt pushes")
			infos := items[0]["C2cMsgInfo"].([]any)
			equal(t, []any{items[0]["Event"], items[0]["Peer_Account"], len(infos), infos[0].(object)["MsgSeq"]}, []any{16.0, "ben", 1, float64(asked.seq)}, "receipt")
		}
		h := ann.history(t, "ben")
		equal(t, []any{h[0]["IsPeerRead"], h[1]["IsPeerRead"]}, []any{1.0, nil}, "receipts in history")
		equal(t, h[0]["PeerReadTime"], float64(w.clock().Unix()), "time of the receipt")
	})
}
