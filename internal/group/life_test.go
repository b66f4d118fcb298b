package group_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"imserver/internal/conversation"

	"imserver/internal/apptest"
	"imserver/internal/command"
)

func TestCreate(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		ann, ben, cid := u[0], u[1], u[2]
		a := ann.Call(t, "group_open_http_svc.create_group", `{"Type":"Private","Name":"Team","MemberList":[{"Member_Account":"ben","Role":"Admin"},{"Member_Account":"cid"},{"Member_Account":"cid"}],
			"AppDefinedData":[{"Key":"k","Value":"v\u0000w"}]}`).Want(t, 0).Has(t, `"Type":"Private"`)
		id := a.Fields["GroupId"].(string)
		if !strings.HasPrefix(id, "@TGS#1") {
			t.Errorf("ID %q", id)
		}
		wantEvent(t, ben, ben.Events(), `"ReportType":7`, `"Operator_Account":"ann"`, `"GroupInfo":{"GroupId":"`+id)
		wantNoEvent(t, cid, cid.Events(), `"OpType":1`)
		// Its own other devices; the creating one is left out by the door.
		ann.Call(t, "group_open_http_svc.get_group_self_member_info", fmt.Sprintf(`{"GroupIdList":[%q,"@TGS#2NONE"],"ResponseFilter":{
			"GroupBaseInfoFilter":["Type","Name","Owner_Account","MemberNum","NextMsgSeq","ApplyJoinOption","InviteJoinOption","ShutUpAllMember"],"MemberInfoFilter":["Role","MsgFlag"]}}`, id)).Want(t, 0).
			Has(t, `"Owner_Account":"ann"`, `"MemberNum":3`, `"NextMsgSeq":1`, `"ApplyJoinOption":"DisableApply"`, `"InviteJoinOption":"FreeAccess"`, `"ShutUpAllMember":"Off"`,
				`"SelfInfo":{"Member_Account":"ann","Role":"Owner","MsgFlag":"AcceptAndNotify"`, `"MemberList":[{"Member_Account":"ann"`, `"ErrorCode":10010`).
			Lacks(t, `"Introduction"`, `"MuteAllMember"`, `"JoinTime"`)
		// A short form gets nothing that it did not ask for.
		ann.Call(t, "group_open_http_svc.get_group_self_member_info", fmt.Sprintf(`{"GroupIdList":[%q],"ResponseFilter":{"MemberInfoFilter":["MsgFlag"]}}`, id)).Want(t, 0).
			Lacks(t, "ShutUpAllMember", `"Type"`, "AppDefinedData")
		ann.Call(t, "group_open_http_svc.get_joined_group_list", `{"Limit":200,"NeedAppDefineData":1}`).Want(t, 0).
			Has(t, `"TotalCount":1`, `"MuteAllMember":"Off"`, `"SelfInfo":{"Role":"Owner"`, `{"Key":"k","Value":"v\u0000w"}`)
		ann.Call(t, "million_group_open_http_svc.get_joined_group_list", `{"Limit":200}`).Want(t, 0).Has(t, `"TotalCount":0`)

		for body, code := range map[string]int{
			`{"Type":"Club","Name":"x"}`:                                                                                                   10004,
			`{"Type":"Public","Name":" "}`:                                                                                                 10004,
			`{"Type":"Public","Name":"` + strings.Repeat("x", 101) + `"}`:                                                                  10004,
			`{"Type":"Public","Name":"x\u0000"}`:                                                                                           10004,
			`{"Type":"Public","Name":"x","GroupId":"@TGS#mine"}`:                                                                           10015,
			`{"Type":"Public","Name":"x","GroupId":"@TGS#_mine"}`:                                                                          10015,
			`{"Type":"Public","Name":"x","GroupId":"@TIM#SYSTEM"}`:                                                                         10015,
			`{"Type":"Public","Name":"x","GroupId":"grün"}`:                                                                                10015,
			`{"Type":"Community","Name":"x","GroupId":"mine"}`:                                                                             10015,
			`{"Type":"Community","Name":"x","GroupId":"@TGS#_a@TOPIC#_b"}`:                                                                 10015,
			`{"Type":"Public","Name":"x","MemberList":[{"Member_Account":"nobody"}]}`:                                                      10019,
			`{"Type":"Public","Name":"x","ApplyJoinOption":"Sometimes"}`:                                                                   10004,
			`{"Type":"Public","Name":"x","MaxMemberCount":2,"MemberList":[{"Member_Account":"ben"},{"Member_Account":"cid"}]}`:             10014,
			`{"Type":"Public","Name":"x","MemberList":[` + strings.Repeat(`{"Member_Account":"ben"},`, 500) + `{"Member_Account":"ben"}]}`: 10005,
			`{"Type":"Public","Name":"x","AppDefinedData":[{"Key":"` + strings.Repeat("k", 33) + `","Value":"v"}]}`:                        10004,
		} {
			if got := ann.Call(t, "group_open_http_svc.create_group", body); got.Code != code {
				t.Errorf("%.80s: %d, want %d", body, got.Code, code)
			}
		}
		ann.Call(t, "group_open_http_svc.create_group", `{"Type":"Public","Name":"x","GroupId":"mine"}`).Want(t, 0)
		ann.Call(t, "group_open_http_svc.create_group", `{"Type":"Public","Name":"x","GroupId":"mine"}`).Want(t, 10025)
		ben.Call(t, "group_open_http_svc.create_group", `{"Type":"Public","Name":"x","GroupId":"mine"}`).Want(t, 10021)
	})
}

func TestJoinAndApply(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, ben, cid, dan := u[0], u[1], u[2], u[3]
		id := w.group(t, "Public", ann, ben)
		ann.Call(t, "group_open_http_svc.modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_Account":"ben","Role":"Admin"}`, id)).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"ReportType":9`)
		ann.Events()

		cid.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q,"ApplyMsg":"let me in","UserDefinedField":"udf"}`, id)).Want(t, 0).Has(t, `"JoinedStatus":"WaitAdminApproval"`)
		wantEvent(t, ann, ann.Events(), `"ReportType":1`, `"RemarkInfo":"let me in"`, `"UserDefinedField":"udf"`, `"MsgMemberExtraInfo":{"UserId":"cid"`)
		wantEvent(t, ben, ben.Events(), `"ReportType":1`)
		page := ben.Call(t, "group_open_http_svc.get_pendency", `{"StartTime":0,"Limit":20}`).Want(t, 0).Has(t, `"NextStartTime":0`, `"From_Account":"cid"`, `"PendencyType":0`, `"Handled":0`)
		ben.Call(t, "million_group_open_http_svc.get_pendency", `{"StartTime":0,"Limit":20}`).Want(t, 0).Has(t, `"PendencyList":[]`)
		cid.Call(t, "group_open_http_svc.get_pendency", `{}`).Want(t, 0).Has(t, `"PendencyList":[]`)
		item := page.Fields["PendencyList"].([]any)[0].(map[string]any)
		answer := func(who *apptest.User, verdict, auth string, key any) apptest.Answer {
			return who.Call(t, "group_open_http_svc.handle_apply_join_group", fmt.Sprintf(`{"GroupId":%q,"Applicant_Account":"cid","HandleMsg":%q,"ApprovalMsg":"ok","Authentication":%q,"MsgKey":%.0f}`, id, verdict, auth, key))
		}
		auth := item["Authentication"].(string)
		answer(cid, "Agree", auth, item["AddTime"]).Want(t, 10007)
		answer(ben, "Agree", "forged", item["AddTime"]).Want(t, 10004)
		answer(ben, "Perhaps", auth, item["AddTime"]).Want(t, 10004)
		w.log.say(1) // something is said meanwhile, in whatever log
		answer(ben, "Agree", auth, item["AddTime"]).Want(t, 0)
		answer(ann, "Agree", auth, item["AddTime"]).Want(t, 10024)
		wantEvent(t, cid, cid.Events(), `"ReportType":2`, `"RemarkInfo":"ok"`)
		events := ann.Events()
		wantEvent(t, ann, events, `"OpType":1`, `"Operator_Account":"ben"`, `"List_Account":["cid"]`, `"GroupJoinType":1`, `"MemberNum":3`)
		cid.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10013)

		dan.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		notice := eventOf(ann.Events(), `"ReportType":1`)
		auth = between(t, notice, `"Authentication":"`, `"`)
		ann.Call(t, "group_open_http_svc.handle_apply_join_group", fmt.Sprintf(`{"GroupId":%q,"Applicant_Account":"dan","HandleMsg":"Reject","Authentication":%q}`, id, auth)).Want(t, 0)
		wantEvent(t, dan, dan.Events(), `"ReportType":3`)
		// The stored notice of the application is dropped by its number and random.
		missed, err := w.dir.Missed(t.Context(), ann.UID, 0)
		if err != nil || eventOf(strs(missed), `"RemarkInfo":"let me in"`) == "" {
			t.Fatalf("missed %s, %v", missed, err)
		}
		seq, random := between(t, notice, `"ClientSeq":`, `,`), between(t, notice, `"MsgRandom":`, `,`)
		ann.Call(t, "openim.deletemsg", fmt.Sprintf(`{"DelMsgList":[{"From_Account":"@TIM#SYSTEM","MsgSeq":%s,"MsgRandom":%s},{"MsgSeq":1,"MsgRandom":2}]}`, seq, random)).Want(t, 0)
		left, _ := w.dir.Missed(t.Context(), ann.UID, 0)
		if len(missed) != 1 || len(left) != 1 || strings.Contains(string(left[0]), seq) || strings.Count(string(left[0]), "ReportType") != 1 {
			t.Errorf("%s left of %s", left, missed)
		}

		// Options decide.
		ann.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"ApplyJoinOption":"DisableApply"}`, id)).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"OpType":6`, `"ApplyJoinOption":"DisableApply"`)
		dan.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10007)
		ann.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"ApplyJoinOption":"FreeAccess","MaxMemberNum":3}`, id)).Want(t, 0)
		dan.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10014)
		ann.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"MaxMemberNum":9}`, id)).Want(t, 0)
		dan.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).Has(t, `"JoinedSuccess"`)
		dan.Call(t, "group_open_http_svc.apply_join_group", `{"GroupId":"@TGS#2NONE"}`).Want(t, 10010)
		dan.Call(t, "group_open_http_svc.apply_join_group", `{"GroupId":""}`).Want(t, 10015)
		work := w.group(t, "Private", ann)
		dan.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, work)).Want(t, 10007)
		dan.Call(t, "group_open_http_svc.get_group_public_info", fmt.Sprintf(`{"GroupIdList":[%q]}`, work)).Want(t, 0).Has(t, `"ErrorCode":10007`)
		dan.Call(t, "group_open_http_svc.get_group_public_info", fmt.Sprintf(`{"GroupIdList":[%q],"ResponseFilter":{"GroupBasePublicInfoFilter":["Type","Name"]}}`, id)).Want(t, 0).
			Has(t, `"ErrorCode":0,"ErrorInfo":"","Type":"Public","Name":"Team"`).Lacks(t, "Owner_Account")
	})
}

func strs[T ~[]byte](list []T) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	part, _, ok2 := strings.Cut(rest, after)
	if !ok || !ok2 {
		t.Fatalf("no %s…%s in %s", before, after, s)
	}
	return part
}

func TestInvite(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan", "eve")
		ann, ben, cid, dan := u[0], u[1], u[2], u[3]
		add := func(by *apptest.User, id string, who ...string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.add_group_member", fmt.Sprintf(`{"GroupId":%q,"MemberList":[{"Member_Account":"%s"}]}`, id, strings.Join(who, `"},{"Member_Account":"`)))
		}
		id := w.group(t, "Public", ann, ben)
		add(ben, id, "cid").Want(t, 10007) // DisableInvite by default
		add(dan, id, "cid").Want(t, 10007) // not in the group
		add(ann, id, "cid", "ben").Want(t, 0).Has(t, `{"Member_Account":"cid","Result":1}`, `{"Member_Account":"ben","Result":2}`)
		events := cid.Events()
		if len(events) < 2 || !strings.Contains(events[0], `"ReportType":7`) || !strings.Contains(events[1], `"OpType":1`) {
			t.Errorf("the notice comes first, then the tip: %q", events)
		}
		wantEvent(t, ben, ben.Events(), `"GroupJoinType":2`, `"MemberNum":3`)
		add(ann, id, "dan", "nobody").Want(t, 10019)
		ann.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"InviteJoinOption":"NeedPermission"}`, id)).Want(t, 0)
		add(ben, id, "dan").Want(t, 0).Has(t, `"Result":3`)
		wantEvent(t, ann, ann.Events(), `"ReportType":1`, `"Operator_Account":"dan"`)
		item := ann.Call(t, "group_open_http_svc.get_pendency", `{}`).Want(t, 0).Has(t, `"PendencyType":2`, `"From_Account":"ben"`, `"To_Account":"dan"`).Fields["PendencyList"].([]any)[0].(map[string]any)
		handle := fmt.Sprintf(`{"GroupId":%q,"Applicant_Account":"ben","Invited_Account":"dan","HandleMsg":"Agree","Authentication":%q}`, id, item["Authentication"])
		cid.Call(t, "group_open_http_svc.handle_invite_join_permission_group", handle).Want(t, 10007)
		ann.Call(t, "group_open_http_svc.handle_invite_join_permission_group", handle).Want(t, 0)
		ann.Call(t, "group_open_http_svc.handle_invite_join_permission_group", handle).Want(t, 10024)
		wantEvent(t, dan, dan.Events(), `"ReportType":7`, `"Operator_Account":"ben"`)
		add(ann, id).Want(t, 10019)
		if a := add(ann, id, strings.Split(strings.Repeat("ben,", 501), ",")...); a.Code != 10005 {
			t.Errorf("501 invited: %d", a.Code)
		}
		w.Post(t, "group_open_http_svc.add_group_member", fmt.Sprintf(`{"GroupId":%q,"Silence":1,"MemberList":[{"Member_Account":"eve"}]}`, id)).Want(t, 0).Has(t, `"Result":1`)
		if e := u[4].Events(); len(e) != 0 {
			t.Errorf("a silent invitation: %q", e)
		}
	})
}

// Where the app asks the invited first, they come in by their own answer only.
func TestInviteConsent(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		w.Groups.Public.InviteConsent = true
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, ben, cid, dan := u[0], u[1], u[2], u[3]
		id := w.group(t, "Public", ann, ben)
		ann.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"InviteJoinOption":"FreeAccess"}`, id)).Want(t, 0)
		ben.Events()
		invite := fmt.Sprintf(`{"GroupId":%q,"MemberList":[{"Member_Account":"cid"},{"Member_Account":"dan"}]}`, id)
		ben.Call(t, "group_open_http_svc.add_group_member", invite).Want(t, 0).Has(t, `{"Member_Account":"cid","Result":3}`)
		answer := func(by *apptest.User, verdict string) apptest.Answer {
			auth := "forged"
			if e := eventOf(by.Events(), `"ReportType":12`, `"Operator_Account":"ben"`); e != "" {
				auth = between(t, e, `"Authentication":"`, `"`)
			}
			return by.Call(t, "group_open_http_svc.handle_invite_join_group", fmt.Sprintf(`{"GroupId":%q,"Inviter_Account":"ben","HandleMsg":%q,"ApprovalMsg":"so be it","Authentication":%q}`, id, verdict, auth))
		}
		ann.Call(t, "group_open_http_svc.get_pendency", `{}`).Want(t, 0).Has(t, `"PendencyList":[]`)
		answer(ann, "Agree").Want(t, 10024)
		answer(cid, "Agree").Want(t, 0)
		wantEvent(t, cid, cid.Events(), `"ReportType":2`)
		events := ben.Events()
		wantEvent(t, ben, events, `"ReportType":13`, `"RemarkInfo":"so be it"`)
		wantEvent(t, ben, events, `"OpType":1`, `"List_Account":["cid"]`, `"GroupJoinType":2`)
		answer(dan, "Reject").Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"ReportType":14`)
		answer(dan, "Agree").Want(t, 10024)
		ann.Call(t, "group_open_http_svc.add_group_member", invite).Want(t, 0).Has(t, `{"Member_Account":"cid","Result":2}`, `{"Member_Account":"dan","Result":1}`)
	})
}

// Notices end with the messages' retention.
func TestSweep(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		w.group(t, "Public", u[0], u[1], u[2], u[3])
		w.Advance(time.Hour)
		w.group(t, "Public", u[0], u[1])
		if err := w.groups.Sweep(t.Context(), w.Now().Unix(), 2); err != nil {
			t.Fatal(err)
		}
		var left int
		if err := w.DB.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM group_notices`).Scan(&left); err != nil || left != 1 {
			t.Errorf("%d notices left, %v", left, err)
		}
	})
}

func TestLeaving(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, ben, cid, dan := u[0], u[1], u[2], u[3]
		id := w.group(t, "Public", ann, ben, cid, dan)
		role := fmt.Sprintf(`{"GroupId":%q,"Member_Account":"ben","Role":"Admin"}`, id)
		cid.Call(t, "group_open_http_svc.modify_group_member_info", role).Want(t, 10007)
		ann.Call(t, "group_open_http_svc.modify_group_member_info", role).Want(t, 0)
		kick := func(by *apptest.User, who string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.delete_group_member", fmt.Sprintf(`{"GroupId":%q,"MemberToDel_Account":[%q],"Reason":"spam"}`, id, who))
		}
		kick(cid, "dan").Want(t, 10007)
		kick(ben, "ann").Want(t, 10007)
		kick(ben, "ben").Want(t, 10007)
		kick(ben, "stranger").Want(t, 0)
		ann.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10009)
		for _, m := range u {
			m.Events()
		}
		kick(ben, "dan").Want(t, 0)
		gone := dan.Events()
		wantEvent(t, dan, gone, `"ReportType":4`)
		wantNoEvent(t, dan, gone, `"OpType":3`)
		wantEvent(t, ann, ann.Events(), `"OpType":3`, `"List_Account":["dan"]`, `"MemberNum":3`, `"MemberExtraInfo":{"Reason":"spam"}`, `"MsgMemberInfo":[{"User_Account":"dan"`)
		if _, err := w.dir.Member(t.Context(), gid(t, w, id), dan.UID); command.CodeOf(err) != 10007 {
			t.Errorf("the kicked: %v", err)
		}
		dan.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10007)
		cid.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		gone = cid.Events()
		wantEvent(t, cid, gone, `"ReportType":8`)
		wantNoEvent(t, cid, gone, `"OpType":2`)
		wantEvent(t, ben, ben.Events(), `"OpType":2`, `"MemberNum":2`)

		transfer := func(by *apptest.User, to string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.change_group_owner", fmt.Sprintf(`{"GroupId":%q,"NewOwner_Account":%q}`, id, to))
		}
		transfer(ben, "ben").Want(t, 10007)
		transfer(ann, "cid").Want(t, 10007)
		transfer(ann, "nobody").Want(t, 10019)
		transfer(ann, "ann").Want(t, 10004)
		transfer(ann, "ben").Want(t, 0)
		wantEvent(t, ann, ann.Events(), `"OpType":6`, `"Owner_Account":"ben"`)
		ben.Call(t, "group_open_http_svc.get_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Limit":10}`, id)).Want(t, 0).
			Has(t, `"MemberList":[{"Member_Account":"ben","Role":"Owner"`, `{"Member_Account":"ann","Role":"Member"`)
		ann.Call(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10007)
		ben.Call(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		wantEvent(t, ann, ann.Events(), `"ReportType":5`)
		missed, err := w.dir.Missed(t.Context(), ann.UID, 0)
		if err != nil || eventOf(strs(missed), `"ReportType":5`) == "" {
			t.Errorf("missed %s, %v", missed, err)
		}
		ben.Call(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 10010)
		ben.Call(t, "group_open_http_svc.get_joined_group_list", `{}`).Want(t, 0).Has(t, `"TotalCount":0`)

		// A work group outlives its owner's leaving; only an administrator ends it.
		work := w.group(t, "Private", ann, ben)
		ann.Call(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, work)).Want(t, 10007)
		ann.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, work)).Want(t, 0)
		ben.Call(t, "group_open_http_svc.get_group_self_member_info", fmt.Sprintf(`{"GroupIdList":[%q],"ResponseFilter":{"GroupBaseInfoFilter":["Owner_Account"]}}`, work)).Has(t, `"Owner_Account":""`)
		w.Post(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, work)).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"ReportType":5`)
	})
}

func gid(t *testing.T, w *world, id string) int64 {
	t.Helper()
	g, err := w.dir.Group(t.Context(), w.SDKAppID, id)
	if err != nil {
		t.Fatal(err)
	}
	return g.GID
}

func TestProfileAndMute(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		ann, ben, cid := u[0], u[1], u[2]
		id := w.group(t, "Meeting", ann, ben)
		modify := func(by *apptest.User, fields string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,%s}`, id, fields))
		}
		modify(ben, `"Name":"mine"`).Want(t, 10007)
		modify(cid, `"Name":"mine"`).Want(t, 10007)
		modify(ann, `"Name":"New","Introduction":"i","Notification":"n","FaceUrl":"http://x/y","AppDefinedData":[{"Key":"k","Value":"v"}],"ShutUpAllMember":"On"`).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"OpType":6`, `"GroupName":"New"`, `"GroupIntroduction":"i"`, `"GroupNotification":"n"`, `"GroupFaceUrl":"http://x/y"`, `"ShutupAll":1`, `"MsgAppDefinedData":[{"Key":"k","Value":"v"}]`)
		if n := len(w.log.tips); n != 1 {
			t.Errorf("%d tips", n)
		}
		modify(ann, `"Name":"New"`).Want(t, 0) // nothing changed: no tip
		if n := len(w.log.tips); n != 1 {
			t.Errorf("%d tips", n)
		}
		modify(ann, `"Name":""`).Want(t, 10004)
		modify(ann, `"ApplyJoinOption":"NeedPermission"`).Want(t, 10007) // fixed for meetings
		modify(ann, `"ShutUpAllMember":"yes"`).Want(t, 10004)
		ann.Call(t, "group_open_http_svc.get_joined_group_list", `{}`).Want(t, 0).Has(t, `"Name":"New"`, `"MuteAllMember":"On"`, `"ShutUpAllMember":"On"`, `"InfoSeq":3`)

		member := func(by *apptest.User, who, fields string) apptest.Answer {
			return by.Call(t, "group_open_http_svc.modify_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_Account":%q,%s}`, id, who, fields))
		}
		member(ben, "ann", `"ShutUpTime":60`).Want(t, 10007)
		member(ann, "ann", `"ShutUpTime":60`).Want(t, 10007)
		member(ann, "cid", `"ShutUpTime":60`).Want(t, 10007)
		member(ann, "nobody", `"ShutUpTime":60`).Want(t, 10019)
		member(ann, "ben", `"ShutUpTime":-1`).Want(t, 10004)
		member(ann, "ben", `"ShutUpTime":60`).Want(t, 0)
		wantEvent(t, ben, ben.Events(), `"OpType":7`, `"MsgMemberInfo":[{"User_Account":"ben","ShutupTime":60}]`)
		m, err := w.dir.Member(t.Context(), gid(t, w, id), ben.UID)
		if err != nil || m.MutedUntil != w.Now().Unix()+60 {
			t.Errorf("%+v, %v", m, err)
		}
		// A mute outlives leaving.
		ben.Call(t, "group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		w.Advance(10 * time.Second)
		ben.Call(t, "group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		if m, err = w.dir.Member(t.Context(), gid(t, w, id), ben.UID); err != nil || m.MutedUntil != w.Now().Unix()+50 {
			t.Errorf("%+v, %v", m, err)
		}
		w.Post(t, "group_open_http_svc.get_group_muted_account", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).Has(t, `"MutedAccountList":[{"Member_Account":"ben"`)
		w.Post(t, "group_open_http_svc.forbid_send_msg", fmt.Sprintf(`{"GroupId":%q,"Members_Account":["ben","cid"],"MuteTime":4294967295}`, id)).Want(t, 0)
		if m, err = w.dir.Member(t.Context(), gid(t, w, id), ben.UID); err != nil || m.MutedUntil != 4294967295 {
			t.Errorf("%+v, %v", m, err)
		}
		member(ann, "ben", `"ShutUpTime":0`).Want(t, 0)
		member(ben, "ben", `"NameCard":"Ben (QA)"`).Want(t, 0)
		member(ben, "ann", `"NameCard":"boss"`).Want(t, 10007)
		member(ben, "ben", `"NameCard":"`+strings.Repeat("x", 51)+`"`).Want(t, 10004)
		member(ben, "ben", `"AppMemberDefinedData":[{"Key":"k","Value":"v"}]`).Want(t, 0)
		ben.Events()
		member(ben, "ben", `"MsgFlag":"Discard"`).Want(t, 0)
		member(ben, "ann", `"MsgFlag":"Discard"`).Want(t, 10007)
		member(ben, "ben", `"MsgFlag":"Loudly"`).Want(t, 10004)
		many := strings.Repeat(`"ben",`, 50) + `"cid"`
		ann.Call(t, "group_open_http_svc.get_specified_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_List_Account":[%s]}`, id, many)).Want(t, 10005)
		w.Post(t, "group_open_http_svc.get_specified_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_List_Account":[%s]}`, id, many)).Want(t, 0)
		ann.Call(t, "group_open_http_svc.get_specified_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Member_List_Account":["ben","cid","nobody"]}`, id)).Want(t, 0).
			Has(t, `"NameCard":"Ben (QA)"`, `{"Key":"k","Value":"v"}`, `"MsgFlag":"Discard"`, `"ShutUpUntil":0`).Lacks(t, `"cid"`)
		if e := ben.Events(); eventOf(e, `"ReportType":20`) != "" {
			t.Error("the changing device was told of its own receive option")
		}
	})
}

func TestMembersAndLists(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		var all []*apptest.User
		for i := range 25 {
			all = append(all, w.User(t, fmt.Sprintf("user%02d", i)))
		}
		for _, kind := range []string{"Public", "Community"} {
			id := w.group(t, kind, all[3], all...)
			all[3].Call(t, svc(kind, "modify_group_member_info"), fmt.Sprintf(`{"GroupId":%q,"Member_Account":"user07","Role":"Admin"}`, id)).Want(t, 0)
			var seen []string
			next, offset := `"0"`, 0
			for range 5 {
				a := all[1].Call(t, svc(kind, "get_group_member_info"), fmt.Sprintf(`{"GroupId":%q,"Limit":10,"Offset":%d,"Next":%s,"MemberInfoFilter":["Role"]}`, id, offset, next)).Want(t, 0).Has(t, `"MemberNum":25`)
				for _, m := range a.Fields["MemberList"].([]any) {
					seen = append(seen, m.(map[string]any)["Member_Account"].(string))
				}
				offset += 10
				n, cursor := a.Fields["Next"]
				if cursor != (kind == "Community") {
					t.Fatalf("%s: Next is %v", kind, n)
				}
				if cursor && n == "" || len(seen) >= 25 {
					break
				}
				if cursor {
					next = fmt.Sprintf("%q", n)
				}
			}
			if len(seen) != 25 || seen[0] != "user03" || seen[1] != "user07" {
				t.Errorf("%s: %v", kind, seen)
			}
			all[1].Call(t, svc(kind, "get_group_member_info"), fmt.Sprintf(`{"GroupId":%q,"Limit":10,"MemberRoleFilter":["Admin"]}`, id)).Want(t, 0).Has(t, `"user07"`).Lacks(t, `"user03"`)
			all[1].Call(t, svc(kind, "get_group_member_info"), fmt.Sprintf(`{"GroupId":%q,"MemberRoleFilter":["King"]}`, id)).Want(t, 10004)
		}
		topics := w.group(t, "Topics", all[0])
		for name, want := range map[string]string{
			"group_open_http_svc.get_joined_group_list":         `"Type":"Public"`,
			"million_group_open_http_svc.get_joined_group_list": `"SupportTopic":0`,
		} {
			all[0].Call(t, name, `{"Limit":200,"Offset":0,"SupportTopic":0}`).Want(t, 0).Has(t, `"TotalCount":1`, want)
			all[0].Call(t, name, `{"Limit":200,"Offset":200,"SupportTopic":0}`).Want(t, 0).Has(t, `"TotalCount":1`, `"GroupIdList":[]`)
		}
		all[0].Call(t, "million_group_open_http_svc.get_joined_group_list", `{"SupportTopic":1}`).Want(t, 0).Has(t, `"TotalCount":1`, topics)
		w.Post(t, "group_open_http_svc.get_joined_group_list", `{"Member_Account":"user00"}`).Want(t, 0).Has(t, `"TotalCount":3`).Lacks(t, "SelfInfo")
		w.Post(t, "group_open_http_svc.get_appid_group_list", `{"Limit":2}`).Want(t, 0).Has(t, `"TotalCount":3`).Lacks(t, `"Next":0`)
		w.Post(t, "group_open_http_svc.get_appid_group_list", `{"GroupType":"Community"}`).Want(t, 0).Has(t, `"TotalCount":2`, `"Next":0`)
		w.Post(t, "group_open_http_svc.get_role_in_group", fmt.Sprintf(`{"GroupId":%q,"User_Account":["user00","user01","nobody"]}`, topics)).Want(t, 0).
			Has(t, `{"Member_Account":"user00","Role":"Owner"},{"Member_Account":"user01","Role":"NotMember"},{"Member_Account":"nobody","Role":"NotMember"}`)
	})
}

func TestConversations(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		quiet := w.group(t, "Public", u[0], u[1])
		loud := w.group(t, "Public", u[0], u[1])
		w.log.say(gid(t, w, loud))
		call := &command.Call{App: w.App.App, Kind: command.Users, UserID: "ben", UID: u[1].UID}
		items, err := w.groups.Conversations(t.Context(), call, conversation.Window{UID: u[1].UID, Until: 1 << 40, Limit: 10})
		if err != nil || len(items) != 1 || items[0].ID != loud {
			t.Fatalf("%+v, %v; a group without messages (%s) is no conversation", items, err, quiet)
		}
		for _, want := range []string{`"Type":2`, `"UnreadMsgCount":1`, `"GroupNextMsgSeq":2`, `"MsgGroupReadedSeq":0`} {
			if !strings.Contains(string(items[0].Session), want) {
				t.Errorf("no %s in %s", want, items[0].Session)
			}
		}
	})
}

// Ensure that who asks for an ID in the moment when its group is destroyed is
// told that it is taken, or gets it.
func TestCreateAgainstDestroy(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		people := w.users(t, "ann", "ben", "cid", "dan")
		var done sync.WaitGroup
		for _, who := range people {
			done.Go(func() {
				for range 100 {
					switch made := who.Call(t, "group_open_http_svc.create_group", `{"Type":"Public","Name":"x","GroupId":"wanted"}`); made.Code {
					case 0:
						if gone := who.Call(t, "group_open_http_svc.destroy_group", `{"GroupId":"wanted"}`); gone.Code != 0 {
							t.Errorf("destroy: %s", gone.Text)
						}
					case 10021, 10025:
					default:
						t.Errorf("create: %s", made.Text)
					}
				}
			})
		}
		done.Wait()
	})
}
