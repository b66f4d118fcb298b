package bus_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"imserver/internal/bus"
)

// registryModel is what should be known: connections per node and instance.
type registryModel map[int]map[bus.Instance]int

// online is what every node should answer.
func (m registryModel) online() map[int64][]bus.Instance {
	all := map[bus.Instance]bool{}
	for _, node := range m {
		for i := range node {
			all[i] = true
		}
	}
	online := map[int64][]bus.Instance{}
	for i := range all {
		online[i.UID] = append(online[i.UID], i)
	}
	return sorted(online)
}

func sorted(online map[int64][]bus.Instance) map[int64][]bus.Instance {
	for _, list := range online {
		slices.SortFunc(list, func(a, b bus.Instance) int { return cmp.Compare(a.Inst, b.Inst) })
	}
	return online
}

// classOf gives an instance one class for ever, as an instance number has.
func classOf(uid int64, inst uint32) uint8 { return uint8((uid + int64(inst)) % 7) }

func everybody() []int64 {
	var uids []int64
	for uid := range int64(20) {
		uids = append(uids, uid)
	}
	return uids
}

func agree(t *rapid.T, nodes map[int]bus.Registry, m registryModel, patience time.Duration) {
	t.Helper()
	ctx := context.Background()
	for _, r := range nodes {
		if err := r.Settle(ctx); err != nil {
			t.Fatal(err)
		}
	}
	want := m.online()
	for n, r := range nodes {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			got, err := r.Online(ctx, everybody())
			if err != nil {
				t.Fatal(err)
			}
			diff := gocmp.Diff(want, sorted(got))
			if diff == "" {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("node %d (-want +got): %s", n, diff)
			}
		}
	}
}

// step does something to a node and to the model.
func step(t *rapid.T, n int, r bus.Registry, m registryModel) {
	uid, inst := rapid.Int64Range(0, 19).Draw(t, "uid"), rapid.Uint32Range(1, 3).Draw(t, "inst")
	i := bus.Instance{UID: uid, Inst: inst, Class: classOf(uid, inst)}
	if rapid.Bool().Draw(t, "arrives") {
		r.Arrive(i)
		m[n][i]++
		return
	}
	r.Depart(uid, inst)
	if m[n][i]--; m[n][i] <= 0 {
		delete(m[n], i)
	}
}

// Ensure that the registry of one process follows its model.
func TestLocalRegistry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, m := bus.NewLocalRegistry(), registryModel{0: {}}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			step(t, 0, r, m)
		}
		agree(t, map[int]bus.Registry{0: r}, m, 0)
	})
}

// Ensure that all nodes agree with the model whatever arrives, departs, dies,
// starts or is lost in Redis.
func TestRedisRegistry(t *testing.T) {
	c := mustClient(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		opt := bus.RegistryOptions{Prefix: newPrefix()}
		nodes, m, started := map[int]bus.Registry{}, registryModel{}, 0
		start := func() {
			r, err := bus.NewRedisRegistry(ctx, c, opt)
			if err != nil {
				t.Fatal(err)
			}
			nodes[started], m[started] = r, map[bus.Instance]int{}
			started++
		}
		start()
		start()
		defer func() {
			for _, r := range nodes {
				_ = r.Close()
			}
		}()
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := rapid.SampledFrom(keys(nodes)).Draw(t, "node")
			switch what := rapid.IntRange(0, 40).Draw(t, "what"); {
			case what == 0 && len(nodes) > 1:
				nodes[n].(*bus.RedisRegistry).DieForTest(ctx)
				delete(nodes, n)
				delete(m, n)
			case what == 1 && len(nodes) > 1:
				if err := nodes[n].Close(); err != nil {
					t.Fatal(err)
				}
				delete(nodes, n)
				delete(m, n)
			case what == 2 && len(nodes) < 4:
				start()
			case what == 3:
				loseAll(t, c, opt.Prefix)
				for _, r := range nodes {
					r.Recheck()
				}
				agree(t, nodes, m, 5*time.Second)
			case what == 4:
				agree(t, nodes, m, 0)
			default:
				step(t, n, nodes[n], m)
			}
		}
		agree(t, nodes, m, 0)
	})
}

func keys(nodes map[int]bus.Registry) []int {
	var list []int
	for n := range nodes {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// loseAll deletes the test's keys, as a restart of Redis would.
func loseAll(t interface{ Fatal(...any) }, c redis.UniversalClient, prefix string) {
	names, err := c.Keys(context.Background(), prefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := c.Del(context.Background(), name).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// Ensure that a lease really ends with the node and is renewed while it lives,
// that what was lost comes back without a hint, and that a dead node is taken
// off the list.
func TestRegistryLease(t *testing.T) {
	c := mustClient(t)
	opt := bus.RegistryOptions{Prefix: newPrefix(), Lease: time.Second}
	a := mustRegistry(t, c, opt)
	for i := range 3000 {
		a.Arrive(bus.Instance{UID: int64(i), Inst: 1})
	}
	b := mustRegistry(t, c, opt)
	if err := a.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	var uids []int64
	for i := range 3000 {
		uids = append(uids, int64(i))
	}
	count := func() int {
		online, err := b.Online(t.Context(), uids)
		if err != nil {
			t.Fatal(err)
		}
		return len(online)
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if n := count(); n != 3000 {
			t.Fatalf("%d online while the node lives", n)
		}
	}
	loseAll(t, c, opt.Prefix)
	eventually(t, "announced again", func() bool { return count() == 3000 })

	// A node that crashed: its keys end by themselves.
	dead := opt.Prefix + "n:dead:"
	for bucket := range 16 {
		c.HSet(t.Context(), fmt.Sprint(dead, bucket), "3001", "1:1")
		c.PExpire(t.Context(), fmt.Sprint(dead, bucket), 300*time.Millisecond)
	}
	c.SAdd(t.Context(), opt.Prefix+"nodes", "dead")
	uids = append(uids, 3001)
	if n := count(); n != 3001 {
		t.Errorf("%d online with the third node", n)
	}
	eventually(t, "the lease ended", func() bool { return count() == 3000 })
	eventually(t, "the dead node is off the list", func() bool { return c.SCard(t.Context(), opt.Prefix+"nodes").Val() == 2 })
}

func mustRegistry(t *testing.T, c redis.UniversalClient, opt bus.RegistryOptions) *bus.RedisRegistry {
	t.Helper()
	r, err := bus.NewRedisRegistry(t.Context(), c, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// Ensure that logins cost batches, not commands: thousands of arrivals and
// departures take few round trips.
func TestRegistryBatches(t *testing.T) {
	c := mustClient(t)
	trips := &tripCounter{}
	c.AddHook(trips)
	r := mustRegistry(t, c, bus.RegistryOptions{Prefix: newPrefix()})
	trips.pipelines.Store(0)
	for i := range 20000 {
		r.Arrive(bus.Instance{UID: int64(i), Inst: 1})
		if i%2 == 0 {
			r.Depart(int64(i), 1)
		}
	}
	if err := r.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := trips.pipelines.Load() + trips.commands.Load(); n > 300 {
		t.Errorf("%d round trips for 20,000 logins", n)
	}
}
