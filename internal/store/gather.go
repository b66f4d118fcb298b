package store

import (
	"context"
	"sync"
	"time"
)

// Gather makes one database operation of many that are asked for at the same
// time: while one is under way, those that come wait, and go together in the
// next. A lone one goes at once and alone. It is for what many clients do in
// the same moment, such as logging in after a restart; unlike a [Batcher] it
// costs nothing while nobody asks and needs no stopping, and it does not keep
// an order between items of different calls.
type Gather[T any] struct {
	run   func(ctx context.Context, items []T) error
	max   int
	width int

	mu      sync.Mutex
	waiting []waiter[T] // guarded by mu
	running int         // guarded by mu
}

type waiter[T any] struct {
	item T
	done chan error
}

// gatherTimeout bounds one operation: nobody waits for longer (protocol 01 §7).
const gatherTimeout = 12 * time.Second

// NewGather makes a Gather. run does the operation for at most most items,
// which it fills in; its error is everyone's. Up to width run at once.
func NewGather[T any](most, width int, run func(ctx context.Context, items []T) error) *Gather[T] {
	return &Gather[T]{run: run, max: most, width: width}
}

// Do adds item to the next operation and waits for it. An operation outlives
// the context of those who wait for it.
func (g *Gather[T]) Do(ctx context.Context, item T) error {
	w := waiter[T]{item, make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	start := g.running < g.width
	if start {
		g.running++
	}
	g.mu.Unlock()
	if start {
		go g.loop()
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gather[T]) loop() {
	for {
		g.mu.Lock()
		n := min(len(g.waiting), g.max)
		if n == 0 {
			g.running--
			g.waiting = nil
			g.mu.Unlock()
			return
		}
		batch := g.waiting[:n:n]
		g.waiting = g.waiting[n:]
		g.mu.Unlock()
		items := make([]T, n)
		for i, w := range batch {
			items[i] = w.item
		}
		ctx, cancel := context.WithTimeout(context.Background(), gatherTimeout)
		err := g.run(ctx, items)
		cancel()
		for _, w := range batch {
			w.done <- err
		}
	}
}
