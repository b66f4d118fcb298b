package storetest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"imserver/internal/store"
	"imserver/migrations"
)

// Migrating takes longer than most tests do. So it is done once, on SQLite for
// each process and on Postgres for each server, and tests get copies.

// sqliteFiles are those of a migrated database that is closed.
var sqliteFiles = sync.OnceValues(func() (files fstest.MapFS, err error) {
	dir, err := os.MkdirTemp("", "imserver-storetest")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := migrate(context.Background(), store.Options{Dir: dir}); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files = fstest.MapFS{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		files[e.Name()] = &fstest.MapFile{Data: data, Mode: 0o600}
	}
	return files, nil
})

func migrate(ctx context.Context, o store.Options) error {
	db, err := store.Open(ctx, o)
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	if e := db.Close(); err == nil {
		err = e
	}
	return err
}

// postgresTemplate is what a database of the server is made from to be migrated.
// The database that is copied is made if there is none of these migrations yet;
// processes that want it at the same time wait for each other.
var postgresTemplate = sync.OnceValues(func() (template string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	name, err := templateName()
	if err != nil {
		return "", err
	}
	server := os.Getenv(PostgresVar)
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close(ctx) }() // and the lock with it
	var there, strategies bool
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtext($1))`, name); err != nil {
		return "", err
	}
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1), current_setting('server_version_num')::int >= 150000`, name).
		Scan(&there, &strategies); err != nil {
		return "", err
	}
	template = name
	if strategies { // older ones copy files always; to log each page takes ten times as long
		template += ` STRATEGY file_copy`
	}
	if there {
		return template, nil
	}
	unfinished := name + "_unfinished"
	for _, statement := range []string{`DROP DATABASE IF EXISTS ` + unfinished + ` WITH (FORCE)`, `CREATE DATABASE ` + unfinished + ` TEMPLATE template0`} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return "", err
		}
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + unfinished
	if err := migrate(ctx, store.Options{URL: u.String(), MaxConns: 4}); err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, `ALTER DATABASE `+unfinished+` RENAME TO `+name)
	return template, err
})

// templateName tells migrations apart by what is in them.
func templateName() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(migrations.Postgres, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(migrations.Postgres, path)
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", path, len(data), data) // a hash takes everything
		return err
	})
	return fmt.Sprintf("migrated_%x", sum.Sum(nil)[:8]), err
}
