// Package bustest gives tests the Redis that IMSERVER_TEST_REDIS_URL names
// (scripts/services.sh starts it).
package bustest

import (
	"crypto/rand"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"imserver/internal/bus"
)

// RedisVar names the variable with the address of a Redis.
const RedisVar = "IMSERVER_TEST_REDIS_URL"

// URL returns the address of the test Redis; the test is skipped when there is
// none.
func URL(tb testing.TB) string {
	tb.Helper()
	url := os.Getenv(RedisVar)
	if url == "" {
		tb.Skip("no Redis: set " + RedisVar)
	}
	return url
}

// Client returns a client of the test Redis that is closed with the test.
func Client(tb testing.TB) redis.UniversalClient {
	tb.Helper()
	return Dial(tb, URL(tb))
}

// Dial is Client of a Redis of the test's own.
func Dial(tb testing.TB, url string) redis.UniversalClient {
	tb.Helper()
	c, err := bus.Dial(url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Prefix returns what a test's keys and channels begin with: nobody else's do.
func Prefix() string { return "test:" + rand.Text() + ":" }
