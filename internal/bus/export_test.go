package bus

import "context"

// DieForTest ends the node without a goodbye, at the end of its lease.
func (r *RedisRegistry) DieForTest(ctx context.Context) {
	r.cancel()
	r.running.Wait()
	r.client.Del(ctx, r.leaseKey(r.node))
}

// BuryForTest makes r take another node for dead.
func (r *RedisRegistry) BuryForTest(ctx context.Context, other *RedisRegistry) error {
	return r.bury(ctx, other.node)
}

// Sharded reports whether the bus uses sharded pub/sub.
func (b *Redis) Sharded() bool { return pubsub(b.kind.Load()) == sharded }
