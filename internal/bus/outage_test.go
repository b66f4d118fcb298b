package bus_test

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

	"github.com/redis/go-redis/v9"

	"imserver/internal/bus"
)

// proxy stands between a node and Redis, and can be cut or made silent.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    map[net.Conn]bool // guarded by mu, as all below
	cut      bool
	silent   bool
}

func mustProxy(t *testing.T) (*proxy, redis.UniversalClient) {
	t.Helper()
	raw := os.Getenv("IMSERVER_TEST_REDIS_URL")
	if raw == "" {
		t.Skip("IMSERVER_TEST_REDIS_URL is not set")
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Has("cluster") {
		t.Skip("a cluster's client goes past the proxy")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: u.Host, conns: map[net.Conn]bool{}}
	go p.serve()
	u.Host = l.Addr().String()
	c, err := bus.Dial(u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); p.set(true, false); _ = c.Close() })
	return p, c
}

func (p *proxy) serve() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.mu.Lock()
		if p.cut {
			_, _ = in.Close(), out.Close()
			p.mu.Unlock()
			continue
		}
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		go p.copy(in, out)
		go p.copy(out, in)
	}
}

func (p *proxy) copy(dst, src net.Conn) {
	defer func() { _, _ = dst.Close(), src.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		p.mu.Lock()
		silent := p.silent
		p.mu.Unlock()
		if err != nil {
			return
		}
		if silent {
			_, _ = io.Copy(io.Discard, src)
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// set cuts all connections and refuses new ones, or swallows what they carry.
func (p *proxy) set(cut, silent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.silent = cut, silent
	if cut {
		for c := range p.conns {
			_ = c.Close()
		}
		clear(p.conns)
	}
}

// Ensure that a node without Redis says so at once, and that afterwards both
// sides are told of what they may have missed, and all works again.
func TestRedisOutage(t *testing.T) {
	for name, silent := range map[string]bool{"cut": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			p, far := mustProxy(t)
			opt := bus.RedisOptions{Prefix: newPrefix(), Health: 200 * time.Millisecond}
			a, b := mustNode(t, far, opt), mustNode(t, mustClient(t), opt)
			a.Subscribe("g")
			b.Subscribe("g")
			a.mustSettle(t)
			b.mustSettle(t)

			p.set(!silent, silent)
			a.Subscribe("h") // not possible now
			eventually(t, "the node notices", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				return errors.Is(a.Settle(ctx), bus.ErrDown)
			})
			if err := a.Ping(shortly(t)); err == nil {
				t.Error("Ping succeeds without Redis")
			}
			a.Publish("g", []byte("lost"))
			b.Publish("g", []byte("lost"))
			if silent {
				p.set(true, false) // the silent connections never come back
			}
			time.Sleep(50 * time.Millisecond)
			p.set(false, false)

			eventually(t, "both are told", func() bool { return a.resets.Load() > 0 && b.resets.Load() > 0 })
			a.mustSettle(t)
			b.Publish("h", []byte("x"))
			eventually(t, "publication after the outage", func() bool { return len(a.received("h")) == 1 })
			if err := a.Ping(shortly(t)); err != nil {
				t.Errorf("Ping: %v", err)
			}
		})
	}
}

func shortly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}
