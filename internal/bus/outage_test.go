package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
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
	u, err := url.Parse(bustest.URL(t))
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
	t.Cleanup(func() { _ = l.Close(); p.set(true, false) })
	return p, bustest.Dial(t, u.String())
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
			opt := bus.RedisOptions{Prefix: bustest.Prefix(), Health: 200 * time.Millisecond}
			a, b := mustNode(t, far, opt), mustNode(t, bustest.Client(t), opt)
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

// Ensure that a node that starts without Redis says so at once, and takes its
// part when Redis comes: on one server and on a cluster.
func TestRedisComesLate(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		port := freePorts(t, 1)[0]
		c := bustest.Dial(t, fmt.Sprintf("redis://127.0.0.1:%d", port))
		late := startWithout(t, c)
		mustServer(t, port)
		late.takesPart(t, c)
	})
	t.Run("cluster", func(t *testing.T) {
		ports := freePorts(t, 3)
		c := bustest.Dial(t, clusterURL(ports))
		late := startWithout(t, c)
		startCluster(t, ports)
		late.takesPart(t, c)
	})
}

// latecomer is a node that started before its Redis.
type latecomer struct {
	*inbox
	registry *bus.RedisRegistry
	opt      bus.RedisOptions
}

func startWithout(t *testing.T, c redis.UniversalClient) latecomer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	n := latecomer{opt: bus.RedisOptions{Prefix: bustest.Prefix(), Health: 200 * time.Millisecond}}
	b, err := bus.NewRedis(ctx, c, n.opt)
	if err != nil {
		t.Fatal(err)
	}
	n.inbox = newInbox(t, b)
	n.Subscribe("g")
	n.Publish("g", []byte("lost"))
	if err := n.Settle(t.Context()); !errors.Is(err, bus.ErrDown) || n.Up() {
		t.Errorf("Settle without Redis: %v, and Up is %v", err, n.Up())
	}
	if n.registry, err = bus.NewRedisRegistry(ctx, c, bus.RegistryOptions{Prefix: n.opt.Prefix}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.registry.Close() })
	n.registry.Arrive(bus.Instance{UID: 7, Inst: 1})
	return n
}

// takesPart waits for what the node could not do until now.
func (n latecomer) takesPart(t *testing.T, c redis.UniversalClient) {
	t.Helper()
	eventually(t, "the node is told that it may have missed something", func() bool { return n.Up() && n.resets.Load() > 0 })
	other := mustNode(t, c, n.opt)
	other.Publish("g", []byte("hello"))
	eventually(t, "a publication", func() bool { return len(n.received("g")) == 1 })
	far := mustRegistry(t, c, bus.RegistryOptions{Prefix: n.opt.Prefix})
	eventually(t, "the presence", func() bool {
		online, err := far.Online(t.Context(), []int64{7})
		return err == nil && len(online) == 1
	})
}

// Ensure that a Redis that refuses the node is an error, not a Redis that may
// come later.
func TestRedisRefuses(t *testing.T) {
	port := freePorts(t, 1)[0]
	mustServer(t, port, "--requirepass", "secret")
	for _, user := range []string{"", ":wrong@"} {
		c := bustest.Dial(t, fmt.Sprintf("redis://%s127.0.0.1:%d", user, port))
		if _, err := bus.NewRedis(t.Context(), c, bus.RedisOptions{}); err == nil {
			t.Errorf("%q: the bus begins without a password", user)
		}
		if _, err := bus.NewRedisRegistry(t.Context(), c, bus.RegistryOptions{}); err == nil {
			t.Errorf("%q: the registry begins without a password", user)
		}
	}
}
