package message_test

import (
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imserver/internal/message"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

func init() {
	_ = flag.Set("rapid.checks", "40") // the default of 100 takes too long on Postgres; -rapid.checks says otherwise
}

// model is a small one-to-one chat: what the two sides must see of it.
type model struct {
	log   []entry
	sides [2]side
	clock int64
	ops   int // drawn so far; numbers texts, so that each names one message
}

type entry struct {
	sender   int
	time     int64
	text     string
	version  int
	noUnread bool
	revoked  bool
	deleted  [2]bool
}

// side is what one side keeps; the positions are lengths of the log.
type side struct {
	read, cleared, hidden int
	pinned                bool
	marked                bool
}

func (m *model) clone() *model {
	c := *m
	c.log = slices.Clone(m.log)
	return &c
}

// kinds of operations.
const (
	opSend = iota
	opRepeat
	opRevoke
	opEdit
	opDelete
	opClear
	opRemove
	opRead
	opReadAll
	opPin
	opMark
	opKinds
)

// op is an operation of one side; target is a message's index, arg whatever
// the kind needs.
type op struct {
	kind, side, target, version, arg int
}

// do applies an operation and returns the code that the caller must get.
func (m *model) do(o op) int {
	s := &m.sides[o.side]
	switch o.kind {
	case opSend:
		m.log = append(m.log, entry{sender: o.side, time: m.clock, text: fmt.Sprint("m", o.arg), noUnread: o.arg%4 == 0})
	case opRevoke:
		e := &m.log[o.target]
		if e.sender != o.side {
			return 20022
		}
		if e.revoked {
			return 20023
		}
		if m.clock-e.time > 120 {
			return 20016
		}
		e.revoked = true
	case opEdit:
		e := &m.log[o.target]
		if e.revoked {
			return 20026
		}
		if e.version != o.version {
			return 20027
		}
		e.version++
		e.text = fmt.Sprint("e", o.arg)
	case opDelete:
		m.log[o.target].deleted[o.side] = true
	case opClear:
		s.cleared = len(m.log)
	case opRemove:
		s.hidden = len(m.log)
		if o.arg%2 == 1 {
			s.cleared = len(m.log)
		}
		s.pinned, s.marked = false, false
	case opRead:
		upTo := 0
		for i, e := range m.log {
			if e.time <= m.log[o.target].time {
				upTo = i + 1
			}
		}
		s.read = max(s.read, upTo)
	case opReadAll:
		s.read = len(m.log)
	case opPin:
		s.pinned = o.arg%2 == 1
	case opMark:
		s.marked = o.arg%2 == 1
	}
	return 0
}

// view is what one side sees after a fresh login.
type view struct {
	History  []string
	Unread   int
	Listed   bool
	Last     string
	Pinned   bool
	Marked   bool
	PeerRead int64
}

func (e *entry) show() string {
	if e.revoked {
		return fmt.Sprint("revoked v", e.version)
	}
	return fmt.Sprint(e.text, " v", e.version)
}

func (m *model) view(who int) view {
	s, peer := &m.sides[who], &m.sides[1-who]
	v := view{History: []string{}, Listed: len(m.log) > s.hidden}
	for i := range m.log {
		e := &m.log[i]
		if i < s.cleared || e.deleted[who] {
			continue
		}
		v.History = append(v.History, e.show())
		v.Last = e.text
		if e.sender != who && i >= s.read && i >= s.hidden && !e.noUnread && !e.revoked {
			v.Unread++
		}
	}
	if !v.Listed {
		v.Last = ""
	} else {
		v.Pinned, v.Marked = s.pinned, s.marked
	}
	if peer.read > 0 {
		v.PeerRead = m.log[peer.read-1].time
	}
	return v
}

// chat is the real one: two sides with two devices each, on different nodes, and
// the messages' names in the order of the log.
type chat struct {
	world   *world
	devices [2][2]*device
	names   [2]string
	sent    []sent
	mu      sync.Mutex
	counter int // guarded by mu
}

func newChat(t fataler, w *world, id int) *chat {
	c := &chat{world: w, names: [2]string{fmt.Sprint("x", id), fmt.Sprint("y", id)}}
	for s := range 2 {
		for d := range 2 {
			c.devices[s][d] = w.login(t, c.names[s], uint32(d+1)).at(d)
		}
	}
	return c
}

// do performs an operation on a device of its side and returns the code, and
// the name of the message that it sent.
func (c *chat) do(t fataler, o op, dev int) (code int, made *sent) {
	d, peer := c.devices[o.side][dev], c.names[1-o.side]
	contact := object{"Type": 1, "To_Account": peer}
	switch o.kind {
	case opSend:
		c.mu.Lock()
		c.counter++
		n := int64(c.counter)
		c.mu.Unlock()
		body := object{"From_Account": d.name, "To_Account": peer, "MsgSeq": n, "MsgRandom": n, "MsgClientTime": 1, "MsgBody": say(fmt.Sprint("m", o.arg))}
		if o.arg%4 == 0 {
			body["SendMsgControl"] = []string{"NoUnread"}
		}
		code, a := d.do(t, "openim.sendmsg", body)
		return code, &sent{d.name, peer, n, n, int64(a["MsgTime"].(float64)), a["MsgKey"].(string)}
	case opRepeat:
		m := c.sent[o.target]
		from := c.devices[0][dev]
		if m.from != from.name {
			from = c.devices[1][dev]
		}
		code, a := from.do(t, "openim.sendmsg", object{"From_Account": m.from, "To_Account": m.to, "MsgSeq": m.seq, "MsgRandom": m.random, "MsgClientTime": 1, "MsgBody": say("again")})
		if a["MsgKey"] != m.key {
			t.Fatalf("a repeated message has key %v, not %s", a["MsgKey"], m.key)
		}
		return code, nil
	case opRevoke:
		code, _ = d.do(t, "openim.msgwithdraw", object{"MsgInfo": c.sent[o.target].info()})
	case opEdit:
		body := c.sent[o.target].info()
		body["MsgVersion"], body["MsgBody"] = o.version, say(fmt.Sprint("e", o.arg))
		code, _ = d.do(t, "openim.modify_c2c_msg", body)
	case opDelete:
		code, _ = d.do(t, "openim.delete_c2c_msg_ramble", object{"From_Account": d.name, "To_Account": peer, "MsgKeyList": []string{c.sent[o.target].key}})
	case opClear:
		code, _ = d.do(t, "recentcontact.clear_msg", object{"From_Account": d.name, "Type": 1, "To_Account": peer})
	case opRemove:
		code, _ = d.do(t, "recentcontact.batch_delete", object{"From_Account": d.name, "ContactItem": []object{contact}, "ClearRamble": o.arg % 2})
	case opRead:
		code, _ = d.do(t, "openim.msgreaded", object{"C2CMsgReaded": object{"C2CMsgReadedItem": []object{{"To_Account": peer, "LastedMsgTime": c.sent[o.target].time}}}})
	case opReadAll:
		code, _ = d.do(t, "openim.read_all_unread_msg", object{"C2CReadAllMsg": 1})
	case opPin:
		code, _ = d.do(t, "recentcontact.top", object{"OperationType": 2 - o.arg%2, "RecentContactItem": []object{contact}})
	case opMark:
		key := []string{"ClearMark", "SetMark"}[o.arg%2]
		code, _ = d.do(t, "recentcontact.mark_contact", object{"MarkItem": []object{{"OptType": 1, "ContactItem": contact, key: []int{0}}}})
	}
	return code, nil
}

// view reads what a side sees, as its other device would after a fresh login.
func (c *chat) view(t fataler, who int) view {
	d, peer := c.devices[who][1], c.names[1-who]
	v := view{History: []string{}}
	for _, m := range d.history(t, peer) {
		version, _ := m["MsgVersion"].(float64)
		s := m["MsgBody"].([]any)[0].(object)["MsgContent"].(object)["Text"].(string)
		if m["MsgFlagBits"] == 8.0 {
			s = "revoked"
		}
		v.History = append(v.History, fmt.Sprint(s, " v", version))
	}
	v.Unread = d.unread(t)[peer]
	items, _ := d.list(t)
	if item := items[peer]; item != nil {
		v.Listed, v.Last = true, last(item)
		v.Pinned = item["TopFlags"] == 1.0
		v.Marked = item["StandardMark"] != nil
		v.PeerRead = int64(item["C2cPeerReadTime"].(float64))
	} else {
		v.PeerRead = int64(d.must(t, "openim.get_peer_read_time", object{"To_Account": []string{peer}})["ReadTime"].([]any)[0].(float64))
	}
	return v
}

// draw makes an operation that the chat can have now.
func draw(t *rapid.T, m *model) op {
	m.ops++
	o := op{side: rapid.IntRange(0, 1).Draw(t, "side"), arg: 4*m.ops + rapid.IntRange(0, 3).Draw(t, "arg")}
	if len(m.log) == 0 {
		return o // a message
	}
	o.kind = rapid.IntRange(0, opKinds-1).Draw(t, "kind")
	o.target = rapid.IntRange(0, len(m.log)-1).Draw(t, "target")
	if o.kind == opEdit {
		o.version = max(0, m.log[o.target].version-rapid.IntRange(0, 1).Draw(t, "behind"))
	}
	return o
}

// Ensure that whatever two people with two devices each do, one after the
// other or at once, everybody sees what a plain model of the chat says, in
// some order of what was done at once.
func TestModel(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		w := MustWorld(t, db, message.Options{})
		w.node(t)
		id := 0
		rapid.Check(t, func(rt *rapid.T) {
			id++
			c, now := newChat(rt, w, id), []*model{{clock: w.clock().Unix()}}
			steps := rapid.IntRange(5, 25).Draw(rt, "steps")
			for range steps {
				if rapid.IntRange(0, 9).Draw(rt, "pause") == 0 {
					seconds := rapid.SampledFrom([]int64{1, 61, 121}).Draw(rt, "seconds")
					w.advance(time.Duration(seconds) * time.Second)
					for _, m := range now {
						m.clock += seconds
					}
				}
				if rapid.IntRange(0, 3).Draw(rt, "at once") == 0 {
					now = c.race(rt, now, []op{draw(rt, now[0]), draw(rt, now[0]), draw(rt, now[0])})
				} else {
					now = c.race(rt, now, []op{draw(rt, now[0])})
				}
			}
		})
	})
}

func same(a, b view) bool {
	return slices.Equal(a.History, b.History) && fmt.Sprint(a) == fmt.Sprint(b)
}

// race does operations at once, each on another device, and returns the models
// that explain the answers and what is seen: from each model before, those
// after some order of the operations. More than one may, while what tells them
// apart does not show, such as the pin of a conversation that is not listed.
func (c *chat) race(t *rapid.T, before []*model, ops []op) (after []*model) {
	codes, made := make([]int, len(ops)), make([]*sent, len(ops))
	var wg sync.WaitGroup
	for i, o := range ops {
		wg.Add(1)
		go func() {
			defer wg.Done()
			codes[i], made[i] = c.do(t, o, i%2)
		}()
	}
	wg.Wait()
	seen := [2]view{c.view(t, 0), c.view(t, 1)}
	known := map[string]bool{}
	var names []sent
	for _, m := range before {
		for _, order := range orders[len(ops)] {
			guess := m.clone()
			guess.ops = before[0].ops
			fits := true
			var these []sent
			for _, i := range order {
				fits = fits && guess.do(ops[i]) == codes[i]
				if made[i] != nil {
					these = append(these, *made[i])
				}
			}
			if fits && same(guess.view(0), seen[0]) && same(guess.view(1), seen[1]) && !known[fmt.Sprint(*guess)] {
				known[fmt.Sprint(*guess)] = true
				after, names = append(after, guess), these
			}
		}
	}
	if len(after) == 0 {
		t.Fatalf("no order of %+v with codes %v explains\n%+v\nafter e.g.\n%+v", ops, codes, seen, *before[0])
	}
	c.sent = append(c.sent, names...)
	return after
}

var orders = map[int][][]int{1: {{0}}, 3: {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}}
