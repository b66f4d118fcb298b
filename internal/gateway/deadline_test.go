package gateway

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	t.Run("ends by time, for those who wait and those who ask", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			waited, asked := withTimeout(time.Second), withTimeout(time.Second)
			if waited.Err() != nil || asked.Err() != nil {
				t.Fatal("ended before its time")
			}
			<-waited.Done()
			for _, d := range []*deadline{waited, asked} {
				if !errors.Is(d.Err(), context.DeadlineExceeded) {
					t.Errorf("Err() = %v", d.Err())
				}
			}
			<-asked.Done()
		})
	})
	t.Run("ends early, and with it what was made of it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := withTimeout(time.Hour)
			before := runtime.NumGoroutine()
			child, cancel := context.WithTimeout(d, time.Minute)
			defer cancel()
			if now := runtime.NumGoroutine(); now != before {
				t.Errorf("%d goroutines wait for the end of one context", now-before)
			}
			d.end()
			<-child.Done()
			if child.Err() != context.Canceled || d.Err() != context.Canceled {
				t.Errorf("Err() = %v, %v", child.Err(), d.Err())
			}
		})
	})
	t.Run("ended before anybody waits", func(t *testing.T) {
		d := withTimeout(time.Hour)
		d.end()
		if d.Err() != context.Canceled {
			t.Errorf("Err() = %v", d.Err())
		}
		select {
		case <-d.Done():
		default:
			t.Error("Done() is open")
		}
	})
}
