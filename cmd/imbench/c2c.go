package main

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

func c2cCommand(r *runner) *cobra.Command {
	var pairs, inflight, size int
	var cold bool
	cmd := r.scenario("c2c", "Pairs of users who chat: durable, acknowledged, delivered", func(ctx context.Context) (*result, error) {
		if cold {
			return runCold(ctx, r, pairs, size)
		}
		return runC2C(ctx, r, pairs, inflight, size)
	})
	cmd.Flags().BoolVar(&cold, "cold", false, "instead, one user writes the first message ever to each of as many others as pairs says, "+
		"one after the other; an earlier login run with the same --prefix has made them, and a restart made the server forget them")
	cmd.Flags().IntVar(&pairs, "pairs", 20, "pairs of users; in each, one writes to the other")
	cmd.Flags().IntVar(&inflight, "inflight", 16, "messages of a pair that wait for their answer")
	cmd.Flags().IntVar(&size, "size", 100, "bytes of text in a message")
	return cmd
}

// chat is a pair's load: a closed loop of inflight messages.
type chat struct {
	r        *runner
	from     *loadgen.Device
	to       string
	size     int
	mu       sync.Mutex
	next     int64  // guarded by mu: number of the newest message
	body     []byte // guarded by mu
	stopped  *atomic.Bool
	stats    *c2cStats
	expected int64 // number that the receiver waits for; used by its reader only
}

type c2cStats struct {
	acked, received     atomic.Uint64 // of the whole run
	measured, delivered atomic.Uint64 // while measuring
	errors, disordered  atomic.Uint64
	inflight            atomic.Int64
	answer, push        loadgen.Histogram
}

func (c *chat) send() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	c.body = loadgen.C2C(c.body[:0], c.from.User, c.to, c.next, rand.Int64N(1<<31), loadgen.Now(), c.next, time.Now().Unix(), c.size)
	c.stats.inflight.Add(1)
	c.from.Send("openim.sendmsg", c.body, 0, c.answered)
}

// answered keeps the loop going. It runs in the sender's reading goroutine.
func (c *chat) answered(r loadgen.Reply) {
	c.stats.inflight.Add(-1)
	if r.Code != 0 {
		c.stats.errors.Add(1)
		if r.Code == loadgen.CodeLost {
			return
		}
	} else {
		c.stats.acked.Add(1)
		if c.r.measuring.Load() {
			c.stats.measured.Add(1)
			c.stats.answer.Record(time.Duration(r.At - r.Sent))
		}
	}
	if !c.stopped.Load() {
		c.send()
	}
}

// pushed takes the receiver's pushes.
func (c *chat) pushed(doc []byte, at int64) {
	loadgen.Stamps(doc, func(sent, number int64) {
		c.stats.received.Add(1)
		if number != c.expected+1 {
			c.stats.disordered.Add(1)
		}
		c.expected = number
		if c.r.measuring.Load() {
			c.stats.delivered.Add(1)
			c.stats.push.Record(time.Duration(at - sent))
		}
	})
}

func runC2C(ctx context.Context, r *runner, pairs, inflight, size int) (*result, error) {
	var stats c2cStats
	var stopped atomic.Bool
	name := r.names()
	chats := make([]*chat, pairs)
	for i := range chats {
		chats[i] = &chat{r: r, size: size, stopped: &stopped, stats: &stats}
	}
	receivers, err := loadgen.OpenAll(r.target, name+"r", pairs, 16, func(i int) func([]byte, int64) { return chats[i].pushed }, nil)
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(receivers)
	senders, err := loadgen.OpenAll(r.target, name+"s", pairs, 16, nil, nil)
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(senders)
	for i, c := range chats {
		c.from, c.to = senders[i], receivers[i].User
		c.from.Grow(2 * inflight)
	}
	for _, c := range chats {
		for range inflight {
			c.send()
		}
	}
	res := &result{Params: map[string]int{"pairs": pairs, "inflight": inflight, "size": size}}
	err = r.run(ctx, res, stats.acked.Load)
	stopped.Store(true)
	until(ctx, 10*time.Second, func() bool { return stats.inflight.Load() == 0 })
	until(ctx, 5*time.Second, func() bool { return stats.received.Load() >= stats.acked.Load() })
	res.Operations, res.Deliveries = stats.measured.Load(), stats.delivered.Load()
	res.Errors, res.Disordered = stats.errors.Load(), stats.disordered.Load()
	res.Lost = int64(stats.acked.Load()) - int64(stats.received.Load())
	res.Ack, res.Push = stats.answer.Summary(), stats.push.Summary()
	return res, err
}

// runCold measures the first message of a conversation: both the conversation
// and the other account are unknown to the server's memory.
func runCold(ctx context.Context, r *runner, pairs, size int) (*result, error) {
	from, err := loadgen.NewDevice(r.target.Node(0), r.names()+"cold")
	if err != nil {
		return nil, err
	}
	if err := from.Open(nil); err != nil {
		return nil, err
	}
	defer from.Close()
	if !wait(ctx, r.warmup) {
		return nil, ctx.Err()
	}
	m, err := r.begin()
	if err != nil {
		return nil, err
	}
	res := &result{Params: map[string]int{"pairs": pairs, "cold": 1, "size": size}}
	var answer loadgen.Histogram
	reply := make(chan loadgen.Reply, 1)
	for i := range pairs {
		body := loadgen.C2C(nil, from.User, r.names()+strconv.Itoa(i), int64(i+1), rand.Int64N(1<<31), loadgen.Now(), 1, time.Now().Unix(), size)
		from.Send("openim.sendmsg", body, 0, func(a loadgen.Reply) { a.Doc = nil; reply <- a })
		a := <-reply
		if a.Code != 0 {
			res.Errors++
			continue
		}
		res.Operations++
		answer.Record(time.Duration(a.At - a.Sent))
	}
	m.end(res)
	res.Ack = answer.Summary()
	return res, nil
}
