package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrStopped is returned by Batcher.Do after Stop.
var ErrStopped = errors.New("store: the writer has stopped")

// ErrBusy is returned by Batcher.Do when too much is waiting already: the
// database is slower than the senders and queueing further would only turn
// every answer into a time-out.
var ErrBusy = errors.New("store: too many writes are waiting")

// Batcher is the group-commit writer. Callers hand it items; a writer takes
// all that have gathered while the previous commit was running, at most
// MaxBatch, and commits them with one call of Flush. An idle writer takes a
// lone item at once: nothing waits on purpose. Items with the same key go to
// the same writer in the order of their Do calls, so order within a
// conversation is kept.
type Batcher[T any] struct {
	shards []*shard[T]
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// BatchOptions tune a Batcher; zero values mean the defaults.
type BatchOptions struct {
	Writers  int // default 1: SQLite has one writer; a few on Postgres
	MaxBatch int // items per commit, default 256
	MaxQueue int // items waiting per writer, default 8192
	Sizes    prometheus.Observer
	Seconds  prometheus.Observer
}

// Flush commits a batch. It fills each item's result in place. An error means
// that nothing of the batch is stored.
type Flush[T any] func(ctx context.Context, items []T) error

type pending[T any] struct {
	item T
	err  chan error
}

type shard[T any] struct {
	mu      sync.Mutex
	queue   []pending[T] // guarded by mu
	stopped bool         // guarded by mu
	wake    chan struct{}
	max     int
}

// NewBatcher starts the writers.
func NewBatcher[T any](o BatchOptions, flush Flush[T]) *Batcher[T] {
	if o.Writers == 0 {
		o.Writers = 1
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 256
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 8192
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Batcher[T]{stop: cancel}
	for range o.Writers {
		s := &shard[T]{wake: make(chan struct{}, 1), max: o.MaxQueue}
		b.shards = append(b.shards, s)
		b.done.Add(1)
		go func() {
			defer b.done.Done()
			s.run(ctx, o, flush)
		}()
	}
	return b
}

// Do hands item to the writer of key and waits until it is committed. The
// context ends the waiting, not the write: after a cancelled Do the item may
// be stored or not, exactly as after a lost connection.
func (b *Batcher[T]) Do(ctx context.Context, key uint64, item T) error {
	s := b.shards[key%uint64(len(b.shards))]
	p := pending[T]{item: item, err: make(chan error, 1)}
	s.mu.Lock()
	switch {
	case s.stopped:
		s.mu.Unlock()
		return ErrStopped
	case len(s.queue) >= s.max:
		s.mu.Unlock()
		return ErrBusy
	}
	s.queue = append(s.queue, p)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	select {
	case err := <-p.err:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop refuses new items, commits those that wait, and returns when the
// writers have ended or ctx is over.
func (b *Batcher[T]) Stop(ctx context.Context) error {
	for _, s := range b.shards {
		s.mu.Lock()
		s.stopped = true
		s.mu.Unlock()
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	finished := make(chan struct{})
	go func() { b.done.Wait(); close(finished) }()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		b.stop()
		return ctx.Err()
	}
}

func (s *shard[T]) run(ctx context.Context, o BatchOptions, flush Flush[T]) {
	var batch []pending[T]
	items := make([]T, 0, o.MaxBatch)
	for {
		s.mu.Lock()
		n := min(len(s.queue), o.MaxBatch)
		batch = append(batch[:0], s.queue[:n]...)
		rest := copy(s.queue, s.queue[n:])
		clear(s.queue[rest:])
		s.queue = s.queue[:rest]
		stopped := s.stopped
		s.mu.Unlock()
		if n == 0 {
			if stopped {
				return
			}
			select {
			case <-s.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		items = items[:0]
		for _, p := range batch {
			items = append(items, p.item)
		}
		err := observe(o, n, func() error { return flush(ctx, items) })
		for i := range batch {
			batch[i].err <- err
		}
		clear(items)
		clear(batch)
	}
}

func observe(o BatchOptions, n int, flush func() error) error {
	start := time.Now()
	err := flush()
	if o.Sizes != nil {
		o.Sizes.Observe(float64(n))
	}
	if o.Seconds != nil {
		o.Seconds.Observe(time.Since(start).Seconds())
	}
	return err
}
