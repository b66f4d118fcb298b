package group_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"imserver/internal/annotation"
	"imserver/internal/apptest"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/store/storetest"
)

// raceNode is a node with groups and their logs; each user has a device there.
type raceNode struct {
	*apptest.App
	dir   *group.Directory
	users [4]*apptest.User
}

func newRaceNode(t *testing.T, a *apptest.App, alone bool) *raceNode {
	t.Helper()
	n := &raceNode{App: a, dir: group.NewDirectory(a.DB, a.Hub)}
	a.Groups.AttributeRate = 0
	log, err := grouplog.NewService(t.Context(), grouplog.Options{DB: a.DB, Accounts: a.Accounts, Groups: n.dir, Hub: a.Hub,
		Annotations: annotation.New(a.DB, a.Now), Now: a.Now, Log: a.Log, Metrics: prometheus.NewRegistry(),
		Apps: func(uint32) *config.App { return a.App }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := log.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if !alone {
		fanout.NewOrder(a.Hub, log.Filler(), 200*time.Millisecond, a.Log)
	}
	group.NewService(group.Options{DB: a.DB, Accounts: a.Accounts, Groups: n.dir, Hub: a.Hub, Messages: log, Now: a.Now, Log: a.Log}).Register(a.Table)
	for i, name := range raceUsers {
		n.users[i] = a.User(t, name)
	}
	if err := a.Hub.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// raceFor bounds a test of races.
const raceFor = 6 * time.Second

// Ensure that whatever members and strangers do to one group at the same time,
// on one node or on two, comes out as if it had been done in some order: the
// answers, the rows, what every node knows, who hears of the group, and the
// tips, notices and events that every device gets.
func TestRaces(t *testing.T) {
	t.Run("one node, sqlite", func(t *testing.T) {
		race(t, newRaceNode(t, apptest.New(t, storetest.SQLite(t)), true))
	})
	t.Run("two nodes, postgres", func(t *testing.T) {
		apps := apptest.Cluster(t, storetest.Postgres(t), 2)
		race(t, newRaceNode(t, apps[0], false), newRaceNode(t, apps[1], false))
	})
}

func race(t *testing.T, nodes ...*raceNode) {
	end := time.Now().Add(raceFor)
	number := int64(0)
	rapid.Check(t, func(rt *rapid.T) {
		if time.Now().After(end) {
			return
		}
		r := newRun(t, rt, nodes, &number)
		for range rapid.IntRange(2, 6).Draw(rt, "moments") {
			r.moment()
		}
	})
}

// run is the life of one group.
type run struct {
	t      *testing.T
	rt     *rapid.T
	nodes  []*raceNode
	number *int64
	id     string
	gid    int64
	state  state
	auth   [4]string    // of the open applications
	pass   [4][4]string // of the open invitations
	seq    int64        // of the log, as far as it was compared
	// late is what a device that was in and out in one moment may still get.
	late map[*apptest.User][]string
}

func newRun(t *testing.T, rt *rapid.T, nodes []*raceNode, number *int64) *run {
	r := &run{t: t, rt: rt, nodes: nodes, number: number, late: map[*apptest.User][]string{}}
	r.state.kind = rapid.SampledFrom([]string{"Public", "ChatRoom", "Private"}).Draw(rt, "kind")
	r.state.roles = [4]group.Role{group.Owner, group.Ordinary, group.Nobody, group.Nobody}
	list := `{"Member_Account":"ben"}`
	if !r.state.work() {
		r.state.roles[1], list = group.Admin, `{"Member_Account":"ben","Role":"Admin"}`
	}
	if rapid.IntRange(0, 3).Draw(rt, "cid") > 0 {
		r.state.roles[2], list = group.Ordinary, list+`,{"Member_Account":"cid"}`
	}
	for _, n := range nodes {
		for _, u := range n.users {
			u.Events() // of a run that failed
		}
	}
	option := "DisableInvite"
	if r.state.work() {
		option = "FreeAccess"
	} else if r.state.approve = rapid.IntRange(0, 3).Draw(rt, "approve") > 0; r.state.approve {
		option = "NeedPermission"
	}
	a := nodes[0].users[0].Call(t, "group_open_http_svc.create_group",
		fmt.Sprintf(`{"Type":%q,"Name":"0","InviteJoinOption":%q,"MemberList":[%s]}`, r.state.kind, option, list)).Want(t, 0)
	r.id = a.Fields["GroupId"].(string)
	g, err := nodes[0].dir.Group(t.Context(), nodes[0].SDKAppID, r.id)
	if err != nil {
		t.Fatal(err)
	}
	r.gid = g.GID
	r.converge("the nodes after the creation")
	for _, n := range nodes {
		for i, u := range n.users {
			want := 1 // notice 7, or 6 at the creator's other devices
			if r.state.roles[i] == group.Nobody || i == 0 && n == nodes[0] {
				want = 0
			}
			r.wait("the notices of the creation", func() error { return countIs(u, want) })
			u.Events()
		}
	}
	return r
}

func countIs(u *apptest.User, want int) error {
	if got := len(u.Peek()); got != want {
		return fmt.Errorf("%s has %d events, want %d", u.UserID, got, want)
	}
	return nil
}

// themes are what has to be tried against each other; "" is anything.
var themes = [][]string{
	{"apply", "destroy"}, {"apply", "agree", "agree"}, {"agree", "reject"}, {"admin", "mute"}, {"member", "mute", "unmute"},
	{"owner", "quit"}, {"quit", "kick"}, {"owner", "kick"}, {"kick", "kick"}, {"add", "kick"}, {"add", "add", "apply"}, {"apply", "kick"},
	{"count", "count", "count", "kick"}, {"apply", "agree", "reject"}, {"owner", "kick", "quit"}, {"owner", "admin"}, {"set", "change", "clear"}, {"change", "change", "drop"}, {"rename", "rename"}, {"add", "destroy"},
	{"invite", "allow", "allow"}, {"allow", "deny"}, {"invite", "apply"}, {"allow", "agree"}, {"invite", "kick"}, {"allow", "destroy"},
	{"add"}, {"admin"}, {"", "", ""},
}

var everything = []string{"apply", "agree", "reject", "add", "invite", "allow", "deny", "kick", "quit", "admin", "member", "mute", "unmute", "owner", "rename", "count", "set", "change", "drop", "clear"}

// moment has something happen that is worth a race.
func (r *run) moment() {
	theme := rapid.SampledFrom(themes).Draw(r.rt, "theme")
	on := r.target(theme[0])
	if slices.Contains(theme, "agree") && r.state.asking[on] == none {
		r.together(r.draw("apply", on)) // something to answer
	}
	if slices.Contains(theme, "allow") && !slices.ContainsFunc(r.state.invited[:], func(by [4]application) bool { return by[on] != none }) {
		r.together(r.draw("invite", on))
	}
	deeds := make([]deed, len(theme))
	for i, what := range theme {
		deeds[i] = r.draw(what, on)
	}
	r.together(deeds...)
}

// together does some deeds at once and compares what has become of the group.
func (r *run) together(deeds ...deed) {
	answers := make([]string, len(deeds))
	var wg sync.WaitGroup
	for i, d := range deeds {
		wg.Go(func() { answers[i] = r.call(d) })
	}
	wg.Wait()
	seen := r.observe()
	said := r.said()
	var fit []history
	all := histories(r.state, deeds, answers)
	for _, h := range all {
		if h.after == seen && r.same(h.tips, said) {
			fit = append(fit, h)
		}
	}
	if len(fit) == 0 {
		r.rt.Fatalf("no order explains it:\nbefore  %+v\ndeeds   %+v\nanswers %q\nafter   %+v\ntips    %q\norders with these answers: %+v", r.state, deeds, answers, seen, said, all)
	}
	stayed := stayed(r.state, seen, fit)
	r.state = seen
	r.state.learn()
	r.converge(fmt.Sprintf("after %+v answered %q", deeds, answers))
	r.told(deeds, fit, stayed)
}

// target draws whom it is about: mostly somebody with whom it can be done.
func (r *run) target(what string) int {
	var fit []int
	for i, role := range r.state.roles {
		switch what {
		case "apply", "agree", "reject", "add", "invite", "allow":
			if role == group.Nobody {
				fit = append(fit, i)
			}
		case "kick", "admin", "mute", "owner", "quit":
			if role == group.Ordinary {
				fit = append(fit, i)
			}
		case "member":
			if role == group.Admin {
				fit = append(fit, i)
			}
		}
	}
	if len(fit) > 0 && rapid.IntRange(0, 4).Draw(r.rt, "fit") > 0 {
		return rapid.SampledFrom(fit).Draw(r.rt, "on")
	}
	return rapid.IntRange(0, 3).Draw(r.rt, "on")
}

func (r *run) draw(what string, on int) deed {
	d := deed{what: what, by: rapid.IntRange(0, 3).Draw(r.rt, "by"), on: on, node: rapid.IntRange(0, len(r.nodes)-1).Draw(r.rt, "node"), auth: r.auth[on], main: r.state.main}
	if what == "" {
		d.what, d.on = rapid.SampledFrom(everything).Draw(r.rt, "what"), rapid.IntRange(0, 3).Draw(r.rt, "on too")
		d.auth = r.auth[d.on]
	}
	d.from = (d.on + rapid.IntRange(1, 3).Draw(r.rt, "from")) % 4
	for i, by := range r.state.invited { // mostly one that waits
		if by[d.on] != none {
			d.from = i
		}
	}
	d.pass = r.pass[d.from][d.on]
	switch d.what { // mostly by those who may
	case "apply", "quit":
		d.by = d.on
	case "invite":
		if i := slices.Index(r.state.roles[:], group.Ordinary); i >= 0 {
			d.by = i
		}
	default:
		staff := r.state.staff()
		if owner := slices.Index(r.state.roles[:], group.Owner); owner >= 0 { // twice: some things are the owner's alone
			staff = append(staff, owner)
		}
		if len(staff) > 0 && rapid.IntRange(0, 4).Draw(r.rt, "allowed") > 0 {
			d.by = rapid.SampledFrom(staff).Draw(r.rt, "staff")
		}
	}
	for i, a := range r.state.attrs {
		d.seqs[i] = a.seq
	}
	*r.number++
	d.number = *r.number
	return d
}

// command is the deed's command and the fields of its request.
func (d deed) command() (command, fields string) {
	on := raceUsers[d.on]
	const control = `,"AttrControl":["RaceConflict"]`
	switch d.what {
	case "apply":
		command = "apply_join_group"
	case "agree":
		command, fields = "handle_apply_join_group", fmt.Sprintf(`,"Applicant_Account":%q,"HandleMsg":"Agree","Authentication":%q`, on, d.auth)
	case "reject":
		command, fields = "handle_apply_join_group", fmt.Sprintf(`,"Applicant_Account":%q,"HandleMsg":"Reject","Authentication":%q`, on, d.auth)
	case "allow":
		command, fields = "handle_invite_join_permission_group", fmt.Sprintf(`,"Applicant_Account":%q,"Invited_Account":%q,"HandleMsg":"Agree","Authentication":%q`, raceUsers[d.from], on, d.pass)
	case "deny":
		command, fields = "handle_invite_join_permission_group", fmt.Sprintf(`,"Applicant_Account":%q,"Invited_Account":%q,"HandleMsg":"Reject","Authentication":%q`, raceUsers[d.from], on, d.pass)
	case "add", "invite":
		command, fields = "add_group_member", fmt.Sprintf(`,"MemberList":[{"Member_Account":%q}]`, on)
	case "kick":
		command, fields = "delete_group_member", fmt.Sprintf(`,"MemberToDel_Account":[%q]`, on)
	case "quit":
		command = "quit_group"
	case "admin":
		command, fields = "modify_group_member_info", fmt.Sprintf(`,"Member_Account":%q,"Role":"Admin"`, on)
	case "member":
		command, fields = "modify_group_member_info", fmt.Sprintf(`,"Member_Account":%q,"Role":"Member"`, on)
	case "mute":
		command, fields = "modify_group_member_info", fmt.Sprintf(`,"Member_Account":%q,"ShutUpTime":%d`, on, muteSeconds)
	case "unmute":
		command, fields = "modify_group_member_info", fmt.Sprintf(`,"Member_Account":%q,"ShutUpTime":0`, on)
	case "owner":
		command, fields = "change_group_owner", fmt.Sprintf(`,"NewOwner_Account":%q`, on)
	case "rename":
		command, fields = "modify_group_base_info", fmt.Sprintf(`,"Name":"%d"`, d.number)
	case "destroy":
		command = "destroy_group"
	case "count":
		command, fields = "update_group_counter", fmt.Sprintf(`,"Mode":"Increase","GroupCounter":[{"Key":"n","Value":%d}]`, d.number)
	case "set":
		command, fields = "set_group_attr", fmt.Sprintf(`,"GroupAttr":[{"key":"a","value":"%d"}],"AttrMainSeq":%d`, d.number, d.main)+control
	case "change":
		command, fields = "modify_group_attr", fmt.Sprintf(`,"GroupAttr":[{"key":"a","value":"%d","seq":%d},{"key":"b","value":"%d","seq":%d}]`, d.number, d.seqs[0], d.number, d.seqs[1])+control
	case "drop":
		command, fields = "delete_group_attr", fmt.Sprintf(`,"GroupAttr":[{"key":"a","seq":%d}]`, d.seqs[0])+control
	case "clear":
		command, fields = "clear_group_attr", fmt.Sprintf(`,"AttrMainSeq":%d`, d.main)+control
	}
	return command, fields
}

// call does the deed and returns the code and what the answer says.
func (r *run) call(d deed) string {
	command, fields := d.command()
	a := r.nodes[d.node].users[d.by].Call(r.t, "group_open_http_svc."+command, fmt.Sprintf(`{"GroupId":%q%s}`, r.id, fields))
	if a.Code != 0 {
		return fmt.Sprint(a.Code)
	}
	switch d.what {
	case "count":
		var ans struct {
			GroupCounter    []struct{ Value int64 }
			GroupCounterSeq int64
		}
		_ = json.Unmarshal([]byte(a.Text), &ans)
		return fmt.Sprintf("0 %d at %d", ans.GroupCounter[0].Value, ans.GroupCounterSeq)
	case "set", "change", "drop", "clear":
		return fmt.Sprintf("0 %v", a.Fields["AttrMainSeq"])
	}
	return "0"
}
