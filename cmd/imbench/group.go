package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"imserver/bench/loadgen"
)

// room describes a load on groups.
type room struct {
	kind     string // as create_group calls it, AVChatRoom for live rooms
	groups   int
	members  int // online, in each group; the first of them is the owner
	offline  int // further members who are not connected
	rate     int // messages per second in each group; 0 = as fast as they are answered
	inflight int // messages of a group that wait for their answer, when rate is 0
	size     int
}

func groupCommand(r *runner) *cobra.Command {
	o := room{kind: "Private"}
	cmd := r.scenario("group", "Groups whose members are online: each message goes to all of them", func(ctx context.Context) (*result, error) {
		return runRooms(ctx, r, o)
	})
	cmd.Flags().StringVar(&o.kind, "kind", o.kind, "kind of the groups: Private, or Community for more than 6,000 members")
	cmd.Flags().IntVar(&o.groups, "groups", 1, "groups")
	cmd.Flags().IntVar(&o.members, "members", 100, "online members of a group")
	cmd.Flags().IntVar(&o.offline, "offline", 0, "further members of a group who are offline")
	cmd.Flags().IntVar(&o.rate, "rate", 0, "messages a second in each group; 0 = as many as possible (the server's group_rate must be off)")
	cmd.Flags().IntVar(&o.inflight, "inflight", 16, "messages of a group that wait for their answer, with --rate 0")
	cmd.Flags().IntVar(&o.size, "size", 100, "bytes of text in a message")
	return cmd
}

func liveCommand(r *runner) *cobra.Command {
	o := room{kind: "AVChatRoom", groups: 1, inflight: 16}
	var more rush
	cmd := r.scenario("live", "A live room: many watchers, a steady stream of messages", func(ctx context.Context) (*result, error) {
		if more.watchers > 0 {
			return runRush(ctx, r, o, more)
		}
		return runRooms(ctx, r, o)
	})
	cmd.Flags().IntVar(&more.watchers, "rush", 0, "so many more watchers come while the speaker speaks: latencies are those while they come, and beside them "+
		"those before and after, each for --duration; the speaker's --rate must not be 0")
	cmd.Flags().DurationVar(&more.within, "within", 3*time.Second, "time over which the watchers of --rush come")
	cmd.Flags().IntVar(&o.members, "watchers", 1000, "devices that watch")
	cmd.Flags().IntVar(&o.rate, "rate", 40, "messages a second; 0 = as many as possible")
	cmd.Flags().IntVar(&o.size, "size", 100, "bytes of text in a message")
	return cmd
}

// assembly is a group under load. The owner writes.
type assembly struct {
	r       *runner
	o       room
	id      string
	members []*loadgen.Device
	stats   *c2cStats
	stopped *atomic.Bool
	stretch *atomic.Pointer[stretch] // of a rush, which part of the run it is; nil otherwise

	mu   sync.Mutex
	next int64  // guarded by mu: number of the newest message
	body []byte // guarded by mu
}

func (a *assembly) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	a.body = loadgen.Group(a.body[:0], a.members[0].User, a.id, rand.Int64N(1<<31), a.next, loadgen.Now(), a.next, a.o.size)
	a.stats.inflight.Add(1)
	a.members[0].Send("group_open_http_svc.send_group_msg", a.body, 0, a.answered)
}

func (a *assembly) answered(r loadgen.Reply) {
	a.stats.inflight.Add(-1)
	if r.Code != 0 {
		a.stats.errors.Add(1)
		if r.Code == loadgen.CodeLost {
			return
		}
	} else {
		a.stats.acked.Add(1)
		if s := a.part(); s != nil {
			s.answer.Record(time.Duration(r.At - r.Sent))
		}
		if a.r.measuring.Load() {
			a.stats.measured.Add(1)
			a.stats.answer.Record(time.Duration(r.At - r.Sent))
		}
	}
	if a.o.rate == 0 && !a.stopped.Load() {
		a.send()
	}
}

// observers are how many watchers of a live room are read apart, with the
// speaker: at them latencies are taken. The generator may be seconds behind
// with the thousands of others.
const observers = 20

// open opens the devices of the room.
func (a *assembly) open(prefix string) error {
	apart := a.r.target
	seen := a.o.members
	if a.o.kind == "AVChatRoom" {
		apart.Apart = true
		seen = min(observers+1, a.o.members)
	}
	progress := func(open int) { a.r.say("%d open", open) }
	watchers := func(observed bool) func(int) func([]byte, int64) {
		return func(int) func([]byte, int64) { return a.receiver(observed) }
	}
	first, err := loadgen.OpenAll(apart, prefix, seen, 32, watchers(true), progress)
	if err != nil {
		return err
	}
	others, err := loadgen.OpenAll(a.r.target, prefix+"o", a.o.members-seen, 32, watchers(false), progress)
	a.members = append(first, others...)
	return err
}

// receiver makes the push handler of one member.
func (a *assembly) receiver(observed bool) func(doc []byte, at int64) {
	var expected int64 // used by the member's reader only
	return func(doc []byte, at int64) {
		loadgen.Stamps(doc, func(sent, number int64) {
			a.stats.received.Add(1)
			if number != expected+1 {
				a.stats.disordered.Add(1)
			}
			expected = number
			if s := a.part(); s != nil && observed {
				s.push.Record(time.Duration(at - sent))
			}
			if a.r.measuring.Load() {
				a.stats.delivered.Add(1)
				if observed {
					a.stats.push.Record(time.Duration(at - sent))
				}
			}
		})
	}
}

// part is the part of the run that a rush is in; nil when nothing is recorded.
func (a *assembly) part() *stretch {
	if a.stretch == nil {
		return nil
	}
	return a.stretch.Load()
}

// tick sends at the room's rate until the run stops.
func (a *assembly) tick(ctx context.Context) {
	t := time.NewTicker(time.Second / time.Duration(a.o.rate))
	defer t.Stop()
	for !a.stopped.Load() {
		select {
		case <-t.C:
			a.send()
		case <-ctx.Done():
			return
		}
	}
}

// assemble makes the group and brings its members in.
func (a *assembly) assemble(offline []string) error {
	owner := a.members[0]
	doc, err := owner.Call("group_open_http_svc.create_group", fmt.Appendf(nil, `{"Type":"%s","Name":"bench","Owner_Account":"%s","WebPushFlag":1,"FaceUrl":""}`, a.o.kind, owner.User))
	if err != nil {
		return err
	}
	a.id = loadgen.Member(doc, `"GroupId":"`)
	if a.o.kind == "AVChatRoom" {
		return a.watch()
	}
	names := offline
	for _, d := range a.members[1:] {
		names = append(names, d.User)
	}
	const most = 200 // names in one request
	for len(names) > 0 {
		part := names[:min(len(names), most)]
		names = names[len(part):]
		body := fmt.Appendf(nil, `{"GroupId":"%s","MemberList":[`, a.id)
		for i, name := range part {
			if i > 0 {
				body = append(body, ',')
			}
			body = fmt.Appendf(body, `{"Member_Account":"%s"}`, name)
		}
		if _, err := owner.Call("group_open_http_svc.add_group_member", append(body, "]}"...)); err != nil {
			return err
		}
	}
	return nil
}

// watch lets everybody enter a live room, some at a time.
func (a *assembly) watch() error {
	gate := make(chan struct{}, 32)
	var failed atomic.Int64
	var wg sync.WaitGroup
	body := a.joinBody()
	for _, d := range a.members[1:] {
		gate <- struct{}{}
		wg.Add(1)
		d.Send("group_open_http_svc.apply_join_group", body, 0, func(r loadgen.Reply) {
			if r.Code != 0 {
				failed.Store(int64(r.Code))
			}
			<-gate
			wg.Done()
		})
	}
	wg.Wait()
	if c := failed.Load(); c != 0 {
		return fmt.Errorf("entering the room: code %d", c)
	}
	return nil
}

func runRooms(ctx context.Context, r *runner, o room) (*result, error) {
	var stats c2cStats
	var stopped atomic.Bool
	name := r.names()
	rooms := make([]*assembly, o.groups)
	for g := range rooms {
		a := &assembly{r: r, o: o, stats: &stats, stopped: &stopped}
		rooms[g] = a
		prefix := name + "g" + strconv.Itoa(g) + "m"
		err := a.open(prefix)
		defer func() { loadgen.CloseAll(a.members) }()
		if err != nil {
			return nil, err
		}
		a.members[0].Grow(2*o.inflight + 2*o.rate + 32)
		absent, err := visitors(r, prefix+"x", o.offline)
		if err != nil {
			return nil, err
		}
		if err := a.assemble(absent); err != nil {
			return nil, err
		}
	}
	if !wait(ctx, time.Second) { // the tips of those who came are through
		return nil, ctx.Err()
	}
	for _, a := range rooms {
		if o.rate > 0 {
			go a.tick(ctx)
			continue
		}
		for range o.inflight {
			a.send()
		}
	}
	res := &result{Params: map[string]int{"groups": o.groups, "members": o.members, "offline": o.offline, "rate": o.rate, "inflight": o.inflight}}
	err := r.run(ctx, res, stats.received.Load)
	stopped.Store(true)
	until(ctx, 10*time.Second, func() bool { return stats.inflight.Load() == 0 })
	readers := uint64(o.members - 1) // the writing device has its answer instead
	settle(ctx, &stats, readers)
	res.Operations, res.Deliveries = stats.measured.Load(), stats.delivered.Load()
	res.Errors, res.Disordered = stats.errors.Load(), stats.disordered.Load()
	res.Lost = int64(stats.acked.Load()*readers) - int64(stats.received.Load())
	res.Ack, res.Push = stats.answer.Summary(), stats.push.Summary()
	return res, err
}

// settle waits until what was acknowledged has come to all readers, or nothing
// has come for a while: the generator may be behind the server.
func settle(ctx context.Context, stats *c2cStats, readers uint64) {
	for last := uint64(0); ; {
		until(ctx, 5*time.Second, func() bool { return stats.received.Load() >= stats.acked.Load()*readers })
		now := stats.received.Load()
		if now >= stats.acked.Load()*readers || now == last || ctx.Err() != nil {
			return
		}
		last = now
	}
}

// visitors makes n accounts by logging each in once.
func visitors(r *runner, prefix string, n int) ([]string, error) {
	devices := make([]*loadgen.Device, n)
	names := make([]string, n)
	for i := range devices {
		names[i] = prefix + strconv.Itoa(i)
		var err error
		if devices[i], err = loadgen.NewDevice(r.target.Node(i), names[i]); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, nil
	}
	return names, visit(r, devices, false)
}
