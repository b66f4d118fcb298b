package group_test

import (
	"fmt"
	"testing"

	"imserver/internal/command"
	"imserver/internal/fanout"
)

// joiner is a connection that does something while it is put into its groups.
type joiner struct {
	topics map[fanout.Topic]bool
	during func()
}

func (j *joiner) ID() uint64          { return 1 }
func (j *joiner) Query(string) string { return "" }
func (j *joiner) Join(t fanout.Topic) {
	if j.during != nil {
		j.during()
		j.during = nil
	}
	j.topics[t] = true
}
func (j *joiner) Leave(t fanout.Topic) { delete(j.topics, t) }

// Ensure that a member who is removed while it logs in does not go on
// listening: the event that tells its connections to leave came too early.
func TestArriveAgainstKick(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		u := w.users(t, "ann", "ben")
		one, two := w.group(t, "Public", u[0], u[1]), w.group(t, "Public", u[0], u[1])
		j := &joiner{topics: map[fanout.Topic]bool{}, during: func() {
			u[0].Call(t, "group_open_http_svc.delete_group_member", fmt.Sprintf(`{"GroupId":%q,"MemberToDel_Account":["ben"]}`, one)).Want(t, 0)
		}}
		w.groups.Arrive(t.Context(), &command.Call{App: w.App.App, UID: u[1].UID, Conn: j}, u[1].UID)
		if j.topics[fanout.Group(gid(t, w, one))] || !j.topics[fanout.Group(gid(t, w, two))] {
			t.Errorf("it listens to %v", j.topics)
		}
	})
}
