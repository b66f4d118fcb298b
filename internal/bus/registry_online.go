package bus

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Online implements [Registry].
func (r *RedisRegistry) Online(ctx context.Context, uids []int64) (map[int64][]Instance, error) {
	online, _ := r.own.Online(ctx, uids) // never fails
	nodes, err := r.client.SMembers(ctx, r.nodesKey()).Result()
	if err != nil {
		return online, err
	}
	for len(uids) > 0 {
		n := min(len(uids), onlineBatch)
		if err := r.lookUp(ctx, nodes, uids[:n], online); err != nil {
			return online, err
		}
		uids = uids[n:]
	}
	return online, nil
}

// lookUp adds what other nodes announced, in one round trip.
func (r *RedisRegistry) lookUp(ctx context.Context, nodes []string, uids []int64, online map[int64][]Instance) error {
	var fields [leaseBuckets][]string
	var byBucket [leaseBuckets][]int64
	for _, uid := range uids {
		b := bucketOf(uid)
		fields[b] = append(fields[b], strconv.FormatInt(uid, 10))
		byBucket[b] = append(byBucket[b], uid)
	}
	type answer struct {
		bucket int
		cmd    *redis.SliceCmd
		lease  *redis.IntCmd
	}
	var answers []answer
	pipe := r.client.Pipeline()
	for _, node := range nodes {
		if node == r.node {
			continue
		}
		lease := pipe.Exists(ctx, r.leaseKey(node))
		for b := range fields {
			if len(fields[b]) > 0 {
				answers = append(answers, answer{b, pipe.HMGet(ctx, r.key(node, b), fields[b]...), lease})
			}
		}
	}
	if len(answers) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	for _, a := range answers {
		if a.lease.Val() == 0 {
			continue // dead, and not yet buried
		}
		for i, v := range a.cmd.Val() {
			if s, ok := v.(string); ok {
				uid := byBucket[a.bucket][i]
				online[uid] = mergeInstances(online[uid], uid, s)
			}
		}
	}
	return nil
}

// encodeInstances writes a field's value: inst:class pairs.
func encodeInstances(list []Instance) string {
	var b []byte
	for i, d := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(d.Inst), 10)
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(d.Class), 10)
	}
	return string(b)
}

// mergeInstances adds to list what s holds and list has not. An instance that
// moved between nodes may be announced by both for a moment.
func mergeInstances(list []Instance, uid int64, s string) []Instance {
next:
	for pair := range strings.SplitSeq(s, ",") {
		a, b, _ := strings.Cut(pair, ":")
		inst, err1 := strconv.ParseUint(a, 10, 32)
		class, err2 := strconv.ParseUint(b, 10, 8)
		if err1 != nil || err2 != nil {
			continue
		}
		for _, d := range list {
			if d.Inst == uint32(inst) {
				continue next
			}
		}
		list = append(list, Instance{UID: uid, Inst: uint32(inst), Class: uint8(class)})
	}
	return list
}
