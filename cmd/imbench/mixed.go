package main

import (
	"context"
	"math"
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
	loadgen.Mix
	r     *runner
	stats c2cStats
}

func (c *crowd) answered(r loadgen.Reply) {
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
	c.Devices, err = loadgen.OpenAll(r.target, r.names(), n, 32, func(int) func([]byte, int64) { return c.pushed }, func(open int) { r.say("%d open", open) })
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(c.Devices)
	for i := 0; i < n; i += loadgen.MixGroup {
		a := &assembly{r: r, o: room{kind: "Private"}, members: c.Devices[i:min(i+loadgen.MixGroup, n)]}
		if err := a.assemble(nil); err != nil {
			return nil, err
		}
		c.Groups = append(c.Groups, a.id)
	}
	stop := make(chan struct{})
	go c.Run(stop, rate, math.MaxInt64, c.answered)
	res := &result{Params: map[string]int{"devices": n, "rate": rate}}
	err = r.run(ctx, res, c.stats.measured.Load)
	close(stop)
	until(ctx, 5*time.Second, func() bool { return c.Waiting() == 0 })
	res.Operations, res.Deliveries, res.Errors = c.stats.measured.Load(), c.stats.delivered.Load(), c.stats.errors.Load()
	res.Ack, res.Push = c.stats.answer.Summary(), c.stats.push.Summary()
	return res, err
}
