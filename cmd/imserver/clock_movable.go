//go:build movableclock

package main

import (
	"os"
	"strings"
	"time"
)

// clock is wrong by what the file named by FAULTS_CLOCK says, such as
// "-5s". The faults suite builds the server so: Go reads the time without a
// system call, so nothing outside the process can move it. No other build has
// this.
func clock() time.Time {
	text, err := os.ReadFile(os.Getenv("FAULTS_CLOCK"))
	if err != nil {
		return time.Now()
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(offset).Round(0) // without the monotonic reading, as after a step
}
