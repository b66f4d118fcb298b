package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"imserver/bench/loadgen"
)

// What a message is answered that could not be stored (protocol 01 §6).
const (
	codeInternal = 20004 // a fault that somebody has to look at
	codeAgain    = 60008 // what the server depends on does not answer
	codeBusy     = 60007 // it has too much to do
)

// draft returns what to send: the unanswered message again, or a new one.
func (m *member) draft() *draft {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting != nil || m.crowd.paused.Load() {
		return m.waiting
	}
	m.next++
	m.waiting = &draft{number: number(m.index, m.next), msgSeq: m.next, random: int64(m.index+1)*1_000_000 + m.next, unix: time.Now().Unix(),
		group: m.crowd.toGroup(m.next)}
	return m.waiting
}

func (m *member) deliver(ctx context.Context, d *draft) {
	command, body := "openim.sendmsg", loadgen.C2C(nil, m.name, m.peer, d.msgSeq, d.random, 0, d.number, d.unix, 80)
	if d.group {
		command, body = "group_open_http_svc.send_group_msg", loadgen.Group(nil, m.name, m.crowd.group, d.random, d.msgSeq, 0, d.number, 80)
	}
	begin := time.Now()
	r, err := m.call(ctx, command, body)
	if err != nil {
		return
	}
	now := time.Now()
	m.mu.Lock()
	m.slowest = max(m.slowest, now.Sub(begin))
	m.mu.Unlock()
	if r.code != 0 {
		if r.code == codeInternal {
			m.complain("a message was answered with %d: that sending it again may help is %d", r.code, codeAgain)
		}
		m.crowd.refused.Add(1)
		sleep(ctx, 100*time.Millisecond)
		return
	}
	m.mu.Lock()
	m.waiting, m.acked[d.number] = nil, true
	m.longest, m.lastAck = max(m.longest, now.Sub(m.lastAck)), now
	if d.group {
		m.group.saw(number64(r.doc, "MsgSeq")) // the sending device gets no push
	}
	m.mu.Unlock()
	switch d.msgSeq % 16 {
	case 1:
		m.read(ctx)
	case 9:
		m.readGroup(ctx)
	}
}

// read reports everything read, and checks that the peer's reading never goes
// backwards.
func (m *member) read(ctx context.Context) {
	if _, err := m.call(ctx, "openim.msgreaded", fmt.Appendf(nil,
		`{"C2CMsgReaded":{"Cookie":"","C2CMsgReadedItem":[{"To_Account":%q,"LastedMsgTime":%d,"Receipt":1}]}}`, m.peer, time.Now().Unix())); err != nil {
		return
	}
	r, err := m.call(ctx, "openim.get_peer_read_time", fmt.Appendf(nil, `{"To_Account":[%q]}`, m.peer))
	if err != nil || r.code != 0 {
		return
	}
	var a struct{ Body struct{ ReadTime []int64 } }
	if json.Unmarshal(r.doc, &a) != nil || len(a.Body.ReadTime) != 1 {
		return
	}
	m.mu.Lock()
	before := m.readTop
	m.readTop = max(before, a.Body.ReadTime[0])
	m.mu.Unlock()
	if a.Body.ReadTime[0] < before {
		m.complain("the peer's read time went back from %d to %d", before, a.Body.ReadTime[0])
	}
}

// readGroup reports the group read as far as it was seen, and checks that the
// own read position never goes backwards.
func (m *member) readGroup(ctx context.Context) {
	if m.crowd.group == "" {
		return
	}
	m.mu.Lock()
	top := max(m.group.base, m.group.pushed)
	m.mu.Unlock()
	if r, err := m.call(ctx, "group_open_http_svc.msg_read_report", fmt.Appendf(nil, `{"GroupId":%q,"MsgReadedSeq":%d}`, m.crowd.group, top)); err != nil || r.code != 0 {
		return
	}
	r, err := m.call(ctx, "group_open_http_svc.get_joined_group_list", fmt.Appendf(nil,
		`{"Member_Account":%q,"Limit":50,"Offset":0,"ResponseFilter":{"GroupBaseInfoFilter":["NextMsgSeq"],"SelfInfoFilter":["MsgSeq"]}}`, m.name))
	if err != nil || r.code != 0 {
		return
	}
	var a struct {
		Body struct {
			GroupIdList []struct {
				SelfInfo struct{ MsgSeq int64 }
			}
		}
	}
	if json.Unmarshal(r.doc, &a) != nil || len(a.Body.GroupIdList) != 1 {
		m.complain("the list of groups has another form: %.200s", r.doc)
		return
	}
	now := a.Body.GroupIdList[0].SelfInfo.MsgSeq
	m.mu.Lock()
	before := max(m.ownRead, top)
	m.ownRead = max(m.ownRead, now)
	m.mu.Unlock()
	if now < before {
		m.complain("the own read sequence of the group went back from %d to %d", before, now)
	}
}
