package gateway

import (
	"strconv"
	"time"

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
)

// shed refuses a command when its connection sends more than its share, or the
// node has more to do than it should take on, and reports whether it did. The
// SDK is told to leave the command out for a while (protocol 01 §13,
// OverLoadPush.notify2), which spares both sides the asking.
func (c *Conn) shed(r request) bool {
	session := r.access&command.Stale != 0 // these must not be refused (protocol 01 T6): they wait their turn
	reason := ""
	switch {
	case c.limiter != nil && session:
		time.Sleep(c.limiter.Reserve().Delay())
		return false
	case c.limiter != nil && !c.limiter.Allow():
		reason = "connection"
	case !session && c.server.busy.Load() >= int64(c.server.opts.MaxBusy):
		reason = "node"
	default:
		return false
	}
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
	return true
}

// overloadDocument is the push that makes an SDK refuse a command locally. The
// name is one of the table's, so it needs no quoting.
func overloadDocument(name string, d time.Duration) []byte {
	doc := []byte(`{"head":{"ver":"v4","servcmd":"` + wire.OverloadCommand + `"},"body":{"OverLoadServCmd":"` + name + `","DelaySecs":`)
	return append(strconv.AppendInt(doc, int64(d/time.Second), 10), "}}"...)
}
