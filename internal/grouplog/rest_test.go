package grouplog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Ensure that a group moves here with its past: messages in their order and at
// their times, members with what they have not read, and that nobody is told.
func TestImport(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		const svc = "group_open_http_svc."
		long := w.Now().Add(-48 * time.Hour).Unix()
		create := func(fields string) string { return fmt.Sprintf(`{"Name":"Old","Owner_Account":"ann",%s}`, fields) }
		w.Post(t, svc+"import_group", create(`"Type":"AVChatRoom"`)).Want(t, 10007)
		w.Post(t, svc+"import_group", create(fmt.Sprintf(`"Type":"Public","CreateTime":%d`, w.Now().Unix()+9))).Want(t, 10004)
		w.Post(t, svc+"import_group", create(`"Type":"Public","MemberList":[{"Member_Account":"ben"}]`)).Want(t, 10004)
		id := w.Post(t, svc+"import_group", create(fmt.Sprintf(`"Type":"Public","GroupId":"old","CreateTime":%d`, long))).Want(t, 0).Fields["GroupId"].(string)
		w.Post(t, svc+"get_group_info", fmt.Sprintf(`{"GroupIdList":[%q]}`, id)).Want(t, 0).Has(t, fmt.Sprintf(`"CreateTime":%d`, long), `"Owner_Account":"ann"`)

		message := func(from string, at int64, text string) string {
			return fmt.Sprintf(`{"From_Account":%q,"SendTime":%d,"Random":%d,"MsgBody":%s}`, from, at, at%1000, body(text))
		}
		imported := func(list ...string) string {
			return fmt.Sprintf(`{"GroupId":%q,"MsgList":[%s]}`, id, strings.Join(list, ","))
		}
		w.Post(t, svc+"import_group_msg", imported()).Want(t, 10004)
		w.Post(t, svc+"import_group_msg", imported(
			message("ann", long-5, "before the group"), message("ann", long+5, "one"), message("ben", long+10, "two"),
			message("ann", long+7, "out of order"), message("nobody", long+20, "x"), message("cid", long+20, "three"),
			message("ann", w.Now().Unix()+60, "of the future"))).Want(t, 0).
			Has(t, fmt.Sprintf(`"ImportMsgResult":[{"MsgSeq":0,"MsgTime":0,"Result":10004},{"MsgSeq":1,"MsgTime":%d,"Result":0},{"MsgSeq":2,"MsgTime":%d,"Result":0},`+
				`{"MsgSeq":0,"MsgTime":0,"Result":10004},{"MsgSeq":0,"MsgTime":0,"Result":10004},{"MsgSeq":3,"MsgTime":%d,"Result":0},{"MsgSeq":0,"MsgTime":0,"Result":10004}]`,
				long+5, long+10, long+20))
		w.Post(t, svc+"import_group_msg", fmt.Sprintf(`{"GroupId":"none","MsgList":[%s]}`, message("ann", long, "x"))).Want(t, 10010)

		members := func(list string) string { return fmt.Sprintf(`{"GroupId":%q,"MemberList":[%s]}`, id, list) }
		w.Post(t, svc+"import_group_member", members(`{"Member_Account":"nobody"}`)).Want(t, 10019)
		w.Post(t, svc+"import_group_member", members(`{"Member_Account":"ben","UnreadMsgNum":-1}`)).Want(t, 10004)
		w.Post(t, svc+"import_group_member", members(fmt.Sprintf(`{"Member_Account":"ben","Role":"Admin","JoinTime":%d,"UnreadMsgNum":1},{"Member_Account":"ann"},
			{"Member_Account":"cid","JoinTime":%d,"UnreadMsgNum":9},{"Member_Account":"dan"}`, long, long+9))).Want(t, 0).
			Has(t, `[{"Member_Account":"ben","Result":1},{"Member_Account":"ann","Result":2},{"Member_Account":"cid","Result":1},{"Member_Account":"dan","Result":1}]`)
		for i, want := range []struct {
			unread, visible int
		}{{3, 3}, {1, 3}, {2, 2}, {0, 0}} {
			if got := w.summary(t, u[i], id).Unread; got != want.unread {
				t.Errorf("%s has %d unread, want %d", u[i].UserID, got, want.unread)
			}
			if got := len(w.history(t, u[i], id, `"ReqMsgNumber":20`).RspMsgList); got != want.visible {
				t.Errorf("%s sees %d messages, want %d", u[i].UserID, got, want.visible)
			}
			if e := u[i].Events(); len(e) != 0 {
				t.Errorf("%s was told %q", u[i].UserID, e)
			}
		}
		u[1].Call(t, svc+"get_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Limit":10}`, id)).Want(t, 0).
			Has(t, `{"Member_Account":"ben","Role":"Admin"`, fmt.Sprintf(`"JoinTime":%d`, long+9))
		// Life goes on behind the imported.
		if seq := w.say(t, u[3], id, "four"); seq != 4 {
			t.Errorf("sequence %d follows the import", seq)
		}
		has(t, u[1].Events(), 1, `"MsgSeq":4`)

		community := w.group(t, "Topics", u[0], u[1])
		topic := fmt.Sprintf(`{"GroupId":%q,"TopicName":"T","CreateTime":%d}`, community, long)
		tid := w.Post(t, "million_group_open_http_svc.import_topic", topic).Want(t, 0).Fields["TopicId"].(string)
		w.Post(t, svc+"import_group_msg", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"MsgList":[%s]}`, community, tid, message("ann", long+1, "in a topic"))).Want(t, 0).Has(t, `"MsgSeq":1`)
		if e := append(u[0].Events(), u[1].Events()...); strings.Contains(strings.Join(e, ""), "TOPIC") {
			t.Errorf("somebody was told: %q", e)
		}
		if p := w.history(t, u[1], tid, `"ReqMsgNumber":20`); len(p.RspMsgList) != 1 {
			t.Errorf("the topic's history: %+v", p)
		}
		w.Post(t, svc+"import_group_msg", fmt.Sprintf(`{"GroupId":%q,"MsgList":[%s]}`, community, message("ann", long+1, "x"))).Want(t, 10007)
	})
}

// Ensure what an app's backend does to messages, and what members see of it.
func TestAdminMessages(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		const svc = "group_open_http_svc."
		w.say(t, u[0], id, "one", `"NeedReadReceipt":1`, `"SupportMessageExtension":1`)
		w.say(t, u[1], id, "two")
		w.say(t, u[1], id, "three")
		w.say(t, u[2], id, "four")
		for _, m := range u {
			m.Events()
		}
		at := func(fields string) string { return fmt.Sprintf(`{"GroupId":%q,%s}`, id, fields) }

		w.Post(t, "openim.modify_group_msg", at(`"MsgSeq":9,"CloudCustomData":"x"`)).Want(t, 10030)
		w.Post(t, "openim.modify_group_msg", at(`"MsgSeq":1`)).Want(t, 10004)
		w.Post(t, "openim.modify_group_msg", at(`"MsgSeq":1,"MsgBody":`+body("one!"))).Want(t, 0).Lacks(t, "MsgVersion")
		has(t, u[2].Events(), 1, `"Event":17`, `"MsgSeq":1`, `"MsgVersion":1`, "one!")

		w.Post(t, svc+"group_msg_receipt", at(`"MsgSeqList":[{"MsgSeq":1}]`)).Want(t, 10004)
		w.Post(t, svc+"group_msg_receipt", at(`"From_Account":"nobody","MsgSeqList":[{"MsgSeq":1}]`)).Want(t, 10019)
		w.Post(t, svc+"group_msg_receipt", at(`"From_Account":"ben","MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2}]`)).Want(t, 0).
			Has(t, `[{"MsgSeq":1,"Code":0},{"MsgSeq":2,"Code":10062}]`)
		has(t, u[0].Events(), 1, `GroupMsgReceiptList`, `"MsgSeq":1`, `"ReadNum":1,"UnreadNum":1`)
		w.Post(t, svc+"get_group_msg_receipt", at(`"MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2}]`)).Want(t, 0).
			Has(t, `[{"MsgSeq":1,"Code":0,"ReadNum":1,"UnreadNum":1},{"MsgSeq":2,"Code":10062,"ReadNum":0,"UnreadNum":0}]`)
		w.Post(t, svc+"get_group_msg_receipt_detail", at(`"MsgSeq":1,"Filter":0,"Cursor":"","Count":10`)).Want(t, 0).
			Has(t, `"MsgSeq":1`, `"IsFinish":1,"IsFinished":1`, `"Read_Account":"ben"`)
		w.Post(t, svc+"get_group_msg_receipt_detail", at(`"MsgSeq":1,"Filter":1,"Cursor":"","Count":10`)).Want(t, 0).Has(t, `"UnreadList":[{"Unread_Account":"cid"}]`)

		const ext = "openim_msg_ext_http_svc."
		set := func(fields string) string {
			return at(`"MsgSeq":1,"OperateType":1,"ExtensionList":[{"Key":"k","Value":"v"` + fields + `}]`)
		}
		w.Post(t, ext+"group_set_key_values", set("")).Want(t, 0).Has(t, `"Seq":1`)
		w.Post(t, ext+"group_set_key_values", strings.Replace(set(""), `"v"`, `"w"`, 1)).Want(t, 0).Has(t, `"Value":"w","Seq":2`)
		has(t, u[1].Events(), 1, `MsgExtensionNotify`, `"Value":"w"`)
		w.Post(t, ext+"group_get_key_values", at(`"MsgSeq":1`)).Want(t, 0).Has(t, `"ExtensionList":[{"Key":"k","Value":"w","Seq":2}]`)
		w.Post(t, ext+"group_set_key_values", strings.Replace(set(""), `"MsgSeq":1`, `"MsgSeq":2`, 1)).Want(t, 23002)

		unread := func(want int) {
			t.Helper()
			if got := w.summary(t, u[0], id).Unread; got != want {
				t.Errorf("%d unread, want %d", got, want)
			}
		}
		unread(3)
		w.Post(t, svc+"set_unread_msg_num", at(`"Member_Account":"ann","UnreadMsgNum":0`)).Want(t, 0)
		unread(0)
		w.Post(t, svc+"set_unread_msg_num", at(`"Member_Account":"ann","UnreadMsgNum":2`)).Want(t, 0)
		unread(2)
		w.Post(t, svc+"set_unread_msg_num", at(`"Member_Account":"ann","UnreadMsgNum":99`)).Want(t, 0)
		unread(4)
		w.Post(t, svc+"set_unread_msg_num", at(`"Member_Account":"nobody","UnreadMsgNum":1`)).Want(t, 10019)
		w.Post(t, svc+"set_unread_msg_num", at(`"Member_Account":"ann","UnreadMsgNum":-1`)).Want(t, 10004)

		for _, m := range u {
			m.Events()
		}
		w.Post(t, svc+"delete_group_msg_by_sender", at(`"Sender_Account":"ben"`)).Want(t, 0)
		w.Post(t, svc+"delete_group_msg_by_sender", at(`"Sender_Account":"nobody"`)).Want(t, 10019)
		unread(2)
		p := w.history(t, u[2], id, `"ReqMsgNumber":20`)
		if len(p.RspMsgList) != 4 || p.RspMsgList[2].IsPlaceMsg != 2 || p.RspMsgList[1].IsPlaceMsg != 2 || p.RspMsgList[0].IsPlaceMsg != 0 {
			t.Errorf("after deleting by sender: %+v", p)
		}
		w.Post(t, svc+"clear_group_msg", at(`"MsgSeq":3`)).Want(t, 0)
		if got := w.history(t, u[2], id, `"ReqMsgNumber":20`).seqs(); len(got) != 1 || got[0] != 4 {
			t.Errorf("after clearing: %v", got)
		}
		unread(1)
		w.Post(t, svc+"clear_group_msg", at(`"MsgSeq":0`)).Want(t, 0)
		if p := w.history(t, u[2], id, `"ReqMsgNumber":20`); len(p.RspMsgList) != 0 || p.IsFinished != 2 {
			t.Errorf("after clearing all: %+v", p)
		}
		if seq := w.say(t, u[0], id, "five"); seq != 5 {
			t.Errorf("sequence %d after clearing", seq)
		}
		for _, m := range u {
			for _, e := range m.Events() {
				if !strings.Contains(e, `"MsgSeq":5`) {
					t.Errorf("%s was told %s", m.UserID, e)
				}
			}
		}
		meeting := w.group(t, "Meeting", u[0])
		w.Post(t, svc+"set_unread_msg_num", fmt.Sprintf(`{"GroupId":%q,"Member_Account":"ann","UnreadMsgNum":1}`, meeting)).Want(t, 10007)

		u[0].Call(t, svc+"update_group_counter", at(`"Mode":"Set","GroupCounter":[{"Key":"a","Value":1},{"Key":"b","Value":2}]`)).Want(t, 0)
		u[1].Events()
		w.Post(t, svc+"delete_group_counter", at(`"GroupCounterKeys":[]`)).Want(t, 10004)
		w.Post(t, svc+"delete_group_counter", at(`"GroupCounterKeys":["a","x"]`)).Want(t, 0)
		has(t, u[1].Events(), 1, `"GroupCounterInfo":[{"Type":1,"GroupCounterSeq":2,"GroupCounter":[{"Key":"a","Value":1}]}]`)
		w.Post(t, svc+"get_group_counter", at(`"x":0`)).Want(t, 0).Has(t, `"GroupCounter":[{"Key":"b","Value":2}]`)
	})
}
