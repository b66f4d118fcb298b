package ratelimit

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"imserver/internal/bus/bustest"
)

// silent keeps go-redis' own log out of the tests' output.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(silent{}) }

// Ensure the promise of protocol 03 §12.1 for any steady load, in one process.
func TestLocalSteady(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const seconds = 14
		l, c := drawLoad(t, 60), newFakeClock()
		all := simulate(l, seconds, c, []Limiter{NewLocal(c)}, func() {})
		check(t, l, all, seconds)
	})
}

// Ensure that a group under its limit is never delayed, with low loads only.
func TestLocalUnderLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, c := drawLoad(t, 10), newFakeClock()
		check(t, l, simulate(l, 6, c, []Limiter{NewLocal(c)}, func() {}), 6)
	})
}

// Ensure the same over Redis from two nodes.
func TestRedisSteady(t *testing.T) {
	client := bustest.Client(t)
	rapid.Check(t, func(t *rapid.T) {
		const seconds = 6
		l, c := drawLoad(t, 60), newFakeClock()
		opt := RedisOptions{Prefix: bustest.Prefix(), clock: c}
		a, b := NewRedis(client, opt), NewRedis(client, opt)
		defer a.Close()
		defer b.Close()
		all := simulate(l, seconds, c, []Limiter{a, b}, func() {
			for !a.idle() || !b.idle() {
				time.Sleep(20 * time.Microsecond)
			}
		})
		check(t, l, all, seconds)
	})
}

// idle reports whether nothing is asked of Redis.
func (r *Redis) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) == 0 && !r.busy
}

// Ensure that the script and the Go code are the same rule, for any sequence
// of calls with any times, backward jumps included.
func TestScriptIsTheRule(t *testing.T) {
	client := bustest.Client(t)
	rapid.Check(t, func(t *rapid.T) {
		var w window
		key := bustest.Prefix()
		limit := rapid.IntRange(1, 12).Draw(t, "limit")
		now := int64(1_800_000_000_000)
		for range rapid.IntRange(1, 120).Draw(t, "steps") {
			now += rapid.SampledFrom([]int64{0, 0, 1, 10, 40, 130, 400, 900, 1500, 2600, -20, -1200, -9000}).Draw(t, "time")
			var want, got []int64
			if rapid.IntRange(0, 4).Draw(t, "what") > 0 {
				p := Priority(rapid.IntRange(0, 3).Draw(t, "priority"))
				v := w.arrive(now, p, limit)
				want = []int64{int64(v.action), v.second, v.wait}
				got = mustRun(t, client, key, limit, now, "a", int(p))
			} else {
				var own counts
				if rapid.Bool().Draw(t, "high") {
					own[High] = rapid.IntRange(1, 9).Draw(t, "own")
				} else {
					for p := Normal; p <= Lowest; p++ {
						own[p] = rapid.IntRange(0, 9).Draw(t, "own")
					}
				}
				sec := now/second + rapid.Int64Range(-1, 1).Draw(t, "second")
				s := w.settle(now, sec, own, limit)
				want = []int64{s.wait, int64(s.granted[0]), int64(s.granted[1]), int64(s.granted[2]), int64(s.granted[3])}
				got = mustRun(t, client, key, limit, now, "s", sec, own[0], own[1], own[2], own[3])
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("script %v, rule %v, state %+v", got, want, w)
			}
		}
	})
}

func mustRun(t *rapid.T, c redis.UniversalClient, key string, args ...any) []int64 {
	n, err := script.Run(context.Background(), c, []string{key}, args...).Int64Slice()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Ensure that two nodes with the machine's clock and Redis' time keep it too.
func TestRedisRealTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes five seconds")
	}
	opt := RedisOptions{Prefix: bustest.Prefix()}
	nodes := []*Redis{NewRedis(bustest.Client(t), opt), NewRedis(bustest.Client(t), opt)}
	const seconds, limit = 5, 40
	rates := counts{12, 16, 24, 10} // due 12, 16, 12, 0
	var mu sync.Mutex
	var sentOf, passedOf counts
	var pending sync.WaitGroup
	var slowest atomic.Int64
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
	start := time.Now()
	var senders sync.WaitGroup
	for p, rate := range rates {
		senders.Go(func() {
			for i := range rate * seconds {
				at := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
				time.Sleep(time.Until(at))
				counted := time.Since(start) > time.Second
				pending.Add(1)
				asked := time.Now()
				nodes[i%2].Admit(t.Context(), 1, Priority(p), limit, func(admitted bool) {
					defer pending.Done()
					if d := int64(time.Since(asked)); d > slowest.Load() {
						slowest.Store(d)
					}
					if !counted {
						return
					}
					mu.Lock()
					defer mu.Unlock()
					sentOf[p]++
					if admitted {
						passedOf[p]++
					}
				})
			}
		})
	}
	senders.Wait()
	pending.Wait()
	t.Logf("sent %v, passed %v, slowest %v", sentOf, passedOf, time.Duration(slowest.Load()))
	if passedOf[High] != sentOf[High] {
		t.Errorf("High: %d of %d passed", passedOf[High], sentOf[High])
	}
	for p, want := range []int{sentOf[High], sentOf[Normal], (seconds - 1) * 12, 0} {
		if off := passedOf[p] - want; off > want/10+4 || off < -want/10-4 {
			t.Errorf("priority %d: %d passed, due %d", p, passedOf[p], want)
		}
	}
	if d := time.Duration(slowest.Load()); d > 1300*time.Millisecond {
		t.Errorf("a message was held for %v", d)
	}
	for _, n := range nodes {
		n.Close()
	}
}

// Ensure that a node decides by itself, once for each message, while Redis is
// away.
func TestRedisAway(t *testing.T) {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = c.Close() }()
	r := NewRedis(c, RedisOptions{})
	defer r.Close()
	var passed, decided atomic.Int32
	const count = 100
	for range count {
		r.Admit(t.Context(), 1, Normal, 10, func(admitted bool) {
			decided.Add(1)
			if admitted {
				passed.Add(1)
			}
		})
	}
	for end := time.Now().Add(5 * time.Second); decided.Load() < count && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if decided.Load() != count || passed.Load() < 10 || passed.Load() > 20 {
		t.Errorf("decided %d, passed %d", decided.Load(), passed.Load())
	}
}

// Ensure that no limit means no limit.
func TestNoLimit(t *testing.T) {
	l := NewLocal(System{})
	for range 1000 {
		called := false
		l.Admit(t.Context(), 1, Lowest, 0, func(admitted bool) { called = admitted })
		if !called {
			t.Fatal("not admitted")
		}
	}
}

func BenchmarkRedisAdmit(b *testing.B) {
	r := NewRedis(bustest.Client(b), RedisOptions{Prefix: bustest.Prefix()})
	defer r.Close()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		done := make(chan bool, 1)
		for pb.Next() {
			r.Admit(b.Context(), n.Add(1)%1000, High, 1<<30, func(ok bool) { done <- ok })
			<-done
		}
	})
}
