package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // reads the embedded database's tables beside the server
)

// sample is what was found at one moment, by the gauge's name; of several
// nodes the sum.
type sample map[string]float64

// Names that the code below and the limits share.
const (
	heapObjects = "objects on the heap after GC"
	heapBytes   = "heap after GC, MiB"
	goroutines  = "goroutines"
	openFiles   = "open files"
	resident    = "resident memory, MiB"
	sockets     = "connections"
	devices     = "devices announced"
	liveRooms   = "live rooms"
	watching    = "live watchers"
	redisKeys   = "Redis keys that stay"
	redisShort  = "Redis keys that end within 15 minutes"
	redisMemory = "Redis memory, MiB"
	dbBytes     = "database, KiB a message"
	otherRows   = "rows of tables that are no logs"
	otherBytes  = "their size, MiB"
	deadRows    = "their dead rows"
	walBytes    = "SQLite's log, MiB"
	processor   = "processor, s"
	costEach    = "processor for a message stored and all that goes with it, ms"
	answerP50   = "answer p50, ms"
	answerP99   = "answer p99, ms"
	pushP99     = "push p99, ms"
	messages    = "messages stored"
)

const mebi = 1 << 20

// ofNode names the metrics that are gauges as they stand, and their unit.
var ofNode = map[string]struct {
	gauge string
	unit  float64
}{
	"process_open_fds":                 {openFiles, 1},
	"process_resident_memory_bytes":    {resident, mebi},
	"process_cpu_seconds_total":        {processor, 1},
	"imserver_connections":             {sockets, 1},
	"imserver_presence_devices":        {devices, 1},
	"imserver_live_rooms":              {liveRooms, 1},
	"imserver_live_watchers":           {watching, 1},
	"imserver_messages_appended_total": {messages, 1},
}

// lines calls fn with each line of a page of the node.
func lines(url string, fn func(line string)) error {
	res, err := http.Get(url) //nolint:gosec // our own server
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, mebi)
	for in.Scan() {
		fn(in.Text())
	}
	return in.Err()
}

// gauge adds what a node says of itself, after it has collected its garbage.
func (n *node) gauge(s sample) error {
	err := lines(n.profiles+"heap?gc=1&debug=1", func(line string) {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "# "), " = ")
		v, _ := strconv.ParseFloat(value, 64) // lines of other forms have other names
		switch name {
		case "HeapAlloc":
			s[heapBytes] += v / mebi
		case "HeapObjects":
			s[heapObjects] += v
		}
	})
	if err != nil {
		return err
	}
	// Gateways keep some workers that wait for work, bounded: they are left out.
	count := 0.0
	err = lines(n.profiles+"goroutine?debug=1", func(line string) {
		switch {
		case strings.Contains(line, " @ "):
			before, _, _ := strings.Cut(line, " @ ")
			count, _ = strconv.ParseFloat(before, 64)
			s[goroutines] += count
		case strings.HasPrefix(line, "#") && strings.Contains(line, "gateway.(*workers).run+") && count > 0:
			s[goroutines] -= count
		}
		if strings.HasPrefix(line, "#") {
			count = 0 // only the innermost function says what it does
		}
	})
	if err != nil {
		return err
	}
	return lines(strings.TrimSuffix(n.readiness, "/readyz")+"/metrics", func(line string) {
		series, value, _ := strings.Cut(line, " ")
		name, _, _ := strings.Cut(series, "{")
		if g, ok := ofNode[name]; ok {
			v, _ := strconv.ParseFloat(value, 64)
			s[g.gauge] += v / g.unit
		}
	})
}

// gauge looks at everything once.
func (c *cluster) gauge(ctx context.Context) (sample, error) {
	s := sample{}
	for _, n := range c.nodes {
		if err := n.gauge(s); err != nil {
			return s, err
		}
	}
	if c.postgres == nil {
		return s, c.gaugeSQLite(ctx, s)
	}
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(c.rdPort)})
	defer func() { _ = client.Close() }()
	if err := gaugeKeys(ctx, client, s); err != nil {
		return s, err
	}
	memory, err := client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return s, err
	}
	used, _ := strconv.ParseFloat(memory["Memory"]["used_memory"], 64)
	s[redisMemory] = used / mebi
	return s, c.gaugePostgres(ctx, s)
}

// gaugeKeys counts the keys of Redis: those that will end soon by themselves,
// of which there are as many as something happened lately, and the others.
func gaugeKeys(ctx context.Context, client *redis.Client, s sample) error {
	s[redisKeys], s[redisShort] = 0, 0
	for cursor := uint64(0); ; {
		keys, next, err := client.Scan(ctx, cursor, "*", 1000).Result()
		if err != nil {
			return err
		}
		pipe := client.Pipeline()
		lives := make([]*redis.DurationCmd, len(keys))
		for i, key := range keys {
			lives[i] = pipe.PTTL(ctx, key)
		}
		if _, err := pipe.Exec(ctx); err != nil && len(keys) > 0 {
			return err
		}
		for i, life := range lives {
			switch d := life.Val(); {
			case d == -2: // it has ended meanwhile
			case d < 0 || d > 15*time.Minute:
				s[redisKeys]++
				s["of them "+kindOf(keys[i])]++
			default:
				s[redisShort]++
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// kindOf is a key without what numbers it.
func kindOf(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, key)
}

// keptForTheirTime reports tables whose rows stay as long as messages or
// tickets are kept, whatever their users do.
func keptForTheirTime(table string) bool {
	for _, prefix := range []string{"c2c_messages", "group_messages", "c2c_deleted", "group_deleted", "group_quiet", "group_receipts", "group_at",
		"group_notices", "group_logs", "annotations", "message_", "sessions"} {
		if strings.HasPrefix(table, prefix) {
			return true
		}
	}
	return false
}

func (c *cluster) gaugePostgres(ctx context.Context, s sample) error {
	db, err := sql.Open("pgx", c.databaseURL("127.0.0.1:"+strconv.Itoa(c.pgPort)))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(ctx, `SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	total := 0.0
	for rows.Next() {
		var name string
		var live, dead, size float64
		if err := rows.Scan(&name, &live, &dead, &size); err != nil {
			return err
		}
		total += size
		s.table(name, live)
		s["dead rows of "+name], s["size of "+name] = dead, size/mebi
		if !keptForTheirTime(name) {
			s[deadRows] += dead
			s[otherBytes] += size / mebi
		}
	}
	s[dbBytes] = total / 1024 / max(s[messages], 1)
	return rows.Err()
}

func (s sample) table(name string, rows float64) {
	s["rows of "+name] = rows
	if !keptForTheirTime(name) {
		s[otherRows] += rows
	}
}

func (c *cluster) gaugeSQLite(ctx context.Context, s sample) error {
	path := filepath.Join(c.nodes[0].data, "imserver.db")
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	names, err := texts(ctx, db, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'`)
	if err != nil {
		return err
	}
	for _, name := range names {
		var count float64
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM `+name).Scan(&count); err != nil {
			return err
		}
		s.table(name, count)
	}
	var size float64
	if err := db.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`).Scan(&size); err != nil {
		return err
	}
	s[dbBytes] = size / 1024 / max(s[messages], 1)
	info, err := os.Stat(path + "-wal")
	if err == nil {
		s[walBytes] = float64(info.Size()) / mebi
	}
	return err
}

func texts(ctx context.Context, db *sql.DB, query string) (list []string, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, rows.Err()
}

// complaints are the warnings and errors in the logs of the nodes and of
// Postgres, each kind once.
func (c *cluster) complaints() (list []string) {
	known := map[string]int{}
	logs, _ := filepath.Glob(filepath.Join(c.dir, "*.log")) // the pattern is valid
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			continue // it is the server's to make it
		}
		text, _ := io.ReadAll(f)
		_ = f.Close()
		for line := range strings.Lines(string(text)) {
			kind := ""
			switch {
			case strings.Contains(line, `"level":"WARN"`), strings.Contains(line, `"level":"ERROR"`):
				_, kind, _ = strings.Cut(line, `"msg":"`)
				kind, _, _ = strings.Cut(kind, `"`)
			case strings.Contains(line, " ERROR: "), strings.Contains(line, " FATAL: "), strings.Contains(line, " PANIC: "):
				_, kind, _ = strings.Cut(line, "] ")
				kind = strings.TrimSpace(kind)
			}
			if kind == "" {
				continue
			}
			if known[kind]++; known[kind] == 1 {
				list = append(list, filepath.Base(path)+": "+strings.TrimSpace(line))
			}
		}
	}
	return list
}

// profile keeps the nodes' heap and goroutines at this moment, for the one who
// looks for what has grown.
func (c *cluster) profile(when string) error {
	for i, n := range c.nodes {
		for page, name := range map[string]string{"heap?gc=1": "heap", "goroutine?debug=1": "goroutines"} {
			res, err := http.Get(n.profiles + page) //nolint:gosec // our own server
			if err != nil {
				return err
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil {
				err = os.WriteFile(filepath.Join(c.dir, fmt.Sprintf("%s-%s-%d", name, when, i+1)), text, 0o600)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// middle is the median of a gauge over samples.
func middle(list []sample, name string) float64 {
	values := make([]float64, 0, len(list))
	for _, s := range list {
		values = append(values, s[name])
	}
	return median(values)
}

// timeout bounds what a sample may take.
const timeout = 30 * time.Second
