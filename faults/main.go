// Command faults breaks a running cluster in every way it can think of while
// clients chat over it, and then compares what was acknowledged with what
// every participant was told and can read. It starts its own Postgres, Redis
// and server nodes, on loopback and free ports, and ends them.
//
//	go run ./faults -short          under two minutes, as CI runs it
//	go run ./faults                 everything, with five minutes of chance
//	go run ./faults -only redis     faults whose name contains a word
//	go run ./faults -overload       what clients who ask too much cost the others
//	go run ./faults -soak 10m       an ordinary day on each engine: nothing may grow that should not
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

type options struct {
	binary   string
	docs     string
	short    bool
	overload bool
	only     string
	users    int
	members  int
	every    time.Duration
	chaos    time.Duration
	seed     int64
	keep     bool
	soak     time.Duration
	rate     int
}

// pick returns how long something takes in the full form or the short one.
func (o options) pick(full, short time.Duration) time.Duration {
	if o.short {
		return short
	}
	return full
}

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("faults: ")
	var o options
	flag.StringVar(&o.binary, "binary", "", "imserver binary (default: built from this tree, with a clock that can be moved)")
	flag.StringVar(&o.docs, "docs", "", "page whose table is to be renewed")
	flag.BoolVar(&o.overload, "overload", false, "measure what clients who ask too much cost the others")
	flag.IntVar(&o.members, "members", 50000, "overload: size of the large group")
	flag.BoolVar(&o.short, "short", false, "two minutes instead of everything")
	flag.StringVar(&o.only, "only", "", "only faults whose name contains this")
	flag.IntVar(&o.users, "users", 16, "chatting users")
	flag.DurationVar(&o.every, "every", 40*time.Millisecond, "pause of a user between two messages")
	flag.DurationVar(&o.chaos, "chaos", 5*time.Minute, "how long the random faults last")
	flag.Int64Var(&o.seed, "seed", 0, "seed of the random faults (default: drawn and printed)")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs")
	flag.DurationVar(&o.soak, "soak", 0, "let each engine work for this long and look for what grows")
	flag.IntVar(&o.rate, "rate", 300, "soak: requests a second of the steady mix")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if task := os.Getenv(audienceVar); task != "" {
		if err := attend(task); err != nil {
			log.Fatal(err)
		}
		return
	}
	if o.overload {
		if err := overload(ctx, o); err != nil {
			log.Fatal(err)
		}
		return
	}
	do := run
	if o.soak > 0 {
		do = soak
	}
	ok, err := do(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (bool, error) {
	c, err := newCluster(ctx, o.binary, 2)
	if err != nil {
		return false, err
	}
	defer c.close(o.keep)
	crowd, err := newCrowd(ctx, c, o)
	if err != nil {
		return false, err
	}
	defer crowd.close()
	var results []result
	for _, f := range faults(o) {
		if o.only != "" && !strings.Contains(f.name, o.only) || ctx.Err() != nil {
			continue
		}
		log.Printf("%s …", f.name)
		r := crowd.under(ctx, c, f)
		results = append(results, r)
		log.Printf("%s: %d acknowledged, %d lost, %d twice %s", f.name, r.acked, r.lost, r.twice, r.skipped)
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return report(results, o)
}
