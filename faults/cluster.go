package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"imserver/bench/loadgen"
)

const (
	appID  = 1400000001
	appKey = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e" // of the test cluster only
)

// cluster is Postgres, Redis and some nodes, each node behind links of its own.
type cluster struct {
	dir      string
	postgres *process
	redis    *process
	pgPort   int
	rdPort   int
	nodes    []*node
}

type node struct {
	*process
	port           int
	toDB, toRedis  *proxy
	url, readiness string
	profiles       string // where its Go profiles are
	data           string // its folder
	clock          string // file that moves its clock; "" if the binary has none that can be moved
}

func newCluster(ctx context.Context, binary string, count int) (*cluster, error) {
	return openCluster(ctx, binary, count, (*cluster).startServices)
}

// newEmbedded is a single node with SQLite.
func newEmbedded(ctx context.Context, binary string) (*cluster, error) {
	return openCluster(ctx, binary, 1, func(*cluster, context.Context) error { return nil })
}

func openCluster(ctx context.Context, binary string, count int, services func(*cluster, context.Context) error) (c *cluster, err error) {
	dir, err := os.MkdirTemp("", "imserver-faults-")
	if err != nil {
		return nil, err
	}
	c = &cluster{dir: dir}
	defer func() {
		if err != nil {
			c.close(false)
		}
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as somebody else
		return c, err
	}
	own := binary == ""
	if own {
		binary = filepath.Join(dir, "imserver")
		if err := build(ctx, binary); err != nil {
			return c, err
		}
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return c, err
	}
	if err := services(c, ctx); err != nil {
		return c, err
	}
	for i := range count {
		n, err := c.newNode(binary, i)
		if err != nil {
			return c, err
		}
		c.nodes = append(c.nodes, n)
		if own {
			n.clock = filepath.Join(dir, fmt.Sprintf("clock-%d", i+1))
			n.env = append(n.env, "FAULTS_CLOCK="+n.clock)
		}
		if err := n.start(); err != nil {
			return c, err
		}
		if err := n.await(ctx); err != nil {
			return c, err
		}
	}
	log.Printf("%d nodes, data and logs in %s", count, dir)
	return c, nil
}

// build makes the server from this tree, with a clock that can be moved.
func build(ctx context.Context, binary string) error {
	out, err := exec.CommandContext(ctx, "go", "build", "-tags", "movableclock", "-o", binary, "./cmd/imserver").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w: %s", err, out)
	}
	return nil
}

func (c *cluster) startServices(ctx context.Context) (err error) {
	if c.pgPort, err = freePort(); err != nil {
		return err
	}
	if c.rdPort, err = freePort(); err != nil {
		return err
	}
	if c.postgres, err = newPostgres(filepath.Join(c.dir, "postgres"), filepath.Join(c.dir, "postgres.log"), c.pgPort); err != nil {
		return err
	}
	if c.redis, err = newRedis(filepath.Join(c.dir, "redis.log"), c.rdPort); err != nil {
		return err
	}
	if err := c.redis.start(); err != nil {
		return err
	}
	return c.bringUp(ctx)
}

func (c *cluster) databaseURL(address string) string {
	return "postgres://imserver@" + address + "/postgres?sslmode=disable"
}

func (c *cluster) newNode(binary string, i int) (*node, error) {
	n := &node{}
	var err error
	if n.port, err = freePort(); err != nil {
		return nil, err
	}
	profiles, err := freePort()
	if err != nil {
		return nil, err
	}
	address := "127.0.0.1:" + strconv.Itoa(n.port)
	n.url, n.readiness, n.profiles = "ws://"+address, "http://"+address+"/readyz", "http://127.0.0.1:"+strconv.Itoa(profiles)+"/debug/pprof/"
	n.data = filepath.Join(c.dir, fmt.Sprintf("node-%d", i+1))
	n.process = &process{name: "node " + strconv.Itoa(i+1), argv: []string{binary}, log: n.data + ".log", env: []string{
		"IMSERVER_LISTEN=" + address, "IMSERVER_DATA_DIR=" + n.data, "IMSERVER_PPROF=127.0.0.1:" + strconv.Itoa(profiles),
		fmt.Sprintf("IMSERVER_APPS=%d:%s", appID, appKey), "IMSERVER_GROUP_RATE=0", "IMSERVER_LOG_FORMAT=json",
	}}
	if c.postgres == nil {
		return n, nil
	}
	if n.toDB, err = newProxy("127.0.0.1:" + strconv.Itoa(c.pgPort)); err != nil {
		return nil, err
	}
	if n.toRedis, err = newProxy("127.0.0.1:" + strconv.Itoa(c.rdPort)); err != nil {
		return nil, err
	}
	n.env = append(n.env, "IMSERVER_DATABASE_URL="+c.databaseURL(n.toDB.address()), "IMSERVER_REDIS_URL=redis://"+n.toRedis.address()+"/0")
	return n, nil
}

// await waits until the node is ready.
func (n *node) await(ctx context.Context) error { return n.says(ctx, "ready") }

// says waits until the node reports a state: ready, degraded or not ready.
func (n *node) says(ctx context.Context, state string) error {
	client := http.Client{Timeout: 5 * time.Second}
	err := eventually(ctx, 60*time.Second, func() error {
		res, err := client.Get(n.readiness)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(io.LimitReader(res.Body, 200))
		if err != nil {
			return err
		}
		if good := res.StatusCode == http.StatusOK; !strings.HasPrefix(string(text), state) || good == (state == "not ready") {
			return fmt.Errorf("it answers %d %q", res.StatusCode, text)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s is not %s: %w", n.name, state, err)
	}
	return nil
}

// target is where a user's client goes first: of every two pairs the one is on
// one node, the other on two.
func (c *cluster) target(i int) loadgen.Target {
	n := i / 4 // both of a pair
	if i%4 > 1 {
		n = i
	}
	return loadgen.Target{URL: c.nodes[n%len(c.nodes)].url, App: appID, Key: appKey}
}

// heal brings everything back that a fault may have left broken.
func (c *cluster) heal(ctx context.Context) error {
	for _, n := range c.nodes {
		n.toDB.mend()
		n.toRedis.mend()
		if n.clock != "" {
			_ = os.Remove(n.clock) // it may not be there
		}
	}
	c.postgres.signal(syscall.SIGCONT)
	c.redis.signal(syscall.SIGCONT)
	if c.redis.ended() {
		if err := c.redis.start(); err != nil {
			return err
		}
	}
	if err := c.bringUp(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		n.signal(syscall.SIGCONT)
		if n.ended() {
			if err := n.start(); err != nil {
				return err
			}
		}
		if err := n.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) close(keep bool) {
	for _, n := range c.nodes {
		if n.cmd != nil {
			n.signal(syscall.SIGCONT)
			n.end(syscall.SIGTERM, 12*time.Second)
		}
		if n.toDB != nil {
			n.toDB.close()
			n.toRedis.close()
		}
	}
	for _, p := range []*process{c.redis, c.postgres} {
		if p != nil && p.cmd != nil {
			p.signal(syscall.SIGCONT)
			p.end(syscall.SIGINT, 10*time.Second)
		}
	}
	_ = syscall.Unmount(filepath.Join(c.dir, "postgres"), syscall.MNT_DETACH) // if it was mounted
	if keep {
		log.Printf("data and logs stay in %s", c.dir)
		return
	}
	_ = os.RemoveAll(c.dir) // a temporary folder
}
