package group_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"imserver/internal/apptest"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/store"
)

type row struct {
	uid, a int64
	b      string
}

// observeOpen reads the open applications and invitations.
func (r *run) observeOpen(s *state, rows func(string) []row, index func(uid int64) int) {
	was, wasInvited := r.auth, r.pass
	r.auth, r.pass = [4]string{}, [4][4]string{}
	fresh := func(before, now string) application {
		if now == before {
			return known
		}
		return newer
	}
	for _, v := range rows(`SELECT applicant, 0, auth FROM group_applications WHERE gid = $1 AND handled = 0 AND kind = 0`) {
		i := index(v.uid)
		s.asking[i], r.auth[i] = fresh(was[i], v.b), v.b
	}
	for _, v := range rows(`SELECT applicant, invited, auth FROM group_applications WHERE gid = $1 AND handled = 0 AND kind = 2`) {
		i, j := index(v.uid), index(v.a)
		s.invited[i][j], r.pass[i][j] = fresh(wasInvited[i][j], v.b), v.b
	}
}

// observe reads the rows.
func (r *run) observe() state {
	db, ctx := r.nodes[0].DB.Read, r.t.Context()
	fail := func(err error) {
		if err != nil {
			r.rt.Fatal(err)
		}
	}
	s := state{kind: r.state.kind, approve: r.state.approve}
	var owner int64
	var members int
	err := db.QueryRowContext(ctx, `SELECT CAST(name AS INTEGER), owner, member_num, attr_seq, counter_seq FROM groups WHERE gid = $1`, r.gid).
		Scan(&s.name, &owner, &members, &s.main, &s.counterSeq)
	if s.gone = errors.Is(err, sql.ErrNoRows); !s.gone {
		fail(err)
	}
	index := func(uid int64) int {
		return slices.IndexFunc(r.nodes[0].users[:], func(u *apptest.User) bool { return u.UID == uid })
	}
	rows := func(query string) []row {
		list, err := store.Collect(ctx, db, func(rows *sql.Rows, v *row) error { return rows.Scan(&v.uid, &v.a, &v.b) }, query, r.gid)
		fail(err)
		return list
	}
	for _, v := range rows(`SELECT uid, role, '' FROM group_members WHERE gid = $1`) {
		s.roles[index(v.uid)] = group.Role(v.a)
		if (group.Role(v.a) == group.Owner) != (v.uid == owner) {
			r.rt.Fatalf("%s has the role %d and the group the owner %d", raceUsers[index(v.uid)], v.a, owner)
		}
	}
	if s.count() != members {
		r.rt.Fatalf("member_num is %d, members are %v", members, s.roles)
	}
	for _, v := range rows(`SELECT uid, 1, '' FROM group_members WHERE gid = $1 AND muted_until > 0`) {
		s.muted[index(v.uid)] = true
	}
	for _, v := range rows(`SELECT uid, 1, '' FROM group_mutes x WHERE gid = $1 AND NOT EXISTS (SELECT 1 FROM group_members m WHERE m.gid = x.gid AND m.uid = x.uid)`) {
		s.muted[index(v.uid)] = true
	}
	r.observeOpen(&s, rows, index)
	for _, v := range rows(`SELECT CASE name WHEN 'a' THEN 0 ELSE 1 END, seq, value FROM group_attributes WHERE gid = $1`) {
		s.attrs[v.uid].seq = v.a
		_, err := fmt.Sscan(v.b, &s.attrs[v.uid].value)
		fail(err)
	}
	for _, v := range rows(`SELECT 0, value, '' FROM group_counters WHERE gid = $1`) {
		s.counter = v.a
	}
	return s
}

// same compares what is told: on one node in the order of the deeds. What two
// nodes do within moments is told in either order.
func (r *run) same(a, b []string) bool {
	if len(r.nodes) > 1 {
		return sameSet(a, b)
	}
	return slices.Equal(a, b)
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// patience is how long a node may take to learn of something: less than what
// it remembers of groups and members lives.
const patience = 5 * time.Second

// wait waits until the check has nothing to say.
func (r *run) wait(what string, check func() error) {
	err := check()
	for deadline := time.Now().Add(patience); err != nil; err = check() {
		if time.Now().After(deadline) {
			r.rt.Fatalf("%s: %v", what, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// converge waits until every node knows the members, and exactly their devices
// hear of the group.
func (r *run) converge(when string) {
	for i, n := range r.nodes {
		r.wait(fmt.Sprintf("node %d, %s", i, when), func() error {
			listening := [4]bool{}
			n.Hub.Each(fanout.Group(r.gid), func(s fanout.Subscriber) {
				for j, u := range n.users {
					listening[j] = listening[j] || s == fanout.Subscriber(u)
				}
			})
			if _, err := n.dir.Group(r.t.Context(), n.SDKAppID, r.id); (err != nil) != r.state.gone {
				return fmt.Errorf("the group: %v", err)
			}
			for j, u := range n.users {
				if r.state.gone && !listening[j] {
					continue
				}
				m, err := n.dir.Member(r.t.Context(), r.gid, u.UID)
				if err != nil {
					m = &group.Member{}
				}
				if m.Role != r.state.roles[j] || m.MutedUntil > 0 != (r.state.muted[j] && m.Role != group.Nobody) {
					return fmt.Errorf("%s is known as %+v, not as %v", u.UserID, m, r.state.roles[j])
				}
				if member := m.Role != group.Nobody; listening[j] != member {
					return fmt.Errorf("%s listens: %v, is a member: %v", u.UserID, listening[j], member)
				}
			}
			return nil
		})
	}
}
