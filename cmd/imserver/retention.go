package main

import (
	"context"
	"errors"
	"time"

	"imserver/internal/store"
)

// retentionRound is how often expired messages are looked for.
const retentionRound = time.Minute

// secondsShift turns unix seconds into places of a one-to-one log (protocol 02
// §7: a place holds its message's second).
const secondsShift = 20

// keeper is the keeper of the message tables.
func (n *node) keeper() *store.Retention {
	return store.NewRetention(n.db, time.Now, n.log,
		store.LogTable{Name: "c2c_messages", Column: "seq", Bound: func(t time.Time) int64 { return t.Unix() << secondsShift },
			Heads: "c2c_pairs", Keys: []string{"lo", "hi"}, Order: "seq"},
		store.LogTable{Name: "group_messages", Column: "time", Bound: time.Time.Unix, Heads: "group_logs", Keys: []string{"log"}, Order: "seq"})
}

// longestRetention is how long some app keeps its messages.
func (n *node) longestRetention() (keep time.Duration) {
	for i := range n.config.Apps {
		keep = max(keep, n.config.Apps[i].Retention)
	}
	return keep
}

// retain removes what is past its retention, in rounds, until ctx ends.
func (n *node) retain(ctx context.Context) {
	keeper := n.keeper()
	tick := time.NewTicker(retentionRound)
	defer tick.Stop()
	for {
		if err := n.retainOnce(ctx, keeper); err != nil && !errors.Is(err, context.Canceled) {
			n.log.Error("removing expired messages failed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// retainOnce is one round: messages, then what belongs to groups' messages; what
// belongs to others is removed by housekeeping.
func (n *node) retainOnce(ctx context.Context, keeper *store.Retention) error {
	keep := n.longestRetention()
	if keep == 0 {
		return nil // no app
	}
	if _, err := keeper.Sweep(ctx, keep); err != nil {
		return err
	}
	before := time.Now().Add(-keep).Unix()
	if err := n.groupLog.Sweep(ctx, before); err != nil {
		return err
	}
	return n.groups.Sweep(ctx, before, sweepStep)
}
