package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"imserver/internal/store"
)

// Ensure that a key is known for its time or until enough newer ones came, and
// forgotten after twice that.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := store.NewRecent[int](3, time.Minute)
		if r.Add(1) {
			t.Fatal("a new key is known")
		}
		if !r.Add(1) {
			t.Fatal("a key is forgotten at once")
		}
		for k := 2; k <= 4; k++ {
			r.Add(k)
		}
		if !r.Add(1) {
			t.Fatal("a key is forgotten with three newer ones")
		}
		for k := 5; k <= 12; k++ {
			r.Add(k)
		}
		if r.Add(1) {
			t.Fatal("a key is known after more than six newer ones")
		}
		time.Sleep(59 * time.Second)
		if !r.Add(1) {
			t.Fatal("a key is forgotten before its time")
		}
		for range 3 {
			time.Sleep(61 * time.Second)
			r.Add(100)
		}
		if r.Add(1) {
			t.Fatal("a key is known after twice its time")
		}
	})
}
