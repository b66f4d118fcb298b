package bus

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// publishBatch bounds the publications of one round trip.
	publishBatch = 1024
	// publishTimeout bounds a round trip.
	publishTimeout = 3 * time.Second
)

type publication struct {
	link    int
	channel string
	body    []byte
}

// publisher sends what is queued, one round trip after the other: whatever
// gathers during one goes with the next, and a lone publication goes at once.
type publisher struct {
	bus *Redis

	mu     sync.Mutex
	cond   *sync.Cond
	queue  []publication // guarded by mu, as all below
	bytes  int
	lost   map[int]struct{} // links whose subscribers must be told of a loss
	busy   bool
	failed bool // the last round trip failed altogether
}

func newPublisher(b *Redis) *publisher {
	p := &publisher{bus: b, lost: map[int]struct{}{}}
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *publisher) add(m publication) {
	p.mu.Lock()
	if len(p.queue) >= p.bus.opt.MaxQueued || p.bytes+len(m.body) > p.bus.opt.MaxQueuedBytes {
		p.lost[m.link] = struct{}{}
		p.mu.Unlock()
		p.cond.Broadcast()
		p.bus.metrics.dropped.Inc()
		return
	}
	p.queue = append(p.queue, m)
	p.bytes += len(m.body)
	p.bus.metrics.queued.Set(float64(len(p.queue)))
	p.mu.Unlock()
	p.cond.Broadcast()
}

func (p *publisher) wake() {
	p.mu.Lock() // so that run is not between its check and its wait
	defer p.mu.Unlock()
	p.cond.Broadcast()
}

// drain waits until the queue is empty, at most for d.
func (p *publisher) drain(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		p.mu.Lock()
		idle := len(p.queue) == 0 && !p.busy
		p.mu.Unlock()
		if idle {
			return
		}
	}
}

// take waits for work. Notices come before messages: a subscriber that
// resyncs then finds in the store all that was lost. After a failed round trip
// only the notices are taken, as a probe, and the messages stay queued.
func (p *publisher) take() (notices []int, batch []publication, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy = false
	for len(p.queue) == 0 && len(p.lost) == 0 && p.bus.ctx.Err() == nil {
		p.cond.Wait()
	}
	if p.bus.ctx.Err() != nil {
		return nil, nil, false
	}
	p.busy = true
	for link := range p.lost {
		notices = append(notices, link)
	}
	clear(p.lost)
	if p.failed && len(notices) > 0 {
		return notices, nil, true
	}
	n := min(len(p.queue), publishBatch)
	batch = p.queue[:n:n]
	p.queue = p.queue[n:]
	for _, m := range batch {
		p.bytes -= len(m.body)
	}
	p.bus.metrics.queued.Set(float64(len(p.queue)))
	return notices, batch, true
}

func (p *publisher) run() {
	const shortest, longest = 50 * time.Millisecond, time.Second
	wait := shortest
	for {
		notices, batch, ok := p.take()
		if !ok {
			return
		}
		if p.send(notices, batch) {
			wait = shortest
			continue
		}
		select {
		case <-time.After(wait):
		case <-p.bus.ctx.Done():
			return
		}
		wait = min(2*wait, longest)
	}
}

// send does one round trip and reports whether all of it worked. What failed
// is not repeated, because it may have arrived: its subscribers are told.
func (p *publisher) send(notices []int, batch []publication) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.bus.ctx), publishTimeout)
	defer cancel()
	pipe := p.bus.client.Pipeline()
	publish := pipe.Publish
	kind, err := p.bus.publishing(ctx)
	if kind == sharded {
		publish = pipe.SPublish
	}
	cmds := make([]*redis.IntCmd, 0, len(notices)+len(batch))
	for _, link := range notices {
		cmds = append(cmds, publish(ctx, p.bus.links[link].anchor, p.bus.node))
	}
	for _, m := range batch {
		cmds = append(cmds, publish(ctx, m.channel, m.body))
	}
	if err == nil {
		_, err = pipe.Exec(ctx)
	} else {
		for _, cmd := range cmds {
			cmd.SetErr(err)
		}
	}
	p.bus.metrics.batch.Observe(float64(len(batch)))
	if err == nil {
		p.mu.Lock()
		p.failed = false
		p.mu.Unlock()
		p.bus.metrics.published.Add(float64(len(batch)))
		return true
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	failures := 0
	for i, cmd := range cmds {
		if cmd.Err() == nil {
			continue
		}
		failures++
		if i < len(notices) {
			p.lost[notices[i]] = struct{}{}
			continue
		}
		p.lost[batch[i-len(notices)].link] = struct{}{}
		p.bus.metrics.dropped.Inc()
	}
	p.bus.metrics.published.Add(float64(len(cmds) - failures))
	p.failed = failures == len(cmds)
	p.bus.opt.Log.Warn("bus publications failed", "failed", failures, "of", len(cmds), "err", err)
	return false
}
