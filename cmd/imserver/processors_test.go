package main

import "testing"

// Ensure a processor is left only to a database that shares them.
func TestOnThisMachine(t *testing.T) {
	for url, want := range map[string]bool{
		"":                                false,
		"postgres://im@localhost/im":      true,
		"postgres://im@127.0.0.1:6543/im": true,
		"postgres://im@[::1]/im":          true,
		"postgres:///im?host=/var/run/postgresql":  true,
		"postgres://im@postgres:5432/im":           false,
		"postgres://im@10.0.0.7/im":                false,
		"postgres://im@db.example.com,127.0.0.1/x": false,
	} {
		if got := onThisMachine(url); got != want {
			t.Errorf("%q: %v", url, got)
		}
	}
}
