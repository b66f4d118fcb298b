package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/bus"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/wire"
)

// BenchmarkBystander measures what two users notice who write to each other
// while a group of 5,000 connections is told something ten times a second: from
// the sender's socket to the receiver's, alone and beside the group.
func BenchmarkBystander(b *testing.B) {
	const members = 5000
	s, hub := newServer()
	for i := range members {
		join(b, s, int64(i+10), fanout.Group(1))
	}
	_, client := join(b, s, 1, fanout.User(1))
	in, out := pipe(b)
	go func() { // the sender's connection: what it reads goes to the other user
		var one [1]byte
		for {
			if _, err := in.Read(one[:]); err != nil {
				return
			}
			hub.Publish(fanout.User(1), &fanout.Event{Item: groupItem})
		}
	}()
	chat := func(d time.Duration) []time.Duration {
		var took []time.Duration
		buf := make([]byte, 64<<10)
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(3 * time.Millisecond) {
			begin := time.Now()
			if _, err := out.Write([]byte{1}); err != nil {
				b.Fatal(err)
			}
			if _, err := client.Read(buf); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took
	}
	report := func(took []time.Duration, when string) {
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-p50-"+when)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99-"+when)
	}
	var alone, beside []time.Duration
	for b.Loop() {
		alone = append(alone, chat(2*time.Second)...)
		stop := make(chan struct{})
		go func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					hub.Publish(fanout.Group(1), &fanout.Event{Item: groupItem})
				}
			}
		}()
		beside = append(beside, chat(2*time.Second)...)
		close(stop)
	}
	slices.Sort(alone)
	slices.Sort(beside)
	report(alone, "alone")
	report(beside, "beside")
}

// Ensure that a crowd gets everything, each in order and once, also while some
// of it get events of their own, or do not read for a while.
func TestCrowd(t *testing.T) {
	const members, events = 150, 100
	s, hub := newServer()
	group := fanout.Group(1)
	padding := strings.Repeat("x", 2048) // some of them fill a socket
	var reading sync.WaitGroup
	for i := range members {
		c, client := join(t, s, int64(i+1), group)
		c.Join(fanout.User(int64(i + 1)))
		reading.Go(func() {
			if i%20 == 0 {
				time.Sleep(50 * time.Millisecond) // its socket fills up
			}
			got := map[string][]int{}
			in, end := bufio.NewReader(client), fmt.Sprintf("%q:%d}", "group", events-1)
			marks := regexp.MustCompile(`"(group|own)":(\d+)}`)
			var text []byte
			for buf := make([]byte, 64<<10); !bytes.Contains(text, []byte(end)) || !bytes.Contains(text, []byte(`"own":9}`)); {
				n, err := in.Read(buf)
				if err != nil {
					t.Errorf("member %d: %v", i, err)
					return
				}
				text = append(text, buf[:n]...)
			}
			for _, m := range marks.FindAllSubmatch(text, -1) {
				n, _ := strconv.Atoi(string(m[2])) // digits
				got[string(m[1])] = append(got[string(m[1])], n)
			}
			for what, count := range map[string]int{"group": events, "own": 10} {
				if len(got[what]) != count || !slices.IsSorted(got[what]) {
					t.Errorf("member %d got %d of %d, in order: %v", i, len(got[what]), count, slices.IsSorted(got[what]))
				}
			}
		})
	}
	for n := range events {
		hub.Publish(group, &fanout.Event{Item: fmt.Appendf(nil, `{"pad":%q,"group":%d}`, padding, n)})
		if n%10 == 0 {
			for i := range members {
				hub.Publish(fanout.User(int64(i+1)), &fanout.Event{Item: fmt.Appendf(nil, `{"own":%d}`, n/10)})
			}
		}
	}
	reading.Wait()
}

// newServer is a door to its hub and nothing else.
func newServer() (*Server, *fanout.Hub) {
	log := slog.New(slog.DiscardHandler)
	hub := fanout.NewHub(bus.Local{}, log)
	s := &Server{opts: Options{MaxQueue: 16 << 20, WriteTimeout: 10 * time.Second}, hub: hub, log: log, metrics: newMetrics(prometheus.NewRegistry())}
	hub.OnTogether(s.together.run)
	return s, hub
}

// pipe is a TCP connection on loopback.
func pipe(b testing.TB) (server, client net.Conn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		b.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = server.Close(), client.Close() })
	return server, client
}

// join makes a connection of an account that is in a topic.
func join(b testing.TB, s *Server, uid int64, t fanout.Topic) (*Conn, net.Conn) {
	server, client := pipe(b)
	c := &Conn{id: uint64(uid), server: s, nc: server, in: newInput(server), mode: wire.Text}
	c.session.Store(&session.Session{UID: uid, Inst: 1})
	c.Join(t)
	return c, client
}
