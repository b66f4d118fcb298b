// Package config is everything that can be set about a server: what there is, its defaults, its bounds, and where
// values come from. Later sources win: defaults, the YAML file, IMSERVER_* variables, flags.
//
// A setting has one name, its path in the YAML file. The variable and the flag are made of it: log.level is
// IMSERVER_LOG_LEVEL and --log-level. What stands below defaults goes without that word: defaults.login_policy is
// IMSERVER_LOGIN_POLICY. deploy/imserver.yaml shows every setting with its default.
package config

import (
	"net/netip"
	"time"
)

// Config is the configuration of one server process. It does not change after Load.
type Config struct {
	// Listen is the address of the WebSocket, REST, file and metrics endpoints, host:port. Port 0 takes a free one.
	Listen string `koanf:"listen"`

	// PublicURL is the http or https address clients reach this server by, without a trailing slash. It becomes part
	// of file addresses. Empty: taken from each request.
	PublicURL string `koanf:"public_url"`

	// DataDir is the folder of the embedded database, uploaded files and generated keys. It is made when missing.
	DataDir string `koanf:"data_dir"`

	// DatabaseURL is a postgres:// address. Empty: SQLite in DataDir, for a single server process.
	DatabaseURL string `koanf:"database_url"`

	// DatabaseConns bounds the connections to Postgres, 2 to 1000. 0: four for each processor, at least 16.
	DatabaseConns int `koanf:"database_conns"`

	// RedisURL is a redis:// or rediss:// address; further cluster members go into ?addr=host:port. Empty: the
	// in-process bus, for a single server process. It needs DatabaseURL.
	RedisURL string `koanf:"redis_url"`

	// RedisMaster is the name of the master that the Sentinels at RedisURL watch. Empty: RedisURL is no Sentinel.
	RedisMaster string `koanf:"redis_master"`

	// AllowedOrigins are the Origin headers a WebSocket may come with, such as https://chat.example.org.
	// Empty: every one, because tickets and not cookies authenticate (protocol 01 §1).
	AllowedOrigins []string `koanf:"allowed_origins"`

	// TrustedProxies are the addresses whose X-Forwarded-For is believed. Empty: none.
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`

	// MetricsAllow are the addresses that may read /metrics. Empty: every one.
	MetricsAllow []netip.Prefix `koanf:"metrics_allow"`

	// PProf is the host:port of the Go profiles (net/http/pprof), on a loopback address only. Empty: none.
	PProf string `koanf:"pprof"`

	// PresenceGrace is how long a user stays online after the last socket is gone, 0 to 5 minutes
	// (protocol 01, checklist 15).
	PresenceGrace time.Duration `koanf:"presence_grace"`

	// DrainTimeout bounds an orderly shutdown, 0 to 5 minutes. What is still running then is cut off.
	DrainTimeout time.Duration `koanf:"drain_timeout"`

	Log    Log    `koanf:"log"`
	TLS    TLS    `koanf:"tls"`
	Limits Limits `koanf:"limits"`

	// Defaults are the settings of every app that does not set its own.
	Defaults Settings `koanf:"defaults"`

	// Apps are the apps served, in the order of their SDKAppID, each with its settings complete. In the file an app
	// names only what differs from Defaults. IMSERVER_APPS and --apps are lists of sdkappid:key; they add apps, and
	// replace the keys of those in the file. No app at all: 1400000001 with a key made once and kept in DataDir.
	Apps []App `koanf:"-"`

	// Unknown are IMSERVER_* variables that set nothing: worth a warning, because they are often misspelt.
	Unknown []string `koanf:"-"`
}

// Log says what is logged. Tickets, keys and message texts never are.
type Log struct {
	// Level is the least important level that is written: debug, info, warn or error.
	Level string `koanf:"level"`
	// Format is text, for people, or json, for machines.
	Format string `koanf:"format"`
}

// TLS makes the server speak https and wss itself. Both files or none; they are read again when they change.
type TLS struct {
	CertFile string `koanf:"cert_file"` // PEM, the chain with the server's own certificate first
	KeyFile  string `koanf:"key_file"`  // PEM
}

// Limits bound what one client can cost.
type Limits struct {
	// FrameBytes bounds a frame from a client, 64 KiB to 64 MiB. Merged messages need 1 MiB (protocol 01 §2).
	FrameBytes int `koanf:"frame_bytes"`

	// CommandRate is how many commands a second a connection may send on average; 0 is no limit.
	CommandRate int `koanf:"command_rate"`

	// CommandBurst is how many it may send at once. After a reconnect an SDK asks for much in one go.
	CommandBurst int `koanf:"command_burst"`

	// CommandConcurrency is how many commands of a connection are worked on at once, 1 to 1024; more wait in the socket.
	CommandConcurrency int `koanf:"command_concurrency"`

	// Concurrency is how many commands of all connections are worked on at once, 64 to 1,000,000. More wait in their
	// sockets; those that have waited for two seconds are refused, logins excepted: the SDK is told to come later
	// (protocol 01 §13).
	Concurrency int `koanf:"concurrency"`

	// Connections bounds the open connections of the process; 0 is what its limit of open files allows.
	Connections int `koanf:"connections"`

	// Handshakes bounds the connections whose first request has not come yet; the oldest make way, 16 to 1,000,000.
	Handshakes int `koanf:"handshakes"`

	// ConnectionsPerIP bounds the open connections from one address; 0 is no limit. IPv6 counts by /64.
	ConnectionsPerIP int `koanf:"connections_per_ip"`

	// HandshakeTimeout bounds the time from a connection's start to the end of its request's head.
	HandshakeTimeout time.Duration `koanf:"handshake_timeout"`

	// PingInterval is how often the server pings a silent client, less than IdleTimeout (protocol 01, trap T4).
	PingInterval time.Duration `koanf:"ping_interval"`

	// IdleTimeout is after how long without frame or pong a connection counts as gone (protocol 01, checklist 15).
	IdleTimeout time.Duration `koanf:"idle_timeout"`

	// WriteTimeout bounds a write to a client.
	WriteTimeout time.Duration `koanf:"write_timeout"`

	// QueueBytes bounds what waits to be sent to one client, 64 KiB to 1 GiB. A client that lags further is closed
	// and catches up when it is back (protocol 01 §13).
	QueueBytes int `koanf:"queue_bytes"`

	// RESTBodyBytes bounds the body of a REST request, 64 KiB to 64 MiB.
	RESTBodyBytes int `koanf:"rest_body_bytes"`
}

// Default returns the configuration of a server that was told nothing, without its app.
func Default() *Config {
	return &Config{
		Listen:        "127.0.0.1:8080",
		DataDir:       "./data",
		PresenceGrace: 10 * time.Second,
		DrainTimeout:  8 * time.Second,
		Log:           Log{Level: "info", Format: "text"},
		Limits: Limits{
			FrameBytes:         2 << 20,
			CommandRate:        100,
			CommandBurst:       500,
			CommandConcurrency: 16,
			Concurrency:        1024,
			Handshakes:         8192,
			ConnectionsPerIP:   2000,
			HandshakeTimeout:   10 * time.Second,
			PingInterval:       25 * time.Second,
			IdleTimeout:        60 * time.Second,
			WriteTimeout:       10 * time.Second,
			QueueBytes:         4 << 20,
			RESTBodyBytes:      4 << 20,
		},
		Defaults: defaultSettings(),
	}
}

// App returns the app with that SDKAppID, or nil.
func (c *Config) App(sdkAppID uint32) *App {
	for i := range c.Apps {
		if c.Apps[i].SDKAppID == sdkAppID {
			return &c.Apps[i]
		}
	}
	return nil
}
