package bus

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const dialTimeout = 3 * time.Second

// Dial makes the client of a Redis URL; it connects on first use. Forms:
//
//	redis://[user:password@]host:port[/db]             one server
//	rediss://...                                       the same with TLS
//	unix://[user:password@]/path/to.sock[?db=0]        one server
//	redis://host1:port1,host2:port2[,...]              a Redis Cluster, by some of its nodes
//	redis://host1:port1?addr=host2:port2               the same
//	redis://host:port?cluster=true                     a Redis Cluster, by one node
//	redis://host1:26379,host2:26379/0?master_name=main a server found through Sentinels
//
// Further query parameters are go-redis's (dial_timeout, pool_size,
// read_timeout, skip_verify ...). An unknown one is an error. Commands are not
// retried by the client: repeating a publication would deliver it twice.
func Dial(rawURL string, reg prometheus.Registerer) (redis.UniversalClient, error) {
	first, rest, cluster, err := splitURL(rawURL)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(first)
	if err != nil {
		return nil, redactURL(err)
	}
	q := u.Query()
	q.Del("cluster")
	for _, addr := range rest {
		q.Add("addr", addr)
	}
	u.RawQuery = q.Encode()

	var c redis.UniversalClient
	switch {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(u.String())
		if err != nil {
			return nil, redactURL(err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled = -1, true
		o.DialTimeout, o.DialerRetries = orDefault(o.DialTimeout, dialTimeout), orDefault(o.DialerRetries, 1)
		c = redis.NewFailoverClient(o)
	case cluster || q.Has("addr"):
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, redactURL(err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.MaintNotificationsConfig = -1, true, noNotifications()
		o.DialTimeout, o.DialerRetries = orDefault(o.DialTimeout, dialTimeout), orDefault(o.DialerRetries, 1)
		c = redis.NewClusterClient(o)
	default:
		o, err := redis.ParseURL(u.String())
		if err != nil {
			return nil, redactURL(err)
		}
		o.MaxRetries, o.ContextTimeoutEnabled, o.MaintNotificationsConfig = -1, true, noNotifications()
		o.DialTimeout, o.DialerRetries = orDefault(o.DialTimeout, dialTimeout), orDefault(o.DialerRetries, 1)
		c = redis.NewClient(o)
	}
	c.AddHook(newCommandMetrics(reg))
	return c, nil
}

// LogTo sends what go-redis says by itself to log, for debugging: it repeats
// what the failed commands say. It does so for the whole process.
func LogTo(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

func (l clientLog) Printf(ctx context.Context, format string, args ...any) {
	l.log.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, args...))
}

// noNotifications turns off a feature of hosted Redis that moves connections
// below our feet; a lost connection is handled anyway.
func noNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// splitURL takes the hosts after the first out of a URL, which net/url would
// refuse.
func splitURL(raw string) (first string, rest []string, cluster bool, err error) {
	scheme, tail, ok := strings.Cut(raw, "://")
	if !ok {
		return "", nil, false, fmt.Errorf("want redis://host:port")
	}
	end := strings.IndexAny(tail, "/?#")
	if end < 0 {
		end = len(tail)
	}
	authority, path := tail[:end], tail[end:]
	user := ""
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, authority = authority[:at+1], authority[at+1:]
	}
	hosts := strings.Split(authority, ",")
	for _, h := range hosts[1:] {
		if _, _, err := net.SplitHostPort(h); err != nil {
			return "", nil, false, fmt.Errorf("host %q: want host:port", h)
		}
	}
	if _, query, ok := strings.Cut(path, "?"); ok {
		if values, err := url.ParseQuery(query); err == nil {
			cluster = values.Get("cluster") == "true"
		}
	}
	return scheme + "://" + user + hosts[0] + path, hosts[1:], cluster, nil
}

// redactURL keeps a password out of a parse error, which quotes the URL.
func redactURL(err error) error {
	if e, ok := err.(*url.Error); ok {
		return e.Err
	}
	return err
}

// commandMetrics is a go-redis hook that counts round trips.
type commandMetrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newCommandMetrics(reg prometheus.Registerer) *commandMetrics {
	f := promauto.With(reg)
	return &commandMetrics{
		commands: f.NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Name: "redis_commands_total",
			Help: "Redis commands, by name and result (ok or error)."}, []string{"command", "result"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Namespace: "imserver", Name: "redis_seconds",
			Help: "Time of a Redis round trip, by kind (command or pipeline).", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 11)}, []string{"kind"}),
	}
}

func (m *commandMetrics) count(cmd redis.Cmder) {
	result := "ok"
	if err := cmd.Err(); err != nil && err != redis.Nil {
		result = "error"
	}
	m.commands.WithLabelValues(cmd.Name(), result).Inc()
}

func (m *commandMetrics) DialHook(next redis.DialHook) redis.DialHook { return next }

func (m *commandMetrics) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		m.seconds.WithLabelValues("command").Observe(time.Since(start).Seconds())
		m.count(cmd)
		return err
	}
}

func (m *commandMetrics) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		m.seconds.WithLabelValues("pipeline").Observe(time.Since(start).Seconds())
		for _, cmd := range cmds {
			m.count(cmd)
		}
		return err
	}
}
