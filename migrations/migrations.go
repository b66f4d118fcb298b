// Package migrations holds the schema, one directory an engine, embedded. The
// files are numbered alike in both and only ever added (forward only).
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite and Postgres are the migrations of each engine.
var (
	SQLite   = sub("sqlite")
	Postgres = sub("postgres")
)

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the directory is embedded by the directive above
	}
	return f
}
