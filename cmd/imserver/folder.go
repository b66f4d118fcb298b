package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"imserver/internal/config"
)

// folderPatience is how long a server that starts waits for the one before it
// to end.
const folderPatience = 3 * time.Second

// holdFolder keeps the data folder of an embedded database to this process until
// release is called or the process ends. Two servers on one database would each
// push only to their own clients. On Postgres several may share a folder.
func holdFolder(ctx context.Context, c *config.Config) (release func(), err error) {
	if c.DatabaseURL != "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(c.DataDir, 0o750); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	lock := flock.New(filepath.Join(c.DataDir, "imserver.lock"))
	ctx, cancel := context.WithTimeout(ctx, folderPatience)
	defer cancel()
	switch _, err := lock.TryLockContext(ctx, 100*time.Millisecond); {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("data_dir: another server uses %s", c.DataDir)
	case err != nil:
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	return func() { _ = lock.Unlock() }, nil // the end of the process does it at the latest
}
