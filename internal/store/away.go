package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"imserver/internal/socket"
)

// ErrAway says that the database does not answer. While it does not, every
// statement fails with it at once: a request that waits for a database that is
// not there only keeps others waiting behind it.
var ErrAway = errors.New("store: the database does not answer")

// lostError is why a connection to the database ended, or could not be made,
// see [IsLost].
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

// lost marks what a connection failed with. A time-out is no loss: by one pgx
// interrupts what nobody waits for any more.
func lost(err error) error {
	var n net.Error
	if err == nil || errors.As(err, &n) && n.Timeout() {
		return err
	}
	return lostError{err}
}

// How the database is watched. It is away when it has sent nothing at all on
// any connection for silence while it was asked, or refuses connections; a
// slow one still sends something.
const (
	watchEvery = time.Second
	silence    = 4 * time.Second
	watchAgain = 250 * time.Millisecond // while it is away
)

// watch knows every connection to Postgres and whether the server answers.
// When it does not, it ends the connections, so that nobody waits for them,
// and refuses new ones until the server answers again.
type watch struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	config *pgx.ConnConfig // of the watch's own connection
	heard  atomic.Int64    // nanoseconds on the clock of since, of the last byte
	since  time.Time
	onEdge func(away bool) // called by run

	mu    sync.Mutex
	away  bool                    // guarded by mu
	conns map[*heardConn]struct{} // guarded by mu
}

func newWatch(c *pgx.ConnConfig) *watch {
	w := &watch{dial: c.DialFunc, config: c.Copy(), since: time.Now(), conns: map[*heardConn]struct{}{}}
	c.DialFunc = w.connect
	return w
}

// connect is the DialFunc of the pool.
func (w *watch) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if w.isAway() {
		return nil, ErrAway
	}
	nc, err := w.dial(ctx, network, address)
	if err != nil {
		return nil, lostError{err}
	}
	c := &heardConn{Conn: socket.Wrap(nc), watch: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		_ = nc.Close()
		return nil, ErrAway
	}
	w.conns[c] = struct{}{}
	return c, nil
}

// heardConn notes that the server has sent something, and marks the errors
// that end a connection.
type heardConn struct {
	net.Conn
	watch *watch
}

func (c *heardConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.watch.heard.Store(int64(time.Since(c.watch.since)))
	}
	return n, lost(err)
}

func (c *heardConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, lost(err)
}

func (c *heardConn) Close() error {
	c.watch.mu.Lock()
	delete(c.watch.conns, c)
	c.watch.mu.Unlock()
	return c.Conn.Close()
}

func (w *watch) isAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

// set notes whether the server answers; when it has ceased to, what waits for
// it fails.
func (w *watch) set(away bool) {
	w.mu.Lock()
	before := w.away
	w.away = away
	var ended []*heardConn
	if away && !before {
		for c := range w.conns {
			ended = append(ended, c)
		}
	}
	w.mu.Unlock()
	for _, c := range ended {
		_ = c.Conn.Close() // its owner finds out
	}
	if before != away {
		w.onEdge(away)
	}
}

// start begins to watch and returns what ends it; onEdge is called when the
// server ceases to answer and when it answers again.
func (w *watch) start(onEdge func(away bool)) (stop func()) {
	w.onEdge = onEdge
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { w.run(ctx) })
	return func() { cancel(); done.Wait() }
}

// run watches until ctx ends.
func (w *watch) run(ctx context.Context) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			_ = conn.Close(context.Background())
		}
	}()
	for {
		asked := int64(time.Since(w.since))
		conn = w.ask(ctx, conn)
		if conn == nil { // the connection may just have been cut
			conn = w.ask(ctx, nil)
		}
		if ctx.Err() != nil {
			return
		}
		wait := watchEvery
		switch {
		case conn != nil:
			w.set(false)
		case w.heard.Load() <= asked:
			w.set(true)
			wait = watchAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ask pings over conn, or a new connection if it is nil. It returns nil when
// there was no answer.
func (w *watch) ask(ctx context.Context, conn *pgx.Conn) *pgx.Conn {
	ctx, cancel := context.WithTimeout(ctx, silence/2)
	defer cancel()
	if conn == nil {
		var err error
		if conn, err = pgx.ConnectConfig(ctx, w.config); err != nil {
			return nil
		}
	}
	if conn.Ping(ctx) != nil {
		_ = conn.Close(ctx) // it is of no use any more
		return nil
	}
	return conn
}
