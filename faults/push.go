package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"imserver/bench/loadgen"
)

// groupView is what a connection knows of the group: everything up to base by
// asking, the rest by pushes, which an SDK does not check for gaps.
type groupView struct {
	known  bool // base was asked for
	base   int64
	pushed int64 // the newest that was pushed
	seen   map[int64]bool
}

func (v *groupView) saw(seq int64) {
	if v.seen == nil {
		v.seen = map[int64]bool{}
	}
	v.seen[seq] = true
}

// missing counts the sequences up to head that were neither asked for nor
// pushed.
func (v *groupView) missing(head int64) (n int, first int64) {
	if !v.known {
		return int(head), 1
	}
	for seq := v.base + 1; seq <= head; seq++ {
		if !v.seen[seq] {
			if n++; first == 0 {
				first = seq
			}
		}
	}
	return n, first
}

// seeGroup asks for the group's newest message, as an SDK does for every
// conversation after a login: from there on it relies on pushes.
func (m *member) seeGroup(ctx context.Context) error {
	if m.crowd.group == "" {
		return nil
	}
	r, err := m.call(ctx, "group_open_http_svc.group_msg_get", fmt.Appendf(nil, `{"GroupId":%q,"ReqMsgNumber":1,"WithRecalledMsg":1}`, m.crowd.group))
	if err != nil {
		return err
	}
	if r.code != 0 {
		return fmt.Errorf("group_msg_get: code %d", r.code)
	}
	var a struct{ Body page }
	if err := json.Unmarshal(r.doc, &a); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group.known = true
	if list := a.Body.RspMsgList; len(list) > 0 {
		m.group.base = max(m.group.base, list[0].MsgSeq)
	}
	return nil
}

// number64 returns the number of the first member of that name in a document.
func number64(doc []byte, name string) int64 {
	n, _ := strconv.ParseInt(loadgen.Digits(doc, `"`+name+`":`), 10, 64) // digits
	return n
}

// push takes what the server sends by itself.
func (m *member) push(doc []byte, again chan<- struct{}) {
	var p struct {
		Head struct{ Servcmd string }
		Body struct {
			EventArray []struct {
				Event         int
				GroupMsgArray []struct{ MsgSeq int64 }
			}
		}
	}
	if err := json.Unmarshal(doc, &p); err != nil {
		m.complain("unreadable push: %v", err)
		return
	}
	switch p.Head.Servcmd {
	case "StatSvc.KickOther":
		select {
		case again <- struct{}{}:
		default:
		}
		return
	case "im_open_status.stat_forceoffline":
		m.complain("kicked out")
		return
	}
	m.mu.Lock()
	var back [2]int64
	for _, e := range p.Body.EventArray {
		for _, g := range e.GroupMsgArray {
			if g.MsgSeq <= m.group.pushed && g.MsgSeq > 0 {
				back = [2]int64{m.group.pushed, g.MsgSeq}
			}
			m.group.pushed = max(m.group.pushed, g.MsgSeq)
			m.group.saw(g.MsgSeq)
		}
	}
	m.mu.Unlock()
	if back[0] != 0 {
		m.complain("group sequence %d was pushed after %d", back[1], back[0])
	}
	m.note(doc)
}

// note remembers the messages of a push or a sync answer.
func (m *member) note(doc []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	loadgen.Stamps(doc, func(_, n int64) { m.received[n] = true })
}

// sync is openim.getmsg until it says that it has finished (protocol 02 §6).
func (m *member) sync(ctx context.Context) error {
	m.syncing.Lock()
	defer m.syncing.Unlock()
	for flag := 0; flag != 2; {
		r, err := m.call(ctx, "openim.getmsg", fmt.Appendf(nil, `{"Cookie":%q,"SyncFlag":%d,"IsOnlineSync":0}`, m.cookie, flag))
		if err != nil {
			return err
		}
		if r.code != 0 {
			return fmt.Errorf("getmsg: code %d", r.code)
		}
		var a struct {
			Body struct {
				Cookie   string
				SyncFlag int
			}
		}
		if err := json.Unmarshal(r.doc, &a); err != nil {
			return err
		}
		m.note(r.doc)
		m.cookie, flag = a.Body.Cookie, a.Body.SyncFlag
	}
	return nil
}
