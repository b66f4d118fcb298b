package group_test

import (
	"fmt"
	"testing"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that who has come in, and what is gone, is taken from the record when a
// node would refuse somebody: the nodes here do not hear of each other at all.
func TestRefusalsOnAnotherNode(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		near, far := newWorld(t, db), newWorld(t, db)
		ann, ben := near.User(t, "ann"), far.User(t, "ben")
		id := near.group(t, "Public", ann)
		body := fmt.Sprintf(`{"GroupId":%q,"Limit":100}`, id)
		const list, add = "group_open_http_svc.get_group_member_info", "group_open_http_svc.add_group_member"
		ben.Call(t, list, body).Want(t, 10007)
		ben.Call(t, list, body).Want(t, 10007)
		ann.Call(t, add, fmt.Sprintf(`{"GroupId":%q,"MemberList":[{"Member_Account":"ben"}]}`, id)).Want(t, 0)
		ben.Call(t, list, body).Want(t, 0)
		far.User(t, "cid").Call(t, list, body).Want(t, 10007)
		ann.Call(t, "group_open_http_svc.destroy_group", fmt.Sprintf(`{"GroupId":%q}`, id)).Want(t, 0)
		far.User(t, "cid").Call(t, list, body).Want(t, 10010)
	})
}
