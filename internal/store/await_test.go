package store_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// Ensure that an answer of Postgres that waiting does not change ends the
// start at once, and says which.
func TestOpenRefused(t *testing.T) {
	u, err := url.Parse(storetest.PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/there_is_no_such_database"
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // less than the wait for one that is starting
	defer cancel()
	_, err = store.Open(ctx, store.Options{URL: u.String(), OnWait: func(err error) { t.Errorf("waits: %v", err) }})
	if err == nil || !strings.Contains(err.Error(), u.Path[1:]) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%v", err)
	}
}

// Ensure that who starts without a Postgres is told what it waits for, once.
func TestOpenWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told []string
	_, err := store.Open(ctx, store.Options{URL: "postgres://u:hush@127.0.0.1:1/d", OnWait: func(err error) {
		told = append(told, err.Error())
		time.AfterFunc(time.Second, cancel) // a few attempts later
	}})
	if err == nil {
		t.Fatal("opened")
	}
	if len(told) != 1 || !strings.Contains(told[0], "127.0.0.1:1") || strings.Contains(told[0], "hush") || strings.Contains(told[0], "\n") {
		t.Errorf("told %q", told)
	}
}
