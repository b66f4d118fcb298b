package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

func mixedCommand(r *runner) *cobra.Command {
	var devices, rate int
	cmd := r.scenario("mixed", "An ordinary day: of 20 requests 9 are one-to-one messages, 4 read reports, 3 history pages, 2 group messages, 2 lists", func(ctx context.Context) (*result, error) {
		return runMixed(ctx, r, devices, rate)
	})
	cmd.Flags().IntVar(&devices, "devices", 1000, "logged-in devices, in groups of 20")
	cmd.Flags().IntVar(&rate, "rate", 1000, "requests per second of all together")
	return cmd
}

// crowd is the load of the mixed scenario.
type crowd struct {
	r       *runner
	devices []*loadgen.Device
	groups  []string // group i/20 is that of device i
	stats   c2cStats
	number  atomic.Int64
}

// crowdGroup is how many devices share a group.
const crowdGroup = 20

// request makes one request of the mix for a device.
func (c *crowd) request(i int) (command string, body []byte) {
	d, n := c.devices[i], c.number.Add(1)
	peer := c.devices[(i+1+rand.IntN(5))%len(c.devices)].User // everybody has five people to talk to
	switch k := rand.IntN(20); {
	case k < 9:
		return "openim.sendmsg", loadgen.C2C(nil, d.User, peer, n, rand.Int64N(1<<31), loadgen.Now(), n, time.Now().Unix(), 100)
	case k < 13:
		return "openim.msgreaded", fmt.Appendf(nil, `{"C2CMsgReaded":{"Cookie":"","C2CMsgReadedItem":[{"To_Account":"%s","LastedMsgTime":%d,"Receipt":1}]}}`, peer, time.Now().Unix())
	case k < 16:
		return "openim.getroammsg", fmt.Appendf(nil, `{"Peer_Account":"%s","MaxCnt":15,"LastMsgTime":0,"MsgKey":"","WithRecalledMsg":1,"GetDirection":0}`, peer)
	case k < 18:
		return "group_open_http_svc.send_group_msg", loadgen.Group(nil, d.User, c.groups[i/crowdGroup], rand.Int64N(1<<31), n, loadgen.Now(), n, 100)
	}
	return "recentcontact.page_get", fmt.Appendf(nil, `{"From_Account":"%s","TimeStamp":0,"StartIndex":0,"TopTimeStamp":0,"TopStartIndex":0,"OrderType":1,"MsgAssistFlags":15,"AssistFlags":31}`, d.User)
}

func (c *crowd) answered(r loadgen.Reply) {
	c.stats.inflight.Add(-1)
	if r.Code != 0 {
		c.stats.errors.Add(1)
		return
	}
	if c.r.measuring.Load() {
		c.stats.measured.Add(1)
		c.stats.answer.Record(time.Duration(r.At - r.Sent))
	}
}

func (c *crowd) pushed(doc []byte, at int64) {
	loadgen.Stamps(doc, func(sent, _ int64) {
		if c.r.measuring.Load() {
			c.stats.delivered.Add(1)
			c.stats.push.Record(time.Duration(at - sent))
		}
	})
}

func runMixed(ctx context.Context, r *runner, n, rate int) (*result, error) {
	c := &crowd{r: r}
	var err error
	c.devices, err = loadgen.OpenAll(r.target, r.names(), n, 32, func(int) func([]byte, int64) { return c.pushed }, func(open int) { r.say("%d open", open) })
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(c.devices)
	for i := 0; i < n; i += crowdGroup {
		a := &assembly{r: r, o: room{kind: "Private"}, members: c.devices[i:min(i+crowdGroup, n)]}
		if err := a.assemble(nil); err != nil {
			return nil, err
		}
		c.groups = append(c.groups, a.id)
	}
	stop := make(chan struct{})
	go func() {
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for sent, start := 0, time.Now(); ; {
			select {
			case <-t.C:
			case <-stop:
				return
			}
			for due := int(time.Since(start).Seconds() * float64(rate)); sent < due; sent++ {
				i := rand.IntN(n)
				command, body := c.request(i)
				c.stats.inflight.Add(1)
				c.devices[i].Send(command, body, 0, c.answered)
			}
		}
	}()
	res := &result{Params: map[string]int{"devices": n, "rate": rate}}
	err = r.run(ctx, res, c.stats.measured.Load)
	close(stop)
	until(ctx, 5*time.Second, func() bool { return c.stats.inflight.Load() == 0 })
	res.Operations, res.Deliveries, res.Errors = c.stats.measured.Load(), c.stats.delivered.Load(), c.stats.errors.Load()
	res.Ack, res.Push = c.stats.answer.Summary(), c.stats.push.Summary()
	return res, err
}
