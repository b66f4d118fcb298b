package ratelimit

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// counted counts what a limiter drops.
type counted struct {
	Limiter
	dropped [priorities]prometheus.Counter
}

// Counted returns l with a metric of the messages that it drops, by priority.
func Counted(l Limiter, reg prometheus.Registerer) Limiter {
	all := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "group", Name: "messages_dropped_total",
		Help: "Group messages over the limit of their group, by priority."}, []string{"priority"})
	c := &counted{Limiter: l}
	for p, name := range [priorities]string{"high", "normal", "low", "lowest"} {
		c.dropped[p] = all.WithLabelValues(name)
	}
	return c
}

// Admit implements Limiter.
func (c *counted) Admit(ctx context.Context, key int64, p Priority, limit int, done func(admitted bool)) {
	c.Limiter.Admit(ctx, key, p, limit, func(admitted bool) {
		if !admitted {
			c.dropped[p].Inc()
		}
		done(admitted)
	})
}
