package main

import (
	"context"
	"database/sql"
	"os"
	"time"

	"github.com/spf13/cobra"

	"imserver/internal/store"
)

func sqliteCommand(duration *time.Duration) *cobra.Command {
	var dir string
	cmd := &cobra.Command{Use: "sqlite [one_row] [rows64] [rows256]", Short: "Inserts into the messages table: 1, 64 and 256 rows a commit, each synced",
		ValidArgs: []string{"one_row", "rows64", "rows256"}, Args: cobra.OnlyValidArgs,
		RunE: func(cmd *cobra.Command, only []string) error {
			tmp, err := os.MkdirTemp(dir, "yardstick")
			if err != nil {
				return err
			}
			defer func() { _ = os.RemoveAll(tmp) }()
			db, err := store.Open(cmd.Context(), store.Options{Dir: tmp})
			if err != nil {
				return err
			}
			defer func() { _ = db.Close() }()
			if _, err := db.Migrate(cmd.Context()); err != nil {
				return err
			}
			f := figures{}
			var seq int64
			for _, y := range []struct {
				name string
				rows int
			}{{"one_row", 1}, {"rows64", 64}, {"rows256", 256}} {
				if !wanted(only, y.name) {
					continue
				}
				commits, seconds, err := fillSQLite(cmd.Context(), db, y.rows, &seq, *duration)
				if err != nil {
					return err
				}
				f[y.name+"_rows_per_second"] = float64(commits*y.rows) / seconds
				if y.rows == 1 {
					f["lone_commit_ms"] = seconds * 1000 / float64(commits)
				}
			}
			return f.print()
		}}
	cmd.Flags().StringVar(&dir, "dir", "", "folder on the disk to measure")
	return cmd
}

// fillSQLite inserts rows of 20 pairs, as many a commit as told, the way that
// costs SQLite least: one connection, one prepared statement.
func fillSQLite(ctx context.Context, db *store.DB, rows int, seq *int64, d time.Duration) (commits int, seconds float64, err error) {
	insert, err := db.Write.PrepareContext(ctx, `INSERT INTO c2c_messages (lo, hi, seq, sender, msg_seq, random, client_time, flags, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = insert.Close() }()
	base := time.Now().Unix() << 20
	start := time.Now()
	for time.Since(start) < d {
		err := db.Tx(ctx, func(tx *sql.Tx) error {
			stmt := tx.StmtContext(ctx, insert)
			for range rows {
				*seq++
				if _, err := stmt.ExecContext(ctx, *seq%20, 100, base+*seq, 100, *seq, *seq*7919%2_000_000_000, base>>20, 0, rowText); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		commits++
	}
	return commits, time.Since(start).Seconds(), nil
}
