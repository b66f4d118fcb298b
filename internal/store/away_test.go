package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// link forwards a loopback port to an address, until it is told to swallow
// everything, as a network does that loses packets.
type link struct {
	net.Listener
	mu    sync.Mutex
	open  chan struct{} // guarded by mu: closed while bytes pass
	conns []net.Conn    // guarded by mu
}

// cut ends all connections.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		_ = c.Close()
	}
	k.conns = nil
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{Listener: l, open: make(chan struct{})}
	close(k.open)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			k.mu.Lock()
			k.conns = append(k.conns, in, out)
			k.mu.Unlock()
			go k.pass(in, out)
			go k.pass(out, in)
		}
	}()
	return k
}

func (k *link) pass(dst, src net.Conn) {
	defer func() { _ = dst.Close() }()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		k.mu.Lock()
		open := k.open
		k.mu.Unlock()
		<-open
		if _, werr := dst.Write(buf[:n]); werr != nil || errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			return
		}
	}
}

func (k *link) stall() (mend func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open = make(chan struct{})
	return sync.OnceFunc(func() { close(k.open) })
}

// openOver opens the test's Postgres over a link.
func openOver(t *testing.T, o store.Options) (*store.DB, *link) {
	t.Helper()
	server := os.Getenv(storetest.PostgresVar)
	if server == "" {
		t.Skip("no Postgres: set " + storetest.PostgresVar)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("the address of Postgres is malformed")
	}
	l := newLink(t, u.Host)
	u.Host = l.Addr().String()
	o.URL = u.String()
	db, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db, l
}

// slow is a statement that takes some seconds.
const slow = `SELECT pg_sleep($1)`

// Ensure that a statement whose connection ends while it runs, cut by the
// network or by the server, is answered as one to be tried again, and that the
// next ones work; also in a transaction, and when only the commit says it.
func TestLost(t *testing.T) {
	exec := func(t *testing.T, pool *sql.DB, statement string, seconds int) error {
		_, err := pool.ExecContext(t.Context(), statement, seconds)
		return err
	}
	for way, run := range map[string]func(t *testing.T, db *store.DB, statement string, seconds int) error{
		"Write": func(t *testing.T, db *store.DB, s string, n int) error { return exec(t, db.Write, s, n) },
		"Lists": func(t *testing.T, db *store.DB, s string, n int) error { return exec(t, db.Lists, s, n) },
		"Append": func(t *testing.T, db *store.DB, s string, n int) error {
			_, err := db.Append.Exec(t.Context(), s, n)
			return err
		},
		"rows": func(t *testing.T, db *store.DB, s string, n int) error {
			_, err := store.Collect(t.Context(), db.Read, func(rows *sql.Rows, v *string) error { return rows.Scan(v) }, s, n)
			return err
		},
		"Tx": func(t *testing.T, db *store.DB, s string, n int) error {
			return db.Tx(t.Context(), func(tx *sql.Tx) error { _, err := tx.ExecContext(t.Context(), s, n); return err })
		},
		"commit": func(t *testing.T, db *store.DB, s string, n int) error {
			return db.Tx(t.Context(), func(tx *sql.Tx) error {
				_, _ = tx.ExecContext(t.Context(), s, n) // the commit says it, too
				return nil
			})
		},
	} {
		t.Run(way, func(t *testing.T) {
			db, l := openOver(t, store.Options{MaxConns: 8})
			run := func(s string, n int) error { return run(t, db, s, n) }
			lose(t, run, func(*sql.DB, string) { l.cut() })
			lose(t, run, func(other *sql.DB, statement string) {
				if _, err := other.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1`, statement); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// lose runs a statement, ends its connection in the middle, and then waits
// until others work again.
func lose(t *testing.T, run func(statement string, seconds int) error, end func(other *sql.DB, statement string)) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{URL: os.Getenv(storetest.PostgresVar), MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	statement := fmt.Sprintf("%s /* %s %d */", slow, t.Name(), time.Now().UnixNano())
	failed := make(chan error, 1)
	go func() { failed <- run(statement, 20) }()
	for sleeping := false; !sleeping; {
		select {
		case err := <-failed:
			t.Fatal("before anything was broken: ", err)
		case <-time.After(2 * time.Millisecond):
		}
		if err := db.Write.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE query = $1 AND wait_event = 'PgSleep')`, statement).Scan(&sleeping); err != nil {
			t.Fatal(err)
		}
	}
	end(db.Write, statement)
	select {
	case err := <-failed:
		if !command.Unavailable(err) {
			t.Errorf("%v is answered as a fault inside", err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the statement still waits")
	}
	for worked := 0; worked < 8; worked++ { // more than there are connections, each of which may have ended
		if err := run(slow, 0); err != nil {
			worked = 0
			if !command.Unavailable(err) {
				t.Fatalf("later: %v is answered as a fault inside", err)
			}
		}
	}
}

// Ensure that what is no loss of a connection is not taken for one.
func TestNotLost(t *testing.T) {
	db, _ := openOver(t, store.Options{MaxConns: 2})
	if _, err := db.Write.ExecContext(t.Context(), `SELECT nothing`); err == nil || command.Unavailable(err) {
		t.Errorf("a wrong statement: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := db.Write.ExecContext(ctx, slow, 20); !errors.Is(err, context.DeadlineExceeded) || command.Unavailable(err) {
		t.Errorf("the end of the caller's patience: %v", err)
	}
}

// Ensure that a database without room is answered for as one that does not
// answer, and that the log is told.
func TestExhausted(t *testing.T) {
	full := map[string]func(t *testing.T) error{
		"sqlite": func(t *testing.T) error {
			db := storetest.SQLite(t).Write
			for _, query := range []string{`CREATE TABLE filled (b BLOB)`, `PRAGMA max_page_count = 1`} { // that is what it has
				if _, err := db.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			_, err := db.ExecContext(t.Context(), `INSERT INTO filled VALUES (zeroblob(1000000))`)
			return err
		},
		"postgres": func(t *testing.T) error {
			db, _ := openOver(t, store.Options{MaxConns: 2})
			_, err := db.Write.ExecContext(t.Context(), `DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = 'disk_full'; END $$`)
			return err
		},
	}
	for engine, fill := range full {
		t.Run(engine, func(t *testing.T) {
			err := fill(t)
			if err == nil {
				t.Fatal("it had room")
			}
			if answer, tell := command.Mask(err, "r"); answer.Code != command.CodeTimeout || !tell {
				t.Errorf("%v is answered with %d, told: %t", err, answer.Code, tell)
			}
		})
	}
}

// Ensure that a Postgres that is there and does not answer costs nobody more
// than a few seconds, and later ones nothing; and that it is found again.
func TestAway(t *testing.T) {
	edges := make(chan bool, 2)
	db, l := openOver(t, store.Options{MaxConns: 4, OnAway: func(away bool) { edges <- away }})
	mend := l.stall()
	defer mend()

	// More than there are connections: some wait for an answer, some for a
	// connection.
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			_, err := db.Write.ExecContext(context.Background(), `SELECT 1`)
			errs <- err
		}()
	}
	for range cap(errs) {
		select {
		case err := <-errs:
			if err == nil {
				t.Error("a statement succeeded without a database")
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a statement still waits for a database that does not answer")
		}
	}
	if !<-edges {
		t.Fatal("the database is not said to be away")
	}
	if _, err := db.Append.Exec(context.Background(), `SELECT 1`); !errors.Is(err, store.ErrAway) {
		t.Errorf("the writers' pool says %v, want ErrAway", err)
	}
	if err := db.Ping(context.Background()); !errors.Is(err, store.ErrAway) {
		t.Errorf("ping says %v, want ErrAway", err)
	}

	mend()
	select {
	case away := <-edges:
		if away {
			t.Fatal("away twice")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the database was not found again")
	}
	if _, err := db.Write.ExecContext(context.Background(), `SELECT 1`); err != nil {
		t.Errorf("after it is back: %v", err)
	}
}
