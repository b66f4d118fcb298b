package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

const (
	defaultDuration = 10 * time.Second
	defaultWarmup   = time.Second
)

// runner holds what every scenario needs.
type runner struct {
	target   loadgen.Target
	duration time.Duration
	warmup   time.Duration
	json     bool
	quiet    bool
	pid      int
	prefix   string
	redis    string

	measuring atomic.Bool // records count
}

// result is what a scenario found. Fields that do not apply are 0.
type result struct {
	Scenario   string             `json:"scenario"`
	Params     map[string]int     `json:"params"`
	Seconds    float64            `json:"seconds"`
	Operations uint64             `json:"operations"` // answered requests of the kind the scenario is about
	Rate       float64            `json:"rate"`       // of them per second
	Deliveries uint64             `json:"deliveries"` // messages received by those they were for
	DelivRate  float64            `json:"delivery_rate"`
	Errors     uint64             `json:"errors"`
	Lost       int64              `json:"lost"`       // acknowledged but never received
	Disordered uint64             `json:"disordered"` // received out of order or twice
	Ack        loadgen.Latency    `json:"ack"`
	Push       loadgen.Latency    `json:"push"`
	ServerCPU  float64            `json:"server_cpu_seconds"`
	ClientCPU  float64            `json:"client_cpu_seconds"`
	ServerRSS  int64              `json:"server_rss_bytes"`
	PerOp      float64            `json:"server_us_per_operation"`
	PerDeliv   float64            `json:"server_us_per_delivery"`
	Redis      int64              `json:"redis_commands"` // with --redis; those of connections that do nothing else included
	PerRedis   float64            `json:"redis_commands_per_operation"`
	Extra      map[string]float64 `json:"extra,omitempty"`
}

// names returns the beginning of the users' names of this run.
func (r *runner) names() string {
	if r.prefix != "" {
		return r.prefix
	}
	return "b" + strconv.FormatInt(time.Now().UnixMilli()%1e9, 36)
}

// scenario wraps a function as a command that prints its result.
func (r *runner) scenario(use, short string, run func(ctx context.Context) (*result, error)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if r.target.Key == "" {
			return errors.New("--key is missing")
		}
		res, err := run(cmd.Context())
		if err != nil {
			return err
		}
		res.Scenario = use
		return r.print(res)
	}}
}

// say prints progress.
func (r *runner) say(format string, args ...any) {
	if !r.quiet {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}
}

// meter measures a stretch of time.
type meter struct {
	r      *runner
	start  time.Time
	server loadgen.Usage
	client loadgen.Usage
	redis  int64
}

func (r *runner) begin() (*meter, error) {
	server, err := loadgen.ReadUsage(r.pid)
	if err != nil {
		return nil, fmt.Errorf("--pid: %w", err)
	}
	client, _ := loadgen.ReadUsage(0) // this process exists
	commands, err := redisCommands(r.redis)
	if err != nil {
		return nil, fmt.Errorf("--redis: %w", err)
	}
	r.measuring.Store(true)
	return &meter{r, time.Now(), server, client, commands}, nil
}

// end fills in what the stretch cost.
func (m *meter) end(res *result) {
	m.r.measuring.Store(false)
	res.Seconds = time.Since(m.start).Seconds()
	server, _ := loadgen.ReadUsage(m.r.pid) // read once before; zero if it is gone since
	client, _ := loadgen.ReadUsage(0)
	res.ServerCPU, res.ClientCPU, res.ServerRSS = server.CPU-m.server.CPU, client.CPU-m.client.CPU, server.RSS
	if commands, err := redisCommands(m.r.redis); err == nil {
		res.Redis = commands - m.redis
	}
}

// run lets a load that is under way warm up, measures it for the duration and
// tells how it goes every few seconds.
func (r *runner) run(ctx context.Context, res *result, count func() uint64) error {
	if !wait(ctx, r.warmup) {
		return ctx.Err()
	}
	m, err := r.begin()
	if err != nil {
		return err
	}
	const step = 5 * time.Second
	for left, last := r.duration, count(); left > 0; left -= step {
		if !wait(ctx, min(step, left)) {
			return ctx.Err()
		}
		if left > step {
			now := count()
			r.say("%3.0f s: %.0f/s", time.Since(m.start).Seconds(), float64(now-last)/step.Seconds())
			last = now
		}
	}
	m.end(res)
	return nil
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// until polls cond for at most d.
func until(ctx context.Context, d time.Duration, cond func() bool) {
	for end := time.Now().Add(d); !cond() && time.Now().Before(end) && wait(ctx, 10*time.Millisecond); {
	}
}

func (res *result) finish() {
	if res.Seconds > 0 {
		res.Rate, res.DelivRate = float64(res.Operations)/res.Seconds, float64(res.Deliveries)/res.Seconds
	}
	if res.Operations > 0 {
		res.PerOp = res.ServerCPU * 1e6 / float64(res.Operations)
		res.PerRedis = float64(res.Redis) / float64(res.Operations)
	}
	if res.Deliveries > 0 {
		res.PerDeliv = res.ServerCPU * 1e6 / float64(res.Deliveries)
	}
}

func (r *runner) print(res *result) error {
	res.finish()
	if r.json {
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	var params []string
	for k, v := range res.Params {
		params = append(params, fmt.Sprintf("%s=%d", k, v))
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	row("scenario", "%s %s", res.Scenario, strings.Join(params, " "))
	row("operations", "%d in %.1f s, %.0f/s, %d errors", res.Operations, res.Seconds, res.Rate, res.Errors)
	if res.Deliveries > 0 {
		row("deliveries", "%d, %.0f/s, lost %d, out of order %d", res.Deliveries, res.DelivRate, res.Lost, res.Disordered)
	}
	for _, l := range []struct {
		name    string
		Latency loadgen.Latency
	}{{"answer", res.Ack}, {"push", res.Push}} {
		if v := l.Latency; v.Count > 0 {
			row(l.name+" ms", "p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f", v.P50, v.P90, v.P99, v.P999, v.Max)
		}
	}
	if r.pid >= 0 {
		row("server", "%.2f s processor, %.1f MiB resident, %.1f µs an operation, %.2f µs a delivery", res.ServerCPU,
			float64(res.ServerRSS)/(1<<20), res.PerOp, res.PerDeliv)
	}
	if r.redis != "" {
		row("redis", "%d commands, %.2f an operation", res.Redis, res.PerRedis)
	}
	row("generator", "%.2f s processor", res.ClientCPU)
	for k, v := range res.Extra {
		row(k, "%.2f", v)
	}
	return w.Flush()
}
