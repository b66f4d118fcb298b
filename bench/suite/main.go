// Command suite runs a short set of yardsticks and scenarios on both engines
// and writes what they found into docs/performance.md, each figure beside the
// bare limit that was measured in the same minute. make bench runs it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	s := suite{}
	flag.IntVar(&s.seconds, "seconds", 5, "time for each measurement")
	flag.IntVar(&s.devices, "devices", 5000, "devices of the login storm, and watchers of the live room")
	flag.IntVar(&s.idlers, "idle", 19_000, "idle devices of the measurement of memory; the generator and the server have a file open for each")
	flag.IntVar(&s.offline, "offline", 10_000, "offline members of the large group")
	flag.StringVar(&s.doc, "doc", "docs/performance.md", "page to write the tables into; empty = standard output")
	flag.StringVar(&s.only, "only", "", "generator, sqlite, memory, postgres, disks or cluster; empty = all")
	flag.Parse()
	if err := s.run(); err != nil {
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

// suite holds the settings and what was found so far.
type suite struct {
	seconds, devices, idlers, offline int
	doc, only                         string

	dir      string // of binaries and data, gone at the end
	postgres string // address of a server in which databases may be made
	redis    string
	out      strings.Builder
}

func (s *suite) run() (err error) {
	s.postgres, s.redis = os.Getenv("IMSERVER_TEST_POSTGRES_URL"), os.Getenv("IMSERVER_TEST_REDIS_URL")
	if s.dir, err = os.MkdirTemp("", "imserver-bench"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	for _, name := range []string{"./cmd/imserver", "./cmd/imbench", "./bench/yardstick"} {
		if out, err := exec.Command("go", "build", "-o", s.dir, name).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // for the reader; not every system has it
	fmt.Fprintf(&s.out, "Measured %s by `make bench`, %d s each, other load on the machine at the start: %s.\n",
		time.Now().UTC().Format("2006-01-02 15:04"), s.seconds, strings.Join(strings.Fields(string(load))[:1], ""))
	for _, part := range []struct {
		name string
		run  func() error
	}{{"generator", s.generator}, {"sqlite", s.sqlite}, {"memory", s.idle}, {"postgres", s.onPostgres}, {"disks", s.slowDisks}, {"cluster", s.cluster}} {
		if s.only != "" && s.only != part.name {
			continue
		}
		if (part.name == "postgres" || part.name == "cluster") && s.postgres == "" {
			fmt.Fprintf(os.Stderr, "%s: left out, IMSERVER_TEST_POSTGRES_URL is not set\n", part.name)
			continue
		}
		if e := part.run(); e != nil { // what was measured so far is still worth writing
			err = errors.Join(err, fmt.Errorf("%s: %w", part.name, e))
		}
	}
	return errors.Join(err, s.write())
}

const (
	begin = "<!-- make bench writes from here -->"
	end   = "<!-- to here -->"
)

// write puts the tables between the marks of the page. Where it cannot, it
// prints them: they took half an hour.
func (s *suite) write() (err error) {
	defer func() {
		if s.doc == "" || err != nil {
			fmt.Print(s.out.String())
		}
	}()
	if s.doc == "" {
		return nil
	}
	page, err := os.ReadFile(s.doc)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s has no marks to write between", s.doc)
	}
	return os.WriteFile(s.doc, []byte(before+begin+"\n\n"+s.out.String()+"\n"+end+after), 0o644) // a page for everybody
}

// tool runs one of the programs and decodes the JSON it prints.
func (s *suite) tool(v any, name string, args ...string) error {
	fmt.Fprintln(os.Stderr, name, strings.Join(args, " "))
	cmd := exec.Command(filepath.Join(s.dir, name), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return json.Unmarshal(out, v)
}

func (s *suite) yardstick(args ...string) (f map[string]float64, err error) {
	return f, s.tool(&f, "yardstick", append(args, "--duration", s.time())...)
}

func (s *suite) time() string { return strconv.Itoa(s.seconds) + "s" }

// found is what imbench prints.
type found struct {
	Rate       float64            `json:"rate"`
	Operations float64            `json:"operations"`
	DelivRate  float64            `json:"delivery_rate"`
	Errors     int                `json:"errors"`
	Lost       int                `json:"lost"`
	Disordered int                `json:"disordered"`
	Ack        latency            `json:"ack"`
	Push       latency            `json:"push"`
	ServerCPU  float64            `json:"server_cpu_seconds"`
	Seconds    float64            `json:"seconds"`
	PerOp      float64            `json:"server_us_per_operation"`
	PerDeliv   float64            `json:"server_us_per_delivery"`
	PerRedis   float64            `json:"redis_commands_per_operation"`
	ClientCPU  float64            `json:"client_cpu_seconds"`
	Deliveries float64            `json:"deliveries"`
	Extra      map[string]float64 `json:"extra"`
}

type latency struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func (s *suite) bench(n *nodes, scenario string, args ...string) (f found, err error) {
	args = append([]string{scenario, "--url", n.url(), "--key", key, "--pid", strconv.Itoa(n.cmds[0].Process.Pid), "--json", "--quiet", "--duration", s.time()}, args...)
	return f, s.tool(&f, "imbench", args...)
}
