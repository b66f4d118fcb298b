package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"imserver/bench/loadgen"
)

// member is a user who chats through faults as an SDK does: it reconnects to
// whichever node answers, logs in again with its key, sends an unanswered
// request again unchanged, and fetches what it missed.
type member struct {
	crowd  *crowd
	index  int
	name   string
	peer   string
	device *loadgen.Device

	mu       sync.Mutex
	next     int64              // guarded by mu: messages made
	waiting  *draft             // guarded by mu: sent and not acknowledged
	acked    map[int64]bool     // guarded by mu: by number
	sent     map[int64]bool     // guarded by mu
	received map[int64]bool     // guarded by mu: one-to-one, by push or sync
	lastAck  time.Time          // guarded by mu
	longest  time.Duration      // guarded by mu
	groupTop int64              // guarded by mu: last group sequence pushed on this connection
	readTop  int64              // guarded by mu: the peer's read time as last seen
	problems []string           // guarded by mu
	cookie   string             // used by sync only, one at a time
	syncing  sync.Mutex         // guards cookie
	drop     context.CancelFunc // guarded by mu: ends the connection
}

// draft is a message that is sent until it is acknowledged.
type draft struct {
	number, msgSeq, random, unix int64
	group                        bool
}

// numbers are unique over the run: the member's index and its count.
func number(index int, n int64) int64 { return int64(index+1)<<40 | n }

func (m *member) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.problems) < 5 {
		m.problems = append(m.problems, m.name+": "+fmt.Sprintf(format, args...))
	}
}

// live connects and chats until ctx ends.
func (m *member) live(ctx context.Context) {
	for try := m.index; ctx.Err() == nil; try++ {
		if err := m.session(ctx, m.crowd.cluster.nodes[try%len(m.crowd.cluster.nodes)].url); err != nil {
			sleep(ctx, 200*time.Millisecond)
		}
	}
}

// session is one connection, from the socket to its end.
func (m *member) session(ctx context.Context, url string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m.device.Target.URL = url
	m.mu.Lock()
	m.groupTop, m.drop = 0, cancel
	m.mu.Unlock()
	again := make(chan struct{}, 1)
	if err := m.device.Connect(func(doc []byte, _ int64) { m.push(doc, again) }); err != nil {
		return err
	}
	conn := m.device.Conn
	defer conn.Close()
	go func() {
		select {
		case <-conn.Ended():
			cancel()
		case <-ctx.Done():
			conn.Close()
		}
	}()
	if err := m.login(ctx); err != nil {
		return err
	}
	go func() { // a silent relogin when the server asks for one (protocol 01 §12)
		for {
			select {
			case <-again:
				if m.login(ctx) != nil {
					cancel()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	for ctx.Err() == nil {
		if d := m.draft(); d != nil {
			m.deliver(ctx, d)
		}
		sleep(ctx, m.crowd.every)
	}
	return nil
}

// login logs in, with the key if there is one, and fetches what was missed. A
// session that the server no longer knows begins again with the ticket.
func (m *member) login(ctx context.Context) error {
	r, err := m.call(ctx, "", nil)
	if err != nil {
		return err
	}
	if r.code != 0 {
		if r.code == 70001 || r.code == 6014 || r.code == 1002 {
			m.complain("login refused with %d", r.code)
			if d, err := loadgen.NewDevice(m.device.Target, m.name); err == nil {
				d.Conn = m.device.Conn
				m.device = d
			}
		}
		return fmt.Errorf("login: code %d", r.code)
	}
	return m.sync(ctx)
}

// reply is a copy of an answer.
type reply struct {
	code int
	doc  []byte
}

// call sends a request and waits as long as the SDK does; "" is the login.
func (m *member) call(ctx context.Context, command string, body []byte) (reply, error) {
	ch := make(chan reply, 1)
	done := func(r loadgen.Reply) { ch <- reply{r.Code, append([]byte(nil), r.Doc...)} }
	if command == "" {
		m.device.Login(done)
	} else {
		m.device.Send(command, body, 0, done)
	}
	timeout := time.NewTimer(15 * time.Second)
	defer timeout.Stop()
	select {
	case r := <-ch:
		if r.code == loadgen.CodeLost {
			return r, fmt.Errorf("%s: the connection is gone", command)
		}
		return r, nil
	case <-timeout.C:
		m.disconnect()
		return reply{}, fmt.Errorf("%s: no answer", command)
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

// disconnect ends the connection, as a network does.
func (m *member) disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drop != nil {
		m.drop()
	}
}

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
	m.sent[m.waiting.number] = true
	return m.waiting
}

func (m *member) deliver(ctx context.Context, d *draft) {
	command, body := "openim.sendmsg", loadgen.C2C(nil, m.name, m.peer, d.msgSeq, d.random, 0, d.number, d.unix, 80)
	if d.group {
		command, body = "group_open_http_svc.send_group_msg", loadgen.Group(nil, m.name, m.crowd.group, d.random, d.msgSeq, 0, d.number, 80)
	}
	r, err := m.call(ctx, command, body)
	if err != nil {
		return
	}
	if r.code != 0 {
		m.crowd.refused.Add(1)
		sleep(ctx, 100*time.Millisecond)
		return
	}
	now := time.Now()
	m.mu.Lock()
	m.waiting, m.acked[d.number] = nil, true
	m.longest, m.lastAck = max(m.longest, now.Sub(m.lastAck)), now
	m.mu.Unlock()
	if d.msgSeq%16 == 0 {
		m.read(ctx)
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
			if g.MsgSeq <= m.groupTop && g.MsgSeq > 0 {
				back = [2]int64{m.groupTop, g.MsgSeq}
			}
			m.groupTop = max(m.groupTop, g.MsgSeq)
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

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
