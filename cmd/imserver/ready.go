package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What /readyz says. A node without its database can do nothing and should get
// no clients; one without its bus serves those it has, and takes others: their
// messages are stored and reach the devices of this node, and what other nodes'
// devices miss they fetch when the bus is back.
const (
	stateReady    = "ready"
	stateDegraded = "degraded: the bus is away"
	stateNotReady = "not ready: the database is away"
)

// readyTimeout bounds the look at the database and the bus.
const readyTimeout = 2 * time.Second

// serveReady answers what the node can do: 200 with "ready" or "degraded: …",
// 503 with "not ready: …".
func (n *node) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	bus := make(chan error, 1)
	go func() { bus <- n.bus.Ping(ctx) }() // one that hangs does not hide the other
	dbErr, busErr := n.db.Ping(ctx), <-bus
	switch {
	case dbErr != nil:
		n.log.Warn(stateNotReady, "err", dbErr)
		http.Error(w, stateNotReady, http.StatusServiceUnavailable)
	case busErr != nil:
		n.log.Warn(stateDegraded, "err", busErr)
		_, _ = io.WriteString(w, stateDegraded+"\n") // the asker is gone: nobody to tell
	default:
		_, _ = io.WriteString(w, stateReady+"\n")
	}
}

// databaseAway is told when Postgres ceases to answer, and when it is back.
func (n *node) databaseAway(away bool) {
	if away {
		n.log.Error("the database does not answer: requests are refused until it does")
	} else {
		n.log.Warn("the database answers again")
	}
	n.away.Store(away)
}

// watchedParts adds the metric of what the node depends on.
func (n *node) watchedParts() {
	up := func(part string, alive func() bool) {
		promauto.With(n.metrics).NewGaugeFunc(prometheus.GaugeOpts{Namespace: "imserver", Name: "dependency_up",
			Help: "1 while what the node depends on answers, 0 while it does not.", ConstLabels: prometheus.Labels{"part": part}},
			func() float64 {
				if alive() {
					return 1
				}
				return 0
			})
	}
	up("database", func() bool { return !n.away.Load() })
	up("bus", n.bus.Up)
}
