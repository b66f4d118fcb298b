// Package liveroom does what is different in live rooms (AVChatRoom, protocol
// 03 §13): watchers, who are no rows of a table, and events, which are no
// history. What a room has in common with any group, from its profile to its
// counters, is package group's.
//
// An event gets its sequence from the ledger, which all nodes share, and goes
// once to every node that has watchers of the room. There a follower puts the
// events in order, and the room hands them on: to connections several in one
// frame, and to those who poll.
package liveroom

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"imserver/internal/account"
	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/group"
	"imserver/internal/grouplog"
	"imserver/internal/ratelimit"
	"imserver/internal/store"
)

// Options of a Service; Limiter and Guard may be nil.
type Options struct {
	DB       *store.DB
	Accounts *account.Directory
	Groups   *group.Directory
	Hub      *fanout.Hub
	Ledger   Ledger
	Limiter  ratelimit.Limiter
	Guard    grouplog.Guard
	Apps     func(app uint32) *config.App
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// SaveTo is the file that keeps a single node's watchers over a restart;
	// empty is none, in a cluster, whose ledger keeps them.
	SaveTo string
}

// Service knows the live rooms that have watchers on this node.
type Service struct {
	Options
	node    uint64 // names this process
	slot    int64  // of sequences that it gives by itself
	counter atomic.Int64
	metrics *metrics
	rules   *rulebook

	mu     sync.Mutex
	rooms  map[int64]*room      // guarded by mu
	casts  map[uint32]*follower // guarded by mu: broadcasts, by app
	failed time.Time            // guarded by mu: when the ledger was last found away

	backlog  backlog    // events that other nodes may not have
	catching sync.Mutex // held while they are appended; comes before mu
}

type metrics struct {
	rooms, watchers         prometheus.Gauge
	events, deliveries      prometheus.Counter
	repairs, alone, resumed prometheus.Counter
	items                   prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "live", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Namespace: "imserver", Subsystem: "live", Name: name, Help: help})
	}
	return &metrics{
		rooms:      gauge("rooms", "Live rooms that this node knows because somebody watches here."),
		watchers:   gauge("watchers", "Devices that watch on this node, those away for less than the member timeout included."),
		events:     counter("events_total", "Events of live rooms handed to watchers of this node."),
		deliveries: counter("deliveries_total", "Events times connections that they were handed to."),
		repairs:    counter("repairs_total", "Times that missed events were read from the ledger."),
		alone:      counter("alone_total", "Events that this node numbered by itself because the ledger was away."),
		resumed:    counter("resumed_total", "Watchers whose connection came back."),
		items: f.NewHistogram(prometheus.HistogramOpts{Namespace: "imserver", Subsystem: "live", Name: "frame_items",
			Help: "Events in one frame.", Buckets: prometheus.ExponentialBuckets(1, 2, 7)}),
	}
}

// New makes the service. Call Run once traffic starts.
func New(o Options) *Service {
	s := &Service{Options: o, node: rand.Uint64(), slot: 1 + rand.Int64N(slotStep-1), metrics: newMetrics(o.Metrics), rules: newRulebook(o.DB),
		rooms: map[int64]*room{}, casts: map[uint32]*follower{}}
	o.Hub.HearRooms(s.hear)
	o.Hub.OnReset(func() { go s.reset() })
	o.Groups.OnChange(s.rules.forget)
	return s
}

var (
	_ group.Rooms    = (*Service)(nil)
	_ grouplog.Rooms = (*Service)(nil)
)

// Register adds the commands that only live rooms have.
func (s *Service) Register(t *command.Table) {
	const both = command.Users | command.Admins
	const open, watch, poll = "group_open_http_svc.", "group_open_avchatroom_http_svc.", "get_msg"
	command.Handle(t, "group_open_long_polling_http_svc."+poll, command.Users|command.Held, s.poll)
	command.Handle(t, "group_open_long_polling_http_noauth_svc."+poll, command.Anonymous|command.Users|command.Held, s.poll)
	command.Handle(t, "group_open_http_noauth_svc.apply_join_group", command.Anonymous|command.Users|command.Crowded, s.joinUnnamed)
	command.Handle(t, watch+"get_members", both, s.members)
	command.Handle(t, watch+"modify_user_info", both, s.markMembers)
	command.Handle(t, watch+"check_members", command.Admins, s.checkMembers)
	command.Handle(t, open+"get_huge_group_msg", command.Users, s.earlier)
	command.Handle(t, open+"ban_group_member", both|command.Once, s.ban)
	command.Handle(t, open+"unban_group_member", command.Admins, s.unban)
	command.Handle(t, open+"get_group_ban_member", command.Admins, s.banned)
	command.Handle(t, open+"send_broadcast_msg", command.Admins, s.broadcast)
}

// boundsOf returns what is remembered of a room, or of an app's broadcasts.
func (s *Service) boundsOf(id int64) bounds {
	var app *config.App
	if id < 0 {
		app = s.Apps(uint32(-id))
	} else if r := s.room(id); r != nil {
		app = r.app
	}
	if app == nil {
		return bounds{events: 1000, age: time.Minute}
	}
	return boundsIn(app)
}

func boundsIn(app *config.App) bounds {
	return bounds{events: app.LiveRooms.RingEvents, age: app.LiveRooms.RingAge, newcomers: app.LiveRooms.History}
}

// room returns a room that this node has, or nil.
func (s *Service) room(gid int64) *room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[gid]
}

// follower returns the order of a room's events, or of an app's broadcasts,
// when this node has it; nil otherwise.
func (s *Service) follower(id int64) *follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id < 0 {
		return s.casts[uint32(-id)]
	}
	if r := s.rooms[id]; r != nil {
		return r.follower
	}
	return nil
}

func (s *Service) all() []*room {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*room, 0, len(s.rooms))
	for _, r := range s.rooms {
		list = append(list, r)
	}
	return list
}

// settleTime bounds the wait for the bus before a room starts on this node.
const settleTime = 500 * time.Millisecond

// open returns the room, which this node hears of from now on, if it did not.
func (s *Service) open(ctx context.Context, app *config.App, g *group.Info) *room {
	s.mu.Lock()
	r := s.rooms[g.GID]
	first := r == nil
	if first {
		r = newRoom(s, app, g)
		s.rooms[g.GID] = r
		s.metrics.rooms.Inc()
	}
	cast := s.casts[app.SDKAppID]
	if cast == nil {
		cast = newCast(s, app)
		s.casts[app.SDKAppID] = cast
	} else {
		cast = nil
	}
	s.mu.Unlock()
	if cast != nil {
		s.follow(ctx, fanout.Room(cast.id), ear{}, cast)
	}
	if first {
		s.follow(ctx, r.topic, ear{}, r.follower)
		r.census(ctx)
		close(r.ready)
	}
	select {
	case <-r.ready:
	case <-ctx.Done():
	}
	return r
}

// ear is a subscriber that keeps a topic subscribed on the bus.
type ear struct{}

func (ear) Device() fanout.Device { return fanout.Device{} }
func (ear) Offer(*fanout.Event)   {}

// follow subscribes a topic and then reads what happened before.
func (s *Service) follow(ctx context.Context, t fanout.Topic, by fanout.Subscriber, f *follower) {
	s.Hub.Join(t, by)
	settle, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := s.Hub.Settle(settle); err != nil {
		s.Log.Debug("the bus has not settled for a live room", "topic", t, "err", err)
	}
	f.open(ctx)
}

// Notes that nodes tell each other about a room: what begins with the letter.
const (
	noteEvent = 'e' // an event: sequence, predecessor, event
	noteMoved = 'm' // a device is another node's now
	noteOut   = 'x' // an account is out of the room
)

func (s *Service) tellRoom(id int64, note byte, payload []byte) {
	s.Hub.Tell(fanout.Room(id), append([]byte{note}, payload...))
}

// hear takes a note of another node.
func (s *Service) hear(id int64, note []byte) {
	if len(note) == 0 {
		return
	}
	kind, b := note[0], note[1:]
	n1, size := binary.Varint(b)
	if size <= 0 {
		return
	}
	b = b[size:]
	var n2 int64
	if kind != noteOut {
		if n2, size = binary.Varint(b); size <= 0 {
			return
		}
		b = b[size:]
	}
	switch kind {
	case noteEvent:
		e, err := decodeEvent(b)
		if err != nil {
			s.Log.Warn("unreadable event of a live room on the bus", "room", id, "err", err)
			return
		}
		if f := s.follower(id); f != nil {
			e.Seq, e.Prev = n1, n2
			f.take(e)
		}
	case noteMoved:
		if r := s.room(id); r != nil {
			r.forget(fanout.Device{UID: n1, Inst: uint32(n2)})
		}
	case noteOut:
		if r := s.room(id); r != nil {
			r.expel(n1)
		}
	}
}
