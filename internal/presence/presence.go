// Package presence knows who is online and tells those who want to know. An
// account is online while one of its devices is connected to any node, and a
// while longer when the connection was lost without a goodbye.
package presence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"imserver/internal/account"
	"imserver/internal/bus"
	"imserver/internal/config"
	"imserver/internal/fanout"
	"imserver/internal/session"
	"imserver/internal/store"
)

// Spacing is the shortest time between two pushes about one account: a user
// who comes and goes all the time costs each subscriber no more than that.
const Spacing = 2 * time.Second

// Friends knows who is told of an account's status without asking.
type Friends interface {
	// FriendsOf returns for each of uids the accounts that have it in their
	// friend list.
	FriendsOf(ctx context.Context, uids []int64) (map[int64][]int64, error)
}

// Options are what the service stands on; all but Friends must be set.
type Options struct {
	DB       *store.DB
	Accounts *account.Directory
	Hub      *fanout.Hub
	Registry bus.Registry
	Apps     func(sdkAppID uint32) *config.App
	Friends  Friends       // nil: nobody has friends
	Grace    time.Duration // how long a lost device counts as connected (protocol 01, checklist 15)
	Now      func() time.Time
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// Service keeps the presence of the accounts.
type Service struct {
	Options
	told   prometheus.Counter
	pushed prometheus.Counter
	wakeup chan struct{} // capacity 1

	mu       sync.Mutex
	devices  map[fanout.Device]*device // guarded by mu, as all below: of this node
	leaving  []departure               // in the order of their end
	look     map[int64]struct{}        // accounts that may have come or gone
	owed     map[int64]bool            // accounts to tell of in any case; true: their own devices, too
	seen     map[fanout.Device]bool    // to be recorded: here now, or gone
	partings map[int64]parting         // of accounts that are being deleted
	last     map[int64]time.Time       // when an account was told of, if less than Spacing ago
	pause    time.Time                 // the store or the bus failed: not before
}

// device is a login instance with its connections to this node. Without any
// it is on its way out.
type device struct {
	class       session.Class
	connections int
	until       time.Time // without connections: when it counts as gone
}

type departure struct {
	device fanout.Device
	at     time.Time
}

// New makes the service and listens to the registry. Run it, or nobody is told
// anything.
func New(o Options) *Service {
	s := &Service{Options: o, wakeup: make(chan struct{}, 1), devices: map[fanout.Device]*device{},
		look: map[int64]struct{}{}, owed: map[int64]bool{}, last: map[int64]time.Time{},
		seen: map[fanout.Device]bool{}, partings: map[int64]parting{}}
	f := promauto.With(o.Metrics)
	s.told = f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "presence", Name: "changes_total",
		Help: "Changes of accounts' status that somebody was told of."})
	s.pushed = f.NewCounter(prometheus.CounterOpts{Namespace: "imserver", Subsystem: "presence", Name: "pushes_total",
		Help: "Pushes of status changes to accounts."})
	f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "imserver", Subsystem: "presence", Name: "devices",
		Help: "Devices that count as connected to this node, those just lost included."}, func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.devices))
	})
	o.Registry.Listen(func(uids []int64) { s.lookAt(uids...) })
	return s
}

// Arrive notes that a device is connected. It does not wait for anything.
func (s *Service) Arrive(ses *session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[ses.Device()]
	if d == nil {
		d = &device{class: ses.Class}
		s.devices[ses.Device()] = d
		s.Registry.Arrive(bus.Instance{UID: ses.UID, Inst: ses.Inst, Class: uint8(ses.Class)})
		s.seen[ses.Device()] = true
		s.lookAtLocked(ses.UID)
	}
	d.connections++
}

// Depart notes that one of a device's connections has gone: because its login
// ended, or it was lost and may come back.
func (s *Service) Depart(ses *session.Session, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[ses.Device()]
	if d == nil {
		return
	}
	d.connections--
	switch {
	case ended || d.connections <= 0 && s.Grace == 0:
		s.dropLocked(ses.Device())
	case d.connections <= 0:
		d.until = s.Now().Add(s.Grace)
		s.leaving = append(s.leaving, departure{ses.Device(), d.until})
		s.poke()
	}
}

// dropLocked forgets a device, whatever its connections.
func (s *Service) dropLocked(dev fanout.Device) {
	if s.devices[dev] == nil {
		return
	}
	delete(s.devices, dev)
	s.Registry.Depart(dev.UID, dev.Inst)
	s.seen[dev] = false
	s.lookAtLocked(dev.UID)
}

// expireLocked drops the devices whose grace is over.
func (s *Service) expireLocked(now time.Time) {
	for len(s.leaving) > 0 && !s.leaving[0].at.After(now) {
		dev := s.leaving[0].device
		s.leaving = s.leaving[1:]
		if d := s.devices[dev]; d != nil && d.connections <= 0 && !d.until.After(now) {
			s.dropLocked(dev)
		}
	}
}

func (s *Service) lookAt(uids ...int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookAtLocked(uids...)
}

func (s *Service) lookAtLocked(uids ...int64) {
	for _, uid := range uids {
		s.look[uid] = struct{}{}
	}
	s.poke()
}

// tellOf asks for an account's status to be told in any case, to its own
// devices, too.
func (s *Service) tellOf(uid int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed[uid] = true
	s.poke()
}

func (s *Service) poke() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// Run tells of changes until ctx ends.
func (s *Service) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := s.step(ctx)
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(next.Sub(s.Now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-s.wakeup:
		case <-timer.C:
		}
	}
}
