package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// LogTable is a table of messages that end with their retention. One column
// grows with time. On Postgres the table is partitioned by that column, a day
// each, and has a default partition named <table>_default; on SQLite expired
// rows are deleted in small steps, log by log.
type LogTable struct {
	Name string
	// Column orders the rows by time, and Bound gives its value at a moment.
	Column string
	Bound  func(time.Time) int64
	// Heads is the table with one row for each log, and Keys the columns that
	// name a log in both tables. Within a log, rows ordered by Order are also
	// in the order of Column.
	Heads string
	Keys  []string
	Order string
}

// Partitions are made this many days ahead, so that a housekeeping that fails
// for some days loses nothing. A node that starts makes one for the day before
// as well, so that a search through the last day need not look into the default
// partition; a sweep does not, because it may have just dropped it.
const daysAhead, daysBehind = 3, 1

// Retention keeps the sizes of message tables.
type Retention struct {
	db     *DB
	tables []LogTable
	now    func() time.Time
	log    *slog.Logger
	cursor map[string][]any // SQLite: the log up to which a table was swept
}

// NewRetention makes the keeper of tables.
func NewRetention(db *DB, now func() time.Time, log *slog.Logger, tables ...LogTable) *Retention {
	return &Retention{db: db, tables: tables, now: now, log: log, cursor: map[string][]any{}}
}

// Prepare makes the partitions for today, the day before and the days ahead. A
// node calls it before it takes messages, so that none lands in a default
// partition.
func (r *Retention) Prepare(ctx context.Context) error {
	return r.prepare(ctx, -daysBehind)
}

func (r *Retention) prepare(ctx context.Context, first int) error {
	if r.db.Dialect != Postgres {
		return nil
	}
	for i := range r.tables {
		if err := r.ahead(ctx, &r.tables[i], first); err != nil {
			return fmt.Errorf("store: partitions of %s: %w", r.tables[i].Name, err)
		}
	}
	return nil
}

// Sweep does one round: it makes partitions and removes what is older than
// keep, the longest retention of all apps. It returns how many partitions, or
// on SQLite rows, it removed. Reading does not depend on it: readers leave out
// what is past their app's retention.
func (r *Retention) Sweep(ctx context.Context, keep time.Duration) (removed int, err error) {
	if err := r.prepare(ctx, 0); err != nil {
		return 0, err
	}
	for i := range r.tables {
		t := &r.tables[i]
		sweep := r.deleteRows
		if r.db.Dialect == Postgres {
			sweep = r.dropPartitions
		}
		n, err := sweep(ctx, t, r.now().Add(-keep))
		removed += n
		if err != nil {
			return removed, fmt.Errorf("store: retention of %s: %w", t.Name, err)
		}
	}
	return removed, nil
}

const dayFormat = "20060102"

func (t *LogTable) partition(day time.Time) string { return t.Name + "_" + day.Format(dayFormat) }

// ahead makes the missing partitions of a table, beginning with that of the day
// first days from now. Nodes take turns by an advisory lock.
func (r *Retention) ahead(ctx context.Context, t *LogTable, first int) error {
	have, err := r.partitions(ctx, t)
	if err != nil {
		return err
	}
	exists := make(map[string]bool, len(have))
	for _, name := range have {
		exists[name] = true
	}
	today := r.now().UTC().Truncate(24 * time.Hour)
	for d := first; d <= daysAhead; d++ {
		day := today.AddDate(0, 0, d)
		if exists[t.partition(day)] {
			continue
		}
		if err := r.makePartition(ctx, t, day); err != nil {
			return err
		}
	}
	return nil
}

// makePartition makes one day's partition. Rows of that day that are in the
// default partition, because no housekeeping ran in time, move into it.
func (r *Retention) makePartition(ctx context.Context, t *LogTable, day time.Time) error {
	name, from, to := t.partition(day), t.Bound(day), t.Bound(day.AddDate(0, 0, 1))
	return r.db.Tx(ctx, func(tx *sql.Tx) error {
		for _, stmt := range []string{
			`SET LOCAL lock_timeout = '5s'`,
			`SELECT pg_advisory_xact_lock(hashtext('imserver retention'))`,
			`CREATE TABLE IF NOT EXISTS ` + name + ` (LIKE ` + t.Name + ` INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`,
		} {
			if _, err := tx.ExecContext(ctx, stmt); err != nil {
				return err
			}
		}
		var attached bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = to_regclass($1))`, name).Scan(&attached); err != nil || attached {
			return err // another node was faster
		}
		span := fmt.Sprintf(`%s >= %d AND %s < %d`, t.Column, from, t.Column, to)
		for _, stmt := range []string{
			`LOCK TABLE ` + t.Name + `_default IN ACCESS EXCLUSIVE MODE`,
			`WITH moved AS (DELETE FROM ` + t.Name + `_default WHERE ` + span + ` RETURNING *) INSERT INTO ` + name + ` SELECT * FROM moved`,
			fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`, t.Name, name, from, to),
		} {
			if _, err := tx.ExecContext(ctx, stmt); err != nil {
				return err
			}
		}
		return nil
	})
}

// partitions lists the names of a table's partitions.
func (r *Retention) partitions(ctx context.Context, t *LogTable) ([]string, error) {
	return Collect(ctx, r.db.Read, func(rows *sql.Rows, name *string) error { return rows.Scan(name) },
		`SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1) ORDER BY 1`, t.Name)
}

// dropPartitions drops the partitions that end before the cut-off, and what of
// the default partition is older. A partition in use is left for the next
// round: dropping waits for its lock only briefly, because everybody else
// would wait behind it.
func (r *Retention) dropPartitions(ctx context.Context, t *LogTable, before time.Time) (int, error) {
	names, err := r.partitions(ctx, t)
	if err != nil {
		return 0, err
	}
	dropped := 0
	for _, name := range names {
		day, err := time.Parse(dayFormat, strings.TrimPrefix(name, t.Name+"_"))
		if err != nil || day.AddDate(0, 0, 1).After(before) {
			continue
		}
		err = r.db.Tx(ctx, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '500ms'`); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, `DROP TABLE IF EXISTS `+name)
			return err
		})
		if isLockTimeout(err) {
			r.log.Info("a partition is in use and is dropped later", "table", name)
			continue
		}
		if err != nil {
			return dropped, err
		}
		dropped++
	}
	_, err = r.db.Write.ExecContext(ctx, `DELETE FROM `+t.Name+`_default WHERE `+t.Column+` < $1`, t.Bound(before))
	return dropped, err
}

func isLockTimeout(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55P03" // lock_not_available
}

// Steps of the sweep on SQLite: a transaction holds up the writers for some
// milliseconds.
const (
	logsPerStep  = 200
	rowsPerStep  = 500
	stepsPerCall = 50
)

// deleteRows removes expired rows, a bounded number of small transactions a
// call, going around the logs from call to call.
func (r *Retention) deleteRows(ctx context.Context, t *LogTable, before time.Time) (int, error) {
	removed := 0
	for range stepsPerCall {
		logs, err := r.nextLogs(ctx, t)
		if err != nil {
			return removed, err
		}
		for _, log := range logs {
			n, more := 0, true
			for more {
				if n, more, err = r.deleteOldest(ctx, t, log, t.Bound(before)); err != nil {
					return removed, err
				}
				removed += n
			}
		}
		if len(logs) < logsPerStep {
			delete(r.cursor, t.Name) // once around
			break
		}
		r.cursor[t.Name] = logs[len(logs)-1]
	}
	return removed, nil
}

// nextLogs returns the next logs in the order of their keys.
func (r *Retention) nextLogs(ctx context.Context, t *LogTable) ([][]any, error) {
	keys := strings.Join(t.Keys, ", ")
	query, args := `SELECT `+keys+` FROM `+t.Heads, r.cursor[t.Name]
	if len(args) > 0 {
		query += ` WHERE (` + keys + `) > ` + In(1, len(args))
	}
	return Collect(ctx, r.db.Read, func(rows *sql.Rows, key *[]any) error {
		ints, dest := make([]int64, len(t.Keys)), make([]any, len(t.Keys))
		for i := range ints {
			dest[i] = &ints[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for _, n := range ints {
			*key = append(*key, n)
		}
		return nil
	}, query+` ORDER BY `+keys+fmt.Sprintf(` LIMIT %d`, logsPerStep), args...)
}

// deleteOldest removes expired rows among the oldest of a log; more says that
// all it looked at were expired.
func (r *Retention) deleteOldest(ctx context.Context, t *LogTable, log []any, bound int64) (int, bool, error) {
	where := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		where[i] = fmt.Sprintf("%s = $%d", k, i+1)
	}
	of := strings.Join(where, " AND ")
	type row struct{ place, at int64 }
	rows, err := Collect(ctx, r.db.Read, func(rows *sql.Rows, v *row) error { return rows.Scan(&v.place, &v.at) },
		`SELECT `+t.Order+`, `+t.Column+` FROM `+t.Name+` WHERE `+of+` ORDER BY `+t.Order+fmt.Sprintf(` LIMIT %d`, rowsPerStep), log...)
	if err != nil {
		return 0, false, err
	}
	last, n := int64(0), 0
	for _, v := range rows {
		if v.at >= bound {
			break
		}
		last, n = v.place, n+1
	}
	if n == 0 {
		return 0, false, nil
	}
	args := append(append([]any{}, log...), last)
	_, err = r.db.Write.ExecContext(ctx, fmt.Sprintf(`DELETE FROM %s WHERE %s AND %s <= $%d`, t.Name, of, t.Order, len(args)), args...)
	return n, n == rowsPerStep, err
}

// DeleteOld removes up to limit rows of a table whose column is below bound,
// by the table's primary key columns; it returns how many there were.
func (db *DB) DeleteOld(ctx context.Context, table, column string, bound int64, keys []string, limit int) (int64, error) {
	list := strings.Join(keys, ", ")
	res, err := db.Write.ExecContext(ctx, `DELETE FROM `+table+` WHERE (`+list+`) IN (SELECT `+list+` FROM `+table+
		` WHERE `+column+` < $1 ORDER BY `+column+fmt.Sprintf(` LIMIT %d)`, limit), bound)
	if err != nil {
		return 0, fmt.Errorf("store: old rows of %s: %w", table, err)
	}
	return res.RowsAffected()
}
