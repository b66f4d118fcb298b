// Package store is the database engine: connections, transactions, the
// dialect, migrations, the group-commit writer and retention. It knows no
// domain: a domain's SQL stands in the domain's package, beside the function
// that runs it, in one portable text for both engines ($1 placeholders,
// ON CONFLICT, RETURNING).
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the embedded engine, pure Go
)

// Dialect tells the engines apart where a statement must be written twice.
type Dialect uint8

// The two engines.
const (
	SQLite Dialect = iota
	Postgres
)

// String returns the engine's name.
func (d Dialect) String() string {
	if d == Postgres {
		return "postgres"
	}
	return "sqlite"
}

// Options say where the database is.
type Options struct {
	// URL is a postgres:// address; empty means SQLite in Dir.
	URL string
	// Dir holds the embedded database file; made if missing.
	Dir string
	// MaxConns bounds the Postgres pool; 0 means 4 per core, at least 16.
	MaxConns int
	// OnAway, if set, is told when Postgres ceases to answer and when it
	// answers again; see [ErrAway]. It must not block.
	OnAway func(away bool)
	// OnWait, if set, is told what Open waits for, if it has to.
	OnWait func(err error)
	// OnStatement, if set, is told of every statement before it is run: what a
	// command costs is how many there are.
	OnStatement func(statement string)
}

// DB is an open database. Reads go to Read; every write goes through Write or
// Tx. On SQLite Write is a single connection, because the engine has a single
// writer, and Read are others that see committed state (WAL).
type DB struct {
	Dialect Dialect
	Read    *sql.DB
	Write   *sql.DB
	// Append are native Postgres connections for the statements of the
	// group-commit writers; nil on SQLite. See openPlanned.
	Append *pgxpool.Pool

	// Lists are connections for queries about a list, see [Among]; on
	// SQLite Read. Their statements are planned once, see openPlanned.
	Lists *sql.DB

	pools []*pgxpool.Pool // under all of these; none on SQLite
	stop  func()          // ends what watches over Postgres; nil on SQLite
}

// Open connects and waits up to 30 s for a Postgres that is still starting;
// one that refuses is an error at once. It does not migrate; see Migrate.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.URL == "" {
		return openSQLite(o)
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("the database URL is malformed") // pgx's text may quote the password
	}
	conns := o.MaxConns
	if conns == 0 {
		conns = max(16, 4*runtime.NumCPU())
	}
	writers, lists := max(1, min(conns/4, maxPlanned)), min(conns/4, maxPlanned)
	cfg.MaxConns = int32(conns - writers - lists)
	cfg.MaxConnLifetime = time.Hour
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	if o.OnStatement != nil {
		cfg.ConnConfig.Tracer = tracer(o.OnStatement)
	}
	w := newWatch(cfg.ConnConfig)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := await(ctx, pool, o.OnWait); err != nil {
		pool.Close()
		return nil, err
	}
	db := &DB{Dialect: Postgres, Read: stdlib.OpenDBFromPool(pool), pools: []*pgxpool.Pool{pool}}
	db.Write, db.Lists = db.Read, db.Read
	if db.Append, err = db.openPlanned(ctx, cfg, writers); err == nil && lists > 0 {
		var listing *pgxpool.Pool
		if listing, err = db.openPlanned(ctx, cfg, lists); err == nil {
			db.Lists = stdlib.OpenDBFromPool(listing)
		}
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	db.stop = w.start(func(away bool) {
		for _, p := range db.pools {
			p.Reset() // their connections are gone
		}
		if o.OnAway != nil {
			o.OnAway(away)
		}
	})
	return db, nil
}

// Writers is how many commits of one [Batcher] may be under way at once. SQLite
// has one writer.
func (db *DB) Writers() int {
	if db.Dialect == SQLite {
		return 1
	}
	return 2
}

// maxPlanned is how many connections the writers have, and the lists: two
// batches of one-to-one messages and two of groups are under way at most.
const maxPlanned = 4

// openPlanned opens connections for a few statements that take arrays of every
// length. Postgres would plan them anew each time, which costs more than a
// small batch's rows do. So each is planned once, and without statistics to go
// by: by index and by nested loop, which is right at any size.
func (db *DB) openPlanned(ctx context.Context, cfg *pgxpool.Config, conns int) (*pgxpool.Pool, error) {
	cfg = cfg.Copy()
	cfg.MaxConns = int32(conns)
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off`)
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db.pools = append(db.pools, pool)
	return pool, nil
}

func openSQLite(o Options) (*DB, error) {
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	path := filepath.Join(o.Dir, "imserver.db")
	open := func(mode string, conns int, pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_pragma": append([]string{"busy_timeout(10000)", "journal_mode(WAL)", "foreign_keys(ON)"}, pragmas...)}
		if mode != "" {
			q.Set("_txlock", mode)
		}
		// Escaped, because a #, ? or % in a folder's name would end or change the path.
		db, err := openKeeping("file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode(), o.OnStatement)
		if err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db, nil
	}
	// FULL syncs every commit: what is acknowledged survives a power cut. Of a
	// log of 8,192 pages, 32 MB, a checkpoint copies far fewer pages for each
	// message than of the usual 1,000: the newest are written again and again.
	write, err := open("immediate", 1, "synchronous(FULL)", "cache_size(-32000)", "wal_autocheckpoint(8192)")
	if err != nil {
		return nil, err
	}
	if err := writable(write); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	read, err := open("", max(4, runtime.NumCPU()), "query_only(ON)")
	if err != nil {
		return nil, err
	}
	return &DB{Dialect: SQLite, Read: read, Write: write, Lists: read}, nil
}

// writable returns why a database cannot be written: SQLite opens a file that
// it may only read without a word, and begins transactions there.
func writable(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`CREATE TABLE writable (x INTEGER)`)
	return errors.Join(err, tx.Rollback())
}

// Close closes the connections.
func (db *DB) Close() error {
	if db.stop != nil {
		db.stop()
	}
	err := db.Read.Close()
	if db.Write != db.Read {
		err = errors.Join(err, db.Write.Close())
	}
	if db.Lists != db.Read {
		err = errors.Join(err, db.Lists.Close())
	}
	for _, pool := range db.pools {
		pool.Close()
	}
	return err
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.Read.PingContext(ctx) }
