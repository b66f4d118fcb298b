package bus

import (
	"context"
	"sync"
)

// Instance is a connected login instance: a device of an account.
type Instance struct {
	UID  int64
	Inst uint32
	// Class is the kind of device, in the meaning of whoever announces it.
	Class uint8
}

// Registry knows which instances are connected, on any node of the cluster.
// Like the bus it is not a record: a node that dies is forgotten when its
// lease ends, and one that lives announces itself again when the registry
// lost everything.
type Registry interface {
	// Listen sets who is told of accounts that may have come or gone without
	// an Arrive or Depart on this node: a node ended, or announcements were
	// lost and made again. Of several nodes one is told. fn must not block. It
	// is called once, before the first Arrive.
	Listen(fn func(uids []int64))

	// Arrive and Depart announce that an instance has connected to, or left,
	// this node. They queue and return. One that connects twice must leave
	// twice to be gone; a Depart without Arrive does nothing.
	Arrive(i Instance)
	Depart(uid int64, inst uint32)

	// Online returns the connected instances of the accounts, each once,
	// those of this node always up to date, those of others as last announced.
	// Accounts without any are not in the map. When the registry cannot be
	// reached it returns this node's with the error. Up to 500 accounts cost
	// two round trips, every further 500 one more.
	Online(ctx context.Context, uids []int64) (map[int64][]Instance, error)

	// Mark notes that accounts count as online, or no longer, and returns
	// those that counted otherwise until now: of several nodes that notice a
	// change one is told so. With an error it returns those for whom that is
	// true or not known.
	Mark(ctx context.Context, uids []int64, online bool) (changed []int64, err error)

	// Settle waits until what was announced before the call is known to the
	// other nodes, or ctx ends.
	Settle(ctx context.Context) error
	// Recheck looks at once whether this node's announcements are still
	// there; to be called when the bus was away. It returns at once.
	Recheck()
	// Close ends the node's part: what it announced is withdrawn.
	Close() error
}

// LocalRegistry is the registry of a single node.
type LocalRegistry struct {
	mu     sync.RWMutex
	users  map[int64][]presence // guarded by mu
	marked map[int64]struct{}   // guarded by mu, see Mark
}

// presence is an instance with the number of its connections.
type presence struct {
	Instance
	connections int
}

// NewLocalRegistry makes an empty registry.
func NewLocalRegistry() *LocalRegistry {
	return &LocalRegistry{users: map[int64][]presence{}, marked: map[int64]struct{}{}}
}

// Listen does nothing: there is no other node.
func (r *LocalRegistry) Listen(func([]int64)) {}

// Arrive implements [Registry].
func (r *LocalRegistry) Arrive(i Instance) { r.arrive(i) }

// Depart implements [Registry].
func (r *LocalRegistry) Depart(uid int64, inst uint32) { r.depart(uid, inst) }

// arrive reports whether others would see a difference.
func (r *LocalRegistry) arrive(i Instance) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.users[i.UID]
	for k := range list {
		if list[k].Inst == i.Inst {
			differs := list[k].Class != i.Class
			list[k].Instance = i
			list[k].connections++
			return differs
		}
	}
	r.users[i.UID] = append(list, presence{i, 1})
	return true
}

func (r *LocalRegistry) depart(uid int64, inst uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.users[uid]
	for k := range list {
		if list[k].Inst != inst {
			continue
		}
		if list[k].connections--; list[k].connections > 0 {
			return false
		}
		list[k] = list[len(list)-1]
		if list = list[:len(list)-1]; len(list) == 0 {
			delete(r.users, uid)
		} else {
			r.users[uid] = list
		}
		return true
	}
	return false
}

// Online implements [Registry].
func (r *LocalRegistry) Online(_ context.Context, uids []int64) (map[int64][]Instance, error) {
	online := make(map[int64][]Instance)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, uid := range uids {
		if _, done := online[uid]; done {
			continue
		}
		for _, p := range r.users[uid] {
			online[uid] = append(online[uid], p.Instance)
		}
	}
	return online, nil
}

// Mark implements [Registry].
func (r *LocalRegistry) Mark(_ context.Context, uids []int64, online bool) (changed []int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, uid := range uids {
		if _, was := r.marked[uid]; was == online {
			continue
		}
		changed = append(changed, uid)
		if online {
			r.marked[uid] = struct{}{}
		} else {
			delete(r.marked, uid)
		}
	}
	return changed, nil
}

// accounts returns everyone who is connected.
func (r *LocalRegistry) accounts() []int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	uids := make([]int64, 0, len(r.users))
	for uid := range r.users {
		uids = append(uids, uid)
	}
	return uids
}

// Settle returns at once.
func (r *LocalRegistry) Settle(context.Context) error { return nil }

// Recheck does nothing.
func (r *LocalRegistry) Recheck() {}

// Close does nothing.
func (r *LocalRegistry) Close() error { return nil }
