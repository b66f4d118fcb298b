package presence

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"imserver/internal/bus"
	"imserver/internal/fanout"
)

const (
	// stepSize bounds the accounts that are looked at together.
	stepSize = 500
	// stepTimeout bounds a look, and retry is the time until the next one
	// when it failed.
	stepTimeout = 10 * time.Second
	retry       = time.Second
)

// step does what is due: lost devices are dropped, accounts that may have come
// or gone are looked at, and who wants to know is told. What gathers while it
// runs goes with the next one. It returns when something is due again, the
// zero time if only an event can bring that.
func (s *Service) step(ctx context.Context) (next time.Time) {
	looks, owed, next := s.take()
	if len(looks)+len(owed) == 0 {
		return next
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := errors.Join(s.record(ctx), s.announce(ctx, looks, owed)); err != nil {
		s.Log.Warn("status changes were not told, will try again", "accounts", len(looks)+len(owed), "err", err)
		s.mu.Lock()
		s.pause = s.Now().Add(retry)
		s.mu.Unlock()
	}
	_, _, next = s.plan(false)
	return next
}

func (s *Service) take() (looks []int64, owed map[int64]bool, next time.Time) { return s.plan(true) }

// plan returns the accounts that are due, and takes them off the lists if
// take is set, and when the next ones are.
func (s *Service) plan(take bool) (looks []int64, owed map[int64]bool, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	s.expireLocked(now)
	owed = map[int64]bool{}
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if len(s.leaving) > 0 {
		sooner(s.leaving[0].at)
	}
	for uid, at := range s.last {
		if !now.Before(at.Add(Spacing)) {
			delete(s.last, uid)
		}
	}
	due := func(uid int64) bool {
		if s.pause.After(now) {
			sooner(s.pause)
			return false
		}
		if at, waits := s.last[uid]; waits {
			sooner(at.Add(Spacing))
			return false
		}
		if !take || len(looks)+len(owed) >= stepSize {
			sooner(now)
			return false
		}
		return true
	}
	for uid, own := range s.owed {
		if due(uid) {
			owed[uid] = own
			delete(s.owed, uid)
		}
	}
	for uid := range s.look {
		if due(uid) {
			looks = append(looks, uid)
			delete(s.look, uid)
		}
	}
	return looks, owed, next
}

// announce looks at accounts and tells of those that have come or gone, and of
// the owed ones. What fails is put back.
func (s *Service) announce(ctx context.Context, looks []int64, owed map[int64]bool) error {
	uids := slices.Clone(looks)
	for uid := range owed {
		uids = append(uids, uid)
	}
	online, err := s.Registry.Online(ctx, uids)
	if err != nil {
		s.putBack(looks, owed)
		return err
	}
	here, gone := split(looks, online)
	if len(here) > 0 { // whoever marks them as gone after this can see that they are not
		if err := s.Registry.Settle(ctx); err != nil {
			s.putBack(looks, owed)
			return err
		}
	}
	came, err := s.Registry.Mark(ctx, here, true)
	left, err2 := s.Registry.Mark(ctx, gone, false)
	for _, uid := range slices.Concat(came, left) {
		owed[uid] = owed[uid] || false
	}
	if err == nil {
		err = err2
	}
	if err == nil {
		err = s.recordGone(ctx, left)
	}
	if err == nil {
		err = s.tell(ctx, owed, online)
	}
	if err != nil {
		s.putBack(nil, owed)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	for uid := range owed {
		s.last[uid] = now
	}
	// Somebody may come on another node while this one says that they left;
	// of the two pushes the wrong one may be the last. So look once more.
	s.lookAtLocked(left...)
	return nil
}

func split(uids []int64, online map[int64][]bus.Instance) (here, gone []int64) {
	for _, uid := range uids {
		if len(online[uid]) > 0 {
			here = append(here, uid)
		} else {
			gone = append(gone, uid)
		}
	}
	return here, gone
}

func (s *Service) putBack(looks []int64, owed map[int64]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, uid := range looks {
		s.look[uid] = struct{}{}
	}
	for uid, own := range owed {
		s.owed[uid] = s.owed[uid] || own
	}
}

// tell pushes the present status of accounts to all who want to know, each
// receiver once, and each set of accounts encoded once.
func (s *Service) tell(ctx context.Context, uids map[int64]bool, online map[int64][]bus.Instance) error {
	if len(uids) == 0 {
		return nil
	}
	receivers, err := s.receivers(ctx, uids)
	if err != nil || len(receivers) == 0 {
		return err
	}
	told := map[int64]struct{}{}
	for _, targets := range receivers {
		for _, uid := range targets {
			told[uid] = struct{}{}
		}
	}
	list := make([]int64, 0, len(told))
	for uid := range told {
		list = append(list, uid)
	}
	statuses, err := s.statuses(ctx, list, online)
	if err != nil {
		return err
	}
	events := map[string]*fanout.Event{}
	for receiver, targets := range receivers {
		slices.Sort(targets)
		items := make([]userStatus, 0, len(targets))
		for _, uid := range slices.Compact(targets) {
			if st, ok := statuses[uid]; ok && (uid == receiver || s.wanted(st.app)) {
				items = append(items, st.item())
			}
		}
		if len(items) == 0 {
			continue
		}
		item := encode(items)
		e := events[string(item)]
		if e == nil {
			e = &fanout.Event{Item: item, Apart: true}
			events[string(item)] = e
		}
		s.Hub.Publish(fanout.User(receiver), e)
		s.pushed.Inc()
	}
	s.told.Add(float64(len(list)))
	return nil
}

// wanted reports whether an app has status at all.
func (s *Service) wanted(sdkAppID uint32) bool {
	app := s.Apps(sdkAppID)
	return app != nil && app.UserStatus
}

// receivers returns which accounts are to be told of which.
func (s *Service) receivers(ctx context.Context, uids map[int64]bool) (map[int64][]int64, error) {
	targets := make([]int64, 0, len(uids))
	receivers := map[int64][]int64{}
	for uid, own := range uids {
		targets = append(targets, uid)
		if own {
			receivers[uid] = []int64{uid}
		}
	}
	watches, err := s.watchers(ctx, targets)
	if err != nil {
		return nil, err
	}
	for _, w := range watches {
		receivers[w.uid] = append(receivers[w.uid], w.target)
	}
	if s.Friends == nil {
		return receivers, nil
	}
	targets, err = s.withFriendStatus(ctx, targets)
	if err != nil || len(targets) == 0 {
		return receivers, err
	}
	friends, err := s.Friends.FriendsOf(ctx, targets)
	for target, list := range friends {
		for _, uid := range list {
			receivers[uid] = append(receivers[uid], target)
		}
	}
	return receivers, err
}

// withFriendStatus returns those whose app tells friends without being asked.
func (s *Service) withFriendStatus(ctx context.Context, uids []int64) ([]int64, error) {
	accounts, err := s.Accounts.ByUIDs(ctx, uids)
	var list []int64
	for uid, a := range accounts {
		if app := s.Apps(a.App); app != nil && app.FriendStatus {
			list = append(list, uid)
		}
	}
	return list, err
}

// userStatus is an entry of UserStatusList; the custom status is base64 on its
// way down (protocol 04 §4).
type userStatus struct {
	To_Account   string
	Status       int
	CustomStatus []byte
}

// encode makes the event item (protocol 04 §4).
func encode(list []userStatus) []byte {
	b, _ := json.Marshal(struct { // cannot fail
		Event          int
		UserStatusList []userStatus
	}{19, list})
	return b
}
