package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// onPostgres is what happens to Postgres and on the way to it. A node without
// it says that it is not ready and refuses messages, at once.
func onPostgres(o options) []fault {
	return []fault{
		{"postgres restart", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.postgres.end(syscall.SIGINT, 20*time.Second)
			return cl.bringUp(ctx)
		}},
		{"postgres kill -9", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.postgres.kill()
			if err := cl.nodes[0].says(ctx, "not ready"); err != nil {
				return err
			}
			sleep(ctx, o.pick(5*time.Second, 0))
			return cl.bringUp(ctx)
		}},
		{"postgres connections cut", func(ctx context.Context, cl *cluster, _ *crowd) error {
			for range int(o.pick(10, 3)) {
				cl.nodes[0].toDB.reset()
				cl.nodes[1].toDB.reset()
				sleep(ctx, 500*time.Millisecond)
			}
			return nil
		}},
		{"postgres stopped, its connections open", func(ctx context.Context, cl *cluster, c *crowd) error {
			cl.postgres.signal(syscall.SIGSTOP)
			defer cl.postgres.signal(syscall.SIGCONT)
			for _, n := range cl.nodes {
				if err := n.says(ctx, "not ready"); err != nil {
					return err
				}
			}
			if err := c.refusedQuickly(ctx); err != nil {
				return err
			}
			sleep(ctx, o.pick(20*time.Second, 0))
			return nil
		}},
		{"postgres disk full", func(ctx context.Context, cl *cluster, _ *crowd) error {
			return diskFull(ctx, cl, o.pick(10*time.Second, 2*time.Second))
		}},
		{"a node and postgres: connections cut", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[1].toDB.sever()
			sleep(ctx, o.pick(15*time.Second, 2*time.Second))
			cl.nodes[1].toDB.mend()
			return nil
		}},
		{"a node and postgres: packets lost", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[1].toDB.stall()
			sleep(ctx, o.pick(20*time.Second, 5*time.Second))
			cl.nodes[1].toDB.mend()
			return nil
		}},
	}
}

// diskFull fills the file system that Postgres is on, if that is one of its
// own: it must not be the machine's.
func diskFull(ctx context.Context, cl *cluster, d time.Duration) error {
	var fs, root syscall.Statfs_t
	if err := syscall.Statfs(cl.dir+"/postgres", &fs); err != nil {
		return err
	}
	if err := syscall.Statfs("/", &root); err != nil {
		return err
	}
	if fs.Fsid == root.Fsid {
		return fmt.Errorf("%w: the data is on the machine's own file system (as root it is put on a small one in memory)", errNotHere)
	}
	f, err := os.Create(cl.dir + "/postgres/filler")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	for block := make([]byte, 1<<20); err == nil; { // until it is full
		_, err = f.Write(block)
	}
	for block := make([]byte, 4096); ; { // to the last page
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	_ = f.Close()
	sleep(ctx, d)
	return nil
}
