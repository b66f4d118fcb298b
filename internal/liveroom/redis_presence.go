package liveroom

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// presence runs the presence script.
func (l *Redis) presence(ctx context.Context, room int64, args ...any) (answer []any, err error) {
	err = l.do(ctx, func(ctx context.Context) (err error) {
		answer, err = presenceScript.Run(ctx, l.client, l.presenceKeys(room), args...).Slice()
		return err
	})
	if err == nil && len(answer) < 2 {
		err = ErrAway
	}
	return answer, err
}

func (l *Redis) presenceKeys(room int64) []string {
	return []string{l.key(room, "alive"), l.key(room, "came"), l.key(room, "marks"), l.key(room, "head")}
}

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64) // written by the scripts
		return n
	}
	return 0
}

// entry is somebody on the way into a room.
type entry struct {
	presence
	seat  record
	fresh bool
	count int
}

// Enter implements [Ledger]: who comes in during one round trip goes together
// with the next.
func (l *Redis) Enter(ctx context.Context, p presence, seat record) (bool, int, error) {
	e := &entry{presence: p, seat: seat}
	err := l.entering.Do(ctx, e)
	return e.fresh, e.count, err
}

// enter makes one round trip for all entries.
func (l *Redis) enter(ctx context.Context, list []*entry) error {
	return l.do(ctx, func(ctx context.Context) error {
		err := l.enterWith(ctx, list, presenceScript.EvalSha)
		if redis.HasErrorPrefix(err, "NOSCRIPT") { // it has not been run since Redis began
			err = l.enterWith(ctx, list, presenceScript.Eval)
		}
		return err
	})
}

func (l *Redis) enterWith(ctx context.Context, list []*entry, run func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
	pipe := l.client.Pipeline()
	answers := make([]*redis.Cmd, len(list))
	for i, e := range list {
		answers[i] = run(ctx, pipe, l.presenceKeys(e.seat.room), "enter", e.uid, e.joined.UnixMilli(), e.alive.UnixMilli())
		l.keep(ctx, pipe, e.seat)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for i, e := range list {
		a, err := answers[i].Slice()
		if err != nil || len(a) < 2 {
			return errors.Join(err, ErrAway)
		}
		e.fresh, e.count = number(a[0]) == 1, int(number(a[1]))
	}
	return nil
}

// Leave implements [Ledger].
func (l *Redis) Leave(ctx context.Context, room, uid int64, alive time.Time) (bool, int, error) {
	a, err := l.presence(ctx, room, "leave", uid, alive.UnixMilli())
	if err != nil {
		return false, 0, err
	}
	return number(a[0]) == 1, int(number(a[1])), nil
}

// Renew implements [Ledger], with up to renewBatch accounts a call.
func (l *Redis) Renew(ctx context.Context, room int64, alive []presence, deadline time.Time) (c census, err error) {
	for first := true; first || len(alive) > 0; first = false {
		part := alive[:min(len(alive), renewBatch)]
		alive = alive[len(part):]
		args := make([]any, 0, 2+3*len(part))
		args = append(args, "renew", deadline.UnixMilli())
		for _, p := range part {
			args = append(args, p.uid, p.joined.UnixMilli(), p.alive.UnixMilli())
		}
		a, err := l.presence(ctx, room, args...)
		if err != nil {
			return c, err
		}
		c.count, c.last = int(number(a[0])), number(a[1])
		for _, uid := range a[2:] {
			c.gone = append(c.gone, number(uid))
		}
	}
	return c, nil
}

// Present implements [Ledger].
func (l *Redis) Present(ctx context.Context, room int64, uids []int64) (map[int64]watcher, error) {
	found := make(map[int64]watcher, len(uids))
	err := l.do(ctx, func(ctx context.Context) error {
		pipe := l.client.Pipeline()
		came := make([]*redis.FloatCmd, len(uids))
		marks := make([]*redis.StringCmd, len(uids))
		for i, uid := range uids {
			id := strconv.FormatInt(uid, 10)
			came[i] = pipe.ZScore(ctx, l.key(room, "came"), id)
			marks[i] = pipe.HGet(ctx, l.key(room, "marks"), id)
		}
		if _, err := pipe.Exec(ctx); err != nil && err != redis.Nil { // Exec returns it as it is
			return err
		}
		for i, uid := range uids {
			if at, err := came[i].Result(); err == nil {
				found[uid] = watcher{uid: uid, joined: int64(at), marks: marks[i].Val()}
			}
		}
		return nil
	})
	return found, err
}

// Watchers implements [Ledger].
func (l *Redis) Watchers(ctx context.Context, room, from int64, limit int) ([]watcher, error) {
	var list []watcher
	err := l.do(ctx, func(ctx context.Context) error {
		list = nil
		came, err := l.client.ZRangeByScoreWithScores(ctx, l.key(room, "came"), &redis.ZRangeBy{Min: strconv.FormatInt(from, 10), Max: "+inf",
			Count: int64(limit)}).Result()
		if err != nil || len(came) == 0 {
			return err
		}
		ids := make([]string, len(came))
		for i, z := range came {
			ids[i], _ = z.Member.(string)
		}
		marks, err := l.client.HMGet(ctx, l.key(room, "marks"), ids...).Result()
		if err != nil {
			return err
		}
		for i, z := range came {
			text, _ := marks[i].(string)
			if uid := number(ids[i]); uid > 0 {
				list = append(list, watcher{uid: uid, joined: int64(z.Score), marks: text})
			}
		}
		return nil
	})
	return list, err
}

// Mark implements [Ledger].
func (l *Redis) Mark(ctx context.Context, room, uid int64, marks string) error {
	return l.do(ctx, func(ctx context.Context) error {
		pipe := l.client.Pipeline()
		pipe.HSet(ctx, l.key(room, "marks"), strconv.FormatInt(uid, 10), marks)
		pipe.Expire(ctx, l.key(room, "marks"), 2*time.Hour)
		_, err := pipe.Exec(ctx)
		return err
	})
}
