package profile_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/profile"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// watchers are who has an account in the friend list.
type watchers map[int64][]int64

func (w watchers) Friends(_ context.Context, uid int64) ([]int64, error) { return w[uid], nil }

// open runs fn on every engine with an app that has profiles.
func open(t *testing.T, fn func(t *testing.T, a *apptest.App, w watchers)) {
	t.Helper()
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		a := apptest.New(t, db)
		w := watchers{}
		p := profile.NewService(db, a.Accounts, a.Hub, func(uint32) *config.App { return a.App }, w, a.Log)
		p.Register(a.Table)
		a.Accounts.Register(a.Table, a.Sessions)
		a.Accounts.OnChange(p.Announce)
		fn(t, a, w)
	})
}

func set(from string, items ...string) string {
	return `{"From_Account":"` + from + `","ProfileItem":[` + strings.Join(items, ",") + `]}`
}

func tag(name, value string) string { return `{"Tag":"` + name + `","Value":` + value + `}` }

func quoted(n int) string { return `"` + strings.Repeat("x", n) + `"` }

const get = `{"From_Account":"alice","UserItem":[{"To_Account":"alice","StandardSequence":0,"CustomSequence":0}]}`

// What is set is kept, whole and with its type, read by others and pushed with
// all tags to every own device.
func TestSetAndGet(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, w watchers) {
		alice, bob, carl := a.User(t, "alice"), a.User(t, "bob"), a.User(t, "carl")
		w[alice.UID] = []int64{bob.UID, alice.UID}
		alice.Call(t, "profile.portrait_get_all", get).Want(t, 0).Has(t,
			`"UserProfileItem":[{"To_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":""},`)

		alice.Call(t, "profile.portrait_set", set("alice",
			tag("Tag_Profile_IM_Nick", `"Älice <b>"`), tag("Tag_Profile_IM_Image", `"http://a"`), tag("Tag_Profile_IM_BirthDay", "20000101"),
			tag("Tag_Profile_IM_Level", "4294967295"), tag("Tag_Profile_IM_Gender", `"Gender_Type_Female"`),
			tag("Tag_Profile_IM_AdminForbidType", `"AdminForbid_Type_None"`), // the SDK sends its profile back whole
			`{"tag":"Tag_Profile_Custom_Foo","value":"foo"}`)).Want(t, 0)     // lite's spelling
		events := alice.Events()
		if len(events) != 1 {
			t.Fatalf("%d events at the own device, want 1", len(events))
		}
		for _, part := range []string{`"Event":8,"ProfileDataMod":[{"PushType":1,"Profile_Account":"alice","ProfileList":[`,
			`"ValueNum":20000101,"ValueBytes":20000101}`, `{"Tag":"Tag_Profile_Custom_Foo","ValueBytes":"foo"}`} {
			if !strings.Contains(events[0], part) {
				t.Errorf("no %s in %s", part, events[0])
			}
		}
		if got := bob.Events(); len(got) != 1 || got[0] != events[0] {
			t.Errorf("a friend got %q", got)
		}
		if got := carl.Events(); len(got) != 0 {
			t.Errorf("a stranger got %q", got)
		}

		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_IM_Nick", `""`))).Want(t, 0)
		if got := alice.Events(); len(got) != 1 || !strings.Contains(got[0], "Tag_Profile_Custom_Foo") {
			t.Errorf("a change of one tag pushed %q, want all tags", got)
		}
		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_IM_Nick", `""`))).Want(t, 0)
		if got := alice.Events(); len(got) != 0 {
			t.Errorf("no change pushed %q", got)
		}
		bob.Call(t, "profile.portrait_get_all", `{"UserItem":[{"To_Account":"nobody"},{"To_Account":"alice"},{"To_Account":"a\u0000"}]}`).Want(t, 0).Has(t,
			`"UserProfileItem":[{"To_Account":"@TLS#NOT_FOUND","ProfileItem":[],"ResultCode":0,"ResultInfo":"",`,
			`{"To_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Nick","Value":""},{"Tag":"Tag_Profile_IM_Image","Value":"http://a"},`,
			`{"Tag":"Tag_Profile_IM_Level","Value":4294967295}`, `{"Tag":"Tag_Profile_IM_BirthDay","Value":20000101}`)
		if acc, err := a.Accounts.ByUID(t.Context(), alice.UID); err != nil || acc.Avatar != "http://a" {
			t.Errorf("the directory has %+v, %v", acc, err)
		}
	})
}

// Each row is refused, and what came with it is not stored.
func TestRefusals(t *testing.T) {
	rows := []struct {
		code  int
		items []string
	}{
		{40001, nil},
		{40009, []string{tag("Tag_Profile_IM_Nonsense", `"x"`)}},
		{40009, []string{tag("", `"x"`)}},
		{40009, []string{tag("Tag_Profile_Custom_", `"x"`)}},
		{40009, []string{tag("Tag_Profile_Custom_Abcdefghi", `"x"`)}},
		{40009, []string{tag("Tag_Profile_Custom_a b", `"x"`)}},
		{40601, []string{tag("Tag_Profile_IM_Nick", quoted(501))}},
		{40601, []string{tag("Tag_Profile_IM_SelfSignature", quoted(501))}},
		{40601, []string{tag("Tag_Profile_Custom_Foo", quoted(501))}},
		{40605, []string{tag("Tag_Profile_IM_Location", quoted(17))}},
		{40605, []string{tag("Tag_Profile_IM_Gender", `"Gender_Type_Robot"`)}},
		{40605, []string{tag("Tag_Profile_IM_AllowType", `""`)}},
		{40605, []string{tag("Tag_Profile_IM_Level", `-1`)}},
		{40605, []string{tag("Tag_Profile_IM_Level", `1.5`)}},
		{40605, []string{tag("Tag_Profile_IM_Level", `4294967296`)}},
		{40605, []string{tag("Tag_Profile_IM_Nick", `"a\u0000b"`)}},
		{40610, []string{tag("Tag_Profile_IM_Level", `"7"`)}},
		{40610, []string{tag("Tag_Profile_IM_Nick", `7`)}},
		{40610, []string{tag("Tag_Profile_IM_Nick", `null`)}},
		{40610, []string{`{"Tag":"Tag_Profile_IM_Nick"}`}},
		{40610, []string{tag("Tag_Profile_IM_Nick", `["x"]`)}},
		{40610, []string{tag("Tag_Profile_Custom_Foo", `7`)}},
		{40008, []string{tag("Tag_Profile_IM_AdminForbidType", `"AdminForbid_Type_SendOut"`)}},
	}
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		alice := a.User(t, "alice")
		for _, r := range rows {
			items := r.items
			if items != nil {
				items = append([]string{tag("Tag_Profile_IM_Location", `"changed"`)}, items...)
			}
			t.Log(items)
			alice.Call(t, "profile.portrait_set", set("alice", items...)).Want(t, r.code)
		}
		alice.Call(t, "profile.portrait_set", set("bob", tag("Tag_Profile_IM_Nick", `"x"`))).Want(t, 40004)
		alice.Call(t, "profile.portrait_get_all", `{"From_Account":"bob","UserItem":[{"To_Account":"alice"}]}`).Want(t, 40004)
		alice.Call(t, "profile.portrait_get_all", `{"UserItem":null}`).Want(t, 40001)
		alice.Call(t, "profile.portrait_get_all", get).Want(t, 0).Lacks(t, "changed")
		if got := alice.Events(); len(got) != 0 {
			t.Errorf("refused changes pushed %q", got)
		}
	})
}

// Custom fields are bounded in number, and to the declared ones when the app
// declares any.
func TestCustomFields(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		alice := a.User(t, "alice")
		for i := range 21 {
			code := 0
			if i == 20 {
				code = 40001
			}
			alice.Call(t, "profile.portrait_set", set("alice", tag(fmt.Sprintf("Tag_Profile_Custom_F%d", i), `"x"`))).Want(t, code)
		}
		a.CustomFields.User = []string{"F1", "Mine"}
		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_Custom_F1", `"y"`))).Want(t, 0)
		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_Custom_F2", `"y"`))).Want(t, 40009)
	})
}

// Administrators read and write anybody's profile; unset tags are left out but
// for nick and avatar.
func TestAdministrators(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		alice := a.User(t, "alice")
		a.Post(t, "profile.portrait_set", set("alice", tag("Tag_Profile_IM_AdminForbidType", `"AdminForbid_Type_SendOut"`),
			tag("Tag_Profile_Custom_Num", "5"), tag("Tag_Profile_IM_Nick", `"A"`))).Want(t, 0).Has(t, `"ErrorDisplay":""`)
		if got := alice.Events(); len(got) != 1 || !strings.Contains(got[0], `{"Tag":"Tag_Profile_IM_Nick","ValueBytes":"A"}`) {
			t.Errorf("pushed %q", got)
		}
		a.Post(t, "profile.portrait_get", `{"To_Account":["nobody","alice"],"TagList":["Tag_Profile_IM_Image","Tag_Profile_IM_Nick","Tag_Profile_IM_Gender","Tag_Profile_Custom_Num"]}`).
			Want(t, 0).Has(t, `"UserProfileItem":[{"To_Account":"nobody","ProfileItem":[],"ResultCode":40003,`, `"Fail_Account":["nobody"]`, `"ErrorDisplay":""`,
			`{"To_Account":"alice","ProfileItem":[{"Tag":"Tag_Profile_IM_Image","Value":""},{"Tag":"Tag_Profile_IM_Nick","Value":"A"},{"Tag":"Tag_Profile_Custom_Num","Value":5}],"ResultCode":0,"ResultInfo":""}`)
		a.Post(t, "profile.portrait_get", `{"To_Account":["alice"],"TagList":["Tag_Profile_IM_Nick"]}`).Want(t, 0).Lacks(t, "Fail_Account")
		a.Post(t, "profile.portrait_get", `{"To_Account":["alice"],"TagList":["Tag_SNS_IM_Remark"]}`).Want(t, 40009)
		a.Post(t, "profile.portrait_get", `{"To_Account":["alice"]}`).Want(t, 40001)
		a.Post(t, "profile.portrait_get", `{"To_Account":null,"TagList":["Tag_Profile_IM_Nick"]}`).Want(t, 40001)
		a.Post(t, "profile.portrait_set", set("nobody", tag("Tag_Profile_IM_Nick", `"A"`))).Want(t, 40003)
		a.Post(t, "profile.portrait_set", set("alice")).Want(t, 40001)
		a.Post(t, "profile.portrait_get_all", get).Want(t, 60009)

		// A user who sends the whole profile back is not refused, one who lifts the ban is.
		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_IM_AdminForbidType", `"AdminForbid_Type_SendOut"`))).Want(t, 0)
		alice.Call(t, "profile.portrait_set", set("alice", tag("Tag_Profile_IM_AdminForbidType", `"AdminForbid_Type_None"`))).Want(t, 40008)
	})
}

// An import that changes a profile is pushed like any other change.
func TestImportIsPushed(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		alice := a.User(t, "alice")
		a.Post(t, "im_open_login_svc.account_import", `{"UserID":"alice","Nick":"Imp"}`).Want(t, 0)
		if got := alice.Events(); len(got) != 1 || !strings.Contains(got[0], `"ValueBytes":"Imp"`) {
			t.Errorf("pushed %q", got)
		}
	})
}

// A thousand profiles are one request, and an app's default of who may
// befriend is everybody's until changed.
func TestMany(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		a.AllowType = "AllowType_Type_NeedConfirm"
		alice := a.User(t, "alice")
		var list []string
		for i := range 1000 {
			list = append(list, fmt.Sprintf(`{"To_Account":"u%d"}`, i))
		}
		list[999] = `{"To_Account":"alice"}`
		ans := alice.Call(t, "profile.portrait_get_all", `{"UserItem":[`+strings.Join(list, ",")+`]}`).Want(t, 0).
			Has(t, `{"Tag":"Tag_Profile_IM_AllowType","Value":"AllowType_Type_NeedConfirm"}`)
		if n := strings.Count(ans.Text, "@TLS#NOT_FOUND"); n != 999 {
			t.Errorf("%d not found, want 999", n)
		}
		alice.Call(t, "profile.portrait_get_all", `{"UserItem":[`+strings.Join(append(list, list[0]), ",")+`]}`).Want(t, 40001)
	})
}

// A device that has logged in is pushed the own profile, and no other device.
func TestGreet(t *testing.T) {
	open(t, func(t *testing.T, a *apptest.App, _ watchers) {
		p := profile.NewService(a.DB, a.Accounts, a.Hub, func(uint32) *config.App { return a.App }, nil, a.Log)
		alice := a.User(t, "alice")
		greet := func(inst uint32) {
			p.Greet(t.Context(), &command.Call{App: a.App}, &session.Session{UID: alice.UID, Inst: inst, UserID: "alice"})
		}
		greet(2)
		if got := alice.Events(); len(got) != 0 {
			t.Errorf("another device got %q", got)
		}
		greet(1)
		if got := alice.Events(); len(got) != 1 || !strings.Contains(got[0], `"Profile_Account":"alice"`) {
			t.Errorf("the device got %q", got)
		}
	})
}
