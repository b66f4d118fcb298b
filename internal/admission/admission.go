// Package admission bounds the connections of a process before it knows
// anything about them: how many there are, and how many of them have not sent
// their first request yet. A client that opens thousands of sockets and says
// nothing then takes places from others like it, and from nobody else.
package admission

import (
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// reserve are the open files left to everything that is no client: databases,
// logs, what is served from disk.
const reserve = 512

// unlimited stands for no limit of open files.
const unlimited = 1 << 30

// Gate counts connections. Use Listen for the listener, Context and Handler for
// the HTTP server.
type Gate struct {
	max, silent int
	cut         *prometheus.CounterVec

	mu   sync.Mutex
	open int        // guarded by mu
	wait *list.List // guarded by mu: *conn whose first request has not come, the oldest first
}

// New makes a gate for at most max connections, silent of which have not sent
// a request; max 0 is what the process's limit of open files allows.
func New(max, silent int, reg prometheus.Registerer) *Gate {
	if max == 0 {
		max = openFiles() - reserve
	}
	return &Gate{max: max, silent: min(silent, max), wait: list.New(),
		cut: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Name: "connections_cut_total",
			Help: "Connections ended before their first request, by reason: too many of those, or of all."}, []string{"reason"})}
}

// Listen returns l with its connections counted.
func (g *Gate) Listen(l net.Listener) net.Listener { return &listener{l, g} }

type listener struct {
	net.Listener
	gate *Gate
}

// Accept implements net.Listener. It never refuses to accept: a connection too
// many is closed at once, or makes the oldest silent one go.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.gate.enter(nc); c != nil {
			return c, nil
		}
	}
}

func (g *Gate) enter(nc net.Conn) net.Conn {
	g.mu.Lock()
	var oldest *conn
	reason := ""
	switch {
	case g.open >= g.max:
		reason = "all"
	case g.wait.Len() >= g.silent:
		reason = "silent"
	}
	if reason != "" {
		if front := g.wait.Front(); front != nil {
			oldest = front.Value.(*conn)
			g.spokenLocked(oldest)
		}
	}
	full := g.open >= g.max && oldest == nil
	var c *conn
	if !full {
		c = &conn{Conn: nc, gate: g}
		c.place = g.wait.PushBack(c)
		g.open++
	}
	g.mu.Unlock()
	if reason != "" {
		g.cut.WithLabelValues(reason).Inc()
	}
	if oldest != nil {
		_ = oldest.Close()
	}
	if full {
		_ = nc.Close()
		return nil
	}
	return c
}

// spokenLocked takes a connection out of those that have sent nothing.
func (g *Gate) spokenLocked(c *conn) {
	if c.place != nil {
		g.wait.Remove(c.place)
		c.place = nil
	}
}

type conn struct {
	net.Conn
	gate   *Gate
	place  *list.Element // guarded by gate.mu; nil: it has sent a request
	closed bool          // guarded by gate.mu
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.gate.mu.Lock()
	c.gate.spokenLocked(c)
	if !c.closed {
		c.closed = true
		c.gate.open--
	}
	c.gate.mu.Unlock()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn: readers may wait without a buffer.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

type key struct{}

// Context is for http.Server's ConnContext.
func (g *Gate) Context(ctx context.Context, nc net.Conn) context.Context {
	for {
		if c, ok := nc.(*conn); ok {
			return context.WithValue(ctx, key{}, c)
		}
		inner, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return ctx
		}
		nc = inner.NetConn()
	}
}

// Handler notes that a connection's request has come, and hands it to next.
func (g *Gate) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(key{}).(*conn); ok {
			g.mu.Lock()
			g.spokenLocked(c)
			g.mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
}
