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
	"strings"
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

	// Lists are connections for queries about a list, see [DB.Among]; on
	// SQLite Read. Their statements are planned once, see openPlanned.
	Lists *sql.DB

	pools []*pgxpool.Pool // under all of these; none on SQLite
	stop  func()          // ends what watches over Postgres; nil on SQLite
}

// Open connects and waits up to 30 s for a Postgres that is still starting.
// It does not migrate; see Migrate.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.URL == "" {
		return openSQLite(o)
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("store: the database URL is malformed") // pgx's text may quote the password
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
	deadline := time.Now().Add(30 * time.Second)
	for {
		err = pool.Ping(ctx)
		if err == nil {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			pool.Close()
			return nil, fmt.Errorf("store: database does not answer: %w", err)
		}
		time.Sleep(250 * time.Millisecond)
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
	if err := write.Ping(); err != nil {
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	read, err := open("", max(4, runtime.NumCPU()), "query_only(ON)")
	if err != nil {
		return nil, err
	}
	return &DB{Dialect: SQLite, Read: read, Write: write, Lists: read}, nil
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

// Tx runs fn in a write transaction and commits it, or rolls back when fn
// fails. A transaction that the engine aborted for a conflict (deadlock,
// serialization) is run again, up to 5 times, so fn must have no other effects.
func (db *DB) Tx(ctx context.Context, fn func(tx *sql.Tx) error) error {
	var err error
	for try := 0; try < 5; try++ {
		if err = db.once(ctx, fn); !isConflict(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try+1) * 5 * time.Millisecond):
		}
	}
	return err
}

func (db *DB) once(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := db.Write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	return nil
}

// Snapshot runs fn in a transaction whose queries all see the same moment. It
// takes no locks and writes nothing.
func (db *DB) Snapshot(ctx context.Context, fn func(q Querier) error) error {
	tx, err := db.Read.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("store: begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return fn(tx)
}

// ForUpdate is the clause that locks selected rows until the transaction ends;
// empty on SQLite, whose write transactions exclude each other anyway.
func (db *DB) ForUpdate() string {
	if db.Dialect == Postgres {
		return " FOR UPDATE"
	}
	return ""
}

// In returns "($n,$n+1,…)" for count placeholders from $first on. Lists are
// bounded by the commands' limits, so the statement cache stays small.
func In(first, count int) string {
	var b strings.Builder
	b.WriteByte('(')
	for i := range count {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", first+i)
	}
	b.WriteByte(')')
	return b.String()
}

// Args turns a slice into arguments for In, after the leading ones.
func Args[T any](list []T, leading ...any) []any {
	args := make([]any, 0, len(leading)+len(list))
	args = append(args, leading...)
	for _, v := range list {
		args = append(args, v)
	}
	return args
}

// Among returns a condition that a column is in the list, "IN (…)" or
// "= ANY (…)", to stand behind its name, and its arguments, the first of which
// is $first. On Postgres the statement is the same for every length of the
// list, on SQLite for some lengths, see Padded. The list must not be empty.
func Among[T any](db *DB, first int, list []T) (condition string, args []any) {
	if db.Dialect == Postgres {
		return fmt.Sprintf("= ANY ($%d)", first), []any{list}
	}
	list = Padded(list)
	return "IN " + In(first, len(list)), Args(list)
}

// Querier is what queries need: *sql.DB or *sql.Tx.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Collect runs a query and scans every row with scan.
func Collect[T any](ctx context.Context, q Querier, scan func(rows *sql.Rows, v *T) error, query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []T
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}
