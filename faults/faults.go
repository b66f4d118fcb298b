package main

import (
	"context"
	"log"
	"math/rand/v2"
	"os"
	"syscall"
	"time"
)

// fault is something that goes wrong. do returns when it is over or left for
// heal to mend; an error means that it could not be brought about.
type fault struct {
	name string
	do   func(ctx context.Context, cl *cluster, c *crowd) error
}

// faults lists what happens, the short form or all of it.
func faults(o options) []fault {
	hold := func(long, short time.Duration) time.Duration {
		if o.short {
			return short
		}
		return long
	}
	list := []fault{
		{"nothing", func(ctx context.Context, _ *cluster, _ *crowd) error {
			sleep(ctx, hold(5*time.Second, time.Second))
			return nil
		}},
		{"client sockets cut", func(ctx context.Context, _ *cluster, c *crowd) error {
			for range hold(40, 10) {
				c.members[rand.IntN(len(c.members))].disconnect()
				sleep(ctx, 200*time.Millisecond)
			}
			return nil
		}},
		{"node SIGKILL", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[1].kill()
			sleep(ctx, hold(10*time.Second, 3*time.Second))
			return nil
		}},
		{"node SIGTERM, rolling restart", func(ctx context.Context, cl *cluster, _ *crowd) error {
			for _, n := range cl.nodes {
				n.end(syscall.SIGTERM, 12*time.Second)
				if err := n.start(); err != nil {
					return err
				}
				if err := n.await(ctx); err != nil {
					return err
				}
			}
			return nil
		}},
		{"node SIGSTOP", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[0].signal(syscall.SIGSTOP)
			sleep(ctx, hold(20*time.Second, 4*time.Second))
			cl.nodes[0].signal(syscall.SIGCONT)
			return nil
		}},
		{"redis restart", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.redis.end(syscall.SIGTERM, 5*time.Second)
			return cl.redis.start()
		}},
		{"redis FLUSHALL", flushAll},
		{"redis stopped", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.redis.signal(syscall.SIGSTOP)
			sleep(ctx, hold(30*time.Second, 4*time.Second))
			cl.redis.signal(syscall.SIGCONT)
			return nil
		}},
		{"network cut between a node and redis", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[0].toRedis.sever()
			sleep(ctx, hold(15*time.Second, 3*time.Second))
			cl.nodes[0].toRedis.mend()
			return nil
		}},
		{"postgres connections cut", func(ctx context.Context, cl *cluster, _ *crowd) error {
			for range hold(10, 3) {
				cl.nodes[0].toDB.reset()
				cl.nodes[1].toDB.reset()
				sleep(ctx, 500*time.Millisecond)
			}
			return nil
		}},
		{"postgres kill -9", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.postgres.kill()
			sleep(ctx, hold(5*time.Second, time.Second))
			return cl.postgres.start()
		}},
		{"network cut between a node and postgres", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[1].toDB.sever()
			sleep(ctx, hold(15*time.Second, 3*time.Second))
			cl.nodes[1].toDB.mend()
			return nil
		}},
	}
	if o.short {
		return list
	}
	return append(list, fault{"postgres restart", func(ctx context.Context, cl *cluster, _ *crowd) error {
		cl.postgres.end(syscall.SIGINT, 20*time.Second)
		return cl.postgres.start()
	}}, fault{"postgres disk full", diskFull}, chance(o, list))
}

// chance is random faults, several at once.
func chance(o options, list []fault) fault {
	return fault{"all at once, at random", func(ctx context.Context, cl *cluster, c *crowd) error {
		seed := o.seed
		if seed == 0 {
			seed = rand.Int64()
		}
		log.Printf("seed %d", seed)
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		ctx, cancel := context.WithTimeout(ctx, o.chaos)
		defer cancel()
		for ctx.Err() == nil {
			f := list[1+r.IntN(len(list)-1)]
			hit, done := context.WithTimeout(ctx, time.Duration(1+r.IntN(8))*time.Second)
			cut := time.Duration(r.IntN(3000)) * time.Millisecond
			go func() { // a second one on top
				sleep(hit, cut)
				c.members[0].disconnect()
				cl.nodes[0].toRedis.reset()
				cl.nodes[1].toDB.reset()
			}()
			if err := f.do(hit, cl, c); err != nil {
				log.Printf("%s: %v", f.name, err)
			}
			done()
			if err := cl.heal(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			sleep(ctx, time.Duration(r.IntN(4000))*time.Millisecond)
		}
		return nil
	}}
}

func flushAll(ctx context.Context, cl *cluster, _ *crowd) error {
	client, err := redisClient(cl)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	return client.FlushAll(ctx).Err()
}

// diskFull fills the file system that Postgres is on, if that is one of its
// own: it must not be the machine's.
func diskFull(ctx context.Context, cl *cluster, _ *crowd) error {
	filler := cl.dir + "/postgres/filler"
	var fs, root syscall.Statfs_t
	if err := syscall.Statfs(cl.dir+"/postgres", &fs); err != nil {
		return err
	}
	if err := syscall.Statfs("/", &root); err != nil {
		return err
	}
	if fs.Fsid == root.Fsid {
		return errOwnDisk
	}
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for {
		if _, err := f.Write(block); err != nil {
			break // full
		}
	}
	_ = f.Close()
	sleep(ctx, 10*time.Second)
	return os.Remove(filler)
}
