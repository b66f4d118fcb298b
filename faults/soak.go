package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"sort"
	"strings"
	"time"
)

// A soak run looks at everything this often in all, and lets the first part of
// it, in which caches and pools fill, go by.
const (
	soakSamples = 30
	soakWarmup  = 9 // samples; at ten minutes the three for which answers are remembered
	// soakRest is how long the nodes are left alone at the end: the minute
	// after which a silent socket, a watcher and a live room's event count as
	// gone, and the grace of a device that is away.
	soakRest = 80 * time.Second
)

// limit is what a gauge may do. In the last third of the load it may be factor
// times the first third, and slack more; after the rest it may be that much
// above what it was before the load.
type limit struct {
	name          string
	factor, slack float64
	rest          float64 // -1: it stays as it is
}

var limits = []limit{
	{heapObjects, 1.2, 10_000, 80_000}, // what is remembered for some minutes is there still
	{heapBytes, 1.2, 4, 20},
	{goroutines, 1.2, 40, 25},
	{openFiles, 1.2, 40, 40},
	{resident, 1.2, 24, -1},
	{sockets, 1.2, 30, 0},
	{devices, 1.2, 30, 0},
	{liveRooms, 1, 10, 0},
	{watching, 1.2, 60, 0},
	{redisKeys, 1.2, 30, 10},
	{redisShort, 1.5, 2_000, -1},
	{redisMemory, 1.2, 1, 2},
	{dbBytes, 1.1, 0.1, -1},
	{otherRows, 1.1, 100, -1},
	{otherBytes, 1.2, 2, -1},
	{deadRows, 1.5, 2_000, -1},
	{walBytes, 1.2, 8, -1},
	{costEach, 1.5, 1, -1},
	{answerP50, 2, 5, -1}, // the machine is to have nothing else to do
	{answerP99, 2, 50, -1},
	{pushP99, 2, 50, -1},
}

// soak runs each engine under an ordinary day's load for a long time, and
// reports whether anything grew that should not.
func soak(ctx context.Context, o options) (ok bool, err error) {
	engines := []struct {
		name string
		open func() (*cluster, error)
	}{
		{"embedded", func() (*cluster, error) { return newEmbedded(ctx, o.binary) }},
		{"two nodes on Postgres and Redis", func() (*cluster, error) { return newCluster(ctx, o.binary, 2) }},
	}
	ok = true
	var page strings.Builder
	for _, e := range engines {
		if !strings.Contains(e.name, o.only) {
			continue
		}
		log.Printf("%s, %s …", e.name, o.soak)
		c, err := e.open()
		if err != nil {
			return false, err
		}
		good, err := c.soak(ctx, o, e.name, &page)
		c.close(o.keep || !good)
		if err != nil {
			return false, err
		}
		ok = ok && good
	}
	fmt.Fprint(os.Stdout, "\n", page.String())
	if o.docs != "" && o.only == "" {
		err = renew(o.docs, "soak", page.String())
	}
	return ok, err
}

func (c *cluster) soak(ctx context.Context, o options, name string, page *strings.Builder) (bool, error) {
	before, err := c.look(ctx)
	if err != nil {
		return false, err
	}
	d, err := newDay(c, o)
	if err != nil {
		return false, err
	}
	d.begin(ctx)
	seen, err := c.watch(ctx, o, d, before)
	d.end()
	if err != nil {
		return false, err
	}
	log.Printf("a rest of %s", soakRest)
	sleep(ctx, soakRest)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	after, err := c.look(ctx)
	if err == nil {
		err = c.profile("after")
	}
	if err != nil {
		return false, err
	}
	rows, problems := judge(before, seen[soakWarmup:], after)
	problems = append(append(d.problems(), c.complaints()...), problems...)
	fmt.Fprintf(page, "%s: %s, %d requests a second beside %s; %.0f messages stored, %d errands, %d requests told to come again.\n\n",
		name, o.soak, o.rate, d, after[messages], d.errands.Load(), d.later.Load())
	writeTable(page, rows)
	fmt.Fprintln(page)
	for _, p := range problems {
		fmt.Fprintf(page, "- **%s**\n", p)
	}
	return len(problems) == 0, nil
}

// watch takes the samples of the day, and profiles for the one who looks for
// what has grown.
func (c *cluster) watch(ctx context.Context, o options, d *day, last sample) (seen []sample, err error) {
	for i := range soakSamples {
		sleep(ctx, o.soak/soakSamples)
		s, err := c.look(ctx)
		if err != nil {
			return nil, err
		}
		d.gauge(s)
		s[costEach] = (s[processor] - last[processor]) * 1000 / max(s[messages]-last[messages], 1)
		seen, last = append(seen, s), s
		log.Printf("%3d of %d: %.0f messages, %.0f errors, p99 %.1f ms, %.1f MiB heap, %.0f objects, %.0f goroutines, %.0f files", i+1, soakSamples, s[messages],
			d.errors(), s[answerP99], s[heapBytes], s[heapObjects], s[goroutines], s[openFiles])
		if i == soakWarmup {
			if err := c.profile("early"); err != nil {
				return nil, err
			}
		}
	}
	return seen, c.profile("late")
}

// look is a sample with an end.
func (c *cluster) look(ctx context.Context) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.gauge(ctx)
}

// judge compares the last third with the first and the rest with the
// beginning, and returns the table and what does not hold.
func judge(before sample, seen []sample, after sample) (rows [][]string, problems []string) {
	first, last := seen[:len(seen)/3], seen[len(seen)-len(seen)/3:]
	rows = [][]string{{"", "before", "first third", "last third", "after a rest", ""}}
	check := func(l limit, show bool) {
		a, z, b, r := middle(first, l.name), middle(last, l.name), before[l.name], after[l.name]
		verdict := "held"
		if z > a*l.factor+l.slack {
			verdict = "**grew**"
		} else if l.rest >= 0 && r > b+l.rest {
			verdict = "**stayed**"
		}
		if verdict != "held" {
			problems = append(problems, fmt.Sprintf("%s: %s, then %s; before %s, after %s", l.name, figure(a), figure(z), figure(b), figure(r)))
		}
		if show || verdict != "held" {
			rows = append(rows, []string{l.name, figure(b), figure(a), figure(z), figure(r), verdict})
		}
	}
	for _, l := range limits {
		if slices.ContainsFunc(seen, func(s sample) bool { _, ok := s[l.name]; return ok }) {
			check(l, true)
		}
	}
	var tables []string
	for name := range after {
		if table, ok := strings.CutPrefix(name, "rows of "); ok && name != otherRows && !keptForTheirTime(table) {
			tables = append(tables, table)
		}
	}
	sort.Strings(tables)
	for _, table := range tables {
		check(limit{"rows of " + table, 1.2, 100, -1}, false)
		check(limit{"size of " + table, 1.5, 1, -1}, false)
		check(limit{"dead rows of " + table, 1.5, 2_000, -1}, false)
	}
	return rows, problems
}

func figure(v float64) string {
	if v == float64(int64(v)) || v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	return values[len(values)/2]
}
