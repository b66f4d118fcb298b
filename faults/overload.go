package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"imserver/bench/loadgen"
)

// abuse is a client, or many, that ask more than their share. It begins, lasts
// until ctx ends, and says what became of it.
type abuse struct {
	name string
	do   func(ctx context.Context, n *node) (outcome string, err error)
}

// overload measures what bystanders notice of abuse: the same chats on the same
// node, before it and during it.
func overload(ctx context.Context, o options) error {
	const alone, together = 8 * time.Second, 12 * time.Second
	if o.binary == "" { // one for all clusters
		dir, err := os.MkdirTemp("", "imserver-faults-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		o.binary = filepath.Join(dir, "imserver")
		if err := build(ctx, o.binary); err != nil {
			return err
		}
	}
	rows := [][]string{{"who asks too much", "bystanders' p50, p99 without", "with", "failed", "what became of it"}}
	for _, a := range abuses() {
		if o.only != "" && !strings.Contains(a.name, o.only) || ctx.Err() != nil {
			continue
		}
		row, err := measure(ctx, o, a, alone, together)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		log.Printf("%s", strings.Join(row, " | "))
		rows = append(rows, row)
	}
	if o.only == "" || strings.Contains(audienceName, o.only) {
		row, err := largeGroup(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", audienceName, err)
		}
		rows = append(rows, row)
	}
	var table strings.Builder
	writeTable(&table, rows)
	fmt.Fprint(os.Stdout, "\n", table.String())
	if o.docs != "" && o.only == "" {
		return renew(o.docs, "overload", table.String())
	}
	return ctx.Err()
}

// measure runs one abuse against a cluster of its own.
func measure(ctx context.Context, o options, a abuse, alone, together time.Duration) ([]string, error) {
	c, err := newCluster(ctx, o.binary, 1)
	if err != nil {
		return nil, err
	}
	defer c.close(o.keep)
	log.Printf("%s …", a.name)
	s, err := newBystanders(c.nodes)
	if err != nil {
		return nil, err
	}
	defer s.close()
	sleep(ctx, 2*time.Second) // caches and connections
	before := s.watch(ctx, alone)
	abusive, end := context.WithTimeout(ctx, together)
	defer end()
	outcome := make(chan string, 1)
	go func() {
		text, err := a.do(abusive, c.nodes[0])
		if err != nil {
			text = "**" + err.Error() + "**"
		}
		outcome <- text
	}()
	sleep(ctx, time.Second)
	during := s.watch(ctx, together-2*time.Second)
	return []string{a.name, before.latency(), during.latency(), fmt.Sprint(before.failed + during.failed), <-outcome}, nil
}

// bystanders are pairs of users who write to each other all the time, each a
// message every 50 ms.
type bystanders struct {
	devices []*loadgen.Device
	stop    context.CancelFunc
	running sync.WaitGroup

	mu  sync.Mutex
	now *seen // guarded by mu; nil: nobody looks
}

// seen is what was measured in a time.
type seen struct {
	loadgen.Histogram // from sending to the push at the other
	failed            int
}

func (s *seen) latency() string {
	return fmt.Sprintf("%.1f, %.1f ms", ms(s.Quantile(0.5)), ms(s.Quantile(0.99)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

const bystanderPairs = 8

func newBystanders(nodes []*node) (*bystanders, error) {
	s := &bystanders{}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	for i := range 2 * bystanderPairs {
		n := nodes[(i/2)%len(nodes)]
		d, err := loadgen.NewDevice(loadgen.Target{URL: n.url, App: appID, Key: appKey}, fmt.Sprintf("bystander%d", i))
		if err != nil {
			return nil, err
		}
		if err := d.Open(s.pushed); err != nil {
			return nil, err
		}
		d.Grow(4096) // a slow answer must not keep the next from being asked
		s.devices = append(s.devices, d)
	}
	for i := range s.devices {
		s.running.Go(func() { s.chat(ctx, i) })
	}
	return s, nil
}

func (s *bystanders) pushed(doc []byte, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	loadgen.Stamps(doc, func(sent, _ int64) {
		if s.now != nil {
			s.now.Record(time.Duration(at - sent))
		}
	})
}

func (s *bystanders) chat(ctx context.Context, i int) {
	d, peer := s.devices[i], s.devices[i^1].User
	for n := int64(1); ctx.Err() == nil; n++ {
		d.Send("openim.sendmsg", loadgen.C2C(nil, d.User, peer, n, n, loadgen.Now(), n, time.Now().Unix(), 80), 0, func(r loadgen.Reply) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if r.Code != 0 && s.now != nil {
				s.now.failed++
			}
		})
		sleep(ctx, 50*time.Millisecond)
	}
}

// watch measures for a time.
func (s *bystanders) watch(ctx context.Context, d time.Duration) *seen {
	now := &seen{}
	s.mu.Lock()
	s.now = now
	s.mu.Unlock()
	sleep(ctx, d)
	s.mu.Lock()
	s.now = nil
	s.mu.Unlock()
	return now
}

func (s *bystanders) close() {
	s.stop()
	s.running.Wait()
	loadgen.CloseAll(s.devices)
}
