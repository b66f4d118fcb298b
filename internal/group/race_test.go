package group_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"imserver/internal/apptest"
	"imserver/internal/group"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// model is what a public group must be like after a series of commands.
type model struct {
	gone    bool
	roles   map[string]group.Role
	asking  map[string]bool
	counter int64
	attrSeq int64
}

// may follows protocol 03 §2.1, written down once more, for a public group.
func (m *model) owner() string {
	for id, r := range m.roles {
		if r == group.Owner {
			return id
		}
	}
	return ""
}

// A public group behaves like the model whatever is asked of it, in order.
func TestAgainstModel(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		names := []string{"ann", "ben", "cid", "dan"}
		users := map[string]*apptest.User{}
		for _, n := range names {
			users[n] = w.User(t, n)
		}
		rapid.Check(t, func(r *rapid.T) {
			id := w.group(t, "Public", users["ann"])
			auth := map[string]string{}
			m := &model{roles: map[string]group.Role{"ann": group.Owner}, asking: map[string]bool{}}
			for range rapid.IntRange(1, 25).Draw(r, "steps") {
				m.step(t, r, w, users, names, id, auth)
			}
			m.compare(t, r, w, users, id)
		})
	})
}

func (m *model) step(t *testing.T, r *rapid.T, w *world, users map[string]*apptest.User, names []string, id string, auth map[string]string) {
	by := rapid.SampledFrom(names).Draw(r, "by")
	on := rapid.SampledFrom(names).Draw(r, "on")
	role, target := m.roles[by], m.roles[on]
	call := func(command, fields string, want int) {
		a := users[by].Call(t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q%s}`, id, fields))
		if m.gone {
			want = 10010
		}
		if a.Code != want {
			r.Fatalf("%s by %s(%d) on %s(%d): %d, want %d: %s; %+v", command, by, role, on, target, a.Code, want, a.Text, m)
		}
	}
	what := rapid.SampledFrom([]string{"apply", "agree", "reject", "add", "kick", "quit", "admin", "member", "owner", "count", "attr", "destroy"}).Draw(r, "what")
	if what == "destroy" && rapid.IntRange(0, 3).Draw(r, "really") > 0 {
		return
	}
	staff := role >= group.Admin
	refusal := func(allowed bool) int {
		if allowed {
			return 0
		}
		return 10007
	}
	switch what {
	case "apply":
		want := 0
		if role != group.Nobody {
			want = 10013
		}
		call("apply_join_group", "", want)
		if !m.gone && want == 0 {
			m.asking[by] = true
			auth[by] = between(t, eventOf(users[m.owner()].Events(), `"ReportType":1,`, `"Operator_Account":"`+by+`"`), `"Authentication":"`, `"`)
		}
	case "agree", "reject":
		want, verdict := refusal(staff), map[string]string{"agree": "Agree", "reject": "Reject"}[what]
		if want == 0 && !m.asking[on] {
			want = 10024
		}
		call("handle_apply_join_group", fmt.Sprintf(`,"Applicant_Account":%q,"HandleMsg":%q,"Authentication":%q`, on, verdict, auth[on]), want)
		if !m.gone && want == 0 {
			delete(m.asking, on)
			if what == "agree" {
				m.roles[on] = group.Ordinary
			}
		}
	case "add":
		want := refusal(staff)
		call("add_group_member", fmt.Sprintf(`,"MemberList":[{"Member_Account":%q}]`, on), want)
		if !m.gone && want == 0 && target == group.Nobody {
			m.roles[on] = group.Ordinary
			delete(m.asking, on)
		}
	case "kick":
		allowed := staff && (target == group.Nobody || by != on && (role == group.Owner || target == group.Ordinary))
		call("delete_group_member", fmt.Sprintf(`,"MemberToDel_Account":[%q]`, on), refusal(allowed))
		if allowed && !m.gone {
			delete(m.roles, on)
		}
	case "quit":
		want := refusal(role != group.Nobody)
		if role == group.Owner {
			want = 10009
		}
		call("quit_group", "", want)
		if want == 0 && !m.gone {
			delete(m.roles, by)
		}
	case "admin", "member":
		allowed := role == group.Owner && by != on && target != group.Nobody
		to, name := group.Admin, "Admin"
		if what == "member" {
			to, name = group.Ordinary, "Member"
		}
		call("modify_group_member_info", fmt.Sprintf(`,"Member_Account":%q,"Role":%q`, on, name), refusal(allowed))
		if allowed && !m.gone {
			m.roles[on] = to
		}
	case "owner":
		want := refusal(role == group.Owner && target != group.Nobody)
		if role == group.Owner && by == on {
			want = 10004
		}
		call("change_group_owner", fmt.Sprintf(`,"NewOwner_Account":%q`, on), want)
		if want == 0 && !m.gone {
			m.roles[by], m.roles[on] = group.Ordinary, group.Owner
		}
	case "count":
		call("update_group_counter", `,"Mode":"Increase","GroupCounter":[{"Key":"n","Value":3}]`, refusal(role != group.Nobody))
		if role != group.Nobody && !m.gone {
			m.counter += 3
		}
	case "attr":
		call("set_group_attr", fmt.Sprintf(`,"GroupAttr":[{"key":"a","value":"v"}],"AttrMainSeq":%d,"AttrControl":["RaceConflict"]`, m.attrSeq), refusal(role != group.Nobody))
		if role != group.Nobody && !m.gone {
			m.attrSeq++
		}
	case "destroy":
		allowed := role == group.Owner
		call("destroy_group", "", refusal(allowed))
		m.gone = m.gone || allowed
	}
}

// compare reads the group and every member as the commands show them.
func (m *model) compare(t *testing.T, r *rapid.T, w *world, users map[string]*apptest.User, id string) {
	if m.gone {
		if a := w.Post(t, "group_open_http_svc.get_role_in_group", fmt.Sprintf(`{"GroupId":%q,"User_Account":["ann"]}`, id)); a.Code != 10010 {
			r.Fatalf("a destroyed group: %s", a.Text)
		}
		return
	}
	a := w.Post(t, "group_open_http_svc.get_group_info", fmt.Sprintf(`{"GroupIdList":[%q]}`, id)).Want(t, 0)
	info := a.Fields["GroupInfo"].([]any)[0].(map[string]any)
	if int(info["MemberNum"].(float64)) != len(m.roles) || info["Owner_Account"] != m.owner() || len(info["MemberList"].([]any)) != len(m.roles) {
		r.Fatalf("%s; want %+v", a.Text, m)
	}
	for _, x := range info["MemberList"].([]any) {
		member := x.(map[string]any)
		name := member["Member_Account"].(string)
		if member["Role"] != m.roles[name].String() {
			r.Fatalf("%s is %v, want %v", name, member["Role"], m.roles[name])
		}
		cached, err := w.dir.Member(t.Context(), gid(t, w, id), users[name].UID)
		if err != nil || cached.Role != m.roles[name] {
			r.Fatalf("cached %+v, %v; want %v", cached, err, m.roles[name])
		}
	}
	owner := users[m.owner()]
	if m.counter > 0 {
		owner.Call(t, "group_open_http_svc.get_group_counter", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).Has(t, fmt.Sprintf(`{"Key":"n","Value":%d}`, m.counter))
	}
	owner.Call(t, "group_open_http_svc.get_group_attr", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).Has(t, fmt.Sprintf(`"AttrMainSeq":%d`, m.attrSeq))
}

// at runs all at the same time and returns their codes.
func at(calls ...func() int) []int {
	codes := make([]int, len(calls))
	var wg sync.WaitGroup
	for i, c := range calls {
		wg.Add(1)
		go func() {
			defer wg.Done()
			codes[i] = c()
		}()
	}
	wg.Wait()
	return codes
}

// What happens at once comes out as if it had happened in some order: each
// pair of racing commands has one loser, or none, and the rows agree.
func TestRaces(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, ben, cid, dan := u[0], u[1], u[2], u[3]
		do := func(by *apptest.User, command, id, fields string) func() int {
			return func() int {
				return by.Call(t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q%s}`, id, fields)).Code
			}
		}
		oneOf := func(what string, got []int, allowed ...[]int) {
			t.Helper()
			for _, a := range allowed {
				if slices.Equal(got, a) {
					return
				}
			}
			t.Errorf("%s: %v, allowed %v", what, got, allowed)
		}
		for range 8 {
			// Two admins answer one application: one of them does.
			id := w.group(t, "Public", ann, ben)
			do(ann, "modify_group_member_info", id, `,"Member_Account":"ben","Role":"Admin"`)()
			ann.Events()
			do(cid, "apply_join_group", id, ``)()
			auth := between(t, eventOf(ann.Events(), `"ReportType":1,`), `"Authentication":"`, `"`)
			yes := fmt.Sprintf(`,"Applicant_Account":"cid","HandleMsg":"Agree","Authentication":%q`, auth)
			no := fmt.Sprintf(`,"Applicant_Account":"cid","HandleMsg":"Reject","Authentication":%q`, auth)
			codes := at(do(ann, "handle_apply_join_group", id, yes), do(ben, "handle_apply_join_group", id, no))
			oneOf("two answers", codes, []int{0, 10024}, []int{10024, 0})
			_, err := w.dir.Member(t.Context(), gid(t, w, id), cid.UID)
			if (err == nil) != (codes[0] == 0) {
				t.Errorf("answers %v, then member: %v", codes, err)
			}

			// Role change against mute: an admin cannot be muted by the other admin.
			do(ann, "add_group_member", id, `,"MemberList":[{"Member_Account":"dan"}]`)()
			codes = at(do(ann, "modify_group_member_info", id, `,"Member_Account":"dan","Role":"Admin"`), do(ben, "modify_group_member_info", id, `,"Member_Account":"dan","ShutUpTime":60`))
			oneOf("role and mute", codes, []int{0, 0}, []int{0, 10007})
			m, err := w.dir.Member(t.Context(), gid(t, w, id), dan.UID)
			if err != nil || m.Role != group.Admin || (m.MutedUntil > 0) != (codes[1] == 0) {
				t.Errorf("role and mute %v: %+v, %v", codes, m, err)
			}

			// Quitting against giving the group away.
			codes = at(do(ann, "change_group_owner", id, `,"NewOwner_Account":"ben"`), do(ben, "quit_group", id, ``))
			oneOf("owner and quit", codes, []int{0, 10009}, []int{10007, 0})

			// Joining against dismissal: in, told and out, or never in.
			public := w.group(t, "Meeting", ann)
			codes = at(do(ann, "destroy_group", public, ``), do(cid, "apply_join_group", public, ``))
			oneOf("destroy and join", codes, []int{0, 0}, []int{0, 10010})
			var rows int
			if err := w.DB.Read.QueryRowContext(t.Context(), `SELECT count(*) FROM group_members m WHERE NOT EXISTS (SELECT 1 FROM groups g WHERE g.gid = m.gid)`).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("%d members of no group, %v", rows, err)
			}
		}
	})
}

// Counters and attributes of many writers add up.
func TestManyWriters(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid", "dan")
		id := w.group(t, "Public", u[0], u[1:]...)
		const each = 10
		var calls []func() int
		for _, by := range u {
			calls = append(calls, func() int {
				won := 0
				for i := range each {
					by.Call(t, "group_open_http_svc.update_group_counter", fmt.Sprintf(`{"GroupId":%q,"Mode":"Increase","GroupCounter":[{"Key":"n","Value":1}]}`, id)).Want(t, 0)
					a := by.Call(t, "group_open_http_svc.modify_group_attr", fmt.Sprintf(`{"GroupId":%q,"GroupAttr":[{"key":"k","value":"v","seq":%d}],"AttrControl":["RaceConflict"]}`, id, i))
					if a.Code == 0 {
						won++
					} else if a.Code != 10056 {
						t.Errorf("attribute: %s", a.Text)
					}
				}
				return won
			})
		}
		won := 0
		for _, n := range at(calls...) {
			won += n
		}
		u[0].Call(t, "group_open_http_svc.get_group_counter", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).
			Has(t, fmt.Sprintf(`{"Key":"n","Value":%d}`, each*len(u)), fmt.Sprintf(`"GroupCounterSeq":%d`, each*len(u)))
		// Every write that was granted raised both sequences by exactly one.
		u[0].Call(t, "group_open_http_svc.get_group_attr", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0).
			Has(t, fmt.Sprintf(`{"AttrMainSeq":%d`, won)[1:], fmt.Sprintf(`"seq":%d`, won))
	})
}
