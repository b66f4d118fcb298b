package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"imserver/internal/account"
	"imserver/internal/annotation"
	"imserver/internal/bus"
	"imserver/internal/clientip"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/conversation"
	"imserver/internal/fanout"
	"imserver/internal/gateway"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/language"
	"imserver/internal/liveroom"
	"imserver/internal/message"
	"imserver/internal/presence"
	"imserver/internal/profile"
	"imserver/internal/push"
	"imserver/internal/relation"
	"imserver/internal/rest"
	"imserver/internal/session"
	"imserver/internal/store"
	"imserver/internal/wordlist"
)

// node is a server process: the parts and how they are joined.
type node struct {
	config   *config.Config
	log      *slog.Logger
	metrics  *prometheus.Registry
	db       *store.DB
	away     atomic.Bool  // the database does not answer
	said     atomic.Value // what /readyz answered last, a string
	bus      bus.Bus
	redis    redis.UniversalClient // nil without Redis
	registry bus.Registry
	presence *presence.Service
	hub      *fanout.Hub
	table    *command.Table
	accounts *account.Directory
	sessions *session.Service
	messages *message.Service
	notes    *annotation.Store
	pushes   *push.Queue
	groups   *group.Service
	groupLog *grouplog.Service
	rooms    *liveroom.Service
	gateway  *gateway.Server
	rest     *rest.Door
}

// newNode opens the store and the bus and wires the domains to the table.
func newNode(ctx context.Context, c *config.Config, log *slog.Logger) (*node, error) {
	n := &node{config: c, log: log, metrics: prometheus.NewRegistry(), table: command.NewTable(), bus: bus.Local{}, registry: bus.NewLocalRegistry()}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if n.db, err = openStore(ctx, c, log, n.databaseAway); err != nil {
		return nil, err
	}
	version, err := n.db.Migrate(ctx)
	if err != nil {
		return nil, err
	}
	log.Info("store is ready", "engine", n.db.Dialect.String(), "schema", version)
	if c.RedisURL != "" {
		if err := n.dialBus(ctx); err != nil {
			return nil, err
		}
	}
	n.watchedParts()
	if err := n.wire(ctx); err != nil {
		return nil, err
	}
	if n.redis == nil { // else the other nodes know who was here
		if err := n.presence.Recall(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// openStore opens the database that c names. An error begins with the setting.
func openStore(ctx context.Context, c *config.Config, log *slog.Logger, onAway func(away bool)) (*store.DB, error) {
	db, err := store.Open(ctx, store.Options{URL: c.DatabaseURL, Dir: c.DataDir, MaxConns: c.DatabaseConns, OnAway: onAway,
		OnWait: func(err error) { log.Warn("waiting for the database", "err", err) }})
	if err == nil {
		return db, nil
	}
	setting := "database_url"
	if c.DatabaseURL == "" {
		setting = "data_dir"
	}
	return nil, fmt.Errorf("%s: %w", setting, err)
}

// busPatience is how long a node that starts waits for its bus, which may be
// starting too. Then it serves without it, as nodes do that lose it later.
const busPatience = 3 * time.Second

// dialBus joins the node to the others.
func (n *node) dialBus(ctx context.Context) error {
	url := n.config.RedisURL
	if m := n.config.RedisMaster; m != "" {
		sep := "?"
		if strings.Contains(url, "?") {
			sep = "&"
		}
		url += sep + "master_name=" + m
	}
	bus.LogTo(n.log)
	client, err := bus.Dial(url, n.metrics)
	if err != nil {
		return fmt.Errorf("redis_url: %w", err)
	}
	n.redis = client
	wait, cancel := context.WithTimeout(ctx, busPatience)
	defer cancel()
	for err = client.Ping(wait).Err(); err != nil && !bus.Refused(err) && wait.Err() == nil; err = client.Ping(wait).Err() {
		select {
		case <-wait.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if n.bus, err = bus.NewRedis(wait, client, bus.RedisOptions{Registerer: n.metrics, Log: n.log}); err != nil {
		return fmt.Errorf("redis_url: %w", err)
	}
	if !n.bus.Up() {
		n.log.Warn(stateDegraded + ", it is taken into use when it is there")
	}
	n.registry, err = bus.NewRedisRegistry(wait, client, bus.RegistryOptions{Linger: n.config.PresenceGrace, Registerer: n.metrics, Log: n.log})
	if err != nil {
		return fmt.Errorf("redis_url: %w", err)
	}
	return nil
}

func (n *node) wire(ctx context.Context) error {
	now := clock
	n.hub = fanout.NewHub(n.bus, n.log)
	n.accounts = account.NewDirectory(n.db, now)
	n.accounts.Share(n.hub)
	n.sessions = session.NewService(n.db, n.accounts, n.hub, now, n.log)
	n.notes = annotation.New(n.db, now)
	n.pushes = push.NewQueue(nil, n.metrics)
	var err error
	n.messages, err = message.NewService(ctx, message.Options{DB: n.db, Accounts: n.accounts, Hub: n.hub, Now: now, Log: n.log, Metrics: n.metrics,
		Pusher: n.pushes, Annotations: n.notes})
	if err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	if err := n.wireGroups(ctx, now); err != nil {
		return err
	}
	conversations := conversation.NewService(n.db, n.accounts, n.hub, now, n.messages, n.groups)

	n.wirePresence(now)
	n.sessions.Register(n.table)
	session.RegisterCloud(n.table)
	n.messages.Register(n.table)
	conversations.Register(n.table)
	wordlist.New().Register(n.table)
	language.New(language.HTTP{Client: &http.Client{}}, n.log).Register(n.table)
	n.accounts.Register(n.table, n.sessions)
	profiles := profile.NewService(n.db, n.accounts, n.hub, n.config.App, nil, n.log)
	profiles.Register(n.table)
	n.accounts.OnChange(profiles.Announce)
	n.sessions.OnGreet(profiles.Greet)
	relation.Register(n.table)

	n.rest = rest.New(restOptions(n.config), n.config.App, n.table, n.sessions, n.accounts.Number, now, n.metrics, n.log)
	n.gateway = gateway.New(gatewayOptions(n.config), n.config.App, n.table, n.sessions, n.presence, n.hub, n.metrics, n.log)
	n.hub.OnReset(n.gateway.Resync)
	return nil
}

// wirePresence joins who is online to logins, accounts and the registry of nodes.
func (n *node) wirePresence(now func() time.Time) {
	n.presence = presence.New(presence.Options{DB: n.db, Accounts: n.accounts, Hub: n.hub, Registry: n.registry, Apps: n.config.App,
		Grace: n.config.PresenceGrace, Now: now, Log: n.log, Metrics: n.metrics})
	n.presence.Register(n.table)
	n.sessions.OnEnd(n.presence.End)
	n.sessions.OnSweep(n.presence.Release)
	n.accounts.OnDelete(n.presence.Delete)
	n.accounts.OnDeleted(n.presence.Deleted)
	n.hub.OnReset(n.registry.Recheck)
}

func restOptions(c *config.Config) rest.Options {
	return rest.Options{
		MaxBody: c.Limits.RESTBodyBytes, Inflight: 256, Timeout: 10 * time.Second,
		Remote: func(r *http.Request) netip.Addr { return clientip.Of(r, c.TrustedProxies) },
	}
}

// maxStream bounds the live-room events waiting for one connection, in bytes:
// some seconds of a busy room. They are shared with the other watchers.
const maxStream = 1 << 20

func gatewayOptions(c *config.Config) gateway.Options {
	l := c.Limits
	return gateway.Options{
		MaxFrame: l.FrameBytes, MaxQueue: l.QueueBytes, MaxStream: min(l.QueueBytes/2, maxStream), MaxInflight: l.CommandConcurrency,
		MaxBusy:     l.Concurrency,
		CommandRate: float64(l.CommandRate), CommandBurst: l.CommandBurst, PerAddress: l.ConnectionsPerIP,
		Handshake: l.HandshakeTimeout, Timeout: 10 * time.Second, PingAfter: l.PingInterval, DeadAfter: l.IdleTimeout,
		WriteTimeout: l.WriteTimeout, Origins: c.AllowedOrigins, Proxies: c.TrustedProxies,
	}
}

// close ends the parts in the order of their dependence.
func (n *node) close(ctx context.Context) {
	if err := n.rooms.Save(); err != nil {
		n.log.Error("the watchers of live rooms have to join again", "err", err)
	}
	if err := n.messages.Stop(ctx); err != nil {
		n.log.Error("messages were still being written", "err", err)
	}
	if err := n.groupLog.Stop(ctx); err != nil {
		n.log.Error("group messages were still being written", "err", err)
	}
	_, _ = n.registry.Close(), n.bus.Close() // nothing is left to do about it
	_ = n.db.Close()
}
