// Package storetest gives tests real, migrated, empty databases: SQLite in a
// temporary folder always, and Postgres when IMSERVER_TEST_POSTGRES_URL names
// one (scripts/services.sh starts it).
package storetest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"imserver/internal/store"
)

// PostgresVar is the variable that holds the address of a Postgres in which
// the tests may make and drop databases.
const PostgresVar = "IMSERVER_TEST_POSTGRES_URL"

// Open runs fn as a subtest on every engine there is, each with a database of
// its own that is gone afterwards.
func Open(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run(store.SQLite.String(), func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run(store.Postgres.String(), func(t *testing.T) { fn(t, Postgres(t)) })
}

// Statements keeps the statements that a database was asked to run.
type Statements struct {
	mu   sync.Mutex
	list []string // guarded by mu
}

func (s *Statements) add(statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, statement)
}

// Of returns the statements that fn makes.
func (s *Statements) Of(fn func()) []string {
	s.mu.Lock()
	s.list = nil
	s.mu.Unlock()
	fn()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list
}

// Counted is Open with the statements of the database.
func Counted(t *testing.T, fn func(t *testing.T, db *store.DB, made *Statements)) {
	t.Helper()
	t.Run(store.SQLite.String(), func(t *testing.T) {
		made := &Statements{}
		fn(t, open(t, store.Options{Dir: sqliteDir(t), OnStatement: made.add}), made)
	})
	t.Run(store.Postgres.String(), func(t *testing.T) {
		made := &Statements{}
		fn(t, open(t, store.Options{URL: migratedURL(t), MaxConns: 8, OnStatement: made.add}), made)
	})
}

// SQLite returns an embedded database of its own for the test or benchmark.
func SQLite(tb testing.TB) *store.DB {
	tb.Helper()
	return open(tb, store.Options{Dir: sqliteDir(tb)})
}

// Postgres returns a Postgres database of its own for the test or benchmark,
// which it skips when there is no Postgres.
func Postgres(tb testing.TB) *store.DB {
	tb.Helper()
	return open(tb, store.Options{URL: migratedURL(tb), MaxConns: 8})
}

// open opens a migrated database, which closes with the test.
func open(tb testing.TB, o store.Options) *store.DB {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db, err := store.Open(ctx, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	return db
}

// sqliteDir returns a folder with a migrated database.
func sqliteDir(tb testing.TB) string {
	tb.Helper()
	files, err := sqliteFiles()
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// migratedURL makes a migrated Postgres database and returns its address. It is
// a database and not a schema, because advisory locks are a database's.
func migratedURL(tb testing.TB) string {
	tb.Helper()
	_ = postgres(tb) // or skip
	template, err := postgresTemplate()
	if err != nil {
		tb.Fatal(err)
	}
	return create(tb, template)
}

// PostgresURL makes an empty Postgres database and returns its address; it is
// dropped with the test, which is skipped when there is no Postgres.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	return create(tb, "template0")
}

// create makes a copy of a database and returns its address.
func create(tb testing.TB, template string) string {
	tb.Helper()
	server := postgres(tb)
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatalf("%s is malformed", PostgresVar)
	}
	name := "test_" + strings.ToLower(rand.Text())
	execute(tb, server, `CREATE DATABASE `+name+` TEMPLATE `+template)
	tb.Cleanup(func() { execute(tb, server, `DROP DATABASE `+name+` WITH (FORCE)`) })
	u.Path = "/" + name
	return u.String()
}

// postgres returns the address of the server, or skips.
func postgres(tb testing.TB) string {
	tb.Helper()
	server := os.Getenv(PostgresVar)
	if server == "" {
		tb.Skip("no Postgres: set " + PostgresVar)
	}
	return server
}

// Plan returns how the writers' connections of a Postgres carry out a statement,
// for any arguments, SQL, and without what statistics tell.
func Plan(tb testing.TB, db *store.DB, statement, arguments string) string {
	tb.Helper()
	conn, err := db.Append.Acquire(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Release()
	name := "plan_" + strings.ToLower(rand.Text())
	if _, err := conn.Exec(context.Background(), `PREPARE `+name+` AS `+statement); err != nil {
		tb.Fatal(err)
	}
	rows, err := conn.Query(context.Background(), `EXPLAIN EXECUTE `+name+` (`+arguments+`)`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		tb.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Join(plan, "\n")
}

func execute(tb testing.TB, server, statement string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
}
