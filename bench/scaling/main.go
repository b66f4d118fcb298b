// Command scaling computes what a load needs of nodes, Postgres and Redis from
// what one device, one message and one delivery were measured to cost, and
// says which part is the first that more machines of its kind do not help.
// docs/scaling.md explains the model and shows its output.
package main

import (
	"flag"
	"fmt"
	"math"
	"os"
	"text/tabwriter"
)

// load is what the users do.
type load struct {
	devices  float64
	messages float64 // per second
	group    float64 // share of messages that go to groups
	members  float64 // online members of the group a message goes to
	logins   float64 // per second, in ordinary times
	size     float64 // bytes of a stored message, indexes included
	days     float64 // retention
}

// costs are measured ones, of one core of the machine of docs/performance.md.
type costs struct {
	deviceBytes   float64 // memory of an idle logged-in device
	deliveryMicro float64 // server time of a delivery to a socket
	sendMicro     float64 // server time of accepting a message
	loginMicro    float64 // server time of a full login
	rowMicro      float64 // database time of a message in a large batch, all cores together
	loginDBMicro  float64 // database time of a full login
	publishMicro  float64 // Redis time of a publication, and of its arrival at one node
}

// machines are what it runs on.
type machines struct {
	nodeCores, nodeGiB float64
	dbCores            float64
	use                float64 // share of a machine that may be used
}

func main() {
	var l load
	var c costs
	var m machines
	for _, p := range []struct {
		v     *float64
		name  string
		value float64
		usage string
	}{
		{&l.devices, "devices", 1e6, "devices online"},
		{&l.messages, "messages", 1e5, "messages per second"},
		{&l.group, "group-share", 0.3, "share of the messages that go to groups"},
		{&l.members, "members", 50, "online members of the group that a message goes to"},
		{&l.logins, "logins", 2000, "logins per second"},
		{&l.size, "row-bytes", 500, "bytes of a stored message, indexes included"},
		{&l.days, "days", 7, "days that messages are kept"},
		{&c.deviceBytes, "device-bytes", 10_000, "memory of an idle device"},
		{&c.deliveryMicro, "delivery-us", 3, "server time of a delivery, µs"},
		{&c.sendMicro, "send-us", 60, "server time of accepting a message, µs"},
		{&c.loginMicro, "login-us", 850, "server time of a full login, µs"},
		{&c.rowMicro, "row-us", 25, "database time of a message, µs"},
		{&c.loginDBMicro, "login-db-us", 700, "database time of a full login, µs"},
		{&c.publishMicro, "publish-us", 5, "Redis time of a publication or an arrival, µs"},
		{&m.nodeCores, "node-cores", 16, "cores of a node"},
		{&m.nodeGiB, "node-gib", 64, "memory of a node"},
		{&m.dbCores, "db-cores", 32, "cores of a Postgres server"},
		{&m.use, "use", 0.5, "share of a machine that may be used"},
	} {
		flag.Float64Var(p.v, p.name, p.value, p.usage)
	}
	flag.Parse()
	report(l, c, m)
}

func report(l load, c costs, m machines) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { _, _ = fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	toGroups := l.messages * l.group
	deliveries := l.messages*(1-l.group) + toGroups*l.members
	row("deliveries", "%.0f/s", deliveries)

	cores := (l.messages*c.sendMicro + deliveries*c.deliveryMicro + l.logins*c.loginMicro) / 1e6
	byCPU := math.Ceil(cores / (m.nodeCores * m.use))
	byMemory := math.Ceil(l.devices * c.deviceBytes / (m.nodeGiB * m.use * (1 << 30)))
	nodes := max(byCPU, byMemory, 2)
	row("nodes", "%.0f (%.0f cores; by processor %.0f, by memory %.0f)", nodes, cores, byCPU, byMemory)

	db := (l.messages*c.rowMicro + l.logins*c.loginDBMicro) / 1e6
	row("Postgres", "%.0f cores, %.0f servers or shards", db, math.Ceil(db/(m.dbCores*m.use)))
	row("  log written", "%.0f MB/s", l.messages*l.size*2/1e6) // the row and its indexes, once in the log and once in the files
	row("  stored", "%.1f TB for %.0f days", l.messages*l.size*86400*l.days/1e12, l.days)

	// A one-to-one message is published to the receiver's topic and reaches the
	// node or two that hold his devices; a group's reaches every node that has
	// a member, which for large groups is all.
	spread := nodes * (1 - math.Pow(1-1/nodes, l.members))
	arrivals := l.messages*(1-l.group)*2 + toGroups*spread
	redis := (l.messages*2 + arrivals) * c.publishMicro / 1e6
	row("Redis", "%.1f cores, each a shard: %.0f", redis, math.Ceil(redis/m.use))
	row("  publications and arrivals", "%.0f/s", l.messages*2+arrivals)
	_ = w.Flush()

	fmt.Println()
	one := m.dbCores * m.use * 1e6 / c.rowMicro
	fmt.Printf("First wall: one Postgres server takes %.0f messages/s; beyond that the log is sharded by conversation.\n", one)
	fmt.Printf("Second wall: one Redis process carries %.0f one-to-one messages/s; beyond that a Redis Cluster with sharded publishing.\n", m.use*1e6/(4*c.publishMicro))
	fmt.Printf("No wall: one group's sequence is one row, so one group takes what one commit stream takes; the limit of 40/s is far below.\n")
}
