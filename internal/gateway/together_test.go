package gateway

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"imserver/internal/fanout"
)

func numbered(n int) *fanout.Event {
	return &fanout.Event{Item: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// readUntil reads what a client gets until mark is there.
func readUntil(t *testing.T, r io.Reader, mark string) string {
	t.Helper()
	var text []byte
	for buf := make([]byte, 64<<10); !bytes.Contains(text, []byte(mark)); {
		n, err := r.Read(buf)
		if err != nil {
			t.Errorf("after %d bytes without %s: %v", len(text), mark, err)
			break
		}
		text = append(text, buf[:n]...)
	}
	return string(text)
}

// Ensure that what belongs together is written by the caller when all of it is
// there, in one frame for each connection, answers first and events when the
// caller says so, and that a connection whose client does not read holds up
// nobody and loses nothing.
func TestTogether(t *testing.T) {
	s, hub := newServer()
	quick, quickClient := join(t, s, 1, fanout.User(1))
	stuck, stuckClient := join(t, s, 2, fanout.User(2))
	padding := strings.Repeat("x", 1<<20)
	asking, askingClient := join(t, s, 3, fanout.User(3))
	rest := hub.Together(func() {
		for n := range 8 { // more than a socket takes
			hub.Push(2, fmt.Appendf(nil, `{"pad":%q,"n":%d}`, padding, n), fanout.Device{})
		}
		hub.Push(1, numbered(0).Item, fanout.Device{})
		hub.Push(1, numbered(1).Item, fanout.Device{})
		hub.Push(3, numbered(1).Item, fanout.Device{})
		asking.enqueue(outgoing{message: []byte("answer")})
		quick.mu.Lock()
		defer quick.mu.Unlock()
		if len(quick.out) != 2 || !quick.writing {
			t.Errorf("%d events wait, marked as being written: %v", len(quick.out), quick.writing)
		}
	})
	waiting := func(c *Conn) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.out) > 0 || c.writing
	}
	if waiting(asking) || !waiting(quick) {
		t.Errorf("an answer waits: %v, events wait: %v", waiting(asking), waiting(quick))
	}
	if got := readUntil(t, askingClient, "answer"); !strings.Contains(got, `{"n":1}`) {
		t.Errorf("the answer overtook the event: %s", got)
	}
	rest()
	if waiting(quick) {
		t.Error("the caller has not written everything")
	}
	if got := readUntil(t, quickClient, `{"n":1}`); !strings.Contains(got, `{"n":0},{"n":1}`) {
		t.Errorf("not in one frame: %s", got)
	}
	stuck.mu.Lock()
	writing := stuck.writing
	stuck.mu.Unlock()
	if !writing {
		t.Error("the kernel took 8 MiB at once: the test is none")
	}
	got := readUntil(t, stuckClient, `"n":7}`)
	for n, from := 0, 0; n < 8; n++ {
		at := strings.Index(got[from:], fmt.Sprintf(`"n":%d}`, n))
		if at < 0 {
			t.Fatalf("event %d is missing or out of order", n)
		}
		from += at
	}
}

// Ensure that an answer to a connection whose events are put off is written at
// once, with them, and nothing twice.
func TestPutOff(t *testing.T) {
	s, hub := newServer()
	c, client := join(t, s, 1, fanout.User(1))
	rest := hub.Together(func() { hub.Push(1, numbered(0).Item, fanout.Device{}) })
	hub.Push(1, numbered(1).Item, fanout.Device{}) // waits with the first
	c.mu.Lock()
	if len(c.out) != 2 {
		t.Errorf("%d events wait", len(c.out))
	}
	c.mu.Unlock()
	c.enqueue(outgoing{message: []byte("answer")})
	got := readUntil(t, client, "answer")
	if !strings.Contains(got, `{"n":0},{"n":1}`) {
		t.Errorf("before the answer came %s", got)
	}
	rest()
	hub.Push(1, numbered(2).Item, fanout.Device{})
	if got := readUntil(t, client, `{"n":2}`); strings.Contains(got, `"n":0`) || strings.Contains(got, `"n":1`) {
		t.Errorf("written twice: %s", got)
	}
}

// Ensure that nothing is lost or changes places where several gather at once
// and others write meanwhile.
func TestTogetherAtOnce(t *testing.T) {
	const users, rounds = 8, 300
	s, hub := newServer()
	var all sync.WaitGroup
	for uid := int64(1); uid <= users; uid++ {
		_, client := join(t, s, uid, fanout.User(uid))
		all.Go(func() {
			got := readUntil(t, client, fmt.Sprintf(`{"n":%d}`, rounds-1))
			events := regexp.MustCompile(`{"n":\d+}`).FindAllString(got, -1)
			for n := range rounds {
				if want := string(numbered(n).Item); n >= len(events) || events[n] != want {
					t.Errorf("user %d: event %d of %d is not %s", uid, n, len(events), want)
					return
				}
			}
			if len(events) != rounds {
				t.Errorf("user %d got %d events, of %d", uid, len(events), rounds)
			}
		})
		all.Go(func() {
			for n := range rounds {
				if n%3 == 0 {
					hub.Publish(fanout.User(uid), numbered(n))
					continue
				}
				rest := hub.Together(func() { hub.Publish(fanout.User(uid), numbered(n)) })
				if rest != nil { // another's Together may have written it
					rest()
				}
			}
		})
	}
	all.Wait()
}
