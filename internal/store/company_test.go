package store_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"imserver/internal/store"
)

const commit = 2 * time.Millisecond

// committing is a Batcher whose commits take a while, and the sizes of its
// batches.
func committing(t *testing.T) (*store.Batcher[item], *[]int) {
	sizes := new([]int)
	b := store.NewBatcher(store.BatchOptions{}, func(_ context.Context, items []item) error {
		*sizes = append(*sizes, len(items)) // by its only writer
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

// Ensure senders who wait for their answers share a commit, instead of taking
// turns in halves.
func TestBatcherCompany(t *testing.T) {
	for senders, least := range map[int]int{4: 45, 20: 40} { // commits' worth of answers, of 50; in turns it would be half
		t.Run(strconv.Itoa(senders), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { company(t, senders, least) }) })
	}
}

func company(t *testing.T, senders, least int) {
	const commits = 50
	b, sizes := committing(t)
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
}

// Ensure a lone sender's items never wait for others.
func TestBatcherAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := committing(t)
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
		b, _ := committing(t)
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
