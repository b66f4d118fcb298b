// Package push takes the notices of stored messages that may have to reach
// users who are not online. What to push, and that it was asked for, stays
// with the message in the log; this queue only says that there is something.
package push

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/tidwall/gjson"

	"imserver/internal/grouplog"
	"imserver/internal/message"
)

// Sender brings a notice to phones: Send to those of the receiver, SendGroup to
// those of the members whom grouplog.Pusher names. It may block; notices wait
// meanwhile.
type Sender interface {
	Send(ctx context.Context, n message.Notice) error
	SendGroup(ctx context.Context, n grouplog.Notice) error
}

// queueSize is how many notices wait at most.
const queueSize = 4096

// Queue implements message.Pusher and grouplog.Pusher: bounded, in memory, with
// every notice counted by what became of it; a group's message is one.
type Queue struct {
	sender   Sender
	waiting  chan job
	outcomes *prometheus.CounterVec
	unsent   prometheus.Counter // of outcomes; nil with a sender
}

// job sends one notice.
type job func(ctx context.Context) error

// NewQueue makes a queue before sender; nil means that there is no service for
// phones, and notices are counted as unsent.
func NewQueue(sender Sender, r prometheus.Registerer) *Queue {
	q := &Queue{sender: sender, waiting: make(chan job, queueSize)}
	f := promauto.With(r)
	q.outcomes = f.NewCounterVec(prometheus.CounterOpts{Namespace: "imserver", Name: "push_notices_total",
		Help: "Notices for offline push by outcome: sent, failed, unsent (no service), unwanted (by the sender), overflow."}, []string{"outcome"})
	if sender == nil {
		q.unsent = q.outcomes.WithLabelValues("unsent")
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "imserver", Name: "push_queue", Help: "Notices waiting for offline push."},
		func() float64 { return float64(len(q.waiting)) })
	return q
}

// Offer takes a notice; it never blocks.
func (q *Queue) Offer(n message.Notice) {
	if q.wanted(n.Message.PushInfo) {
		q.put(func(ctx context.Context) error { return q.sender.Send(ctx, n) })
	}
}

// OfferGroup takes a notice of a group's message; it never blocks.
func (q *Queue) OfferGroup(n grouplog.Notice) {
	if q.wanted(n.Message.PushInfo) {
		q.put(func(ctx context.Context) error { return q.sender.SendGroup(ctx, n) })
	}
}

// wanted reports whether there is somebody to bring a notice, and a wish that
// it be brought; it counts the notice otherwise.
func (q *Queue) wanted(info []byte) bool {
	// PushFlag 1 is the sender's wish that nothing be pushed (protocol 02 §4.1).
	if gjson.GetBytes(info, "PushFlag").Int() == 1 {
		q.outcomes.WithLabelValues("unwanted").Inc()
		return false
	}
	if q.unsent != nil {
		q.unsent.Inc()
		return false
	}
	return true
}

func (q *Queue) put(send job) {
	select {
	case q.waiting <- send:
	default:
		q.outcomes.WithLabelValues("overflow").Inc()
	}
}

// Run hands notices to the sender until ctx ends.
func (q *Queue) Run(ctx context.Context) {
	for {
		select {
		case send := <-q.waiting:
			outcome := "sent"
			if err := send(ctx); err != nil {
				outcome = "failed"
			}
			q.outcomes.WithLabelValues(outcome).Inc()
		case <-ctx.Done():
			return
		}
	}
}
