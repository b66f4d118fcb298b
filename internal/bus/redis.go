package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"hash/fnv"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
)

// DefaultPrefix begins every key and channel of the server in Redis.
const DefaultPrefix = "imserver:"

// clusterLinks is into how many shard channels groups topics are spread on a
// Redis Cluster: a subscription connection can only hold channels of one slot
// in one command, and one connection per slot would be too many.
const clusterLinks = 16

// idSize is the length of the node id that begins a payload.
const idSize = 8

// RedisOptions are what a Redis bus can be told; the zero value is good.
type RedisOptions struct {
	// Prefix begins the names of channels; DefaultPrefix when empty.
	Prefix string
	// MaxQueued bounds the publications waiting to be sent; 65,536 when 0.
	// What does not fit is dropped and the other nodes are told to resync.
	MaxQueued int
	// MaxQueuedBytes bounds the same in bytes; 64 MiB when 0.
	MaxQueuedBytes int
	// Health is how often an idle subscription connection is probed; one that
	// is silent for three times as long is given up. 2 s when 0.
	Health time.Duration
	// Registerer receives the metrics; nil keeps them unregistered.
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Redis is the bus over Redis pub/sub. Subscriptions live on one connection
// (sixteen on a Redis Cluster), so all publications to a topic arrive in one
// order.
type Redis struct {
	client  redis.UniversalClient
	opt     RedisOptions
	kind    atomic.Uint32 // a pubsub, unknown until a cluster has told its version
	node    string        // idSize bytes, begins own payloads
	metrics *busMetrics

	links     []*link
	publisher *publisher

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	resets  chan struct{} // capacity 1: requests in between are one
	handler Handler
	reset   func()
}

// pubsub is the kind of publishing that the server has.
type pubsub uint32

const (
	unknown pubsub = iota
	plain
	sharded // Redis Cluster from version 7 on: only one server sees a publication
)

type busMetrics struct {
	published, received, dropped, resets, reconnects prometheus.Counter
	queued, subscriptions                            prometheus.Gauge
	batch                                            prometheus.Histogram
}

func newBusMetrics(reg prometheus.Registerer) *busMetrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "bus", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: "imserver", Subsystem: "bus", Name: name, Help: help})
	}
	return &busMetrics{
		published:     counter("published_total", "Publications sent to the bus."),
		received:      counter("received_total", "Publications received from other nodes."),
		dropped:       counter("dropped_total", "Publications lost because the queue was full or the bus away."),
		resets:        counter("resets_total", "Times that publications to this node may have been lost."),
		reconnects:    counter("reconnects_total", "Subscription connections that ended."),
		queued:        gauge("queue_length", "Publications waiting to be sent."),
		subscriptions: gauge("subscriptions", "Topics this node subscribes to."),
		batch: f.NewHistogram(prometheus.HistogramOpts{Namespace: "imserver", Subsystem: "bus", Name: "batch_size",
			Help: "Publications sent in one round trip.", Buckets: prometheus.ExponentialBuckets(1, 2, 10)}),
	}
}

// NewRedis makes the bus of a node over client, which Close leaves open. When
// Redis cannot be reached within ctx, the bus begins as one that is away, and
// comes by itself. Only a Redis that refuses the node, such as for a wrong
// password, is an error.
func NewRedis(ctx context.Context, client redis.UniversalClient, opt RedisOptions) (*Redis, error) {
	opt.Prefix = orDefault(opt.Prefix, DefaultPrefix)
	opt.MaxQueued = orDefault(opt.MaxQueued, 1<<16)
	opt.MaxQueuedBytes = orDefault(opt.MaxQueuedBytes, 64<<20)
	opt.Health = orDefault(opt.Health, 2*time.Second)
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	b := &Redis{client: client, opt: opt, node: newNodeID(), metrics: newBusMetrics(opt.Registerer), resets: make(chan struct{}, 1)}
	count, first := 1, connecting
	if _, ok := client.(*redis.ClusterClient); ok {
		count = clusterLinks
	} else {
		b.kind.Store(uint32(plain))
	}
	err := client.Ping(ctx).Err()
	switch {
	case Refused(err):
		return nil, err
	case err != nil:
		first = down
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	for i := range count {
		b.links = append(b.links, newLink(b, i, count > 1, first))
	}
	b.publisher = newPublisher(b)
	b.running.Go(b.publisher.run)
	return b, nil
}

// Refused reports whether an error is an answer of Redis that waiting does not
// change, such as to a wrong password.
func Refused(err error) bool {
	var answer redis.Error
	if !errors.As(err, &answer) {
		return false
	}
	for _, passing := range []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "BUSY", "ERR max number of clients"} {
		if strings.HasPrefix(answer.Error(), passing) {
			return false
		}
	}
	return true
}

func newNodeID() string {
	id := make([]byte, idSize)
	_, _ = rand.Read(id) // never fails
	return string(id)
}

// publishing returns the kind that the server has. The first time, a cluster
// is asked; the error is that it cannot be reached.
func (b *Redis) publishing(ctx context.Context) (pubsub, error) {
	if kind := pubsub(b.kind.Load()); kind != unknown {
		return kind, nil
	}
	info, err := b.client.Info(ctx, "server").Result()
	if err != nil && !Refused(err) {
		return unknown, err
	}
	_, after, _ := strings.Cut(info, "redis_version:")
	major, _, _ := strings.Cut(after, ".")
	kind := plain
	if n, _ := strconv.Atoi(major); n >= 7 {
		kind = sharded
	}
	b.kind.Store(uint32(kind))
	return kind, nil
}

// linkOf returns the link that a topic belongs to, on every node the same.
func (b *Redis) linkOf(topic string) *link {
	if len(b.links) == 1 {
		return b.links[0]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(topic))
	return b.links[h.Sum32()%uint32(len(b.links))]
}

// Publish implements [Bus].
func (b *Redis) Publish(topic string, payload []byte) {
	l := b.linkOf(topic)
	body := make([]byte, 0, idSize+len(payload))
	body = append(append(body, b.node...), payload...)
	b.publisher.add(publication{link: l.index, channel: l.prefix + topic, body: body})
}

// Subscribe implements [Bus].
func (b *Redis) Subscribe(topic string) { b.linkOf(topic).want(topic, true) }

// Unsubscribe implements [Bus].
func (b *Redis) Unsubscribe(topic string) { b.linkOf(topic).want(topic, false) }

// Settle implements [Bus].
func (b *Redis) Settle(ctx context.Context) error {
	for _, l := range b.links {
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Listen implements [Bus].
func (b *Redis) Listen(handler Handler, reset func()) {
	b.handler, b.reset = handler, reset
	b.running.Go(b.runResets)
	for _, l := range b.links {
		b.running.Go(l.run)
	}
}

// lost asks for a call of the reset function.
func (b *Redis) lost() {
	select {
	case b.resets <- struct{}{}:
	default: // one is asked for already
	}
}

func (b *Redis) runResets() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.resets:
			b.awaitLinks(time.Second)
			b.metrics.resets.Inc()
			b.reset()
		}
	}
}

// awaitLinks gives the links that are down at the same time up to d to come
// back, so that one reset does for all of them.
func (b *Redis) awaitLinks(d time.Duration) {
	ctx, cancel := context.WithTimeout(b.ctx, d)
	defer cancel()
	for _, l := range b.links {
		l.awaitUp(ctx)
	}
}

// Ping implements [Bus]: Redis answers and the subscriptions are in place.
func (b *Redis) Ping(ctx context.Context) error {
	if err := b.client.Ping(ctx).Err(); err != nil {
		return err
	}
	if !b.Up() {
		return ErrDown
	}
	return nil
}

// Up implements [Bus].
func (b *Redis) Up() bool {
	for _, l := range b.links {
		if l.isDown() {
			return false
		}
	}
	return true
}

// Close implements [Bus]. What is queued is sent, for at most two seconds.
func (b *Redis) Close() error {
	b.publisher.drain(2 * time.Second)
	b.cancel()
	b.publisher.wake()
	b.running.Wait()
	return nil
}
