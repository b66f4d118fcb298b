package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

// crowd is the load: users who chat in pairs, and all together in one group.
type crowd struct {
	cluster *cluster
	members []*member
	every   time.Duration
	group   string
	paused  atomic.Bool
	refused atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newCrowd(ctx context.Context, c *cluster, users int, every time.Duration) (*crowd, error) {
	users += users % 2
	crowd := &crowd{cluster: c, every: every}
	for i := range users {
		m := &member{crowd: crowd, index: i, name: fmt.Sprintf("user%d", i), peer: fmt.Sprintf("user%d", i^1),
			acked: map[int64]bool{}, sent: map[int64]bool{}, received: map[int64]bool{}, lastAck: time.Now()}
		var err error
		if m.device, err = loadgen.NewDevice(loadgen.Target{URL: c.nodes[i%len(c.nodes)].url, App: appID, Key: appKey}, m.name); err != nil {
			return nil, err
		}
		crowd.members = append(crowd.members, m)
	}
	if err := crowd.gather(); err != nil {
		return nil, err
	}
	ctx, crowd.stop = context.WithCancel(ctx)
	for _, m := range crowd.members {
		crowd.running.Go(func() { m.live(ctx) })
	}
	return crowd, nil
}

// gather makes the accounts and the group that everybody is in.
func (c *crowd) gather() error {
	var list []string
	for _, m := range c.members {
		if err := m.device.Open(nil); err != nil {
			return err
		}
		list = append(list, fmt.Sprintf(`{"Member_Account":%q}`, m.name))
	}
	c.group = "faults"
	_, err := c.members[0].device.Call("group_open_http_svc.create_group", fmt.Appendf(nil,
		`{"Type":"Public","Name":"faults","GroupId":%q,"Owner_Account":%q,"MemberList":[%s]}`, c.group, c.members[0].name, strings.Join(list[1:], ",")))
	for _, m := range c.members {
		m.device.Close()
	}
	if err != nil {
		log.Printf("chatting without a group: %v", err)
		c.group = ""
	}
	return nil
}

// toGroup reports whether a member's n-th message goes to the group: every
// eighth does.
func (c *crowd) toGroup(n int64) bool { return c.group != "" && n%8 == 0 }

func (c *crowd) close() {
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
}

// under runs one fault under load and checks what came of it.
func (c *crowd) under(ctx context.Context, cl *cluster, f fault) result {
	r := result{name: f.name}
	begin := time.Now()
	since := c.mark()
	c.paused.Store(false)
	sleep(ctx, 2*time.Second)
	if err := f.do(ctx, cl, c); err != nil {
		r.skipped = "not done: " + err.Error()
	}
	if err := cl.heal(ctx); err != nil {
		r.problems = append(r.problems, err.Error())
		return r
	}
	c.await(ctx, 60*time.Second, &r)
	sleep(ctx, 2*time.Second)
	c.paused.Store(true)
	c.settle(ctx, &r)
	c.check(ctx, begin, since, &r)
	return r
}

// mark begins a phase: what each member has made so far.
func (c *crowd) mark() []int64 {
	since := make([]int64, len(c.members))
	for i, m := range c.members {
		m.mu.Lock()
		since[i], m.longest, m.lastAck, m.problems = m.next, 0, time.Now(), nil
		m.mu.Unlock()
	}
	return since
}

// await waits until everybody has been acknowledged something again.
func (c *crowd) await(ctx context.Context, d time.Duration, r *result) {
	from := time.Now()
	err := eventually(ctx, d, func() error {
		for _, m := range c.members {
			m.mu.Lock()
			ok := m.lastAck.After(from)
			m.mu.Unlock()
			if !ok {
				return fmt.Errorf("%s did not get through again within %s", m.name, d)
			}
		}
		return nil
	})
	if err != nil {
		r.problems = append(r.problems, err.Error())
	}
}

// settle waits until nothing is under way and everything acknowledged has
// reached its receiver.
func (c *crowd) settle(ctx context.Context, r *result) {
	_ = eventually(ctx, 20*time.Second, func() error { // what is still missing is counted by check
		for i, m := range c.members {
			m.mu.Lock()
			waiting := m.waiting != nil
			m.mu.Unlock()
			if n := c.unreached(i); waiting || n > 0 {
				return fmt.Errorf("%s: %d have not arrived", m.name, n)
			}
		}
		return nil
	})
	for i, m := range c.members {
		if n := c.unreached(i); n > 0 {
			r.problems = append(r.problems, fmt.Sprintf("%d acknowledged messages of %s reached %s neither by push nor by sync", n, m.peer, m.name))
		}
		m.mu.Lock()
		r.problems = append(r.problems, m.problems...)
		r.interruption = max(r.interruption, m.longest)
		m.mu.Unlock()
	}
}

// unreached counts one-to-one messages that the peer of member i was
// acknowledged and i has not received.
func (c *crowd) unreached(i int) (n int) {
	to, from := c.members[i], c.members[i^1]
	from.mu.Lock()
	var acked []int64
	for number := range from.acked {
		if !c.toGroup(number) {
			acked = append(acked, number)
		}
	}
	from.mu.Unlock()
	to.mu.Lock()
	defer to.mu.Unlock()
	for _, number := range acked {
		if !to.received[number] {
			n++
		}
	}
	return n
}

// check compares what was acknowledged in the phase with the histories.
func (c *crowd) check(ctx context.Context, begin time.Time, since []int64, r *result) {
	groupSeen, err := c.groupHistory(ctx, r)
	if err != nil {
		r.problems = append(r.problems, "group history: "+err.Error())
	}
	for i, m := range c.members {
		seen, err := m.history(ctx, begin.Add(-20*time.Second))
		if err != nil {
			r.problems = append(r.problems, "history: "+err.Error())
			continue
		}
		for _, author := range []*member{m, c.members[i^1]} {
			author.mu.Lock()
			for n := since[author.index] + 1; n <= author.next; n++ {
				id := number(author.index, n)
				where := seen
				if c.toGroup(n) {
					where = groupSeen
				}
				if author == m {
					r.sent++
					if author.acked[id] {
						r.acked++
					}
				}
				switch {
				case author.acked[id] && where[id] == 0:
					r.lost++
				case where[id] > 1:
					r.twice++
				}
			}
			author.mu.Unlock()
		}
	}
	if n := c.refused.Swap(0); n > 0 {
		log.Printf("%s: %d sends were answered with an error and sent again", r.name, n)
	}
}

// page is an answer of either history command.
type page struct {
	Complete      int
	LastMsgTime   int64
	MsgKey        string
	MsgList       []historyItem
	RspMsgList    []historyItem
	NextReqMsgSeq int64
}

type historyItem struct {
	MsgSeq       int64
	MsgTimeStamp int64
	MsgBody      json.RawMessage
}

func (m *member) page(ctx context.Context, command string, body []byte) (p page, err error) {
	err = eventually(ctx, 20*time.Second, func() error {
		r, err := m.call(ctx, command, body)
		if err != nil {
			return err
		}
		if r.code != 0 {
			return fmt.Errorf("%s: code %d", command, r.code)
		}
		var a struct{ Body page }
		err = json.Unmarshal(r.doc, &a)
		p = a.Body
		return err
	})
	return p, err
}

// history reads the chat with the peer back to a time and counts each message.
func (m *member) history(ctx context.Context, back time.Time) (map[int64]int, error) {
	seen := map[int64]int{}
	key, unix, newest := "", int64(0), int64(1)<<60
	for {
		p, err := m.page(ctx, "openim.getroammsg", fmt.Appendf(nil,
			`{"Peer_Account":%q,"MaxCnt":100,"LastMsgTime":%d,"MsgKey":%q,"GetDirection":0,"WithRecalledMsg":1}`, m.peer, unix, key))
		if err != nil {
			return nil, err
		}
		for i := len(p.MsgList) - 1; i >= 0; i-- {
			item := p.MsgList[i]
			if item.MsgTimeStamp > newest {
				m.complain("history: time %d comes before %d", item.MsgTimeStamp, newest)
			}
			newest = item.MsgTimeStamp
			loadgen.Stamps(item.MsgBody, func(_, n int64) { seen[n]++ })
		}
		if p.Complete == 1 || p.LastMsgTime < back.Unix() {
			return seen, nil
		}
		key, unix = p.MsgKey, p.LastMsgTime
	}
}

// groupHistory reads the whole group and checks that its sequences are 1, 2,
// 3 … without a hole.
func (c *crowd) groupHistory(ctx context.Context, r *result) (map[int64]int, error) {
	seen := map[int64]int{}
	if c.group == "" {
		return seen, nil
	}
	last := int64(0)
	for at := int64(0); ; {
		p, err := c.members[0].page(ctx, "group_open_http_svc.group_msg_get", fmt.Appendf(nil,
			`{"GroupId":%q,"ReqMsgNumber":20,"ReqMsgSeq":%d,"WithRecalledMsg":1}`, c.group, at))
		if err != nil {
			return nil, err
		}
		for _, item := range p.RspMsgList {
			if last != 0 && item.MsgSeq != last-1 {
				r.problems = append(r.problems, fmt.Sprintf("group: sequence %d follows %d", last, item.MsgSeq))
			}
			last = item.MsgSeq
			loadgen.Stamps(item.MsgBody, func(_, n int64) { seen[n]++ })
		}
		if p.NextReqMsgSeq < 1 || len(p.RspMsgList) == 0 {
			if last > 1 {
				r.problems = append(r.problems, fmt.Sprintf("group: the oldest sequence is %d", last))
			}
			return seen, nil
		}
		at = p.NextReqMsgSeq
	}
}
