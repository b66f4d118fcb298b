package bus_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
)

// inbox is a node of a test: a bus and what it received.
type inbox struct {
	*bus.Redis
	mu     sync.Mutex
	got    map[string][]string // topic -> payloads; guarded by mu
	resets atomic.Int32
}

func mustNode(t testing.TB, c redis.UniversalClient, opt bus.RedisOptions) *inbox {
	t.Helper()
	b, err := bus.NewRedis(t.Context(), c, opt)
	if err != nil {
		t.Fatal(err)
	}
	return newInbox(t, b)
}

func newInbox(t testing.TB, b *bus.Redis) *inbox {
	n := &inbox{Redis: b, got: map[string][]string{}}
	b.Listen(func(topic string, payload []byte) {
		n.mu.Lock()
		n.got[topic] = append(n.got[topic], string(payload))
		n.mu.Unlock()
	}, func() { n.resets.Add(1) })
	t.Cleanup(func() { _ = b.Close() })
	return n
}

func (n *inbox) mustSettle(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.Settle(ctx); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

// mustQuiet waits until no reset has come for half a second.
func (n *inbox) mustQuiet(t testing.TB, resets <-chan struct{}) {
	t.Helper()
	for {
		select {
		case <-resets:
		case <-time.After(500 * time.Millisecond):
			n.mustSettle(t)
			return
		}
	}
}

func (n *inbox) received(topic string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.got[topic]...)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// Ensure that a settled subscription gets everything in order, and the
// publishing node nothing of its own.
func TestRedisOrder(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RedisOptions{Prefix: bustest.Prefix()}
	a, b := mustNode(t, c, opt), mustNode(t, c, opt)
	a.Subscribe("g1")
	b.Subscribe("g1")
	b.Subscribe("g2")
	a.mustSettle(t)
	b.mustSettle(t)
	const count = 5000
	for i := range count {
		topic := fmt.Sprint("g", 1+i%3) // g3 has no subscriber
		a.Publish(topic, binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	eventually(t, "all arrived", func() bool { return len(b.received("g1")) == (count+2)/3 && len(b.received("g2")) == (count+1)/3 })
	for topic, first := range map[string]int{"g1": 0, "g2": 1} {
		for k, p := range b.received(topic) {
			if got := int(binary.BigEndian.Uint32([]byte(p))); got != first+3*k {
				t.Fatalf("%s: %d-th is %d, want %d", topic, k, got, first+3*k)
			}
		}
	}
	if own := a.received("g1"); len(own) != 0 {
		t.Errorf("own publications came back: %d", len(own))
	}
	if b.resets.Load() != 0 {
		t.Errorf("resets: %d", b.resets.Load())
	}
}

// Ensure that whatever the order of wishes, the last one holds, for many
// topics, and that one Settle covers all before it.
func TestRedisReconciles(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RedisOptions{Prefix: bustest.Prefix()}
	a, b := mustNode(t, c, opt), mustNode(t, c, opt)
	const topics = 20000
	want := make([]bool, topics)
	for range 60000 {
		i := rand.N(topics)
		if want[i] = rand.N(2) == 0; want[i] {
			b.Subscribe(fmt.Sprint("u", i))
		} else {
			b.Unsubscribe(fmt.Sprint("u", i))
		}
	}
	b.mustSettle(t)
	b.Subscribe("end")
	b.mustSettle(t)
	for i := range topics {
		a.Publish(fmt.Sprint("u", i), []byte("x"))
	}
	a.Publish("end", nil)
	eventually(t, "the last publication", func() bool { return len(b.received("end")) == 1 })
	for i := range topics {
		if got := len(b.received(fmt.Sprint("u", i))) == 1; got != want[i] {
			t.Fatalf("topic %d: received %v, subscribed %v", i, got, want[i])
		}
	}
}

// Ensure that after a lost connection everything is subscribed again before
// the reset function is called.
func TestRedisReconnects(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RedisOptions{Prefix: bustest.Prefix()}
	a := mustNode(t, c, opt)
	b, err := bus.NewRedis(t.Context(), c, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	n := &inbox{Redis: b, got: map[string][]string{}}
	resets := make(chan struct{}, 100)
	b.Listen(func(topic string, _ []byte) {
		n.mu.Lock()
		n.got[topic] = append(n.got[topic], "")
		n.mu.Unlock()
	}, func() { resets <- struct{}{} })
	for i := range 3000 {
		b.Subscribe(fmt.Sprint("u", i))
	}
	n.mustSettle(t)
	for round := range 3 {
		killSubscribers(t, c)
		select {
		case <-resets:
		case <-time.After(10 * time.Second):
			t.Fatal("no reset")
		}
		if _, ok := c.(*redis.ClusterClient); ok {
			n.mustQuiet(t, resets) // its connections come back one by one, each with its reset
		}
		a.Publish("u2999", []byte("x"))
		eventually(t, "publication after the reset", func() bool { return len(n.received("u2999")) == round+1 })
	}
	b.Unsubscribe("u1")
	killSubscribers(t, c)
	<-resets
	a.Publish("u1", nil)
	a.Publish("u2", nil)
	eventually(t, "publication after the reset", func() bool { return len(n.received("u2")) == 1 })
	if len(n.received("u1")) != 0 {
		t.Error("an unsubscribed topic came back with the connection")
	}
}

// killSubscribers ends all subscription connections of the test Redis.
func killSubscribers(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	var killed atomic.Int64
	kill := func(ctx context.Context, c redis.UniversalClient) error {
		n, err := c.Do(ctx, "client", "kill", "type", "pubsub").Int64()
		killed.Add(n)
		return err
	}
	err := error(nil)
	if cluster, ok := c.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(t.Context(), func(ctx context.Context, c *redis.Client) error { return kill(ctx, c) })
	} else {
		err = kill(t.Context(), c)
	}
	if err != nil || killed.Load() == 0 {
		t.Fatalf("killed %d connections: %v", killed.Load(), err)
	}
}

// Ensure that a node whose publications were dropped makes the others resync,
// and that they arrive again afterwards.
func TestRedisOverflow(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RedisOptions{Prefix: bustest.Prefix()}
	b := mustNode(t, c, opt)
	b.Subscribe("g")
	b.mustSettle(t)
	opt.MaxQueuedBytes = 1000
	a := mustNode(t, c, opt)
	a.Publish("g", make([]byte, 2000))
	eventually(t, "reset of the other node", func() bool { return b.resets.Load() == 1 })
	a.Publish("g", []byte("after"))
	eventually(t, "publication", func() bool { return len(b.received("g")) == 1 })
	if a.resets.Load() != 0 {
		t.Error("the publishing node lost nothing itself")
	}
}

// Ensure that each form of URL gives the right kind of client, and that a bad
// one is refused without quoting the password.
func TestDial(t *testing.T) {
	for url, want := range map[string]string{
		"redis://127.0.0.1:1/3":                                       "single",
		"rediss://u:p@127.0.0.1:1":                                    "single",
		"redis://127.0.0.1:1,127.0.0.1:2":                             "cluster",
		"redis://u:p@127.0.0.1:1,127.0.0.1:2,127.0.0.1:3?pool_size=3": "cluster",
		"redis://127.0.0.1:1?addr=127.0.0.1:2":                        "cluster",
		"redis://127.0.0.1:1?cluster=true":                            "cluster",
		"redis://127.0.0.1:1,127.0.0.1:2/2?master_name=main":          "single",
		"127.0.0.1:1": "error",
		"redis://u:secret@127.0.0.1:1?nonsense=1": "error",
		"redis://u:secret@127.0.0.1:x":            "error",
		"redis://u:secret@127.0.0.1:1,127.0.0.1":  "error",
		"http://u:secret@127.0.0.1:1":             "error",
	} {
		c, err := bus.Dial(url, nil)
		got := "error"
		if err == nil {
			got = "single"
			if _, ok := c.(*redis.ClusterClient); ok {
				got = "cluster"
			}
			_ = c.Close()
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the password: %v", url, err)
		}
		if got != want {
			t.Errorf("%s: %s (%v), want %s", url, got, err, want)
		}
	}
}

// tripCounter counts the round trips of a client.
type tripCounter struct{ commands, pipelines atomic.Int32 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.pipelines.Add(1)
		return next(ctx, cmds)
	}
}
