package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"imserver/migrations"
)

// Migrate brings the schema to the newest version and returns that version.
// Several nodes may start at once: on Postgres an advisory lock lets one
// migrate while the others wait.
func (db *DB) Migrate(ctx context.Context) (int64, error) {
	dialect, dir := goose.DialectSQLite3, migrations.SQLite
	var opts []goose.ProviderOption
	if db.Dialect == Postgres {
		dialect, dir = goose.DialectPostgres, migrations.Postgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return 0, fmt.Errorf("store: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.Write, dir, opts...)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	if _, err := p.Up(ctx); err != nil && !errors.Is(err, goose.ErrNoMigrations) {
		return 0, fmt.Errorf("store: migrate: %w", err)
	}
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return version, nil
}
