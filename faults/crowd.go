package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"imserver/bench/loadgen"
)

// crowd is the load: users who chat in pairs, and all together in one group.
type crowd struct {
	cluster *cluster
	members []*member
	every   time.Duration
	around  time.Duration // how long they chat before and after a fault
	group   string
	paused  atomic.Bool
	refused atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup
}

func newCrowd(ctx context.Context, c *cluster, o options) (*crowd, error) {
	users := o.users + o.users%2
	crowd := &crowd{cluster: c, every: o.every, around: o.pick(2*time.Second, 500*time.Millisecond)}
	for i := range users {
		m := &member{crowd: crowd, index: i, name: fmt.Sprintf("user%d", i), peer: fmt.Sprintf("user%d", i^1),
			acked: map[int64]bool{}, received: map[int64]bool{}, lastAck: time.Now()}
		var err error
		if m.device, err = loadgen.NewDevice(c.target(i), m.name); err != nil {
			return nil, err
		}
		crowd.members = append(crowd.members, m)
	}
	if err := crowd.gather(); err != nil {
		return nil, err
	}
	ctx, crowd.stop = context.WithCancel(ctx)
	for _, m := range crowd.members {
		crowd.running.Go(func() { m.live(ctx) })
	}
	return crowd, nil
}

// gather makes the accounts and the group that everybody is in.
func (c *crowd) gather() error {
	var list []string
	for _, m := range c.members {
		if err := m.device.Open(nil); err != nil {
			return err
		}
		list = append(list, fmt.Sprintf(`{"Member_Account":%q}`, m.name))
	}
	c.group = "faults"
	_, err := c.members[0].device.Call("group_open_http_svc.create_group", fmt.Appendf(nil,
		`{"Type":"Public","Name":"faults","GroupId":%q,"Owner_Account":%q,"MemberList":[%s]}`, c.group, c.members[0].name, strings.Join(list[1:], ",")))
	for _, m := range c.members {
		m.device.Close()
	}
	if err != nil {
		log.Printf("chatting without a group: %v", err)
		c.group = ""
	}
	return nil
}

// toGroup reports whether a member's n-th message goes to the group: every
// eighth does.
func (c *crowd) toGroup(n int64) bool { return c.group != "" && n%8 == 0 }

func (c *crowd) close() {
	if c.stop != nil {
		c.stop()
	}
	c.running.Wait()
}

// under runs one fault under load and checks what came of it.
func (c *crowd) under(ctx context.Context, cl *cluster, f fault) result {
	r := result{name: f.name}
	c.goHome(ctx)
	begin := time.Now()
	since := c.mark()
	c.paused.Store(false)
	sleep(ctx, c.around)
	if err := f.do(ctx, cl, c); errors.Is(err, errNotHere) {
		r.skipped = err.Error()
	} else if err != nil {
		r.problems = append(r.problems, err.Error())
	}
	if err := cl.heal(ctx); err != nil {
		r.problems = append(r.problems, err.Error())
		return r
	}
	c.await(ctx, 60*time.Second, &r)
	sleep(ctx, c.around)
	c.paused.Store(true)
	c.settle(ctx, &r)
	c.check(ctx, begin, since, &r)
	return r
}

// goHome brings everybody back to the node they began on: earlier faults have
// driven them to others.
func (c *crowd) goHome(ctx context.Context) {
	for i, m := range c.members {
		if home := c.cluster.target(i).URL; m.at() != home {
			m.home.Store(true)
			m.disconnect()
		}
	}
	_ = eventually(ctx, 20*time.Second, func() error { // who is not back is noticed later
		for i, m := range c.members {
			if home := c.cluster.target(i).URL; m.at() != home {
				return fmt.Errorf("%s is not back", m.name)
			}
		}
		return nil
	})
}

// mark begins a phase: what each member has made so far.
func (c *crowd) mark() []int64 {
	since := make([]int64, len(c.members))
	for i, m := range c.members {
		m.mu.Lock()
		since[i], m.longest, m.slowest, m.lastAck, m.problems = m.next, 0, 0, time.Now(), nil
		m.mu.Unlock()
	}
	return since
}

// await waits until everybody has been acknowledged something again.
func (c *crowd) await(ctx context.Context, d time.Duration, r *result) {
	from := time.Now()
	err := eventually(ctx, d, func() error {
		for _, m := range c.members {
			m.mu.Lock()
			ok := m.lastAck.After(from)
			m.mu.Unlock()
			if !ok {
				return fmt.Errorf("%s did not get through again within %s", m.name, d)
			}
		}
		return nil
	})
	if err != nil {
		r.problems = append(r.problems, err.Error())
	}
}
