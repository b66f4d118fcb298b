package gateway

import (
	"slices"
	"testing"

	"imserver/internal/fanout"
)

func event(seq int64) outgoing {
	return outgoing{event: &fanout.Event{Log: 1, Seq: seq, Item: []byte("{}")}}
}

// The events of logs wait for the list of a device that came back, and for what
// it fetches then. Those that the list was read after are let go.
func TestHold(t *testing.T) {
	c := &Conn{server: &Server{opts: Options{MaxQueue: 1 << 20}}, writing: true} // a writer that takes nothing
	c.catching(1)                                                                // from before
	c.Hold()
	h := c.back
	c.enqueue(event(1))
	c.enqueue(event(2))
	c.enqueue(event(0)) // stands outside of logs
	held, seen := c.heldBack(), c.eventCount()
	if held != 2 || len(c.out) != 1 {
		t.Fatalf("%d events wait and %d go out; want 2 and 1", held, len(c.out))
	}
	c.enqueue(event(3))
	if c.enqueueIf(seen, outgoing{message: []byte("list")}) {
		t.Fatal("a list was given that was read before an event came")
	}
	c.enqueue(outgoing{message: []byte("list")})
	c.listed(held)
	c.listed(held) // a further page that was read at the same time
	c.catching(-1) // from before
	c.catching(1)
	c.release(h)
	if len(c.out) != 2 {
		t.Fatal("events went out while the client caught up")
	}
	c.catching(-1)
	c.release(h)
	c.enqueue(event(4))
	var got []int64
	for _, o := range c.out {
		if o.event != nil {
			got = append(got, o.event.Seq)
		} else {
			got = append(got, -1)
		}
	}
	if want := []int64{0, -1, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("what goes out is %v; want %v (-1 is the list)", got, want)
	}
}
