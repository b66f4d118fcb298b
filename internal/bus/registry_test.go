package bus_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
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
	c := bustest.Client(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		opt := bus.RegistryOptions{Prefix: bustest.Prefix()}
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
		patience := time.Duration(0) // only after a loss is what others know late
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
				patience = 10 * time.Second
				agree(t, nodes, m, patience)
			case what == 4:
				agree(t, nodes, m, patience)
			default:
				step(t, n, nodes[n], m)
			}
		}
		agree(t, nodes, m, patience)
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
	lose := func(ctx context.Context, c redis.UniversalClient) error {
		names, err := c.Keys(ctx, prefix+"*").Result()
		for _, name := range names {
			if err == nil {
				err = c.Del(ctx, name).Err()
			}
		}
		return err
	}
	err := error(nil)
	if cluster, ok := c.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(context.Background(), func(ctx context.Context, c *redis.Client) error { return lose(ctx, c) })
	} else {
		err = lose(context.Background(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Ensure that a lease really ends with the node and is renewed while it lives,
// that what was lost comes back without a hint, and that a dead node is taken
// off the list.
func TestRegistryLease(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RegistryOptions{Prefix: bustest.Prefix(), Lease: time.Second}
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

	// A node that crashed: its lease ends by itself, and one survivor learns
	// who was there.
	var told atomic.Int32
	for _, r := range []*bus.RedisRegistry{a, b} {
		r.Listen(func(uids []int64) {
			if slices.Equal(uids, []int64{3001}) {
				told.Add(1)
			}
		})
	}
	dead := opt.Prefix + "n:dead:"
	c.HSet(t.Context(), dead+"9", "3001", "1:1", "!", "")
	c.Set(t.Context(), dead+"lease", "", time.Second)
	c.SAdd(t.Context(), opt.Prefix+"nodes", "dead")
	uids = append(uids, 3001)
	if n := count(); n != 3001 {
		t.Errorf("%d online with the third node", n)
	}
	eventually(t, "the lease ended", func() bool { return count() == 3000 })
	eventually(t, "the dead node is off the list", func() bool { return c.SCard(t.Context(), opt.Prefix+"nodes").Val() == 2 })
	eventually(t, "a survivor is told", func() bool { return told.Load() == 1 })
	if n := c.Exists(t.Context(), dead+"9").Val() + c.Exists(t.Context(), dead+"lease").Val(); n != 0 {
		t.Errorf("%d keys of the dead node are left", n)
	}
}

// Ensure that a node that stops in order stays known for a while, and that
// one that was taken for dead announces itself again and is told to repeat.
func TestRegistryLinger(t *testing.T) {
	c := bustest.Client(t)
	opt := bus.RegistryOptions{Prefix: bustest.Prefix(), Lease: time.Second, Linger: 700 * time.Millisecond}
	survivor := mustRegistry(t, c, opt)
	gone := make(chan []int64, 10)
	survivor.Listen(func(uids []int64) { gone <- uids })
	stopped, err := bus.NewRedisRegistry(t.Context(), c, opt)
	if err != nil {
		t.Fatal(err)
	}
	stopped.Arrive(bus.Instance{UID: 7, Inst: 1})
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}
	isOnline := func(uid int64) bool {
		online, err := survivor.Online(t.Context(), []int64{uid})
		if err != nil {
			t.Fatal(err)
		}
		return len(online) == 1
	}
	if !isOnline(7) {
		t.Error("who was there is gone at once")
	}
	eventually(t, "the stopped node is forgotten", func() bool { return !isOnline(7) })
	if got := <-gone; !slices.Equal(got, []int64{7}) {
		t.Errorf("told of %d", got)
	}

	slow := mustRegistry(t, c, opt)
	again := make(chan []int64, 10)
	slow.Listen(func(uids []int64) { again <- uids })
	slow.Arrive(bus.Instance{UID: 8, Inst: 1})
	if err := slow.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := survivor.BuryForTest(t.Context(), slow); err != nil {
		t.Fatal(err)
	}
	if got := <-gone; !slices.Equal(got, []int64{8}) {
		t.Errorf("told of %d", got)
	}
	if got := <-again; !slices.Equal(got, []int64{8}) {
		t.Errorf("asked to repeat %d", got)
	}
	eventually(t, "the slow node is back", func() bool { return isOnline(8) })
}

// Ensure that of several nodes that mark a change exactly one is told so.
func TestRegistryMark(t *testing.T) {
	check := func(t *testing.T, nodes ...bus.Registry) {
		var uids []int64
		for uid := range int64(1200) {
			uids = append(uids, uid)
		}
		for round, online := range []bool{true, false, true} {
			var wg sync.WaitGroup
			got := make([][]int64, len(nodes))
			for i, r := range nodes {
				wg.Go(func() {
					var err error
					if got[i], err = r.Mark(t.Context(), uids, online); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			all := slices.Concat(got...)
			slices.Sort(all)
			if !slices.Equal(all, uids) {
				t.Fatalf("round %d: %d changes of %d", round, len(all), len(uids))
			}
		}
	}
	t.Run("local", func(t *testing.T) { r := bus.NewLocalRegistry(); check(t, r, r, r) })
	t.Run("redis", func(t *testing.T) {
		c := bustest.Client(t)
		opt := bus.RegistryOptions{Prefix: bustest.Prefix()}
		check(t, mustRegistry(t, c, opt), mustRegistry(t, c, opt), mustRegistry(t, c, opt))
	})
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
	c := bustest.Client(t)
	trips := &tripCounter{}
	c.AddHook(trips)
	r := mustRegistry(t, c, bus.RegistryOptions{Prefix: bustest.Prefix()})
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
