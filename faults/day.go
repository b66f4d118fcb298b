package main

import (
	"context"
	"fmt"
	"log"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

// dayDevices are those who stay for the whole day; everybody else comes and goes.
const dayDevices = 120

// dayWaiting is how many requests of the mix wait at most: on a machine that
// has other things to do the day becomes a slower one, not a flood.
const dayWaiting = 32

// day is the load of a soak run: a steady mix of requests, and beside it
// errands, each of which begins, does its thing and leaves nothing behind.
type day struct {
	cluster *cluster
	rate    int
	mix     loadgen.Mix
	stop    chan struct{}
	cancel  context.CancelFunc
	running sync.WaitGroup
	errands atomic.Int64
	answers atomic.Int64                         // to the mix
	later   atomic.Int64                         // to anybody: come again later
	latency atomic.Pointer[[2]loadgen.Histogram] // of the answers, of the pushes, since the last sample

	mu     sync.Mutex
	failed map[string]int // guarded by mu: by command and code

}

func newDay(c *cluster, o options) (*day, error) {
	d := &day{cluster: c, rate: o.rate, stop: make(chan struct{}), failed: map[string]int{}}
	d.latency.Store(new([2]loadgen.Histogram))
	var err error
	d.mix.Devices, err = loadgen.OpenAll(c.everywhere(), "day", dayDevices, 16, func(int) func([]byte, int64) { return d.pushed }, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < dayDevices; i += loadgen.MixGroup {
		owner := d.mix.Devices[i]
		owner.Grow(256)
		list := make([]string, 0, loadgen.MixGroup)
		for _, m := range d.mix.Devices[i+1 : i+loadgen.MixGroup] {
			m.Grow(256) // a slow answer must not keep the next from being asked
			list = append(list, `{"Member_Account":"`+m.User+`"}`)
		}
		doc, err := owner.Call("group_open_http_svc.create_group", fmt.Appendf(nil,
			`{"Type":"Private","Name":"day","Owner_Account":%q,"MemberList":[%s]}`, owner.User, strings.Join(list, ",")))
		if err != nil {
			return nil, err
		}
		d.mix.Groups = append(d.mix.Groups, loadgen.Member(doc, `"GroupId":"`))
	}
	return d, nil
}

// everywhere is all nodes, which devices take in turn.
func (c *cluster) everywhere() loadgen.Target {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.url)
	}
	return loadgen.Target{URL: strings.Join(urls, ","), App: appID, Key: appKey}
}

func (d *day) begin(ctx context.Context) {
	ctx, d.cancel = context.WithCancel(ctx)
	d.running.Go(func() { d.mix.Run(d.stop, d.rate, dayWaiting, d.answered) })
	for _, e := range errands {
		for who := range e.people {
			d.running.Go(func() {
				for round := 0; ctx.Err() == nil; round++ {
					if err := e.run(ctx, d, who, round); err != nil && ctx.Err() == nil {
						d.fail(e.name, err)
					}
					d.errands.Add(1)
					sleep(ctx, e.pause)
				}
			})
		}
	}
}

// end lets errands finish and closes everything.
func (d *day) end() {
	close(d.stop)
	d.cancel()
	d.running.Wait()
	loadgen.CloseAll(d.mix.Devices)
}

func (d *day) answered(r loadgen.Reply) {
	d.answers.Add(1)
	d.latency.Load()[0].Record(time.Duration(r.At - r.Sent))
	if r.Code != 0 {
		d.fail("mix", fmt.Errorf("code %d: %.200s", r.Code, r.Doc))
	}
}

func (d *day) pushed(doc []byte, at int64) {
	loadgen.Stamps(doc, func(sent, _ int64) {
		if sent > 0 { // an errand's message says no time
			d.latency.Load()[1].Record(time.Duration(at - sent))
		}
	})
}

func (d *day) fail(what string, err error) {
	if text := err.Error(); strings.Contains(text, fmt.Sprint("code ", codeAgain)) || strings.Contains(text, fmt.Sprint("code ", codeBusy)) {
		d.later.Add(1)
		return
	}
	kind, _, _ := strings.Cut(err.Error(), "{")
	kind = what + ": " + kind
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed[kind]++; d.failed[kind] == 1 {
		log.Printf("  %s: %v", what, err)
	}
}

func (d *day) errors() (n float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, count := range d.failed {
		n += float64(count)
	}
	return n
}

// problems are the kinds of errors and how often each came. One in a thousand
// may be told to come again: the machine may have had other things to do.
func (d *day) problems() (list []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for kind, count := range d.failed {
		list = append(list, fmt.Sprintf("%d × %s", count, kind))
	}
	if later := d.later.Load(); later > d.answers.Load()/1000 {
		list = append(list, fmt.Sprintf("%d × told to come again later", later))
	}
	sort.Strings(list)
	return list
}

// gauge adds what clients saw since the last sample.
func (d *day) gauge(s sample) {
	l := d.latency.Swap(new([2]loadgen.Histogram))
	s[answerP50], s[answerP99], s[pushP99] = ms(l[0].Quantile(.5)), ms(l[0].Quantile(.99)), ms(l[1].Quantile(.99))
}

// String says who else is about.
func (d *day) String() string {
	var list []string
	for _, e := range errands {
		list = append(list, fmt.Sprintf("%d %s", e.people, e.name))
	}
	return strings.Join(list, ", ")
}
