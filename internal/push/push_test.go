package push_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"imserver/internal/grouplog"
	"imserver/internal/message"
	"imserver/internal/push"
)

func notice(info string) message.Notice {
	return message.Notice{Message: &message.Message{PushInfo: []byte(info)}}
}

func want(t *testing.T, r *prometheus.Registry, lines ...string) {
	t.Helper()
	text := "# HELP imserver_push_notices_total Notices for offline push by outcome: sent, failed, unsent (no service), unwanted (by the sender), overflow.\n" +
		"# TYPE imserver_push_notices_total counter\n"
	for _, l := range lines {
		text += "imserver_push_notices_total" + l + "\n"
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := testutil.GatherAndCompare(r, strings.NewReader(text), "imserver_push_notices_total")
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Ensure that without a service every notice is counted.
func TestNoSender(t *testing.T) {
	r := prometheus.NewRegistry()
	q := push.NewQueue(nil, r)
	q.Offer(notice(""))
	q.Offer(notice(`{"PushFlag":0}`))
	q.Offer(notice(`{"PushFlag":1}`))
	q.OfferGroup(grouplog.Notice{Message: &grouplog.Message{}})
	q.OfferGroup(grouplog.Notice{Message: &grouplog.Message{PushInfo: []byte(`{"PushFlag":1}`)}})
	want(t, r, `{outcome="unsent"} 3`, `{outcome="unwanted"} 2`)
}

type sender struct{ failures, calls, groups int }

func (s *sender) SendGroup(context.Context, grouplog.Notice) error {
	s.groups++
	return nil
}

func (s *sender) Send(context.Context, message.Notice) error {
	if s.calls++; s.calls <= s.failures {
		return errors.New("no")
	}
	return nil
}

// Ensure that offering never blocks, overflow is counted, and the rest is sent.
func TestQueue(t *testing.T) {
	r := prometheus.NewRegistry()
	s := &sender{failures: 1}
	q := push.NewQueue(s, r)
	for range 4095 {
		q.Offer(notice(""))
	}
	for range 5 {
		q.OfferGroup(grouplog.Notice{Message: &grouplog.Message{}})
	}
	want(t, r, `{outcome="overflow"} 4`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go q.Run(ctx)
	want(t, r, `{outcome="failed"} 1`, `{outcome="overflow"} 4`, `{outcome="sent"} 4095`)
	if s.calls != 4095 || s.groups != 1 {
		t.Errorf("%d notices of c2c and %d of groups, want 4095 and 1", s.calls, s.groups)
	}
}
