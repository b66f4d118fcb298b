package bus

import (
	"context"
	"encoding/hex"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

const (
	// leaseBuckets is into how many hashes a node's instances are spread, so
	// that none grows so large that its expiry stalls Redis.
	leaseBuckets = 16
	// marker is the field of a hash that says that all else in it was
	// announced; no uid is written like it.
	marker = "!"
	// onlineBatch bounds the accounts asked about in one round trip.
	onlineBatch = 500
	// announceChunk bounds the fields of one command.
	announceChunk   = 500
	registryTimeout = 3 * time.Second
)

// RegistryOptions are what a Redis registry can be told; the zero value is good.
type RegistryOptions struct {
	// Prefix begins the keys; DefaultPrefix when empty.
	Prefix string
	// Lease is how long a dead node counts as alive; it is renewed four
	// times as often. 10 s when 0.
	Lease time.Duration
	// Linger is how long what a node announced stays after Close, so that its
	// devices can move to another one unnoticed; 0 withdraws it at once.
	Linger     time.Duration
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// RedisRegistry is the registry of a cluster. A node keeps its instances in
// hashes of its own, which count as long as its lease, a key that expires.
// The hashes themselves outlive it, so that a survivor can read who was there.
// Logins and logouts are announced in batches: what gathers during one round
// trip goes with the next. Nothing is sent for other commands.
type RedisRegistry struct {
	client  redis.UniversalClient
	opt     RegistryOptions
	node    string
	own     *LocalRegistry
	pending prometheus.Gauge
	renewed prometheus.Counter
	buried  prometheus.Counter
	tell    func(uids []int64) // see Listen

	mu      sync.Mutex
	dirty   map[int64]struct{} // guarded by mu, as all below: accounts to announce
	unsaid  [leaseBuckets]bool // buckets whose marker is to be written
	gen     uint64             // counts announcements
	settled uint64             // the gen that Redis has
	changed chan struct{}      // closed and replaced when settled changes

	absent map[string]bool // nodes without lease when last looked at; used by run only

	wakeup, recheck chan struct{} // capacity 1
	ctx             context.Context
	cancel          context.CancelFunc
	running         sync.WaitGroup
}

// NewRedisRegistry makes the registry of a node over client, which Close
// leaves open. When Redis cannot be reached within ctx, the node announces
// itself as soon as it can; only a Redis that refuses the node is an error.
func NewRedisRegistry(ctx context.Context, client redis.UniversalClient, opt RegistryOptions) (*RedisRegistry, error) {
	opt.Prefix = orDefault(opt.Prefix, DefaultPrefix)
	opt.Lease = orDefault(opt.Lease, 10*time.Second)
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	f := promauto.With(opt.Registerer)
	r := &RedisRegistry{client: client, opt: opt, node: hex.EncodeToString([]byte(newNodeID())), own: NewLocalRegistry(),
		tell: func([]int64) {}, dirty: map[int64]struct{}{}, changed: make(chan struct{}), absent: map[string]bool{},
		wakeup: make(chan struct{}, 1), recheck: make(chan struct{}, 1),
		pending: f.NewGauge(prometheus.GaugeOpts{Namespace: "imserver", Subsystem: "registry", Name: "queue_length",
			Help: "Accounts whose instances are to be announced."}),
		renewed: f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "registry", Name: "reannounced_total",
			Help: "Times that announcements were missing in Redis and made again, by sixteenths."}),
		buried: f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "registry", Name: "nodes_buried_total",
			Help: "Nodes that this one found without a lease and removed, those that were stopped in order included."}),
	}
	err := r.renew(ctx)
	if err == nil {
		err = r.announce(ctx)
	}
	if Refused(err) {
		return nil, err
	}
	if err != nil {
		opt.Log.Warn("registry is not reachable", "err", err)
		r.Recheck()
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.run)
	return r, nil
}

// Listen implements [Registry].
func (r *RedisRegistry) Listen(fn func(uids []int64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell = fn
}

// Arrive implements [Registry].
func (r *RedisRegistry) Arrive(i Instance) {
	if r.own.arrive(i) {
		r.touch(i.UID)
	}
}

// Depart implements [Registry].
func (r *RedisRegistry) Depart(uid int64, inst uint32) {
	if r.own.depart(uid, inst) {
		r.touch(uid)
	}
}

func (r *RedisRegistry) touch(uid int64) {
	r.mu.Lock()
	r.dirty[uid] = struct{}{}
	r.gen++
	r.pending.Set(float64(len(r.dirty)))
	r.mu.Unlock()
	poke(r.wakeup)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Recheck implements [Registry].
func (r *RedisRegistry) Recheck() { poke(r.recheck) }

// Settle implements [Registry].
func (r *RedisRegistry) Settle(ctx context.Context) error {
	r.mu.Lock()
	target := r.gen
	for r.settled < target {
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-r.ctx.Done():
			return ErrDown
		}
		r.mu.Lock()
	}
	r.mu.Unlock()
	return nil
}

// run announces what has changed and keeps the lease.
func (r *RedisRegistry) run() {
	lease := time.NewTicker(r.opt.Lease / 4)
	defer lease.Stop()
	const shortest, longest = 50 * time.Millisecond, 2 * time.Second
	wait := shortest
	for {
		var err error
		select {
		case <-r.ctx.Done():
			return
		case <-r.wakeup:
			err = r.announce(r.ctx)
		case <-r.recheck:
			err = r.renewAndAnnounce()
		case <-lease.C:
			err = r.renewAndAnnounce()
		}
		if err == nil {
			wait = shortest
			continue
		}
		r.opt.Log.Warn("registry is not reachable", "err", err)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
		r.Recheck() // it may have lost what was there
	}
}

// announce writes the present state of all accounts that changed.
func (r *RedisRegistry) announce(ctx context.Context) error {
	r.mu.Lock()
	dirty, unsaid, gen := r.dirty, r.unsaid, r.gen
	r.dirty, r.unsaid = map[int64]struct{}{}, [leaseBuckets]bool{}
	r.pending.Set(0)
	r.mu.Unlock()

	err := r.write(ctx, dirty, unsaid)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil { // to be done again
		for uid := range dirty {
			r.dirty[uid] = struct{}{}
		}
		for b := range unsaid {
			r.unsaid[b] = r.unsaid[b] || unsaid[b]
		}
		r.pending.Set(float64(len(r.dirty)))
		return err
	}
	r.settled = max(r.settled, gen)
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

func (r *RedisRegistry) write(ctx context.Context, dirty map[int64]struct{}, unsaid [leaseBuckets]bool) error {
	uids := make([]int64, 0, len(dirty))
	for uid := range dirty {
		uids = append(uids, uid)
	}
	online, _ := r.own.Online(ctx, uids) // never fails
	var set [leaseBuckets][]any
	var del [leaseBuckets][]string
	for _, uid := range uids {
		b, field := bucketOf(uid), strconv.FormatInt(uid, 10)
		if list := online[uid]; len(list) > 0 {
			set[b] = append(set[b], field, encodeInstances(list))
		} else {
			del[b] = append(del[b], field)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	pipe := r.client.Pipeline()
	for b := range leaseBuckets {
		key := r.key(r.node, b)
		if len(set[b])+len(del[b]) == 0 && !unsaid[b] {
			continue
		}
		for ; len(del[b]) > 0; del[b] = del[b][min(len(del[b]), announceChunk):] {
			pipe.HDel(ctx, key, del[b][:min(len(del[b]), announceChunk)]...)
		}
		for ; len(set[b]) > 0; set[b] = set[b][min(len(set[b]), 2*announceChunk):] {
			pipe.HSet(ctx, key, set[b][:min(len(set[b]), 2*announceChunk)]...)
		}
		if unsaid[b] {
			pipe.HSet(ctx, key, marker, "")
		}
		pipe.Expire(ctx, key, hashLife)
	}
	if pipe.Len() == 0 {
		return nil
	}
	_, err := pipe.Exec(ctx)
	return err
}
