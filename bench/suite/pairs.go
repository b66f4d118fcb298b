package main

import "cmp"

// turns is how often a bare limit and what stands beside it are measured, one
// after the other: the machine's speed changes within a minute by more than
// most changes of the server bring, and what is measured once beside a limit
// that was measured once may be off by a third.
const turns = 3

// The chats, by their numbers in flight.
const (
	many = "20 pairs × 16 in flight"
	few  = "20 pairs × 1 in flight"
	lone = "a lone message"
)

// chats collects what the turns find. After an error nothing more is measured.
type chats struct {
	s      *suite
	n      *nodes
	limits map[string][]float64 // by the yardstick's names
	found  map[string][]found   // by chat
	err    error
}

func (s *suite) chats(n *nodes) *chats {
	return &chats{s: s, n: n, limits: map[string][]float64{}, found: map[string][]found{}}
}

// bare measures a limit.
func (c *chats) bare(name string, args ...string) {
	if c.err != nil {
		return
	}
	var f map[string]float64
	if f, c.err = c.s.yardstick(args...); c.err != nil {
		return
	}
	c.limits[name] = append(c.limits[name], f[name])
}

// chat measures the server.
func (c *chats) chat(name string) {
	args := map[string][]string{many: nil, few: {"--inflight", "1"}, lone: {"--pairs", "1", "--inflight", "1"}}[name]
	if c.err != nil {
		return
	}
	var f found
	if f, c.err = c.s.bench(c.n, "c2c", args...); c.err != nil {
		return
	}
	c.found[name] = append(c.found[name], f)
}

// settle lets the database end what it has put off.
func (c *chats) settle() {
	if c.err == nil {
		c.err = c.s.settle(c.n)
	}
}

// mean is a limit's, of all turns.
func (c *chats) mean(name string) (sum float64) {
	for _, v := range c.limits[name] {
		sum += v / float64(len(c.limits[name]))
	}
	return sum
}

// of is the mean of something the chat's turns found.
func (c *chats) of(name string, what func(found) float64) (sum float64) {
	for _, f := range c.found[name] {
		sum += what(f) / float64(len(c.found[name]))
	}
	return sum
}

// rate is messages a second.
func (c *chats) rate(name string) float64 {
	return c.of(name, func(f found) float64 { return f.Rate })
}

// ack is the time from sending to the answer, means of the turns' percentiles.
func (c *chats) ack(name string) latency {
	return latency{
		P50: c.of(name, func(f found) float64 { return f.Ack.P50 }),
		P99: c.of(name, func(f found) float64 { return f.Ack.P99 }),
	}
}

// pairs measures one-to-one messages against the bare commits of the same
// database: many in flight, few, and a single one; and the latter two of a
// server that does nothing but store texts, by group commit, and pass them on.
func (s *suite) pairs(t table, n *nodes, suffix string) error {
	const rows, commit = "one_row_rows_per_second", "lone_commit_ms"
	null, stop, err := s.null("--database", n.database)
	if err != nil {
		return err
	}
	defer stop()
	c, ceiling := s.chats(n), s.chats(null)
	for range turns {
		c.settle()
		c.bare(rows, "postgres", "--database", n.database, "one_row")
		c.settle()
		c.chat(many)
		c.settle()
		c.chat(few)
		ceiling.chat(few)
		c.bare(commit, "postgres", "--database", n.database, "lone_commit")
		c.chat(lone)
		ceiling.chat(lone)
	}
	if err := cmp.Or(c.err, ceiling.err); err != nil {
		return err
	}
	perOp := func(f found) float64 { return f.PerOp }
	t.more("one-to-one, "+many+", against one-row commits of 20 sessions"+suffix, "/s", c.mean(rows), c.rate(many), 2)
	t.note("server time of a message there", "µs", c.of(many, perOp))
	t.more("one-to-one, "+few+", against the same"+suffix, "/s", c.mean(rows), c.rate(few), 0.8)
	t.note("server time of a message there", "µs", c.of(few, perOp))
	t.plain("p99 of that, send to answer", "ms", c.ack(few).P99, "≤", 15)
	t.less("a lone message, median, against one commit"+suffix, "ms", c.mean(commit), c.ack(lone).P50, 1.3)
	t.beside(few+" over a server that only stores, in groups, and answers", "/s", c.mean(rows), ceiling.rate(few))
	t.note("server time of a message there", "µs", ceiling.of(few, perOp))
	t.beside("a lone message there", "ms", c.mean(commit), ceiling.ack(lone).P50)
	return nil
}
