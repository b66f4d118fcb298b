package main

import (
	"context"
	"errors"
	"log"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is something that goes wrong. do returns when it is over or left for
// heal to mend; an error is a finding, unless it is errNotHere.
type fault struct {
	name string
	do   func(ctx context.Context, cl *cluster, c *crowd) error
}

// errNotHere says that a fault cannot be brought about on this machine.
var errNotHere = errors.New("not done here")

// faults lists what happens, the short form or all of it.
func faults(o options) []fault {
	list := slices.Concat([]fault{{"nothing", func(ctx context.Context, _ *cluster, _ *crowd) error {
		sleep(ctx, o.pick(5*time.Second, time.Second))
		return nil
	}}}, onClients(o), onNodes(o), onRedis(o), onPostgres(o))
	if o.short {
		return list
	}
	return append(list, chance(o, list))
}

// onClients is what happens to the clients' side.
func onClients(o options) []fault {
	return []fault{{"client sockets cut", func(ctx context.Context, _ *cluster, c *crowd) error {
		for range int(o.pick(40, 10)) {
			c.members[rand.IntN(len(c.members))].disconnect()
			sleep(ctx, 200*time.Millisecond)
		}
		return nil
	}}}
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
			hit, done := context.WithTimeout(ctx, time.Duration(1+r.IntN(8))*time.Second)
			f, second, cut := list[1+r.IntN(len(list)-1)], r.IntN(len(c.members)), time.Duration(r.IntN(3000))*time.Millisecond
			log.Printf("  %s", f.name)
			go func() { // others on top
				sleep(hit, cut)
				c.members[second].disconnect()
				cl.nodes[0].toRedis.reset()
				cl.nodes[1].toDB.reset()
			}()
			if err := f.do(hit, cl, c); err != nil {
				log.Printf("  %s: %v", f.name, err) // what it expects does not hold beside others
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
