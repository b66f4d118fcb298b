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

// model is what a group's log must be, in the simplest form.
type model struct {
	messages []modelMessage
	read     [3]int
	deleted  [3]map[int]bool
}

type modelMessage struct {
	sender   int
	random   int64
	text     string
	quiet    bool // NoUnread
	to       []int
	recalled bool
	version  int
}

func (m *model) sees(user, seq int) bool {
	msg := m.messages[seq-1]
	return !m.deleted[user][seq] && (msg.to == nil || msg.sender == user || slices.Contains(msg.to, user))
}

func (m *model) unread(user int) (n int) {
	for i, msg := range m.messages {
		if i+1 > m.read[user] && !msg.quiet && !msg.recalled && msg.to == nil {
			n++
		}
	}
	return n
}

// add is what sending does.
func (m *model) add(msg modelMessage) int {
	m.messages = append(m.messages, msg)
	m.read[msg.sender] = len(m.messages)
	return len(m.messages)
}

// nodes are two servers over one store, each with the same users.
type nodes struct {
	worlds [2]*world
	users  [2][]*apptest.User
}

// Ensure that whatever members do on two nodes, the log is that of the model:
// sequences contiguous, nothing twice, the same history and exact unread
// counts for everybody.
func TestModel(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		var n nodes
		for i := range n.worlds {
			n.worlds[i] = newWorld(t, db, nil)
			n.users[i] = n.worlds[i].users(t, "ann", "ben", "cid")
		}
		random := int64(1_000_000)
		rapid.Check(t, func(rt *rapid.T) {
			id := n.worlds[0].group(t, "Public", n.users[0][0], n.users[0][1], n.users[0][2])
			m := &model{}
			for i := range m.deleted {
				m.deleted[i] = map[int]bool{}
			}
			for range rapid.IntRange(1, 12).Draw(rt, "steps") {
				n.step(t, rt, id, m, &random)
			}
			for user := range 3 {
				n.compare(t, rt, id, m, user)
			}
		})
	})
}

func (n *nodes) step(t *testing.T, rt *rapid.T, id string, m *model, random *int64) {
	node := rapid.IntRange(0, 1).Draw(rt, "node")
	user := rapid.IntRange(0, 2).Draw(rt, "user")
	w, u := n.worlds[node], n.users[node][user]
	last := len(m.messages)
	switch what := rapid.SampledFrom([]string{"send", "send", "burst", "repeat", "recall", "delete", "read", "modify"}).Draw(rt, "what"); what {
	case "send":
		*random++
		msg := modelMessage{sender: user, random: *random, text: fmt.Sprint("t", *random), quiet: rapid.Bool().Draw(rt, "quiet")}
		var more []string
		if msg.quiet {
			more = append(more, `"SendMsgControl":["NoUnread"]`)
		}
		if rapid.IntRange(0, 3).Draw(rt, "directed") == 0 {
			msg.to = []int{(user + 1) % 3}
			more = append(more, fmt.Sprintf(`"To_Account":[%q]`, n.users[0][msg.to[0]].UserID))
		}
		a := w.sendAs(t, u, id, msg.text, *random, more...).Want(t, 0)
		if seq := m.add(msg); int(a.Fields["MsgSeq"].(float64)) != seq {
			rt.Fatalf("sequence in %s, want %d", a.Text, seq)
		}
	case "burst":
		n.burst(t, rt, id, m, random)
	case "repeat": // the same request, on either node
		if last == 0 {
			return
		}
		seq := rapid.IntRange(1, last).Draw(rt, "seq")
		msg := m.messages[seq-1]
		a := w.sendAs(t, n.users[node][msg.sender], id, "again", msg.random).Want(t, 0)
		if int(a.Fields["MsgSeq"].(float64)) != seq {
			rt.Fatalf("a repeat of %d got %s", seq, a.Text)
		}
	default:
		if last > 0 {
			n.change(t, rt, id, m, what, u, user, rapid.IntRange(1, last).Draw(rt, "seq"))
		}
	}
}

func (n *nodes) change(t *testing.T, rt *rapid.T, id string, m *model, what string, u *apptest.User, user, seq int) {
	msg := &m.messages[seq-1]
	switch what {
	case "recall":
		a := u.Call(t, "group_open_http_svc.group_msg_recall", fmt.Sprintf(`{"GroupId":%q,"MsgSeqList":[{"MsgSeq":%d}]}`, id, seq)).Want(t, 0)
		code := int(a.Fields["RecallRetList"].([]any)[0].(map[string]any)["RetCode"].(float64))
		want := 0
		switch {
		case !m.sees(user, seq):
			want = 10030
		case msg.sender != user && user != 0: // 0 owns the group
			want = 10007
		}
		if code != want {
			rt.Fatalf("recall of %d by %d: %d, want %d", seq, user, code, want)
		}
		msg.recalled = msg.recalled || want == 0
	case "delete":
		u.Call(t, "group_open_http_svc.delete_group_ramble_msg_by_seq", fmt.Sprintf(`{"GroupId":%q,"Seqs":["%d"]}`, id, seq)).Want(t, 0)
		m.deleted[user][seq] = true
	case "read":
		u.Call(t, "group_open_http_svc.msg_read_report", fmt.Sprintf(`{"GroupId":%q,"MsgReadedSeq":%d}`, id, seq)).Want(t, 0)
		m.read[user] = max(m.read[user], seq)
	case "modify":
		version := max(0, msg.version-rapid.IntRange(0, 1).Draw(rt, "stale"))
		a := u.Call(t, "openim.modify_group_msg", fmt.Sprintf(`{"GroupId":%q,"MsgSeq":%d,"MsgVersion":%d,"MsgBody":%s}`, id, seq, version, body(msg.text+"+")))
		want := 0
		switch {
		case !m.sees(user, seq) || msg.recalled:
			want = 20026
		case version != msg.version:
			want = 20027
		}
		if a.Code != want {
			rt.Fatalf("modify: %s, want %d", a.Text, want)
		}
		if want == 0 {
			msg.version++
			msg.text += "+"
		}
	}
}

// burst sends from all users on both nodes at once.
func (n *nodes) burst(t *testing.T, rt *rapid.T, id string, m *model, random *int64) {
	type sent struct {
		seq  int
		user int
		id   int64
	}
	var mu sync.Mutex
	var all []sent
	var wg sync.WaitGroup
	for i := range 6 {
		first := *random + 1
		*random += 3
		wg.Add(1)
		go func() {
			defer wg.Done()
			for r := first; r < first+3; r++ {
				a := n.worlds[i%2].sendAs(t, n.users[i%2][i/2], id, fmt.Sprint("t", r), r)
				mu.Lock()
				all = append(all, sent{int(a.Fields["MsgSeq"].(float64)), i / 2, r})
				mu.Unlock()
			}
		}()
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b sent) int { return a.seq - b.seq })
	for _, s := range all {
		if seq := m.add(modelMessage{sender: s.user, random: s.id, text: fmt.Sprint("t", s.id)}); seq != s.seq {
			rt.Fatalf("a burst got sequence %d, want %d", s.seq, seq)
		}
	}
}

// compare checks what a user sees on both nodes.
func (n *nodes) compare(t *testing.T, rt *rapid.T, id string, m *model, user int) {
	for node, w := range n.worlds {
		u := n.users[node][user]
		if got := w.summary(t, u, id).Unread; got != m.unread(user) {
			rt.Fatalf("unread of %d on node %d: %d, want %d", user, node, got, m.unread(user))
		}
		var got, want []string
		for next := int64(0); ; {
			p := w.history(t, u, id, fmt.Sprintf(`"ReqMsgNumber":7,"ReqMsgSeq":%d`, next))
			for _, msg := range p.RspMsgList {
				var parts []struct{ MsgContent struct{ Text string } }
				if err := json.Unmarshal(msg.MsgBody, &parts); err != nil {
					rt.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%d %s v%d recalled %v", msg.MsgSeq, parts[0].MsgContent.Text, msg.MsgVersion, msg.IsPlaceMsg == 2))
			}
			if next = p.NextReqMsgSeq; next < 1 {
				break
			}
		}
		for seq := len(m.messages); seq > 0; seq-- {
			if msg := m.messages[seq-1]; m.sees(user, seq) {
				want = append(want, fmt.Sprintf("%d %s v%d recalled %v", seq, msg.text, msg.version, msg.recalled))
			}
		}
		if !slices.Equal(got, want) {
			rt.Fatalf("history of %d on node %d:\n%v\nwant\n%v", user, node, got, want)
		}
	}
}
