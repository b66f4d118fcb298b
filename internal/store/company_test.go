package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"imserver/internal/store"
)

const commit = 2 * time.Millisecond

// committing is a Batcher whose commits take a while, and the sizes of its
// batches, to be read when nothing is written.
func committing(t *testing.T, writers int) (*store.Batcher[item], *[]int) {
	var mu sync.Mutex
	sizes := new([]int)
	b := store.NewBatcher(store.BatchOptions{Writers: writers}, func(_ context.Context, items []item) error {
		mu.Lock()
		*sizes = append(*sizes, len(items))
		mu.Unlock()
		time.Sleep(commit)
		return nil
	})
	t.Cleanup(func() {
		if err := b.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b, sizes
}

// Ensure senders who wait for their answers share commits instead of taking
// turns, with two writers as with one.
func TestBatcherCompany(t *testing.T) {
	for senders, least := range map[int]int{4: 45, 20: 40} { // commits' worth of answers, of 50; in turns it would be half
		for writers := 1; writers <= 2; writers++ {
			t.Run(fmt.Sprintf("%d senders, %d writers", senders, writers), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { company(t, senders, writers, least) })
			})
		}
	}
}

// company lets senders wait for their answers for as long as fifty commits
// take. Answers must be as many as least of these would have for everybody, in
// no more commits than one writer makes.
func company(t *testing.T, senders, writers, least int) {
	const commits = 50
	b, sizes := committing(t, writers)
	end := time.Now().Add(commits * commit)
	done := make(chan error, senders)
	for s := range senders {
		go func() {
			time.Sleep(time.Duration(s) * 2 * time.Millisecond / time.Duration(senders)) // half of them while the first is written
			for time.Now().Before(end) {
				if _, err := b.Do(context.Background(), uint64(s), item{s, 0}); err != nil {
					done <- err
					return
				}
				time.Sleep(time.Duration(100+10*s) * time.Microsecond) // an answer's way and the next request's
			}
			done <- nil
		}()
	}
	for range senders {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	answered := 0
	for _, n := range *sizes {
		answered += n
	}
	if answered < least*senders {
		t.Errorf("%d were answered, fewer than %d: %v", answered, least*senders, *sizes)
	}
	if len(*sizes) > commits {
		t.Errorf("%d commits in the time of %d: %v", len(*sizes), commits, *sizes)
	}
}

// Ensure a lone sender's items never wait for others.
func TestBatcherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := committing(t, 1)
		for range 20 {
			start := time.Now()
			if _, err := b.Do(context.Background(), 0, item{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != commit {
				t.Fatalf("took %v, the commit %v", took, commit)
			}
			time.Sleep(100 * time.Microsecond)
		}
	})
}

// Ensure few items wait for senders who do not come back: after several at
// once, which ask for company, comes one alone.
func TestBatcherNobodyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := committing(t, 1)
		const rounds = 300
		late := 0
		for range rounds {
			for k := range 6 {
				b.Go(uint64(k), item{}, func(item, error) {})
			}
			time.Sleep(10 * commit)
			start := time.Now()
			if _, err := b.Do(context.Background(), 0, item{}); err != nil {
				t.Fatal(err)
			}
			if time.Since(start) > commit {
				late++
			}
			time.Sleep(10 * commit)
		}
		if late == 0 || late > rounds/20 {
			t.Errorf("%d of %d waited for nobody", late, rounds)
		}
	})
}
