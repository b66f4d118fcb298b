package bus

import "context"

// DieForTest ends the node without a goodbye, at the end of its lease.
func (r *RedisRegistry) DieForTest(ctx context.Context) {
	r.cancel()
	r.running.Wait()
	for b := range leaseBuckets {
		r.client.Del(ctx, r.key(r.node, b))
	}
}
