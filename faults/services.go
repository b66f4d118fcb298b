package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// process is a program that is started, killed, stopped and started again.
type process struct {
	name string
	argv []string
	env  []string
	log  string
	as   *syscall.Credential
	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Dir = os.TempDir()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, // an interrupt is ours alone
		Credential: p.as, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // how it ended does not matter, only when
		_ = out.Close()
		close(done)
	}(p.cmd, p.done)
	return nil
}

// signal sends to the process and its children: those of Postgres have process
// groups of their own.
func (p *process) signal(s syscall.Signal) {
	parent := p.cmd.Process.Pid
	_ = syscall.Kill(parent, s) // it may have ended
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (name) state ppid …; the name may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			_ = syscall.Kill(pid, s)
		}
	}
}

// end sends a signal and waits up to d for the process to be gone, then kills.
func (p *process) end(s syscall.Signal, d time.Duration) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)
	select {
	case <-p.done:
	case <-time.After(d):
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// ended reports whether the process does not run.
func (p *process) ended() bool {
	if p.cmd == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// postgresBinary finds a server program of Postgres, wherever the packages put it.
func postgresBinary(name string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // the pattern is valid
	if len(found) > 0 {
		sort.Strings(found)
		return found[len(found)-1], nil
	}
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	return "", fmt.Errorf("no %s on this machine: scripts/services.sh up installs it", name)
}

// postgresUser is who runs Postgres when we are root, which it refuses to be.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(u.Uid) // numbers on every Unix
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// newPostgres makes a database cluster in dir, every commit synced.
func newPostgres(dir, log string, port int) (*process, error) {
	as, err := postgresUser()
	if err != nil {
		return nil, err
	}
	initdb, err := postgresBinary("initdb")
	if err != nil {
		return nil, err
	}
	server, err := postgresBinary("postgres")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// As root the data goes onto a file system of its own, in memory, so that a
	// full disk can be had without filling the machine's.
	if os.Getuid() == 0 && syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=700m,mode=0700") != nil {
		_ = os.Chmod(dir, 0o700) // no such rights here: diskFull will say so
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	init := exec.Command(initdb, "-D", data, "-A", "trust", "-U", "imserver", "-E", "UTF8", "--no-sync")
	init.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	init.Dir = os.TempDir()
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	return &process{name: "postgres", log: log, as: as, argv: []string{server, "-D", data, "-p", strconv.Itoa(port), "-h", "127.0.0.1", "-k", dir,
		"-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "max_wal_size=256MB"}}, nil
}

func newRedis(log string, port int) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("no redis-server on this machine: scripts/services.sh up installs it")
	}
	return &process{name: "redis", log: log, argv: []string{path, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}}, nil
}

// bringUp waits until Postgres takes statements, and starts it while it does
// not run: after a kill -9 it refuses to until its last child has gone.
func (c *cluster) bringUp(ctx context.Context) error {
	db, err := sql.Open("pgx", c.databaseURL("127.0.0.1:"+strconv.Itoa(c.pgPort)))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return eventually(ctx, 60*time.Second, func() error {
		if p := c.postgres; p.ended() {
			if err := p.start(); err != nil {
				return err
			}
		}
		return db.PingContext(ctx)
	})
}

// eventually calls fn until it succeeds or d is over.
func eventually(ctx context.Context, d time.Duration, fn func() error) error {
	deadline := time.Now().Add(d)
	for {
		err := fn()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
