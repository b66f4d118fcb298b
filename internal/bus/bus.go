// Package bus is what crosses nodes: publishing to topics, and the liveness
// of what lies between. The embedded default has one node and nothing to
// cross; a cluster uses Redis. The bus is not a record: what it loses is
// fetched again from the store.
package bus

import (
	"context"
	"errors"
)

// ErrDown says that the bus cannot be reached now.
var ErrDown = errors.New("bus: not reachable")

// Handler receives what another node published to a topic that this node
// subscribes to. Calls for one topic come one after the other, in the order
// each node published; a handler must not block.
type Handler func(topic string, payload []byte)

// Bus joins the nodes of a cluster.
type Bus interface {
	// Publish sends payload to every other node that subscribes to topic; the
	// publishing node does not get its own. It queues and returns: payloads
	// of one topic from one node arrive in order, or not at all when the bus
	// is down (then Handler users are told through the reset function).
	Publish(topic string, payload []byte)

	// Subscribe starts, and Unsubscribe ends, the node's interest in a topic.
	// Both return at once; interest is restored after a lost connection.
	Subscribe(topic string)
	Unsubscribe(topic string)

	// Settle waits until every Subscribe that returned before the call is in
	// effect on the bus: what other nodes publish from then on arrives. The
	// login path calls it between joining its topics and answering, so that
	// nothing is lost in between. When the bus is away it returns ErrDown at
	// once: the reset function will be called when it is back. Otherwise only
	// the end of ctx is an error.
	Settle(ctx context.Context) error

	// Listen sets who receives and who is told that publications may have
	// been lost while the bus was away (it is back when reset is called).
	// It is called once, before the first Subscribe.
	Listen(handler Handler, reset func())

	// Ping reports whether the bus works now.
	Ping(ctx context.Context) error
	// Up is what is known without asking: false from when a connection was
	// lost until everything is subscribed again.
	Up() bool
	// Close ends it.
	Close() error
}

// Local is the bus of a single node: there is no other node to reach.
type Local struct{}

// Publish does nothing: no other node exists.
func (Local) Publish(string, []byte) {}

// Subscribe does nothing.
func (Local) Subscribe(string) {}

// Unsubscribe does nothing.
func (Local) Unsubscribe(string) {}

// Settle returns at once.
func (Local) Settle(context.Context) error { return nil }

// Listen does nothing.
func (Local) Listen(Handler, func()) {}

// Ping always succeeds.
func (Local) Ping(context.Context) error { return nil }

// Up returns true.
func (Local) Up() bool { return true }

// Close does nothing.
func (Local) Close() error { return nil }
