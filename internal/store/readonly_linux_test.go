package store_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"imserver/internal/store"
)

// Ensure that a database that cannot be written ends the start: SQLite would
// open it, and every message would fail.
func TestOpenReadOnly(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // stays open, because without its log and index SQLite would not open the file
	files, err := filepath.Glob(filepath.Join(dir, "imserver.db*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	modes := map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o755}
	for _, file := range files {
		modes[file] = 0o444
	}
	for path, mode := range modes {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	opened := make(chan error, 1)
	go func() {
		runtime.LockOSThread()                                          // which ends with this goroutine
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0) // root may write everything
		db, err := store.Open(t.Context(), store.Options{Dir: dir})
		if err == nil {
			_ = db.Close()
		}
		opened <- err
	}()
	if err := <-opened; err == nil || !strings.Contains(err.Error(), "imserver.db") {
		t.Errorf("%v", err)
	}
}
