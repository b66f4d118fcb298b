package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"imserver/internal/store"
)

type item struct{ key, n int }

// Ensure every item is committed once, in the order of its key, and completed
// in that order too, whatever gathers in a batch.
func TestBatcherOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var mu sync.Mutex
		committed := map[int][]int{}
		slow := rapid.Bool().Draw(t, "slow") // then writers wait for company
		b := store.NewBatcher(store.BatchOptions{Writers: rapid.IntRange(1, 4).Draw(t, "writers"), MaxBatch: rapid.IntRange(1, 9).Draw(t, "batch")},
			func(_ context.Context, items []item) error {
				if slow {
					time.Sleep(200 * time.Microsecond)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, i := range items {
					committed[i.key] = append(committed[i.key], i.n)
				}
				return nil
			})
		completed := map[int][]int{}
		keys, each := rapid.IntRange(1, 6).Draw(t, "keys"), rapid.IntRange(1, 40).Draw(t, "each")
		var wg, senders sync.WaitGroup
		for k := range keys {
			senders.Add(1)
			wg.Add(each)
			go func() {
				defer senders.Done()
				for n := range each {
					b.Go(uint64(k), item{k, n}, func(i item, err error) {
						defer wg.Done()
						mu.Lock()
						defer mu.Unlock()
						if err != nil {
							completed[k] = append(completed[k], -1)
							return
						}
						completed[k] = append(completed[k], i.n)
					})
				}
			}()
		}
		senders.Wait()
		wg.Wait()
		if err := b.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		for k := range keys {
			for n := range each {
				if committed[k][n] != n || completed[k][n] != n {
					t.Fatalf("key %d: committed %v, completed %v", k, committed[k], completed[k])
				}
			}
		}
	})
}

// Ensure a failed commit is everybody's error, a full queue refuses at once,
// and nothing is taken after Stop.
func TestBatcherErrors(t *testing.T) {
	boom := errors.New("disk full")
	release := make(chan struct{})
	b := store.NewBatcher(store.BatchOptions{MaxBatch: 1, MaxQueue: 1}, func(context.Context, []item) error {
		<-release
		return boom
	})
	first := make(chan error, 1)
	b.Go(0, item{}, func(_ item, err error) { first <- err })
	busy := false
	for range 3 { // one is being written, one waits, so at the latest the third finds no room
		b.Go(0, item{}, func(_ item, err error) { busy = busy || errors.Is(err, store.ErrBusy) })
	}
	if !busy {
		t.Error("a full queue took more")
	}
	close(release)
	if err := <-first; !errors.Is(err, boom) {
		t.Errorf("err = %v", err)
	}
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Do(t.Context(), 0, item{}); !errors.Is(err, store.ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
}

// Ensure what callbacks leave for later is done once: while the next commit is
// under way, or when nothing follows.
func TestBatcherRest(t *testing.T) {
	rests := make(chan int, 2)
	batches := 0
	begun, release := make(chan struct{}, 2), make(chan struct{})
	b := store.NewBatcher(store.BatchOptions{Together: func(callbacks func()) func() {
		callbacks()
		batches++
		number := batches
		return func() { rests <- number }
	}}, func(context.Context, []item) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	var done sync.WaitGroup
	done.Add(2)
	for k := range 2 {
		b.Go(uint64(k), item{}, func(item, error) { done.Done() })
		if k == 0 {
			<-begun
		}
	}
	release <- struct{}{}
	<-begun
	if n := <-rests; n != 1 {
		t.Errorf("while the second commit is under way, the rest of %d is done", n)
	}
	release <- struct{}{}
	if n := <-rests; n != 2 {
		t.Errorf("after the last commit, the rest of %d is done", n)
	}
	done.Wait()
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(rests) > 0 {
		t.Error("a rest was done twice")
	}
}

// Ensure the callbacks of a small batch run together, those of a large one by
// themselves, beside the next commit.
func TestBatcherTogether(t *testing.T) {
	calls, inside, open := 0, 0, false
	begun, release := make(chan struct{}, 2), make(chan struct{})
	b := store.NewBatcher(store.BatchOptions{Together: func(callbacks func()) func() {
		calls++
		open = true
		callbacks()
		open = false
		return nil
	}}, func(context.Context, []item) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	var done sync.WaitGroup
	hand := func(n int) {
		done.Add(n)
		for k := range n {
			b.Go(uint64(k), item{}, func(item, error) {
				if open {
					inside++
				}
				done.Done()
			})
		}
	}
	hand(1)
	<-begun
	hand(100) // wait for each other
	close(release)
	done.Wait()
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if calls != 1 || inside != 1 {
		t.Errorf("%d callbacks in %d calls, of a batch of one and one of a hundred", inside, calls)
	}
}
