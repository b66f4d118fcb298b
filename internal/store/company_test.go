package store_test

import (
	"context"
	"strconv"
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

// Ensure senders who wait for their answers share the commits of a lone writer,
// instead of taking turns in halves.
func TestBatcherCompany(t *testing.T) {
	for senders, least := range map[int]int{4: 45, 20: 40} { // commits' worth of answers, of 50; in turns it would be half
		t.Run(strconv.Itoa(senders), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { company(t, senders, 1, least) }) })
	}
}

// Ensure two writers have one half of the senders each, and no fragments.
func TestBatcherHalves(t *testing.T) {
	const senders = 20
	synctest.Test(t, func(t *testing.T) {
		sizes := company(t, senders, 2, 40)
		halves := 0
		for _, n := range sizes {
			if n >= senders/2-2 && n <= senders/2+2 {
				halves++
			}
		}
		if halves < len(sizes)*4/5 {
			t.Errorf("of %d commits %d were of about a half: %v", len(sizes), halves, sizes)
		}
	})
}

// company lets senders wait for their answers for as long as fifty commits
// take. Answers must be as many as least of these would have for everybody. It
// returns what the commits had.
func company(t *testing.T, senders, writers, least int) []int {
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
	return *sizes
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
