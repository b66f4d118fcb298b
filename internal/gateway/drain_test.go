package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"imserver/internal/command"
)

// Ensure that a server that goes down waits for the command of a client who has
// gone before it was done, since what it works with is closed next; but only for
// as long as it is told to.
func TestDrainOfTheGone(t *testing.T) {
	for _, tt := range []struct {
		name             string
		access           command.Access
		patience, waited time.Duration
	}{
		{"until it is done", command.Users, time.Minute, 3 * time.Second},
		{"until one of a crowd is done", command.Users | command.Crowded, time.Minute, 3 * time.Second},
		{"not longer than it is told to", command.Users, time.Second, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newServer()
				s.opts.MaxBusy, s.opts.MaxInflight = 2, 2
				s.places, s.crowd = semaphore.NewWeighted(2), semaphore.NewWeighted(crowdPlaces)
				c, r := &Conn{server: s}, request{access: tt.access}
				if !c.begin(r) || c.overloaded(&r) {
					t.Fatal("the command was not admitted")
				}
				time.AfterFunc(3*time.Second, func() { c.end(r) })
				ctx, cancel := context.WithTimeout(t.Context(), tt.patience)
				defer cancel()
				start := time.Now()
				s.Drain(ctx)
				if waited := time.Since(start); waited != tt.waited {
					t.Errorf("it waited %v; want %v", waited, tt.waited)
				}
			})
		})
	}
}
