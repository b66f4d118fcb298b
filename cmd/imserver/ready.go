package main

import (
	"context"
	"errors"
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
// 503 with "not ready: …". The log has the changes, however often it is asked.
func (n *node) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	bus := make(chan error, 1)
	go func() { bus <- n.bus.Ping(ctx) }() // one that hangs does not hide the other
	dbErr, busErr := n.db.Ping(ctx), <-bus
	state, status := stateReady, http.StatusOK
	switch {
	case dbErr != nil:
		state, status = stateNotReady, http.StatusServiceUnavailable
	case busErr != nil:
		state = stateDegraded
	}
	switch last := n.said.Swap(state); {
	case last == state:
	case state != stateReady:
		n.log.Warn(state, "err", errors.Join(dbErr, busErr))
	case last != nil:
		n.log.Info(state)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, state+"\n") // the asker is gone: nobody to tell
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
