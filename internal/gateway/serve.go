package gateway

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/session"
	"imserver/internal/wire"
)

// request is a decoded frame on its way through the table.
type request struct {
	head   wire.Head
	body   []byte
	frame  *[]byte // the pooled buffer that body points into
	access command.Access
	start  time.Time
	placed bool // it has one of the node's places for commands
}

const heartbeat = "heartbeat.alive"

func (c *Conn) initLimiter(o Options) {
	if o.CommandRate > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(o.CommandRate), o.CommandBurst)
	}
}

// handle takes a frame from the reader. It answers what can be answered at
// once and starts everything else; it waits only while the connection has its
// maximum of commands in flight, which is how a flood slows itself down.
func (c *Conn) handle(frame *[]byte, size int64) {
	head, body, err := wire.Decode(*frame)
	r := request{head: head, body: body, frame: frame, start: time.Now()}
	switch {
	case size > int64(len(*frame)):
		c.server.metrics.bad.WithLabelValues("oversize").Inc()
		r.head = wire.PeekHead(*frame)
		c.refuse(r, command.Errf(command.CodeTooLong, "the request is longer than %d bytes", c.server.opts.MaxFrame))
		return
	case err != nil:
		c.server.metrics.bad.WithLabelValues("malformed").Inc()
		r.head = wire.PeekHead(*frame)
		c.refuse(r, command.Err(command.CodeBadRequest, err.Error()))
		return
	case head.Command == heartbeat:
		// Always good, whoever asks: any error is a reconnect loop (protocol 01 T3).
		c.reply(r, command.Empty{}, nil)
		return
	}
	r.access = c.server.table.Lookup(head.Command)
	if c.flooding(r) {
		return
	}
	if !c.begin(r) {
		c.refuse(r, command.Err(command.CodeTooFast, "too many requests are held"))
		return
	}
	if c.overloaded(&r) {
		c.end(r)
		return
	}
	if r.access&command.Ordered != 0 {
		c.runOrdered(r)
		return
	}
	c.server.workers.do(job{c, &r})
}

// maxHeld bounds the held commands of a connection: a poll for each of many
// live rooms.
const maxHeld = 64

// begin counts a command in flight; it waits while there are too many, before a
// last one while there are any. Of held ones it admits a bounded number.
func (c *Conn) begin(r request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.access&command.Held != 0 {
		if c.held >= maxHeld {
			return false
		}
		c.held++
		return true
	}
	most := c.server.opts.MaxInflight
	if r.access&command.Last != 0 {
		most = 1
	}
	for c.inflight >= most && !c.closed {
		if c.room == nil {
			c.room = newCond(&c.mu)
		}
		c.room.Wait()
	}
	c.inflight++
	if r.access&fetches != 0 {
		c.catchingLocked(1)
	}
	return true
}

func (c *Conn) end(r request) {
	if r.placed {
		places, _ := c.server.placesFor(r.access)
		places.Release(1)
	}
	c.mu.Lock()
	if r.access&command.Held != 0 {
		c.held--
		c.mu.Unlock()
		return
	}
	c.inflight--
	if r.access&fetches != 0 {
		c.catchingLocked(-1)
	}
	if c.room != nil {
		c.room.Signal()
	}
	idle := c.closing && c.inflight == 0 && !c.waitingLocked() && !c.writing && !c.closed
	c.mu.Unlock()
	if idle {
		c.goodbye()
	}
}

// runOrdered queues r for the one worker that starts ordered commands.
func (c *Conn) runOrdered(r request) {
	c.mu.Lock()
	c.ordered = append(c.ordered, r)
	start := !c.running
	c.running = true
	c.mu.Unlock()
	if !start {
		return
	}
	c.server.workers.do(job{c: c})
}

// serveOrdered serves the ordered commands until none waits.
func (c *Conn) serveOrdered() {
	for {
		c.mu.Lock()
		if len(c.ordered) == 0 {
			c.running, c.ordered = false, nil
			c.mu.Unlock()
			return
		}
		r := c.ordered[0]
		c.ordered = c.ordered[1:]
		c.mu.Unlock()
		c.serve(r)
	}
}

// serve runs one command and replies, at once or when its commit is done.
func (c *Conn) serve(r request) {
	ctx := withTimeout(c.server.opts.Timeout)
	call, err := c.authenticate(ctx, r)
	if err == nil && r.access&command.CatchUp != 0 && call.Kind == command.Users {
		call.CatchingUp = c.catchingUp()
	}
	if err == nil && r.access&command.Once != 0 && call.Kind == command.Users {
		again, first := c.server.replays.claim(call, r)
		if !first {
			defer ctx.end()
			answer, err := again.wait(ctx)
			c.finish(r, call, answer, err)
			return
		}
		answer, err := c.run(ctx, call, r)
		answer, err = command.Await(ctx, answer, err)
		ctx.end()
		again.done(answer, err)
		c.finish(r, call, answer, err)
		return
	}
	if err == nil && r.access&command.Snapshot != 0 && call.Kind == command.Users {
		c.serveSnapshot(ctx, call, r)
		ctx.end()
		return
	}
	var answer any
	if err == nil {
		answer, err = c.run(ctx, call, r)
	}
	if later, ok := answer.(command.Later); ok && err == nil {
		later(func(answer any, err error) {
			ctx.end()
			c.finish(r, call, answer, err)
		})
		return
	}
	ctx.end()
	c.finish(r, call, answer, err)
}

// run calls the table; a panic costs this one answer only.
func (c *Conn) run(ctx context.Context, call *command.Call, r request) (answer any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.server.metrics.panics.Inc()
			c.server.log.Error("command panicked", "command", r.head.Command, "request", call.RequestID, "panic", p, "stack", string(debug.Stack()))
			answer, err = nil, command.Err(command.CodeInternal, "")
		}
	}()
	return c.server.table.Run(ctx, call, r.body)
}

// finish replies and accounts for the command.
func (c *Conn) finish(r request, call *command.Call, answer any, err error) {
	var refusal *command.Error
	if err != nil && !errors.As(err, &refusal) {
		if errors.Is(err, command.ErrHangUp) {
			c.server.log.Warn("connection ended without an answer", "app", call.App.SDKAppID, "user", call.UserID, "command", r.head.Command,
				"request", call.RequestID, "err", err)
			c.account(r, command.CodeTimeout)
			c.end(r)
			c.close("fault")
			return
		}
		masked, tell := command.Mask(err, call.RequestID)
		if tell {
			c.server.log.Error("command failed", "app", call.App.SDKAppID, "user", call.UserID, "command", r.head.Command,
				"request", call.RequestID, "err", err)
		}
		err = masked
	}
	if c.server.log.Enabled(context.Background(), slog.LevelDebug) {
		c.server.log.Debug("command", "app", call.App.SDKAppID, "user", call.UserID, "command", r.head.Command,
			"request", call.RequestID, "code", command.CodeOf(err), "took", time.Since(r.start))
	}
	c.reply(r, answer, err)
	c.end(r)
}

// refuse answers a frame that never reached the table.
func (c *Conn) refuse(r request, err error) {
	if r.head.Command == "" {
		frames.Put(r.frame) // nobody could match an answer
		return
	}
	c.reply(r, nil, err)
}

// reply encodes and queues an answer and accounts for the request.
func (c *Conn) reply(r request, answer any, err error) {
	message, code := c.encode(r, answer, err)
	c.enqueue(outgoing{message: message})
	if code != 0 && r.access&(command.Overview|command.Sync) != 0 {
		c.askAgain()
	}
	c.account(r, code)
}

// encode makes the WebSocket message of an answer, after those of the events
// that precede it.
func (c *Conn) encode(r request, answer any, err error) (message []byte, code int) {
	body := buffers.Get().(*[]byte)
	doc := buffers.Get().(*[]byte)
	*body, code = command.AppendAnswer((*body)[:0], answer, err)
	*doc = wire.AppendAnswer((*doc)[:0], r.head.Command, r.head.Seq, *body)
	message = make([]byte, 0, len(*doc)+10)
	if p, ok := answer.(command.Preceded); ok && err == nil {
		for items := range slices.Chunk(p.Events, maxMerge) {
			message = wire.AppendMergedPush(message, items, c.mode)
		}
	}
	message = wire.AppendMessage(message, *doc, c.mode)
	for _, b := range []*[]byte{body, doc} {
		if cap(*b) <= maxKept {
			buffers.Put(b)
		}
	}
	return message, code
}

// account counts an answered request and returns the frame's buffer.
func (c *Conn) account(r request, code int) {
	name := r.head.Command
	if r.access == 0 && name != heartbeat {
		name = "unknown" // a label per invented name would be a leak
	}
	c.server.metrics.answered(name, code, time.Since(r.start))
	if cap(*r.frame) <= maxKept {
		frames.Put(r.frame)
	}
}

// verified is a key that was checked on this socket without being attached.
type verified struct {
	session *session.Session
	until   int64 // unix s; after it the store is asked again
}

// guestTTL is how long a checked key is believed, seconds.
const guestTTL = 10

// requestID names a request in logs and answers: the connection's number and
// the request's own.
func requestID(conn uint64, seq string) string {
	b := strconv.AppendUint(make([]byte, 0, 40), conn, 36)
	return string(append(append(b, '-'), seq...))
}

// authenticate finds out who sent r, by its own head and not by what was said
// on the socket before: after a reconnect old requests come first, and a
// socket may become another user's (protocol 01 §4, T2).
func (c *Conn) authenticate(ctx context.Context, r request) (*command.Call, error) {
	id := r.head.App
	if id == 0 {
		id = c.app
	}
	call := &command.Call{Name: r.head.Command, Kind: command.Anonymous, Conn: c, Platform: r.head.Platform,
		RequestID: requestID(c.id, r.head.Seq), App: c.server.apps(id)}
	if call.Platform == 0 {
		call.Platform = int(c.platform)
	}
	if call.App == nil {
		call.App = &config.App{SDKAppID: id}
		if r.access&command.Anonymous != 0 {
			return call, nil
		}
		return call, command.Err(70020, "this server has no such SDKAppID")
	}
	switch {
	case r.access == 0:
		return call, nil // the table refuses it
	case r.head.A2 != "":
		return call, c.byKey(ctx, call, r)
	case r.head.Identifier != "" && r.head.UserSig != "" && r.access&command.Tickets != 0:
		t, err := c.server.sessions.Ticket(ctx, call.App, r.head.Identifier, r.head.UserSig)
		if err != nil {
			return call, err
		}
		call.Kind, call.UserID = command.Tickets, r.head.Identifier
		call.Ticket = command.Ticket{IssuedAt: t.IssuedAt, ExpiresAt: t.ExpiresAt().Unix()}
	}
	return call, nil
}

func (c *Conn) byKey(ctx context.Context, call *command.Call, r request) error {
	now := time.Now().Unix()
	ses := c.session.Load()
	if ses == nil || ses.A2 != r.head.A2 || ses.App != call.App.SDKAppID {
		ses = nil
		if g := c.guest.Load(); g != nil && g.session.A2 == r.head.A2 && g.session.App == call.App.SDKAppID && now < g.until {
			ses = g.session
		}
	}
	var err error
	if ses == nil {
		if ses, err = c.server.sessions.Verify(ctx, call.App, r.head.A2); err == nil {
			c.guest.Store(&verified{ses, now + guestTTL})
		}
	} else if now >= ses.ExpiresAt {
		err = command.Err(command.CodeSessionOver, "")
	}
	if ses == nil || err != nil && r.access&command.Stale == 0 {
		switch {
		case r.access&command.Anonymous != 0:
			return nil
		case ses == nil && r.access&command.Stale != 0:
			// The app's key has been replaced: with another code SDKs would go
			// on without a session (protocol 01 §8).
			return command.Err(command.CodeSessionOver, "")
		}
		return err
	}
	call.Kind, call.Session = command.Users, ses
	call.UserID, call.UID, call.Inst = ses.UserID, ses.UID, ses.Inst
	return nil
}
