package ratelimit

import "time"

// Clock is where a limiter takes its time from.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f on a goroutine of its own when d has passed.
	AfterFunc(d time.Duration, f func())
}

// System is the machine's clock.
type System struct{}

// Now implements [Clock].
func (System) Now() time.Time { return time.Now() }

// AfterFunc implements [Clock].
func (System) AfterFunc(d time.Duration, f func()) { time.AfterFunc(d, f) }
