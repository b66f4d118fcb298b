package main

import (
	"strings"
	"testing"

	"imserver/internal/config"
)

// Ensure that a second server of an embedded database does not start, and that
// the next one does when the first has ended.
func TestHoldFolder(t *testing.T) {
	c := config.Default()
	c.DataDir = t.TempDir()
	release, err := holdFolder(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holdFolder(t.Context(), c); err == nil || !strings.Contains(err.Error(), "data_dir") || !strings.Contains(err.Error(), c.DataDir) {
		t.Errorf("a second server is told %v", err)
	}
	shared := *c
	shared.DatabaseURL = "postgres://"
	if _, err := holdFolder(t.Context(), &shared); err != nil {
		t.Errorf("a node on Postgres is told %v", err)
	}
	release()
	if release, err = holdFolder(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	release()
}
