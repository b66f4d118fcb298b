// Command imbench puts load on a server and measures what it does. It speaks
// the SDK's protocol, one scenario a run:
//
//	imbench c2c --url ws://127.0.0.1:8080 --key KEY --pairs 20 --inflight 16 --pid 1234
//
// imbench null is a server that only answers: what a scenario reaches against
// it is the most that this program can drive.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	debug.SetGCPercent(400) // memory is not what is measured here; time is
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "imbench:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	r := &runner{}
	cmd := &cobra.Command{Use: "imbench", Short: "Measure an imserver", SilenceUsage: true, SilenceErrors: true}
	f := cmd.PersistentFlags()
	f.StringVar(&r.target.URL, "url", "ws://127.0.0.1:8080", "the server, as proxyServer would name it; nodes of a cluster by commas")
	f.Uint32Var(&r.target.App, "app", 1400000001, "SDKAppID")
	f.StringVar(&r.target.Key, "key", os.Getenv("IMBENCH_KEY"), "the app's secret, to sign tickets with")
	f.DurationVar(&r.duration, "duration", defaultDuration, "time to measure")
	f.DurationVar(&r.warmup, "warmup", defaultWarmup, "time before that which does not count")
	f.BoolVar(&r.json, "json", false, "print JSON instead of a table")
	f.IntVar(&r.pid, "pid", -1, "process of the server, for its processor time and memory")
	f.StringVar(&r.prefix, "prefix", "", "begin of the users' names (default: new ones for every run)")
	f.StringVar(&r.redis, "redis", "", "redis:// address of the cluster's Redis, to count its commands")
	f.BoolVar(&r.quiet, "quiet", false, "no progress on standard error")
	cmd.AddCommand(connectCommand(r), loginCommand(r), c2cCommand(r), groupCommand(r), liveCommand(r), historyCommand(r), mixedCommand(r), nullCommand(r))
	return cmd
}
