package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
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

	home atomic.Bool // the next connection is to the node it began on

	mu       sync.Mutex
	where    string             // guarded by mu: the node it is logged in to, "" for none
	next     int64              // guarded by mu: messages made
	waiting  *draft             // guarded by mu: sent and not acknowledged
	acked    map[int64]bool     // guarded by mu: by number
	received map[int64]bool     // guarded by mu: one-to-one, by push or sync
	lastAck  time.Time          // guarded by mu
	longest  time.Duration      // guarded by mu: without an acknowledgement
	slowest  time.Duration      // guarded by mu: answer to a message
	group    groupView          // guarded by mu
	readTop  int64              // guarded by mu: the peer's read time as last seen
	ownRead  int64              // guarded by mu: the own read sequence of the group as last seen
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
	for url, try := m.device.Target.URL, m.index; ctx.Err() == nil; try++ {
		err := m.session(ctx, url)
		url = m.crowd.cluster.nodes[try%len(m.crowd.cluster.nodes)].url
		if m.home.Swap(false) {
			url = m.crowd.cluster.target(m.index).URL
		}
		if err != nil {
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
	m.group, m.drop = groupView{}, cancel
	m.mu.Unlock()
	defer m.be("")
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
	begin := time.Now()
	err := m.login(ctx)
	if took := time.Since(begin); took > 5*time.Second {
		log.Printf("  %s was %s at logging in: %v", m.name, took.Round(time.Millisecond), err)
	}
	if err != nil {
		return err
	}
	m.be(url)
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

// be notes where the member is logged in.
func (m *member) be(url string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.where = url
}

func (m *member) at() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.where
}

// login logs in, with the key if there is one, and fetches what was missed. A
// session that the server no longer knows begins again with the ticket.
func (m *member) login(ctx context.Context) error {
	r, err := m.call(ctx, "", nil)
	if err != nil {
		return err
	}
	if r.code != 0 && m.device.LoggedIn() {
		// An SDK would be logged out, or go on without a session for good
		// (protocol 01 §6, §8).
		m.complain("a relogin was answered with %d", r.code)
	}
	if r.code != 0 {
		return fmt.Errorf("login: code %d", r.code)
	}
	if err := m.sync(ctx); err != nil {
		return err
	}
	return m.seeGroup(ctx)
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
		m.disconnect() // an SDK would not, but what it asks next is not answered either
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

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
