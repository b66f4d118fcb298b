package main

import (
	"context"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

func connectCommand(r *runner) *cobra.Command {
	var devices int
	cmd := r.scenario("connect", "Many logged-in devices that do nothing: what one costs in memory", func(ctx context.Context) (*result, error) {
		return runConnect(ctx, r, devices)
	})
	cmd.Flags().IntVar(&devices, "devices", 10_000, "devices")
	return cmd
}

func runConnect(ctx context.Context, r *runner, n int) (*result, error) {
	before, err := loadgen.ReadUsage(r.pid)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	devices, err := loadgen.OpenAll(r.target, r.names(), n, 64, nil, func(open int) { r.say("%d open", open) })
	if err != nil {
		return nil, err
	}
	defer loadgen.CloseAll(devices)
	opened := time.Since(start)
	runtime.GC()
	res := &result{Params: map[string]int{"devices": n}}
	m, err := r.begin()
	if err != nil {
		return nil, err
	}
	if !wait(ctx, r.duration) { // idle: the server collects its garbage meanwhile
		return nil, ctx.Err()
	}
	m.end(res)
	res.Operations = uint64(n)
	res.Extra = map[string]float64{
		"bytes_per_device":      float64(res.ServerRSS-before.RSS) / float64(n),
		"connects_per_second":   float64(n) / opened.Seconds(),
		"idle_server_cpu_share": res.ServerCPU / res.Seconds,
	}
	return res, nil
}
