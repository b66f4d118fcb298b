package gateway

import (
	"context"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"imserver/internal/command"
	"imserver/internal/wire"
)

const (
	// overloadDelay is for how long an SDK is told to refuse a command by
	// itself, and how often a connection is told so.
	overloadDelay = time.Second
	// refusalFactor is how many refusals a second a connection gets, as a
	// multiple of its commands; what comes faster waits in its socket.
	refusalFactor = 5
	// patience is how long a command waits for the node to begin it, well below
	// the 15 s that SDKs wait for an answer (protocol 01 §7).
	patience = 2 * time.Second
	// crowdPlaces is how many crowded commands a node works on at a time: enough
	// to have Redis busy, and few enough to stand in nobody's way to the
	// processor. crowdPatience is patience for these.
	crowdPlaces   = 32
	crowdPatience = 10 * time.Second
)

// flooding refuses a command when its connection sends more than its share, and
// reports whether it did.
func (c *Conn) flooding(r request) bool {
	switch {
	case c.limiter == nil:
		return false
	case r.access&command.Stale != 0: // these must not be refused (protocol 01 T6): they wait their turn
		time.Sleep(c.limiter.Reserve().Delay())
		return false
	case c.limiter.Allow():
		return false
	}
	c.shed(r, "connection")
	return true
}

// overloaded refuses a command when the node has so much to do that none of its
// places for commands gets free within patience, and reports whether it did.
// Meanwhile the connection reads nothing: those who come by thousands at once,
// after a restart, wait for each other in their sockets and are all served.
func (c *Conn) overloaded(r *request) bool {
	if r.access&(command.Stale|command.Held) != 0 {
		return false
	}
	places, most := c.server.placesFor(r.access)
	if !places.TryAcquire(1) {
		ctx, cancel := context.WithTimeout(context.Background(), most)
		err := places.Acquire(ctx, 1)
		cancel()
		if err != nil {
			c.shed(*r, "node")
			return true
		}
	}
	r.placed = true
	return false
}

// placesFor returns the places for a command, and how long it waits for one.
func (s *Server) placesFor(access command.Access) (*semaphore.Weighted, time.Duration) {
	if access&command.Crowded != 0 {
		return s.crowd, crowdPatience
	}
	return s.places, patience
}

// shed refuses a command because of overload. The SDK is told to leave it out
// for a while (protocol 01 §13, OverLoadPush.notify2), which spares both sides
// the asking.
func (c *Conn) shed(r request, reason string) {
	c.server.metrics.shed.WithLabelValues(reason).Inc()
	if r.access != 0 && r.start.Sub(c.told) >= overloadDelay { // a command that is not there is refused anyway
		c.told = r.start
		c.enqueue(outgoing{message: wire.AppendMessage(nil, overloadDocument(r.head.Command, overloadDelay), c.mode)})
	}
	c.refuse(r, command.Err(command.CodeTooFast, ""))
	if c.limiter != nil {
		if c.refusals == nil {
			c.refusals = rate.NewLimiter(c.limiter.Limit()*refusalFactor, c.limiter.Burst())
		}
		time.Sleep(c.refusals.Reserve().Delay())
	}
}

// overloadDocument is the push that makes an SDK refuse a command locally. The
// name is one of the table's, so it needs no quoting.
func overloadDocument(name string, d time.Duration) []byte {
	doc := []byte(`{"head":{"ver":"v4","servcmd":"` + wire.OverloadCommand + `"},"body":{"OverLoadServCmd":"` + name + `","DelaySecs":`)
	return append(strconv.AppendInt(doc, int64(d/time.Second), 10), "}}"...)
}
