package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"imserver/bench/loadgen"
)

// settle waits until nothing is under way and everything acknowledged has
// reached its receiver.
func (c *crowd) settle(ctx context.Context, r *result) {
	_ = eventually(ctx, 20*time.Second, func() error { // what is still missing is counted by check
		head := c.groupHead()
		for i, m := range c.members {
			m.mu.Lock()
			waiting := m.waiting != nil
			unseen, _ := m.group.missing(head)
			m.mu.Unlock()
			if n := c.unreached(i) + unseen; waiting || n > 0 {
				return fmt.Errorf("%s: %d have not arrived", m.name, n)
			}
		}
		return nil
	})
	head := c.groupHead()
	for i, m := range c.members {
		if n := c.unreached(i); n > 0 {
			r.problems = append(r.problems, fmt.Sprintf("%d acknowledged messages of %s reached %s neither by push nor by sync", n, m.peer, m.name))
		}
		m.mu.Lock()
		if n, first := m.group.missing(head); n > 0 {
			r.problems = append(r.problems, fmt.Sprintf("%d group messages were not pushed to %s, the first is %d of %d", n, m.name, first, head))
		}
		if m.waiting != nil {
			r.problems = append(r.problems, fmt.Sprintf("%s is still waiting for an acknowledgement", m.name))
		}
		r.problems = append(r.problems, m.problems...)
		r.interruption, r.slowest = max(r.interruption, m.longest), max(r.slowest, m.slowest)
		m.mu.Unlock()
	}
}

// groupHead is the newest sequence of the group that anybody has seen.
func (c *crowd) groupHead() (head int64) {
	for _, m := range c.members {
		m.mu.Lock()
		head = max(head, m.group.base, m.group.pushed)
		for seq := range m.group.seen {
			head = max(head, seq)
		}
		m.mu.Unlock()
	}
	return head
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
