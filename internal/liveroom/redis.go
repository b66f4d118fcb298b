package liveroom

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"imserver/internal/store"
)

//go:embed append.lua
var appendSource string

//go:embed presence.lua
var presenceSource string

var (
	appendScript   = redis.NewScript(appendSource)
	presenceScript = redis.NewScript(presenceSource)
)

const (
	// retryAfter is how long the ledger counts as away after it failed.
	retryAfter = time.Second
	// appendBatch bounds the events of one round trip, and appendQueue those
	// that wait for one; of more the node numbers by itself.
	appendBatch = 512
	appendQueue = 1 << 15
	// enterBatch bounds the newcomers of one round trip.
	enterBatch = 128
	// renewBatch bounds the accounts of one call of the presence script.
	renewBatch = 1000
	// recordTTL is how long a device's rooms are remembered after the last
	// sign of life: longer than the longest member timeout.
	recordTTL = 11 * time.Minute
)

// RedisOptions are what a Redis ledger can be told; the zero value is good.
type RedisOptions struct {
	// Prefix begins the keys; "imserver:" when empty.
	Prefix string
	Log    *slog.Logger
}

// Redis is the ledger of a cluster. What it loses is told again by the nodes;
// while it is away, each of them goes on by itself.
type Redis struct {
	client   redis.UniversalClient
	opt      RedisOptions
	entering *store.Gather[*entry]

	mu    sync.Mutex
	queue []appending // guarded by mu, as all below
	busy  bool
	retry time.Time // not before is Redis asked again
}

// appending is an event on its way into Redis.
type appending struct {
	event  *Event
	floor  int64
	bounds bounds
	done   func(error)
}

var _ Ledger = (*Redis)(nil)

// NewRedis makes the ledger over client, which stays the caller's.
func NewRedis(client redis.UniversalClient, opt RedisOptions) *Redis {
	if opt.Prefix == "" {
		opt.Prefix = "imserver:"
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	l := &Redis{client: client, opt: opt}
	l.entering = store.NewGather(enterBatch, 2, l.enter)
	return l
}

// key names a room's key; those of a room share a slot of a Redis Cluster.
func (l *Redis) key(room int64, what string) string {
	return l.opt.Prefix + "live:{" + strconv.FormatInt(room, 10) + "}:" + what
}

func (l *Redis) away() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.awayLocked()
}

func (l *Redis) awayLocked() bool { return !l.retry.IsZero() && time.Now().Before(l.retry) }

// result notes whether Redis worked. What Redis itself answered, such as a
// script's fault, is no sign that it is away.
func (l *Redis) result(err error) error {
	var answered redis.Error
	if err == nil || errors.Is(err, redis.Nil) || errors.As(err, &answered) && !loading(err) {
		l.mu.Lock()
		l.retry = time.Time{}
		l.mu.Unlock()
		return err
	}
	l.mu.Lock()
	first := !l.awayLocked()
	l.retry = time.Now().Add(retryAfter)
	l.mu.Unlock()
	if first {
		l.opt.Log.Warn("live rooms go on without Redis", "err", err)
	}
	return ErrAway
}

// loading reports whether Redis is up but cannot serve yet, or not any more.
func loading(err error) bool {
	return strings.HasPrefix(err.Error(), "LOADING") || strings.HasPrefix(err.Error(), "MASTERDOWN") || strings.HasPrefix(err.Error(), "READONLY")
}

// do runs fn within the bound, unless Redis is known to be away.
func (l *Redis) do(ctx context.Context, fn func(context.Context) error) error {
	if l.away() {
		return ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	return l.result(fn(ctx))
}

// Append implements [Ledger]: what gathers during one round trip goes together
// with the next.
func (l *Redis) Append(e *Event, floor int64, b bounds, done func(error)) {
	l.mu.Lock()
	if l.awayLocked() || len(l.queue) >= appendQueue {
		l.mu.Unlock()
		done(ErrAway)
		return
	}
	l.queue = append(l.queue, appending{e, floor, b, done})
	start := !l.busy
	l.busy = true
	l.mu.Unlock()
	if start {
		go l.run()
	}
}

// run appends until nothing waits.
func (l *Redis) run() {
	for {
		l.mu.Lock()
		n := min(len(l.queue), appendBatch)
		if n == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		batch := l.queue[:n:n]
		if l.queue = l.queue[n:]; len(l.queue) == 0 {
			l.queue = nil
		}
		away := l.awayLocked()
		l.mu.Unlock()
		if away {
			for _, a := range batch {
				a.done(ErrAway)
			}
			continue
		}
		l.append(batch)
	}
}

// append makes one script call for each room of the batch.
func (l *Redis) append(batch []appending) {
	var rooms []int64
	byRoom := map[int64][]appending{}
	for _, a := range batch {
		if byRoom[a.event.Room] == nil {
			rooms = append(rooms, a.event.Room)
		}
		byRoom[a.event.Room] = append(byRoom[a.event.Room], a)
	}
	ctx, cancel := context.WithTimeout(context.Background(), ledgerTimeout)
	defer cancel()
	answers, err := l.exec(ctx, rooms, byRoom, false)
	var unknown []int64
	for _, room := range rooms {
		if answers[room] == nil {
			unknown = append(unknown, room)
		}
	}
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		var more map[int64][]int64
		more, err = l.exec(ctx, unknown, byRoom, true)
		for room, answer := range more {
			answers[room] = answer
		}
	}
	err = l.result(err)
	for _, room := range rooms {
		place(byRoom[room], answers[room], err)
	}
}

// exec calls the script for each room, by its hash or with its text. Rooms
// that failed have no answer; the error is one of theirs.
func (l *Redis) exec(ctx context.Context, rooms []int64, byRoom map[int64][]appending, text bool) (map[int64][]int64, error) {
	pipe := l.client.Pipeline()
	cmds := make([]*redis.Cmd, len(rooms))
	for i, room := range rooms {
		list := byRoom[room]
		b := list[0].bounds
		floor := int64(0)
		for _, a := range list {
			floor = max(floor, a.floor)
		}
		args := make([]any, 0, 5+3*len(list))
		args = append(args, floor, epoch, b.events, b.age.Milliseconds(), b.newcomers)
		for _, a := range list {
			isMessage := 0
			if a.event.Kind == eventMessage {
				isMessage = 1
			}
			args = append(args, isMessage, a.event.said(), a.event.encode(nil))
		}
		keys := []string{l.key(room, "head"), l.key(room, "events"), l.key(room, "newest"), l.key(room, "said")}
		if text {
			cmds[i] = pipe.Eval(ctx, appendSource, keys, args...)
		} else {
			cmds[i] = pipe.EvalSha(ctx, appendScript.Hash(), keys, args...)
		}
	}
	_, _ = pipe.Exec(ctx) // every command has its own error
	answers := make(map[int64][]int64, len(rooms))
	var failure error
	for i, room := range rooms {
		n, err := cmds[i].Int64Slice()
		if err != nil {
			failure = err
			continue
		}
		answers[room] = n
	}
	return answers, failure
}

// place gives the events of one room what the script answered.
func place(list []appending, answer []int64, err error) {
	if len(answer) != len(list)+1 {
		if err == nil {
			err = ErrAway
		}
		for _, a := range list {
			a.done(err)
		}
		return
	}
	prev := answer[0]
	for i, a := range list {
		switch seq := answer[i+1]; {
		case seq > 0:
			a.event.Seq, a.event.Prev = seq, prev
			prev = seq
		case seq < 0:
			a.event.Seq, a.event.repeat = -seq, true
		}
		a.done(nil)
	}
}

// Restore implements [Ledger].
func (l *Redis) Restore(ctx context.Context, room int64, list []*Event, b bounds) error {
	if len(list) == 0 {
		return nil
	}
	return l.do(ctx, func(ctx context.Context) error {
		pipe := l.client.Pipeline()
		members := make([]redis.Z, len(list))
		for i, e := range list {
			members[i] = redis.Z{Score: float64(e.Seq), Member: e.encode(nil)}
		}
		pipe.ZAddNX(ctx, l.key(room, "events"), members...)
		pipe.PExpire(ctx, l.key(room, "events"), b.age+10*time.Second)
		pipe.HSetNX(ctx, l.key(room, "head"), "s", list[len(list)-1].Seq)
		pipe.Expire(ctx, l.key(room, "head"), 24*time.Hour)
		_, err := pipe.Exec(ctx)
		return err
	})
}

// Recent implements [Ledger].
func (l *Redis) Recent(ctx context.Context, room, after int64) ([]*Event, error) {
	var found []redis.Z
	err := l.do(ctx, func(ctx context.Context) (err error) {
		found, err = l.client.ZRangeByScoreWithScores(ctx, l.key(room, "events"),
			&redis.ZRangeBy{Min: "(" + strconv.FormatInt(after, 10), Max: "+inf"}).Result()
		return err
	})
	return decodeAll(found), err
}

// Newest implements [Ledger].
func (l *Redis) Newest(ctx context.Context, room int64, n int) ([]*Event, error) {
	var found []redis.Z
	err := l.do(ctx, func(ctx context.Context) (err error) {
		found, err = l.client.ZRangeWithScores(ctx, l.key(room, "newest"), int64(-n), -1).Result()
		return err
	})
	return decodeAll(found), err
}

func decodeAll(found []redis.Z) []*Event {
	list := make([]*Event, 0, len(found))
	for _, z := range found {
		text, _ := z.Member.(string)
		if e, err := decodeEvent([]byte(text)); err == nil { // written by another version otherwise
			e.Seq = int64(z.Score)
			list = append(list, e)
		}
	}
	return list
}

// Recalled implements [Ledger].
func (l *Redis) Recalled(ctx context.Context, room, seq int64) error {
	at := strconv.FormatInt(seq, 10)
	return l.do(ctx, func(ctx context.Context) error {
		return l.client.ZRemRangeByScore(ctx, l.key(room, "newest"), at, at).Err()
	})
}

// Forget implements [Ledger]. The newest events end by themselves: somebody
// may still be polling for the last one.
func (l *Redis) Forget(ctx context.Context, room int64) error {
	return l.do(ctx, func(ctx context.Context) error {
		pipe := l.client.Pipeline()
		pipe.Del(ctx, l.key(room, "newest"), l.key(room, "alive"), l.key(room, "came"), l.key(room, "marks"))
		pipe.Expire(ctx, l.key(room, "head"), recordTTL)
		_, err := pipe.Exec(ctx)
		return err
	})
}

// Sweep does nothing: keys end by themselves.
func (l *Redis) Sweep(time.Time) {}
