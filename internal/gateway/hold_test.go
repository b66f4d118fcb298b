package gateway

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"imserver/internal/command"
	"imserver/internal/fanout"
	"imserver/internal/wire"
)

// event is one of a log, if it has a sequence, or one with a name and a turn.
func event(seq int64, name string, when fanout.When) outgoing {
	return outgoing{event: &fanout.Event{Log: seq, Seq: seq, When: when, Item: []byte(name)}}
}

// back is a connection of a device that has come back, with a writer that takes
// nothing.
func back() *Conn {
	c := &Conn{server: &Server{opts: Options{MaxQueue: 1 << 20}}, writing: true}
	c.inflight, c.server.opts.MaxInflight = 1, 10
	c.Hold()
	return c
}

func sent(c *Conn) (names []string) {
	for _, o := range c.out {
		if o.event != nil {
			names = append(names, string(o.event.Item))
		} else {
			names = append(names, string(o.message))
		}
	}
	return names
}

func wantSent(t *testing.T, c *Conn, want ...string) {
	t.Helper()
	if got := sent(c); !slices.Equal(got, want) {
		t.Fatalf("what goes out is %v; want %v", got, want)
	}
}

var (
	windows  = request{access: command.Users | command.CatchUp}
	overview = command.Users | command.Snapshot | command.Overview
	counts   = command.Users | command.Snapshot | command.Sync
)

// Ensure that events about messages wait until a device that came back has read
// its lists, and go out in their order: those that its list of conversations or
// its sync tells of are let go.
func TestHold(t *testing.T) {
	c := back()
	c.begin(windows)
	h := c.back
	c.enqueue(event(1, "log 1", 0))
	c.enqueue(event(0, "message 1", fanout.AfterSync))
	c.enqueue(event(0, "revoke 1", fanout.InSync))
	c.enqueue(event(0, "status", fanout.AtOnce))
	held, seen := c.heldBack(), c.eventCount()
	wantSent(t, c, "status")
	c.enqueue(event(2, "log 2", 0))
	c.enqueue(event(0, "revoke 2", fanout.InSync))
	if !c.enqueueIf(seen, outgoing{message: []byte("list")}) {
		t.Fatal("an event that waits made the list be read again")
	}
	c.fetched(overview, held)
	c.enqueue(event(3, "log 3", 0))
	c.fetched(overview, c.heldBack()) // a further page
	c.release(h)
	wantSent(t, c, "status", "list") // the windows are not answered yet
	c.end(windows)
	if !c.catchingUp() {
		t.Fatal("the device has no counts, and is said to be done")
	}
	c.enqueue(outgoing{message: []byte("counts")})
	c.fetched(counts, held)
	c.fetched(counts, held)
	if c.catchingUp() {
		t.Fatal("the device has its counts, and is said not to be done")
	}
	c.release(h)
	c.enqueue(event(4, "log 4", 0))
	wantSent(t, c, "status", "list", "counts", "message 1", "log 2", "revoke 2", "log 3", "log 4")
	if c.back != nil || h.bytes != len("message 1log 2revoke 2log 3")+4*160 {
		t.Errorf("what waited counts %d bytes", h.bytes)
	}
}

// Ensure that a list is read again when an event went out meanwhile.
func TestHoldRereads(t *testing.T) {
	c := back()
	seen := c.eventCount()
	c.enqueue(event(0, "status", fanout.AtOnce))
	if c.enqueueIf(seen, outgoing{message: []byte("list")}) {
		t.Fatal("a list was given that was read before an event")
	}
}

// Ensure that a device that is made to ask for everything again waits again, and
// that a command from before it came back does not count.
func TestHoldAgain(t *testing.T) {
	c := back()
	h := c.back
	c.end(windows) // from before
	c.fetched(overview, 0)
	c.fetched(counts, 0)
	c.Hold()
	if c.back != h || !c.catchingUp() {
		t.Fatal("the device does not wait again")
	}
	c.enqueue(event(0, "message", fanout.AfterSync))
	c.release(h)
	wantSent(t, c, "message")
}

// Ensure that a device is made to begin anew, once, when it was refused what
// it has to fetch.
func TestHoldRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := back()
		for range 2 {
			c.askAgain()
			time.Sleep(againTime)
			synctest.Wait()
		}
		wantSent(t, c, string(wire.AppendMessage(nil, resyncDocument, c.mode)))
		c.back.timer.Stop()
		c.back = nil
		c.askAgain()
		time.Sleep(againTime)
		synctest.Wait()
		if len(c.out) != 1 {
			t.Fatal("a device that has not just come back is made to begin anew")
		}
	})
}
