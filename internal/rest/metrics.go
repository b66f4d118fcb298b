package rest

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		commands: f.NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "rest", Name: "commands_total",
			Help: "REST commands answered, by name and code."}, []string{"command", "code"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{Namespace: "imserver", Subsystem: "rest", Name: "command_seconds",
			Help: "Time from a REST request's head to the end of its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11)}, []string{"command"}),
		panics: f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "rest", Name: "command_panics_total",
			Help: "REST commands that panicked."}),
	}
}

func (m *metrics) answered(name string, code int, took time.Duration) {
	m.commands.WithLabelValues(name, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}
