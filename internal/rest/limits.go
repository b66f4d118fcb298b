package rest

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"imserver/internal/config"
)

// slower are the commands with a limit of their own, in calls per second of an
// app (protocol 06 §1.3). An app's own limit, when it is lower, holds for them too.
var slower = map[string]float64{
	"im_open_login_svc.multiaccount_import":    100,
	"im_open_login_svc.account_delete":         100,
	"im_open_login_svc.account_check":          100,
	"all_member_push.im_set_attr_name":         100,
	"all_member_push.im_get_attr_name":         100,
	"all_member_push.im_set_attr":              100,
	"all_member_push.im_remove_attr":           100,
	"all_member_push.im_get_attr":              100,
	"all_member_push.im_add_tag":               100,
	"all_member_push.im_remove_tag":            100,
	"all_member_push.im_get_tag":               100,
	"all_member_push.im_remove_all_tags":       100,
	"open_msg_svc.get_history":                 10,
	"group_open_http_svc.get_appid_group_list": 1,
}

// broadcast is the one command whose limit an app sets by itself.
const broadcast = "group_open_http_svc.send_broadcast_msg"

// limitOf returns the calls per second of a command; 0 means no limit.
func limitOf(app *config.App, name string) float64 {
	limit := float64(app.RESTRate)
	if name == broadcast {
		return float64(app.LiveRooms.BroadcastRate)
	}
	if own, ok := slower[name]; ok && limit > 0 {
		return min(own, limit)
	}
	return limit
}

type limitKey struct {
	app  uint32
	name string
}

// limits counts the calls of this node: one bucket per app and command that
// exists, so there are no more of them than the table has names.
type limits struct {
	now     func() time.Time
	mu      sync.Mutex
	buckets map[limitKey]*rate.Limiter // guarded by mu
}

func newLimits(now func() time.Time) *limits {
	return &limits{now: now, buckets: map[limitKey]*rate.Limiter{}}
}

// allow takes one call out of the bucket, which holds a second's worth.
func (l *limits) allow(app *config.App, name string) bool {
	limit := limitOf(app, name)
	if limit <= 0 {
		return true
	}
	key := limitKey{app.SDKAppID, name}
	l.mu.Lock()
	b := l.buckets[key]
	if b == nil {
		b = rate.NewLimiter(rate.Limit(limit), max(1, int(limit)))
		l.buckets[key] = b
	}
	l.mu.Unlock()
	return b.AllowN(l.now(), 1)
}
