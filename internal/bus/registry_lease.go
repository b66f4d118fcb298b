package bus

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// hashLife is how long a dead node's hashes wait for a survivor to read
	// them. With none, the next node that starts does it.
	hashLife = 24 * time.Hour
	// claimLife bounds how long one survivor keeps the others from reading.
	claimLife = 30 * time.Second
)

func (r *RedisRegistry) nodesKey() string { return r.opt.Prefix + "nodes" }

func (r *RedisRegistry) leaseKey(node string) string { return r.opt.Prefix + "n:" + node + ":lease" }

func (r *RedisRegistry) key(node string, bucket int) string {
	return r.opt.Prefix + "n:" + node + ":" + strconv.Itoa(bucket)
}

func bucketOf(uid int64) int { return int(uint64(uid) % leaseBuckets) }

// Close implements [Registry]. With Linger it only shortens the lease, and
// another node reads who did not come back.
func (r *RedisRegistry) Close() error {
	r.cancel()
	r.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), registryTimeout)
	defer cancel()
	if r.opt.Linger > 0 {
		if err := r.announce(ctx); err != nil {
			return err
		}
		return r.client.Set(ctx, r.leaseKey(r.node), "", r.opt.Linger).Err()
	}
	return r.withdraw(ctx, r.node)
}

// withdraw removes a node with all it announced.
func (r *RedisRegistry) withdraw(ctx context.Context, node string) error {
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for b := range leaseBuckets {
			p.Unlink(ctx, r.key(node, b))
		}
		p.Unlink(ctx, r.leaseKey(node))
		p.SRem(ctx, r.nodesKey(), node)
		return nil
	})
	return err
}

func (r *RedisRegistry) renewAndAnnounce() error {
	if err := r.renew(r.ctx); err != nil {
		clear(r.absent) // others may only have been as unlucky as this node
		return err
	}
	return r.announce(r.ctx)
}

// renew prolongs the lease and looks for nodes without one.
func (r *RedisRegistry) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	pipe := r.client.Pipeline()
	pipe.Set(ctx, r.leaseKey(r.node), "", r.opt.Lease)
	pipe.SAdd(ctx, r.nodesKey(), r.node)
	nodes := pipe.SMembers(ctx, r.nodesKey())
	var marks [leaseBuckets]*redis.BoolCmd
	for b := range marks {
		pipe.Expire(ctx, r.key(r.node, b), hashLife)
		marks[b] = pipe.HExists(ctx, r.key(r.node, b), marker)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	r.repeatLost(marks)
	return r.forgetDead(ctx, nodes.Val())
}

// repeatLost queues what was in hashes without their marker to be announced
// anew: Redis lost them, or another node took this one for dead.
func (r *RedisRegistry) repeatLost(marks [leaseBuckets]*redis.BoolCmd) {
	var lost [leaseBuckets]bool
	count := 0
	for b, m := range marks {
		if lost[b] = !m.Val(); lost[b] {
			count++
		}
	}
	if count == 0 {
		return
	}
	r.renewed.Add(float64(count))
	var again []int64
	for _, uid := range r.own.accounts() {
		if lost[bucketOf(uid)] {
			again = append(again, uid)
		}
	}
	r.mu.Lock()
	for b := range lost {
		r.unsaid[b] = r.unsaid[b] || lost[b]
	}
	for _, uid := range again {
		r.dirty[uid] = struct{}{}
	}
	r.gen++
	tell := r.tell
	r.mu.Unlock()
	if len(again) > 0 {
		tell(again)
	}
}

// forgetDead buries the nodes that have had no lease twice in a row. One that
// was only slow puts itself back when it renews.
func (r *RedisRegistry) forgetDead(ctx context.Context, nodes []string) error {
	pipe := r.client.Pipeline()
	alive := map[string]*redis.IntCmd{}
	for _, node := range nodes {
		if node != r.node {
			alive[node] = pipe.Exists(ctx, r.leaseKey(node))
		}
	}
	if len(alive) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for node, cmd := range alive {
		switch {
		case cmd.Val() != 0:
			delete(r.absent, node)
		case !r.absent[node]:
			r.absent[node] = true
		default:
			delete(r.absent, node)
			if err := r.bury(ctx, node); err != nil {
				return err
			}
		}
	}
	return nil
}

// bury removes a dead node, unless another survivor is about to, and tells
// whose devices were there.
func (r *RedisRegistry) bury(ctx context.Context, node string) error {
	claim := r.opt.Prefix + "n:" + node + ":claim"
	if mine, err := r.client.SetNX(ctx, claim, r.node, claimLife).Result(); err != nil || !mine {
		return err
	}
	pipe := r.client.Pipeline()
	var fields [leaseBuckets]*redis.StringSliceCmd
	for b := range fields {
		fields[b] = pipe.HKeys(ctx, r.key(node, b))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	var uids []int64
	for _, cmd := range fields {
		for _, field := range cmd.Val() {
			if uid, err := strconv.ParseInt(field, 10, 64); err == nil { // the marker is none
				uids = append(uids, uid)
			}
		}
	}
	if err := r.withdraw(ctx, node); err != nil {
		return err
	}
	r.buried.Inc()
	r.opt.Log.Info("a node is gone", "node", node, "accounts", len(uids))
	r.mu.Lock()
	tell := r.tell
	r.mu.Unlock()
	if len(uids) > 0 {
		tell(uids)
	}
	return nil
}

// Mark implements [Registry].
func (r *RedisRegistry) Mark(ctx context.Context, uids []int64, online bool) (changed []int64, err error) {
	for len(uids) > 0 && err == nil {
		n := min(len(uids), announceChunk)
		var part []int64
		part, err = r.mark(ctx, uids[:n], online)
		changed, uids = append(changed, part...), uids[n:]
	}
	return append(changed, uids...), err
}

func (r *RedisRegistry) mark(ctx context.Context, uids []int64, online bool) (changed []int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	pipe := r.client.Pipeline()
	cmds := make([]*redis.IntCmd, len(uids))
	for i, uid := range uids {
		key, field := r.opt.Prefix+"online:"+strconv.Itoa(bucketOf(uid)), strconv.FormatInt(uid, 10)
		if online {
			cmds[i] = pipe.HSet(ctx, key, field, "")
		} else {
			cmds[i] = pipe.HDel(ctx, key, field)
		}
	}
	_, err = pipe.Exec(ctx)
	for i, cmd := range cmds {
		if cmd.Err() != nil || cmd.Val() > 0 { // added, or removed
			changed = append(changed, uids[i])
		}
	}
	return changed, err
}
