package gateway

import (
	"context"
	"sync"
	"time"
)

// deadline is a context of a command that costs no timer before somebody waits
// for its end. Most messages are accepted without that: what they need is in
// memory, and their commit has a time of its own.
type deadline struct {
	at time.Time

	mu     sync.Mutex
	timed  context.Context // guarded by mu: nil until somebody waits
	cancel context.CancelFunc
	ended  bool // guarded by mu
}

// withTimeout returns a context that ends after d, or with end, which must be
// called when the command is done.
func withTimeout(d time.Duration) *deadline {
	return &deadline{at: time.Now().Add(d)}
}

// end releases what the context holds.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	if d.cancel != nil {
		d.cancel()
	}
}

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(context.Background(), d.at)
		if d.ended {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err implements context.Context.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.timed != nil:
		return d.timed.Err()
	case d.ended:
		return context.Canceled
	case !time.Now().Before(d.at):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. There are no values; by asking, contexts
// that are made of this one find what ends them, and need no goroutine for it.
func (d *deadline) Value(key any) any {
	d.mu.Lock()
	timed := d.timed
	d.mu.Unlock()
	if timed == nil {
		return nil
	}
	return timed.Value(key)
}
