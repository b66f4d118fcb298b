package group

import (
	"context"
)

// Log is what the groups need of their message logs.
type Log interface {
	// AppendTip stores a tip as the next message of its group's log and
	// publishes it in order. It returns when it is stored.
	AppendTip(ctx context.Context, tip Tip) (seq int64, err error)
	// Heads returns the newest state of those logs that have anything, with
	// one query.
	Heads(ctx context.Context, logs []int64) (map[int64]Head, error)
	// Summaries returns what uid sees of the logs, with a fixed number of
	// queries; logs without anything visible are left out.
	Summaries(ctx context.Context, uid int64, views []View) (map[int64]Summary, error)
}
