package grouplog_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"imserver/internal/apptest"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that who may speak is decided by the record and not by what a node
// remembers: the nodes here do not hear of each other's changes at all.
func TestStandingOnAnotherNode(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		near, far := newWorld(t, db, nil), newWorld(t, db, nil)
		u := near.users(t, "ann", "ben", "cid")
		v := far.users(t, "ann", "ben", "cid")
		random := int64(5000)
		say := func(u *apptest.User, id string, code int, more ...string) {
			t.Helper()
			random++
			far.sendAs(t, u, id, "hello", random, more...).Want(t, code)
		}
		id := near.group(t, "Public", u[0], u[1])
		change := func(name, fields string) {
			t.Helper()
			u[0].Call(t, service(id)+name, fmt.Sprintf(`{"GroupId":%q,%s}`, id, fields)).Want(t, 0)
		}
		const online = `"OnlineOnlyFlag":1`
		say(v[1], id, 0)
		say(v[2], id, 10007)
		change("add_group_member", `"MemberList":[{"Member_Account":"cid"}]`)
		say(v[2], id, 0)
		change("delete_group_member", `"MemberToDel_Account":["ben"]`)
		say(v[1], id, 10007)
		say(v[1], id, 10007, online)
		change("add_group_member", `"MemberList":[{"Member_Account":"ben"}]`)
		say(v[1], id, 0)
		change("modify_group_member_info", `"Member_Account":"ben","ShutUpTime":60`)
		say(v[1], id, 10017)
		say(v[1], id, 10017, online)
		change("modify_group_member_info", `"Member_Account":"ben","ShutUpTime":0`)
		say(v[1], id, 0)
		change("modify_group_base_info", `"ShutUpAllMember":"On"`)
		say(v[1], id, 10017)
		say(v[0], id, 0)
		change("modify_group_member_info", `"Member_Account":"ben","Role":"Admin"`)
		say(v[1], id, 0)
		change("modify_group_member_info", `"Member_Account":"ben","Role":"Member"`)
		say(v[1], id, 10017)
		change("modify_group_base_info", `"ShutUpAllMember":"Off"`)
		say(v[1], id, 0)
		change("destroy_group", `"x":0`)
		say(v[1], id, 10010)
		far.send(t, v[0], id, "gone").Want(t, 10010)

		id = near.group(t, "Topics", u[0], u[1])
		topic := u[0].Call(t, service(id)+"create_topic", fmt.Sprintf(`{"GroupId":%q,"TopicName":"t"}`, id)).Want(t, 0).Fields["TopicId"].(string)
		inTopic := fmt.Sprintf(`"TopicId":%q,`, topic)
		say(v[1], topic, 0)
		say(v[1], id, 10007) // the community itself
		say(v[2], topic, 10007)
		change("modify_group_member_info", inTopic+`"Member_Account":"ben","ShutUpTime":60`)
		say(v[1], topic, 10017)
		say(v[1], topic, 10017, online)
		change("modify_group_member_info", inTopic+`"Member_Account":"ben","ShutUpTime":0`)
		say(v[1], topic, 0)
		change("modify_topic", inTopic+`"ShutUpAllMember":"On"`)
		say(v[1], topic, 10017)
		say(v[0], topic, 0)
		change("modify_topic", inTopic+`"ShutUpAllMember":"Off"`)
		say(v[1], topic, 0)
		change("destroy_topic", fmt.Sprintf(`"TopicIdList":[%q]`, topic))
		say(v[1], topic, 10010)
	})
}

// Ensure that whatever races with sending on two nodes, the log agrees with
// its tips: nothing of a member stands behind the tip of its kick or mute, what
// was answered with a sequence is there, and what was refused is not.
func TestSendingAgainstChanges(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		var n nodes
		for i := range n.worlds {
			n.worlds[i] = newWorld(t, db, nil)
			n.users[i] = n.worlds[i].users(t, "ann", "ben")
		}
		random := int64(1_000_000)
		rapid.Check(t, func(rt *rapid.T) {
			id := n.worlds[0].group(t, "Public", n.users[0][0], n.users[0][1])
			stored := map[int64]bool{}
			for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
				node := rapid.IntRange(0, 1).Draw(rt, "node")
				what := rapid.SampledFrom([]change{kick, mute, muteAll}).Draw(rt, "change")
				var mu sync.Mutex
				var wg sync.WaitGroup
				send := func(node int, r int64) int {
					a := n.worlds[node].sendAs(t, n.users[node][1], id, "x", r)
					mu.Lock()
					defer mu.Unlock()
					stored[r] = a.Code == 0
					return a.Code
				}
				for i := range 6 {
					random++
					r := random
					wg.Go(func() {
						if code := send(i%2, r); code != 0 && code != what.code {
							rt.Errorf("%s against sending: %d", what.command, code)
						}
					})
				}
				wg.Go(func() { what.do(t, n.users[node][0], id, what.fields) })
				wg.Wait()
				random++
				if code := send(1-node, random); code != what.code {
					rt.Fatalf("after %s on the other node: %d, want %d", what.command, code, what.code)
				}
				what.undo(t, n.users[node][0], id)
				random++
				if code := send(1-node, random); code != 0 {
					rt.Fatalf("after the end of %s on the other node: %d", what.command, code)
				}
			}
			n.checkOrder(t, rt, id, stored)
		})
	})
}

// change is something after which ben may not speak.
type change struct {
	command, fields string
	code            int
	back            string // the command that ends it, "" is the same
	backFields      string
}

var (
	kick    = change{"delete_group_member", `"MemberToDel_Account":["ben"]`, 10007, "add_group_member", `"MemberList":[{"Member_Account":"ben"}]`}
	mute    = change{"modify_group_member_info", `"Member_Account":"ben","ShutUpTime":60`, 10017, "", `"Member_Account":"ben","ShutUpTime":0`}
	muteAll = change{"modify_group_base_info", `"ShutUpAllMember":"On"`, 10017, "", `"ShutUpAllMember":"Off"`}
)

func (c change) do(t *testing.T, owner *apptest.User, id, fields string) {
	owner.Call(t, service(id)+c.command, fmt.Sprintf(`{"GroupId":%q,%s}`, id, fields)).Want(t, 0)
}

func (c change) undo(t *testing.T, owner *apptest.User, id string) {
	if c.back != "" {
		c.command = c.back
	}
	c.do(t, owner, id, c.backFields)
}

// checkOrder walks the log.
func (n *nodes) checkOrder(t *testing.T, rt *rapid.T, id string, stored map[int64]bool) {
	rows, err := n.worlds[0].DB.Read.QueryContext(t.Context(), `SELECT m.seq, m.sender, m.random, m.body FROM group_messages m WHERE m.log = $1 ORDER BY m.seq`,
		n.worlds[0].gid(t, id))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	out, muted, allMuted, last := false, false, false, int64(0)
	for rows.Next() {
		var seq, sender, random int64
		var body string
		if err := rows.Scan(&seq, &sender, &random, &body); err != nil {
			t.Fatal(err)
		}
		if last++; seq != last {
			rt.Fatalf("sequence %d follows %d", seq, last-1)
		}
		if sender != 0 {
			if out || muted || allMuted || !stored[random] {
				rt.Fatalf("message %d: kicked %v, muted %v, all muted %v, answered with success %v", seq, out, muted, allMuted, stored[random])
			}
			delete(stored, random)
			continue
		}
		var tip struct {
			OpType          int
			List_Account    []string
			MsgMemberInfo   []struct{ ShutupTime int64 }
			MsgGroupNewInfo struct{ ShutupAll *int }
		}
		if err := json.Unmarshal([]byte(body), &tip); err != nil {
			t.Fatal(err)
		}
		switch {
		case tip.OpType == 1 || tip.OpType == 3:
			if slices.Contains(tip.List_Account, "ben") {
				out = tip.OpType == 3
			}
		case tip.OpType == 7:
			muted = tip.MsgMemberInfo[0].ShutupTime > 0
		case tip.OpType == 6 && tip.MsgGroupNewInfo.ShutupAll != nil:
			allMuted = *tip.MsgGroupNewInfo.ShutupAll == 1
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for random, success := range stored {
		if success {
			rt.Fatalf("a message with random %d was answered with success and is not in the log", random)
		}
	}
}
