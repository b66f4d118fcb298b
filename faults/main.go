// Command faults breaks a running cluster in every way it can think of while
// clients chat over it, and then compares what was acknowledged with what
// every participant can read. It starts its own Postgres, Redis and server
// nodes, on loopback and free ports, and ends them.
//
//	go run ./faults -short          a minute, as CI runs it
//	go run ./faults                 everything, with five minutes of chance
//	go run ./faults -only redis     faults whose name contains a word
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

type options struct {
	binary string
	short  bool
	only   string
	users  int
	every  time.Duration
	chaos  time.Duration
	seed   int64
	keep   bool
}

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("faults: ")
	var o options
	flag.StringVar(&o.binary, "binary", "", "imserver binary (default: built from this tree)")
	flag.BoolVar(&o.short, "short", false, "a minute instead of everything")
	flag.StringVar(&o.only, "only", "", "only faults whose name contains this")
	flag.IntVar(&o.users, "users", 16, "chatting users")
	flag.DurationVar(&o.every, "every", 40*time.Millisecond, "pause of a user between two messages")
	flag.DurationVar(&o.chaos, "chaos", 5*time.Minute, "how long the random faults last")
	flag.Int64Var(&o.seed, "seed", 0, "seed of the random faults (default: drawn and printed)")
	flag.BoolVar(&o.keep, "keep", false, "keep data and logs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := run(ctx, o)
	if err != nil {
		log.Fatal(err)
	}
	if !ok {
		os.Exit(1)
	}
}

// result is a row of the table.
type result struct {
	name         string
	sent, acked  int
	lost, twice  int
	interruption time.Duration
	problems     []string
	skipped      string
}

func run(ctx context.Context, o options) (bool, error) {
	c, err := newCluster(ctx, o.binary, 2)
	if err != nil {
		return false, err
	}
	defer c.close(o.keep)
	crowd, err := newCrowd(ctx, c, o.users, o.every)
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
	return print(results, o), ctx.Err()
}

// print writes the table and reports whether everything held.
func print(results []result, o options) bool {
	ok, passed := true, 0
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	load := fmt.Sprintf("%d users, a message each %s", o.users, o.every)
	_, _ = fmt.Fprintf(w, "\nfault\tload\tsent\tacknowledged\tlost\tduplicated\tlongest interruption\t\n")
	for _, r := range results {
		note := r.skipped
		if len(r.problems) > 0 {
			note = r.problems[0]
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", r.name, load, r.sent, r.acked, r.lost, r.twice, r.interruption.Round(10*time.Millisecond), note)
		if r.lost > 0 || r.twice > 0 || len(r.problems) > 0 || r.acked == 0 && r.skipped == "" {
			ok = false
			for _, p := range r.problems {
				log.Printf("%s: %s", r.name, p)
			}
		} else {
			passed++
		}
	}
	_ = w.Flush()
	fmt.Printf("\n%d passed, %d failed\n", passed, len(results)-passed)
	return ok && len(results) > 0
}
