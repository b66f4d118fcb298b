package store

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"sync/atomic"
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
// MaxBatch, and commits them with one call of Flush. An idle Batcher takes a
// lone item at once; a small batch may wait a moment for others, see company.
//
// Writers are not bound to keys. An item goes to the stripe of its key, a queue
// in the order of the calls; a writer takes whole stripes that no other writer
// has at the moment, so order within a key is kept and one full commit is made
// rather than several small ones. Another writer joins in when a share of a
// full batch waits that it could take.
//
// Completion callbacks of a large batch run while the next one is being
// written, those of a small one before that, in commit order.
type Batcher[T any] struct {
	options BatchOptions
	small   int // items of a small batch
	flush   Flush[T]
	ctx     context.Context // ended by Stop when its patience is over
	cancel  context.CancelFunc
	done    sync.WaitGroup // the writers and the completer

	mu      sync.Mutex
	queues  [stripes][]pending[T] // guarded by mu
	filled  uint64                // guarded by mu: stripes with items
	taken   uint64                // guarded by mu: stripes whose items are being committed
	waiting int                   // guarded by mu: items in all queues
	free    int                   // guarded by mu: items in stripes that are not taken
	next    int                   // guarded by mu: stripe at which the next batch begins
	hope    int                   // guarded by mu: how many items the next batch may gather; see gather
	running int                   // guarded by mu: writers that are not idle
	writing int                   // guarded by mu: items that are being committed
	stopped bool                  // guarded by mu
	company company               // guarded by mu, but for its channel
	wake    chan struct{}

	written    chan outcome[T]
	unfinished atomic.Int32 // batches handed to the completer
}

const (
	// stripes is how many queues there are; keys share them.
	stripes = 64
	// share is the part of a full batch that is worth a further writer.
	share = 4
	// small is the most items whose callbacks the writer itself runs: waking
	// somebody else for them costs more. With Together it is a whole company.
	small = 32
)

// BatchOptions tune a Batcher; zero values mean the defaults.
type BatchOptions struct {
	Writers  int // most commits at once, default 1: SQLite has one writer; a few on Postgres
	MaxBatch int // items per commit, default 256
	MaxQueue int // items waiting, default 16384
	Sizes    prometheus.Observer
	Seconds  prometheus.Observer

	// Together runs the callbacks of a small batch, in the writer: what they
	// bring about can be done at once for all of them. rest, unless it is nil, is
	// what can wait until the next commit is on its way, at most as long as a
	// writer waits for company. nil calls them.
	Together func(callbacks func()) (rest func())
}

// Flush commits a batch. It fills each item's result in place. After an error
// nobody knows whether the batch is stored, as after any lost connection: what
// is handed in again must be recognised. It must end when its context does.
type Flush[T any] func(ctx context.Context, items []T) error

// flushTimeout bounds a commit, so that its senders are answered before they
// give up (protocol 01 §7).
const flushTimeout = 8 * time.Second

type pending[T any] struct {
	item T
	done func(T, error)
}

// outcome is a batch on its way from a writer to the callbacks.
type outcome[T any] struct {
	items []T
	done  []func(T, error)
	err   error
}

func (w *outcome[T]) complete() {
	for i, item := range w.items {
		w.done[i](item, w.err)
	}
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
		o.MaxQueue = 16384
	}
	most := companyMost
	if o.Together == nil {
		most, o.Together = small, func(callbacks func()) func() { callbacks(); return nil }
	}
	b := &Batcher[T]{options: o, small: most, flush: flush, wake: make(chan struct{}, o.Writers), company: company{came: make(chan struct{}, 1)}, written: make(chan outcome[T], 2)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for range o.Writers {
		writers.Go(b.write)
	}
	b.done.Go(func() { writers.Wait(); close(b.written) })
	b.done.Go(func() {
		for w := range b.written {
			w.complete()
			b.unfinished.Add(-1)
		}
	})
	return b
}

// Go hands item to the writers and returns; done is called once, after the
// commit, in commit order among the items of one key. It must not block.
func (b *Batcher[T]) Go(key uint64, item T, done func(T, error)) {
	stripe := key % stripes
	bit := uint64(1) << stripe
	b.mu.Lock()
	var err error
	switch {
	case b.stopped:
		err = ErrStopped
	case b.waiting >= b.options.MaxQueue:
		err = ErrBusy
	default:
		b.queues[stripe] = append(b.queues[stripe], pending[T]{item, done})
		b.filled |= bit
		b.waiting++
		if b.taken&bit == 0 {
			b.free++
			b.arrivedLocked()
		}
	}
	b.callLocked()
	b.mu.Unlock()
	if err != nil {
		done(item, err)
	}
}

// callLocked wakes an idle writer, which counts as running from now on, if
// there is enough for it to take.
func (b *Batcher[T]) callLocked() {
	if b.stopped || b.free == 0 || b.running == b.options.Writers || b.company.waits || b.running > 0 && b.free < b.options.MaxBatch/share {
		return
	}
	b.running++
	b.wake <- struct{}{} // there is room for each writer's
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
	b.mu.Lock()
	if !b.stopped {
		b.stopped = true
		close(b.wake) // the writers go on until nothing waits
	}
	b.mu.Unlock()
	finished := make(chan struct{})
	go func() { b.done.Wait(); close(finished) }()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		b.cancel()
		return ctx.Err()
	}
}

// write is a writer: it commits batches while there is something to take, and
// sleeps otherwise.
func (b *Batcher[T]) write() {
	for range b.wake {
		b.batches()
	}
	b.mu.Lock()
	b.running++
	b.mu.Unlock()
	b.batches() // what waited when it was stopped
}

// batches commits batch after batch. What the callbacks of one have left to do
// is done while the next is being committed, or when there is none.
func (b *Batcher[T]) batches() {
	var rest func()
	for b.batch(&rest) {
	}
	if rest != nil {
		rest()
	}
}

// batch takes and commits one batch; it reports false, and counts the caller as
// idle, when there was none to take.
func (b *Batcher[T]) batch(rest *func()) bool {
	b.gather()
	b.mu.Lock()
	var w outcome[T]
	var mine uint64
	if b.awaitLocked() {
		w, mine = b.takeLocked()
	}
	if len(w.items) == 0 {
		b.running--
		b.mu.Unlock()
		return false
	}
	b.hope = 2 * (len(w.items) - 1)
	b.writing += len(w.items)
	b.callLocked()
	b.mu.Unlock()
	if *rest != nil {
		b.done.Go(*rest)
		*rest = nil
	}
	took, err := b.observe(len(w.items), func() error {
		ctx, cancel := context.WithTimeout(b.ctx, flushTimeout)
		defer cancel()
		return b.flush(ctx, w.items)
	})
	w.err = err
	b.mu.Lock()
	b.company.ended(len(w.items), b.writing-len(w.items), b.waiting, took, err)
	b.writing -= len(w.items)
	b.mu.Unlock()
	if len(w.items) <= b.small && b.unfinished.Load() == 0 {
		*rest = b.options.Together(w.complete)
	} else {
		b.unfinished.Add(1)
		b.written <- w
	}
	b.mu.Lock()
	b.taken &^= mine
	for left := mine & b.filled; left != 0; left &= left - 1 {
		b.free += len(b.queues[bits.TrailingZeros64(left)])
	}
	b.arrivedLocked()
	var late outcome[T]
	if errors.Is(w.err, context.DeadlineExceeded) {
		late = b.refuseLocked()
	}
	b.mu.Unlock()
	if len(late.items) > 0 {
		b.unfinished.Add(1)
		b.written <- late
	}
	return true
}

// refuseLocked takes out of the queues what waits behind a commit that took
// too long: it has waited as long, and would again.
func (b *Batcher[T]) refuseLocked() outcome[T] {
	late := outcome[T]{err: ErrBusy}
	for able := b.filled &^ b.taken; able != 0; able &= able - 1 {
		stripe := bits.TrailingZeros64(able)
		for _, p := range b.queues[stripe] {
			late.items, late.done = append(late.items, p.item), append(late.done, p.done)
		}
		b.queues[stripe] = nil
		b.filled &^= 1 << stripe
	}
	b.free -= len(late.items)
	b.waiting -= len(late.items)
	return late
}

// takeLocked removes up to a full batch from stripes that nobody has, whole
// stripes first, and returns it with the stripes it comes from.
func (b *Batcher[T]) takeLocked() (w outcome[T], mine uint64) {
	room := min(b.free, b.options.MaxBatch)
	if room == 0 {
		return w, 0
	}
	w.items, w.done = make([]T, 0, room), make([]func(T, error), 0, room)
	first := b.next
	for able := bits.RotateLeft64(b.filled&^b.taken, -first); able != 0 && room > 0; able &= able - 1 {
		stripe := (bits.TrailingZeros64(able) + first) % stripes
		queue := b.queues[stripe]
		n := min(len(queue), room)
		for _, p := range queue[:n] {
			w.items, w.done = append(w.items, p.item), append(w.done, p.done)
		}
		room -= n
		mine |= 1 << stripe
		rest := copy(queue, queue[n:])
		clear(queue[rest:])
		b.queues[stripe] = queue[:rest]
		if rest == 0 {
			b.filled &^= 1 << stripe
		}
		b.free -= n + rest // what is left waits for this batch's end
		b.waiting -= n
		b.next = stripe
	}
	b.taken |= mine
	return w, mine
}

func (b *Batcher[T]) observe(n int, flush func() error) (took time.Duration, err error) {
	start := time.Now()
	err = flush()
	took = time.Since(start)
	if b.options.Sizes != nil {
		b.options.Sizes.Observe(float64(n))
	}
	if b.options.Seconds != nil {
		b.options.Seconds.Observe(took.Seconds())
	}
	return took, err
}
