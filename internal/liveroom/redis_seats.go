package liveroom

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"imserver/internal/fanout"
)

// Keep implements [Ledger].
func (l *Redis) Keep(ctx context.Context, seats []record) error {
	for len(seats) > 0 {
		part := seats[:min(len(seats), renewBatch)]
		seats = seats[len(part):]
		err := l.do(ctx, func(ctx context.Context) error {
			pipe := l.client.Pipeline()
			for _, s := range part {
				l.keep(ctx, pipe, s)
			}
			_, err := pipe.Exec(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// keep adds one seat to a pipeline.
func (l *Redis) keep(ctx context.Context, pipe redis.Pipeliner, s record) {
	key := l.deviceKey(s.device)
	pipe.HSet(ctx, key, strconv.FormatInt(s.room, 10), s.text())
	pipe.Expire(ctx, key, recordTTL)
}

func (l *Redis) deviceKey(d fanout.Device) string {
	return fmt.Sprintf("%slive:device:%d.%d", l.opt.Prefix, d.UID, d.Inst)
}

// text is a record as its field holds it.
func (s record) text() string {
	poll := 0
	if s.poll {
		poll = 1
	}
	return fmt.Sprintf("%d %d %d %d", s.joined, s.place, s.node, poll)
}

// Drop implements [Ledger].
func (l *Redis) Drop(ctx context.Context, d fanout.Device, room int64) error {
	return l.do(ctx, func(ctx context.Context) error {
		return l.client.HDel(ctx, l.deviceKey(d), strconv.FormatInt(room, 10)).Err()
	})
}

// Seats implements [Ledger].
func (l *Redis) Seats(ctx context.Context, d fanout.Device) ([]record, error) {
	var found map[string]string
	err := l.do(ctx, func(ctx context.Context) (err error) {
		found, err = l.client.HGetAll(ctx, l.deviceKey(d)).Result()
		return err
	})
	list := make([]record, 0, len(found))
	for room, text := range found {
		r := record{device: d}
		var poll int
		if _, err := fmt.Sscan(text, &r.joined, &r.place, &r.node, &poll); err != nil {
			continue // written by another version
		}
		r.poll = poll == 1
		if r.room, err = strconv.ParseInt(room, 10, 64); err == nil {
			list = append(list, r)
		}
	}
	return list, err
}
