package main

import (
	"context"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// onRedis is what happens to Redis and on the way to it. A node without it
// says that it is degraded and serves the users it has, and newcomers.
func onRedis(o options) []fault {
	return []fault{
		{"redis restart", func(_ context.Context, cl *cluster, _ *crowd) error {
			cl.redis.end(syscall.SIGTERM, 5*time.Second)
			return cl.redis.start()
		}},
		{"redis FLUSHALL", flushAll},
		{"redis gone", func(ctx context.Context, cl *cluster, c *crowd) error {
			cl.redis.kill()
			return withoutBus(ctx, cl, c, o.pick(30*time.Second, 2*time.Second))
		}},
		{"redis stopped, its connections open", func(ctx context.Context, cl *cluster, c *crowd) error {
			cl.redis.signal(syscall.SIGSTOP)
			defer cl.redis.signal(syscall.SIGCONT)
			return withoutBus(ctx, cl, c, o.pick(30*time.Second, time.Second))
		}},
		{"redis gone, a node starts", func(ctx context.Context, cl *cluster, c *crowd) error {
			cl.redis.kill()
			n := cl.nodes[0]
			n.end(syscall.SIGTERM, 12*time.Second)
			if err := n.start(); err != nil {
				return err
			}
			return withoutBus(ctx, cl, c, o.pick(10*time.Second, 0))
		}},
		{"a node and redis: connections cut", func(ctx context.Context, cl *cluster, _ *crowd) error {
			n := cl.nodes[0]
			n.toRedis.sever()
			defer n.toRedis.mend()
			if err := n.says(ctx, "degraded"); err != nil {
				return err
			}
			sleep(ctx, o.pick(15*time.Second, time.Second))
			return nil
		}},
		{"a node and redis: packets lost", func(ctx context.Context, cl *cluster, _ *crowd) error {
			n := cl.nodes[0]
			n.toRedis.stall()
			defer n.toRedis.mend()
			if err := n.says(ctx, "degraded"); err != nil {
				return err
			}
			sleep(ctx, o.pick(15*time.Second, 0))
			return nil
		}},
	}
}

// withoutBus checks what both nodes do without Redis.
func withoutBus(ctx context.Context, cl *cluster, c *crowd, d time.Duration) error {
	for _, n := range cl.nodes {
		if err := n.says(ctx, "degraded"); err != nil {
			return err
		}
		if err := c.visit(ctx, n); err != nil {
			return fmt.Errorf("without redis, users of one node: %w", err)
		}
	}
	sleep(ctx, d)
	return nil
}

func flushAll(ctx context.Context, cl *cluster, _ *crowd) error {
	o, err := redis.ParseURL("redis://127.0.0.1:" + strconv.Itoa(cl.rdPort) + "/0")
	if err != nil {
		return err
	}
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	return client.FlushAll(ctx).Err()
}
