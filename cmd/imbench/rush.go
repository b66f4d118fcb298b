package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

// rush describes watchers who come while the speaker speaks.
type rush struct {
	watchers int
	within   time.Duration // over which their joins are spread evenly
}

// stretch is what the speaker and those who watched from the beginning saw
// during a part of a run.
type stretch struct {
	name         string
	answer, push loadgen.Histogram
}

// runRush measures the speaker's room three times: before more watchers come,
// while they come, and when they are there. The latter two show apart what
// coming costs and what more watchers cost.
func runRush(ctx context.Context, r *runner, o room, more rush) (*result, error) {
	var stats c2cStats
	var stopped atomic.Bool
	var now atomic.Pointer[stretch]
	a := &assembly{r: r, o: o, stats: &stats, stopped: &stopped, stretch: &now}
	name := r.names()
	err := a.open(name + "m")
	defer func() { loadgen.CloseAll(a.members) }()
	if err != nil {
		return nil, err
	}
	a.members[0].Grow(4*o.rate + 32)
	var newcomers atomic.Uint64
	late, err := loadgen.OpenAll(r.target, name+"r", more.watchers, 32, func(int) func([]byte, int64) {
		return func(doc []byte, _ int64) { loadgen.Stamps(doc, func(int64, int64) { newcomers.Add(1) }) }
	}, func(open int) { r.say("%d open", open) })
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(late)
	if err := a.assemble(nil); err != nil {
		return nil, err
	}
	go a.tick(ctx)
	if !wait(ctx, r.warmup) {
		return nil, ctx.Err()
	}
	before, during, after := &stretch{name: "before"}, &stretch{name: "during"}, &stretch{name: "after"}
	now.Store(before)
	if !wait(ctx, r.duration) {
		return nil, ctx.Err()
	}
	res := &result{Params: map[string]int{"members": o.members, "rate": o.rate, "rush": more.watchers}}
	m, err := r.begin()
	if err != nil {
		return nil, err
	}
	now.Store(during)
	joins, failed := a.enter(ctx, late, more.within)
	m.end(res)
	now.Store(after)
	if !wait(ctx, r.duration) {
		return nil, ctx.Err()
	}
	now.Store(nil)
	stopped.Store(true)
	until(ctx, 10*time.Second, func() bool { return stats.inflight.Load() == 0 })
	readers := uint64(o.members - 1)
	settle(ctx, &stats, readers)
	res.Operations, res.Errors, res.Disordered = joins.Count(), stats.errors.Load()+failed, stats.disordered.Load()
	res.Lost = int64(stats.acked.Load()*readers) - int64(stats.received.Load())
	res.Ack, res.Push = during.answer.Summary(), during.push.Summary()
	res.Extra = map[string]float64{"join_p50_ms": joins.Summary().P50, "join_p99_ms": joins.Summary().P99, "newcomers_received": float64(newcomers.Load())}
	for _, s := range []*stretch{before, during, after} {
		for what, l := range map[string]loadgen.Latency{"ack": s.answer.Summary(), "push": s.push.Summary()} {
			res.Extra[fmt.Sprintf("%s_%s_p50_ms", what, s.name)], res.Extra[fmt.Sprintf("%s_%s_p99_ms", what, s.name)] = l.P50, l.P99
		}
	}
	return res, nil
}

// enter lets devices join, spread evenly over a time, and returns when all are
// answered: how long each took, and how many were refused.
func (a *assembly) enter(ctx context.Context, devices []*loadgen.Device, within time.Duration) (joins *loadgen.Histogram, failed uint64) {
	joins = &loadgen.Histogram{}
	var refused atomic.Uint64
	var wg sync.WaitGroup
	start := time.Now()
	for i, d := range devices {
		if due := start.Add(within * time.Duration(i) / time.Duration(len(devices))); !wait(ctx, time.Until(due)) {
			break
		}
		wg.Add(1)
		d.Send("group_open_http_svc.apply_join_group", a.joinBody(), 0, func(r loadgen.Reply) {
			defer wg.Done()
			if r.Code != 0 {
				refused.Add(1)
				return
			}
			joins.Record(time.Duration(r.At - r.Sent))
		})
	}
	wg.Wait()
	return joins, refused.Load()
}

func (a *assembly) joinBody() []byte {
	return fmt.Appendf(nil, `{"GroupId":"%s","WebPushFlag":1,"HugeGroupHistoryMsgFlag":1}`, a.id)
}
