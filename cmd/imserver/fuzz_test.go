package main

import (
	"slices"
	"testing"

	"imserver/internal/command"
)

// FuzzCommands: no body makes a command panic, or fail in a way that the
// server did not foresee. The seeds are what real clients sent.
func FuzzCommands(f *testing.F) {
	s := mustStage(f)
	s.furnish(f)
	for name, bodies := range s.seeds(f) {
		for _, body := range bodies {
			f.Add(name, []byte(body))
		}
	}
	var names []string
	for _, c := range s.table.List() {
		names = append(names, c.Name)
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		if !slices.Contains(names, name) {
			return
		}
		if code, answer := s.ask(t, "alice", name, body); code == command.CodeInternal {
			t.Errorf("%s %s: %s", name, body, answer)
		}
	})
}
