package store

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// LogMetrics are those of a log of messages that a [Batcher] appends to.
type LogMetrics struct {
	Appended prometheus.Counter  // messages stored
	Sizes    prometheus.Observer // messages per commit
	Seconds  prometheus.Observer // time of one commit
}

// NewLogMetrics registers the metrics of one log; kind is the label that tells
// the logs of a node apart.
func NewLogMetrics(r prometheus.Registerer, kind string) LogMetrics {
	f, labels := promauto.With(r), prometheus.Labels{"kind": kind}
	return LogMetrics{
		Appended: f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Name: "messages_appended_total",
			Help: "Messages stored.", ConstLabels: labels}),
		Sizes: f.NewHistogram(prometheus.HistogramOpts{Namespace: "imserver", Name: "append_batch_size",
			Help: "Messages per commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 10), ConstLabels: labels}),
		Seconds: f.NewHistogram(prometheus.HistogramOpts{Namespace: "imserver", Name: "append_seconds",
			Help: "Time of one commit of messages.", Buckets: prometheus.ExponentialBuckets(0.0002, 2, 14), ConstLabels: labels}),
	}
}
