package gateway

import (
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/bus"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/wire"
)

// drain is a socket that takes everything at once.
type drain struct {
	net.Conn
	written *sync.WaitGroup
}

func (d drain) SetWriteDeadline(time.Time) error { return nil }

func (d drain) Write(b []byte) (int, error) {
	d.written.Done()
	return len(b), nil
}

// crowd makes a hub with n connections in one topic; written is done once for
// every write.
func crowd(n int) (hub *fanout.Hub, topic fanout.Topic, written *sync.WaitGroup) {
	log := slog.New(slog.DiscardHandler)
	hub, written = fanout.NewHub(bus.Local{}, log), &sync.WaitGroup{}
	s := &Server{opts: Options{MaxQueue: 1 << 20, WriteTimeout: time.Second}, hub: hub, log: log, metrics: newMetrics(prometheus.NewRegistry())}
	topic = fanout.Group(1)
	for i := range n {
		nc := drain{written: written}
		c := &Conn{id: uint64(i), server: s, nc: nc, in: newInput(nc), mode: wire.Compressed}
		c.session.Store(&session.Session{UID: int64(i + 1), Inst: 1})
		c.Join(topic)
	}
	return hub, topic, written
}

var groupItem = []byte(`{"Event":3,"GroupMsgArray":[{"From_Account":"alice","ToGroupId":"@TGS#2J4SZEAEL","MsgSeq":1234,"MsgRandom":1234567890,"MsgTimeStamp":1795387270,` +
	`"TinyId":"144115200000012345","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"a message of the usual length, some sixty characters of it"}}]}]}`)

// BenchmarkDeliver hands a group's message to 100 connections and waits until
// all of them have written it; the time and the allocations are those of a
// message, a hundredth of them those of a delivery.
func BenchmarkDeliver(b *testing.B) {
	const members = 100
	hub, topic, written := crowd(members)
	b.ReportAllocs()
	for b.Loop() {
		written.Add(members)
		hub.Publish(topic, &fanout.Event{Item: groupItem})
		written.Wait()
	}
}

// loginFields is what a login answers.
type loginFields struct {
	TinyId         string
	A2Key          string
	InstId         uint32
	HelloInterval  int
	TimeStamp      int64
	PurchaseBits   string
	CustomStatus   string
	RichMsgAuthKey string
}

func loginAnswer() *loginFields {
	return &loginFields{TinyId: "144115200000012345", A2Key: "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhcHAiOjE0MDAwMDAwMDEsInN1YiI6IjE0NDExNTIwMDAwMDAwMDAwMSJ9.c2ln",
		InstId: 1 << 30, HelloInterval: 120, TimeStamp: 1795387270, PurchaseBits: session.Capabilities}
}

// BenchmarkLoginAnswer encodes the answer of a login for its connection.
func BenchmarkLoginAnswer(b *testing.B) {
	c, r, answer := &Conn{mode: wire.Compressed}, request{head: wire.Head{Command: "im_open_status.wslogin", Seq: "57228886"}}, loginAnswer()
	b.ReportAllocs()
	for b.Loop() {
		c.encode(r, answer, nil)
	}
}

// Ensure that a delivery to one of many connections, and an answer, stay within
// what they may allocate.
func TestAllocationBudgets(t *testing.T) {
	const members = 50
	hub, topic, written := crowd(members)
	deliver := func() {
		written.Add(members)
		hub.Publish(topic, &fanout.Event{Item: groupItem})
		written.Wait()
	}
	if n := testing.AllocsPerRun(50, deliver); n/members > 4 { // the queue and the writing goroutine; the frame is everybody's
		t.Errorf("a delivery allocates %.1f times, budget 4", n/members)
	}
	c, r, answer := &Conn{mode: wire.Compressed}, request{head: wire.Head{Command: "im_open_status.wslogin", Seq: "1"}}, loginAnswer()
	if n := testing.AllocsPerRun(50, func() { c.encode(r, answer, nil) }); n > 6 { // JSON and the message; buffers, when the pool is empty
		t.Errorf("the answer of a login allocates %.0f times, budget 6", n)
	}
}
