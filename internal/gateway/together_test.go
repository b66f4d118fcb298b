package gateway

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/bus"
	"imserver/internal/fanout"
)

func togetherServer() *Server {
	log := slog.New(slog.DiscardHandler)
	s := &Server{opts: Options{MaxQueue: 16 << 20, WriteTimeout: 10 * time.Second}, hub: fanout.NewHub(bus.Local{}, log), log: log,
		metrics: newMetrics(prometheus.NewRegistry())}
	s.hub.OnTogether(s.together.run)
	return s
}

func numbered(n int) *fanout.Event {
	return &fanout.Event{Item: fmt.Appendf(nil, `{"n":%d}`, n)}
}

// readUntil reads what a client gets until it ends with mark.
func readUntil(t *testing.T, r io.Reader, mark string) string {
	t.Helper()
	var text []byte
	for buf := make([]byte, 64<<10); !bytes.Contains(text, []byte(mark)); {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes without %s: %v", len(text), mark, err)
		}
		text = append(text, buf[:n]...)
	}
	return string(text)
}

// Ensure that what belongs together is written by the caller when all of it is
// there, in one frame for each connection, and that a connection whose client
// does not read holds up nobody and loses nothing.
func TestTogether(t *testing.T) {
	s := togetherServer()
	quick, quickClient := join(t, s, 1, fanout.User(1))
	stuck, stuckClient := join(t, s, 2, fanout.User(2))
	padding := strings.Repeat("x", 1<<20)
	s.hub.Together(func() {
		for n := range 8 { // more than a socket takes
			s.hub.Push(2, fmt.Appendf(nil, `{"pad":%q,"n":%d}`, padding, n), fanout.Device{})
		}
		s.hub.Push(1, numbered(0).Item, fanout.Device{})
		s.hub.Push(1, numbered(1).Item, fanout.Device{})
		quick.mu.Lock()
		defer quick.mu.Unlock()
		if len(quick.out) != 2 || !quick.writing {
			t.Errorf("%d events wait, marked as being written: %v", len(quick.out), quick.writing)
		}
	})
	quick.mu.Lock()
	if len(quick.out) > 0 || quick.writing {
		t.Error("the caller has not written everything")
	}
	quick.mu.Unlock()
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

// Ensure that nothing is lost or changes places where several gather at once
// and others write meanwhile.
func TestTogetherAtOnce(t *testing.T) {
	const users, rounds = 8, 300
	s := togetherServer()
	var all sync.WaitGroup
	for uid := int64(1); uid <= users; uid++ {
		_, client := join(t, s, uid, fanout.User(uid))
		all.Go(func() {
			got := readUntil(t, client, fmt.Sprintf(`{"n":%d}`, rounds-1))
			var want strings.Builder
			for n := range rounds {
				fmt.Fprintf(&want, `{"n":%d}`, n)
			}
			var have strings.Builder
			for rest := got; ; {
				at := strings.Index(rest, `{"n":`)
				if at < 0 {
					break
				}
				rest = rest[at:]
				end := strings.IndexByte(rest, '}') + 1
				have.WriteString(rest[:end])
				rest = rest[end:]
			}
			if have.String() != want.String() {
				t.Errorf("user %d got %s", uid, have.String())
			}
		})
		all.Go(func() {
			for n := range rounds {
				if n%3 == 0 {
					s.hub.Publish(fanout.User(uid), numbered(n))
					continue
				}
				s.hub.Together(func() { s.hub.Publish(fanout.User(uid), numbered(n)) })
			}
		})
	}
	all.Wait()
}
