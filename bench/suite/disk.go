package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// syncDelays are how much longer a sync takes than on this machine's disk,
// microseconds. The middle one is a usual volume in a cloud.
var syncDelays = []int{300, 700, 1500}

// slowDisks measures what depends most on the disk, on slower ones: Postgres
// runs under strace, which lets every sync of its log take longer.
func (s *suite) slowDisks() error {
	if _, err := exec.LookPath("strace"); err != nil {
		fmt.Fprintln(os.Stderr, "disks: left out, strace is not installed")
		return nil
	}
	t := s.table("Postgres on slower disks")
	for _, delay := range syncDelays {
		if err := s.slowDisk(t, delay); err != nil {
			return fmt.Errorf("syncs %d µs longer: %w", delay, err)
		}
	}
	return nil
}

func (s *suite) slowDisk(t table, delay int) (err error) {
	if err := os.Chmod(s.dir, 0o711); err != nil { // the database's own user passes through
		return err
	}
	services := func(verb string) ([]byte, error) {
		cmd := exec.Command("scripts/services.sh", verb)
		cmd.Env = append(os.Environ(), "IMSERVER_TEST_DIR="+filepath.Join(s.dir, "disk"), fmt.Sprintf("IMSERVER_TEST_SYNC_DELAY=%d", delay))
		cmd.Stderr = os.Stderr
		return cmd.Output()
	}
	if _, err := services("up"); err != nil {
		return err
	}
	defer func() {
		if _, e := services("down"); err == nil {
			err = e
		}
	}()
	settings, err := services("env")
	if err != nil {
		return err
	}
	_, url, _ := bytes.Cut(settings, []byte("POSTGRES_URL='"))
	url, _, _ = bytes.Cut(url, []byte("'"))
	usual := s.postgres
	s.postgres = string(url)
	defer func() { s.postgres = usual }()

	n, err := s.start(1, true)
	if err != nil {
		return err
	}
	defer n.stop()
	return s.pairs(t, n, fmt.Sprintf(", syncs %.1f ms longer", float64(delay)/1000))
}
