package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrStopped is what Go and Do report after Stop.
var ErrStopped = errors.New("store: the writer has stopped")

// ErrBusy is what Go and Do report when too much is waiting already: the
// database is slower than the senders and queueing further would only turn
// every answer into a time-out.
var ErrBusy = errors.New("store: too many writes are waiting")

// Batcher is the group-commit writer. Callers hand it items; a writer takes
// all that have gathered while the previous commit was running, at most
// MaxBatch, and commits them with one call of Flush. An idle writer takes a
// lone item at once: nothing waits on purpose. Items with the same key go to
// the same writer in the order of their calls, so order within a
// conversation is kept. Completion callbacks of a batch run while the next batch
// is being written.
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
	done func(T, error)
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

// Go hands item to the writer of key and returns; done is called once, after
// the commit, in commit order among the items of one key. It must not block.
func (b *Batcher[T]) Go(key uint64, item T, done func(T, error)) {
	s := b.shards[key%uint64(len(b.shards))]
	s.mu.Lock()
	var err error
	switch {
	case s.stopped:
		err = ErrStopped
	case len(s.queue) >= s.max:
		err = ErrBusy
	default:
		s.queue = append(s.queue, pending[T]{item, done})
	}
	s.mu.Unlock()
	if err != nil {
		done(item, err)
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Do is Go that waits. The context ends the waiting, not the write: after a
// cancelled Do the item may be stored or not, exactly as after a lost
// connection.
func (b *Batcher[T]) Do(ctx context.Context, key uint64, item T) (T, error) {
	type result struct {
		item T
		err  error
	}
	ch := make(chan result, 1)
	b.Go(key, item, func(t T, err error) { ch <- result{t, err} })
	select {
	case r := <-ch:
		return r.item, r.err
	case <-ctx.Done():
		return item, ctx.Err()
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

// run writes batches; a second goroutine completes them, so that fan-out and
// answers overlap with the next commit.
func (s *shard[T]) run(ctx context.Context, o BatchOptions, flush Flush[T]) {
	written := make(chan outcome[T], 2)
	var completer sync.WaitGroup
	completer.Add(1)
	go func() {
		defer completer.Done()
		for w := range written {
			for i, item := range w.items {
				w.done[i](item, w.err)
			}
		}
	}()
	defer completer.Wait()
	defer close(written)
	for {
		w, stopped := s.take(o.MaxBatch)
		if len(w.items) == 0 {
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
		w.err = observe(o, len(w.items), func() error { return flush(ctx, w.items) })
		written <- w
	}
}

// outcome is a batch on its way from the writer to the completer.
type outcome[T any] struct {
	items []T
	done  []func(T, error)
	err   error
}

// take removes up to limit items from the queue.
func (s *shard[T]) take(limit int) (w outcome[T], stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), limit)
	if n == 0 {
		return w, s.stopped
	}
	w.items, w.done = make([]T, n), make([]func(T, error), n)
	for i, p := range s.queue[:n] {
		w.items[i], w.done[i] = p.item, p.done
	}
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return w, s.stopped
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
