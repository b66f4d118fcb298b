package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// onNodes is what happens to server processes.
func onNodes(o options) []fault {
	return []fault{
		{"node SIGKILL", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[1].kill()
			sleep(ctx, o.pick(10*time.Second, 2*time.Second))
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
		{"node SIGSTOP and SIGCONT", func(ctx context.Context, cl *cluster, _ *crowd) error {
			cl.nodes[0].signal(syscall.SIGSTOP)
			sleep(ctx, o.pick(20*time.Second, 3*time.Second))
			cl.nodes[0].signal(syscall.SIGCONT)
			return nil
		}},
		{"clock of a node back by 5 s", func(ctx context.Context, cl *cluster, _ *crowd) error {
			return cl.nodes[0].clockBack(ctx, o.pick(10*time.Second, 2*time.Second))
		}},
	}
}

// clockBack makes the node's clock jump back, lets it run there for a time and
// puts it right, which is a jump forwards.
func (n *node) clockBack(ctx context.Context, d time.Duration) error {
	if n.clock == "" {
		return fmt.Errorf("%w: the clock of a given binary cannot be moved", errNotHere)
	}
	if err := os.WriteFile(n.clock, []byte("-5s"), 0o600); err != nil {
		return err
	}
	sleep(ctx, d)
	return os.Remove(n.clock)
}
