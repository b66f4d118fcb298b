package ratelimit

import (
	"context"
	_ "embed"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

//go:embed redis.lua
var source string

var script = redis.NewScript(source)

const (
	// askBatch bounds the decisions of one round trip.
	askBatch = 512
	// askQueue bounds the decisions waiting for a round trip; the node decides
	// by itself about more.
	askQueue = 1 << 15
	// askTimeout bounds a round trip: a message waits no longer for Redis.
	askTimeout = 300 * time.Millisecond
	// retryAfter is how long decisions stay local after Redis failed.
	retryAfter = time.Second
)

// RedisOptions are what a Redis limiter can be told; the zero value is good.
type RedisOptions struct {
	// Prefix begins the keys; "imserver:" when empty.
	Prefix string
	// Registerer receives the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
	Log        *slog.Logger

	// clock, in tests, replaces the time of Redis and of the node.
	clock Clock
}

// Redis limits over all nodes of a cluster: one script call per decision, and
// what gathers during one round trip goes together with the next. While Redis
// is away every node limits by itself.
type Redis struct {
	client redis.UniversalClient
	opt    RedisOptions
	local  *Local
	held   *heldBack
	byself prometheus.Counter

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []question // guarded by mu, as all below but done
	busy   bool       // a batch is being asked
	closed bool
	retry  time.Time // not before is Redis asked again
	done   chan struct{}
}

// question is one call of the script; exactly one of its outcomes is called.
type question struct {
	key    int64
	args   []any
	answer func([]int64)
	failed func()
}

// NewRedis makes the limiter of a node of a cluster. Close it at the end.
func NewRedis(client redis.UniversalClient, opt RedisOptions) *Redis {
	if opt.Prefix == "" {
		opt.Prefix = "imserver:"
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	var clock Clock = System{}
	if opt.clock != nil {
		clock = opt.clock
	}
	r := &Redis{client: client, opt: opt, local: NewLocal(clock), done: make(chan struct{})}
	r.byself = promauto.With(opt.Registerer).NewCounter(prometheus.CounterOpts{Namespace: "imserver",
		Name: "ratelimit_local_decisions_total", Help: "Decisions a node took by itself because Redis was away."})
	r.cond = sync.NewCond(&r.mu)
	r.held = newHeldBack(clock, r.settle)
	go r.run()
	return r
}

// Admit implements [Limiter].
func (r *Redis) Admit(ctx context.Context, key int64, p Priority, limit int, done func(bool)) {
	if limit <= 0 {
		done(true)
		return
	}
	p = min(p, Lowest)
	r.ask(question{
		key:  key,
		args: []any{limit, r.now(), "a", int(p)},
		answer: func(n []int64) {
			v := verdict{action: action(n[0]), second: n[1], wait: n[2]}
			if v.action == hold {
				r.held.add(key, p, limit, v, done)
				return
			}
			done(v.action == pass)
		},
		failed: func() {
			r.byself.Inc()
			r.local.Admit(ctx, key, p, limit, done)
		},
	})
}

// settle asks how many of the held messages pass.
func (r *Redis) settle(d decision, own counts, limit int, answer func(settlement)) {
	r.ask(question{
		key:  d.key,
		args: []any{limit, r.now(), "s", d.second, own[High], own[Normal], own[Low], own[Lowest]},
		answer: func(n []int64) {
			s := settlement{wait: n[0]}
			for p := range s.granted {
				s.granted[p] = int(n[1+p])
			}
			answer(s)
		},
		failed: func() {
			r.byself.Inc()
			answer(settlement{granted: r.local.spare(d.key, own, limit)})
		},
	})
}

// now is the script's time: none for Redis' own.
func (r *Redis) now() any {
	if r.opt.clock == nil {
		return ""
	}
	return r.opt.clock.Now().UnixMilli()
}

// ask queues a question, or fails it at once while Redis is away.
func (r *Redis) ask(q question) {
	r.mu.Lock()
	away := len(r.queue) >= askQueue || r.awayLocked()
	if !away {
		r.queue = append(r.queue, q)
	}
	r.mu.Unlock()
	if away {
		q.failed()
		return
	}
	r.cond.Signal()
}

func (r *Redis) awayLocked() bool {
	return r.closed || !r.retry.IsZero() && time.Now().Before(r.retry)
}

// Close ends the use of Redis; what is still asked is decided locally.
func (r *Redis) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cond.Signal()
	<-r.done
}

func (r *Redis) run() {
	defer close(r.done)
	for {
		r.mu.Lock()
		r.busy = false
		for len(r.queue) == 0 && !r.closed {
			r.cond.Wait()
		}
		n := min(len(r.queue), askBatch)
		batch := r.queue[:n:n]
		r.queue = r.queue[n:]
		r.busy = n > 0
		away := r.awayLocked()
		r.mu.Unlock()
		if n == 0 {
			return
		}
		if away {
			for _, q := range batch {
				q.failed()
			}
			continue
		}
		r.roundTrip(batch)
	}
}

// roundTrip asks a batch. A server that does not know the script yet is given
// its text with the questions it refused.
func (r *Redis) roundTrip(batch []question) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	refused, err := r.exec(ctx, batch, func(p redis.Pipeliner, key string, args []any) *redis.Cmd {
		return p.EvalSha(ctx, script.Hash(), []string{key}, args...)
	})
	if len(refused) > 0 {
		refused, err = r.exec(ctx, refused, func(p redis.Pipeliner, key string, args []any) *redis.Cmd {
			return p.Eval(ctx, source, []string{key}, args...)
		})
		for _, q := range refused {
			q.failed()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.retry = time.Time{}
		return
	}
	r.retry = time.Now().Add(retryAfter)
	r.opt.Log.Warn("rate limit is local: Redis failed", "err", err)
}

// exec asks a batch and returns the questions refused for want of the script.
// The error is the last one of the others, which have been failed.
func (r *Redis) exec(ctx context.Context, batch []question, call func(redis.Pipeliner, string, []any) *redis.Cmd) (refused []question, failure error) {
	pipe := r.client.Pipeline()
	cmds := make([]*redis.Cmd, len(batch))
	for i, q := range batch {
		cmds[i] = call(pipe, r.opt.Prefix+"rate:"+strconv.FormatInt(q.key, 10), q.args)
	}
	_, _ = pipe.Exec(ctx) // every command has its own error
	for i, q := range batch {
		n, err := cmds[i].Int64Slice()
		switch {
		case err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT"):
			refused = append(refused, q)
		case err != nil || len(n) < 3:
			failure = err
			q.failed()
		default:
			q.answer(n)
		}
	}
	return refused, failure
}
