package gateway

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/wire"
)

// Conn is one socket. It has a goroutine that reads and, only while there is
// something to write, one that writes; both cost nothing else when idle.
type Conn struct {
	id       uint64
	server   *Server
	nc       net.Conn
	in       *input // used by the reading goroutine only
	addr     netip.Addr
	instance string // instanceid of the URL: constant over reconnects of a page
	version  string // sdkversion of the URL
	app      uint32
	platform int16
	mode     wire.Mode
	limiter  *rate.Limiter
	refusals *rate.Limiter // used by the reading goroutine only, as told
	told     time.Time     // when an overload was last pushed
	heard    atomic.Int64  // unix ns of the last frame or pong

	session atomic.Pointer[session.Session] // attached login instance
	guest   atomic.Pointer[verified]        // last other key seen here, see authenticate
	ousted  atomic.Pointer[session.Session] // who was told of a kick: once, whoever says so

	mu       sync.Mutex
	out      []outgoing    // guarded by mu
	outBytes int           // guarded by mu
	events   uint64        // guarded by mu: events queued so far
	writing  bool          // guarded by mu: a writer is running, or the queue is put off
	off      bool          // guarded by mu: see putOff
	closed   bool          // guarded by mu
	closing  bool          // guarded by mu: close when nothing is in flight any more
	inflight int           // guarded by mu
	held     int           // guarded by mu: commands that wait for news
	stream   *stream       // guarded by mu: events of live rooms; nil until there was one
	back     *hold         // guarded by mu: what waits while a device that came back catches up
	ordered  []request     // guarded by mu: waiting for the ordered runner
	running  bool          // guarded by mu: the ordered runner is running
	room     *sync.Cond    // on mu: inflight fell
	latest   fanout.Latest // about the topics of groups
	topics   map[fanout.Topic]struct{}
	timed    bool // a write deadline is set; used by the writer only
	warned   bool // the end of the ticket was announced; used by the watch only
}

// outgoing is a message or an event waiting to be written.
type outgoing struct {
	message []byte // a complete WebSocket message
	event   *fanout.Event
}

func (o outgoing) size() int {
	if o.event != nil {
		return len(o.event.Item) + 160
	}
	return len(o.message)
}

// ID implements command.Conn.
func (c *Conn) ID() uint64 { return c.id }

// Query implements command.Conn for the parameters that are kept.
func (c *Conn) Query(name string) string {
	switch name {
	case "instanceid":
		return c.instance
	case "sdkversion":
		return c.version
	case "platform":
		return strconv.Itoa(int(c.platform))
	}
	return ""
}

// Session implements session.Terminal.
func (c *Conn) Session() *session.Session { return c.session.Load() }

// Device implements fanout.Subscriber; the zero device when nobody is attached.
func (c *Conn) Device() fanout.Device {
	if ses := c.session.Load(); ses != nil {
		return ses.Device()
	}
	return fanout.Device{}
}

// Attach implements session.Terminal.
func (c *Conn) Attach(ses *session.Session) {
	if old := c.session.Load(); old != nil && old.Device() != ses.Device() {
		c.detach(false) // another user on the same socket; the login may go on elsewhere
	}
	if !c.adopt(ses) {
		return
	}
	c.Join(fanout.User(ses.UID))
	// An instance's earlier socket on this node is dead or about to be: the
	// SDK opens the new one before it closes the old (protocol 01 §11).
	c.server.hub.Each(fanout.User(ses.UID), func(s fanout.Subscriber) {
		if other, ok := s.(*Conn); ok && other != c && other.Device() == ses.Device() {
			go other.detach(false) // without closing: the client does that itself
		}
	})
}

// adopt makes the connection the device's, unless it has gone meanwhile.
func (c *Conn) adopt(ses *session.Session) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	if old := c.session.Swap(ses); old == nil {
		c.server.devices.Arrive(ses)
	}
	return true
}

// Detach implements session.Terminal.
func (c *Conn) Detach() { c.detach(true) }

// detach takes the device off the connection: its login has ended, or it may
// come back on another one.
func (c *Conn) detach(ended bool) {
	c.mu.Lock()
	topics := c.topics
	c.topics, c.back = nil, nil
	c.mu.Unlock()
	for t := range topics {
		c.server.hub.Leave(t, c)
	}
	c.latest.Reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.session.Swap(nil); old != nil {
		c.server.devices.Depart(old, ended)
	}
}

// Join subscribes the connection to a topic until Leave or Detach.
func (c *Conn) Join(t fanout.Topic) {
	if c.want(t) {
		c.server.hub.Join(t, c)
		c.leaveUnlessWanted(t)
	}
}

// enter is Join of somebody who has just become a member.
func (c *Conn) enter(t fanout.Topic, places []fanout.Position) {
	if c.want(t) {
		c.server.hub.Enter(t, c, places, func() bool { return c.wants(t) })
		c.leaveUnlessWanted(t)
	}
}

// want notes that the connection is to be in t; it reports whether that is
// news.
func (c *Conn) want(t fanout.Topic) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, already := c.topics[t]; already || c.closed {
		return false
	}
	if c.topics == nil {
		c.topics = map[fanout.Topic]struct{}{}
	}
	c.topics[t] = struct{}{}
	return true
}

func (c *Conn) wants(t fanout.Topic) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, in := c.topics[t]
	return in
}

// leaveUnlessWanted takes the connection out of a topic that it left, or that
// it was detached from, while it was being put in.
func (c *Conn) leaveUnlessWanted(t fanout.Topic) {
	if !c.wants(t) {
		c.server.hub.Leave(t, c)
	}
}

// Leave ends Join.
func (c *Conn) Leave(t fanout.Topic) {
	c.mu.Lock()
	_, in := c.topics[t]
	delete(c.topics, t)
	c.mu.Unlock()
	if in {
		c.server.hub.Leave(t, c)
	}
}

// Offer implements fanout.Subscriber.
func (c *Conn) Offer(e *fanout.Event) {
	switch e.Kind {
	case fanout.Push:
		if e.Room != 0 {
			c.enqueueStream(e)
			return
		}
		c.enqueue(outgoing{event: e})
	case fanout.Kick:
		if ses := c.session.Load(); ses == nil || c.ousted.Swap(ses) == ses {
			return
		}
		c.enqueue(outgoing{message: wire.AppendMessage(nil, kickDocument(e), c.mode)})
		c.server.metrics.kicks.WithLabelValues(strconv.Itoa(int(e.KickType))).Inc()
		go c.Detach() // not here: the hub holds its lock while it offers
	case fanout.Resync:
		c.resync()
	case fanout.Join:
		t, turn, places := e.Joining()
		c.latest.Do(t, turn, func() { c.enter(t, places) })
	case fanout.Leave:
		t, turn, _ := e.Joining()
		c.latest.Do(t, turn, func() { c.Leave(t) })
	}
}

// read is the reading goroutine.
func (c *Conn) read() {
	reason := "client"
	defer func() {
		c.close(reason)
		c.detach(false)
		c.in.release()
	}()
	for {
		frame, size, err := c.readFrame()
		if err != nil {
			if errors.Is(err, errHopeless) {
				reason = "oversize"
			} else if netErr := net.Error(nil); errors.As(err, &netErr) && netErr.Timeout() {
				reason = "timeout"
			}
			return
		}
		c.heard.Store(time.Now().UnixNano())
		c.handle(frame, size)
	}
}

// close ends the connection at once. The first reason counts.
func (c *Conn) close(reason string) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.out, c.outBytes, c.back = nil, 0, nil
	c.stream.drop()
	if c.room != nil {
		c.room.Broadcast()
	}
	c.mu.Unlock()
	_ = c.nc.Close() // nothing is left to do about it
	c.server.gone(c, reason)
}

// finishThenClose closes when the commands in flight are answered and written.
func (c *Conn) finishThenClose() {
	c.mu.Lock()
	c.closing = true
	idle := c.inflight == 0 && !c.waitingLocked() && !c.writing
	c.mu.Unlock()
	if idle {
		c.goodbye()
	}
}

// goingAway is the close code of a server that goes down (RFC 6455 §7.4.1).
const goingAway = 1001

func (c *Conn) goodbye() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(time.Second)) // closing anyway
	_, _ = c.nc.Write(controlFrame(opClose, append(binary.BigEndian.AppendUint16(nil, goingAway), "restart"...)))
	c.close("drain")
}

// check is the watch's visit, every few seconds.
func (c *Conn) check(now time.Time) {
	silent := now.Sub(time.Unix(0, c.heard.Load()))
	switch {
	case silent > c.server.opts.DeadAfter:
		c.close("silent")
		return
	case silent > c.server.opts.PingAfter:
		c.enqueue(outgoing{message: pingMessage})
	default:
		c.askReached()
	}
	// A device whose ticket has ended is told so even when it is idle: it is
	// made to log in again, and that is answered with 70001 (protocol 01 §12).
	if ses := c.session.Load(); ses == nil || now.Unix() < ses.ExpiresAt {
		c.warned = false
	} else if !c.warned {
		c.warned = true
		c.resync()
	}
}

// resync makes the device log in again silently and fetch its state anew
// (protocol 01 §12).
func (c *Conn) resync() {
	c.enqueue(outgoing{message: wire.AppendMessage(nil, resyncDocument, c.mode)})
}
