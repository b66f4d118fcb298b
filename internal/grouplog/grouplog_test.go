package grouplog_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"imserver/internal/ratelimit"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that messages and tips share one sequence without gaps, reach the
// other members once, and are stored once when a request is repeated.
func TestSend(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1])
		if seq := w.say(t, u[0], id, "one"); seq != 1 {
			t.Fatal("first sequence", seq)
		}
		has(t, u[1].Events(), 1, `"Event":3`, `"Text":"one"`, `"MsgSeq":1`, `"From_Account":"ann"`, `"TinyId":"`+u[0].TinyID()+`"`, `"GroupType":"Public"`)
		has(t, u[0].Events(), 0, `"Text":"one"`)
		a := w.sendAs(t, u[0], id, "one", 1).Want(t, 0)
		if a.Fields["MsgSeq"].(float64) != 1 {
			t.Fatal("a repeat got another place:", a.Text)
		}
		has(t, u[1].Events(), 0, `"Event":3`)
		u[0].Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"Name":"New"}`, id)).Want(t, 0)
		has(t, u[1].Events(), 1, `"Event":4`, `"MsgSeq":2`, `"GroupName":"New"`)
		has(t, u[0].Events(), 1, `"Event":4`, `"MsgSeq":2`, `"NoUnread":1`)
		if seq := w.say(t, u[1], id, "two"); seq != 3 {
			t.Fatal("after a tip:", seq)
		}
		w.send(t, u[2], id, "outside").Want(t, 10007)
		w.send(t, u[0], "no such", "x").Want(t, 10010)
		u[0].Call(t, "group_open_http_svc.send_group_msg", `{"GroupId":"`+id+`","MsgBody":[]}`).Want(t, 10004)
		w.send(t, u[0], id, "x", `"MsgPriority":"Enormous"`).Want(t, 10004)
		w.send(t, u[0], id, strings.Repeat("x", 13<<10)).Want(t, 80002)
	})
}

// Ensure that a group that is ahead of the clock, because a node's clock was,
// goes on like any other: its messages follow, each is pushed once, and a
// request that is repeated is answered with the place it has.
func TestAheadOfTheClock(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.say(t, u[0], id, "before")
		w.Advance(2 * time.Hour)
		w.say(t, u[0], id, "first")
		w.Advance(-2 * time.Hour)
		u[1].Events()
		for range 2 {
			if a := w.sendAs(t, u[0], id, "first", 2).Want(t, 0); a.Fields["MsgSeq"].(float64) != 2 {
				t.Fatal("a repeat got another place:", a.Text)
			}
		}
		has(t, u[1].Events(), 0, `"Event":3`)
		for i := range 3 {
			if seq := w.say(t, u[i%2], id, "then"); seq != int64(3+i) {
				t.Fatalf("what follows has the sequence %d", seq)
			}
		}
		has(t, u[1].Events(), 2, `"Event":3`, `"Text":"then"`)
		if seqs := w.history(t, u[1], id, `"ReqMsgNumber":20`).seqs(); len(seqs) != 5 {
			t.Fatal("history:", seqs)
		}
	})
}

// Ensure that muted members are refused, and everybody but owner and admins
// while all are muted.
func TestMuted(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		mute := func(s int) {
			u[0].Call(t, "group_open_http_svc.modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_Account":"ben","ShutUpTime":%d}`, id, s)).Want(t, 0)
		}
		mute(60)
		w.send(t, u[1], id, "x").Want(t, 10017)
		w.Advance(61 * time.Second)
		w.say(t, u[1], id, "x")
		u[0].Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"ShutUpAllMember":"On"}`, id)).Want(t, 0)
		w.send(t, u[1], id, "x").Want(t, 10017)
		w.say(t, u[0], id, "x")
	})
}

// Ensure that an online-only message is delivered, but neither stored nor
// numbered, and that what is marked so does not count as unread.
func TestOnlineAndQuiet(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		if seq := w.say(t, u[0], id, "typing", `"OnlineOnlyFlag":1`); seq != 0 {
			t.Fatal("an online-only message got a place")
		}
		has(t, u[1].Events(), 1, `"OnlineOnlyFlag":1`, `"MsgSeq":0`)
		w.say(t, u[0], id, "counts")
		w.say(t, u[0], id, "quiet", `"SendMsgControl":["NoUnread","NoLastMsg"]`)
		has(t, u[1].Events(), 1, `"Text":"quiet"`, `"SendMsgControl":{"NoUnread":1,"NoLastMsg":1}`)
		s := w.summary(t, u[1], id)
		if s.Unread != 1 || s.LastSeq != 2 || s.Newest == nil || s.Newest.Seq != 1 {
			t.Fatalf("%+v %+v", s, s.Newest)
		}
		if s := w.summary(t, u[0], id); s.Unread != 0 {
			t.Fatal("own messages are unread:", s.Unread)
		}
	})
}

// Ensure that a directed message exists for its receivers only, everywhere.
func TestDirected(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		id := w.group(t, "Public", u[0], u[1], u[2])
		w.say(t, u[0], id, "all")
		w.say(t, u[0], id, "psst", `"To_Account":["ben","dan"]`, `"GroupAtInfo":[{"GroupAtAllFlag":1}]`)
		has(t, u[1].Events(), 1, `"Text":"psst"`, `"MsgSeq":2`)
		has(t, u[2].Events(), 0, `"MsgSeq":2`)
		if got := w.history(t, u[1], id, `"ReqMsgNumber":20`).seqs(); !slices.Equal(got, []int64{2, 1}) {
			t.Fatal("receiver:", got)
		}
		p := w.history(t, u[2], id, `"ReqMsgNumber":20`)
		if !slices.Equal(p.seqs(), []int64{1}) || !slices.Equal(p.InvisibleMsgSeq, []int64{2}) {
			t.Fatalf("other: %+v", p)
		}
		if s := w.summary(t, u[2], id); s.Unread != 1 || s.Newest.Seq != 1 || s.Mentions != nil {
			t.Fatalf("%+v", s)
		}
		if s := w.summary(t, u[1], id); s.Unread != 1 || s.Newest.Seq != 2 {
			t.Fatalf("%+v", s)
		}
		w.send(t, u[0], id, "x", `"To_Account":["dan"]`).Want(t, 10004)
		u[2].Call(t, "group_open_http_svc.group_msg_recall", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":2}]}`, id)).Has(t, `"RetCode":10030`)
	})
}

// Ensure that history windows are what every SDK's paging needs (protocol 03 §12.2).
func TestHistory(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1])
		for i := range 25 {
			w.say(t, u[0], id, fmt.Sprint(i+1))
		}
		for _, c := range []struct {
			ask         string
			top, bottom int64 // of the answer; 0, 0 = empty
			finished    int
			next        int64
		}{
			{`"ReqMsgNumber":10`, 25, 16, 1, 15},
			{`"ReqMsgNumber":10,"ReqMsgSeq":15`, 15, 6, 1, 5},
			{`"ReqMsgNumber":10,"ReqMsgSeq":5`, 5, 1, 2, 0},
			{`"ReqMsgNumber":15,"ReqMsgSeq":5`, 5, 1, 1, 0}, // recovery must climb on
			{`"ReqMsgNumber":15,"ReqMsgSeq":5,"Version":1`, 5, 1, 2, 0},
			{`"ReqMsgNumber":15,"ReqMsgSeq":30`, 25, 16, 1, 15}, // the lower bound is of the uncapped one
			{`"ReqMsgNumber":10,"ReqMsgSeq":60`, 0, 0, 1, 50},   // beyond the newest: not filled with older ones
			{`"ReqMsgNumber":0,"ReqMsgSeq":9`, 0, 0, 1, 9},
		} {
			p := w.history(t, u[1], id, c.ask)
			var want []int64
			for seq := c.top; seq >= c.bottom && seq > 0; seq-- {
				want = append(want, seq)
			}
			if !slices.Equal(p.seqs(), want) || p.IsFinished != c.finished || p.NextReqMsgSeq != c.next {
				t.Errorf("%s: %v finished %d next %d", c.ask, p.seqs(), p.IsFinished, p.NextReqMsgSeq)
			}
		}
		if p := w.history(t, u[1], id, `"GetType":3,"ReqMsgSeqList":[3,7,99],"ReqMsgNumber":15`); !slices.Equal(p.seqs(), []int64{7, 3}) {
			t.Error("by list:", p.seqs())
		}
		u[1].Call(t, "group_open_http_svc.delete_group_ramble_msg_by_seq", fmt.Sprintf(`{"GroupId":%q,"Seqs":["24","23"]}`, id)).Want(t, 0)
		p := w.history(t, u[1], id, `"ReqMsgNumber":3`)
		if !slices.Equal(p.seqs(), []int64{25}) || !slices.Equal(p.InvisibleMsgSeq, []int64{24, 23}) {
			t.Errorf("after deleting: %+v", p)
		}
		if p := w.history(t, u[0], id, `"ReqMsgNumber":3`); len(p.RspMsgList) != 3 {
			t.Error("deleted for everybody")
		}
		u[0].Call(t, "group_open_http_svc.add_group_member", fmt.Sprintf(`{"GroupId":%q,"MemberList":[{"Member_Account":"cid"}]}`, id)).Want(t, 0)
		if p := w.history(t, u[2], id, `"ReqMsgNumber":20`); len(p.RspMsgList) > 1 || p.IsFinished != 2 {
			t.Errorf("a newcomer of a Public group sees %v", p.seqs())
		}
		w.users(t, "dan")[0].Call(t, "group_open_http_svc.group_msg_get", fmt.Sprintf(`{"GroupId":%q,"ReqMsgNumber":20}`, id)).Want(t, 10007)
		w.Advance(w.Retention + time.Hour)
		if p := w.history(t, u[1], id, `"ReqMsgNumber":20`); len(p.RspMsgList) != 0 || p.IsFinished != 2 {
			t.Errorf("past the retention: %+v", p)
		}
		if s := w.summary(t, u[1], id); s.Unread != 0 || s.Newest != nil {
			t.Errorf("past the retention: %+v", s)
		}
	})
}

// Ensure that reading moves forward only and is told to the reader's devices,
// and that clearing hides what was there.
func TestRead(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		for range 5 {
			w.say(t, u[0], id, "x")
		}
		read := func(seq int) {
			u[1].Call(t, "group_open_http_svc.msg_read_report", fmt.Sprintf(`{"GroupId":%q,"MsgReadedSeq":%d}`, id, seq)).Want(t, 0)
		}
		read(3)
		read(2)
		if s := w.summary(t, u[1], id); s.Unread != 2 {
			t.Fatal("unread", s.Unread)
		}
		w.say(t, u[1], id, "mine")
		if s := w.summary(t, u[1], id); s.Unread != 0 {
			t.Fatal("own message did not move the read position:", s.Unread)
		}
		w.say(t, u[0], id, "x")
		read(1000)
		w.say(t, u[0], id, "x")
		if s := w.summary(t, u[1], id); s.Unread != 1 {
			t.Fatal("the read position went beyond the newest message")
		}
		u[1].Call(t, "group_open_http_svc.msg_read_report", fmt.Sprintf(`{"GroupId":%q,"MsgReadedSeq":-1}`, id)).Want(t, 10004)
	})
}

// Ensure that authors, admins and owners recall what they may, and that it
// shows: push, history, unread, the list of recalls.
func TestRecall(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		for range 3 {
			w.say(t, u[1], id, "x")
		}
		recall := func(by int, seq int) int {
			a := u[by].Call(t, "group_open_http_svc.group_msg_recall", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":%d}],"Reason":"why"}`, id, seq)).Want(t, 0)
			return int(a.Fields["RecallRetList"].([]any)[0].(map[string]any)["RetCode"].(float64))
		}
		u[2].Events()
		if c := recall(2, 1); c != 10007 {
			t.Fatal("recall of another's message:", c)
		}
		if c := recall(1, 1); c != 0 {
			t.Fatal("recall of one's own message:", c)
		}
		has(t, u[2].Events(), 1, `"GroupWithdrawInfoArray"`, `"MsgSeq":1`, `"Revoker_Account":"ben"`, `"Reason":"why"`)
		if s := w.summary(t, u[2], id); s.Unread != 2 || s.LastRecall == 0 {
			t.Fatalf("%+v", s)
		}
		w.Advance(3 * time.Minute)
		if c := recall(1, 2); c != 10031 {
			t.Fatal("recall too late:", c)
		}
		if c := recall(0, 2); c != 0 {
			t.Fatal("recall by the owner:", c)
		}
		if c := recall(0, 99); c != 10030 {
			t.Fatal("recall of nothing:", c)
		}
		p := w.history(t, u[2], id, `"ReqMsgNumber":20`)
		if len(p.RspMsgList) != 3 || p.RspMsgList[1].IsPlaceMsg != 2 || p.RspMsgList[0].IsPlaceMsg != 0 {
			t.Fatalf("%+v", p)
		}
		a := u[2].Call(t, "group_open_http_svc.batch_get_group_notify", fmt.Sprintf(`{"NotifyReqList":[{"NotifyType":1,"Limit":1,"GroupId":%q,"BeginTime":0,"EndTime":%d}]}`,
			id, w.Now().UnixMicro()+1000)).Want(t, 0).Has(t, `"MsgSeq":1`).Lacks(t, `"MsgSeq":2`, `"NextMsgTime":0`)
		next := a.Fields["NotifyRspList"].([]any)[0].(map[string]any)["NextMsgTime"].(float64)
		u[2].Call(t, "group_open_http_svc.batch_get_group_notify", fmt.Sprintf(`{"NotifyReqList":[{"NotifyType":1,"Limit":1,"GroupId":%q,"BeginTime":%.0f,"EndTime":%d}]}`,
			id, next, w.Now().UnixMicro()+1000)).Want(t, 0).Has(t, `"MsgSeq":2`, `"NextMsgTime":0`)
	})
}

// Ensure that edits count versions, conflicts carry the current state, and
// others are told.
func TestModify(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.say(t, u[0], id, "first")
		edit := func(by, version int, text string) string {
			return u[by].Call(t, "openim.modify_group_msg", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":1,"MsgVersion":%d,"MsgBody":%s,"CloudCustomData":"c"}`, id, version, body(text))).Text
		}
		u[0].Events()
		if a := edit(1, 0, "second"); !contains(a, `"MsgVersion":1`, `"second"`, `"ErrorCode":0`) {
			t.Fatal(a)
		}
		has(t, u[0].Events(), 1, `"Event":17`, `"MsgVersion":1`, `"second"`, `"From_Account":"ann"`)
		if a := edit(0, 0, "third"); !contains(a, `"ErrorCode":20027`, `"MsgVersion":1`, `"second"`, `"CloudCustomData":"c"`) {
			t.Fatal(a)
		}
		if p := w.history(t, u[1], id, `"ReqMsgNumber":20`); p.RspMsgList[0].MsgVersion != 1 || !contains(string(p.RspMsgList[0].MsgBody), "second") {
			t.Fatalf("%+v", p)
		}
		u[0].Call(t, "openim.modify_group_msg", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":9,"MsgVersion":0}`, id)).Want(t, 20026)
	})
}

// Ensure that mentions reach those mentioned, wait for those who are away, and
// go when they are read or dropped.
func TestMentions(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		w.say(t, u[0], id, "hey", `"GroupAtInfo":[{"GroupAtAllFlag":0,"GroupAt_Account":"ben"},{"GroupAtAllFlag":0,"GroupAt_Account":"stranger"}]`)
		has(t, u[1].Events(), 1, `"Event":12`, `"GroupAtTips"`, `"GroupAtType":[1]`, `"MsgSeq":1`)
		has(t, u[2].Events(), 0, `"Event":12`)
		w.say(t, u[0], id, "all", `"GroupAtInfo":[{"GroupAtAllFlag":1},{"GroupAt_Account":"ben"}]`)
		has(t, u[1].Events(), 1, `"Event":12`, `"GroupAtType":[1,2]`)
		has(t, u[2].Events(), 1, `"Event":12`, `"GroupAtType":[2]`)
		has(t, u[0].Events(), 0, `"Event":12`)
		if s := w.summary(t, u[1], id); string(s.Mentions) != `[{"From_Account":"ann","AtFlagList":[1],"AtMsgSeq":1},{"From_Account":"ann","AtFlagList":[1,2],"AtMsgSeq":2}]` {
			t.Fatal(string(s.Mentions))
		}
		missed := func(i int) int {
			list, err := w.log.Missed(t.Context(), callOf(w, u[i]), 0)
			if err != nil {
				t.Fatal(err)
			}
			return len(list)
		}
		if missed(1) != 3 || missed(2) != 1 || missed(0) != 0 {
			t.Fatal("missed:", missed(1), missed(2), missed(0))
		}
		u[2].Call(t, "openim.deletemsg", `{"DelMsgList":[{"From_Account":"ann","To_Account":"cid","MsgSeq":2,"MsgRandom":3,"GroupId":"`+id+`"}]}`).Want(t, 0)
		u[1].Call(t, "group_open_http_svc.msg_read_report", fmt.Sprintf(`{"GroupId":%q,"MsgReadedSeq":1}`, id)).Want(t, 0)
		if missed(1) != 2 || missed(2) != 0 {
			t.Fatal("missed after reading:", missed(1), missed(2))
		}
	})
}

// Ensure that a message mentions 30 members and everybody at most.
func TestTooManyMentions(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		list := strings.Repeat(`{"GroupAtAllFlag":0,"GroupAt_Account":"ben"},`, 30)
		w.send(t, u[0], id, "30", `"GroupAtInfo":[`+strings.TrimSuffix(list, ",")+`]`).Want(t, 0)
		w.send(t, u[0], id, "30 and all", `"GroupAtInfo":[`+list+`{"GroupAtAllFlag":1}]`).Want(t, 0)
		w.send(t, u[0], id, "31", `"GroupAtInfo":[`+list+`{"GroupAt_Account":"x"}]`).Want(t, 10053)
		w.send(t, u[0], id, "all, again and again", `"GroupAtInfo":[`+list+`{"GroupAtAllFlag":1},{"GroupAtAllFlag":1}]`).Want(t, 10053)
		if p := w.history(t, u[1], id, `"ReqMsgNumber":20`); len(p.RspMsgList) != 2 {
			t.Errorf("%d messages", len(p.RspMsgList))
		}
	})
}

// Ensure that receipts count each reader once and tell the sender.
func TestReceipts(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		w.say(t, u[0], id, "x", `"NeedReadReceipt":1`)
		w.say(t, u[0], id, "none")
		send := func(i int) {
			u[i].Call(t, "group_open_http_svc.group_msg_receipt", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":1}]}`, id)).Want(t, 0)
		}
		send(1)
		send(1)
		send(0)
		has(t, u[0].Events(), 1, `"GroupMsgReceiptList"`, `"ReadNum":1`, `"UnreadNum":1`)
		u[0].Call(t, "group_open_http_svc.get_group_msg_receipt", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2},{"MsgSeq":3}]}`, id)).
			Has(t, `{"MsgSeq":1,"Code":0,"ReadNum":1,"UnreadNum":1}`, `{"MsgSeq":2,"Code":10062`, `{"MsgSeq":3,"Code":10030`)
		u[0].Call(t, "group_open_http_svc.get_group_msg_receipt_detail", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":1,"Flag":0,"Cursor":"","Num":10}`, id)).
			Has(t, `"Read_Account":"ben"`, `"IsFinish":1`).Lacks(t, `"cid"`)
		u[0].Call(t, "group_open_http_svc.get_group_msg_receipt_detail", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":1,"Filter":1,"Cursor":"","Num":10}`, id)).
			Has(t, `"Unread_Account":"cid"`).Lacks(t, `"ben"`, `"ann"`)
		u[0].Call(t, "group_open_http_svc.get_group_msg_receipts_by_users", fmt.Sprintf(`{"GroupId":%q,"MemberReadMsgList":[{"MsgSeq":1,"MemberList_Account":["ben","cid"]}]}`, id)).
			Has(t, `"Read_Account":"ben"`).Lacks(t, `"cid"`)
		w.App.Groups.ReceiptMembers = 2
		w.send(t, u[0], id, "x", `"NeedReadReceipt":1`).Has(t, `"ReadReceiptCode":10060`)
	})
}

// Ensure that at most ten messages are pinned and everybody is told.
func TestPins(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		for range 12 {
			w.say(t, u[0], id, "x")
		}
		u[0].Events()
		call := func(command string, seq int) int {
			return u[1].Call(t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q,"MsgSeq":%d,"TopicId":""}`, id, seq)).Code
		}
		for seq := 1; seq <= 10; seq++ {
			if c := call("pin_message", seq); c != 0 {
				t.Fatal(c)
			}
		}
		has(t, u[0].Events(), 10, `"Event":6`, `"OpType":16`, `"PinnedMsg":{"ToGroupId"`)
		if call("pin_message", 1) != 0 || call("pin_message", 11) != 10070 || call("pin_message", 99) != 10030 || call("unpin_message", 1) != 0 {
			t.Fatal("pins")
		}
		has(t, u[0].Events(), 1, `"OpType":17`, `"SdkGroupMessageId"`)
		if call("pin_message", 1) != 0 || call("pin_message", 11) != 10070 {
			t.Fatal("pins after unpinning")
		}
		u[0].Call(t, "group_open_http_svc.group_msg_recall", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":1}]}`, id)).Want(t, 0)
		if call("pin_message", 11) != 0 {
			t.Fatal("the pin of a recalled message takes a place")
		}
		u[0].Call(t, "group_open_http_svc.get_pinned_messages", fmt.Sprintf(`{"GroupId":%q}`, id)).Has(t, `"MsgSeq":10`, `"Pinner_Account":"ben"`).Lacks(t, `"MsgSeq":1,`)
	})
}

// Ensure that extensions and reactions of group messages are told to members,
// reactions with what is personal.
func TestAnnotations(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.say(t, u[0], id, "x", `"SupportMessageExtension":1`)
		w.say(t, u[0], id, "plain")
		u[1].Events()
		set := `{"GroupId":%q,"MsgSeq":%d,"OperateType":1,"ExtensionList":[{"Key":"k","Value":"v","Seq":0}]}`
		u[0].Call(t, "openim_msg_ext_http_svc.group_set_key_values", fmt.Sprintf(set, id, 1)).Want(t, 0)
		has(t, u[1].Events(), 1, `"Event":20`, `"ExtensionGroupMsgInfo"`, `"MsgKeyValue":[{"Key":"k","Value":"v","Seq":1}]`)
		u[0].Call(t, "openim_msg_ext_http_svc.group_set_key_values", fmt.Sprintf(set, id, 2)).Want(t, 23002)
		u[0].Call(t, "openim_msg_ext_http_svc.group_set_key_values", fmt.Sprintf(set, id, 3)).Want(t, 23004)
		u[1].Call(t, "openim_msg_ext_http_svc.group_get_key_values", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":1,"startSeq":0}`, id)).Has(t, `"Key":"k"`)
		react := func(by int, command string) int {
			return u[by].Call(t, "openim_msg_ext_http_svc."+command, fmt.Sprintf(`{"GroupId":%q,"MsgSeq":2,"Reaction":"smile","Add_Account":["x"]}`, id)).Code
		}
		u[0].Events()
		if react(1, "group_reaction_add") != 0 || react(1, "group_reaction_add") != 23007 {
			t.Fatal("react")
		}
		has(t, u[0].Events(), 1, `"Event":22`, `"Reaction_Account":["ben"]`, `"ReactedByMe":0`)
		has(t, u[1].Events(), 1, `"Event":22`, `"ReactedByMe":1`)
		u[1].Call(t, "openim_msg_ext_http_svc.group_reaction_multi_stat", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[1,2],"Count":1}`, id)).
			Has(t, `{"MsgSeq":1,"ReactionList":[]}`, `"Reaction":"smile","Count":1,"Reaction_Account":["ben"],"ReactedByMe":1`)
		u[0].Call(t, "openim_msg_ext_http_svc.group_reaction_iterate", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":2,"Reaction":"smile","Count":10}`, id)).Has(t, `["ben"]`, `"NextSeq":0`)
		if react(1, "group_reaction_del") != 0 {
			t.Fatal("unreact")
		}
		has(t, u[0].Events(), 1, `"Count":0`)
	})
}

// Ensure that a topic has a log of its own whose items say so in both ways.
func TestTopics(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Topics", u[0], u[1])
		topic := u[0].Call(t, "million_group_open_http_svc.create_topic", fmt.Sprintf(`{"GroupId":%q,"TopicName":"T"}`, id)).Want(t, 0).Fields["TopicId"].(string)
		w.send(t, u[0], id, "community itself").Want(t, 10007)
		u[1].Events()
		for i := range 3 {
			if seq := w.say(t, u[0], topic, "x"); seq != int64(i+1) {
				t.Fatal("sequence", seq)
			}
		}
		has(t, u[1].Events(), 3, `"Event":3`, `"ToGroupId":"`+id+`"`, `"MillionGroupFlag":2`, `"TopicId":"`+topic+`"`)
		if p := w.history(t, u[1], topic, `"ReqMsgNumber":20`); len(p.RspMsgList) != 3 || p.RspMsgList[0].ToTopicId != topic {
			t.Fatalf("%+v", p)
		}
		other := w.group(t, "Topics", u[0], u[1])
		u[0].Call(t, "million_group_open_http_svc.group_msg_get", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"ReqMsgNumber":20}`, other, topic)).Want(t, 10010)
		u[1].Call(t, "million_group_open_http_svc.msg_read_report", fmt.Sprintf(`{"GroupId":%q,"TopicId":%q,"MsgReadedSeq":2}`, id, topic)).Want(t, 0)
		a := u[1].Call(t, "million_group_open_http_svc.get_topic", fmt.Sprintf(`{"GroupId":%q,"TopicIdList":[]}`, id)).Want(t, 0)
		a.Has(t, `"NextMsgSeq":4`, `"MsgSeq":2`, `"LastMsgSeq":3`)
	})
}

// limiter admits what its function says.
type limiter func(key int64, p ratelimit.Priority) bool

func (l limiter) Admit(_ context.Context, key int64, p ratelimit.Priority, _ int, done func(bool)) {
	done(l(key, p))
}

// Ensure that a message over the limit is told success and leaves no trace.
func TestRateLimit(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db, limiter(func(_ int64, p ratelimit.Priority) bool { return p == ratelimit.High }))
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.send(t, u[0], id, "dropped").Want(t, 0).Has(t, `"MsgDropReason":"MsgFreqCtrl"`, `"MsgSeq":0`)
		has(t, u[1].Events(), 0, `"Event":3`)
		w.random++
		a := u[0].Call(t, "group_open_http_svc.send_group_msg", fmt.Sprintf(`{"GroupId":%q,"Random":77,"ClientSeq":1,"MsgPriority":"High","MsgBody":%s}`, id, body("passes")))
		a.Want(t, 0).Has(t, `"MsgSeq":1`).Lacks(t, "MsgDropReason")
	})
}

// Ensure that concurrent senders get contiguous sequences and members see them
// in order, each once.
func TestConcurrentSenders(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1], u[2])
		var wg sync.WaitGroup
		for s := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 20 {
					w.sendAs(t, u[s%2], id, "x", int64(1000*s+i+1)).Want(t, 0)
				}
			}()
		}
		wg.Wait()
		next := int64(0)
		for _, e := range u[2].Events() {
			var seq int64
			if _, err := fmt.Sscanf(after(e, `"MsgSeq":`), "%d", &seq); err != nil || seq != next+1 {
				t.Fatalf("got %d after %d", seq, next)
			}
			next = seq
		}
		if next != 160 {
			t.Fatal("last:", next)
		}
	})
}

// Ensure that what belongs to messages goes when they are past their retention.
func TestSweep(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		id := w.group(t, "Public", u[0], u[1])
		w.say(t, u[0], id, "x", `"NeedReadReceipt":1`, `"SendMsgControl":["NoUnread"]`, `"GroupAtInfo":[{"GroupAtAllFlag":1}]`)
		for _, c := range [][2]string{
			{"group_open_http_svc.group_msg_receipt", `{"GroupId":%q,"MsgSeqList":[{"MsgSeq":1}]}`},
			{"group_open_http_svc.pin_message", `{"GroupId":%q,"MsgSeq":1}`},
			{"group_open_http_svc.delete_group_ramble_msg_by_seq", `{"GroupId":%q,"Seqs":["1"]}`},
		} {
			u[1].Call(t, c[0], fmt.Sprintf(c[1], id)).Want(t, 0)
		}
		u[1].Call(t, "openim.deletemsg", `{"DelMsgList":[{"From_Account":"ann","MsgSeq":1,"MsgRandom":2}]}`).Want(t, 0)
		rows := func() (n int) {
			for _, table := range []string{"group_quiet", "group_at", "group_at_dropped", "group_receipts", "group_pins", "group_deleted"} {
				var c int
				if err := w.DB.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&c); err != nil {
					t.Fatal(err)
				}
				n += c
			}
			return n
		}
		for _, c := range []struct {
			before time.Time
			want   int
		}{{w.Now(), 6}, {w.Now().Add(time.Second), 0}} {
			if err := w.log.Sweep(t.Context(), c.before.Unix()); err != nil {
				t.Fatal(err)
			}
			if n := rows(); n != c.want {
				t.Fatalf("%d rows, want %d", n, c.want)
			}
		}
	})
}

// Ensure that an app's backend sends, reads and recalls without being a member.
func TestAdministrator(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		id := w.group(t, "Public", u[0], u[1])
		req := fmt.Sprintf(`{"GroupId":%q,"Random":5,"From_Account":"cid","MsgBody":%s}`, id, body("hello"))
		w.Post(t, "group_open_http_svc.send_group_msg", req).Want(t, 0).Has(t, `"MsgSeq":1`)
		w.Post(t, "group_open_http_svc.send_group_msg", req).Want(t, 0).Has(t, `"MsgSeq":1`)
		has(t, u[0].Events(), 1, `"From_Account":"cid"`, `"Text":"hello"`)
		w.Post(t, "group_open_http_svc.send_group_msg", fmt.Sprintf(`{"GroupId":%q,"Random":6,"MsgBody":%s,"To_Account":["ben"]}`, id, body("psst"))).Has(t, `"MsgSeq":2`)
		w.Post(t, "group_open_http_svc.send_group_msg", fmt.Sprintf(`{"GroupId":%q,"Random":7,"From_Account":"nobody","MsgBody":%s}`, id, body("x"))).Want(t, 10004)
		w.Post(t, "group_open_http_svc.group_msg_get_simple", fmt.Sprintf(`{"GroupId":%q,"ReqMsgNumber":20}`, id)).Want(t, 0).
			Has(t, `"MsgSeq":2`, `"MsgSeq":1`, `"IsFinished":1`, `"From_Account":"administrator"`)
		w.Advance(time.Hour)
		u[1].Events()
		w.Post(t, "group_open_http_svc.group_msg_recall", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":1},{"MsgSeq":2},{"MsgSeq":9}]}`, id)).Want(t, 0).
			Has(t, `{"MsgSeq":1,"RetCode":0}`, `{"MsgSeq":2,"RetCode":0}`, `{"MsgSeq":9,"RetCode":10030}`)
		has(t, u[1].Events(), 2, `"GroupWithdrawInfoArray"`)
	})
}
