package gateway

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"imserver/internal/command"
)

// Bounds of what is remembered for re-sent requests (protocol 01 §11 suggests
// two minutes).
const (
	replayCount = 20_000
	replayTTL   = 3 * time.Minute
)

// replayKey identifies a request of a login instance; a re-sent one is
// byte-identical, so its body belongs to the key.
type replayKey struct {
	uid  int64
	inst uint32
	name string
	seq  string
	body uint64
}

var replaySeed = maphash.MakeSeed()

// replay is the outcome of a request that may come again.
type replay struct {
	ready  chan struct{}
	answer any
	err    error
	forget func()
}

// replays remembers outcomes; looking up and adding is one step, so that two
// copies of a request cannot both be first.
type replays struct {
	mu    sync.Mutex
	known *expirable.LRU[replayKey, *replay]
}

func newReplays() *replays {
	return &replays{known: expirable.NewLRU[replayKey, *replay](replayCount, nil, replayTTL)}
}

// claim returns the outcome of r, and whether the caller is the one who has to
// bring it about.
func (rs *replays) claim(call *command.Call, r request) (p *replay, first bool) {
	key := replayKey{call.UID, call.Inst, r.head.Command, r.head.Seq, maphash.Bytes(replaySeed, r.body)}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if p, ok := rs.known.Get(key); ok {
		return p, false
	}
	p = &replay{ready: make(chan struct{})}
	p.forget = func() { rs.known.Remove(key) }
	rs.known.Add(key, p)
	return p, true
}

// done publishes the outcome. A fault of the server is not remembered: the
// next copy may succeed.
func (p *replay) done(answer any, err error) {
	p.answer, p.err = answer, err
	var refusal *command.Error
	if err != nil && !errors.As(err, &refusal) {
		p.forget()
	}
	close(p.ready)
}

func (p *replay) wait(ctx context.Context) (any, error) {
	select {
	case <-p.ready:
		return p.answer, p.err
	case <-ctx.Done():
		return nil, command.Err(command.CodeTimeout, "")
	}
}
