package group_test

import (
	"fmt"
	"testing"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/command"
	"imserver/internal/conversation"
)

// Ensure that commands read a page, not everything: in a community of 100,000
// members, and for a user in 1,000 groups, they take about as long as in one of
// 1,000 and for one in 50, measured by turns.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("fills 100,000 rows")
	}
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben", "cid")
		ann, ben, cid := u[0], u[1], u[2]
		large, small := w.group(t, "Community", ann), w.group(t, "Community", ann)
		const members, few, groups, page = 99_990, 1000, 1000, 50 // with room for one more
		numbers := func(n int) string {
			return fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n`, n)
		}
		fill := []string{
			fmt.Sprintf(`INSERT INTO accounts (uid, app, user_id, created_at) SELECT i, %d, 'm' || i, 1 FROM (%s) x`, w.SDKAppID, numbers(members)),
			fmt.Sprintf(`INSERT INTO groups (gid, app, group_id, kind, name, info_time, created_at) SELECT 1000000 + i, %d, 'g' || i, 2, 'g', 1, 1 FROM (%s) x`, w.SDKAppID, numbers(groups)),
			fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT 1000000 + i, %d, 200, 1 FROM (%s) x`, ben.UID, numbers(groups)),
			fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT 1000000 + i, %d, 200, 1 FROM (%s) x`, cid.UID, numbers(page)),
		}
		for id, count := range map[string]int{large: members, small: few} {
			fill = append(fill,
				fmt.Sprintf(`INSERT INTO group_members (gid, uid, role, joined_at) SELECT %d, i, 200, 1000 + i / 7 FROM (%s) x`, gid(t, w, id), numbers(count)),
				fmt.Sprintf(`UPDATE groups SET member_num = member_num + %d WHERE gid = %d`, count, gid(t, w, id)))
		}
		for _, q := range append(fill, `ANALYZE`) {
			if _, err := w.DB.Write.ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		// Everything would be 100 times as much of the members, and 20 times that
		// of the groups.
		bounded := func(what string, times time.Duration, much, little func()) {
			t.Helper()
			took := func(fn func()) time.Duration {
				start := time.Now()
				fn()
				return time.Since(start)
			}
			most, least := time.Hour, time.Hour
			for range 7 { // other work on the machine is not the command's
				least, most = min(least, took(little)), min(most, took(much))
			}
			t.Logf("%s: %v, of little %v", what, most, least)
			if most > times*least {
				t.Errorf("%s took %v, and of little %v", what, most, least)
			}
		}
		alike := func(what string, much, little func()) {
			t.Helper()
			bounded(what, 8, much, little)
		}
		listing := func(id, next string) func() {
			return func() {
				a := ann.Call(t, "million_group_open_http_svc.get_group_member_info", fmt.Sprintf(`{"GroupId":%q,"Limit":100,"Next":%q}`, id, next)).Want(t, 0)
				next = a.Fields["Next"].(string)
			}
		}
		alike("a page of the member list", listing(large, "0"), listing(small, "0"))
		page100 := func(id, next string) func() { // the same again
			return func() { listing(id, next)() }
		}
		alike("a late page", page100(large, "200.15000.3"), page100(small, "200.1100.3"))
		visiting := func(id string) func() {
			return func() {
				ben.Call(t, "million_group_open_http_svc.apply_join_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
				ben.Call(t, "million_group_open_http_svc.quit_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
			}
		}
		alike("joining and leaving", visiting(large), visiting(small))
		muting := func(id string) func() {
			return func() {
				ann.Call(t, "million_group_open_http_svc.modify_group_base_info", fmt.Sprintf(`{"GroupId":%q,"ShutUpAllMember":"On"}`, id)).Want(t, 0)
			}
		}
		alike("muting all", muting(large), muting(small))
		joined := func(who *apptest.User, offset, total int) func() {
			return func() {
				who.Call(t, "group_open_http_svc.get_joined_group_list", fmt.Sprintf(`{"Limit":%d,"Offset":%d}`, page, offset)).Want(t, 0).Has(t, fmt.Sprintf(`"TotalCount":%d`, total))
			}
		}
		alike("a page of the joined list", joined(ben, groups-page, groups), joined(cid, 0, page))
		conversations := func(uid int64, limit int) func() {
			return func() {
				if _, err := w.groups.Conversations(t.Context(), &command.Call{App: w.App.App, UID: uid}, conversation.Window{UID: uid, Until: 1 << 40, Limit: limit}); err != nil {
					t.Fatal(err)
				}
			}
		}
		// Which groups come first depends on all of them: this one looks at every
		// group, with work in proportion.
		bounded("the conversation list", 2*groups/page, conversations(ben.UID, page), conversations(cid.UID, page))
	})
}
