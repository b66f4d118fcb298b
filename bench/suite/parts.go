package main

import (
	"cmp"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// table writes rows: what, the bare limit, the server, the ratio, the target.
type table struct{ s *suite }

func (s *suite) table(title string) table {
	fmt.Fprintf(&s.out, "\n### %s\n\n| what | bare limit | server | ratio | target | |\n|---|---|---|---|---|---|\n", title)
	return table{s}
}

// more is a row that should reach at least target times the bare limit.
func (t table) more(what, unit string, bare, server, target float64) {
	t.row(what, unit, bare, server, "≥", target, server >= target*bare)
}

// less is a row that should cost at most target times the bare limit.
func (t table) less(what, unit string, bare, server, target float64) {
	t.row(what, unit, bare, server, "≤", target, server <= target*bare)
}

func (t table) row(what, unit string, bare, server float64, sign string, target float64, met bool) {
	fmt.Fprintf(&t.s.out, "| %s | %s %s | %s %s | %.2f | %s %.2f | %s |\n", what, figure(bare), unit, figure(server), unit, server/bare, sign, target, mark(met))
}

// plain is a row with a target of its own; sign says which way.
func (t table) plain(what, unit string, server float64, sign string, target float64) {
	met := server >= target
	if sign == "≤" {
		met = server <= target
	}
	fmt.Fprintf(&t.s.out, "| %s | | %s %s | | %s %s %s | %s |\n", what, figure(server), unit, sign, figure(target), unit, mark(met))
}

// beside is a ratio without a target.
func (t table) beside(what, unit string, bare, server float64) {
	fmt.Fprintf(&t.s.out, "| %s | %s %s | %s %s | %.2f | | |\n", what, figure(bare), unit, figure(server), unit, server/bare)
}

// note is a row without a target.
func (t table) note(what, unit string, server float64) {
	fmt.Fprintf(&t.s.out, "| %s | | %s %s | | | |\n", what, figure(server), unit)
}

func mark(met bool) string {
	if met {
		return "met"
	}
	return "**not met**"
}

// figure shows three digits or so.
func figure(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// sqlite measures the embedded engine, and what does not depend on the engine.
func (s *suite) sqlite() error {
	t := s.table("Embedded engine (SQLite, every commit synced)")
	n, err := s.start(1, false)
	if err != nil {
		return err
	}
	defer n.stop()
	null, stop, err := s.null()
	if err != nil {
		return err
	}
	defer stop()
	c, way := s.chats(n), s.chats(null)
	for range turns {
		c.bare("rows64_rows_per_second", "sqlite", "--dir", s.dir, "rows64")
		c.chat(many)
		c.bare("lone_commit_ms", "sqlite", "--dir", s.dir, "one_row")
		c.chat(lone)
		way.chat(lone)
	}
	if err := cmp.Or(c.err, way.err); err != nil {
		return err
	}
	t.more("one-to-one, 20 pairs × 16 in flight, against 64-row commits", "/s", c.mean("rows64_rows_per_second"), c.rate(many), 0.6)
	t.less("a lone message, median, against one commit", "ms", c.mean("lone_commit_ms"), c.ack(lone).P50, 1.3)
	t.beside("the same commit, and a lone message's way to a server that only answers", "ms", c.mean("lone_commit_ms"), c.mean("lone_commit_ms")+way.ack(lone).P50)
	if err := s.logins(t, n); err != nil {
		return err
	}
	return s.groups(t, n)
}

// generator measures what the generator itself can drive: the chats of the
// other tables against a server that only answers.
func (s *suite) generator() error {
	t := s.table("The generator, against a server that only answers")
	n, stop, err := s.null()
	if err != nil {
		return err
	}
	defer stop()
	for _, inflight := range []string{"16", "1"} {
		f, err := s.bench(n, "c2c", "--inflight", inflight)
		if err != nil {
			return err
		}
		t.note("one-to-one, 20 pairs × "+inflight+" in flight", "/s", f.Rate)
		t.note("generator's time of a message", "µs", f.ClientCPU*1e6/max(f.Operations, 1))
	}
	return nil
}

// null starts the generator's own server, which does as good as nothing.
func (s *suite) null(args ...string) (n *nodes, stop func(), err error) {
	address, err := freeAddress()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(filepath.Join(s.dir, "imbench"), append([]string{"null", "--listen", address}, args...)...)
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	time.Sleep(500 * time.Millisecond) // it only listens
	return &nodes{cmds: []*exec.Cmd{cmd}, addresses: []string{address}}, func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, nil
}

// onPostgres measures the engine of production.
func (s *suite) onPostgres() error {
	t := s.table("Postgres, fsync on")
	n, err := s.start(1, true)
	if err != nil {
		return err
	}
	defer n.stop()
	if err := s.pairs(t, n, ""); err != nil {
		return err
	}
	bare, err := s.yardstick("postgres", "--database", n.database, "hundred_rows")
	if err != nil {
		return err
	}
	t.note("the bare limit of 100-row commits", "rows/s", bare["hundred_rows_rows_per_second"])
	hot, err := s.bench(n, "c2c", "--pairs", "1", "--inflight", "256")
	if err != nil {
		return err
	}
	t.plain("one hot conversation, in order", "/s", hot.Rate, "≥", 5000)
	if err := s.cold(t, n); err != nil {
		return err
	}
	if err := s.logins(t, n); err != nil {
		return err
	}
	return s.groups(t, n)
}

// cold measures the first message of conversations after a restart.
func (s *suite) cold(t table, n *nodes) error {
	const pairs, prefix = "300", "first"
	if _, err := s.bench(n, "login", "--devices", pairs, "--prefix", prefix); err != nil {
		return err
	}
	n.halt()
	if err := s.boot(n); err != nil {
		return err
	}
	f, err := s.bench(n, "c2c", "--cold", "--pairs", pairs, "--prefix", prefix)
	if err != nil {
		return err
	}
	t.plain("the first message of a conversation after a restart, p99 of "+pairs, "ms", f.Ack.P99, "≤", 20)
	return nil
}

// logins measures a storm of devices whose accounts exist.
func (s *suite) logins(t table, n *nodes) error {
	f, err := s.bench(n, "login", "--devices", strconv.Itoa(s.devices))
	if err != nil {
		return err
	}
	t.plain(fmt.Sprintf("login storm, %d devices at once, everything an SDK asks (14 requests)", s.devices), "logins/s", f.Rate, "≥", 1000)
	t.plain("devices of it that were not answered well", "", float64(f.Errors), "≤", 0)
	t.note("server time of a full login", "µs", f.PerOp)
	page, err := s.bench(n, "history", "--readers", "20", "--messages", "200")
	if err != nil {
		return err
	}
	t.note("history pages of 15", "/s", page.Rate)
	return nil
}

// groups measures delivery to the members of a group.
func (s *suite) groups(t table, n *nodes) error {
	for _, members := range []string{"100", "1000"} {
		bare, rate, lost, err := s.deliveries(n, members, "group", "--members", members)
		if err != nil {
			return err
		}
		t.more("group of "+members+" online, deliveries, against a bare broadcast", "/s", bare, rate, 0.8)
		if lost != 0 {
			t.plain("deliveries lost or out of order in it", "", float64(lost), "≤", 0)
		}
	}
	calm, err := s.bench(n, "group", "--rate", "40")
	if err != nil {
		return err
	}
	t.plain("group of 100 at 40 messages/s: p99, send to push", "ms", calm.Push.P99, "≤", 10)
	t.plain("processor share of that", "cores", calm.ServerCPU/calm.Seconds, "≤", 0.15)
	if err := s.crowd(t, n); err != nil {
		return err
	}
	return s.live(t, n)
}

// crowd measures what a message to members who are not there costs. The two
// groups take turns, because the same one scatters by a tenth and more.
func (s *suite) crowd(t table, n *nodes) error {
	var cost [2]float64
	for _, large := range []int{0, 1, 1, 0} {
		offline := []int{10, s.offline}[large]
		f, err := s.bench(n, "group", "--kind", "Community", "--members", "2", "--offline", strconv.Itoa(offline), "--rate", "200")
		if err != nil {
			return err
		}
		cost[large] += f.PerOp / 2
	}
	t.less(fmt.Sprintf("server time to accept a group message, %d offline members against 10", s.offline), "µs", cost[0], cost[1], 1.2)
	return nil
}

// live measures a live room.
func (s *suite) live(t table, n *nodes) error {
	for _, watchers := range []string{"10", "100", "1000"} {
		f, err := s.bench(n, "live", "--watchers", watchers)
		if err != nil {
			return err
		}
		t.note("live room, "+watchers+" watchers, 40 messages/s: server time of a delivery", "µs", f.PerDeliv)
	}
	watchers := strconv.Itoa(s.devices)
	calm, err := s.bench(n, "live", "--watchers", watchers)
	if err != nil {
		return err
	}
	t.plain("live room, "+watchers+" watchers, 40 messages/s: p99, send to push", "ms", calm.Push.P99, "≤", 500)
	t.plain("deliveries lost or out of order in it", "", float64(calm.Lost+calm.Disordered), "≤", 0)
	t.note("server time of a delivery in it", "µs", calm.PerDeliv)
	t.note("processor share of that", "cores", calm.ServerCPU/calm.Seconds)
	t.note("generator's time of a delivery in it", "µs", calm.ClientCPU*1e6/max(calm.Deliveries, 1))
	if err := s.rush(t, n, watchers); err != nil {
		return err
	}
	bare, rate, _, err := s.deliveries(n, watchers, "live", "--watchers", watchers, "--rate", "0") // what is beyond a room's limit may be lost
	if err != nil {
		return err
	}
	t.more("live room, "+watchers+" watchers, as fast as it goes: deliveries, against a frame for each message", "/s", bare, rate, 3)
	return nil
}

// deliveries measures a bare broadcast to as many sockets, and what a scenario
// delivers, by turns: the means of their rates, and how many deliveries of all
// turns were lost or out of order.
func (s *suite) deliveries(n *nodes, sockets, scenario string, args ...string) (bare, rate float64, lost int, err error) {
	for range turns {
		limit, err := s.yardstick("broadcast", "--sockets", sockets)
		if err != nil {
			return 0, 0, 0, err
		}
		f, err := s.bench(n, scenario, args...)
		if err != nil {
			return 0, 0, 0, err
		}
		bare += limit["deliveries_per_second"] / turns
		rate += f.DelivRate / turns
		lost += f.Lost + f.Disordered
	}
	return bare, rate, lost, nil
}

// rush measures a speaker while watchers come by thousands.
func (s *suite) rush(t table, n *nodes, newcomers string) error {
	f, err := s.bench(n, "live", "--watchers", "100", "--rate", "20", "--rush", newcomers, "--within", "3s")
	if err != nil {
		return err
	}
	t.less("a speaker's answer, median, while "+newcomers+" watchers come within 3 s, against before", "ms", f.Extra["ack_before_p50_ms"], f.Extra["ack_during_p50_ms"], 3)
	t.plain("p99 of it", "ms", f.Extra["ack_during_p99_ms"], "≤", 100)
	t.note("push to those there before, median, before", "ms", f.Extra["push_before_p50_ms"])
	t.note("the same while they come", "ms", f.Extra["push_during_p50_ms"])
	t.note("the same when they are there", "ms", f.Extra["push_after_p50_ms"])
	t.note("a newcomer's answer, p99", "ms", f.Extra["join_p99_ms"])
	t.plain("newcomers not let in, and messages lost or out of order", "", float64(f.Errors+f.Lost+f.Disordered), "≤", 0)
	return nil
}

// idle measures what a device costs in memory, on a server of its own.
func (s *suite) idle() error {
	t := s.table("Memory")
	count := strconv.Itoa(s.idlers)
	bare, err := s.yardstick("idle", "--sockets", count)
	if err != nil {
		return err
	}
	n, err := s.start(1, false)
	if err != nil {
		return err
	}
	defer n.stop()
	f, err := s.bench(n, "connect", "--devices", count, "--duration", "12s") // the server gives memory back meanwhile
	if err != nil {
		return err
	}
	t.less("an idle logged-in device, "+count+" of them, against a bare gorilla connection", "B", bare["bytes_per_connection"], f.Extra["bytes_per_device"], 0.6)
	return nil
}

// cluster measures two nodes against one on the same database and bus. They
// take turns, because each scatters by more than they differ.
func (s *suite) cluster() error {
	t := s.table("Two nodes on Postgres and Redis")
	var rates [2]float64
	wrong := 0
	for turn, count := range []int{1, 2, 2, 1, 1, 2} {
		n, err := s.start(count, true)
		if err != nil {
			return err
		}
		if turn == 1 {
			err = s.bus(t, n)
		}
		var f found
		if err == nil {
			f, err = s.bench(n, "group", "--members", "200")
		}
		n.stop()
		if err != nil {
			return err
		}
		rates[count-1] += f.DelivRate / 3
		wrong += f.Lost + f.Disordered
	}
	t.more("group of 200 online, deliveries, two nodes against one", "/s", rates[0], rates[1], 1)
	t.plain("deliveries lost or out of order", "", float64(wrong), "≤", 0)
	return nil
}

// bus counts what a group message costs Redis: a publication, and nothing for
// each member.
func (s *suite) bus(t table, n *nodes) error {
	f, err := s.bench(n, "group", "--members", "200", "--rate", "40", "--redis", s.redis)
	if err != nil {
		return err
	}
	t.plain("Redis commands a delivered group message, at 40/s, the nodes' own included", "", f.PerRedis, "≤", float64(1+len(n.cmds)))
	return nil
}
