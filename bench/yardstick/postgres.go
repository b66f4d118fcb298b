package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
)

// The rows go into the server's own table, with its indexes and partitions.
const (
	pgColumns = `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body) `
	oneRow    = pgColumns + `VALUES (:client_id::bigint, 7, :base::bigint + :i::bigint, 7, :i::bigint, :r::bigint, 1, 0, '` + rowText + `');`
	manyRows  = pgColumns + `SELECT :client_id::bigint, 7, :base::bigint + :i::bigint * 100 + g, 7, :i::bigint, :r::bigint + g, 1, 0, '` + rowText +
		`' FROM generate_series(0, 99) g;`
)

func postgresCommand(duration *time.Duration) *cobra.Command {
	var url string
	var sessions int
	cmd := &cobra.Command{Use: "postgres [one_row] [hundred_rows] [lone_commit]", Short: "Inserts into the messages table: one row a commit, 100 rows a commit",
		ValidArgs: []string{"one_row", "hundred_rows", "lone_commit"}, Args: cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, only []string) error {
			if url == "" {
				return errors.New("--database is missing")
			}
			f := figures{}
			for _, y := range []struct {
				name, script string
				sessions     int
				rows         float64
			}{{"one_row", oneRow, sessions, 1}, {"hundred_rows", manyRows, sessions, 100}, {"lone_commit", oneRow, 1, 1}} {
				if !wanted(only, y.name) {
					continue
				}
				rate, err := inserts(cmd.Context(), url, y.script, y.sessions, *duration, f)
				if err != nil {
					return fmt.Errorf("%s: %w", y.name, err)
				}
				f[y.name+"_rows_per_second"] = rate * y.rows
				if y.sessions == 1 {
					f[y.name+"_ms"] = 1000 / rate
				}
			}
			return f.print()
		}}
	cmd.Flags().StringVar(&url, "database", "", "postgres:// address of a database that imserver migrate has prepared")
	cmd.Flags().IntVar(&sessions, "sessions", 20, "sessions that insert at once")
	return cmd
}

// inserts runs a statement in a loop and returns commits per second: with
// pgbench, or where that is missing with pgx. f["pgbench"] says which.
func inserts(ctx context.Context, url, script string, sessions int, d time.Duration, f figures) (float64, error) {
	base := time.Now().UnixMicro() / 1e6 << 20 // where the server's own sequences of this second begin
	pgbench := findPgbench()
	if pgbench == "" {
		f["pgbench"] = 0
		return insertsPgx(ctx, url, script, base, sessions, d)
	}
	f["pgbench"] = 1
	file, err := os.CreateTemp("", "yardstick*.sql")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.Remove(file.Name()) }()
	// The session's own part of the key keeps the runs apart.
	if _, err = fmt.Fprintf(file, "\\set i :i + 1\n\\set r random(1, 2000000000)\n%s\n", script); err != nil {
		return 0, err
	}
	if err = file.Close(); err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, pgbench, "-n", "-M", "prepared", "-c", strconv.Itoa(sessions), "-j", strconv.Itoa(min(sessions, 2)),
		"-T", strconv.Itoa(int(d.Seconds())), "-D", "i=0", "-D", fmt.Sprintf("base=%d", base), "-f", file.Name(), url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	m := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench says %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// findPgbench looks on the path and where Debian keeps it.
func findPgbench() string {
	if p, err := exec.LookPath("pgbench"); err == nil {
		return p
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is good
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

func insertsPgx(ctx context.Context, url, script string, base int64, sessions int, d time.Duration) (float64, error) {
	query := strings.NewReplacer(":client_id", "$1", ":base", "$2", ":i", "$3", ":r", "$4").Replace(strings.TrimSuffix(script, ";"))
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return 0, err
	}
	config.MaxConns = int32(sessions)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	var commits atomic.Int64
	errs := make(chan error, sessions)
	start := time.Now()
	var wg sync.WaitGroup
	for client := range sessions {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := int64(1); time.Since(start) < d; i++ {
				if _, err := pool.Exec(ctx, query, client, base, i, i*7919%2_000_000_000); err != nil {
					errs <- err
					return
				}
				commits.Add(1)
			}
		}()
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(commits.Load()) / time.Since(start).Seconds(), nil
	}
}
