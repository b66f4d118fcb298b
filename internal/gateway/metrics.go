package gateway

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	connections prometheus.Gauge
	refused     *prometheus.CounterVec
	closed      *prometheus.CounterVec
	commands    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	bad         *prometheus.CounterVec
	kicks       *prometheus.CounterVec
	shed        *prometheus.CounterVec
	pushed      prometheus.Counter
	overflows   prometheus.Counter
	skipped     prometheus.Counter
	panics      prometheus.Counter

	mu   sync.RWMutex
	good map[string]*good // guarded by mu: of answers without an error, by command; see answered
}

// good is where a command's answers are counted.
type good struct {
	commands prometheus.Counter
	seconds  prometheus.Observer
}

// answered counts a command's answer. Labels are looked up once for each
// command: that costs more than counting, and most answers are good.
func (m *metrics) answered(name string, code int, took time.Duration) {
	if code != 0 {
		m.commands.WithLabelValues(name, strconv.Itoa(code)).Inc()
		m.seconds.WithLabelValues(name).Observe(took.Seconds())
		return
	}
	m.mu.RLock()
	g := m.good[name]
	m.mu.RUnlock()
	if g == nil {
		g = &good{m.commands.WithLabelValues(name, "0"), m.seconds.WithLabelValues(name)}
		m.mu.Lock()
		m.good[name] = g
		m.mu.Unlock()
	}
	g.commands.Inc()
	g.seconds.Observe(took.Seconds())
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Name: name, Help: help})
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Name: name, Help: help}, labels)
	}
	return &metrics{
		good:        map[string]*good{},
		connections: f.NewGauge(prometheus.GaugeOpts{Namespace: "imserver", Name: "connections", Help: "Open WebSocket connections."}),
		refused:     vec("connections_refused_total", "Connections refused before the upgrade, by reason.", "reason"),
		closed:      vec("connections_closed_total", "Closed connections, by reason.", "reason"),
		commands:    vec("commands_total", "Commands answered, by name and code.", "command", "code"),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Namespace: "imserver", Name: "command_seconds",
			Help: "Time from reading a command to queueing its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11)}, []string{"command"}),
		bad:       vec("frames_bad_total", "Frames that no command could be read from, by reason.", "reason"),
		shed:      vec("commands_shed_total", "Commands refused because of overload, by whose: the connection's or the node's.", "of"),
		kicks:     vec("kicks_total", "Devices kicked out, by kick type.", "type"),
		pushed:    counter("events_pushed_total", "Event items written to connections."),
		overflows: counter("queue_overflows_total", "Connections closed because their queue was full."),
		skipped:   counter("live_events_skipped_total", "Live-room events that a watcher lost because it was too slow."),
		panics:    counter("command_panics_total", "Commands that panicked."),
	}
}

func newCond(l sync.Locker) *sync.Cond { return sync.NewCond(l) }

// clip returns at most n bytes of s, as a copy: a part of the URL would keep
// the whole request alive.
func clip(s string, n int) string { return strings.Clone(s[:min(len(s), n)]) }

func platformOf(s string) int {
	n, err := strconv.ParseUint(s, 10, 15)
	if err != nil {
		return 7
	}
	return int(n)
}

func appOf(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32) // 0 is no app
	return uint32(n)
}
