// Package gateway is the WebSocket door: it upgrades connections, decodes
// frames, authenticates each request by its own head, hands it to the command
// table and writes answers and events. It knows no domain.
package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"imserver/internal/clientip"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/wire"
)

// Options are the door's limits; every field must be set.
type Options struct {
	MaxFrame     int            // bytes of a frame that is processed; larger ones are answered with an error
	MaxQueue     int            // bytes waiting for a connection before it counts as too slow
	MaxStream    int            // bytes of live-room events waiting for a connection; of more the oldest are skipped
	MaxInflight  int            // commands of one connection being processed at once
	MaxBusy      int            // commands of all connections being processed at once; more wait for a moment, see overload.go
	CommandRate  float64        // commands per second of one connection; 0 = no limit
	CommandBurst int            // commands that may come at once
	PerAddress   int            // connections of one address, loopback excepted; 0 = no limit
	Handshake    time.Duration  // time to upgrade
	Timeout      time.Duration  // time a command may take (the SDKs wait 15 s, protocol 01 §7)
	PingAfter    time.Duration  // silence after which the server pings
	DeadAfter    time.Duration  // silence after which a connection counts as gone
	WriteTimeout time.Duration  // a write that takes longer ends the connection
	Proxies      []netip.Prefix // whose X-Forwarded-For is believed
	Origins      []string       // allowed Origin values; empty = any
}

// Devices is told which devices are connected to this node. It must not block:
// a connection's lock is held.
type Devices interface {
	Arrive(s *session.Session)
	// Depart is told once for every Arrive: ended when the login is over, not
	// when the connection was lost or another one took its place.
	Depart(s *session.Session, ended bool)
}

// Apps finds an app's settings; nil if there is no such app.
type Apps func(sdkAppID uint32) *config.App

// Server is the door.
type Server struct {
	opts     Options
	apps     Apps
	table    *command.Table
	sessions *session.Service
	devices  Devices
	hub      *fanout.Hub
	log      *slog.Logger
	metrics  *metrics
	upgrader websocket.Upgrader
	replays  *replays
	workers  *workers
	places   *semaphore.Weighted // of commands that are worked on
	crowd    *semaphore.Weighted // of those that thousands may ask at once
	fan      fan
	together together

	nextID   atomic.Uint64
	resyncs  atomic.Uint64 // counts calls of Resync
	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*Conn]struct{}   // guarded by mu
	byAddr   map[netip.Prefix]int // guarded by mu
}

// New makes the door.
func New(o Options, apps Apps, table *command.Table, sessions *session.Service, devices Devices, hub *fanout.Hub, reg prometheus.Registerer, log *slog.Logger) *Server {
	s := &Server{
		opts: o, apps: apps, table: table, sessions: sessions, devices: devices, hub: hub, log: log, metrics: newMetrics(reg),
		replays: newReplays(), workers: newWorkers(), places: semaphore.NewWeighted(int64(o.MaxBusy)), crowd: semaphore.NewWeighted(crowdPlaces),
		conns: map[*Conn]struct{}{}, byAddr: map[netip.Prefix]int{},
	}
	hub.OnTogether(s.together.run)
	s.upgrader = websocket.Upgrader{
		HandshakeTimeout: o.Handshake,
		WriteBufferPool:  &sync.Pool{}, // only the handshake goes through the library
		CheckOrigin:      s.originAllowed,
	}
	return s
}

func (s *Server) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if len(s.opts.Origins) == 0 || origin == "" {
		return true
	}
	for _, o := range s.opts.Origins {
		if strings.EqualFold(o, origin) {
			return true
		}
	}
	return false
}

// Matches reports whether the door serves a request path: anything that ends
// in /binfo or /info, because the SDK appends that to whatever proxyServer
// says and a redirect would lose the socket (protocol 01 §1, T16).
func Matches(path string) bool {
	return strings.HasSuffix(path, "/binfo") || strings.HasSuffix(path, "/info")
}

// ServeHTTP upgrades a connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		http.Error(w, "shutting down", http.StatusServiceUnavailable)
		return
	}
	addr := clientip.Of(r, s.opts.Proxies)
	if !s.admit(addr) {
		s.metrics.refused.WithLabelValues("address").Inc()
		http.Error(w, "too many connections", http.StatusTooManyRequests)
		return
	}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		s.metrics.refused.WithLabelValues("handshake").Inc()
		s.release(addr)
		return // Upgrade has answered
	}
	c := s.newConn(ws, addr, r.URL.Path, r.URL.Query())
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.metrics.connections.Inc()
	go c.read() // a goroutine of its own frees what net/http holds for a request
}

func (s *Server) newConn(ws *websocket.Conn, addr netip.Addr, path string, query url.Values) *Conn {
	c := &Conn{
		id: s.nextID.Add(1), server: s, nc: ws.NetConn(), in: newInput(ws.NetConn()), addr: addr,
		instance: clip(query.Get("instanceid"), 64), version: clip(query.Get("sdkversion"), 16),
		mode: wire.Text,
	}
	c.platform = int16(platformOf(query.Get("platform")))
	c.app = appOf(query.Get("sdkappid"))
	if !strings.HasSuffix(path, "/info") {
		c.mode = wire.Binary
		if query.Get("compress") == "gzip" {
			c.mode = wire.Compressed
		}
	}
	c.heard.Store(time.Now().UnixNano())
	c.initLimiter(s.opts)
	return c
}

// admit counts a connection of addr, or refuses it. Loopback is not counted:
// proxies and tests come from there.
func (s *Server) admit(addr netip.Addr) bool {
	if s.opts.PerAddress == 0 || addr.IsLoopback() {
		return true
	}
	home := household(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byAddr[home] >= s.opts.PerAddress {
		return false
	}
	s.byAddr[home]++
	return true
}

func (s *Server) release(addr netip.Addr) {
	if s.opts.PerAddress == 0 || addr.IsLoopback() {
		return
	}
	home := household(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byAddr[home]--; s.byAddr[home] <= 0 {
		delete(s.byAddr, home)
	}
}

// household is what one subscriber line has: an IPv4 address, or an IPv6 /64.
func household(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails only for the zero Addr, whose prefix is the zero Prefix
	return p
}

func (s *Server) gone(c *Conn, reason string) {
	s.mu.Lock()
	_, known := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if known {
		s.release(c.addr)
		s.metrics.connections.Dec()
		s.metrics.closed.WithLabelValues(reason).Inc()
	}
}

// Run watches over the connections until ctx ends: it pings the silent ones,
// closes the dead ones, and tells devices whose ticket has ended.
func (s *Server) Run(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, c := range s.snapshot() {
				c.check(now)
			}
		}
	}
}

func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Each calls fn for every attached device of this node.
func (s *Server) Each(fn func(c *Conn, ses *session.Session)) {
	for _, c := range s.snapshot() {
		if ses := c.Session(); ses != nil {
			fn(c, ses)
		}
	}
}

// resyncRate is how many devices a second are asked to resync: about what a
// small node serves as logins beside its traffic.
const resyncRate = 300

// Resync makes every device of this node log in again silently and fetch what
// it missed: publications of other nodes may have been lost. They are asked one
// after the other, so that they do not come all at once.
func (s *Server) Resync() {
	var conns []*Conn
	for _, c := range s.snapshot() {
		if c.Session() != nil {
			conns = append(conns, c)
		}
	}
	newest := s.resyncs.Add(1)
	s.log.Warn("the bus was away, devices resync", "devices", len(conns))
	for i, c := range conns {
		time.AfterFunc(time.Second*time.Duration(i)/resyncRate, func() {
			if s.resyncs.Load() == newest { // otherwise a later call asks everybody again
				c.resync()
			}
		})
	}
}

// Drain refuses new connections, lets what is in flight finish until ctx ends,
// commands of clients who have gone included, and closes the sockets so that
// the SDKs connect again elsewhere.
func (s *Server) Drain(ctx context.Context) {
	s.draining.Store(true)
	conns := s.snapshot()
	for _, c := range conns {
		c.finishThenClose()
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		left := len(s.conns)
		s.mu.Unlock()
		if left == 0 {
			break
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		for _, c := range s.snapshot() {
			c.close("drain")
		}
		return
	}
	// Nobody takes a place any more: having all of them is having no command.
	if s.places.Acquire(ctx, int64(s.opts.MaxBusy)) == nil {
		_ = s.crowd.Acquire(ctx, crowdPlaces) // when ctx ends there is no more to wait for
	}
}
