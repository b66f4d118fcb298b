package grouplog_test

import (
	"fmt"
	"strings"
	"testing"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/conversation"
	"imserver/internal/fanout"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that a command makes the same number of statements, none for each
// member or group, whatever the number of members and groups.
func TestStatements(t *testing.T) {
	if testing.Short() {
		t.Skip("fills 100,000 rows")
	}
	storetest.Counted(t, func(t *testing.T, db *store.DB, made *storetest.Statements) {
		w := newWorld(t, db, nil)
		u := w.users(t, "ann", "ben", "cid", "dan")
		ann, few, many, guest := u[0], u[1], u[2], u[3]
		small, large := w.group(t, "Public", ann, few, many), w.group(t, "Public", ann, few, many)
		town, city := w.group(t, "Topics", ann, few, many), w.group(t, "Topics", ann, few, many)
		topic := ann.Call(t, "million_group_open_http_svc.create_topic", fmt.Sprintf(`{"GroupId":%q,"TopicName":"T"}`, city)).Want(t, 0).Fields["TopicId"].(string)
		const members, citizens, groups = 9_990, 99_980, 1000
		numbers := func(n int) string {
			return fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n`, n)
		}
		for _, q := range []string{
			fmt.Sprintf(`INSERT INTO accounts (uid, app, user_id, created_at) SELECT i, %d, 'm' || i, 1 FROM (%s) x`, w.SDKAppID, numbers(citizens)),
			fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT %d, i, 200, 1000 + i / 7 FROM (%s) x`, w.gid(t, city), numbers(citizens)),
			fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT %d, i, 200, 1000 + i / 7 FROM (%s) x`, w.gid(t, large), numbers(members)),
			fmt.Sprintf(`UPDATE groups SET max_members = 0, member_num = member_num + %d WHERE gid = %d`, citizens, w.gid(t, city)),
			fmt.Sprintf(`UPDATE groups SET max_members = 0, member_num = member_num + %d WHERE gid = %d`, members, w.gid(t, large)),
			fmt.Sprintf(`INSERT INTO groups (gid, app, group_id, kind, name, owner, info_time, created_at) SELECT 1000000 + i, %d, 'g' || i, 2, 'g', %d, 1, 1 FROM (%s) x`, w.SDKAppID, ann.UID, numbers(groups)),
			fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT 1000000 + i, %d, 200, 1 FROM (%s) x`, many.UID, numbers(groups)),
			fmt.Sprintf(`INSERT INTO group_logs (log, hub, last_seq, last_time) SELECT 1000000 + i, 1000000 + i, 1, %d FROM (%s) x`, w.Now().Unix(), numbers(groups)),
			fmt.Sprintf(`INSERT INTO group_messages (log, seq, time, sender, random, client_seq, client_time, priority, flags, body)
				SELECT 1000000 + i, 1, %d, %d, i, i, 1, 2, 0, '[]' FROM (%s) x`, w.Now().Unix(), ann.UID, numbers(groups)),
		} {
			if _, err := db.Write.ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		// same does two things twice, so that caches are alike, and compares what the second time costs.
		same := func(what string, limit int, one, other func()) {
			t.Helper()
			one()
			other()
			a, b := made.Of(one), made.Of(other)
			t.Logf("%s: %d and %d statements", what, len(a), len(b))
			if len(a) != len(b) && !strings.HasPrefix(what, "a page of the list") || max(len(a), len(b)) > limit || len(a) == 0 {
				t.Errorf("%s: %d and %d statements, allowed are %d:\n%s\n\n%s", what, len(a), len(b), limit, strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
		}
		call := func(by *apptest.User, command, id, fields string) func() {
			return func() {
				by.Call(t, service(id)+command, fmt.Sprintf(`{"GroupId":%q%s}`, id, fields)).Want(t, 0)
			}
		}
		say := func(id string, more ...string) func() { return func() { w.say(t, few, id, "hello", more...) } }
		same("sending to 3 and 10,000 members", 4, say(small), say(large))
		same("sending to a group and to a topic of 100,000 members", 4, say(small), say(topic))
		const at = `"GroupAtInfo":[{"GroupAtAllFlag":1}]`
		same("mentioning all", 5, say(small, at), say(large, at))
		page := `,"ReqMsgNumber":20`
		same("a page of history", 2, call(few, "group_msg_get", small, page), call(few, "group_msg_get", large, page))
		list := `,"Limit":100,"Next":"0"`
		same("a page of members", 3, call(few, "get_group_member_info", town, list), call(few, "get_group_member_info", city, list))
		inOut := func(id string) func() {
			return func() { call(guest, "apply_join_group", id, "")(); call(guest, "quit_group", id, "")() }
		}
		same("joining and leaving 3 and 100,000 members", 23, inOut(town), inOut(city))
		mute := func(id string) func() {
			return func() {
				call(ann, "modify_group_base_info", id, `,"ShutUpAllMember":"On"`)()
				call(ann, "modify_group_base_info", id, `,"ShutUpAllMember":"Off"`)()
			}
		}
		same("muting all", 16, mute(small), mute(large))
		joined := func(by *apptest.User) func() {
			return func() { by.Call(t, "group_open_http_svc.get_joined_group_list", `{"Limit":500}`).Want(t, 0) }
		}
		// The total of a list that is no longer than a page need not be asked for.
		same("a page of the list of 2 and 1,000 groups", 3, joined(few), joined(many))
		conversations := func(by *apptest.User) func() {
			return func() {
				items, err := w.groups.Conversations(t.Context(), &command.Call{App: w.App.App, UID: by.UID}, conversation.Window{UID: by.UID, Until: 1 << 40, Limit: 2000})
				if err != nil || len(items) < 2 {
					t.Errorf("%d conversations, %v", len(items), err)
				}
			}
		}
		same("the conversation list of 2 and 1,000 groups", 5, conversations(few), conversations(many))
		arrive := func(by *apptest.User) func() {
			return func() {
				w.groups.Arrive(t.Context(), &command.Call{App: w.App.App, UID: by.UID, Conn: anyConn{}}, by.UID)
			}
		}
		same("a login with 2 and 1,000 groups", 1, arrive(few), arrive(many))
	})
}

// anyConn is a connection that nobody looks at.
type anyConn struct{}

func (anyConn) ID() uint64          { return 1 }
func (anyConn) Query(string) string { return "" }
func (anyConn) Join(fanout.Topic)   {}
func (anyConn) Leave(fanout.Topic)  {}
