package bus_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"imserver/internal/bus"
	"imserver/internal/bus/bustest"
)

// freePorts returns n ports that nobody listens on, each with the one 10000
// above it, which the nodes of a Redis Cluster talk to each other by.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for port := 21000 + os.Getpid()%9000; len(ports) < n; port++ {
		if port > 32000 {
			t.Fatal("no free ports")
		}
		if isFree(port) && isFree(port+10000) {
			ports = append(ports, port)
		}
	}
	return ports
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// mustServer starts a Redis of the test's own; the test is skipped where there
// is none to start. The result ends it.
func mustServer(t *testing.T, port int, args ...string) (kill func()) {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	dir := t.TempDir()
	if len(args) > 0 && strings.HasSuffix(args[0], ".conf") {
		dir = filepath.Dir(args[0])
	}
	args = append(args, "--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir, "--logfile", filepath.Join(dir, "log"))
	cmd := exec.Command(path, args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	t.Cleanup(kill)
	c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	t.Cleanup(func() { _ = c.Close() })
	eventually(t, "Redis answers", func() bool { err := c.Ping(t.Context()).Err(); return err == nil || bus.Refused(err) })
	return kill
}

// mustCluster starts a Redis Cluster of three nodes and returns its URL.
func mustCluster(t *testing.T) string {
	t.Helper()
	ports := freePorts(t, 3)
	startCluster(t, ports)
	return clusterURL(ports)
}

func clusterURL(ports []int) string {
	var hosts []string
	for _, port := range ports {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return "redis://" + strings.Join(hosts, ",")
}

func startCluster(t *testing.T, ports []int) {
	t.Helper()
	var clients []*redis.Client
	for _, port := range ports {
		mustServer(t, port, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-config-file", "nodes.conf")
		c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
		t.Cleanup(func() { _ = c.Close() })
		clients = append(clients, c)
	}
	for i, c := range clients {
		first, last := i*16384/3, (i+1)*16384/3-1
		if err := c.ClusterAddSlotsRange(t.Context(), first, last).Err(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := c.ClusterMeet(t.Context(), "127.0.0.1", fmt.Sprint(ports[0])).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range clients {
		eventually(t, "the cluster is whole", func() bool {
			info := c.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
}

// Ensure that the bus and the registry work on a Redis Cluster, where the bus
// uses sharded pub/sub: the tests of a single Redis, run there.
func TestRedisCluster(t *testing.T) {
	t.Setenv(bustest.RedisVar, mustCluster(t))
	b := mustNode(t, bustest.Client(t), bus.RedisOptions{Prefix: bustest.Prefix()})
	b.mustSettle(t)
	if !b.Sharded() {
		t.Error("the bus has not noticed that the cluster has sharded pub/sub")
	}
	t.Run("Order", TestRedisOrder)
	t.Run("Reconciles", TestRedisReconciles)
	t.Run("Reconnects", TestRedisReconnects)
	t.Run("Overflow", TestRedisOverflow)
	t.Run("Registry", TestRedisRegistry)
	t.Run("Lease", TestRegistryLease)
	t.Run("Linger", TestRegistryLinger)
	t.Run("Mark", TestRegistryMark)
}

// Ensure that after the master that Sentinels watch has died the nodes find
// the new one by themselves: they are told of what they may have missed,
// publications arrive again, and everybody's presence is known again.
func TestRedisSentinel(t *testing.T) {
	ports := freePorts(t, 5)
	kill := mustServer(t, ports[0])
	mustServer(t, ports[1], "--replicaof", "127.0.0.1", fmt.Sprint(ports[0]))
	var sentinels []string
	for _, port := range ports[2:] {
		conf := filepath.Join(t.TempDir(), "sentinel.conf")
		text := fmt.Sprintf("sentinel monitor main 127.0.0.1 %d 2\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n", ports[0])
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mustServer(t, port, conf, "--sentinel")
		sentinels = append(sentinels, fmt.Sprintf("127.0.0.1:%d", port))
	}
	s := redis.NewSentinelClient(&redis.Options{Addr: sentinels[0]})
	t.Cleanup(func() { _ = s.Close() })
	eventually(t, "the Sentinels know each other and the replica", func() bool {
		peers, err1 := s.Sentinels(t.Context(), "main").Result()
		replicas, err2 := s.Replicas(t.Context(), "main").Result()
		return err1 == nil && err2 == nil && len(peers) == 2 && len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	c := bustest.Dial(t, "redis://"+strings.Join(sentinels, ",")+"?master_name=main")
	opt := bus.RedisOptions{Prefix: bustest.Prefix()}
	a, b := mustNode(t, c, opt), mustNode(t, c, opt)
	r := mustRegistry(t, c, bus.RegistryOptions{Prefix: opt.Prefix, Lease: 2 * time.Second})
	far := mustRegistry(t, c, bus.RegistryOptions{Prefix: opt.Prefix, Lease: 2 * time.Second})
	r.Arrive(bus.Instance{UID: 7, Inst: 1})
	b.Subscribe("g")
	b.mustSettle(t)
	a.Publish("g", []byte("before"))
	eventually(t, "a publication before", func() bool { return len(b.received("g")) == 1 })
	old := masterOf(t.Context(), s)

	kill()
	patiently(t, "another master", func() bool { m := masterOf(t.Context(), s); return m != "" && m != old })
	patiently(t, "the subscriber is told", func() bool { return b.resets.Load() > 0 })
	patiently(t, "a publication after", func() bool {
		a.Publish("g", []byte("after"))
		return len(b.received("g")) > 1
	})
	patiently(t, "presence after", func() bool {
		online, err := far.Online(t.Context(), []int64{7})
		return err == nil && len(online) == 1
	})
}

func masterOf(ctx context.Context, s *redis.SentinelClient) string {
	addr, err := s.GetMasterAddrByName(ctx, "main").Result()
	if err != nil {
		return ""
	}
	return strings.Join(addr, ":")
}

// patiently is eventually for what takes the Sentinels a vote.
func patiently(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
