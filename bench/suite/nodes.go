package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// key is the secret of the app under load.
const key = "a-secret-of-the-benchmark"

// nodes are server processes of one cluster.
type nodes struct {
	cmds      []*exec.Cmd
	addresses []string
	drop      func()
	database  string
	env       [][]string // of each process
}

func (n *nodes) url() string {
	var list []string
	for _, a := range n.addresses {
		list = append(list, "ws://"+a)
	}
	return strings.Join(list, ",")
}

// start runs count servers, on Postgres with a database of their own and on
// Redis when there are several, else on SQLite.
func (s *suite) start(count int, onPostgres bool) (*nodes, error) {
	n := &nodes{drop: func() {}}
	env := append(os.Environ(), "IMSERVER_APPS=1400000001:"+key, "IMSERVER_LOG_LEVEL=error", "IMSERVER_LIMITS_COMMAND_RATE=0", "IMSERVER_GROUP_RATE=0",
		"IMSERVER_LIMITS_COMMAND_CONCURRENCY=64")
	if onPostgres {
		if err := s.database(n); err != nil {
			return nil, err
		}
		env = append(env, "IMSERVER_DATABASE_URL="+n.database)
	}
	if count > 1 {
		if err := s.flush(); err != nil {
			return nil, err
		}
		env = append(env, "IMSERVER_REDIS_URL="+s.redis)
	}
	for range count {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		data, err := os.MkdirTemp(s.dir, "data")
		if err != nil {
			return nil, err
		}
		n.addresses, n.env = append(n.addresses, address), append(n.env, append(env[:len(env):len(env)], "IMSERVER_LISTEN="+address, "IMSERVER_DATA_DIR="+data))
	}
	return n, s.boot(n)
}

// boot starts the processes of n, the first time or again.
func (s *suite) boot(n *nodes) error {
	n.cmds = nil
	for i, address := range n.addresses {
		cmd := exec.Command(filepath.Join(s.dir, "imserver"))
		cmd.Env, cmd.Stderr = n.env[i], os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		n.cmds = append(n.cmds, cmd)
		if err := ready(address); err != nil {
			n.stop()
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

// halt ends the processes.
func (n *nodes) halt() {
	for _, cmd := range n.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	for _, cmd := range n.cmds {
		_ = cmd.Wait()
	}
}

// stop ends the servers and drops their database.
func (n *nodes) stop() {
	n.halt()
	n.drop()
}

// database makes an empty database and remembers how to drop it.
func (s *suite) database(n *nodes) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.postgres)
	if err != nil {
		return err
	}
	var fsync string
	if err := conn.QueryRow(ctx, "SHOW fsync").Scan(&fsync); err != nil {
		return err
	}
	if fsync != "on" { // tests have it so
		return errors.New("this Postgres does not sync its commits: IMSERVER_TEST_FSYNC=on scripts/services.sh up")
	}
	name := fmt.Sprintf("imserver_bench_%d", time.Now().UnixNano())
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return err
	}
	n.drop = func() {
		_, _ = conn.Exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)") // what is left does no harm
		_ = conn.Close(ctx)
	}
	u, err := url.Parse(s.postgres)
	if err != nil {
		return err
	}
	u.Path = "/" + name
	n.database = u.String()
	return nil
}

// settle lets Postgres finish what the run before has left it to do, which
// would otherwise be done during the next.
func (s *suite) settle(n *nodes) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, n.database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	for _, stmt := range []string{"VACUUM c2c_messages", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}

// flush empties Redis, where nodes would tidy up after those of an earlier run
// while their commands are counted.
func (s *suite) flush() error {
	o, err := redis.ParseURL(s.redis)
	if err != nil {
		return err
	}
	client := redis.NewClient(o)
	defer func() { _ = client.Close() }()
	return client.FlushDB(context.Background()).Err()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func ready(address string) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		res, err := http.Get("http://" + address + "/readyz") // our own server
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return fmt.Errorf("%s is not ready", address)
}
