package store_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

// link forwards a loopback port to an address, until it is told to swallow
// everything, as a network does that loses packets.
type link struct {
	net.Listener
	mu   sync.Mutex
	open chan struct{} // guarded by mu: closed while bytes pass
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

// Ensure that a Postgres that is there and does not answer costs nobody more
// than a few seconds, and later ones nothing; and that it is found again.
func TestAway(t *testing.T) {
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
	edges := make(chan bool, 2)
	db, err := store.Open(t.Context(), store.Options{URL: u.String(), MaxConns: 4, OnAway: func(away bool) { edges <- away }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
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
