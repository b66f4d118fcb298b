package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"imserver/internal/store"
)

// Ensure that what is asked for while an operation runs goes together in the
// next, that nobody is left out, and that an error reaches its batch only.
func TestGather(t *testing.T) {
	var mu sync.Mutex
	var sizes []int
	started, release := make(chan struct{}, 1), make(chan struct{})
	bad := errors.New("bad")
	g := store.NewGather(50, 1, func(_ context.Context, items []*int) error {
		mu.Lock()
		sizes = append(sizes, len(items))
		first := len(sizes) == 1
		mu.Unlock()
		if first {
			started <- struct{}{}
			<-release
			return bad
		}
		for _, i := range items {
			*i *= 2
		}
		return nil
	})
	lone := make(chan error, 1)
	go func() { n := 1; lone <- g.Do(t.Context(), &n) }()
	<-started
	const others = 120
	var wg, queued sync.WaitGroup
	for i := range others {
		wg.Add(1)
		queued.Add(1)
		go func() {
			defer wg.Done()
			n := i
			queued.Done()
			if err := g.Do(t.Context(), &n); err != nil || n != 2*i {
				t.Errorf("item %d: %d, %v", i, n, err)
			}
		}()
	}
	queued.Wait()
	close(release)
	if err := <-lone; !errors.Is(err, bad) {
		t.Errorf("the first batch got %v", err)
	}
	wg.Wait()
	total := 0
	for _, n := range sizes {
		if n > 50 {
			t.Errorf("a batch of %d", n)
		}
		total += n
	}
	if total != others+1 || sizes[0] != 1 {
		t.Errorf("batches of %v", sizes)
	}
}

// Ensure that a caller whose time is over does not wait.
func TestGatherContext(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	g := store.NewGather(1, 1, func(context.Context, []int) error { <-release; return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Do(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
