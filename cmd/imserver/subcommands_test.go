package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imserver/internal/config"
	"imserver/internal/usersig"
)

// run runs the program with a command line and returns what it printed.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, _, err := runBoth(t, args...)
	return out, err
}

// runBoth is run with what went to standard error.
func runBoth(t *testing.T, args ...string) (printed, notes string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := root(&out)
	cmd.SetArgs(args)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

// Ensure that a ticket is signed with the key of the server, which is made if no server has run yet, and then said so;
// and that its life can be given in days.
func TestUserSigCommand(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if _, notes, err := runBoth(t, "usersig", "--user", "alice", "--data-dir", dir); err != nil || !strings.Contains(notes, dir) {
		t.Errorf("it says %q of the key it made, %v", notes, err)
	}
	if _, notes, err := runBoth(t, "usersig", "--user", "alice", "--data-dir", dir); err != nil || notes != "" {
		t.Errorf("it says %q of a key that is there, %v", notes, err)
	}
	c := config.Default()
	c.DataDir = dir
	if err := c.MakeOwnApp(); err != nil { // as the server does
		t.Fatal(err)
	}
	out, err := run(t, "usersig", "--user", "alice", "--data-dir", dir, "--expire", "30d")
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := usersig.Verify(strings.TrimSpace(out), usersig.Claim{SDKAppID: config.OwnAppID, UserID: "alice", Keys: c.Apps[0].Keys, Now: time.Now()})
	if err != nil || ticket.Lifetime != 30*86400 {
		t.Errorf("%+v, %v", ticket, err)
	}
	for _, wrong := range []string{"0s", "-1h", "1", "soon", "900ms"} {
		if out, err := run(t, "usersig", "--user", "alice", "--data-dir", dir, "--expire", wrong); err == nil || !strings.Contains(err.Error(), "expire") {
			t.Errorf("--expire %s: printed %q, error %v", wrong, out, err)
		}
	}
}

// Ensure that a schema can be brought up to date without a trace of an app.
func TestMigrateCommandMakesNoKey(t *testing.T) {
	dir := t.TempDir()
	if out, err := run(t, "migrate", "--data-dir", dir); err != nil || !strings.Contains(out, "sqlite schema is at version") {
		t.Fatalf("%q, %v", out, err)
	}
	if keys, _ := filepath.Glob(filepath.Join(dir, "*.key")); len(keys) != 0 {
		t.Errorf("it made %s", keys)
	}
}

// Ensure that the container's check finds a server with and without TLS, and that it fails when the server does.
func TestHealthcheckCommand(t *testing.T) {
	var down atomic.Bool
	health := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	plain, secure := httptest.NewServer(health), httptest.NewTLSServer(health)
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "file") // only that it is there is looked at
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	address := plain.Listener.Addr().String()
	tls := []string{"healthcheck", "--listen", secure.Listener.Addr().String(), "--tls-cert-file", file, "--tls-key-file", file}
	for name, args := range map[string][]string{
		"plain": {"healthcheck", "--listen", address}, "every address": {"healthcheck", "--listen", strings.Replace(address, "127.0.0.1", "0.0.0.0", 1)}, "tls": tls,
	} {
		if _, err := run(t, args...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	down.Store(true)
	if _, err := run(t, tls...); err == nil {
		t.Error("a server that fails counts as healthy")
	}
	plain.Close()
	if _, err := run(t, "healthcheck", "--listen", address); err == nil {
		t.Error("a server that is gone counts as healthy")
	}
}
