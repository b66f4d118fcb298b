// Package ratelimit decides which messages of a group pass when more are sent
// than the group's limit per second: the more important ones (protocol 03
// §12.1).
//
// # The rule
//
// Seconds are aligned: second n is [n, n+1) of one clock, Redis' in a cluster.
// At most limit messages pass in any of them. A second in which more were
// sent makes the following one guarded; so do near misses for two seconds
// more, that a load around the limit does not flap.
//
//   - In an unguarded second messages pass at once until the limit is reached;
//     the rest is dropped at once. A group under its limit is always here.
//   - In a guarded second High messages pass at once until the limit is
//     reached, and the others are held back until 0.85 s of it: what High left
//     goes to Normal, then Low, then Lowest, at random among equals.
//   - What comes later in an exceeded second counts to the next one: High
//     messages wait for its start, the others for its decision. So every
//     message is decided within a second, and a High one is dropped only when
//     more High ones than the limit came within one second.
package ratelimit

import "context"

// Priority is the MsgPriority of a group message; smaller is more important.
type Priority uint8

// Priorities, the most important first.
const (
	High Priority = iota
	Normal
	Low
	Lowest

	priorities = 4
)

// Limiter admits the messages of groups.
type Limiter interface {
	// Admit decides about one message of the group key, of which limit may
	// pass in a second; 0 is no limit. It calls done exactly once: possibly
	// before it returns, at the latest about a second later, and on any
	// goroutine; done must not block. The decision is taken even if ctx ends
	// meanwhile, because it was counted.
	Admit(ctx context.Context, key int64, p Priority, limit int, done func(admitted bool))
}
