package main

import (
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strings"

	"github.com/jackc/pgx/v5"

	"imserver/internal/config"
)

// leaveProcessor leaves a processor to a Postgres on the same machine. A
// message goes from the server to Postgres and back; when the server has all
// processors it spends on waking them what Postgres then lacks. Figures are in
// docs/performance.md. GOMAXPROCS in the environment has the last word.
func leaveProcessor(c *config.Config, log *slog.Logger) {
	have := runtime.GOMAXPROCS(0)
	if have == 1 || os.Getenv("GOMAXPROCS") != "" || !onThisMachine(c.DatabaseURL) {
		return
	}
	runtime.GOMAXPROCS(have - 1)
	log.Info("one processor is left to Postgres, which is on this machine", "processors", have-1)
}

// onThisMachine reports whether a postgres:// address says that the database
// is on this machine: by a socket's folder, or a loopback address. An empty
// address is the embedded engine, which is none.
func onThisMachine(url string) bool {
	if url == "" {
		return false
	}
	o, err := pgx.ParseConfig(url)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(o.Host)
	return strings.HasPrefix(o.Host, "/") || o.Host == "localhost" || err == nil && ip.IsLoopback()
}
