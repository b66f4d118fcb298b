//go:build !movableclock

package main

import "time"

// clock is what the domains take the time from.
func clock() time.Time { return time.Now() }
